"""Asking the exits: in config order, at every price point of an open position, until one closes something.

Between two points the price has gone a straight way. Where several exits fire at the second point, each at a level on
that way, the level that the price met first counts: ticks in between would have set it off first. Config order decides
between equal levels, at a gap (where there was no way), and for an exit that names no level.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

from slt.types import ExitMark, ExitOrder, Outlook, PricePoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.events import Block
    from slt.types import Position

    _Check = Callable[..., ExitOrder | ExitMark | None]

__all__ = ["ExitDesk", "ExitHit", "make_outlook"]

_CANDLE_MS = 300_000
_TREND = "trend_"


@frozen
class ExitHit:
    """An exit that wants to close.

    Attributes:
        name: Config name of the exit.
        order: What it wants.
    """

    name: str
    order: ExitOrder


class ExitDesk:
    """The chosen exits, ready to be asked.

    An exit that raises is not asked again; its fault is kept in `faults` for the engine to act on.

    Args:
        exits: Config name and ``slt_check_exit`` of each exit, in config order.

    Attributes:
        faults: What broke since the engine looked last, one line each.
        broken: Names of the exits that are not asked any more.
    """

    def __init__(self, exits: list[tuple[str, _Check]]) -> None:
        self._exits = list(exits)
        self.faults: list[str] = []
        self.broken: set[str] = set()

    def check(
        self, position: Position, point: PricePoint, outlook: Outlook | None, start: float
    ) -> tuple[ExitHit | None, bool]:
        """Ask the exits in order.

        Args:
            position: The open position.
            point: The price now.
            outlook: Its prospects.
            start: The price before; the way from there to the point is straight, unless the point is a gap.

        Returns:
            The one that closes something (None if none does), and whether any left a new mark on the position.
        """
        marked = False
        for name, check in self._exits:
            try:
                answer = check(position, point, outlook)
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; the others must be asked
                self._drop(name, f"raised {type(error).__name__}: {error}")
                continue
            if answer is None:
                continue
            if isinstance(answer, ExitOrder):
                hit = ExitHit(name, answer)
                if answer.trigger_price is None or point.is_gap:
                    return hit, marked
                return self._first_met(hit, position, point, outlook, start), marked
            if isinstance(answer, ExitMark):
                marked = marked or answer.name not in position.marks
                position.marks.add(answer.name)
            else:
                self._drop(name, f"answered {answer!r}; allowed are ExitOrder, ExitMark and None")
        return None, marked

    def leave_out(self, broken: Iterable[str]) -> None:
        """Ask these exits no more."""
        self.broken.update(broken)
        self._exits = [(name, check) for name, check in self._exits if name not in self.broken]

    def _drop(self, name: str, what: str) -> None:
        self.faults.append(f"exit `{name}` {what}")
        self.leave_out([name])

    def _first_met(
        self,
        hit: ExitHit,
        position: Position,
        point: PricePoint,
        outlook: Outlook | None,
        start: float,
    ) -> ExitHit:
        """Of a hit and the exits after it, the one whose level lies first on the way."""
        nearest = _distance(hit.order, point.price, start)
        after = [name for name, _ in self._exits].index(hit.name) + 1
        for name, check in self._exits[after:]:
            try:
                answer = check(position, point, outlook)
            except Exception as error:  # noqa: BLE001 # as above
                self._drop(name, f"raised {type(error).__name__}: {error}")
                continue
            if isinstance(answer, ExitOrder) and (distance := _distance(answer, point.price, start)) < nearest:
                hit, nearest = ExitHit(name, answer), distance
        return hit


def _distance(order: ExitOrder, price: float, start: float) -> float:
    """How far along the way from `start` to `price` an exit's condition came true; 0 = it was true before."""
    level = price if order.trigger_price is None else order.trigger_price
    return max(0.0, min((level - start) * (1 if price >= start else -1), abs(price - start)))


def make_outlook(block: Block, row: int, column: int, position_view: int, side: int, before: Outlook | None) -> Outlook:
    """A position's prospects at the close of a row.

    Args:
        block: The block.
        row: The row.
        column: Column of the symbol.
        position_view: Index of the strategy's view.
        side: +1 long, −1 short.
        before: The outlook before this one; used as "5 minutes ago" where it is exactly one 5m candle old.
    """
    view = block.views[position_view]
    signals, features = view.signals, block.features
    dense = view.p_long if side > 0 else view.p_short
    p_win = None if dense is None else float(dense[row, column])
    if p_win is not None and math.isnan(p_win):
        p_win = None
    trends = {
        name[len(_TREND) :]: side * float(features.context[row, column, i])
        for i, name in enumerate(features.context_names)
        if name.startswith(_TREND)
    }
    time = int(block.bars.close_time[row])
    fresh_before = before if before is not None and time - before.time == _CANDLE_MS else None
    return Outlook(
        time=time,
        confidence=float(signals.view("confidence", side)[row, column]),
        rebound=float(signals.view("rebound", side)[row, column]),
        continuation=float(signals.view("continuation", side)[row, column]),
        p_win=p_win,
        trends=trends,
        confidence_before=fresh_before.confidence if fresh_before else math.nan,
        p_win_before=fresh_before.p_win if fresh_before and fresh_before.model_version == view.model_version else None,
        model_version=view.model_version,
    )
