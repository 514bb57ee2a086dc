"""What waits and what each channel has taken, on disk at once: a restart loses nothing and tells nothing twice."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

from slt.errors import ConfigError
from slt.log import get_logger
from slt.storage._codec import decode_record, encode_record
from slt.types import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import FileIO
    from pathlib import Path

__all__ = ["Deliveries"]

_log = get_logger("error")


class Deliveries:
    """A file of two kinds of lines, ``{"queued": <seconds>, "notice": […]}`` and ``["<channel>", "<notice id>"]``.

    A line is written without fsync: it survives a killed process, not a power cut. A line that a crash tore, or that is
    damaged, is left out and reported: its notice is sent once more, or not at all.

    Args:
        path: The file; made when missing.
        remember: Deliveries kept per channel when the file is opened.
        channels: Channels that a notice waits for; one that all of them have settled is forgotten.

    Attributes:
        waiting: After `open`: notices that some channel had not taken, with the time they were told first, in seconds
            since 1970; oldest first.
    """

    def __init__(self, path: Path, remember: int, channels: Iterable[str] = ()) -> None:
        self.waiting: list[tuple[Notice, float]] = []
        self._path = path
        self._remember = remember
        self._channels = tuple(channels)
        self._file: FileIO | None = None
        self._is_torn = False

    def open(self) -> dict[str, list[str]]:
        """Read what was delivered before and begin to append.

        Returns:
            Per channel the ids it has taken, oldest first: what `Outbox` takes as `delivered`.

        Raises:
            ConfigError: The file cannot be read or written.
        """
        try:
            known, queued = self._read()
            settled = [set(known.get(channel, ())) for channel in self._channels]
            self.waiting = [one for one in queued if any(one[0].id not in ids for ids in settled)]
            lines = [_line(channel, one) for channel, ids in known.items() for one in ids]
            fresh = self._path.with_suffix(".new")
            with fresh.open("wb") as file:
                file.write(b"".join(lines + [_queued_line(*one) for one in self.waiting]))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(
                f"`{self._path}` cannot be used: {error.strerror}; free or allow the run's folder"
            ) from error
        return known

    def queue(self, notice: Notice, now: float) -> None:
        """Note that a notice waits.

        Args:
            notice: The notice.
            now: Seconds since 1970.

        Raises:
            OSError: The disk refused; after a kill the notice may be lost.
        """
        self._append(_queued_line(notice, now))

    def add(self, channel: str, notice: Notice) -> None:
        """Note that a channel has taken a notice.

        Raises:
            OSError: The disk refused; after a restart the notice may be sent once more.
        """
        self._append(_line(channel, notice.id))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is None:
            return
        data = b"\n" + line if self._is_torn else line
        self._is_torn = True
        if (self._file.write(data) or 0) < len(data):  # a disk that fills up takes the beginning of a line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_torn = False

    def _read(self) -> tuple[dict[str, list[str]], list[tuple[Notice, float]]]:
        found: dict[str, dict[str, None]] = {}
        queued: dict[str, tuple[Notice, float]] = {}
        lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        damaged = 0
        for line in filter(None, lines):
            try:
                self._take(json.loads(line), found, queued)
            except (ValueError, KeyError, TypeError):  # torn by a crash, or neither kind
                damaged += 1
        if damaged:
            text = "lines on what was told are damaged and left out; their notices may come once more, or not at all"
            _log.warning(text, file=str(self._path), lines=damaged)
        return {channel: list(ids)[-self._remember :] for channel, ids in found.items()}, list(queued.values())

    @staticmethod
    def _take(
        entry: dict[str, object] | list[object],
        found: dict[str, dict[str, None]],
        queued: dict[str, tuple[Notice, float]],
    ) -> None:
        if isinstance(entry, dict):
            notice = decode_record(json.dumps(entry["notice"]))
            if isinstance(notice, Notice):
                queued.setdefault(notice.id, (notice, float(str(entry["queued"]))))
            return
        channel, notice_id = entry
        found.setdefault(str(channel), {})[str(notice_id)] = None


def _line(channel: str, notice_id: str) -> bytes:
    return json.dumps([channel, notice_id]).encode() + b"\n"


def _queued_line(notice: Notice, now: float) -> bytes:
    return f'{{"queued": {now}, "notice": {encode_record(notice)}}}\n'.encode()
