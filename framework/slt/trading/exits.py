"""Asking the exits: in config order, at every price point of an open position, until one closes something."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

from slt.types import ExitMark, ExitOrder, Outlook, PricePoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.events import Block
    from slt.types import Position

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
    """

    def __init__(self, exits: list[tuple[str, Callable[..., ExitOrder | ExitMark | None]]]) -> None:
        self._exits = list(exits)
        self.faults: list[str] = []

    def check(self, position: Position, point: PricePoint, outlook: Outlook | None) -> tuple[ExitHit | None, bool]:
        """Ask the exits in order.

        Returns:
            The first that closes something (None if none does), and whether any left a new mark on the position.
        """
        marked = False
        for name, check in self._exits:
            try:
                answer = check(position, point, outlook)
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; the others must be asked
                self.faults.append(f"exit `{name}` raised {type(error).__name__}: {error}")
                self._exits = [(n, c) for n, c in self._exits if n != name]
                continue
            if answer is None:
                continue
            if isinstance(answer, ExitMark):
                marked = marked or answer.name not in position.marks
                position.marks.add(answer.name)
            else:
                return ExitHit(name, answer), marked
        return None, marked


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
