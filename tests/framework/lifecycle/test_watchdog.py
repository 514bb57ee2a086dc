from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from slt.lifecycle import WATCHDOG_EXIT_CODE, Watchdog, watchdog
from slt.lifecycle.watchdog import describe_stacks


class Exit:
    def __init__(self):
        self.codes = []
        self.called = threading.Event()

    def __call__(self, code):
        self.codes.append(code)
        self.called.set()


@pytest.fixture
def make(tmp_path):
    dogs = []

    def make_one(**options):
        fast = {"silence_seconds": 0.1, "beat_seconds": 0.01, "check_seconds": 0.01, "alert_seconds": 5.0}
        one = Watchdog(tmp_path / "dumps" / "stacks.txt", **(fast | options))
        dogs.append(one)
        return one

    yield make_one
    for one in dogs:
        one.stop()


def test_watchdog_silence_dumps_tells_and_exits_with_70(make, tmp_path, caplog):
    loop, leave, told = asyncio.new_event_loop(), Exit(), []
    make(exit_callback=leave, on_silence=told.append).start(loop)
    assert leave.called.wait(20)
    assert leave.codes == [WATCHDOG_EXIT_CODE] == [70]
    dump = (tmp_path / "dumps" / "stacks.txt").read_text()
    assert "event loop silent" in dump
    assert "thread MainThread" in dump
    assert "leave.called.wait" in dump
    assert told[0] in dump
    assert "event loop silent" in caplog.text
    loop.close()


async def test_watchdog_heartbeat_beats_again_and_again(make):
    one = make()
    beats = asyncio.create_task(one.heartbeat())
    for _ in range(3):
        await asyncio.wait_for(asyncio.to_thread(one._beaten.wait), 20)
        one._beaten.clear()
    beats.cancel()


class Rounds:
    """A clock that jumps between the thread's rounds, and the end of the rounds."""

    def __init__(self, steps):
        self.steps = list(steps)
        self.now = 0.0

    def __call__(self):
        self.now += self.steps.pop(0) if self.steps else 0.0
        return self.now


def rounds(one, count, *, each=None):
    waits = iter([False] * count)

    def wait(_):
        if each is not None:
            each()
        return next(waits, True)

    one._ended.wait = wait
    one._watch()


def test_watchdog_suspended_process_is_not_taken_for_a_stuck_one(make):
    leave = Exit()
    clock = Rounds([0.0, 1.0, 3600.0, 1.0, 3600.0])
    rounds(make(exit_callback=leave, silence_seconds=10.0, check_seconds=1.0, clock=clock), 4)
    assert leave.codes == []


@pytest.mark.parametrize(("beats", "expected"), [(True, []), (False, [70])])
def test_watchdog_loop_that_beats_raises_no_alarm(make, beats, expected):
    leave = Exit()
    one = make(exit_callback=leave, silence_seconds=5.0, check_seconds=1.0, clock=Rounds([1.0] * 1000))
    rounds(one, 900, each=one.beat if beats else None)
    assert leave.codes == expected


@pytest.mark.parametrize(("silence", "expected"), [(5.0, [70]), (5.5, [])])
def test_watchdog_silence_is_counted_from_the_last_beat(make, silence, expected):
    leave = Exit()
    one = make(exit_callback=leave, silence_seconds=silence, check_seconds=1.0, clock=Rounds([0.0] + [1.0] * 6))
    one.beat()
    rounds(one, 6)
    assert leave.codes == expected


def test_watchdog_exits_though_the_dump_cannot_be_written(tmp_path, caplog):
    (tmp_path / "blocked").write_text("a file, not a folder")
    leave, told = Exit(), []
    one = Watchdog(
        tmp_path / "blocked" / "x",
        exit_callback=leave,
        on_silence=told.append,
        silence_seconds=0.02,
        check_seconds=0.01,
    )
    one.start(asyncio.new_event_loop())
    assert leave.called.wait(20)
    one.stop()
    one._loop.close()
    assert told[0].endswith(("the dump is incomplete: NotADirectoryError", "the dump is incomplete: FileExistsError"))


