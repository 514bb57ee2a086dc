"""The score's parts, metrics and the HTTP server, on the vitals of a real paper run and on made-up troubles."""

from __future__ import annotations

import asyncio
import json
import math
from types import SimpleNamespace

import aiohttp
import pytest
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families

from slt.config import HealthConfig, read_config
from slt.errors import ConfigError, StoppedError, StorageError
from slt.feed.status import ConnectionStatus, FeedStatus
from slt.log import LogConfig, configure_logging
from slt.notify import ChannelStatus
from slt.run import supervision
from slt.run.execution import Observer, execute
from slt.run.health_server import HealthServer, check_health_config, is_loopback
from slt.run.metrics import render_metrics
from slt.run.vitals import resident_mib
from slt.types import BrokerLink

CONFIG = """
[run]
name = "t"
mode = "paper"
speed = 86400.0
folder = "{folder}/runs"
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 1
[health]
port = {port}
"""
CONNECTION = ConnectionStatus("market-1", is_up=True, age_seconds=1.0, reconnects={"1006": 3}, silent_symbols=())


@pytest.fixture
async def play(tmp_path, monkeypatch):
    """Run a paper run for some bars and hand out its vitals, while it runs, to `look`."""
    monkeypatch.setattr(supervision, "_HEALTH_SECONDS", 0.05)
    kept = {}
    start = supervision.Upkeep.start

    def keep(upkeep, tasks):
        kept["upkeep"] = upkeep
        return start(upkeep, tasks)

    monkeypatch.setattr(supervision.Upkeep, "start", keep)

    async def play(look, *, after=400, port=0):
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.format(folder=tmp_path, port=port))
        bars, looks = [], []

        async def looking(upkeep):
            result = look(upkeep)
            if asyncio.iscoroutine(result):
                await result

        def progressed(progress):
            bars.append(progress)
            if len(bars) == after:
                looks.append(asyncio.ensure_future(looking(kept["upkeep"])))

        observer = Observer(lambda assembly: None, progressed, lambda: bool(looks) and looks[0].done())
        with pytest.raises(StoppedError):
            await execute(read_config(path, {}), observer)
        await looks[0]
        return kept["upkeep"]

    return play


def parts_of(vitals):
    return {part.name: part for part in vitals.health.report().parts}


