"""The lines of a journal segment: ``<position> <length> <crc32> <json>``, and what to do with torn and damaged ones.

The checksum covers position and JSON. The first line of a segment has position 0 and names the fields of every record
type as they were when the segment was begun.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Scan", "make_frame", "names_of", "parse_frame", "sound_lines", "sync_folder"]


@define
class Scan:
    """One pass over a segment.

    Attributes:
        last: Position of the last sound line; 0 = none.
        problems: One line for people per damage seen.
        is_damaged: Something other than the end was damaged.
    """

    last: int = 0
    problems: list[str] = field(factory=list)
    is_damaged: bool = False


def make_frame(position: int, text: str) -> bytes:
    """One line; `text` is ASCII without line breaks."""
    checksum = zlib.crc32(f"{position} {text}".encode())
    return f"{position} {len(text)} {checksum:08x} {text}\n".encode()


def parse_frame(line: bytes) -> tuple[int, bytes] | None:
    """Position and payload of a line, or None where it is torn or damaged."""
    try:
        position, length, checksum, rest = line.split(b" ", 3)
        payload = rest[:-1]
        is_whole = rest.endswith(b"\n") and len(payload) == int(length)
        if is_whole and zlib.crc32(b"%d %b" % (int(position), payload)) == int(checksum, 16):
            return int(position), payload
    except ValueError:
        pass
    return None


def sound_lines(path: Path, offset: int, scan: Scan) -> Iterator[tuple[int, bytes, int]]:
    """Position, payload and end of every sound record line behind `offset`; notes in `scan` what was wrong."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            frame = parse_frame(line)
            if frame is None:
                _note_damage(path, line, offset, scan)
            elif frame[0] > scan.last:
                scan.last = frame[0]
                yield *frame, offset


def _note_damage(path: Path, line: bytes, end: int, scan: Scan) -> None:
    if line.endswith(b"\n"):
        scan.is_damaged = True
        scan.problems.append(f"journal `{path.name}`: a damaged line of {len(line)} bytes before byte {end} left out")
    else:
        scan.problems.append(f"journal `{path.name}`: its last line was torn by a crash, {len(line)} bytes dropped")


def names_of(path: Path) -> dict[str, list[str]] | None:
    """Field names per record type from the head of a segment; None where the head is damaged."""
    with path.open("rb") as file:
        frame = parse_frame(file.readline())
    if frame is None or frame[0] != 0:
        return None
    names: dict[str, list[str]] = json.loads(frame[1])
    return names


def sync_folder(folder: Path) -> None:
    """Force the folder's entries to the disk, so that a new file is found after a power cut (POSIX)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
