from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import textwrap

import pytest

from slt.lifecycle import LifecycleManager, StopReport


def manager(**options):
    return LifecycleManager(**options)


def recorder(order, name, *, wait=None, error=None):
    async def stop():
        order.append(name)
        if wait is not None:
            await wait
        if error is not None:
            raise error

    return stop


async def test_stop_goes_by_priority_and_among_equals_last_registered_first():
    order, one = [], manager()
    for name, priority in (("storage", 90), ("feed", 10), ("writer", 50), ("outbox", 50)):
        one.register(name, recorder(order, name), priority=priority)
    report = await one.stop()
    assert order == ["feed", "outbox", "writer", "storage"]
    assert report == StopReport(stopped=tuple(order))
    assert report.is_clean
    assert one.stopping.is_set()


async def test_stop_cancels_what_is_too_slow_and_goes_on(caplog):
    order, one, cancelled = [], manager(), []

    async def hang():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    one.register("hanging", hang, priority=1, deadline_seconds=0.05)
    one.register("storage", recorder(order, "storage"), priority=2)
    report = await one.stop()
    assert (report.timed_out, report.stopped, order, cancelled) == (("hanging",), ("storage",), ["storage"], [True])
    assert not report.is_clean
    assert "hanging did not stop within" in caplog.text
    assert "too slow hanging" in caplog.text


async def test_stop_leaves_behind_what_cannot_be_cancelled():
    order, one, release = [], manager(), asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    one.register("stubborn", stubborn, priority=1, deadline_seconds=0.05)
    one.register("storage", recorder(order, "storage"), priority=2)
    assert (await one.stop()).timed_out == ("stubborn",)
    assert order == ["storage"]
    release.set()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("error", [RuntimeError("no"), ConnectionError("no"), ValueError("no")])
async def test_stop_that_raises_is_named_and_the_rest_stops(error, caplog):
    order, one = [], manager()
    one.register("feed", recorder(order, "feed", error=error), priority=1)
    one.register("storage", recorder(order, "storage"), priority=2)
    report = await one.stop()
    assert (report.failed, report.stopped) == (("feed",), ("storage",))
    assert f"feed failed to stop: {type(error).__name__}" in caplog.text


async def test_stop_callable_that_raises_before_it_awaits_is_named_too():
    one = manager()
    one.register("broken", lambda: 1 / 0, priority=1)
    assert (await one.stop()).failed == ("broken",)


async def test_stop_twice_stops_once_and_gives_the_same_report():
    order, one = [], manager()
    one.register("feed", recorder(order, "feed"), priority=1)
    first, second = await asyncio.gather(one.stop(), one.stop())
    assert first is second
    assert await one.stop() is first
    assert order == ["feed"]


async def test_stop_without_components_is_clean():
    assert (await manager().stop()).is_clean


async def test_stop_deadlines_beyond_the_budget_shrink_in_proportion(monkeypatch):
    one, given = manager(budget_seconds=20.0), []
    for name, deadline in (("a", 30.0), ("b", 10.0)):
        one.register(name, recorder([], name), priority=1, deadline_seconds=deadline)
    stop_one = one._stop_one

    async def spy(component, deadline_seconds):
        given.append((component.name, deadline_seconds))
        return await stop_one(component, deadline_seconds)

    monkeypatch.setattr(one, "_stop_one", spy)
    await one.stop()
    assert given == [("b", 5.0), ("a", 15.0)]


async def test_forced_cancels_the_one_that_stops_and_skips_the_rest():
    order, one = [], manager()
    one.register("hanging", recorder(order, "hanging", wait=asyncio.Event().wait()), priority=1, deadline_seconds=15.0)
    one.register("storage", recorder(order, "storage"), priority=2)
    stop = asyncio.create_task(one.stop())
    await asyncio.sleep(0.01)
    one.forced.set()
    report = await stop
    assert (report.timed_out, report.skipped, order) == (("hanging",), ("storage",), ["hanging"])


async def test_request_stop_sets_the_event_and_says_why_once(caplog):
    caplog.set_level(logging.INFO)
    one = manager()
    assert not one.stop_requested
    one.request_stop("end of data")
    one.request_stop("again")
    assert one.stop_requested
    assert [r.getMessage() for r in caplog.records] == ["stopping: end of data"]


def test_register_refuses_a_taken_name_and_a_deadline_of_zero():
    one = manager()
    one.register("feed", recorder([], "feed"), priority=1)
    with pytest.raises(ValueError, match="a component `feed` is registered already"):
        one.register("feed", recorder([], "feed"), priority=2)
    with pytest.raises(ValueError, match="the deadline of `x` was 0; it must be above 0"):
        one.register("x", recorder([], "x"), priority=2, deadline_seconds=0)


async def test_signals_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    one = manager()
    one.install_signals(asyncio.get_running_loop())
    assert signal.getsignal(signal.SIGTERM) == one._on_signal
    one.remove_signals()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


PROGRAM = """
import asyncio, sys
from slt.lifecycle import LifecycleManager

def say(*words):
    print(*words, flush=True)

async def main():
    one = LifecycleManager()
    one.install_signals(asyncio.get_running_loop())

    async def stop_feed():
        say("feed")

    async def stop_slow():
        say("slow")
        await asyncio.sleep(60)

    async def stop_storage():
        say("storage")

    one.register("feed", stop_feed, priority=1)
    if "slow" in sys.argv:
        one.register("slow", stop_slow, priority=2, deadline_seconds=15)
    one.register("storage", stop_storage, priority=3)
    say("ready")
    if "busy" in sys.argv:
        while not one.stop_requested:
            pass
    else:
        await one.stopping.wait()
    report = await one.stop()
    one.remove_signals()
    say(report.stopped, report.timed_out, report.skipped)
    sys.exit(5)

if "uvloop" in sys.argv:
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(child, word):
    for line in child.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"the child ended before it said {word}: {child.stderr.read()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["idle", "busy", "uvloop"])
def test_signal_in_a_real_process_stops_in_order(number, mode):
    if mode == "uvloop":
        pytest.importorskip("uvloop")
    with start(mode) as child:
        until(child, "ready")
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 5, err
    assert out.splitlines() == ["feed", "storage", "('feed', 'storage') () ()"]


def test_second_signal_in_a_real_process_forces_the_end():
    with start("slow") as child:
        until(child, "ready")
        child.send_signal(signal.SIGTERM)
        until(child, "slow")
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 5, err
    assert out.splitlines() == ["('feed',) ('slow',) ('storage',)"]


STUCK = """
import asyncio, time
from slt.lifecycle import LifecycleManager

async def main():
    one = LifecycleManager()
    one.install_signals(asyncio.get_running_loop())
    print("ready", flush=True)
    seen = 0
    while True:
        if one._signals != seen:
            seen = one._signals
            print(seen, flush=True)
        time.sleep(0.01)

asyncio.run(main())
"""


def test_third_signal_kills_a_loop_that_never_comes_round():
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as child:
        until(child, "ready")
        for count in ("1", "2"):
            child.send_signal(signal.SIGINT)
            for line in child.stdout:
                assert line.strip() == count
                break
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == -signal.SIGINT