def samples(text):
    """Prometheus' own reading of a page: value by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def full_feed():
    silent = evolve(CONNECTION, name="market-2", is_up=False, age_seconds=120.0, silent_symbols=("A", "B"))
    new = evolve(CONNECTION, name="market-3", age_seconds=None, reconnects={})
    return FeedStatus((CONNECTION, silent, new), (1, 2, 3), 1_700_000_000_000, {"frames": 9, "bars": 4})


async def test_well_run_is_green_and_each_part_says_why(play):
    def look(upkeep):
        parts = parts_of(upkeep.vitals)
        # How late the loop is depends on what else the machine does, the memory on what else this process has done.
        calm = {name: part for name, part in parts.items() if name not in {"loop", "loops", "memory"}}
        assert all(part.score > 60.0 for part in calm.values()), parts
        assert parts["database"].detail == "takes what is written"
        assert parts["broker"].detail == "simulated"
        assert parts["model"].detail == "none chosen: rules decide"
        if len(parts) == len([part for part in parts.values() if part.score > 60.0]):
            assert upkeep.vitals.health.report().status == "green"
        assert upkeep.vitals.halts() == {}

    await play(look)


async def test_troubles_lower_their_parts_and_the_whole(play):
    def look(upkeep):
        vitals = upkeep.vitals
        vitals.feed = full_feed
        vitals.link = BrokerLink(1, is_up=False, reason="listen key expired")
        vitals.wait("features", "warm until 12:00")
        vitals.lagged(1.0)
        holding = next(iter(vitals._assembly.engine.portfolio.holdings.values()), None)
        parts = parts_of(vitals)
        assert [parts[f"feed market-{n}"].score for n in (1, 2, 3)] == [100.0, 50.0, 100.0]
        assert parts["feed market-2"].detail == "down, last message 120 s ago"
        assert parts["broker"].detail == "event stream down: listen key expired"
        assert parts["loop"].score == 50.0
        assert parts["queue"].detail.endswith("6 of 10000 frames")
        report = vitals.health.report()
        assert (report.score, report.status) == (40.0, "red")
        assert vitals.halts() == {"features": "warm until 12:00"}
        vitals.arrived("features")
        assert vitals.halts() == {}
        vitals.link = BrokerLink(2, is_up=True, reason="")
        vitals.clock_offset_ms = lambda: -2000.0
        assert parts_of(vitals)["broker"].score == 50.0
        if holding is not None:
            holding.position.stop_resting, was = False, holding.position.stop_resting
            assert parts_of(vitals)["risk"].score == 30.0
            assert holding.position.symbol in parts_of(vitals)["risk"].detail
            holding.position.stop_resting = was

    await play(look)


CHANNEL = ChannelStatus(
    name="telegram", waiting=0, delivered=0, failed=0, busy=0, uncertain=0, duplicates=0, dropped=0, expired=0,
    digests=0, off=None,
)  # fmt: skip


async def test_channel_that_lets_notices_wait_after_a_failed_try_lowers_the_score(play):
    calm = (100.0, "1 notices wait")

    def away(waiting):
        return 70.0, f"the last try failed: telegram; {waiting} notices wait"

    steps = [
        ({"waiting": 1}, calm),  # on its way
        ({"waiting": 1, "busy": 2}, calm),  # asked to wait
        ({"waiting": 1, "failed": 1}, away(1)),
        ({"waiting": 3, "failed": 1}, away(3)),
        ({"waiting": 3, "failed": 4}, away(3)),
        ({"waiting": 1, "failed": 4, "delivered": 2}, calm),  # back
        ({"waiting": 1, "failed": 4, "delivered": 2}, calm),
        ({"waiting": 1, "failed": 5, "delivered": 2}, away(1)),
        ({"waiting": 0, "failed": 5, "delivered": 2, "dropped": 1}, (100.0, "0 notices wait")),  # given up
        ({"waiting": 1, "failed": 5, "delivered": 2, "dropped": 1}, away(1)),
        ({"waiting": 1, "failed": 5, "delivered": 3, "dropped": 1}, calm),
        ({"waiting": 21, "failed": 5, "delivered": 3}, (70.0, "21 notices wait")),
        ({"failed": 6, "delivered": 3, "off": "401"}, (50.0, "switched off: telegram; 0 notices wait")),
    ]

    def look(upkeep):
        for changes, expected in steps:
            channels = (evolve(CHANNEL, name="discord", delivered=9, failed=3), evolve(CHANNEL, **changes))
            upkeep.vitals._outbox = SimpleNamespace(status=lambda channels=channels: channels)
            part = parts_of(upkeep.vitals)["outbox"]
            assert (part.score, part.detail) == expected, changes
        upkeep.vitals._outbox = None

    await play(look)


async def test_late_loop_is_named_and_the_process_counts_as_stuck(play):
    async def look(upkeep):
        vitals = upkeep.vitals
        vitals.loops.declare("fits", interval_seconds=1e-7, deadline_seconds=1e-6)
        await asyncio.sleep(0.01)
        assert parts_of(vitals)["loops"].score == 40.0
        assert parts_of(vitals)["loops"].detail.startswith("fits has been silent for")
        snapshot = vitals.snapshot("running")
        assert [one["name"] for one in snapshot["late_loops"]] == ["fits"]
        assert samples(render_metrics(snapshot).decode())["slt_late_loop_seconds", "fits"] > 0.0

    await play(look)


async def test_storage_that_does_not_answer_leaves_the_last_figures_and_lowers_the_score(play):
    async def look(upkeep):
        vitals = upkeep.vitals
        await vitals.refresh()
        before = vitals.standing

        async def fail(*_, **__):
            raise StorageError("away")

        vitals._assembly.reader.read, read = fail, vitals._assembly.reader.read
        await vitals.refresh()
        assert vitals.standing is before
        assert parts_of(vitals)["database"].score == 70.0
        vitals._assembly.reader.read = read
        await vitals.refresh()
        assert parts_of(vitals)["database"].score == 100.0

    await play(look)


async def test_snapshot_is_json_and_agrees_with_the_run(play):
    def look(upkeep):
        snapshot = upkeep.vitals.snapshot("running")
        portfolio = upkeep.vitals._assembly.engine.portfolio
        assert json.loads(json.dumps(snapshot, allow_nan=False)) is not None
        assert snapshot["open_positions"] == len(portfolio.holdings) == len(snapshot["positions"])
        for one in snapshot["positions"]:
            position = portfolio.holdings[one["symbol"]].position
            assert one["gain_r"] == position.gain(one["price"])
            assert one["entry_time"] == position.entry_time

    await play(look)


async def test_metrics_are_what_prometheus_reads(play):
    def look(upkeep):
        vitals = upkeep.vitals
        vitals.feed = full_feed
        vitals.wait("features", 'warm "until"\n12:00')
        snapshot = vitals.snapshot("running")
        found = samples(render_metrics(snapshot).decode())
        assert found["slt_up",] == 1.0
        assert found["slt_equity",] == snapshot["equity"]
        assert found["slt_trades_total",] == snapshot["trades"]
        assert found["slt_health_part_score", "database"] == 100.0
        assert found["slt_entries_halted", "features"] == 1.0
        assert found["slt_feed_up", "market-2"] == 0.0
        assert found["slt_feed_age_seconds", "market-2"] == 120.0
        assert ("slt_feed_age_seconds", "market-3") not in found
        assert found["slt_feed_reconnects_total", "1006", "market-1"] == 3.0
        assert found["slt_feed_queued_frames", "3"] == 3.0
        assert found["slt_feed_events_total", "frames"] == 9.0
        assert found["slt_feed_silent_symbols", "market-2"] == 2.0
        assert ("slt_cache_requests_total", "memory") in found
        assert ("slt_run_info", "0.1.0", "paper", "t-001") in found
        assert all(math.isfinite(value) for value in found.values())

    await play(look)


async def test_every_metric_is_in_the_documentation(play):
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")

    def look(upkeep):
        upkeep.vitals.feed = full_feed
        for family in text_string_to_metric_families(render_metrics(upkeep.vitals.snapshot("running")).decode()):
            assert f"| `{family.name}{'_total' if family.type == 'counter' else ''}` |" in page, family.name

    await play(look)


def server_of(snapshot, **config):
    return HealthServer(HealthConfig(**config), lambda: snapshot)


SNAPSHOT = {
    "run": "t-001", "mode": "paper", "state": "running", "score": 90.0, "status": "green", "waits": {}, "parts": [],
    "late_loops": [], "event_time": None, "trades": None, "equity": None, "open_positions": None, "margin_in_use": 0.0,
    "open_risk": 0.0, "lag_seconds": 0.0, "memory_mib": 1.0, "positions": [], "cache": None, "channels": [],
    "feed": None, "writer": {"pending": 0, "written": 0, "failures": 0, "journal_failures": 0},
    "standing": {"day_pnl": 0.0, "day_trades": 0, "recent_trades": 0, "recent_win_rate_low": 0.0,
                 "recent_expectancy_r": None, "models": []},
}  # fmt: skip


async def ask(server, path, host="127.0.0.1", **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{server.port}{path}", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


@pytest.fixture
async def serve(unused_tcp_port):
    servers = []

    async def serve(snapshot=SNAPSHOT, **config):
        servers.append(server_of(snapshot, port=unused_tcp_port, **config))
        await servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        await server.stop()
        await server.stop()


@pytest.mark.parametrize(
    ("changes", "healthz", "readyz"),
    [
        ({}, 200, 200),
        ({"status": "yellow"}, 200, 200),
        ({"status": "red"}, 200, 503),
        ({"waits": {"features": "warm until 12:00"}}, 200, 503),
        ({"late_loops": [{"name": "x", "silent_seconds": 1.0, "deadline_seconds": 0.5}]}, 503, 200),
        ({"state": "stopped"}, 503, 503),
    ],
)
async def test_probes_tell_alive_from_ready(serve, changes, healthz, readyz):
    server = await serve({**SNAPSHOT, **changes})
    alive, ready = await ask(server, "/healthz"), await ask(server, "/readyz")
    assert (alive[0], ready[0]) == (healthz, readyz)
    assert json.loads(ready[1])["waits"] == {**SNAPSHOT, **changes}["waits"]


async def test_metrics_are_served_with_prometheus_content_type(serve):
    server = await serve()
    status, text = await ask(server, "/metrics")
    assert status == 200
    assert samples(text)["slt_health_score",] == 90.0
    assert (await ask(server, "/nothing"))[0] == 404


async def test_request_that_names_another_host_sees_nothing(serve):
    server = await serve()
    assert (await ask(server, "/metrics", Host="evil.example"))[0] == 401
    assert await ask(server, "/readyz", Host="evil.example") == (200, "ready\n")


async def test_address_for_others_needs_the_token_for_all_but_the_word(serve, monkeypatch):
    monkeypatch.setenv("SLT_HEALTH_TOKEN", "t0ken-of-some-length")
    server = await serve(host="0.0.0.0")
    assert (await ask(server, "/metrics"))[0] == 401
    assert (await ask(server, "/metrics", Authorization="Bearer wrong"))[0] == 401
    assert (await ask(server, "/metrics", Authorization="Bearer "))[0] == 401
    assert (await ask(server, "/metrics", Authorization="Bearer t0ken-of-some-length"))[0] == 200
    assert await ask(server, "/healthz") == (200, "alive\n")
    assert "score" in (await ask(server, "/healthz", Authorization="Bearer t0ken-of-some-length"))[1]


def test_address_for_others_without_a_token_is_refused(monkeypatch):
    monkeypatch.delenv("SLT_HEALTH_TOKEN", raising=False)
    with pytest.raises(ConfigError) as caught:
        check_health_config(HealthConfig(host="0.0.0.0"))
    assert str(caught.value) == (
        "health.host: `0.0.0.0` can be reached from other machines, which needs a token; set the environment variable "
        '`SLT_HEALTH_TOKEN`, or use "127.0.0.1", or port 0 for no server'
    )
    check_health_config(HealthConfig(host="0.0.0.0", port=0))
    check_health_config(HealthConfig())


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False)]
    + [(host, False) for host in ("::", "", "10.0.0.1", "evil.example", "localhost.evil.example", "127.0.0.1.x")],
)
def test_loopback_is_told_from_the_rest(host, answer):
    assert is_loopback(host) is answer


async def test_port_taken_is_one_line_and_the_run_goes_on(play, unused_tcp_port, tmp_path, capsys):
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port)
    log = configure_logging(LogConfig(), terminal=False, file=None, environment={})
    async with other:
        upkeep = await play(lambda upkeep: None, port=unused_tcp_port)
    log.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if "health is not served" in line["event"]]
    assert line["event"] == "health is not served; choose another health.port, or 0 for none"
    assert (line["port"], upkeep._server.port) == (unused_tcp_port, 0)


async def test_run_serves_its_health_while_it_runs_and_no_longer(play, unused_tcp_port):
    seen = []

    async def look(upkeep):
        while not upkeep._server.port:  # noqa: ASYNC110 - the server tells nobody when it listens
            await asyncio.sleep(0.01)
        server = SimpleNamespace(port=unused_tcp_port)
        seen.extend([(await ask(server, path))[0] for path in ("/healthz", "/readyz", "/metrics")])

    await play(look, port=unused_tcp_port)
    assert seen == [200, 200, 200]
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(SimpleNamespace(port=unused_tcp_port), "/healthz")


def test_resident_memory_is_of_this_process():
    import psutil

    assert resident_mib() == pytest.approx(psutil.Process().memory_info().rss / (1 << 20), rel=0.1)
