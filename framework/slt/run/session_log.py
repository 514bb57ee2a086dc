"""The session log of a run on a live feed: every event that enters the engine, in order, before it is handled.

The log lies in the run's folder, in parts. A part is a snapshot of the whole run (``000001.snapshot``) and the entries
after it (``000001.log``); finished parts are compressed (``.zst``). From a snapshot and the entries behind it a run is
restored to the event it died at, and ``slt replay`` proves that the same events give the same commands.

An entry is a head (length, CRC-32, kind) and its content. One that is not whole at the end of a part is what a crash
tore; anywhere else it is damage.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import struct
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.errors import SltError
from slt.log import get_logger
from slt.run.snapshots import load_snapshot, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

__all__ = ["Entry", "EntryKind", "SessionLog", "load_part", "parts_of", "read_entries"]

_MAGIC = b"slt-session-1\n"
_HEAD = struct.Struct("<IIB")
_sync = getattr(os, "fdatasync", os.fsync)
_log = get_logger("lifecycle")


class EntryKind(IntEnum):
    """What an entry holds."""

    EVENT = 1
    """An event for the engine."""
    WAVE = 2
    """Bars for the dense part."""
    CLOSED = 3
    """``(time, row)``: a row of the last wave goes to the engine as `slt.events.BarsClosed`."""
    ADVANCE = 4
    """A price point for a simulated broker; what it gives follows as events."""
    COMMANDS = 5
    """The text of the commands that the last event gave (`slt.run.transcript`); nothing = none."""
    PART = 6
    """``(symbols, blocks)``: features and strategies of these symbols begin anew, fed with blocks of their past."""


@frozen(eq=False)
class Entry:
    """One entry.

    Attributes:
        number: Position in its part, from 1.
        kind: What it holds.
        content: The object; text for commands.
    """

    number: int
    kind: EntryKind
    content: Any


class SessionLog:
    """Writes a session log. Entries reach the operating system at once, and the disk where `durable` is awaited.

    A disk that refuses ends the log, not the run: `problem` then says why, and nothing more is written until a new part
    can be begun.

    Args:
        folder: Where the parts lie; made when missing.
        keep_seconds: Age at which finished parts are deleted; the part before the current one always stays.

    Attributes:
        problem: Why the log is broken, one line; empty = it is not.
        position: Bytes written, over all parts of this process.
    """

    def __init__(self, folder: Path, keep_seconds: float) -> None:
        self.problem = ""
        self.position = 0
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._file: FileIO | None = None
        self._number = 0
        self._synced = 0
        self._older: list[FileIO] = []
        self._syncing = asyncio.Lock()

    async def begin_part(self, state: dict[str, Any]) -> None:
        """Begin a part with this snapshot; what is written from the call on comes after it.

        The state is pickled before anything is awaited, so the caller may change it once this has begun to wait.
        """
        body = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
        self.problem = ""
        if self._file is not None:
            self._older.append(self._file)
        try:
            self._open_next()
            await self.durable(self.position)
            await asyncio.to_thread(write_snapshot, self._folder / f"{self._number:06d}.snapshot", body)
            await asyncio.to_thread(_tidy, self._folder, self._number, self._keep_seconds)
        except (OSError, SltError) as error:
            self._break(error)

    def write(self, kind: EntryKind, content: Any) -> None:
        """Append an entry."""
        if self._file is None:
            return
        body = content.encode() if kind is EntryKind.COMMANDS else pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        data = _HEAD.pack(len(body), zlib.crc32(body, kind), kind) + body
        try:
            _append(self._file, data)
        except OSError as error:
            self._break(error)
        self.position += len(data)

    async def durable(self, position: int) -> None:
        """Wait until everything up to `position` is on the disk; returns at once where the log is broken."""
        while self._synced < position and not self.problem:
            async with self._syncing:
                if self._synced >= position or self._file is None:
                    return
                reached, older = self.position, self._older
                self._older = []
                try:
                    await asyncio.to_thread(_sync_all, older, self._file)
                except OSError as error:
                    self._break(error)
                    return
                self._synced = max(self._synced, reached)

    def close(self) -> None:
        """Force everything to the disk and end the log."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                _sync_all([*self._older, self._file], None)
            self._file = None

    def _open_next(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number = max([self._number, *parts_of(self._folder)], default=0) + 1
        path = self._folder / f"{self._number:06d}.log"
        self._file = path.open("xb", buffering=0)
        try:
            _append(self._file, _MAGIC)
        except OSError:
            path.unlink()
            raise

    def _break(self, error: Exception) -> None:
        self.problem = f"the session log in `{self._folder}` cannot be written: {error}"
        _log.error("session log ended", cause=str(error), safety=True)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def parts_of(folder: Path) -> list[int]:
    """Numbers of the parts that a folder holds, oldest first."""
    return sorted({int(path.name[:6]) for path in folder.glob("[0-9]" * 6 + ".*") if path.name[:6].isdigit()})


def load_part(folder: Path, number: int) -> dict[str, Any] | None:
    """The snapshot that a part begins with; None where it was never finished.

    Raises:
        SltError: It is damaged, or of another version.
    """
    path = folder / f"{number:06d}.snapshot"
    packed = path.with_suffix(".snapshot.zst")
    if not path.exists() and packed.exists():
        return load_snapshot(packed, content=_unpack(packed))
    return load_snapshot(path)


def read_entries(folder: Path, number: int) -> Iterator[Entry]:
    """The entries of a part, up to where a crash tore its end.

    Args:
        folder: Where the parts lie.
        number: The part.

    Raises:
        SltError: The part is damaged.
    """
    path = folder / f"{number:06d}.log"
    packed = path.with_suffix(".log.zst")
    content = path.read_bytes() if path.exists() else _unpack(packed) if packed.exists() else b""
    if not content.startswith(_MAGIC):
        if _MAGIC.startswith(content):
            return
        raise SltError(f"session log `{path}` is not one; restore the file from a copy")
    offset, count = len(_MAGIC), 0
    while offset < len(content):
        body, kind, end = _entry_at(content, offset)
        if body is None:
            if end >= len(content):
                _log.warning("the last entry of a session log was torn by a crash", file=str(path), offset=offset)
                return
            raise SltError(f"session log `{path}` is damaged at byte {offset}; restore the file from a copy")
        count, offset = count + 1, end
        yield Entry(count, EntryKind(kind), _read_content(kind, body, path))


def _entry_at(content: bytes, offset: int) -> tuple[bytes | None, int, int]:
    """Content (None: not whole), kind and end of the entry at an offset."""
    start = offset + _HEAD.size
    if start > len(content):
        return None, 0, len(content)
    length, checksum, kind = _HEAD.unpack_from(content, offset)
    body = content[start : start + length]
    if len(body) < length or zlib.crc32(body, kind) != checksum:
        return None, 0, start + length
    return body, kind, start + length


def _read_content(kind: int, body: bytes, path: Path) -> Any:
    if kind == EntryKind.COMMANDS:
        return body.decode()
    try:
        return pickle.loads(body)  # noqa: S301 # our own file, checked entry by entry
    except Exception as error:
        raise SltError(f"session log `{path}` was written by another version of slt ({error}); use that one") from error


def _append(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_all(finished: list[FileIO], current: FileIO | None) -> None:
    for file in finished:
        _sync(file.fileno())
        file.close()
    if current is not None:
        _sync(current.fileno())


def _tidy(folder: Path, current: int, keep_seconds: float) -> None:
    """Compress the parts before the current one, and delete those that are too old."""
    now = (folder / f"{current:06d}.log").stat().st_mtime
    for path in sorted(folder.iterdir()):
        if path.name.startswith(f"{current:06d}.") or not path.name[:6].isdigit():
            continue
        if now - path.stat().st_mtime > keep_seconds and int(path.name[:6]) < current - 1:
            path.unlink()
        elif path.suffix in {".log", ".snapshot"}:
            _pack(path)


def _pack(path: Path) -> None:
    import zstandard  # noqa: PLC0415 # only once an hour

    packed = path.with_name(f"{path.name}.zst")
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(zstandard.ZstdCompressor(level=3).compress(path.read_bytes()))
    fresh.replace(packed)
    os.utime(packed, (path.stat().st_atime, path.stat().st_mtime))
    path.unlink()


def _unpack(path: Path) -> bytes:
    import zstandard  # noqa: PLC0415 # as above

    try:
        content: bytes = zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=2**34)
    except zstandard.ZstdError as error:
        raise SltError(f"`{path}` is damaged: {error}; restore the file from a copy") from error
    return content
