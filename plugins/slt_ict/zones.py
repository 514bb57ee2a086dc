"""Zones of two edges: order blocks and fair value gaps, oldest first, a bounded number a side.

Prices are in side coordinates (`slt_ict.layout`): on side 1 the top of a zone is its negated lower edge.
"""

from __future__ import annotations

import math
from typing import Any

from slt_ict.jit import part
from slt_ict.layout import NO_SIDE

__all__ = [
    "add_zone",
    "close_order_blocks",
    "expire_zones",
    "fill_gaps",
    "gap_side",
    "nearest_zone",
    "weigh_gaps",
    "weigh_order_blocks",
]


@part
def _drop_first(zones: Any, side: int, drop: int) -> None:
    count = zones.count[side] - drop
    for i in range(count):
        _move_zone(zones, side, i + drop, i)
    zones.count[side] = count


@part
def _move_zone(zones: Any, side: int, source: int, target: int) -> None:
    zones.top[side, target] = zones.top[side, source]
    zones.bottom[side, target] = zones.bottom[side, source]
    zones.best[side, target] = zones.best[side, source]
    zones.born[side, target] = zones.born[side, source]


@part
def add_zone(zones: Any, side: int, top: float, bottom: float, clock: int, cap: int) -> None:
    """Add a zone born at `clock`; over `cap` the oldest of the side makes room."""
    if zones.count[side] >= cap:
        _drop_first(zones, side, 1)
    i = zones.count[side]
    zones.top[side, i] = top
    zones.bottom[side, i] = bottom
    zones.best[side, i] = top
    zones.born[side, i] = clock
    zones.count[side] = i + 1


@part
def expire_zones(zones: Any, clock: int, age: int) -> None:
    """Drop zones born more than `age` candles before `clock`."""
    for side in range(2):
        drop = 0
        while drop < zones.count[side] and clock - zones.born[side, drop] > age:
            drop += 1
        if drop > 0:
            _drop_first(zones, side, drop)


@part
def close_order_blocks(zones: Any, close: float) -> None:
    """Drop order blocks that this candle closed through: strictly below the bottom (mirrored for bearish)."""
    for side in range(2):
        price = close if side == 0 else -close
        kept = 0
        for i in range(zones.count[side]):
            if price >= zones.bottom[side, i]:
                if kept < i:
                    _move_zone(zones, side, i, kept)
                kept += 1
        zones.count[side] = kept


@part
def gap_side(body: float, high_before: float, low_before: float, high: float, low: float) -> int:
    """Which fair value gap three candles leave: 0 bullish, 1 bearish, `NO_SIDE` none. Known when the third closes.

    Bullish: the third low above the first high, and the middle candle closed above its open; mirror for bearish. The
    gap lies between the two.

    Args:
        body: Close minus open of the middle candle.
        high_before: High of the first candle.
        low_before: Its low.
        high: High of the third candle.
        low: Its low.
    """
    if body > 0.0 and low > high_before:
        return 0
    if body < 0.0 and high < low_before:
        return 1
    return NO_SIDE


@part
def fill_gaps(zones: Any, high: float, low: float) -> None:
    """Deepen the fill of gaps by this candle's wick and drop those filled: low at or below the bottom (mirrored)."""
    for side in range(2):
        price = low if side == 0 else -high
        kept = 0
        for i in range(zones.count[side]):
            if price > zones.bottom[side, i]:
                if kept < i:
                    _move_zone(zones, side, i, kept)
                zones.best[side, kept] = min(zones.best[side, kept], price)
                kept += 1
        zones.count[side] = kept


@part
def _distance(top: float, bottom: float, price: float) -> float:
    return max(price - top, bottom - price, 0.0)


@part
def _nearness(distance: float, atr: float) -> float:
    # a distance of 0 is near also where the ATR is 0
    return math.exp(-distance / atr) if distance > 0.0 else 1.0


@part
def weigh_order_blocks(zones: Any, close: float, atr: float) -> float:
    """(B − S) / (1 + B + S), B and S = Σ exp(−distance / ATR) over bullish and bearish zones; distance 0 inside."""
    bull = 0.0
    for i in range(zones.count[0]):
        bull += _nearness(_distance(zones.top[0, i], zones.bottom[0, i], close), atr)
    bear = 0.0
    for i in range(zones.count[1]):
        bear += _nearness(_distance(zones.top[1, i], zones.bottom[1, i], -close), atr)
    return (bull - bear) / (1.0 + bull + bear)


@part
def _weigh_gaps_of(zones: Any, side: int, price: float, atr: float) -> float:
    total = 0.0
    for i in range(zones.count[side]):
        top = zones.top[side, i]
        bottom = zones.bottom[side, i]
        size = top - bottom
        unfilled = (zones.best[side, i] - bottom) / size
        # a gap always has a size above 0, so an ATR of 0 gives infinity here
        total += _nearness(_distance(top, bottom, price), atr) * min(1.0, size / atr) * unfilled
    return total


@part
def weigh_gaps(zones: Any, close: float, atr: float) -> float:
    """As `weigh_order_blocks` over open gaps, each weight times min(1, size / ATR) and the share not yet filled."""
    bull = _weigh_gaps_of(zones, 0, close, atr)
    bear = _weigh_gaps_of(zones, 1, -close, atr)
    return (bull - bear) / (1.0 + bull + bear)


@part
def nearest_zone(zones: Any, side: int, close: float) -> int:
    """Index of the zone nearest to the price, the newest of equally near ones; −1 where there is none."""
    price = close if side == 0 else -close
    best = -1
    best_distance = math.inf
    for i in range(zones.count[side]):
        distance = _distance(zones.top[side, i], zones.bottom[side, i], price)
        if distance <= best_distance:
            best_distance = distance
            best = i
    return best
