"""Candle files into the own bar store, for warm starts without the files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.candles import Problems, Wanted, expand_sources, interval_name, read_blocks, scan_files
from slt.errors import DataError
from slt.run.warming import bars_to_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from slt.candles import CandleFile
    from slt.hookspecs import StorageSpecs
    from slt.loader import Loaded
    from slt.types import Bars, StoredBar

__all__ = ["store_candles"]

_ROWS = 1_440
_BATCH = 5_000


def store_candles(
    patterns: Iterable[str],
    storage: Loaded[StorageSpecs],
    *,
    on_progress: Callable[[int], None] = lambda _bars: None,
) -> dict[str, int]:
    """Write every bar of candle files into a storage; a bar that is there already is replaced.

    Args:
        patterns: Parquet, CSV and zip files, folders and globs, relative to the working directory.
        storage: Where to; opened and closed here.
        on_progress: Told after every batch: bars written so far.

    Returns:
        Bars written by ``symbol interval``.

    Raises:
        DataError: With every problem of the files; nothing has been written then.
        StorageError: The storage refused.
    """
    problems = Problems()
    files = scan_files(expand_sources(patterns, problems), Wanted(), problems)
    for file in files:
        if not file.interval_ms:
            problems.add(f"{file.path}: one bar alone does not tell its interval; name the file `{file.symbol}-1m.csv`")
    problems.raise_if_any()
    if not files:
        raise DataError("no candles in these files")
    intervals = sorted({file.interval_ms for file in files})
    blocks = (block for interval in intervals for block in _blocks([f for f in files if f.interval_ms == interval]))
    return asyncio.run(_write(blocks, storage.hooks, on_progress))


def _blocks(files: list[CandleFile]) -> Iterator[Bars]:
    symbols = tuple(sorted({file.symbol for file in files}))
    return read_blocks(files, symbols, Wanted(interval_ms=files[0].interval_ms), 0, _ROWS)


async def _write(blocks: Iterator[Bars], storage: StorageSpecs, on_progress: Callable[[int], None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    held: list[StoredBar] = []
    total = 0
    try:
        await storage.slt_open_storage()
        for block in blocks:
            for bar in bars_to_store(block):
                held.append(bar)
                name = f"{bar.symbol} {interval_name(bar.interval_ms)}"
                counts[name] = counts.get(name, 0) + 1
            while len(held) >= _BATCH:
                batch, held = held[:_BATCH], held[_BATCH:]
                await storage.slt_write_records(records=batch)
                on_progress(total := total + len(batch))
        if held:
            await storage.slt_write_records(records=held)
            on_progress(total + len(held))
    finally:
        await storage.slt_close_storage()
    return counts
