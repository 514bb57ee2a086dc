"""A folder of candles, one sorted Parquet file a symbol and interval: fill it, list it, check it, write one file."""

from __future__ import annotations

import contextlib
import filecmp
import os
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from slt.candles.problems import Problems
from slt.candles.scan import CandleFile, Wanted, scan_files
from slt.candles.sources import Source, expand_sources
from slt.candles.stream import VALUE_NAMES, Candles, Panels, check_overlaps, merge_files
from slt.candles.times import interval_name
from slt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Imported", "Listed", "check_files", "import_files", "list_folder", "read_candles", "write_parquet"]

_GROUP_ROWS = 8_192
_WINDOW = 262_144


@frozen
class Listed:
    """One symbol and interval.

    Attributes:
        path: The file.
        symbol: Exchange name.
        interval_ms: Length of a bar; 0 where a single row does not tell.
        bars: Number of bars.
        first: Open time of the first, ms UTC.
        last: Open time of the last, ms UTC.
        missing_share: Share of the bars between first and last that are missing, in [0, 1].
        has_taker_volume: Whether any bar tells its taker_buy_volume.
    """

    path: Path
    symbol: str
    interval_ms: int
    bars: int
    first: int
    last: int
    missing_share: float
    has_taker_volume: bool


@frozen
class Imported:
    """What an import did to one file of the folder.

    Attributes:
        listed: The file as it is now.
        added: Bars that were not in it before.
    """

    listed: Listed
    added: int


def check_files(patterns: Iterable[str], wanted: Wanted | None = None) -> tuple[list[CandleFile], list[str]]:
    """Read and check every row behind paths, folders and globs; nothing is raised and nothing is written.

    Args:
        patterns: Paths, folders and globs, relative to the working directory.
        wanted: The part asked for; None = everything.

    Returns:
        What the files hold, and every problem found, one line each, not shortened.
    """
    problems = Problems()
    part = wanted or Wanted()
    files = scan_files(expand_sources(patterns, problems), part, problems)
    if not problems.lines:
        for group in _by_series(files).values():
            check_overlaps(group, part, problems)
    return files, problems.lines


def list_folder(folder: Path) -> tuple[list[Listed], list[str]]:
    """What the candle files of a folder hold, by symbol and interval, and what is wrong with those that cannot be used.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    problems = Problems()
    sources = [Source(path, is_named=False) for path in sorted(folder.glob("*.parquet"))]
    files = scan_files(sources, Wanted(), problems)
    return sorted(map(_listed, files), key=lambda row: (row.symbol, row.interval_ms, row.first)), problems.lines


def read_candles(path: Path, symbol: str = "") -> Candles:
    """All candles of one symbol in one file, checked.

    Args:
        path: A Parquet, CSV or zip file.
        symbol: The symbol; may be empty where the file holds only one.

    Raises:
        DataError: The file is missing, wrong, or does not hold exactly one symbol of this name.
    """
    problems = Problems()
    wanted = Wanted(symbols=frozenset((symbol,) if symbol else ()))
    files = scan_files(expand_sources((str(path),), problems), wanted, problems)
    problems.raise_if_any()
    if len(files) != 1:
        held = ", ".join(f.symbol for f in files) or "no candle of it"
        raise DataError(f"{path}: asked for {symbol or 'its only symbol'}, found {held}")
    return _joined(merge_files(files, wanted, Panels(frozenset((files[0].symbol,)), wanted), _WINDOW))


def import_files(patterns: Iterable[str], folder: Path) -> list[Imported]:
    """Bring candle files into a folder as ``<SYMBOL>-<interval>.parquet``, sorted, merged with what is there.

    Everything is checked before anything is written; each file is then replaced as a whole, so that a crash leaves the
    old or the new one. Importing the same files again changes nothing.

    Args:
        patterns: Parquet, CSV and zip files, folders and globs, relative to the working directory.
        folder: Where to; made if it is missing.

    Returns:
        One entry for each symbol and interval of the sources, sorted.

    Raises:
        DataError: With every problem found, files that disagree included; or the folder cannot be written.
    """
    problems = Problems()
    new = scan_files(expand_sources(patterns, problems), Wanted(), problems)
    for file in new:
        if not file.interval_ms:
            problems.add(f"{file.path}: one bar alone does not tell its interval; name the file `{file.symbol}-1m.csv`")
    problems.raise_if_any()
    series = _by_series(new)
    targets = {key: folder / f"{key[0]}-{interval_name(key[1])}.parquet" for key in series}
    kept = {key: _kept(path, key[0], problems) for key, path in targets.items()}
    problems.raise_if_any()
    for key, files in series.items():
        check_overlaps([*kept[key], *files], Wanted(), problems)
    problems.raise_if_any()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_import_series(targets[key], kept[key], series[key]) for key in sorted(series)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


def write_parquet(path: Path, chunks: Iterable[Candles], has_taker_volume: bool) -> int:
    """Write candles as Parquet with row groups that can be read piece by piece; the file appears whole or not at all.

    Args:
        path: The file; one that is there is replaced, unless it already holds the same bytes.
        chunks: Candles in time order.
        has_taker_volume: Whether to write the column taker_buy_volume.

    Returns:
        Number of bars written.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        rows = _write(temporary, chunks, VALUE_NAMES if has_taker_volume else VALUE_NAMES[:-1])
        if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return rows


