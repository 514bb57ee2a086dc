"""Files named by people: paths, folders and globs; what their names tell; how one of them is read."""

from __future__ import annotations

import glob
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from slt.candles._csv import csv_frames, csv_layout
from slt.candles._parquet import parquet_frames, parquet_layout
from slt.candles.problems import BadFileError, Problems
from slt.candles.times import parse_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slt.candles._frames import Frame, Layout, Table

__all__ = ["SUFFIXES", "Source", "check_digest", "expand_sources", "name_parts", "open_frames", "open_layout"]

SUFFIXES = (".csv", ".parquet", ".zip")
"""Endings of the files that can be read."""

_NAME = re.compile(r"([A-Z0-9]*[A-Z][A-Z0-9]*)(?:-(?:([1-9]\d*[smhd])(?=[-.]))?|\.)")


@frozen
class Source:
    """One file to read.

    Attributes:
        path: Where it is, as the user wrote it.
        is_named: Named itself, and not found through a glob or a folder.
    """

    path: Path
    is_named: bool


def expand_sources(patterns: Iterable[str], problems: Problems) -> list[Source]:
    """Files behind paths, folders and globs, each file once, sorted within a glob or folder.

    Args:
        patterns: Paths relative to the working directory; ``**`` in a glob crosses folders.
        problems: Takes a line for each pattern that leads to no file.
    """
    found: dict[Path, Source] = {}
    for pattern in patterns:
        sources = _expand(pattern)
        if not sources:
            problems.add(_nothing(pattern))
        for source in sources:
            found.setdefault(source.path.resolve(), source)
    return list(found.values())


def _expand(pattern: str) -> list[Source]:
    path = Path(pattern)
    if path.is_file():
        return [Source(path, is_named=True)]
    names = sorted(glob.glob(str(path / "*") if path.is_dir() else pattern, recursive=True))  # noqa: PTH207 - the pattern may be absolute, which Path.glob refuses
    paths = [Path(name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    return [Source(p, is_named=False) for p in paths if p.is_file()]


def _nothing(pattern: str) -> str:
    if Path(pattern).is_dir():
        return f"{pattern}: the folder holds no {', '.join(SUFFIXES)} file"
    if glob.has_magic(pattern):
        return f"{pattern}: matches no {', '.join(SUFFIXES)} file in {Path.cwd()}"
    return f"{pattern}: no such file"


def name_parts(path: Path) -> tuple[str, int]:
    """Symbol and interval that a file's name tells: ``BTCUSDT-1m-2024-01.zip`` gives ``("BTCUSDT", 60000)``.

    Returns:
        The symbol, empty where the name opens with no capital letters and digits before a ``-`` or the ending; the
        interval in ms, 0 where the name tells none.
    """
    match = _NAME.match(path.name)
    if match is None:
        return "", 0
    return match[1], parse_interval(match[2]) if match[2] else 0


def open_layout(path: Path, table: Table) -> Layout:
    """The columns of a file.

    Raises:
        BadFileError: It cannot be read or has other columns.
    """
    kind = _kind(path)
    return parquet_layout(path, table) if kind == ".parquet" else csv_layout(path, table)


def open_frames(path: Path, table: Table, window: int, after: int | None = None) -> Iterator[Frame]:
    """The rows of a file, in its own order.

    Args:
        path: The file.
        table: The columns looked for.
        window: Most rows that a suspended reader may hold; a text file's frames are about that long.
        after: Rows that open before it, ms UTC, may be left out where that saves work; None gives all.

    Raises:
        BadFileError: It cannot be read or has other columns.
    """
    if _kind(path) == ".parquet":
        return parquet_frames(path, table, window, after)
    return csv_frames(path, table, window)


def _kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise BadFileError(f"is not a {', '.join(SUFFIXES)} file")
    return kind


def check_digest(path: Path) -> None:
    """Compare a file with the ``.CHECKSUM`` beside it, in the format of sha256sum; without one nothing happens.

    Raises:
        BadFileError: They differ, or the checksum file holds no checksum.
    """
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return
    try:
        words = beside.read_text(encoding="utf-8", errors="replace").split()
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BadFileError(f"cannot be read: {error}") from error
    if not words or re.fullmatch(r"[0-9a-fA-F]{64}", words[0]) is None:
        raise BadFileError(f"cannot be verified: `{beside.name}` holds no sha256; download both again")
    if words[0].lower() != found:
        raise BadFileError(f"has the sha256 {found}, `{beside.name}` says {words[0].lower()}; download it again")
