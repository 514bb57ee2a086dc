"""The live driver in processes of its own: signals, kills, a stuck loop, and the guard against crashing in circles."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from slt.testing.notifiers import Answer, ChannelServer

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

SLT = [str(Path(sysconfig.get_path("scripts")) / "slt")]
CONFIG = """
[run]
name = "t"
mode = "paper"
folder = "{folder}/runs"
{run}
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
{plugins}
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 3
{more}
"""
NOTIFIER = """
[notices]
rate_limit_seconds = 0.0
[notifiers.discord]
webhook_env = "TEST_HOOK"
"""


class Process:
    """An slt process and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def until(self, *words: str) -> None:
        """Wait until a line of stderr has all of these words."""
        while True:
            line = (await asyncio.wait_for(self.process.stderr.readline(), 60)).decode()
            assert line, f"it ended without saying {words}: {self.said}"
            self.said += line
            if all(word in line for word in words):
                return

    async def end(self) -> int:
        """Wait for the end; returns the exit code."""
        out, err = await asyncio.wait_for(self.process.communicate(), 60)
        self.said += err.decode() + out.decode()
        return self.process.returncode


@pytest.fixture
async def start(tmp_path):
    """Starts ``slt run`` in the test's folder; what still runs at the end is killed."""
    started = []

    async def start(*, run="", plugins="", more="", command=SLT, **variables) -> Process:
        config = tmp_path / "config.toml"
        config.write_text(CONFIG.format(folder=tmp_path, run=run, plugins=plugins, more=more))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLT_")}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, "run", "--config", config, env=environment | variables, stdout=pipe, stderr=pipe
        )
        started.append(process)
        return Process(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def starts(folder: Path) -> list[int]:
    return json.loads((folder / "runs" / "t.starts.json").read_text())["starts"]


def state(folder: Path) -> str:
    return json.loads((folder / "runs" / "t-001" / "health.json").read_text())["state"]


def trade_hash(process: Process) -> str:
    return next(word for word in process.said.replace("=", " ").split() if len(word) == 64)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_with_code_5_and_the_run_goes_on_to_the_same_end(tmp_path, start, number):
    (tmp_path / "whole").mkdir()
    stopped = await start(run="speed = 1.0")
    await stopped.until('"run started"')
    await stopped.until('"progress"')
    stopped.process.send_signal(number)
    assert await stopped.end() == 5
    assert "is stopped and saved; the same command resumes it" in stopped.said
    assert starts(tmp_path) == []
    assert state(tmp_path) == "stopped"
    resumed = await start()
    assert await resumed.end() == 0
    assert '"run resumed"' in resumed.said
    assert state(tmp_path) == "finished"
    log = (tmp_path / "runs" / "t-001" / "slt.log").read_text()
    assert log.count('"stopping: ') == 1
    whole = await start()
    assert await whole.end() == 0
    assert trade_hash(whole) == trade_hash(resumed)


async def test_one_signal_is_enough_though_database_and_channel_say_nothing_any_more(tmp_path, start):
    silent, begun = [], asyncio.Event()

    async def hold(_reader, writer):
        silent.append(writer)
        begun.set()

    database = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = database.sockets[0].getsockname()[1]
    async with ChannelServer(Answer(-1)) as server:
        process = await start(
            run="speed = 40000.0",
            plugins='notifiers = ["discord"]',
            more=f"{NOTIFIER}[storages.postgres]\nconnect_timeout_seconds = 1.0\n",
            TEST_HOOK=f"{server.url}/api/webhooks/1/abcdef",
            SLT_PLUGINS__STORAGE="postgres",
            DATABASE_URL=f"postgresql://slt:s3cret-word@127.0.0.1:{port}/slt",
        )
        await process.until('"run started"')
        await begun.wait()
        await asyncio.wait_for(server.arrived(), 60)
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == 5, process.said
    for writer in silent:
        writer.close()
    database.close()
    (stopped,) = [json.loads(line) for line in process.said.splitlines() if '"event":"stopped in ' in line]
    assert "skipped" not in stopped["event"], "the rest has been stopped behind the writer"
    assert '"event":"records wait in the journal for the storage"' in process.said
    # Its records are in the journal: they wait for the database in the next life.
    assert any(file.stat().st_size > 1000 for file in tmp_path.glob("runs/t-*/journal/*.journal"))
    assert "s3cret-word" not in process.said


async def test_second_signal_forces_the_end_past_a_channel_that_hangs(tmp_path, start):
    async with ChannelServer(Answer(-1)) as server:
        hook = f"{server.url}/api/webhooks/1/abcdef"
        process = await start(run="speed = 40000.0", plugins='notifiers = ["discord"]', more=NOTIFIER, TEST_HOOK=hook)
        await process.until('"run started"')
        await asyncio.wait_for(server.arrived(), 60)
        process.process.send_signal(signal.SIGTERM)
        await process.until("stopping: ")
        begun = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == 5
        assert time.monotonic() - begun < 10
    assert "received again: the stop is forced" in process.said
    assert hook not in process.said
    assert "abcdef" not in (tmp_path / "runs" / "t-001" / "slt.log").read_text()


async def test_killed_runs_tell_every_notice_and_double_no_more_than_one_a_kill(tmp_path, start):
    rng, kills = random.Random(7), 0
    async with ChannelServer(Answer(204)) as server:
        # Each life begins anew: all that keeps it from telling everything again is the file of deliveries.
        run = "speed = 80000.0\nsnapshot_seconds = 3600.0"
        options = {"plugins": 'notifiers = ["discord"]', "more": NOTIFIER, "run": run}
        options["TEST_HOOK"] = f"{server.url}/api/webhooks/1/abcdef"
        for _ in range(4):
            process = await start(**options)
            await process.until('"run started"' if not kills else '"run resumed"')
            await asyncio.sleep(rng.uniform(0.2, 0.8))
            process.process.kill()
            assert await process.end() == -signal.SIGKILL
            kills += 1
            assert len(starts(tmp_path)) == 1
            (tmp_path / "runs" / "t.starts.json").unlink()  # else the fourth start would wait
        last = await start(**options)
        assert await last.end() == 0
        killed = [body for _, _, body in server.requests]
        server.requests.clear()
        whole = await start(**options)
        assert await whole.end() == 0
        expected = [body.replace(b"t-002", b"t-001") for _, _, body in server.requests]
    assert trade_hash(whole) == trade_hash(last)
    assert len(expected) >= 30
    assert len(set(expected)) == len(expected)
    assert set(killed) == set(expected)
    assert len(killed) - len(set(killed)) <= kills


async def test_start_after_three_crashes_waits_and_a_signal_ends_the_wait(tmp_path, start):
    (tmp_path / "runs").mkdir()
    now = int(time.time() * 1000)
    guard = tmp_path / "runs" / "t.starts.json"
    guard.write_text(json.dumps({"starts": [now - 3000, now - 2000, now - 1000], "level": 6}))
    process = await start()
    await process.until("started too often without a clean stop, waiting", "60")
    process.process.send_signal(signal.SIGTERM)
    assert await process.end() == 5
    assert process.said.count("started too often") == 1
    assert "stopped before the run began" in process.said
    assert starts(tmp_path) == []


SCRIPT = """
import sys, time
from functools import partial
from slt.run import live, supervision
from slt_strategies.ema_cross import EmaCross
supervision._SILENCE_SECONDS = 2.0
supervision.Watchdog = partial(supervision.Watchdog, beat_seconds=0.2, check_seconds=0.2)
{change}
sys.argv[0] = "slt"
from slt.cli import main
main()
"""
STUCK = """
propose = EmaCross.slt_propose_trades
def stuck(self, bars, features):
    if bars.close_time[-1] % 86_400_000 == 3_600_000:
        time.sleep(600)
    return propose(self, bars, features)
stuck.slt_impl = propose.slt_impl
EmaCross.slt_propose_trades = stuck
"""
SLOW_BLOCKS = """
propose = EmaCross.slt_propose_trades
def slow(self, bars, features):
    until = time.monotonic() + 4.0
    while len(bars) == 1440 and not slow.is_done and time.monotonic() < until:
        sum(range(1000))
    slow.is_done = True
    return propose(self, bars, features)
slow.slt_impl = propose.slt_impl
slow.is_done = False
EmaCross.slt_propose_trades = slow
async def whole_days(assembly, start):
    for bars in assembly.plugins.feed.hooks.slt_read_bars(start=start, rows=1440):
        yield bars
live._single_bars = whole_days
"""


def python(change: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(change=change)]


async def test_loop_that_is_stuck_ends_the_process_with_its_stacks_written(tmp_path, start):
    process = await start(command=python(STUCK))
    assert await process.end() == 70
    dump = (tmp_path / "runs" / "t-001" / "watchdog.txt").read_text()
    assert "event loop silent for" in dump
    assert "in stuck" in dump
    assert "--- task " in dump
    assert len(starts(tmp_path)) == 1, "it counts as a crash"
    resumed = await start()
    assert await resumed.end() == 0
    assert '"run resumed"' in resumed.said


async def test_model_fits_raise_no_alarm(tmp_path, start):
    learning = """
[features.ict]
warmup_candles = 24
[learning]
fit_every_trades = 4
[gate]
min_samples = 20
"""
    process = await start(plugins='model = "xgboost"\nfeatures = ["ict"]', more=learning, command=python(""))
    assert await process.end() == 0
    assert '"fit judged"' in process.said
    health = json.loads((tmp_path / "runs" / "t-001" / "health.json").read_text())
    assert health["late_loops"] == []
    assert not (tmp_path / "runs" / "t-001" / "watchdog.txt").exists()


async def test_long_blocks_raise_no_alarm(tmp_path, start):
    process = await start(command=python(SLOW_BLOCKS))
    assert await process.end() == 0
    assert not (tmp_path / "runs" / "t-001" / "watchdog.txt").exists()
