"""Checks of candle rows: vectorised, with words only for the rows that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slt.candles.times import interval_name, utc_text

if TYPE_CHECKING:
    from slt.candles.problems import FileProblems

__all__ = ["check_order", "check_values"]

_NAMES = ("open", "high", "low", "close", "volume", "taker_buy_volume")

_Where = Callable[[int], str]
_What = Callable[[NDArray[np.float64]], str]


def check_values(values: NDArray[np.float64], found: FileProblems, where: _Where) -> None:
    """Note every row whose prices or volumes cannot be true; each row under the first kind that fits.

    Args:
        values: float64 ``[6, n]``: open, high, low, close, volume, taker_buy_volume; the last may be NaN.
        found: Where to note.
        where: Row number and time of a position.
    """
    opened, high, low, close, volume, taker = values
    fine = (low > 0) & (low <= np.minimum(opened, close)) & (np.maximum(opened, close) <= high) & (high < np.inf)
    fine &= (volume >= 0) & (volume < np.inf) & ~(taker < 0) & ~(taker > volume)
    bad = np.flatnonzero(~fine)
    if len(bad):
        _explain(values[:, bad], bad, found, where)


def _explain(rows: NDArray[np.float64], at: NDArray[np.intp], found: FileProblems, where: _Where) -> None:
    opened, high, low, close, volume, taker = rows
    prices = rows[:4]
    outside = (np.maximum(opened, close) > high) | (np.minimum(opened, close) < low)
    kinds: list[tuple[str, NDArray[np.bool_], _What]] = [
        ("a price is not a finite number", np.asarray(~np.isfinite(prices).all(axis=0)), _not_finite),
        ("a price is not above 0", np.asarray((prices <= 0).any(axis=0)), _not_positive),
        ("high is below low", high < low, _crossed),
        ("open or close lies outside low and high", outside, _outside),
        ("volume is not a number of at least 0", ~((volume >= 0) & (volume < np.inf)), _volume),
        ("taker_buy_volume is negative or above volume", (taker < 0) | (taker > volume), _taker),
    ]
    left = np.ones(len(at), dtype=np.bool_)
    for kind, mask, words in kinds:
        places = np.flatnonzero(mask & left)
        left &= ~mask
        found.add_rows(kind, at[places], where, _by_position(rows, at, words))


def _by_position(rows: NDArray[np.float64], at: NDArray[np.intp], words: _What) -> _Where:
    return lambda position: words(rows[:, int(np.searchsorted(at, position))])


def _crossed(row: NDArray[np.float64]) -> str:
    return f"high {row[1]} is below low {row[2]}"


def _outside(row: NDArray[np.float64]) -> str:
    return f"open {row[0]} or close {row[3]} lies outside low {row[2]} and high {row[1]}"


def _volume(row: NDArray[np.float64]) -> str:
    return f"volume {row[4]} is not a number of at least 0"


def _taker(row: NDArray[np.float64]) -> str:
    return f"taker_buy_volume {row[5]} is negative or above volume {row[4]}"


def _not_finite(row: NDArray[np.float64]) -> str:
    return f"{_first(row, ~np.isfinite(row[:4]))} is not a finite number"


def _not_positive(row: NDArray[np.float64]) -> str:
    return f"{_first(row, row[:4] <= 0)} is not above 0"


def _first(row: NDArray[np.float64], mask: NDArray[np.bool_]) -> str:
    place = int(np.flatnonzero(mask)[0])
    return f"{_NAMES[place]} {row[place]}"


def check_order(
    time: NDArray[np.int64], before: int | None, interval_ms: int, found: FileProblems, where: _Where
) -> None:
    """Note every row that does not come later than the row before it, or that is off the interval's grid.

    Args:
        time: int64 ``[n]``, open times of one symbol in file order, ms UTC.
        before: Open time of the symbol's row before these; None at the start of a file.
        interval_ms: Interval of the file; 0 leaves the grid unchecked.
        found: Where to note.
        where: Row number and time of a position.
    """
    earlier = np.concatenate((np.array([time[0] - 1 if before is None else before]), time[:-1]))
    found.add_rows(
        "a bar is not later than the one before it",
        np.flatnonzero(time < earlier),
        where,
        lambda i: f"unsorted: the row before it opens at {utc_text(int(earlier[i]))}",
    )
    found.add_rows("a bar comes twice", np.flatnonzero(time == earlier), where, lambda _: "the same bar twice")
    if interval_ms:
        name = interval_name(interval_ms)
        off = np.flatnonzero(time % interval_ms != 0)
        found.add_rows(f"the time is off the {name} grid", off, where, lambda _: f"off the {name} grid")
