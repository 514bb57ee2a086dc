"""Liquidity pools: resting stops beyond swings, taken by the first wick through them.

Prices are in side coordinates (`slt_ict.layout`). Pools of a side are kept in the order they were last touched.
"""

from __future__ import annotations

import math
from typing import Any

from slt_ict.jit import part

__all__ = ["add_pool", "expire_pools", "grab_strength", "take_pools"]


@part
def _find_near(pools: Any, side: int) -> None:
    near = math.inf
    for i in range(pools.count[side]):
        near = min(near, pools.level[side, i])
    pools.near[side] = near


@part
def _drop(pools: Any, side: int, start: int, count: int) -> None:
    last = pools.count[side] - count
    for i in range(start, last):
        pools.level[side, i] = pools.level[side, i + count]
        pools.touched[side, i] = pools.touched[side, i + count]
        pools.touches[side, i] = pools.touches[side, i + count]
    pools.count[side] = last


@part
def expire_pools(pools: Any, clock: int, age: int) -> None:
    """Drop pools last touched more than `age` candles before `clock`."""
    for side in range(2):
        drop = 0
        while drop < pools.count[side] and clock - pools.touched[side, drop] > age:
            drop += 1
        if drop > 0:
            _drop(pools, side, 0, drop)
            _find_near(pools, side)


@part
def add_pool(pools: Any, side: int, level: float, clock: int, reach: float, cap: int) -> None:
    """Add the pool of a swing just confirmed, or merge it into the nearest one within `reach` (the older if equal).

    A merged pool counts one touch more, keeps the more extreme level, and is young again. Over `cap` the pool touched
    longest ago makes room. A NaN `reach` (no ATR yet) merges nothing.
    """
    touches = 1
    nearest = -1
    best = math.inf
    for i in range(pools.count[side]):
        distance = abs(level - pools.level[side, i])
        if distance <= reach and distance < best:
            nearest = i
            best = distance
    if nearest >= 0:
        level = max(level, pools.level[side, nearest])
        touches = pools.touches[side, nearest] + 1
        _drop(pools, side, nearest, 1)
    elif pools.count[side] >= cap:
        _drop(pools, side, 0, 1)
    i = pools.count[side]
    pools.level[side, i] = level
    pools.touched[side, i] = clock
    pools.touches[side, i] = touches
    pools.count[side] = i + 1
    _find_near(pools, side)


@part
def grab_strength(depth: float, touches: int) -> float:
    """min(1, 0.25 + depth) · min(1, 0.5 + 0.25 · touches), depth of the wick beyond the pool in ATR."""
    return min(1.0, 0.25 + depth) * min(1.0, 0.5 + 0.25 * touches)


@part
def take_pools(pools: Any, side: int, high: float, close: float, atr: float) -> float:
    """Take the pools that this candle's wick went beyond; returns the strongest grab among them, 0 for none.

    A pool is taken when high > level. Closed back at or inside the level it was a grab, beyond it a run.

    Args:
        pools: The state.
        side: 0 above the price, 1 below.
        high: Farthest price of the candle on this side.
        close: Its close.
        atr: ATR at the candle's close; NaN registers no grab.
    """
    strongest = 0.0
    if not high > pools.near[side]:
        return strongest
    kept = 0
    for i in range(pools.count[side]):
        level = pools.level[side, i]
        if high > level:
            if close <= level and atr >= 0.0:
                strongest = max(strongest, grab_strength((high - level) / atr, pools.touches[side, i]))
        else:
            pools.level[side, kept] = level
            pools.touched[side, kept] = pools.touched[side, i]
            pools.touches[side, kept] = pools.touches[side, i]
            kept += 1
    pools.count[side] = kept
    _find_near(pools, side)
    return strongest
