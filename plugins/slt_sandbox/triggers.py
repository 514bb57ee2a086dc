"""Conditional orders that the book does not watch: with a limit price, trailing, or closing the whole position."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slt_sandbox.algo_orders import triggers_above

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt_sandbox.algo_orders import AlgoRecord

__all__ = ["first_trigger", "follow"]


def first_trigger(
    algos: Iterable[AlgoRecord], start: float, price: float, *, is_gap: bool
) -> tuple[float, AlgoRecord] | None:
    """The first of some conditional orders that the way from one price to another sets off.

    Args:
        algos: Waiting orders of one symbol, oldest first.
        start: Price now; NaN where none is known.
        price: Price to come.
        is_gap: The price jumps; levels passed are met at `price`.

    Returns:
        Where it is set off, and which; None = none is.
    """
    start = price if is_gap or math.isnan(start) else start
    best: tuple[float, AlgoRecord] | None = None
    for algo in algos:
        level = _level(algo, start)
        if level is None:
            continue
        if triggers_above(algo):
            met = max(level, start) if level <= max(start, price) else None
        else:
            met = min(level, start) if level >= min(start, price) else None
        if met is not None and (best is None or abs(met - start) < abs(best[0] - start)):
            best = (met, algo)
    return best


def follow(algo: AlgoRecord, price: float) -> bool:
    """Let a trailing stop take note of a price.

    Returns:
        Whether it has begun to follow with this price.
    """
    if algo.type != "TRAILING_STOP_MARKET":
        return False
    has_begun = False
    if not algo.is_active:
        activate = float(algo.activate_price)
        has_begun = price <= activate if algo.side > 0 else price >= activate
        algo.is_active = has_begun
    if algo.is_active:
        best = min if algo.side > 0 else max
        algo.extreme = best(algo.extreme or price, price)
    return has_begun


def _level(algo: AlgoRecord, start: float) -> float | None:
    if algo.type != "TRAILING_STOP_MARKET":
        return float(algo.trigger_price)
    if not algo.is_active:
        return None
    best = min if algo.side > 0 else max
    return best(algo.extreme or start, start) * (1 + algo.side * float(algo.callback_rate) / 100)
