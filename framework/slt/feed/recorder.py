"""Writing raw frames to disk as they came, and reading them back to the last whole one.

A recording is a folder of files ``frames-<number>.zst``, each a row of zstandard frames with checksums, each of these
a row of records: ``<time:int64><length:uint32><connection:uint16>`` in little-endian order, then the bytes. Connection
65535 carries JSON: first what was recorded (`Recording.about`), then the name of every connection before its first
frame. Each file begins with both, so that it can be read alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from slt.errors import DataError
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from slt.config import FeedConfig

__all__ = ["FORMAT", "Recorder", "Recording", "make_recorder", "open_recording"]

FORMAT = 1
"""Version of the format, in every file's first record."""

_RECORD = struct.Struct("<qIH")
_NOTE = 0xFFFF
_BATCH_BYTES = 1 << 20
_HELD_BYTES = 1 << 26
_FLUSH_S = 1.0
_HOUR_MS = 3_600_000
_LEVEL = 3
_READ_BYTES = 1 << 14
_log = get_logger("lifecycle")


class Recorder:
    """Takes every frame without waiting, and writes them in a thread about once a second.

    A crash of the process loses at most what came since the last write. When the disk refuses, or cannot keep up, the
    recording ends with an error in the log and the feed goes on.

    Args:
        folder: Folder of this recording; made when it begins.
        feed: Name of the feed in config.toml.
        rotate_bytes: Size at which a new file is begun; each hour (by the frames' times) begins one too.
    """

    def __init__(self, folder: Path, feed: str, rotate_bytes: int) -> None:
        self.folder = folder
        self.feed = feed
        self.rotate_bytes = rotate_bytes
        self.is_broken = False
        self._about: dict[str, Any] = {}
        self._head: dict[str, Any] = {}
        self._written: dict[str, Any] = {}
        self._names: list[str] = []
        self._parts: list[bytes] = []
        self._held = 0
        self._first = 0
        self._file: BinaryIO | None = None
        self._number = 0
        self._hour = 0
        self._is_asked = asyncio.Event()

    def begin(self, about: Mapping[str, Any]) -> None:
        """Say what is recorded from here on, as plain JSON: before the first `add`, and after each `tell`."""
        self._about = {"format": FORMAT, "feed": self.feed, **about}
        self._head = self._head or self._about

    def tell(self, time: int, news: Mapping[str, Any]) -> None:
        """Record what changed by something else than a frame, as plain JSON; the next file tells it in its head."""
        self._note(time, news)

    def connection(self, name: str) -> int:
        """The number that stands for a connection in `add`."""
        if name not in self._names:
            self._names.append(name)
            self._note(0, {"connections": self._names})
        return self._names.index(name)

    def add(self, connection: int, time: int, frame: bytes) -> None:
        """Take a frame that came at `time`, ms UTC."""
        if self.is_broken:
            return
        if not self._first:
            self._first = time
        self._parts += (_RECORD.pack(time, len(frame), connection), frame)
        self._held += len(frame)
        if self._held > _BATCH_BYTES:
            self._is_asked.set()
            if self._held > _HELD_BYTES:
                self._break("the disk cannot keep up")

    async def run(self) -> None:
        """Write until cancelled, then what is left."""
        try:
            while not self.is_broken:
                try:
                    async with asyncio.timeout(_FLUSH_S):
                        await self._is_asked.wait()
                except TimeoutError:
                    pass
                self._is_asked.clear()
                await self._flush()
        finally:
            await asyncio.shield(self._flush())
            self._end()

    async def _flush(self) -> None:
        parts, first, head = self._parts, self._first, self._head
        self._parts, self._held, self._first, self._head = [], 0, 0, self._about
        if parts and not self.is_broken:
            try:
                await asyncio.to_thread(self._write, parts, first, head)
            except OSError as error:
                self._break(str(error.strerror or error))

    def _write(self, parts: list[bytes], time: int, about: dict[str, Any]) -> None:
        import zstandard  # noqa: PLC0415 - only a run that records needs it

        compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress
        is_grown = about is not self._written
        if (
            self._file is None
            or is_grown
            or self._file.tell() > self.rotate_bytes
            or (time and time // _HOUR_MS != self._hour)
        ):
            self._end()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._number += 1
            self._written = about
            self._hour = time // _HOUR_MS
            self._file = (self.folder / f"frames-{self._number:06d}.zst").open("xb")
            head = (*_as_note(time, about), *_as_note(time, {"connections": self._names}))
            self._file.write(compress(b"".join(head)))
        self._file.write(compress(b"".join(parts)))
        self._file.flush()

    def _end(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                file.flush()
                os.fsync(file.fileno())

    def _note(self, time: int, content: Mapping[str, Any]) -> None:
        self._parts += _as_note(time, content)

    def _break(self, reason: str) -> None:
        self.is_broken = True
        self._parts, self._held = [], 0
        _log.error("recording ended", reason=reason, folder=str(self.folder))


def make_recorder(config: FeedConfig, feed: str, time: int) -> Recorder | None:
    """A recorder as section ``[feed]`` wants it, in a folder named by feed and time; None where it wants none.

    Args:
        config: Section ``[feed]``.
        feed: Name of the feed in config.toml.
        time: Now, ms UTC.
    """
    if not config.record:
        return None
    moment = datetime.fromtimestamp(time / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    return Recorder(Path(config.record_folder) / f"{feed}-{moment}-{time % 1000:03d}", feed, config.record_mb << 20)


@define
class Recording:
    """A recording on disk.

    Attributes:
        files: Its files, in order.
        about: What the recorder was told in `Recorder.begin`, and ``format``.
        problems: What was found wrong while reading, one line each: a torn end, damage.
    """

    files: tuple[Path, ...]
    about: dict[str, Any]
    problems: list[str] = field(factory=list)

    def frames(self) -> Iterator[tuple[int, str, bytes]]:
        """Time (ms UTC), connection and bytes of every frame, in the order they came; torn ends are left out."""
        return ((time, name, data) for time, name, data in self.entries() if isinstance(data, bytes))

    def entries(self) -> Iterator[tuple[int, str, bytes | dict[str, Any]]]:
        """As `frames`, and what `Recorder.tell` was told between them, without a connection."""
        self.problems.clear()
        for path in self.files:
            names: list[str] = []
            for time, connection, data in _records(path, self.problems):
                if connection != _NOTE:
                    yield time, names[connection] if connection < len(names) else "", data
                    continue
                note = json.loads(data)
                names = note.get("connections", names)
                if "joined" in note or "change" in note:
                    yield time, "", note


def open_recording(folder: Path) -> Recording:
    """Find a recording's files and read what was recorded.

    Args:
        folder: The folder of the recording, or one of its files.

    Raises:
        DataError: Nothing there, or nothing that a recorder of this version wrote.
    """
    files = (folder,) if folder.is_file() else tuple(sorted(folder.glob("frames-*.zst")))
    if not files:
        raise DataError(f"{folder}: holds no recording (files `frames-*.zst`)")
    for path in files:
        first = next(_records(path, []), None)
        if first is not None and first[1] == _NOTE:
            about = json.loads(first[2])
            if about.get("format") != FORMAT:
                raise DataError(f"{path}: recorded in format {about.get('format')}, this version reads {FORMAT}")
            return Recording(files, about)
    raise DataError(f"{folder}: no file of it holds a whole record; record again")


def _as_note(time: int, content: Mapping[str, Any]) -> tuple[bytes, bytes]:
    data = json.dumps(content, separators=(",", ":")).encode()
    return _RECORD.pack(time, len(data), _NOTE), data


def _records(path: Path, problems: list[str]) -> Iterator[tuple[int, int, bytes]]:
    """Whole records of one file; what follows a torn or damaged place is left out and noted."""
    held = bytearray()
    for chunk in _chunks(path, problems):
        held += chunk
        place = 0
        while len(held) - place >= _RECORD.size:
            time, length, connection = _RECORD.unpack_from(held, place)
            end = place + _RECORD.size + length
            if end > len(held):
                break
            yield time, connection, bytes(held[place + _RECORD.size : end])
            place = end
        del held[:place]


def _chunks(path: Path, problems: list[str]) -> Iterator[bytes]:
    """What a file of zstandard frames holds, as far as it is whole."""
    import zstandard  # noqa: PLC0415 - only who reads a recording needs it

    make = zstandard.ZstdDecompressor().decompressobj
    frame = None
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                while data:
                    frame = frame or make()
                    yield frame.decompress(data)
                    data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        problems.append(f"{path}: damaged, read up to there: {error}")
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if frame is not None:
        problems.append(f"{path}: torn at its end, read to the last whole frame")
