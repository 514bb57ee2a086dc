"""Records through the cache: every kind comes back as it was, and what is written is seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from slt.config import CacheConfig
from slt.storage.cache import Cache
from slt.storage.reader import Reader, storage_scope
from slt.storage.writer import Writer
from slt.testing.caches import MemoryCache
from slt.testing.storage import RECORD_KINDS, canonical, make_record
from slt.types import ModelVersion, Run, Trade
from slt_memory.storage import MemoryStorage, MemoryStorageConfig


class Counted(MemoryStorage):
    asked = 0

    async def slt_read_records(self, query):
        self.asked += 1
        return await super().slt_read_records(query)


@pytest.fixture
async def storage():
    one = Counted(MemoryStorageConfig())
    await one.slt_open_storage()
    return one


def reader_of(storage, plugin=None, *, is_writer=True):
    return Reader(storage, Cache(plugin, CacheConfig(), scope="test", is_writer=is_writer))


@pytest.mark.parametrize("kind", RECORD_KINDS, ids=lambda kind: kind.__name__)
async def test_every_kind_comes_back_equal_from_every_tier(storage, kind):
    plugin = MemoryCache()
    records = [make_record(kind, number) for number in range(3)]
    await storage.slt_write_records(records)
    first, second = reader_of(storage, plugin), reader_of(storage, plugin)
    answers = [await first.read(kind), await first.read(kind), await second.read(kind)]
    assert storage.asked == 1
    assert second.cache.status().shared_hits == 1
    expected = [
        canonical(record) for record in await storage.slt_read_records(SimpleNamespace(**QUERY | {"kind": kind}))
    ]
    assert [[canonical(record) for record in answer] for answer in answers] == [expected] * 3


QUERY = {"run_id": None, "symbol": None, "id": None, "since": None, "until": None, "newest_first": False, "limit": None}


async def test_other_question_is_another_answer(storage):
    trades = [make_record(Trade, number) for number in range(5)]
    await storage.slt_write_records(trades)
    reader = reader_of(storage)
    newest = await reader.read(Trade, newest_first=True, limit=2)
    oldest = await reader.read(Trade, limit=2)
    assert len(newest) == len(oldest) == 2
    assert newest != oldest
    assert await reader.read(Trade, run_id="nobody") == ()
    assert storage.asked == 3


async def test_what_the_writer_writes_is_seen_at_once_and_other_kinds_stay(storage):
    reader = reader_of(storage)
    writer = Writer(storage, None, on_written=reader.wrote)
    writing = asyncio.create_task(writer.run())
    one = make_record(Trade, 1)
    for query in ({}, {"run_id": one.run_id}):
        assert await reader.read(Trade, **query) == ()
    await reader.read(ModelVersion)
    asked = storage.asked
    writer.put([one])
    await writer.flush()
    for query in ({}, {"run_id": one.run_id}):
        assert [record.id for record in await reader.read(Trade, **query)] == [one.id]
    assert storage.asked == asked + 2
    await reader.read(ModelVersion)
    assert storage.asked == asked + 2
    writer.stop()
    await writing


async def test_run_is_known_by_its_own_id(storage):
    reader = reader_of(storage)
    run = make_record(Run, 1)
    await storage.slt_write_records([run])
    assert [one.status for one in await reader.read(Run, id=run.id)] == [run.status]
    stopped = attrs.evolve(run, status="stopped")
    await storage.slt_write_records([stopped])
    reader.wrote([stopped])
    assert [one.status for one in await reader.read(Run, id=run.id)] == ["stopped"]


async def test_reader_that_follows_a_run_asks_again_for_what_the_run_has_written_and_nothing_else(storage):
    run = reader_of(storage)
    config = CacheConfig(shared_seconds=0.05)
    seconds = [0.0]
    other = Reader(storage, Cache(None, config, scope="s", is_writer=False, clock=lambda: seconds[0]))
    one = make_record(Trade, 1)

    async def look():
        seconds[0] += 0.04
        other.follow(one.run_id, run.marks(one.run_id))
        await other.read(ModelVersion, run_id=one.run_id)
        return await other.read(Trade, run_id=one.run_id)

    for _ in range(5):
        assert await look() == ()
    assert storage.asked == 2
    await storage.slt_write_records([one])
    run.wrote([one])
    for _ in range(5):
        assert await look() == (one,)
    assert storage.asked == 3
    run.forgot(one.run_id)
    await look()
    assert storage.asked == 5


async def test_forgotten_records_are_gone(storage):
    reader = reader_of(storage)
    one = make_record(Trade, 1)
    await storage.slt_write_records([one])
    assert len(await reader.read(Trade, run_id=one.run_id)) == 1
    await storage.slt_forget_records(run_id=one.run_id, since=0)
    reader.forgot(one.run_id)
    assert await reader.read(Trade, run_id=one.run_id) == ()


async def test_answer_of_very_many_records_stays_in_memory(storage):
    plugin = MemoryCache()
    await storage.slt_write_records([make_record(Trade, number) for number in range(2001)])
    assert len(await reader_of(storage, plugin).read(Trade)) == 2001
    assert len(await reader_of(storage, plugin).read(Trade)) == 2001
    assert storage.asked == 2


def loaded(**options):
    config = attrs.make_class("Config", list(options))(**options)
    return SimpleNamespace(name="postgres", config=config)


def test_scope_tells_storages_apart(monkeypatch):
    monkeypatch.setenv("ONE", "postgresql://one")
    monkeypatch.setenv("OTHER", "postgresql://other")
    monkeypatch.delenv("NONE", raising=False)
    runs = Path("runs")
    one = storage_scope(loaded(url_env="ONE"), runs)
    assert one == storage_scope(loaded(url_env="ONE"), Path("elsewhere"))
    assert one != storage_scope(loaded(url_env="OTHER"), runs)
    here = storage_scope(loaded(url_env="NONE"), runs)
    assert here != storage_scope(loaded(url_env="NONE"), Path("elsewhere"))
