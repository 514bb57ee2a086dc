"""Named locks: one holder at a time, whose end and whose loss of the wire are noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap

import pytest

from slt.errors import StorageError
from slt.run.instance_lock import InstanceLock, lock_name
from slt.storage.link import StorageLink
from slt_postgres.locks import lock_key
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

from .proxy import Proxy

NAME = lock_name("binance", "key-of-an-account")


@pytest.fixture
async def wire(server, database, monkeypatch):
    proxy = await Proxy(server.folder / ".s.PGSQL.5432").start()
    monkeypatch.setenv("WIRE_URL", proxy.url(database))
    yield proxy
    proxy.flow()
    await proxy.stop()


@contextlib.asynccontextmanager
async def opened(**options):
    storage = PostgresStorage(PostgresStorageConfig(connect_timeout_seconds=1.0, **options))
    await storage.slt_open_storage()
    yield storage
    await storage.slt_close_storage()


@contextlib.asynccontextmanager
async def instance(storage, **options):
    """An instance that waits for the lock and then keeps it."""
    changes = []
    link = StorageLink(storage)
    link.is_open = True
    lock = InstanceLock(link, NAME, on_change=changes.append, ask_seconds=0.05, **options)
    lock.changes = changes
    task = asyncio.ensure_future(lock.run())
    yield lock
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a state of the lock, and no event
            await asyncio.sleep(0.01)


def test_lock_key_is_a_bigint_and_differs_by_name():
    keys = {lock_key(f"account-{number}") for number in range(1000)}

    assert len(keys) == 1000
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_lock_name_hides_the_account():
    assert "key-of-an-account" not in NAME
    assert NAME != lock_name("binance", "another") != lock_name("paper", "another")


async def test_hold_is_for_one_at_a_time_and_may_be_asked_again(database):
    async with opened() as one, opened() as other:
        assert await one.slt_hold_lock(NAME)
        assert await one.slt_hold_lock(NAME)
        assert not await other.slt_hold_lock(NAME)
        assert await other.slt_hold_lock("another name")
        await one.slt_release_lock(NAME)
        await one.slt_release_lock(NAME)
        await until_held(other)
        assert not await one.slt_hold_lock(NAME)


async def until_held(storage):
    async with asyncio.timeout(20):
        while not await storage.slt_hold_lock(NAME):  # noqa: ASYNC110 - a question, and no event
            await asyncio.sleep(0.01)


async def test_watch_returns_at_once_where_nothing_is_held(database):
    async with opened() as storage:
        async with asyncio.timeout(5):
            await storage.slt_watch_lock(NAME)


async def test_close_gives_the_lock_up(database):
    async with opened() as other:
        async with opened() as one:
            assert await one.slt_hold_lock(NAME)
        await until_held(other)


async def test_hold_while_the_storage_is_away_says_so_and_holds_nothing(wire):
    async with opened(url_env="WIRE_URL") as storage, opened() as other:
        assert await storage.slt_hold_lock(NAME)
        wire.is_refusing = True
        wire.cut()
        with pytest.raises(StorageError):
            await storage.slt_hold_lock(NAME)
        await until_held(other)
        wire.is_refusing = False
        assert not await storage.slt_hold_lock(NAME)


async def test_instance_whose_wire_is_cut_halts_at_once_and_takes_the_lock_again(wire):
    async with opened(url_env="WIRE_URL") as storage, instance(storage) as lock:
        await until(lambda: lock.is_held)
        wire.is_refusing = True
        wire.cut()
        async with asyncio.timeout(5):
            await lock.lost.wait()
        assert not lock.is_held
        wire.is_refusing = False
        await until(lambda: lock.is_held)
        assert not lock.lost.is_set()
        assert not lock.taken.is_set()
        assert lock.changes[0] == lock.changes[-1] == ""
        assert any("is lost" in change for change in lock.changes)


async def test_instance_on_a_stalled_wire_gives_the_lock_up_for_lost(wire):
    async with opened(url_env="WIRE_URL") as storage, instance(storage) as lock:
        await until(lambda: lock.is_held)
        wire.stall()
        async with asyncio.timeout(20):
            await lock.lost.wait()
        wire.flow()
        await until(lambda: lock.is_held)


@pytest.mark.parametrize("steps", range(5))
async def test_watch_that_is_cancelled_just_as_the_lock_is_lost_does_not_swallow_that(database, steps):
    async with opened() as storage:
        await until_held(storage)
        watching = asyncio.ensure_future(storage.slt_watch_lock(NAME))
        await asyncio.sleep(0.01)
        storage._locks[NAME]._ended.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        is_cancelled = watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert watching.cancelled() is is_cancelled


async def test_standby_takes_over_and_the_old_holder_is_told(wire):
    async with opened(url_env="WIRE_URL") as old, opened() as new, instance(old) as first:
        await until(lambda: first.is_held)
        async with instance(new) as second:
            await until(lambda: "waits as a standby" in second.reason)
            wire.is_refusing = True
            wire.cut()
            await until(lambda: second.is_held)
            assert not first.is_held
            wire.is_refusing = False
            async with asyncio.timeout(20):
                await first.taken.wait()
            assert "another instance trades this account" in first.reason
            assert not second.taken.is_set()


HOLDER = textwrap.dedent("""
    import asyncio, sys
    from slt.run.instance_lock import InstanceLock
    from slt.storage.link import StorageLink
    from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

    async def main():
        link = StorageLink(PostgresStorage(PostgresStorageConfig()))
        lock = InstanceLock(link, sys.argv[1])
        await lock.acquire()
        print("held", flush=True)
        await lock.run()

    asyncio.run(main())
""")


async def start_holder():
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, NAME, stdout=asyncio.subprocess.PIPE, env=os.environ.copy()
    )


async def says_held(process):
    async with asyncio.timeout(30):
        return await process.stdout.readline() == b"held\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_standby_process_takes_over_from_one_that_was_killed(database, number):
    first = await start_holder()
    assert await says_held(first)
    second = await start_holder()
    waiting = asyncio.ensure_future(says_held(second))
    done, _ = await asyncio.wait({waiting}, timeout=2.0)
    assert not done, "two processes hold one lock"
    first.send_signal(number)
    assert await waiting
    second.kill()
    await asyncio.gather(first.communicate(), second.communicate())


async def test_two_processes_started_at_once_never_both_hold_the_lock(database):
    for _ in range(3):
        processes = [await start_holder() for _ in range(2)]
        tasks = [asyncio.ensure_future(says_held(process)) for process in processes]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(1.5)
        assert sum(task.done() for task in tasks) == 1
        holder = next(process for process, task in zip(processes, tasks, strict=True) if task.done())
        holder.kill()
        assert all(await asyncio.gather(*tasks))
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
