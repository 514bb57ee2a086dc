"""Coarse candles for the charts, gathered while a run reads its bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from slt.types import Bars, BarState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CandleRecorder", "Candles", "choose_interval"]

_MINUTE_MS = 60_000
_STEPS_MINUTES = (1, 3, 5, 15, 30, 60, 120, 240, 720, 1440)
_COMPACT_AFTER = 512
_MERGE_ROWS = 240
"""Rows gathered before they are merged: a bar at a time, merging each would cost more than deciding on it."""


@frozen(eq=False)
class Candles:
    """Candles of one symbol, oldest first; spans without a trade have none.

    Attributes:
        interval_ms: Length of one candle.
        open_time: int64 ``[n]``, ms UTC, inclusive start.
        open: float64 ``[n]``, quote currency per unit.
        high: As `open`.
        low: As `open`.
        close: As `open`.
    """

    interval_ms: int
    open_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.open_time)


def choose_interval(span_ms: int, base_interval_ms: int, max_candles: int = 3000) -> int:
    """Find the candle length that keeps a chart readable and the file small.

    Args:
        span_ms: Length of the run.
        base_interval_ms: Interval of the bars.
        max_candles: Most candles a symbol.

    Returns:
        The shortest usual length in ms that is a multiple of the base interval and gives at most `max_candles`; the
        longest, a day, where none does.
    """
    steps = [m * _MINUTE_MS for m in _STEPS_MINUTES if m * _MINUTE_MS % base_interval_ms == 0] or [base_interval_ms]
    return next((step for step in steps if span_ms <= step * max_candles), steps[-1])


class CandleRecorder:
    """Gathers candles of a coarser interval out of blocks of bars, at any cut of the blocks.

    Args:
        symbols: Column order of every block to come.
        interval_ms: Length of the candles, a multiple of the bars' interval.
    """

    def __init__(self, symbols: tuple[str, ...], interval_ms: int) -> None:
        self.symbols = symbols
        self.interval_ms = interval_ms
        self._parts: list[list[NDArray[np.float64]]] = [[] for _ in symbols]
        self._waiting: list[Bars] = []
        self._waiting_rows = 0

    def add(self, bars: Bars) -> None:
        """Take in the next block, in time order; its arrays may be kept for a while and must not change."""
        if self._waiting and bars.close_time[0] <= self._waiting[-1].close_time[-1]:
            self._merge_waiting()  # a late bar: only what rises in time is joined
        self._waiting.append(bars)
        self._waiting_rows += len(bars)
        if self._waiting_rows >= _MERGE_ROWS:
            self._merge_waiting()

    def follow(self, symbols: tuple[str, ...]) -> None:
        """Let the new ones of these symbols be the last columns of every block to come."""
        self._merge_waiting()
        new = [symbol for symbol in symbols if symbol not in self.symbols]
        self.symbols = (*self.symbols, *new)
        self._parts += [[] for _ in new]

    def candles(self) -> dict[str, Candles]:
        """Give the candles so far; a symbol that never traded is left out."""
        self._merge_waiting()
        recorded = zip(self.symbols, self._parts, strict=True)
        return {symbol: self._finish(parts) for symbol, parts in recorded if parts}

    def __getstate__(self) -> dict[str, object]:
        """For a snapshot: everything merged, so that it holds a few arrays and not hundreds of small blocks."""
        self._merge_waiting()
        return self.__dict__

    def _merge_waiting(self) -> None:
        if self._waiting:
            bars = self._waiting[0] if len(self._waiting) == 1 else Bars.concatenate(self._waiting)
            self._waiting, self._waiting_rows = [], 0
            self._merge_bars(bars)

    def _merge_bars(self, bars: Bars) -> None:
        starts = (bars.close_time - bars.interval_ms) // self.interval_ms * self.interval_ms
        for column in range(len(self.symbols)):
            traded = bars.state[:, column] == BarState.TRADED
            if not traded.any():
                continue
            fields = (starts, *(x[:, column] for x in (bars.open, bars.high, bars.low, bars.close)))
            parts = self._parts[column]
            parts.append(_merge(np.stack([f[traded].astype(np.float64) for f in fields])))
            if len(parts) > _COMPACT_AFTER:
                parts[:] = [_merge(np.concatenate(parts, axis=1))]

    def _finish(self, parts: Sequence[NDArray[np.float64]]) -> Candles:
        start, first, high, low, last = _merge(np.concatenate(parts, axis=1))
        return Candles(self.interval_ms, start.astype(np.int64), first, high, low, last)


def _merge(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Join neighbours of one start; rows are start, open, high, low, close (ms are exact in float64)."""
    start = rows[0]
    first = np.flatnonzero(np.concatenate([[True], start[1:] != start[:-1]]))
    last = np.concatenate([first[1:], [len(start)]]) - 1
    high, low = np.maximum.reduceat(rows[2], first), np.minimum.reduceat(rows[3], first)
    return np.stack([start[first], rows[1][first], high, low, rows[4][last]])
