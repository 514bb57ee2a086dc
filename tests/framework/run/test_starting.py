"""What can be seen of a run before it is under way, over HTTP: alive, not ready, and what it waits for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from types import SimpleNamespace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from slt import hookimpl
from slt.config import LogConfig, read_config
from slt.errors import ConfigError, SltError, StoppedError
from slt.log import configure_logging
from slt.run import health_server, standby
from slt.run.execution import Observer, execute
from slt.run.folders import held
from slt.run.health_server import HealthServer
from slt.run.starting import Starting, starting_file
from slt_memory.storage import MemoryStorage
from slt_replay.paper import PaperBroker

CONFIG = """
[run]
name = "t"
mode = "paper"
speed = 86400.0
one_instance = true
folder = "{folder}/runs"
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
[feeds.synthetic]
symbols = ["SYNAUSDT"]
days = 1
[health]
port = {port}
"""
STANDBY = "another instance has this run under way; this one waits as a standby"


class Beginning:
    """A run in a task of this process, and its health as a platform sees it."""

    def __init__(self, settings, port):
        self.settings, self.port = settings, port
        self.bars = self.tries = 0
        self.is_over = False
        self.task = asyncio.ensure_future(
            execute(settings, Observer(lambda _: None, self.played, lambda: self.is_over))
        )

    def played(self, _):
        self.bars += 1

    async def ask(self, path):
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def until(self, is_so):
        """Ask /readyz until its answer is what is waited for; gives it."""
        async with asyncio.timeout(60):
            while True:
                assert not self.task.done(), self.task.exception()
                try:
                    status, text = await self.ask("/readyz")
                except aiohttp.ClientConnectionError:
                    status, text = 0, "{}"
                if is_so(found := SimpleNamespace(code=status, **json.loads(text))):
                    return found
                await asyncio.sleep(0.02)

    async def stop(self):
        self.is_over = True
        with pytest.raises(StoppedError):
            await self.task


async def reached(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - figures that nobody announces
            await asyncio.sleep(0.01)


@pytest.fixture
def lock(monkeypatch):
    """The lock of the account, held by another instance until told otherwise."""
    state = SimpleNamespace(is_free=False)

    async def hold(self, name):
        return state.is_free

    async def watch(self, name):
        await asyncio.Event().wait()

    async def release(self, name):
        pass

    for name, hook in (("slt_hold_lock", hold), ("slt_watch_lock", watch), ("slt_release_lock", release)):
        hook.__name__ = name
        monkeypatch.setattr(MemoryStorage, name, hookimpl(hook), raising=False)
    return state


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(standby, "_ASK_SECONDS", 0.01)
    monkeypatch.setattr(standby, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(health_server, "_AGAIN_SECONDS", 0.02)


@pytest.fixture
async def begin(tmp_path, unused_tcp_port, quick, monkeypatch):
    begun = []
    listen = HealthServer.start

    async def start(server):
        await listen(server)
        begun[-1].tries += 1

    monkeypatch.setattr(HealthServer, "start", start)

    async def begin():
        config = tmp_path / "config.toml"
        config.write_text(CONFIG.format(folder=tmp_path, port=unused_tcp_port))
        begun.append(Beginning(read_config(config, {}), unused_tcp_port))
        return begun[-1]

    yield begin
    for one in begun:
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)


@pytest.fixture
async def folder(begin, tmp_path, lock):
    """The folder of a run that was left unfinished."""
    lock.is_free = True
    run = await begin()
    await reached(lambda: run.bars)
    await run.stop()
    return tmp_path / "runs" / "t-001"


async def test_standby_that_waits_for_the_folder_is_alive_and_not_ready_and_then_serves_the_run(begin, folder):
    with held(folder) as is_held:
        assert is_held
        run = await begin()
        found = await run.until(lambda answer: answer.code == 503 and "instance" in answer.waits)
        assert (found.answer, found.state, found.run) == ("not ready", "starting", "t")
        assert found.waits["instance"] == f"t-001: {STANDBY}"
        status, text = await run.ask("/healthz")
        assert (status, json.loads(text)["answer"]) == (200, "alive")
        status, text = await run.ask("/metrics")
        values = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
        assert (status, values["slt_up"]) == (200, 0.0)
        word = starting_file(folder.parent, "t")
        await reached(lambda: json.loads(word.read_text())["waits"] == found.waits)
    found = await run.until(lambda answer: answer.code == 200)
    assert (found.state, found.run, found.waits) == ("running", "t-001", {})
    await reached(lambda: not starting_file(folder.parent, "t").exists())
    await run.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await run.ask("/healthz")


async def test_port_of_the_instance_that_is_waited_for_is_taken_over_with_the_run_and_said_once(
    begin, folder, unused_tcp_port, capsys
):
    log = configure_logging(LogConfig(), terminal=False, file=None, environment={})
    with held(folder):
        other = await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port)
        run = await begin()
        await reached(lambda: run.tries >= 3)
        assert not run.task.done()
        other.close()
        await other.wait_closed()
    found = await run.until(lambda answer: answer.code == 200)
    assert found.state == "running"
    await run.stop()
    log.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len([line for line in lines if line["event"].startswith("health is not served")]) == 1
    assert [line["event"] for line in lines].count("health served") == 1


async def test_standby_that_waits_for_the_lock_is_alive_and_not_ready(begin, lock):
    run = await begin()
    words = "another instance trades this account; this one waits as a standby"
    found = await run.until(lambda answer: answer.code == 503 and answer.waits.get("instance") == words)
    assert found.state == "running"
    assert (await run.ask("/healthz"))[0] == 200
    assert run.bars == 0
    lock.is_free = True
    await run.until(lambda answer: answer.code == 200)
    await run.stop()


async def test_wait_after_too_many_crashes_is_served_and_named(begin, tmp_path):
    (tmp_path / "runs").mkdir()
    now = int(time.time() * 1000)
    (tmp_path / "runs" / "t.starts.json").write_text(json.dumps({"starts": [now - 3, now - 2, now - 1], "level": 9}))
    run = await begin()
    found = await run.until(lambda answer: answer.code == 503)
    assert found.waits["crashes"] == "started too often without a clean stop, waiting 60 s"
    assert (await run.ask("/healthz"))[0] == 200


async def test_start_that_fails_leaves_neither_server_nor_file(begin, tmp_path):
    run = await begin()  # this storage keeps no locks
    with pytest.raises(ConfigError, match="keeps no locks"):
        await run.task
    with pytest.raises(aiohttp.ClientConnectionError):
        await run.ask("/healthz")
    assert not starting_file(tmp_path / "runs", "t").exists()
    guard = json.loads((tmp_path / "runs" / "t.starts.json").read_text())
    assert guard["starts"] == [], "what is refused is no crash"


@pytest.mark.parametrize(("plugin", "hook"), [(MemoryStorage, "slt_open_storage"), (PaperBroker, "slt_open_broker")])
async def test_signal_ends_a_start_whose_storage_or_broker_gives_no_answer(begin, monkeypatch, plugin, hook):
    asked = asyncio.Event()

    async def hang(self, **_):
        asked.set()
        await asyncio.Event().wait()

    hang.slt_impl = getattr(plugin, hook).slt_impl
    monkeypatch.setattr(plugin, hook, hang)
    run = await begin()
    async with asyncio.timeout(60):
        await asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError, match="stopped before the run began"):
            await run.task


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "Connection refused"), TimeoutError()])
async def test_broker_out_of_reach_at_the_start_is_what_time_can_help(begin, monkeypatch, error):
    async def refuse(self, **_):
        raise error

    refuse.slt_impl = PaperBroker.slt_open_broker.slt_impl
    monkeypatch.setattr(PaperBroker, "slt_open_broker", refuse)
    run = await begin()
    with pytest.raises(SltError) as caught:
        await run.task
    assert caught.value.exit_code == 1, "a supervisor starts it again"


async def test_start_that_hangs_is_late_and_one_that_waits_is_not(tmp_path):
    clock = SimpleNamespace(now=0.0)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(folder=tmp_path, port=0))
    starting = Starting(read_config(config, {}), clock=lambda: clock.now)
    with starting.waiting("instance", STANDBY):
        clock.now += 1e6
        assert starting.snapshot()["late_loops"] == []
    assert starting.snapshot()["late_loops"] == []
    clock.now += 1201.0
    (late,) = starting.snapshot()["late_loops"]
    assert late["name"] == "start"
