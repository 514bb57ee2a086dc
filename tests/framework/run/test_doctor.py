"""``slt doctor``: every part looked at, whatever another one does; each red line says what to do."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from slt.run import doctor
from slt.run.doctor import examine

SITE = """
import asyncio, json
from attrs import frozen
from slt import hookimpl
from slt.errors import BrokerError, ConfigError, FeedError, StorageError
from slt.types import Check, ConnectionPlan, MarketInfo
from slt_memory.storage import MemoryStorage, MemoryStorageConfig
from slt_replay.paper import PaperBroker, PaperBrokerConfig


@frozen
class TalkerConfig:
    url: str = "ws://127.0.0.1:1"
    trouble: str = ""


class Talker:
    '''A live feed.'''
    config_class = TalkerConfig

    def __init__(self, config):
        self.config = config

    @hookimpl
    def slt_describe_market(self):
        if self.config.trouble:
            raise FeedError(self.config.trouble)
        return MarketInfo(("AAAUSDT", "BBBUSDT"), 60_000, 0, None, "a test's market")

    @hookimpl
    def slt_read_bars(self, start, rows):
        return iter(())

    @hookimpl
    def slt_plan_connections(self, symbols):
        streams = tuple(s.lower() for s in symbols)
        return (ConnectionPlan("one", self.config.url, streams, symbols),)

    @hookimpl
    def slt_subscribe_streams(self, streams, is_wanted, first_id):
        return (json.dumps({"id": first_id, "params": streams}),)

    @hookimpl
    def slt_route_frame(self, frame):
        return (json.loads(frame).get("stream", ""), b"", False)

    @hookimpl
    def slt_decode_frame(self, frame):
        return []


@frozen
class JudgeConfig:
    api_key_env: str = "JUDGE_KEY"
    verdicts: tuple[str, ...] = ("ok",)
    breaks: bool = False


class Judge(PaperBroker):
    '''A broker that knows what is wrong with it.'''
    config_class = JudgeConfig

    def __init__(self, config):
        super().__init__(PaperBrokerConfig())
        self.options = config

    @hookimpl
    async def slt_diagnose_broker(self, market):
        import os
        if self.options.breaks:
            raise RuntimeError("it broke")
        key = os.environ.get("JUDGE_KEY", "none")
        return [Check(f"part {n}", v, f"{len(market.symbols)} symbols, key {key}", "" if v == "ok" else "mend it")
                for n, v in enumerate(self.options.verdicts)]


@frozen
class SlowConfig:
    seconds: float = 0.0
    trouble: str = ""


class Slow(MemoryStorage):
    '''A storage in trouble.'''
    config_class = SlowConfig

    def __init__(self, config):
        super().__init__(MemoryStorageConfig())
        self.options = config

    @hookimpl
    async def slt_open_storage(self):
        if self.options.trouble:
            raise StorageError(self.options.trouble)
        return "a slow storage"

    @hookimpl
    async def slt_read_records(self, query):
        await asyncio.sleep(self.options.seconds)
        return []
