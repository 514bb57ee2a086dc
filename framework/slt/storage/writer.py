"""Write-behind: the engine puts records down and goes on; a task brings them to the database, in order.

::

    put ──► incoming ──► journal ──► queue ──► storage plugin ──► acknowledge
            (a list)     (file)      (memory)   (batches)

With a journal a record is safe once it is on the disk (`Writer.durable`), and the memory queue is only a short cut:
what does not fit in it is read back from the journal. Without one (a back-test, which repeats from its snapshot) the
queue is all there is, and the driver waits in `Writer.wait_for_room` when it has run ahead.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen, validators

from slt.errors import RecordRefusedError, SltError
from slt.storage._entries import Forget
from slt.storage._waiting import Progress, in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from slt.storage._entries import Entry
    from slt.storage.journal import Journal
    from slt.storage.refused import RefusedRecords
    from slt.types import Record

__all__ = ["RecordStore", "Writer", "WriterOptions"]


@frozen(kw_only=True)
class WriterOptions:
    """How the writer batches, waits and retries.

    Attributes:
        batch_records: Most records in one write; halved after each failure, so that a slow database gets small ones.
        queue_records: Records held in memory; beyond it they wait in the journal, or `Writer.wait_for_room` waits.
        write_timeout_seconds: A write that takes longer counts as failed and is repeated, with twice the time.
        write_timeout_most_seconds: Longest time that a write is ever given.
        retry_first_seconds: Wait after the first failure; doubles with each further one.
        retry_most_seconds: Longest wait between two tries.
    """

    batch_records: int = field(default=5000, validator=validators.ge(1))
    queue_records: int = field(default=50_000, validator=validators.ge(1))
    write_timeout_seconds: float = field(default=30.0, validator=validators.gt(0))
    write_timeout_most_seconds: float = field(default=600.0, validator=validators.gt(0))
    retry_first_seconds: float = field(default=0.5, validator=validators.gt(0))
    retry_most_seconds: float = field(default=60.0, validator=validators.gt(0))


class RecordStore(Protocol):
    """What the writer needs of a storage: two hooks of `slt.hookspecs.StorageSpecs`."""

    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """As the hook."""

    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """As the hook."""


class Writer:
    """Bring records to a storage plugin without ever making the caller wait or fail.

    Use from one event loop: ``await open()`` once, ``run()`` as a task of the caller's group, `put` from anywhere in
    the loop, `stop` at the end. Records are stored in the order they were put; of several with one id in a batch only
    the last is sent. A failed write is repeated for as long as it takes; storing is by id, so a repetition changes
    nothing.

    Args:
        storage: The storage plugin, open or about to be.
        journal: What the database has not confirmed is kept here over a crash; None = only in memory.
        options: Sizes and waits.
        refused: Where records go that the database refuses for ever; None = such a record is tried for ever.
        sleep: How to wait before a retry and between two fsyncs.
        jitter: Random numbers in [0, 1) that spread the retries.
        on_written: Told of the records of every try to write them, failed ones too: a try that was given up may still
            have been carried out.
        on_forgotten: Told the run whose records were to be forgotten, at every try.

    Attributes:
        written: Records the database has confirmed, repetitions by id included.
        failures: Failed tries to write to the database, ever.
        failures_in_a_row: Failed tries since the last success; above 0 the database is away.
        journal_failures: Failed tries to write to the journal, ever.
        last_error: The last failure in one line, without secrets; empty = none ever.
        journal_error: The last one of the journal; empty = none ever.
    """

    def __init__(
        self,
        storage: RecordStore,
        journal: Journal | None,
        options: WriterOptions | None = None,
        *,
        refused: RefusedRecords | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_written: Callable[[Sequence[Record]], None] | None = None,
        on_forgotten: Callable[[str], None] | None = None,
    ) -> None:
        self.written = 0
        self.failures = 0
        self.failures_in_a_row = 0
        self.journal_failures = 0
        self.last_error = ""
        self.journal_error = ""
        self._storage = storage
        self._journal = journal
        self._options = options or WriterOptions()
        self._refused = refused
        self._patience = self._options.write_timeout_seconds
        self._sleep = sleep
        self._jitter = jitter
        self._on_written = on_written
        self._on_forgotten = on_forgotten
        self._batch_limit = self._options.batch_records
        self._is_searching = False
        # Positions inside are the journal's; the caller's start at 0, which is `_offset` here.
        self._offset = 0
        self._put = 0
        self._incoming: list[Entry] = []
        self._wake = asyncio.Event()
        self._is_sync_wanted = False
        self._queue: deque[Entry] = deque()
        self._queue_first = 1
        self._taken = Progress()
        self._safe = Progress()
        self._stored = Progress()
        self._stopping = asyncio.Event()

    @property
    def causes(self) -> str:
        """The last failure of the journal, and the last of all where that is another; empty = none ever."""
        return "; ".join(dict.fromkeys(filter(None, (self.journal_error, self.last_error))))

    @property
    def pending(self) -> int:
        """Records not confirmed by the database yet, those found in the journal included."""
        return self._offset + self._put - self._stored.value

    @property
    def is_away(self) -> bool:
        """Whether the last try to reach the database failed."""
        return self.failures_in_a_row > 0

    @property
    def refused(self) -> int:
        """Records set aside because the database refuses them for ever."""
        return self._refused.count if self._refused is not None else 0

    async def open(self) -> tuple[str, ...]:
        """Open the journal and find what it still holds.

        Returns:
            One line per damage found in it.

        Raises:
            slt.errors.ConfigError: Its folder cannot be used.
        """
        if self._journal is None:
            return ()
        await asyncio.to_thread(self._journal.open)
        self._offset = self._journal.position
        self._stored.advance(self._journal.acknowledged)
        for progress in (self._taken, self._safe):
            progress.advance(self._offset)
        self._queue_first = self._offset + 1
        return tuple(self._journal.problems)

    def put(self, records: Iterable[Record]) -> int:
        """Take records to be stored. Returns at once, whatever the database does.

        Returns:
            A position for `durable`: that of the last record put so far.
        """
        before = len(self._incoming)
        self._incoming.extend(records)
        self._put += len(self._incoming) - before
        self._wake.set()
        return self._put

    def forget(self, run_id: str, since: int) -> int:
        """Have the storage forget a run's records from a time on: those put before this, and none put after it.

        Args:
            run_id: The run.
            since: ms UTC, inclusive.

        Returns:
            A position, as `put`.
        """
        self._incoming.append(Forget(run_id, since))
        self._put += 1
        self._wake.set()
        return self._put

    async def durable(self, position: int) -> None:
        """Wait until everything put up to `position` would survive a crash: in the journal and fsynced, or stored.

        The journal's policy ``never`` takes the operating system's word instead of an fsync.
        """
        if self._safe.value < self._offset + position:
            self._is_sync_wanted = True
            self._wake.set()
        await self._safe.reached(self._offset + position)

    async def flush(self) -> None:
        """Wait until everything put so far is stored. While the database is away that takes as long as it is away."""
        await self._stored.reached(self._offset + self._put)

    async def wait_for_room(self) -> None:
        """Wait until the queue has room. Returns at once with a journal, which takes what the queue cannot."""
        if self._journal is None:
            await self._stored.reached(self._offset + self._put - self._options.queue_records + 1)

    def stop(self) -> None:
        """Let `run` end soon: what is not stored then stays in the journal (without one it is lost: `flush` first)."""
        self._stopping.set()

    async def run(self) -> None:
        """Store what is put, from what the journal still holds on, until `stop` or cancellation."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._take_records()), group.create_task(self._store_records())]
                if self._journal is not None and self._journal.sync_policy == "interval":
                    tasks.append(group.create_task(self._sync_regularly(self._journal)))
                await self._stopping.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._seal()

    async def _take_records(self) -> None:
        """Journal what comes in, then hand it to the queue."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._incoming:
                await self._take(self._incoming[:])
            if self._is_sync_wanted and self._journal is not None:
                self._is_sync_wanted = False
                await self._sync(self._journal)

    async def _take(self, records: list[Entry]) -> None:
        if self._journal is not None:
            try:
                await in_thread(self._journal.append, records)
            except OSError as error:
                self._note_journal_failure(error)
                await self._store_without_journal(self._journal, records)
                return
        self._accept(records)

    def _accept(self, records: list[Entry]) -> None:
        first = self._taken.value + 1
        del self._incoming[: len(records)]
        if not self._queue:
            self._queue_first = first
        # A hole in the queue would lose the order: once something stayed in the journal only, what follows does too.
        if self._queue_first + len(self._queue) == first:
            room = self._options.queue_records - len(self._queue)
            self._queue.extend(records if self._journal is None else records[: max(room, 0)])
        self._taken.advance(first + len(records) - 1)
        self._note_synced()

    async def _store_without_journal(self, journal: Journal, records: list[Entry]) -> None:
        """With the disk refusing, the database may still take them, if everything before them is there."""
        batch = _together(records[: self._batch_limit])
        if self._stored.value == self._taken.value and await self._write(batch):
            journal.skip(len(batch))
            del self._incoming[: len(batch)]
            self._taken.advance(self._taken.value + len(batch))
            # Before anybody relies on it: what the journal holds is older, and must not be stored over this again.
            await self._acknowledge(self._taken.value)
            self._advance_stored(self._taken.value)
        elif not self._is_searching:
            await self._sleep(self._retry_delay())
        self._wake.set()

    async def _sync(self, journal: Journal) -> None:
        try:
            await in_thread(journal.sync)
        except OSError as error:
            self._note_journal_failure(error)
            await self._sleep(self._options.retry_first_seconds)
            self._is_sync_wanted = True
            self._wake.set()
        self._note_synced()

    async def _sync_regularly(self, journal: Journal) -> None:
        while True:
            await self._sleep(journal.sync_seconds)
            if journal.synced < journal.position:
                await self._sync(journal)

    async def _store_records(self) -> None:
        """Bring the oldest records not stored yet to the database, batch after batch."""
        while True:
            await self._taken.reached(self._stored.value + 1)
            try:
                records, last = await self._next_batch()
            except OSError as error:
                self._note_journal_failure(error)
                await self._sleep(self._options.retry_first_seconds)
                continue
            if not records:
                self._advance_stored(last)
            elif await self._write(records):
                self._forget(last)
                self._advance_stored(last)
                await self._acknowledge(last)
            elif not self._is_searching:
                await self._sleep(self._retry_delay())

    async def _next_batch(self) -> tuple[list[Entry], int]:
        """The next records in order and the position of the last one; an empty list for a hole left by damage."""
        stored = self._stored.value
        if self._queue and self._queue_first == stored + 1:
            records = _together(islice(self._queue, self._batch_limit))
            return records, stored + len(records)
        end = self._queue_first - 1 if self._queue else self._taken.value
        assert self._journal is not None  # noqa: S101 - without a journal everything is in the queue
        rows = await in_thread(self._journal.read, stored, min(self._batch_limit, end - stored))
        rows = [row for row in rows if row[0] <= end]
        records = _together(record for _, record in rows)
        return records, rows[len(records) - 1][0] if records else end

    async def _write(self, entries: Sequence[Entry]) -> bool:
        self._is_searching = False
        try:
            async with asyncio.timeout(self._patience):
                await self._send(entries)
        except RecordRefusedError as error:
            if not await self._set_aside(entries, error):
                return False
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the run goes on and the batch is repeated
            self._note_failure(error)
            return False
        else:
            self.written += len(entries)
        self.failures_in_a_row = 0
        self._patience = max(self._options.write_timeout_seconds, self._patience / 2)
        self._batch_limit = min(self._batch_limit * 2, self._options.batch_records)
        return True

    async def _send(self, entries: Sequence[Entry]) -> None:
        first = entries[0]
        if isinstance(first, Forget):
            try:
                await self._storage.slt_forget_records(run_id=first.run_id, since=first.since)
            finally:
                if self._on_forgotten is not None:
                    self._on_forgotten(first.run_id)
            return
        records = [entry for entry in entries if not isinstance(entry, Forget)]
        latest = {(type(record), record.id): record for record in records}
        try:
            await self._storage.slt_write_records(records=list(latest.values()))
        finally:
            if self._on_written is not None:
                self._on_written(records)

    async def _set_aside(self, entries: Sequence[Entry], error: RecordRefusedError) -> bool:
        """Look for the refused record by halving; returns whether it was found and is safe in the file."""
        if self._refused is None:
            self._note_failure(error)
            return False
        if len(entries) > 1:
            self._batch_limit = len(entries) // 2
            self._is_searching = True
            return False
        try:
            await in_thread(self._refused.add, entries[0], str(error))
        except OSError as failure:
            self._note_journal_failure(failure)
            return False
        return True

    async def _acknowledge(self, last: int) -> None:
        if self._journal is not None:
            try:
                await in_thread(self._journal.acknowledge, last)
            except OSError as error:
                self._note_journal_failure(error)

    def _forget(self, last: int) -> None:
        while self._queue and self._queue_first <= last:
            self._queue.popleft()
            self._queue_first += 1

    def _advance_stored(self, last: int) -> None:
        self._stored.advance(last)
        self._safe.advance(last)

    def _note_synced(self) -> None:
        if self._journal is not None:
            is_trusted = self._journal.sync_policy == "never"
            synced = self._taken.value if is_trusted else self._journal.synced
            self._safe.advance(min(self._taken.value, synced))

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        self.failures_in_a_row += 1
        self._batch_limit = max(self._batch_limit // 2, 1)
        if isinstance(error, TimeoutError):
            self.last_error = f"the database took longer than {self._patience:g} s"
            self._patience = min(self._patience * 2, self._options.write_timeout_most_seconds)
        elif isinstance(error, SltError):
            self.last_error = str(error)
        else:
            # Only the type: the text of a foreign error may quote a connection string.
            self.last_error = f"the storage plugin raised {type(error).__name__}"

    def _note_journal_failure(self, error: OSError) -> None:
        self.journal_failures += 1
        self.last_error = self.journal_error = f"journal: {error.strerror or type(error).__name__}"

    def _retry_delay(self) -> float:
        doubled = self._options.retry_first_seconds * 2.0 ** min(max(self.failures_in_a_row - 1, 0), 30)
        return min(doubled, self._options.retry_most_seconds) * (0.5 + 0.5 * self._jitter())

    def _seal(self) -> None:
        """Journal what was put last. Blocks for a moment on purpose: the loop may end, and this must not be lost."""
        if self._journal is None:
            return
        try:
            done = self._journal.position - self._taken.value
            if rest := self._incoming[done:]:
                self._journal.append(rest)
            self._journal.close()
        except OSError as error:
            self._note_journal_failure(error)
            return
        if self._incoming:
            self._accept(self._incoming[:])
        self._note_synced()


def _together(entries: Iterable[Entry]) -> list[Entry]:
    """The first of these that go to the storage in one call: records up to the next `Forget`, or one of those alone."""
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Forget):
            return found or [entry]
        found.append(entry)
    return found
