"""Where on a straight way between two prices an order is set off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slt.types import OrderType

if TYPE_CHECKING:
    from slt.market._slots import Working
    from slt.types import Order

__all__ = ["crossing", "level_of", "passed"]


def level_of(order: Order) -> float:
    """The price that sets a limit or triggered order off."""
    level = order.price if order.type == OrderType.LIMIT else order.stop_price
    return math.nan if level is None else level


def crossing(working: Working, start: float, price: float) -> float | None:
    """Where on the straight way from `start` to `price` an order fills; None = not on this way."""
    if not working.is_ready:
        return None
    if working.direction and working.level is not None:
        return passed(working.level, working.direction, start, price)
    level = working.level
    return level if level is not None and min(start, price) <= level <= max(start, price) else price


def passed(level: float, direction: int, start: float, price: float) -> float | None:
    """Where a level is met: on the way, at `start` if it was passed before; None = not."""
    if direction < 0:
        return min(level, start) if level >= min(start, price) else None
    return max(level, start) if level <= max(start, price) else None