def test_watchdog_exits_though_the_alert_fails_or_hangs(make, caplog):
    def fail(_):
        raise RuntimeError("no network")

    release = threading.Event()
    for alert in (fail, lambda _: release.wait(20)):
        leave = Exit()
        one = make(exit_callback=leave, on_silence=alert, alert_seconds=0.2)
        one.start(None)
        assert leave.called.wait(20)
        one.stop()
    release.set()
    assert "the alert about the silent event loop failed" in caplog.text


@pytest.fixture
def blocked():
    """A log whose first line is never taken, until the test ends: a pipe that nobody reads."""
    release = threading.Event()

    class Unread(logging.Handler):
        def emit(self, record):
            release.wait(60)

    handler, log = Unread(), logging.getLogger("slt.lifecycle")
    log.addHandler(handler)
    yield release
    release.set()
    log.removeHandler(handler)


def test_watchdog_dumps_tells_and_exits_though_the_log_takes_nothing(make, tmp_path, blocked, monkeypatch):
    monkeypatch.setattr(watchdog, "_LOG_SECONDS", 0.1)
    leave, told = Exit(), []
    make(exit_callback=leave, on_silence=told.append, alert_seconds=20.0).start(None)
    assert leave.called.wait(15), "neither the log nor what is left of the alert's time is waited for"
    assert not blocked.is_set()
    assert len(told) == 1
    assert told[0] in (tmp_path / "dumps" / "stacks.txt").read_text()


def test_watchdog_tells_without_the_dump_where_the_disk_takes_nothing(make, monkeypatch):
    release, told, leave = threading.Event(), [], Exit()
    monkeypatch.setattr(watchdog.os, "fsync", lambda _: release.wait(60))
    make(exit_callback=leave, on_silence=told.append, alert_seconds=0.5).start(None)
    assert leave.called.wait(20)
    release.set()
    assert told[0].endswith("\nthe dump is not written yet")
    assert "thread MainThread" in told[0]


def test_watchdog_exits_though_no_thread_can_be_started(make, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    leave = Exit()
    one = make(exit_callback=leave, silence_seconds=1.0, check_seconds=1.0, clock=Rounds([1.0] * 9))
    monkeypatch.setattr(watchdog, "_begin", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        rounds(one, 9)
    assert leave.codes == [70]


def test_watchdog_stop_without_start_is_no_error(make):
    make().stop()


async def test_describe_stacks_shows_tasks_where_they_wait():
    async def wait_for_the_exchange():
        await asyncio.Event().wait()

    task = asyncio.create_task(wait_for_the_exchange(), name="user-stream")
    await asyncio.sleep(0)
    text = await asyncio.to_thread(describe_stacks, asyncio.get_running_loop())
    task.cancel()
    assert "--- task user-stream" in text
    assert "in wait_for_the_exchange" in text


STUCK = """
import asyncio, sys, time
from pathlib import Path
from slt.lifecycle import Watchdog

def compute_for_ever():
    while True:
        time.sleep(0.01)

async def main():
    dog = Watchdog(Path(sys.argv[1]), silence_seconds=1.0, beat_seconds=0.05, check_seconds=0.05)
    dog.start(asyncio.get_running_loop())
    beats = asyncio.create_task(dog.heartbeat(), name="beats")
    await asyncio.sleep(0.1)
    print("stuck", flush=True)
    compute_for_ever()

asyncio.run(main())
"""


def test_watchdog_ends_a_real_process_whose_loop_is_stuck(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path / "dump")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout.split()) == (70, ["stuck"])
    dump = (tmp_path / "dump").read_text()
    assert "in compute_for_ever" in dump
    assert "--- task beats" in dump


IDLE = STUCK.replace("compute_for_ever()\n\nasyncio", "await asyncio.sleep(0.5)\n    print('fine')\n\nasyncio")


def test_watchdog_leaves_a_real_process_alone_that_was_paused(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", IDLE, str(tmp_path / "dump")], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "stuck\n"
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(child.pid, signal.SIGCONT)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "fine\n")