"""
CONFIG = """
[plugins]
feed = "talker"
broker = "judge"
storage = "slow"
strategies = ["ema_cross"]
sizer = "fixed_risk"
[run]
mode = "paper"
folder = "{folder}"
{more}
[feeds.talker]
url = "{url}"
{feed}
[brokers.judge]
{broker}
[storages.slow]
{storage}
"""


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    info = tmp_path / "site" / "slt_doc-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slt-doc\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "[slt.feeds]\ntalker = slt_doc_site:Talker\n[slt.brokers]\njudge = slt_doc_site:Judge\n"
        "[slt.storages]\nslow = slt_doc_site:Slow\n"
    )
    (tmp_path / "site" / "slt_doc_site.py").write_text(SITE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(doctor, "_PUSH_S", 0.5)
    yield
    sys.modules.pop("slt_doc_site", None)


@pytest.fixture
def config(tmp_path):
    def config(url="ws://127.0.0.1:1", **parts):
        path = tmp_path / "config.toml"
        text = CONFIG.replace("{folder}", str(parts.pop("folder", tmp_path / "runs"))).replace("{url}", url)
        for name in ("more", "feed", "broker", "storage"):
            text = text.replace(f"{{{name}}}", parts.get(name, ""))
        path.write_text(text)
        return path

    return config


@asynccontextmanager
async def streams(*, is_silent=False):
    """A WebSocket server that takes every subscription and, unless silent, pushes each stream."""

    async def talk(socket):
        async for message in socket:
            asked = json.loads(message)
            await socket.send(json.dumps({"id": asked["id"], "result": None}))
            for stream in [] if is_silent else asked["params"]:
                await socket.send(json.dumps({"stream": stream, "data": {}}))

    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def looked(path):
    checks = []
    await examine(path, checks.append)
    return {check.name: check for check in checks}


async def test_examine_healthy_configuration_looks_at_every_part(config):
    async with streams() as url:
        checks = await looked(config(url))
    assert {c.verdict for c in checks.values()} == {"ok"}, checks
    assert list(checks) == [
        "configuration",
        "plugins",
        "certificates",
        "disk",
        "health",
        "storage slow",
        "feed talker",
        "feed talker: stream one",
        "broker judge: part 0",
    ]
    assert checks["feed talker"].found == "2 symbols: a test's market"
    assert checks["feed talker: stream one"].found.startswith("pushes: 2 frames of 2 of 2 streams")


async def test_examine_stream_that_acknowledges_and_stays_silent_is_red(config):
    async with streams(is_silent=True) as url:
        checks = await looked(config(url))
    check = checks["feed talker: stream one"]
    assert check.verdict == "problem"
    assert "nothing was pushed" in check.found
    assert "stream address" in check.advice


async def test_examine_stream_that_cannot_be_reached_is_red(config, unused_tcp_port):
    checks = await looked(config(f"ws://127.0.0.1:{unused_tcp_port}"))
    assert checks["feed talker: stream one"].found.startswith("no connection")


async def test_examine_feed_that_fails_still_looks_at_the_broker(config):
    checks = await looked(config(feed='trouble = "no such host; check the address"'))
    assert (checks["feed talker"].verdict, checks["feed talker"].advice) == ("problem", "check the address")
    assert checks["broker judge: part 0"].found == "0 symbols, key none"


async def test_examine_broker_tells_its_own_checks_and_no_secret(config, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-open")
    checks = await looked(config(broker='verdicts = ["ok", "warning", "problem"]'))
    found = [checks[f"broker judge: part {n}"] for n in range(3)]
    assert [c.verdict for c in found] == ["ok", "warning", "problem"]
    assert [c.advice for c in found] == ["", "mend it", "mend it"]
    assert "sesame" not in str(checks)
    assert "[JUDGE_KEY]" in found[0].found


async def test_examine_plugin_that_breaks_is_red_and_names_its_author(config):
    checks = await looked(config(broker="breaks = true"))
    check = checks["broker judge"]
    assert (check.verdict, check.advice) == ("problem", "report it to the plugin's author")
    assert "it broke" in check.found


async def test_examine_storage_away_or_slow(config, monkeypatch):
    checks = await looked(config(storage='trouble = "refused the password; check DATABASE_URL"'))
    assert (checks["storage slow"].found, checks["storage slow"].advice) == (
        "refused the password",
        "check DATABASE_URL",
    )
    monkeypatch.setattr(doctor, "_SLOW_STORAGE_MS", 5.0)
    checks = await looked(config(storage="seconds = 0.05"))
    assert checks["storage slow"].verdict == "warning"
    monkeypatch.setattr(doctor, "_STORAGE_S", 0.05)
    checks = await looked(config(storage="seconds = 5.0"))
    assert checks["storage slow"].found == "did not answer within 0.05 s"


async def test_examine_folder_that_cannot_be_written_is_red(config, tmp_path):
    (tmp_path / "file").write_text("")
    checks = await looked(config(folder=tmp_path / "file" / "runs"))
    assert checks["disk"].verdict == "problem"
    assert checks["disk"].advice


@pytest.mark.parametrize(("free", "verdict"), [(10**10, "ok"), (10**9, "warning"), (10**7, "problem")])
async def test_examine_free_space(config, monkeypatch, free, verdict):
    class Usage:
        def __init__(self):
            self.free = free

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage())
    assert (await looked(config()))["disk"].verdict == verdict


async def test_examine_wrong_configuration_and_unknown_plugin_end_the_look(config, tmp_path):
    checks = await looked(config(more="sped = 1"))
    assert list(checks) == ["configuration"]
    assert checks["configuration"].verdict == "problem"
    path = config()
    path.write_text(path.read_text().replace('sizer = "fixed_risk"', 'sizer = "fixed_rusk"'))
    checks = await looked(path)
    assert [c.verdict for c in checks.values()][-1] == "problem"
    assert "fixed_rusk" in str(checks)
    checks = await looked(tmp_path / "nowhere.toml")
    assert checks["configuration"].verdict == "problem"


async def test_examine_paper_broker_and_recorded_feed(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        '[plugins]\nfeed = "synthetic"\nstorage = "memory"\nstrategies = ["ema_cross"]\nsizer = "fixed_risk"\n'
        f'[run]\nfolder = "{tmp_path}"\n'
    )
    checks = await looked(path)
    assert {c.verdict for c in checks.values()} == {"ok"}
    assert "orders are simulated" in checks["broker paper"].found


async def test_examine_missing_certificate_warns_on_paper(config, monkeypatch):
    monkeypatch.setattr(doctor, "uncertified", lambda *_: ["strategies:mine"])
    check = (await looked(config()))["certificates"]
    assert check.verdict == "warning"
    assert check.advice.startswith("run `slt audit")


async def test_checks_come_as_they_are_done(config):
    seen, described = [], asyncio.Event()

    def tell(check):
        seen.append(check.name)
        if check.name == "feed talker":
            described.set()

    async with streams(is_silent=True) as url:
        work = asyncio.create_task(examine(config(url), tell))
        await described.wait()
        assert "feed talker: stream one" not in seen
        await work
    assert seen[-1] == "broker judge: part 0"


NOTIFIED = """
[run]
mode = "{mode}"
folder = "{folder}"
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
notifiers = ["console", "discord"]
[health]
host = "{host}"
"""


@pytest.fixture
def notified(tmp_path, monkeypatch):
    monkeypatch.delenv("DISCORD_WEBHOOK_URL", raising=False)
    monkeypatch.delenv("SLT_HEALTH_TOKEN", raising=False)

    def notified(mode="paper", host="127.0.0.1"):
        path = tmp_path / "config.toml"
        path.write_text(NOTIFIED.format(mode=mode, host=host, folder=tmp_path))
        return path

    return notified


async def test_examine_notifier_without_its_secret_is_red_as_the_run_would_refuse_it(notified):
    checks = await looked(notified())
    assert checks["notifier console"].verdict == "ok"
    discord = checks["notifier discord"]
    assert discord.verdict == "problem"
    assert discord.found.endswith("the environment variable `DISCORD_WEBHOOK_URL` is not set")
    assert discord.advice.startswith("put the webhook's address there")


async def test_examine_notifier_with_its_secret_is_well_and_shows_none(notified, monkeypatch):
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", "https://discord.com/api/webhooks/1/s3cret-path")
    checks = await looked(notified())
    assert {check.verdict for check in checks.values()} <= {"ok", "warning"}
    assert "s3cret-path" not in str(checks)


async def test_examine_back_test_that_sends_nothing_needs_no_secret(notified):
    checks = await looked(notified(mode="backtest"))
    assert not [name for name in checks if name.startswith(("notifier", "health"))]


async def test_examine_health_for_others_without_a_token_is_red(notified):
    check = (await looked(notified(host="0.0.0.0")))["health"]
    assert check.verdict == "problem"
    assert "needs a token" in check.found
    assert "SLT_HEALTH_TOKEN" in check.advice
