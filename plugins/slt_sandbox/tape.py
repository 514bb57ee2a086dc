"""One symbol's trading as the exchange saw it: candles that grow, trade ids without a hole, the last 24 hours."""

from __future__ import annotations

import math
import zlib
from calendar import monthrange
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from slt.market import bar_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CALENDAR", "POINTS", "Bar", "Candle", "Rolling", "Tape", "merge", "trades_of"]

POINTS = 4
"""Prices of a bar: open, nearer extreme, farther extreme, close."""
_SHARES = (0.1, 0.4, 0.7, 1.0)
"""Share of a bar's volume that has traded once each of its prices has been seen."""
_DAY_MS = 86_400_000
_MONDAY = 4
"""Day of the epoch from which weeks count: 1970-01-05."""


def _three_days(day: int) -> tuple[int, int]:
    return day - day % 3, 3


def _week(day: int) -> tuple[int, int]:
    return day - (day - _MONDAY) % 7, 7


def _month(day: int) -> tuple[int, int]:
    date = datetime.fromtimestamp(day * _DAY_MS / 1_000, UTC)
    return day - date.day + 1, monthrange(date.year, date.month)[1]


CALENDAR: dict[str, Callable[[int], tuple[int, int]]] = {"3d": _three_days, "1w": _week, "1M": _month}
"""Intervals longer than a day: first day since 1970-01-01 of the period that a day is in, and the days of it.

Three days count from 1970-01-01, weeks begin on Monday.
"""


@frozen
class Bar:
    """A whole bar of the source.

    Attributes:
        open_time: ms UTC, inclusive.
        close_time: ms UTC, exclusive.
        open: Quote currency per unit.
        high: As `open`.
        low: As `open`.
        close: As `open`.
        volume: Base units.
        taker: Base units bought by takers.
        trades: Number of trades, at least one for each price.
    """

    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker: float
    trades: int

    def path(self) -> tuple[float, float, float, float]:
        """The four prices in the order they traded."""
        return bar_path(self.open, self.high, self.low, self.close, 0, "ohlc")


@frozen
class Candle:
    """A candle as far as it has come.

    Attributes:
        open_time: ms UTC, inclusive.
        close_time: ms UTC, exclusive.
        open: Quote currency per unit.
        high: As `open`, so far.
        low: As `open`, so far.
        close: The last price.
        volume: Base units so far.
        quote: Quote currency so far.
        taker: Base units bought by takers so far.
        taker_quote: Quote currency of these.
        first_id: Id of the first trade; -1 without a trade.
        last_id: Id of the last trade so far; -1 without a trade.
    """

    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote: float
    taker: float
    taker_quote: float
    first_id: int
    last_id: int

    @property
    def trades(self) -> int:
        """Number of trades so far."""
        return self.last_id - self.first_id + 1 if self.first_id >= 0 else 0


def trades_of(symbol: str, open_time: int, volume: float) -> int:
    """A plausible number of trades of a bar, always the same for the same bar: the source does not tell."""
    return POINTS + zlib.crc32(f"{symbol}{open_time}".encode()) % (97 if volume > 0 else 1)


def merge(first: Candle | None, second: Candle, open_time: int, close_time: int) -> Candle:
    """Two candles that follow each other as one of a longer interval; None = there is only the second."""
    if first is None:
        return Candle(open_time, close_time, *_values(second))
    return Candle(
        open_time,
        close_time,
        first.open,
        max(first.high, second.high),
        min(first.low, second.low),
        second.close,
        first.volume + second.volume,
        first.quote + second.quote,
        first.taker + second.taker,
        first.taker_quote + second.taker_quote,
        first.first_id,
        second.last_id,
    )


def _values(c: Candle) -> tuple[float, float, float, float, float, float, float, float, int, int]:
    return (
        c.open,
        c.high,
        c.low,
        c.close,
        c.volume,
        c.quote,
        c.taker,
        c.taker_quote,
        c.first_id,
        c.last_id,
    )


