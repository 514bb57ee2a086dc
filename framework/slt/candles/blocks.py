"""Blocks of the kernel's `Bars` out of candle files, and blocks of the right length out of any others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field

from slt.candles.scan import CandleFile, Wanted
from slt.candles.stream import Candles, Panels, merge_files
from slt.types import Bars, BarState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["HELD_ROWS", "block_times", "cut_blocks", "read_blocks"]

HELD_ROWS = 2_000_000
"""Decoded rows that a reader of blocks holds over all symbols: about 110 MB."""

_LEAST_WINDOW = 4_096


def block_times(first: int, last: int, start: int, rows: int, interval_ms: int) -> Iterator[NDArray[np.int64]]:
    """Close times of each block on the grid from `first` to `last`.

    Args:
        first: Close time of the first bar of the market, ms UTC.
        last: Close time of the last one.
        start: Bars that close at or before it are left out.
        rows: Blocks end where the close time is a multiple of ``rows * interval_ms``.
        interval_ms: Length of a bar; `first` and `last` are multiples of it.

    Returns:
        int64 ``[t]`` for each block, rising, never empty.
    """
    span = rows * interval_ms
    time = max(first, (start // interval_ms + 1) * interval_ms)
    while time <= last:
        end = min(-(-time // span) * span, last)
        yield np.arange(time, end + 1, interval_ms, dtype=np.int64)
        time = end + interval_ms


def read_blocks(
    files: Sequence[CandleFile], symbols: tuple[str, ...], wanted: Wanted, start: int, rows: int
) -> Iterator[Bars]:
    """All symbols side by side, on the grid from the first bar of any to the last, what is missing marked ABSENT.

    Args:
        files: Checked files of these symbols and one interval, as `slt.candles.scan_files` gave them.
        symbols: The columns.
        wanted: The span they were scanned for.
        start: Bars that close at or before it are left out, ms UTC.
        rows: Length of a block; see `block_times`.

    Raises:
        DataError: A file changed or went away since it was scanned.
    """
    interval_ms = files[0].interval_ms
    first, last = min(f.first for f in files) + interval_ms, max(f.last for f in files) + interval_ms
    span = Wanted(interval_ms=interval_ms, start=max(first - interval_ms, start - interval_ms + 1), end=wanted.end)
    window = max(HELD_ROWS // len(symbols), _LEAST_WINDOW)
    panels = Panels(frozenset(symbols), span)
    cursors = [
        _Cursor(merge_files([f for f in files if f.symbol == symbol], span, panels, window)) for symbol in symbols
    ]
    for times in block_times(first, last, start, rows, interval_ms):
        yield _fill(Bars.absent(symbols, interval_ms, times), cursors)


def _fill(bars: Bars, cursors: list[_Cursor]) -> Bars:
    first_open = int(bars.close_time[0]) - bars.interval_ms
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.taker_buy_volume)
    for place, cursor in enumerate(cursors):
        for candles in cursor.take(int(bars.close_time[-1])):
            at = (candles.open_time - first_open) // bars.interval_ms
            for column, values in zip(columns, candles.values, strict=True):
                column[at, place] = values
            bars.state[at, place] = BarState.TRADED
    return bars


@define
class _Cursor:
    """A stream of candles from which spans are taken."""

    chunks: Iterator[Candles]
    held: Candles | None = field(default=None)

    def take(self, end: int) -> Iterator[Candles]:
        """What opens before `end` and was not taken yet."""
        while True:
            if self.held is None:
                self.held = next(self.chunks, None)
            if self.held is None:
                return
            count = int(np.searchsorted(self.held.open_time, end))
            if count:
                yield self.held.part(slice(count))
            if count < len(self.held):
                self.held = self.held.part(slice(count, None)) if count else self.held
                return
            self.held = None


def cut_blocks(blocks: Iterable[Bars], start: int, rows: int) -> Iterator[Bars]:
    """The same bars in blocks that end where the close time is a multiple of ``rows * interval_ms``.

    Args:
        blocks: Consecutive blocks of any lengths, without a jump in time.
        start: Bars that close at or before it are left out, ms UTC.
        rows: Wanted length; the first and the last block may be shorter.
    """
    waiting: list[Bars] = []
    for block in blocks:
        rest = block.rows(int(np.searchsorted(block.close_time, start, side="right")), len(block))
        while len(rest):
            span = rows * rest.interval_ms
            begin = int((waiting[0] if waiting else rest).close_time[0])
            end = -(-begin // span) * span
            count = int(np.searchsorted(rest.close_time, end, side="right"))
            waiting.append(rest.rows(0, count))
            rest = rest.rows(count, len(rest))
            if int(waiting[-1].close_time[-1]) == end:
                yield _joined(waiting)
                waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Bars]) -> Bars:
    return blocks[0] if len(blocks) == 1 else Bars.concatenate(blocks)
