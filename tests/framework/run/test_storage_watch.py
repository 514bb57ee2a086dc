"""The loops around a storage say when it hangs, and raise no alarm where they only wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from slt.errors import ConfigError, StorageError
from slt.lifecycle import Loops
from slt.run import instance_lock, storage_watch
from slt.run.instance_lock import InstanceLock
from slt.run.storage_watch import StorageWatch

HOUR = 3600.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Sleeper:
    """A wait that takes no time but on the clock, and is over when the test says so."""

    def __init__(self, clock):
        self.clock, self.waits, self.passing = clock, [], asyncio.Event()

    async def __call__(self, seconds):
        self.waits.append(seconds)
        self.passing.clear()
        await self.passing.wait()
        self.clock.now += seconds

    async def over(self):
        """Let the wait end, and what follows begin."""
        self.passing.set()
        await settled()


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


class Storage:
    """Answers, or hangs."""

    def __init__(self):
        self.asked = 0
        self.answers = []
        self.is_lost = asyncio.Event()

    async def _answer(self):
        self.asked += 1
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def slt_prune_records(self, now):
        return await self._answer()

    async def slt_hold_lock(self, name):
        return await self._answer()

    async def slt_watch_lock(self, name):
        await self.is_lost.wait()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loops(clock):
    return Loops(clock)


@pytest.fixture
async def running():
    tasks = []

    async def running(work):
        tasks.append(asyncio.ensure_future(work))
        await settled()

    yield running
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def late(loops):
    return [one.name for one in loops.late()]


@pytest.fixture
async def watch(clock, loops):
    writer = SimpleNamespace(is_away=False, refused=0, failures_in_a_row=0, last_error="", pending=0)
    sleep = Sleeper(clock)
    storage = Storage()
    return StorageWatch(
        writer, storage, "t-001", loops=loops, tell=lambda _: None, event_time=lambda: 0, is_halting=False, sleep=sleep
    )


async def test_pruning_that_hangs_is_named_and_its_hour_of_waiting_is_not(watch, clock, loops, running):
    watch._storage.answers = [5000, 3, 0, StorageError("away")]
    await running(watch.prune())
    clock.now += 100 * HOUR
    assert late(loops) == []
    for _ in range(3):  # the hour, and a pause behind each deletion
        await watch._sleep.over()
    assert watch._storage.asked == 3
    clock.now += 100 * HOUR
    assert late(loops) == [], "it waits for the next hour"
    await watch._sleep.over()
    assert watch._storage.asked == 4, "the storage was away: tried again in an hour"
    clock.now += 100 * HOUR
    assert late(loops) == []
    await watch._sleep.over()
    assert watch._storage.asked == 5, "which hangs"
    assert late(loops) == []
    clock.now += storage_watch._LATE_PRUNING_SECONDS + 1
    assert late(loops) == ["pruning"]


@pytest.mark.parametrize("error", [ConfigError("wrong password"), RuntimeError("postgresql://me:s3cret@db")])
async def test_whatever_a_storage_raises_neither_lock_nor_pruning_ends(watch, running, error, capsys):
    storage = Storage()
    lock = InstanceLock(storage, "account", sleep=(sleep := Sleeper(Clock())))
    storage.answers = [error, True]
    await running(lock.run())
    assert not lock.is_held
    assert lock.is_away
    assert "s3cret" not in lock.reason
    await sleep.over()
    assert lock.is_held
    watch._storage.answers = [error, 0]
    await running(watch.prune())
    for asked in (1, 2):
        await watch._sleep.over()
        assert watch._storage.asked == asked
    assert "s3cret" not in "".join(capsys.readouterr())


async def test_watch_that_does_not_come_round_is_named(watch, clock, loops, running):
    await running(watch.watch())
    for _ in range(100):
        await watch._sleep.over()
        assert late(loops) == []
    clock.now += storage_watch._LATE_SECONDS + 1
    assert late(loops) == ["storage"]


async def test_lock_that_is_held_for_weeks_raises_no_alarm_and_a_question_that_hangs_does(clock, loops, running):
    storage = Storage()
    lock = InstanceLock(storage, "account", sleep=(sleep := Sleeper(clock)))
    lock.supervise(loops)
    clock.now += 100 * HOUR
    assert late(loops) == [], "nobody has asked yet"
    storage.answers = [StorageError("away"), False, True]
    await running(lock.run())
    for _ in range(2):
        await sleep.over()
    assert lock.is_held
    clock.now += 1000 * HOUR
    assert late(loops) == []
    storage.is_lost.set()
    await settled()
    assert not lock.is_held
    assert storage.asked == 4, "the last question hangs"
    assert late(loops) == []
    clock.now += instance_lock._LATE_SECONDS + 1
    assert late(loops) == ["lock"]
