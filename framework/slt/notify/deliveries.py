"""What each channel has taken, on disk the moment it confirmed it, so that a restart tells nothing twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slt.errors import ConfigError

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from slt.types import Notice

__all__ = ["Deliveries"]


class Deliveries:
    """A file with one line for each confirmed delivery: ``["<channel>", "<notice id>"]``.

    A line is written without fsync: it survives a killed process, not a power cut. A line that a crash tore is left
    out, so that its notice is sent once more.

    Args:
        path: The file; made when missing.
        remember: Deliveries kept per channel when the file is opened.
    """

    def __init__(self, path: Path, remember: int) -> None:
        self._path = path
        self._remember = remember
        self._file: FileIO | None = None

    def open(self) -> dict[str, list[str]]:
        """Read what was delivered before and begin to append.

        Returns:
            Per channel the ids it has taken, oldest first: what `Outbox` takes as `delivered`.

        Raises:
            ConfigError: The file cannot be read or written.
        """
        try:
            known = self._read()
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(b"".join(_line(channel, one) for channel, ids in known.items() for one in ids))
            fresh.replace(self._path)
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(
                f"`{self._path}` cannot be used: {error.strerror}; free or allow the run's folder"
            ) from error
        return known

    def add(self, channel: str, notice: Notice) -> None:
        """Note that a channel has taken a notice.

        Raises:
            OSError: The disk refused; after a restart the notice may be sent once more.
        """
        if self._file is not None:
            self._file.write(_line(channel, notice.id))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> dict[str, list[str]]:
        found: dict[str, dict[str, None]] = {}
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for line in lines:
            try:
                channel, notice_id = json.loads(line)
            except ValueError:  # torn by a crash, or no pair
                continue
            found.setdefault(str(channel), {})[str(notice_id)] = None
        return {channel: list(ids)[-self._remember :] for channel, ids in found.items()}


def _line(channel: str, notice_id: str) -> bytes:
    return json.dumps([channel, notice_id]).encode() + b"\n"
