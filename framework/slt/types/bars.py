"""Candles of many symbols as one struct of arrays."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MINUTE_MS", "BarState", "Bars"]

MINUTE_MS = 60_000


class BarState(IntEnum):
    """What is known of one symbol in one minute of a block (the dtype of `Bars.state` is uint8)."""

    ABSENT = 0
    """This block says nothing of this minute: not listed yet, missing, or delivered in another block."""
    TRADED = 1
    """A closed bar with at least one trade: all price fields are finite and positive."""
    EMPTY = 2
    """Proven to have had no trade (the neighbours' trade ids are adjacent): prices are NaN, volume is 0."""


@frozen(eq=False)
class Bars:
    """Closed bars of all symbols for a span of time; every array is C-contiguous with shape ``[t, s]``.

    A row is one bar time, a column one symbol, in the order of `symbols`. Times rise strictly from row to row. A
    symbol's gap is a jump of more than `interval_ms` between the times of its own non-absent bars: nothing marks it
    and nothing fills it. In live trading a block may open with rows in which only a late symbol is present.

    Attributes:
        symbols: Exchange names, upper case, unique; length s.
        interval_ms: Length of one bar in milliseconds.
        close_time: int64 ``[t]``, ms UTC, the *exclusive* end of each bar: the bar named 60000 holds [0, 60000).
        open: float64 ``[t, s]``, quote currency per unit; NaN unless the state is TRADED.
        high: As `open`; at least max(open, close).
        low: As `open`; at most min(open, close), above 0.
        close: As `open`.
        volume: float64 ``[t, s]``, base units traded; NaN where absent, 0.0 where empty.
        taker_buy_volume: float64 ``[t, s]``, base units bought by takers; NaN where the source does not tell.
        state: uint8 ``[t, s]``, a `BarState`.
    """

    symbols: tuple[str, ...]
    interval_ms: int
    close_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    taker_buy_volume: NDArray[np.float64]
    state: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.close_time)

    def rows(self, start: int, stop: int) -> Bars:
        """Rows ``start:stop`` as a view on the same memory."""
        span = slice(start, stop)
        fields: dict[str, Any] = {name: getattr(self, name)[span] for name in _FIELDS}
        return evolve(self, close_time=self.close_time[span], **fields)

    def columns(self, indices: list[int]) -> Bars:
        """The chosen symbols, in the order given, copied."""
        fields: dict[str, Any] = {name: np.ascontiguousarray(getattr(self, name)[:, indices]) for name in _FIELDS}
        return evolve(self, symbols=tuple(self.symbols[i] for i in indices), **fields)

    def spread(self, symbols: tuple[str, ...]) -> Bars:
        """The same bars over these symbols, which hold all of this block's; the others' are absent."""
        if symbols == self.symbols:
            return self
        found = Bars.absent(symbols, self.interval_ms, self.close_time)
        places = [symbols.index(symbol) for symbol in self.symbols]
        for name in _FIELDS:
            getattr(found, name)[:, places] = getattr(self, name)
        return found

    @classmethod
    def concatenate(cls, blocks: list[Bars]) -> Bars:
        """One block out of consecutive blocks of the same symbols and interval.

        Raises:
            ValueError: The list is empty, or symbols, intervals or the order of time do not fit together.
        """
        if not blocks:
            raise ValueError("cannot concatenate an empty list of blocks")
        first = blocks[0]
        if any(b.symbols != first.symbols or b.interval_ms != first.interval_ms for b in blocks):
            raise ValueError("blocks to concatenate must share symbols and interval")
        times = np.concatenate([b.close_time for b in blocks])
        if (np.diff(times) <= 0).any():
            raise ValueError("blocks to concatenate must follow each other in time")
        fields: dict[str, Any] = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in _FIELDS}
        return cls(symbols=first.symbols, interval_ms=first.interval_ms, close_time=times, **fields)

    @classmethod
    def absent(cls, symbols: tuple[str, ...], interval_ms: int, close_time: NDArray[np.int64]) -> Bars:
        """A block of the given shape in which every bar is absent; a reader fills in what it has."""
        shape = (len(close_time), len(symbols))
        prices = {name: np.full(shape, np.nan) for name in _FIELDS if name != "state"}
        state = np.zeros(shape, dtype=np.uint8)
        return cls(symbols=symbols, interval_ms=interval_ms, close_time=close_time, state=state, **prices)


_FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume", "state")