@define
class Rolling:
    """Sums and extremes of the candles of the last 24 hours.

    Attributes:
        candles: Closed candles, oldest first.
        volume: Base units.
        quote: Quote currency.
    """

    candles: deque[Candle] = field(factory=deque)
    volume: float = 0.0
    quote: float = 0.0
    _highs: deque[Candle] = field(factory=deque)
    _lows: deque[Candle] = field(factory=deque)

    def add(self, candle: Candle) -> None:
        """Take in a closed candle and let go of those that are older than a day."""
        self.candles.append(candle)
        self.volume += candle.volume
        self.quote += candle.quote
        while self._highs and self._highs[-1].high <= candle.high:
            self._highs.pop()
        self._highs.append(candle)
        while self._lows and self._lows[-1].low >= candle.low:
            self._lows.pop()
        self._lows.append(candle)
        since = candle.close_time - _DAY_MS
        while self.candles[0].open_time < since:
            old = self.candles.popleft()
            self.volume -= old.volume
            self.quote -= old.quote
        for extremes in (self._highs, self._lows):
            while extremes[0].open_time < since:
                extremes.popleft()

    @property
    def high(self) -> float:
        """Highest price; NaN without a candle."""
        return self._highs[0].high if self._highs else math.nan

    @property
    def low(self) -> float:
        """Lowest price; NaN without a candle."""
        return self._lows[0].low if self._lows else math.nan


class Tape:
    """Follows one symbol from bar to bar.

    Args:
        symbol: Exchange name.
        interval_ms: Length of the source's bars.
    """

    def __init__(self, symbol: str, interval_ms: int) -> None:
        self.symbol = symbol
        self.interval_ms = interval_ms
        self.rolling = Rolling()
        self.candle: Candle | None = None
        self._periods: dict[str, Candle] = {}
        self._next_id = 1 + zlib.crc32(symbol.encode()) % 1_000_000 * 1_000

    def grow(self, bar: Bar, step: int) -> Candle:
        """The bar's candle once its price number `step` (0 to 3) has traded; the last one is the bar itself.

        The fourth step closes the bar: its trades are counted, and the next bar's first trade follows its last.
        """
        path, first = bar.path(), self._next_id
        share = _SHARES[step]
        is_last = step == POINTS - 1
        seen = path[: step + 1]
        flow = [(_SHARES[i] - (_SHARES[i - 1] if i else 0.0)) * price for i, price in enumerate(seen)]
        mean = sum(flow)
        self.candle = Candle(
            bar.open_time,
            bar.close_time,
            bar.open,
            max(seen),
            min(seen),
            seen[-1],
            bar.volume if is_last else bar.volume * share,
            bar.volume * mean,
            bar.taker if is_last else bar.taker * share,
            bar.taker * mean,
            first,
            first + max(step, int(bar.trades * share) - 1),
        )
        if is_last:
            self._next_id = self.candle.last_id + 1
            self.rolling.add(self.candle)
            for name in CALENDAR:
                self._periods[name] = self._grown(name, self.candle)
        return self.candle

    def skip_trades(self, count: int) -> None:
        """Let trades pass that no candle tells of."""
        self._next_id += count

    def longer(self, interval_ms: int) -> Candle | None:
        """The candle under way of a longer interval, at most a day; None before the first trade."""
        current = self.candle
        if current is None:
            return None
        opened = current.open_time - current.open_time % interval_ms
        made: Candle | None = None
        parts = []
        for candle in reversed(self.rolling.candles):
            if candle.open_time < opened:
                break
            if candle.open_time != current.open_time:
                parts.append(candle)
        for candle in (*reversed(parts), current):
            made = merge(made, candle, opened, opened + interval_ms)
        return made

    def period(self, name: str) -> Candle | None:
        """The candle under way of an interval of `CALENDAR`, from what was played; None before the first trade."""
        current = self.candle
        if current is None:
            return None
        closed = self._periods.get(name)
        if closed is not None and closed.last_id == current.last_id:
            return closed
        return self._grown(name, current)

    def _grown(self, name: str, candle: Candle) -> Candle:
        """The closed part of a period with one candle more, or a new period's first."""
        first, days = CALENDAR[name](candle.open_time // _DAY_MS)
        opened = first * _DAY_MS
        before = self._periods.get(name)
        if before is not None and before.open_time != opened:
            before = None
        return merge(before, candle, opened, opened + days * _DAY_MS)

    @property
    def last_price(self) -> float:
        """The last traded price; NaN before the first."""
        return self.candle.close if self.candle is not None else math.nan
