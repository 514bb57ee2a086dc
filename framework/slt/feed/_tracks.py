"""What is known of one symbol's bars that have not gone out yet, and what its trade ids prove."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from attrs import define, evolve, field

if TYPE_CHECKING:
    from slt.types import Kline

__all__ = ["Track", "is_sound", "same_bar"]

_REMEMBERED = 16
_ROUNDING = 1e-9
_NUMBERS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


def is_sound(kline: Kline, interval_ms: int) -> bool:
    """Whether a bar can be true: on the grid, prices positive, finite and in order, volumes not below 0."""
    if kline.interval_ms != interval_ms or kline.close_time % interval_ms or kline.close_time <= 0:
        return False
    if not (0.0 <= kline.volume < math.inf and 0.0 <= kline.taker_buy_volume < math.inf):
        return False
    low, high = kline.low, kline.high
    return 0.0 < low <= kline.open <= high < math.inf and low <= kline.close <= high


def same_bar(one: Kline, other: Kline) -> bool:
    """Whether two statements of a bar say the same of it, whenever and however they were pushed."""
    return evolve(one, event_time=other.event_time, is_closed=other.is_closed) == other


@define
class Track:
    """One symbol between the bars that went out and the bar in progress.

    Attributes:
        column: Its column in every wave.
        interval_ms: Length of a bar.
        is_tradable: Whether the exchange trades it; only then is it waited for.
        missed: Waves in a row that went without it, while most others came.
        given: Close time of the last bar that went out, ms UTC; 0 before the first.
        last_id: Last trade id in the bars that went out; -1 = unknown.
        pieces: Best statement of each bar after `given`, by close time, closed or not.
        checked: Close time of the bar whose first trade id was last compared with the bar before it.
    """

    column: int
    interval_ms: int
    is_tradable: bool = True
    missed: int = 0
    given: int = 0
    last_id: int = -1
    pieces: dict[int, Kline] = field(factory=dict)
    checked: int = 0
    _history: deque[Kline] = field(factory=lambda: deque(maxlen=_REMEMBERED))

    def add(self, kline: Kline) -> str:
        """Take a statement of a bar.

        Returns:
            What it was: ``open`` (not closed), ``bar``, ``duplicate``, ``restated`` (a better statement of a bar that
            has not gone out), ``restated_late`` (of one that has) or ``out_of_order`` (a later bar has gone out).
        """
        time = kline.close_time
        if time <= self.given:
            return self._late_word(kline) if kline.is_closed else "open"
        known = self.pieces.get(time)
        if known is None or _rank(kline) > _rank(known):
            self.pieces[time] = kline
        if not kline.is_closed:
            return "open"
        if known is None or not known.is_closed:
            return "bar"
        return "duplicate" if same_bar(kline, known) else "restated"

    def resolve(self, until: int) -> dict[int, Kline | None]:
        """Bars that are certain up to a close time, in order; None = proven to have had no trade."""
        certain: dict[int, Kline | None] = {}
        before, last_id = self.given, self.last_id
        times = sorted(self.pieces)
        for place, time in enumerate(times):
            piece = self.pieces[time]
            if before and last_id >= 0 and piece.first_trade_id == last_id + 1:
                certain.update(dict.fromkeys(range(before + self.interval_ms, min(time, until + 1), self.interval_ms)))
            if time > until:
                break
            if piece.is_closed or self._is_proven(piece, times[place + 1 :]):
                certain[time] = piece if piece.trades else None
                before, last_id = time, max(piece.last_trade_id, last_id)
        return certain

    def _is_proven(self, piece: Kline, later: list[int]) -> bool:
        """Whether the bar's unclosed state was its last: the next bar with trades goes on from its last trade id."""
        following = next((self.pieces[t] for t in later if self.pieces[t].trades), None)
        return following is not None and piece.trades > 0 and following.first_trade_id == piece.last_trade_id + 1

    def give(self, certain: dict[int, Kline | None]) -> None:
        """Note that these bars go out; what is older is forgotten."""
        for time in certain:
            self.given = time
            piece = self.pieces.get(time)
            if piece is not None:
                self.last_id = max(piece.last_trade_id, self.last_id)
                self._history.append(piece)
        for time in [t for t in self.pieces if t <= self.given]:
            del self.pieces[time]

    def contradicts(self, kline: Kline) -> bool:
        """Whether the bar before this one cannot have been whole: its last trade id is not the one before this bar's.

        Answers once for each bar, and only where both are known.
        """
        time = kline.close_time
        if time <= self.checked or kline.first_trade_id < 0:
            return False
        before = self.pieces.get(time - self.interval_ms)
        if before is None or not before.is_closed:
            before = self._history[-1] if self._history else None
        if before is None or before.close_time != time - self.interval_ms or before.last_trade_id < 0:
            return False
        self.checked = time
        return kline.first_trade_id != before.last_trade_id + 1

    def _late_word(self, kline: Kline) -> str:
        for known in self._history:
            if known.close_time == kline.close_time:
                return "duplicate" if _is_same_candle(kline, known) else "restated_late"
        return "out_of_order"


def _is_same_candle(one: Kline, other: Kline) -> bool:
    """Whether two statements give the same candle, but for rounding."""
    return all(math.isclose(getattr(one, n), getattr(other, n), rel_tol=_ROUNDING) for n in _NUMBERS)


def _rank(kline: Kline) -> tuple[object, ...]:
    """A total order on statements of one bar, so that the best one does not depend on the order of arrival."""
    return (
        kline.is_closed,
        kline.event_time,
        kline.last_trade_id,
        kline.trades,
        kline.volume,
        kline.taker_buy_volume,
        kline.open,
        kline.high,
        kline.low,
        kline.close,
    )
