"""An append-only file of records beside the database: what the database has not confirmed yet survives a crash here.

Positions count records from 1, rise strictly and never restart. A line whose length or checksum does not fit is left
out and reported: at the end of a file it is the write that a crash tore, elsewhere damage, and then the file is set
aside as ``*.damaged`` instead of being deleted. A journal belongs to one process at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING

from attrs import define

from slt.errors import ConfigError
from slt.storage._codec import decode_record, encode_record, field_names
from slt.storage._frames import Scan, make_frame, names_of, parse_frame, sound_lines, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import FileIO
    from pathlib import Path

    from slt.storage._entries import Entry

__all__ = ["SYNC_POLICIES", "Journal"]

SYNC_POLICIES = ("always", "interval", "never")
"""When appended records are forced to the disk: by each `append`, once `sync_seconds` have passed, only by `sync`."""

_SUFFIX = ".journal"
_ACKNOWLEDGED = "acknowledged"


@define
class _Segment:
    path: Path
    last: int = 0
    is_damaged: bool = False


@define
class _Cursor:
    """Where the next read goes on: `position` is the last record before `offset` in `segment`."""

    position: int
    segment: Path
    offset: int


class Journal:
    """Append records, read back what is not acknowledged, forget what is. Thread-safe; every method blocks on the disk.

    Args:
        folder: Where the segments lie; made when missing.
        sync: One of `SYNC_POLICIES`. ``never`` survives a killed process, not a power cut.
        sync_seconds: For ``interval``: longest time between an append and its fsync, while appends come in.
        segment_bytes: A segment that has grown to this size is closed and a new one begun.
        clock: Monotonic seconds, for ``interval``.

    Attributes:
        problems: One line per damage found so far, for people.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sync: str = "interval",
        sync_seconds: float = 1.0,
        segment_bytes: int = 16 * 2**20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.sync_policy = sync
        self.sync_seconds = sync_seconds
        self.problems: list[str] = []
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._segments: list[_Segment] = []
        self._file: FileIO | None = None
        self._size = 0
        self._unsynced: list[Path] = []
        self._position = 0
        self._synced = 0
        self._synced_at = 0.0
        self._acknowledged = 0
        self._cursor: _Cursor | None = None

    @property
    def position(self) -> int:
        """Position of the record appended last; 0 = none ever."""
        return self._position

    @property
    def synced(self) -> int:
        """Position up to which everything is known to be on the disk."""
        return self._synced

    @property
    def acknowledged(self) -> int:
        """Position up to which everything was acknowledged."""
        return self._acknowledged

    def open(self) -> None:
        """Find what an earlier process left. New records go to a new segment, behind everything found.

        Raises:
            ConfigError: The policy is unknown, or the folder cannot be made or written.
        """
        if self.sync_policy not in SYNC_POLICIES:
            raise ConfigError(f"journal: sync is `{self.sync_policy}`; allowed are {', '.join(SYNC_POLICIES)}")
        with self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._acknowledged = self._read_acknowledged()
                paths = sorted(self.folder.glob(f"*{_SUFFIX}"))
                self._segments = [self._scanned(path) for path in paths]
                self._write_acknowledged()
                if self.sync_policy != "never":
                    self._unsynced = paths
                    self._sync_files()
            except OSError as error:
                raise ConfigError(
                    f"journal folder `{self.folder}` cannot be used: {error.strerror}; free or allow it, or choose "
                    "another data folder"
                ) from error
            last = max((segment.last for segment in self._segments), default=0)
            self._position = self._synced = max(last, self._acknowledged)
            self._synced_at = self._clock()
            self._drop_acknowledged()

    def append(self, records: Sequence[Entry]) -> int:
        """Write records behind all others and hand them to the operating system; fsync as the policy says.

        Returns:
            The position of the last one.

        Raises:
            OSError: The disk refused (full, gone). Then none of them is in the journal, and it can be tried again.
        """
        with self._lock:
            first = self._position + 1
            data = b"".join(make_frame(first + index, encode_record(record)) for index, record in enumerate(records))
            is_sync_due = self._is_sync_due()
            try:
                self._open_segment(first)
                self._write(data)
                if is_sync_due:
                    self._sync_files()
            except OSError:
                self._abandon_segment()
                raise
            self._size += len(data)
            self._position += len(records)
            self._segments[-1].last = self._position
            if is_sync_due:
                self._mark_synced()
            return self._position

    def skip(self, count: int) -> int:
        """Pass over the positions of records that were stored without the journal, e.g. while the disk was full."""
        with self._lock:
            self._position += count
            return self._position

    def sync(self) -> int:
        """Force everything appended to the disk and return the position of the last record now safe.

        Raises:
            OSError: The disk refused.
        """
        with self._lock:
            if self._synced < self._position:
                self._sync_files()
            return self._mark_synced()

    def read(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        """Up to `limit` records behind position `after`, in order, with their positions; damaged ones are left out."""
        with self._lock:
            found: list[tuple[int, Entry]] = []
            while len(found) < limit and after < self._position:
                segment = self._segment_behind(after)
                if segment is None:
                    break
                rows = self._read_segment(segment, after, limit - len(found))
                found += rows
                after = rows[-1][0] if rows else max(segment.last, after + 1)
            return found

    def replay(self) -> Iterator[Entry]:
        """Every record not acknowledged, oldest first."""
        after = self._acknowledged
        while rows := self.read(after, 1000):
            yield from (record for _, record in rows)
            after = rows[-1][0]

    def acknowledge(self, position: int) -> None:
        """Forget everything up to `position`. What a crash undoes of this is only read, and stored by id, once more.

        A full disk that takes no note of it may still delete what is not needed any more, and is less full then.

        Raises:
            OSError: The disk refused; nothing is lost.
        """
        with self._lock:
            if position <= self._acknowledged:
                return
            self._acknowledged = position
            try:
                self._write_acknowledged()
            finally:
                self._drop_acknowledged()

    def close(self) -> None:
        """Force everything to the disk and close the file. The journal can be opened again."""
        with self._lock:
            try:
                self.sync()
            finally:
                self._close_file()

    def _is_sync_due(self) -> bool:
        if self.sync_policy == "interval":
            return self._clock() - self._synced_at >= self.sync_seconds
        return self.sync_policy == "always"

    def _sync_files(self) -> None:
        for path in self._unsynced:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        self._unsynced.clear()
        if self._file is not None:
            os.fsync(self._file.fileno())

    def _mark_synced(self) -> int:
        self._synced = self._position
        self._synced_at = self._clock()
        return self._synced

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - _open_segment has opened it; this tells the type checker
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _open_segment(self, first: int) -> None:
        if self._file is not None and self._size < self._segment_bytes:
            return
        if self._file is not None:
            self._sync_files()
            self._close_file()
        path = self.folder / f"{first:020d}{_SUFFIX}"
        header = make_frame(0, json.dumps(field_names()))
        # A file of this name can only be one whose very first write failed.
        self._file = path.open("wb", buffering=0)
        self._segments = [segment for segment in self._segments if segment.path != path]
        self._segments.append(_Segment(path))
        self._size = 0
        self._write(header)
        self._size = len(header)
        if self.sync_policy != "never":
            sync_folder(self.folder)

    def _abandon_segment(self) -> None:
        """After a failed write: cut off what is torn and leave the file; what comes next opens a new one behind it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._size)
            self._unsynced.append(self._segments[-1].path)
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _scanned(self, path: Path) -> _Segment:
        scan = Scan()
        for _ in sound_lines(path, 0, scan):
            pass
        self.problems += scan.problems
        return _Segment(path, last=scan.last, is_damaged=scan.is_damaged)

    def _segment_behind(self, after: int) -> _Segment | None:
        return next((segment for segment in self._segments if segment.last > after), None)

    def _read_segment(self, segment: _Segment, after: int, limit: int) -> list[tuple[int, Entry]]:
        cursor = self._cursor
        is_next = cursor is not None and cursor.position == after and cursor.segment == segment.path
        offset = cursor.offset if cursor is not None and is_next else 0
        names = names_of(segment.path)
        rows: list[tuple[int, Entry]] = []
        for position, payload, end in sound_lines(segment.path, offset, Scan()):
            offset = end
            if position <= after:
                continue
            try:
                rows.append((position, decode_record(payload, names)))
            except ValueError as error:
                segment.is_damaged = True
                self.problems.append(f"journal `{segment.path.name}`: record {position} left out: {error}")
            if len(rows) == limit:
                break
        if rows:
            self._cursor = _Cursor(rows[-1][0], segment.path, offset)
        return rows

    def _drop_acknowledged(self) -> None:
        kept = []
        for segment in self._segments:
            is_current = self._file is not None and segment is self._segments[-1]
            if is_current or segment.last > self._acknowledged:
                kept.append(segment)
            elif segment.is_damaged:
                segment.path.replace(segment.path.with_suffix(".damaged"))
            else:
                segment.path.unlink(missing_ok=True)
        self._segments = kept

    def _read_acknowledged(self) -> int:
        path = self.folder / _ACKNOWLEDGED
        try:
            frame = parse_frame(path.read_bytes())
        except FileNotFoundError:
            return 0
        if frame is None:
            self.problems.append(f"journal `{_ACKNOWLEDGED}` is damaged: everything in the journal is stored again")
            return 0
        return frame[0]

    def _write_acknowledged(self) -> None:
        path = self.folder / _ACKNOWLEDGED
        fresh = path.with_suffix(".new")
        fresh.write_bytes(make_frame(self._acknowledged, "{}"))
        fresh.replace(path)