def _write(path: Path, chunks: Iterable[Candles], names: tuple[str, ...]) -> int:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and not needed to import the kernel

    schema = pa.schema({"open_time": pa.int64()} | dict.fromkeys(names, pa.float64()))
    rows = 0
    with path.open("wb") as stream:
        with pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=False) as writer:
            for group in _groups(chunks):
                arrays = [pa.array(group.open_time), *(pa.array(group.values[i]) for i in range(len(names)))]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_GROUP_ROWS)
                rows += len(group)
        stream.flush()
        os.fsync(stream.fileno())
    return rows


def _groups(chunks: Iterable[Candles]) -> Iterator[Candles]:
    held: list[Candles] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(map(len, held)) >= _GROUP_ROWS:
            whole = _joined(held)
            full = len(whole) // _GROUP_ROWS * _GROUP_ROWS
            yield from (whole.part(slice(i, i + _GROUP_ROWS)) for i in range(0, full, _GROUP_ROWS))
            held = [whole.part(slice(full, None))]
    if sum(map(len, held)):
        yield _joined(held)


def _joined(chunks: Iterable[Candles]) -> Candles:
    parts = list(chunks)
    return Candles(np.concatenate([c.open_time for c in parts]), np.concatenate([c.values for c in parts], axis=1))


def _import_series(target: Path, kept: Sequence[CandleFile], new: Sequence[CandleFile]) -> Imported:
    files = [*kept, *new]
    has_taker_volume = any(f.has_taker_volume for f in files)
    panels = Panels(frozenset((new[0].symbol,)), Wanted())
    bars = write_parquet(target, merge_files(files, Wanted(), panels, _WINDOW), has_taker_volume)
    first, last = min(f.first for f in files), max(f.last for f in files)
    listed = Listed(
        path=target,
        symbol=new[0].symbol,
        interval_ms=new[0].interval_ms,
        bars=bars,
        first=first,
        last=last,
        missing_share=_missing_share(bars, first, last, new[0].interval_ms),
        has_taker_volume=has_taker_volume,
    )
    return Imported(listed, added=bars - sum(f.rows for f in kept))


def _listed(file: CandleFile) -> Listed:
    return Listed(
        path=file.path,
        symbol=file.symbol,
        interval_ms=file.interval_ms,
        bars=file.rows,
        first=file.first,
        last=file.last,
        missing_share=_missing_share(file.rows, file.first, file.last, file.interval_ms),
        has_taker_volume=file.has_taker_volume,
    )


def _missing_share(bars: int, first: int, last: int, interval_ms: int) -> float:
    return 1.0 - bars / ((last - first) // interval_ms + 1) if interval_ms else 0.0


def _by_series(files: Iterable[CandleFile]) -> dict[tuple[str, int], list[CandleFile]]:
    series: dict[tuple[str, int], list[CandleFile]] = {}
    for file in files:
        series.setdefault((file.symbol, file.interval_ms), []).append(file)
    return series


def _kept(path: Path, symbol: str, problems: Problems) -> list[CandleFile]:
    """The file of an earlier import, if there is one; everything about it must be as an import leaves it."""
    if not path.is_file():
        return []
    files = scan_files([Source(path, is_named=True)], Wanted(), problems)
    if any(file.is_panel for file in files):
        problems.add(f"{path}: holds several symbols and would be replaced by {symbol} alone; move it away first")
    return files
