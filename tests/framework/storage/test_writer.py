"""The write-behind writer beside a database that fails, hangs, comes back, and a disk that refuses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.errors import StorageError
from slt.storage.journal import Journal
from slt.storage.writer import Writer, WriterOptions
from slt.testing.storage import make_record
from slt.types import EquityPoint, Trade


class Database:
    """A storage that keeps what it is given and fails on demand."""

    def __init__(self, fails=0, error=None, hangs=0):
        self.records = {}
        self.batches = []
        self.fails = fails
        self.hangs = hangs
        self.error = error or StorageError("PostgreSQL at db:5432 refused the connection")

    async def slt_write_records(self, records):
        if self.hangs:
            self.hangs -= 1
            await asyncio.sleep(3600)
        if self.fails:
            self.fails -= 1
            raise self.error
        self.batches.append(list(records))
        self.records |= {(type(record), record.id): record for record in records}

    @property
    def order(self):
        return [record for batch in self.batches for record in batch]


class Waits:
    """A sleep that only notes how long it was asked for."""

    def __init__(self):
        self.seconds = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def trades(*numbers):
    return [make_record(Trade, number) for number in numbers]


@contextlib.asynccontextmanager
async def running(writer):
    await writer.open()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        yield writer
        writer.stop()


@pytest.fixture(params=["journal", "memory"])
def journal(request, tmp_path):
    return Journal(tmp_path / "journal") if request.param == "journal" else None


@pytest.fixture
def on_disk(tmp_path):
    return Journal(tmp_path / "journal")


async def test_flush_brings_everything_put_to_the_database_in_order(journal):
    database = Database()
    async with running(Writer(database, journal, WriterOptions(batch_records=3))) as writer:
        for number in range(10):
            writer.put(trades(number))
        await writer.flush()

        assert database.order == trades(*range(10))
        assert all(len(batch) <= 3 for batch in database.batches)
        assert (writer.written, writer.pending, writer.failures) == (10, 0, 0)


async def test_put_before_run_is_stored_once_it_runs(journal):
    database = Database()
    writer = Writer(database, journal)
    writer.put(trades(1, 2))
    async with running(writer):
        await writer.flush()

    assert database.order == trades(1, 2)


async def test_put_returns_positions_and_takes_any_iterable():
    writer = Writer(Database(), None)

    assert writer.put(iter(trades(1, 2))) == 2
    assert writer.put([]) == 2
    assert writer.put(trades(3)) == 3
    assert writer.pending == 3


async def test_flush_with_nothing_put_returns_at_once(journal):
    async with running(Writer(Database(), journal)) as writer:
        await writer.flush()


async def test_write_of_several_versions_of_one_id_sends_the_last():
    database = Database()
    writer = Writer(database, None)
    writer.put([make_record(Trade, 1, net_pnl=float(number)) for number in range(5)])
    writer.put([make_record(EquityPoint, 1, id="Trade-000001")])
    async with running(writer):
        await writer.flush()

    assert len(database.order) == 2
    assert database.records[Trade, "Trade-000001"].net_pnl == 4.0
    assert writer.written == 6


async def test_write_failing_is_repeated_with_growing_jittered_waits(journal):
    waits = Waits()
    database = Database(fails=9)
    options = WriterOptions(retry_first_seconds=0.5, retry_most_seconds=60.0)
    async with running(Writer(database, journal, options, sleep=waits, jitter=lambda: 0.5)) as writer:
        writer.put(trades(1, 2, 3))
        await writer.flush()

        # With a journal the waits of its fsync interval, 1 s, are among them.
        retries = [seconds for seconds in waits.seconds if seconds != 1.0]
        assert retries == [0.375, 0.75, 1.5, 3.0, 6.0, 12.0, 24.0, 45.0, 45.0]
        assert (writer.failures, writer.failures_in_a_row) == (9, 0)
        assert writer.last_error == "PostgreSQL at db:5432 refused the connection"
        assert database.order == trades(1, 2, 3)


async def test_write_failing_halves_batches_until_it_succeeds():
    database = Database(fails=3)
    writer = Writer(database, None, WriterOptions(batch_records=8), sleep=Waits())
    writer.put(trades(*range(20)))
    async with running(writer):
        await writer.flush()

    assert [len(batch) for batch in database.batches] == [1, 2, 4, 8, 5]


async def test_write_hanging_times_out_and_is_repeated(journal):
    database = Database(hangs=1)
    options = WriterOptions(write_timeout_seconds=0.05)
    async with running(Writer(database, journal, options, sleep=Waits())) as writer:
        writer.put(trades(1))
        await writer.flush()

        assert database.order == trades(1)
        assert writer.last_error == "the database took longer than 0.05 s"


async def test_last_error_of_foreign_exception_names_its_type_only():
    database = Database(fails=1, error=RuntimeError("postgresql://slt:secret@db/slt"))
    async with running(Writer(database, None, sleep=Waits())) as writer:
        writer.put(trades(1))
        await writer.flush()

        assert writer.last_error == "the storage plugin raised RuntimeError"


async def test_durable_waits_for_the_fsync_but_not_for_the_database(tmp_path):
    journal = Journal(tmp_path, sync="interval", sync_seconds=3600.0)
    async with running(Writer(Database(fails=10**9), journal)) as writer:
        position = writer.put(trades(1, 2))
        await writer.durable(position)

        assert journal.synced == 2
        assert writer.pending == 2


async def test_durable_without_waiting_syncs_only_by_interval(tmp_path):
    waits = Waits()
    journal = Journal(tmp_path, sync="interval", sync_seconds=7.0)

    async def sleep(seconds):
        await waits(seconds)
        await asyncio.sleep(0.01)

    async with running(Writer(Database(fails=10**9), journal, sleep=sleep)) as writer:
        writer.put(trades(1, 2))
        while journal.synced < 2:  # noqa: ASYNC110 - a counter that signals nobody
            await asyncio.sleep(0.01)

    assert 7.0 in waits.seconds


@pytest.mark.parametrize("policy", ["always", "never"])
async def test_durable_with_other_policies_needs_no_interval(tmp_path, policy):
    journal = Journal(tmp_path, sync=policy)
    async with running(Writer(Database(fails=10**9), journal)) as writer:
        await writer.durable(writer.put(trades(1)))

        assert journal.position == 1


async def test_durable_without_journal_waits_for_the_database():
    database = Database(fails=3)
    async with running(Writer(database, None, sleep=Waits())) as writer:
        await writer.durable(writer.put(trades(1)))

        assert database.order == trades(1)


async def test_stop_with_database_away_leaves_the_rest_for_the_next_run(tmp_path):
    async with running(Writer(Database(fails=10**9), Journal(tmp_path))) as writer:
        writer.put(trades(1, 2, 3))
    assert writer.pending == 3

    database = Database()
    async with running(Writer(database, Journal(tmp_path))) as second:
        assert second.pending == 3
        second.put(trades(4))
        await second.flush()

    assert database.order == trades(1, 2, 3, 4)
    assert list(_reopened(tmp_path)) == []


async def test_cancelled_run_journals_what_was_put_last(tmp_path):
    writer = Writer(Database(fails=10**9), Journal(tmp_path))
    await writer.open()
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    writer.put(trades(1, 2))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    writer.put([])

    assert list(_reopened(tmp_path)) == trades(1, 2)


async def test_cancelled_while_the_journal_is_being_written_writes_each_record_once(tmp_path, monkeypatch):
    import threading

    started, go = threading.Event(), threading.Event()
    append = Journal.append

    def slow(self, records):
        started.set()
        go.wait(30)
        return append(self, records)

    monkeypatch.setattr(Journal, "append", slow)
    writer = Writer(Database(fails=10**9), Journal(tmp_path))
    await writer.open()
    task = asyncio.create_task(writer.run())
    writer.put(trades(1, 2))
    await asyncio.to_thread(started.wait, 30)
    writer.put(trades(3))
    task.cancel()
    await asyncio.sleep(0.05)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert list(_reopened(tmp_path)) == trades(1, 2, 3)


async def test_queue_overflow_is_read_back_from_the_journal_in_order(tmp_path):
    database = Database(fails=5)
    options = WriterOptions(batch_records=4, queue_records=6)
    async with running(Writer(database, Journal(tmp_path, segment_bytes=900), options, sleep=Waits())) as writer:
        for number in range(50):
            writer.put(trades(number))
            await asyncio.sleep(0)
        assert len(writer._queue) <= 6
        await writer.flush()

    assert database.order == trades(*range(50))


@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_any_interleaving_of_puts_failures_and_restarts_loses_and_reorders_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    database = Database()
    total = 0

    async def life():
        nonlocal total
        options = WriterOptions(batch_records=data.draw(st.integers(1, 5)), queue_records=data.draw(st.integers(1, 8)))
        journal = Journal(folder, segment_bytes=data.draw(st.sampled_from([1, 1000, 10**6])))
        async with running(Writer(database, journal, options, sleep=Waits())) as writer:
            for _ in range(data.draw(st.integers(0, 6))):
                database.fails = data.draw(st.integers(0, 3))
                count = data.draw(st.integers(0, 7))
                writer.put(trades(*range(total, total + count)))
                total += count
                for _ in range(data.draw(st.integers(0, 4))):
                    await asyncio.sleep(data.draw(st.sampled_from([0, 0.001])))
            if data.draw(st.booleans()):
                await writer.flush()

    for _ in range(data.draw(st.integers(1, 3))):
        asyncio.run(life())

    async def last():
        async with running(Writer(database, Journal(folder))) as writer:
            await writer.flush()

    asyncio.run(last())
    first_seen = list(dict.fromkeys(record.id for record in database.order))
    assert first_seen == [record.id for record in trades(*range(total))]


async def test_wait_for_room_without_journal_waits_until_the_queue_has_some():
    database = Database(fails=2)
    options = WriterOptions(queue_records=10, batch_records=4)
    async with running(Writer(database, None, options, sleep=Waits())) as writer:
        writer.put(trades(*range(12)))
        assert writer.pending >= 10
        await writer.wait_for_room()

        assert writer.pending < 10
        assert len(database.order) >= 3


async def test_wait_for_room_with_journal_returns_at_once(on_disk):
    async with running(Writer(Database(fails=10**9), on_disk, WriterOptions(queue_records=1))) as writer:
        writer.put(trades(1, 2, 3))
        async with asyncio.timeout(30):
            await writer.wait_for_room()
        assert writer.pending == 3


async def test_disk_full_records_go_to_the_database_directly_and_order_holds(on_disk, monkeypatch):
    database = Database()
    async with running(Writer(database, on_disk, sleep=Waits())) as writer:
        writer.put(trades(1))
        await writer.flush()
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", _refuse)
            position = writer.put(trades(2, 3))
            await writer.durable(position)
            assert writer.journal_failures >= 1
            assert writer.last_error == "journal: No space left on device"
        writer.put(trades(4))
        await writer.flush()

    assert database.order == trades(1, 2, 3, 4)
    assert writer.pending == 0


async def test_disk_full_and_database_away_keeps_trying_both_until_one_is_back(on_disk, monkeypatch):
    database = Database(fails=4)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", _refuse)
        async with running(Writer(database, on_disk, sleep=Waits())) as writer:
            await writer.durable(writer.put(trades(1, 2)))

    assert database.order == trades(1, 2)


async def test_crash_on_a_full_disk_brings_back_nothing_older_than_what_went_around_the_journal(tmp_path, monkeypatch):
    folder = tmp_path / "journal"
    database = Database()
    old, new = make_record(Trade, 1, net_pnl=1.0), make_record(Trade, 1, net_pnl=2.0)
    async with running(Writer(database, Journal(folder), sleep=Waits())) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_write_acknowledged", lambda journal: _refuse(journal, ()))
            writer.put([old])
            await writer.flush()
            patch.setattr(Journal, "_write", _refuse)
            writer.put([new])
            await writer.flush()
            while not writer.journal_failures:  # noqa: ASYNC110 - a counter that signals nobody
                await asyncio.sleep(0.001)
            shutil.copytree(folder, tmp_path / "left by the crash")
    next_life = Journal(tmp_path / "left by the crash")
    next_life.open()
    assert list(next_life.replay()) == []
    assert database.order[-1] == new


async def test_open_reports_damage_found_in_the_journal(tmp_path):
    journal = Journal(tmp_path)
    journal.open()
    journal.append(trades(1, 2))
    journal.close()
    path = next(tmp_path.glob("*.journal"))
    path.write_bytes(path.read_bytes()[:-9])
    database = Database()
    writer = Writer(database, Journal(tmp_path))

    assert "torn by a crash" in (await writer.open())[0]
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await writer.flush()
        writer.stop()
    assert database.order == trades(1)


async def test_damaged_records_at_the_end_do_not_hold_up_the_flush(tmp_path):
    journal = Journal(tmp_path)
    journal.open()
    journal.append(trades(1, 2))
    journal.close()
    path = next(tmp_path.glob("*.journal"))
    content = path.read_bytes()
    cut = content.index(b"\n2 ") + 40
    path.write_bytes(content[:cut] + b"#" + content[cut + 1 :])
    database = Database()
    async with running(Writer(database, Journal(tmp_path))) as writer:
        writer.put(trades(3))
        await writer.flush()

    assert database.order == trades(1, 3)


async def test_acknowledge_refused_by_the_disk_is_noted_and_harmless(on_disk, monkeypatch):
    def refuse(_self, _position):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Journal, "acknowledge", refuse)
    async with running(Writer(Database(), on_disk)) as writer:
        writer.put(trades(1))
        await writer.flush()
        while not writer.journal_failures:  # noqa: ASYNC110 - a counter that signals nobody
            await asyncio.sleep(0.001)

    assert writer.last_error == "journal: Read-only file system"


@pytest.mark.parametrize("name", ["batch_records", "queue_records", "write_timeout_seconds", "retry_first_seconds"])
def test_options_below_their_bound_are_refused(name):
    with pytest.raises(ValueError, match=name):
        WriterOptions(**{name: 0})


def _refuse(_self, _records):
    raise OSError(errno.ENOSPC, "No space left on device")


def _reopened(folder):
    journal = Journal(folder)
    journal.open()
    found = list(journal.replay())
    journal.close()
    return found
