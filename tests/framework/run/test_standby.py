"""A live run that waits as a standby: warm, silent, and trading from the bar after it takes over."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Stream, live, recording, settings_of

from slt.errors import StoppedError, StorageError
from slt.lifecycle import LifecycleManager
from slt.run import standby
from slt.run.folders import UnderWayError, held, open_folder
from slt.run.instance_lock import InstanceLock
from slt.run.proving import prove_session
from slt.run.standby import wait_as_standby, wait_for_folder
from slt.run.starting import Starting

HOUR = 3_600_000


class Link:
    """Keeps a lock for another instance until told otherwise."""

    def __init__(self, is_free):
        self.is_free = is_free
        self.asked = self.released = 0

    async def slt_hold_lock(self, name):
        self.asked += 1
        return self.is_free()

    async def slt_watch_lock(self, name):
        await asyncio.Event().wait()

    async def slt_release_lock(self, name):
        self.released += 1


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(standby, "_ASK_SECONDS", 0.01)
    monkeypatch.setattr(standby, "_AWAY_SECONDS", 0.1)
    monkeypatch.setattr(standby, "_LOOK_SECONDS", 0.01)


async def test_standby_warms_its_features_and_trades_only_once_it_holds_the_lock(tmp_path, monkeypatch, quick):
    settings = settings_of(tmp_path, mode="paper")
    market, bars, _ = await recording(settings)
    stream = Stream(bars)
    takeover = market.start + 6 * HOUR
    link = Link(lambda: stream.driver._bars_until >= takeover)
    monkeypatch.setattr(standby, "instance_lock", lambda _: InstanceLock(link, "account"))
    life = await live(monkeypatch, settings, stream, market=market)
    assert link.asked > 1
    assert link.released == 1
    assert life.progress[0].time > takeover
    assert life.trades
    assert all(trade.entry_time >= takeover for trade in life.trades)
    proof = await asyncio.to_thread(prove_session, life.session_folder)
    assert proof.difference is None


def away():
    raise StorageError("PostgreSQL at db refused the connection")


async def test_standby_whose_storage_is_away_goes_on_without_entries(quick):
    lock = InstanceLock(Link(away), "account")
    async with asyncio.timeout(20):
        await wait_as_standby(lock, LifecycleManager())
    assert not lock.is_held
    assert "PostgreSQL at db refused the connection" in lock.reason
    lock._storage.is_free = lambda: False
    assert not await lock.confirm()
    assert lock.taken.is_set(), "another instance was there all the while: this one must end"


async def test_standby_behind_another_instance_waits_however_long(quick):
    lock, lifecycle = InstanceLock(Link(lambda: False), "account"), LifecycleManager()
    waiting = asyncio.ensure_future(wait_as_standby(lock, lifecycle))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    lifecycle.request_stop("the test is over")
    with pytest.raises(StoppedError, match="waited as a standby"):
        await waiting


async def test_standby_in_the_same_folder_waits_for_the_other_process_to_let_go(tmp_path, quick):
    first = open_folder(tmp_path, "t", "", "same", None, is_fresh=False)
    first.snapshot.touch()
    with pytest.raises(UnderWayError) as caught:
        open_folder(tmp_path, "t", "", "same", None, is_fresh=False)
    assert caught.value.path == first.path
    waiting = asyncio.ensure_future(wait_for_folder(first.path, LifecycleManager(), Starting(settings_of(tmp_path))))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    first.release()
    async with asyncio.timeout(20):
        await waiting
    second = open_folder(tmp_path, "t", "", "same", None, is_fresh=False)
    assert second.is_resumed
    second.release()


async def test_standby_in_the_same_folder_is_stopped_while_it_waits(tmp_path, quick):
    lifecycle = LifecycleManager()
    (tmp_path / "t-001").mkdir()
    with held(tmp_path / "t-001"):
        waiting = asyncio.ensure_future(wait_for_folder(tmp_path / "t-001", lifecycle, Starting(settings_of(tmp_path))))
        await asyncio.sleep(0)
        lifecycle.request_stop("the test is over")
        with pytest.raises(StoppedError, match="waited as a standby"):
            await waiting
