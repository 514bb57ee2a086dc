"""The writer where a database refuses records for ever, has to forget, grows slow, or is opened late."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from slt.errors import ConfigError, RecordRefusedError, StorageError
from slt.storage.journal import Journal
from slt.storage.link import StorageLink
from slt.storage.refused import RefusedRecords
from slt.storage.writer import Writer, WriterOptions
from slt.testing.storage import make_record
from slt.types import Trade


class Database:
    """Keeps what it is given, in order; refuses ids in `bad`; is away or slow on demand."""

    def __init__(self, bad=(), away=0, takes=0.0):
        self.bad = {f"Trade-{number:06d}" for number in bad}
        self.away = away
        self.takes = takes
        self.log = []
        self.batches = 0

    async def slt_write_records(self, records):
        await self._answer()
        self.batches += 1
        if any(record.id in self.bad for record in records):
            raise RecordRefusedError("PostgreSQL at db says: value out of int64 range (22003)")
        self.log += [record.id for record in records]

    async def slt_forget_records(self, run_id, since):
        await self._answer()
        self.log.append((run_id, since))

    async def _answer(self):
        await asyncio.sleep(self.takes)
        if self.away:
            self.away -= 1
            raise StorageError("PostgreSQL at db refused the connection")


def trades(*numbers):
    return [make_record(Trade, number) for number in numbers]


def ids(*numbers):
    return [f"Trade-{number:06d}" for number in numbers]


async def no_wait(seconds):
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(writer):
    await writer.open()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        yield writer
        writer.stop()


@pytest.mark.parametrize("bad", [(0,), (99,), (41, 42, 77), tuple(range(100))])
async def test_records_refused_for_ever_are_set_aside_and_the_rest_is_stored_in_order(tmp_path, bad):
    database, told = Database(bad=bad), []
    refused = RefusedRecords(tmp_path / "refused.jsonl", lambda *what: told.append(what))
    writer = Writer(database, Journal(tmp_path / "journal"), refused=refused, sleep=no_wait)
    async with running(writer):
        writer.put(trades(*range(100)))
        await writer.flush()

    assert database.log == ids(*(number for number in range(100) if number not in bad))
    lines = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [line["record"][1] for line in lines] == ids(*bad)
    assert lines[0]["reason"] == "PostgreSQL at db says: value out of int64 range (22003)"
    assert [(kind, name) for kind, name, _ in told] == [("Trade", name) for name in ids(*bad)]
    assert (writer.refused, writer.written) == (len(bad), 100 - len(bad))
    assert (writer.pending, writer.failures, writer.is_away) == (0, 0, False)


async def test_one_refused_record_among_thousands_costs_few_writes(tmp_path):
    database = Database(bad=(1234,))
    writer = Writer(database, None, refused=RefusedRecords(tmp_path / "refused.jsonl"), sleep=no_wait)
    async with running(writer):
        writer.put(trades(*range(5000)))
        await writer.flush()

    assert len(database.log) == 4999
    assert database.batches < 60


async def test_refused_record_whose_file_cannot_be_written_waits_and_is_not_lost(tmp_path):
    folder = tmp_path / "missing"
    waits = []

    async def wait(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)
        if len(waits) == 3:
            folder.mkdir()

    database = Database(bad=(0,))
    refused = RefusedRecords(folder / "refused.jsonl")
    async with running(Writer(database, None, refused=refused, sleep=wait)) as writer:
        writer.put(trades(0, 1))
        await writer.flush()

    assert len(waits) == 3
    assert (writer.refused, writer.journal_failures) == (1, 3)
    assert database.log == ids(1)


async def test_refused_record_without_a_file_is_tried_for_ever():
    database = Database(bad=(0,))
    writer = Writer(database, None, sleep=no_wait)
    async with running(writer):
        writer.put(trades(0))
        while writer.failures < 5:  # noqa: ASYNC110 - a count, and no event
            await asyncio.sleep(0)
        database.bad.clear()
        await writer.flush()

    assert database.log == ids(0)


async def test_forget_stands_between_what_was_put_before_and_after(tmp_path):
    database = Database(away=3)
    async with running(Writer(database, Journal(tmp_path / "journal"), sleep=no_wait)) as writer:
        writer.put(trades(1, 2))
        writer.forget("demo-001", 60_000)
        writer.put(trades(2, 3))
        await writer.flush()

    assert database.log == [*ids(1, 2), ("demo-001", 60_000), *ids(2, 3)]


async def test_forget_of_a_killed_life_is_carried_out_in_its_place_by_the_next(tmp_path):
    away = Writer(Database(away=10**9), Journal(tmp_path / "journal", sync="always"), sleep=no_wait)
    async with running(away):
        away.put(trades(1))
        away.forget("demo-001", 60_000)
        await away.durable(away.put(trades(2)))
    database = Database()
    async with running(Writer(database, Journal(tmp_path / "journal", sync="always"))) as writer:
        writer.forget("demo-001", 0)
        writer.put(trades(3))
        await writer.flush()

    assert database.log == [*ids(1), ("demo-001", 60_000), *ids(2), ("demo-001", 0), *ids(3)]


async def test_writer_tells_of_every_try_to_write_or_forget():
    told = []
    writer = Writer(
        Database(away=2),
        None,
        sleep=no_wait,
        on_written=lambda records: told.append([record.id for record in records]),
        on_forgotten=told.append,
    )
    async with running(writer):
        writer.put(trades(1))
        writer.forget("demo-001", 0)
        await writer.flush()

    assert told == [ids(1), ids(1), ids(1), "demo-001"]


async def test_slow_database_is_given_more_time_until_it_gets_through():
    options = WriterOptions(write_timeout_seconds=0.02, batch_records=8)
    database = Database(takes=0.1)
    async with running(Writer(database, None, options, sleep=no_wait)) as writer:
        writer.put(trades(*range(8)))
        await writer.flush()

    assert database.log == ids(*range(8))
    assert writer.failures >= 2
    assert "took longer than" in writer.last_error


async def test_journal_that_cannot_be_read_back_is_tried_again(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal")
    real, broken = journal.read, [OSError(5, "Input/output error")] * 3

    def read(after, limit):
        if broken:
            raise broken.pop()
        return real(after, limit)

    monkeypatch.setattr(journal, "read", read)
    database = Database()
    async with running(Writer(database, journal, WriterOptions(queue_records=1), sleep=no_wait)) as writer:
        writer.put(trades(1, 2, 3))
        await writer.flush()

    assert database.log == ids(1, 2, 3)
    assert writer.journal_failures == 3
    assert writer.last_error == "journal: Input/output error"


class Plugin(Database):
    """Opens only after some tries."""

    def __init__(self, closed, error):
        super().__init__()
        self.closed = closed
        self.error = error
        self.opened = 0

    async def slt_open_storage(self):
        if self.closed:
            self.closed -= 1
            raise self.error
        self.opened += 1
        return "PostgreSQL 16 at db"


async def test_link_that_was_away_at_the_start_opens_with_a_write():
    plugin = Plugin(3, StorageError("PostgreSQL at db refused the connection"))
    link = StorageLink(plugin)
    with pytest.raises(StorageError, match="refused the connection"):
        await link.open()
    assert (link.is_open, link.text) == (False, "PostgreSQL at db refused the connection")
    async with running(Writer(link, None, sleep=no_wait)) as writer:
        writer.put(trades(1))
        writer.forget("demo-001", 5)
        await writer.flush()

    assert plugin.log == [*ids(1), ("demo-001", 5)]
    assert (plugin.opened, link.is_open, link.text) == (1, True, "PostgreSQL 16 at db")


async def test_link_tells_what_only_a_person_can_help():
    link = StorageLink(Plugin(1, ConfigError("DATABASE_URL: not a database URL")))

    with pytest.raises(ConfigError, match="not a database URL"):
        await link.open()


async def test_link_that_does_not_open_in_time_is_away():
    class Hanging:
        async def slt_open_storage(self):
            await asyncio.sleep(3600)

    link = StorageLink(Hanging(), open_seconds=0.01)

    with pytest.raises(StorageError, match=r"did not open within 0\.01 s"):
        await link.open()
