"""Swings of one timeframe: confirmation, alternation, and the breaks of structure they lead to.

Prices are in side coordinates (`slt_ict.layout`): a swing low is a peak of negated lows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_ict.jit import part
from slt_ict.layout import NO_SIDE, RING_MASK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["accept_swing", "break_structure", "confirm_swings", "is_peak"]


@part
def is_peak(prices: NDArray[np.float64], mask: int, peak: int, left: int, right: int) -> bool:
    """Whether ``prices[peak]`` is at least every price of `left` candles before it and `right` after it.

    Args:
        prices: float64 ``[n]``, highs or negated lows; candle i lies at ``i & mask``.
        mask: Length of a ring minus one, or −1 for a plain array.
        peak: The candle asked about; confirmed `right` candles later.
        left: Candles before it.
        right: Candles after it.
    """
    price = prices[peak & mask]
    for i in range(peak + right, peak, -1):
        if prices[i & mask] > price:
            return False
    for i in range(peak - 1, peak - left - 1, -1):  # noqa: SIM110 - numba compiles no generator inside all()
        if prices[i & mask] > price:
            return False
    return True


@part
def accept_swing(frame: Any, side: int, price: float) -> bool:
    """Take a confirmed peak into the alternating row of swings; False where it is ignored.

    After a swing of the other side it is appended. After one of its own side it replaces that one if strictly more
    extreme (so the first of equals stays) and is ignored otherwise. A replacement is an event of its own candle; what
    was said before stays said. The newest swing of a side is the level that a close may break, once.
    """
    levels = frame.level
    if frame.last_side == side:
        if price <= levels[side, 0]:
            return False
    else:
        for i in range(3, 0, -1):
            levels[side, i] = levels[side, i - 1]
        frame.level_count[side] = min(frame.level_count[side] + 1, 4)
    levels[side, 0] = price
    frame.crossed[side] = 0
    frame.last_side = side
    return True


@part
def confirm_swings(frame: Any, swing: int) -> int:
    """Confirm the candle `swing` candles back as a swing, if it is one: 1 for a high, 2 for a low, 3 for both.

    Definition: its high is at least each of the `swing` highs before and after it; mirror for lows. All those candles
    must exist. A candle that is both takes the side opposite to the last swing first, which keeps up and down alike;
    with no swing yet it is neither. Confirmation delay: `swing` candles.
    """
    if frame.run < 2 * swing + 1:
        return 0
    peak = frame.clock - swing
    high = is_peak(frame.ring[0], RING_MASK, peak, swing, swing)
    low = is_peak(frame.ring[1], RING_MASK, peak, swing, swing)
    if not (high or low):
        return 0
    first = 0 if high else 1
    if high and low:
        if frame.last_side == NO_SIDE:
            return 0
        first = 1 - frame.last_side
    accepted = 0
    if accept_swing(frame, first, frame.ring[first, peak & RING_MASK]):
        accepted |= 1 << first
    if high and low and accept_swing(frame, 1 - first, frame.ring[1 - first, peak & RING_MASK]):
        accepted |= 2 >> first
    return accepted


@part
def break_structure(frame: Any, close: float) -> int:
    """Register a close beyond an active swing; returns the side broken, `NO_SIDE` for none.

    A close strictly above the newest swing high that no close has crossed yet is an event up: the trend becomes +1, and
    the event is a change of character (CHoCH) if the trend was −1, else a break of structure (BOS). Mirror below. Only
    swings confirmed before this candle count. Both sides cannot break at once: a swing high below a later swing low has
    been crossed by the time that low is confirmed.
    """
    for side in range(2):
        price = close if side == 0 else -close
        if frame.crossed[side] == 0 and price > frame.level[side, 0]:
            direction = 1 - 2 * side
            frame.crossed[side] = 1
            frame.event_is_bos = 1 if frame.trend != -direction else 0
            frame.trend = direction
            frame.event_clock = frame.clock
            return side
    return NO_SIDE
