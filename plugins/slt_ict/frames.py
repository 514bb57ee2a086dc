"""The three timeframes: candles of 15m and 1h out of 5m candles, and the order of work when one closes.

Order within a candle: ATR, existing zones, pools taken, structure break (by swings known before), order block or gap
born, swing confirmed, its pool added. A zone born at t is first tested at t + 1.
"""

from __future__ import annotations

from typing import Any

from slt_ict.jit import part
from slt_ict.layout import NO_SIDE, RING_MASK
from slt_ict.pools import add_pool, expire_pools, take_pools
from slt_ict.swings import break_structure, confirm_swings
from slt_ict.zones import add_zone, close_order_blocks, expire_zones, fill_gaps, gap_side

__all__ = ["expire", "join_candle", "push_high", "push_low", "push_mid"]

_ATR_CANDLES = 14


@part
def _open_candle(frame: Any, clock: int, high: float, low: float, close: float) -> bool:
    """Enter a closed candle into the frame: ATR and ring; returns whether the candle before it exists.

    ATR: true range averaged over the first 14 candles, then Wilder's (13 · ATR + TR) / 14. The true range of a candle
    after a missing one is its own high − low.
    """
    follows: bool = frame.clock == clock - 1
    true_range = high - low
    if follows:
        true_range = max(true_range, abs(high - frame.close), abs(low - frame.close))
    if frame.atr_count < _ATR_CANDLES:
        frame.atr_sum += true_range
        frame.atr_count += 1
        if frame.atr_count == _ATR_CANDLES:
            frame.atr = frame.atr_sum / _ATR_CANDLES
    else:
        frame.atr = (frame.atr * (_ATR_CANDLES - 1) + true_range) / _ATR_CANDLES
    frame.run = frame.run + 1 if follows else 1
    frame.clock = clock
    frame.close = close
    frame.ring[0, clock & RING_MASK] = high
    frame.ring[1, clock & RING_MASK] = -low
    return follows


@part
def join_candle(frame: Any, length: int, clock: int, traded: bool, high: float, low: float, close: float) -> int:
    """Add a whole 5m candle to the candle of `length` of them; returns 2 if that closes whole, 1 if whole but empty.

    A higher candle with a part that is missing is never whole: 0 is returned and it counts as missing itself.
    """
    own = clock // length
    if frame.part_clock != own:
        frame.part_clock = own
        frame.part_whole = 0
        frame.part_traded = 0
    frame.part_whole += 1
    if traded:
        if frame.part_traded == 0:
            frame.part_high = high
            frame.part_low = low
        frame.part_high = max(frame.part_high, high)
        frame.part_low = min(frame.part_low, low)
        frame.part_close = close
        frame.part_traded += 1
    if frame.part_whole < length:
        return 0
    return 2 if frame.part_traded > 0 else 1


@part
def push_high(frame: Any, swing: int) -> None:
    """Close a 1h candle: structure only."""
    close = frame.part_close
    _open_candle(frame, frame.part_clock, frame.part_high, frame.part_low, close)
    break_structure(frame, close)
    confirm_swings(frame, swing)


@part
def _widen_search(symbol: Any, side: int, low: float, high: float) -> None:
    # last of equals: the block nearest to the break
    if low <= symbol.search_low[side]:
        symbol.search_low[side] = low
        symbol.search_high[side] = high


@part
def _start_search(symbol: Any, frame: Any, side: int, swing: int) -> None:
    clock = frame.clock
    i = (clock - swing + 1) & RING_MASK
    symbol.search_low[side] = -frame.ring[1 - side, i]
    symbol.search_high[side] = frame.ring[side, i]
    symbol.search_whole[side] = 1
    for candle in range(clock - swing + 2, clock + 1):
        i = candle & RING_MASK
        _widen_search(symbol, side, -frame.ring[1 - side, i], frame.ring[side, i])


@part
def push_mid(symbol: Any, frame: Any, blocks: Any, pools: Any, parameters: Any) -> None:
    """Close a 15m candle: structure, order blocks and pools.

    Order block: when a close breaks the swing at p, the candle with the lowest low in p + 1 … t − 1 (last of equals),
    from its low to its high; mirror for a break down. Not born where that span holds a missing candle. Delay: that of
    the break.
    """
    clock = frame.part_clock
    high = frame.part_high
    low = frame.part_low
    close = frame.part_close
    follows = _open_candle(frame, clock, high, low, close)
    close_order_blocks(blocks, close)
    take_pools(pools, 0, high, close, frame.atr)
    take_pools(pools, 1, -low, -close, frame.atr)
    if not follows:
        symbol.search_whole[0] = 0
        symbol.search_whole[1] = 0
    broken = break_structure(frame, close)
    if broken != NO_SIDE and symbol.search_whole[broken] == 1:
        add_zone(blocks, broken, symbol.search_high[broken], symbol.search_low[broken], clock, parameters.cap)
    _widen_search(symbol, 0, low, high)
    _widen_search(symbol, 1, -high, -low)
    accepted = confirm_swings(frame, parameters.swing)
    for side in range(2):
        if accepted & (1 << side):
            _start_search(symbol, frame, side, parameters.swing)
            _add_swing_pool(pools, frame, side, parameters)


@part
def _add_swing_pool(pools: Any, frame: Any, side: int, parameters: Any) -> None:
    reach = parameters.merge * frame.atr
    add_pool(pools, side, frame.level[side, 0], frame.clock, reach, parameters.cap)


@part
def expire(zones: Any, pools: Any, clock: int, age: int) -> None:
    """Age out zones and pools of one timeframe at the close of its candle `clock`, also where that candle is empty."""
    expire_zones(zones, clock, age)
    expire_pools(pools, clock, age)


@part
def _find_gap(gaps: Any, symbol: Any, frame: Any, cap: int) -> None:
    if frame.run < 3:
        return
    now = frame.clock & RING_MASK
    before = (frame.clock - 2) & RING_MASK
    side = gap_side(symbol.body, frame.ring[0, before], -frame.ring[1, before], frame.ring[0, now], -frame.ring[1, now])
    if side != NO_SIDE:
        add_zone(gaps, side, -frame.ring[1 - side, now], frame.ring[side, before], frame.clock, cap)


@part
def _measure_displacement(body: float, high: float, low: float, atr: float) -> float:
    """sign(body) · min(|body| / ATR(t−1), 3) / 3 · |body| / range; 0 for a candle without body, NaN without ATR."""
    if body == 0.0:
        return 0.0
    size = abs(body)
    strength = min(size / atr, 3.0) / 3.0 * (size / (high - low))
    return strength if body > 0.0 else -strength


@part
def push_low(symbol: Any, frame: Any, gaps: Any, pools: Any, candle: Any, parameters: Any) -> None:
    """Close a 5m candle: displacement, gaps, pools and their grabs, structure.

    A grab is not registered on a candle after a missing one; the pools it went beyond are gone all the same. Of grabs
    on both sides of one candle the stronger counts, of equally strong ones neither.
    """
    high = candle.high
    low = candle.low
    close = candle.close
    body = close - candle.open
    symbol.displacement = _measure_displacement(body, high, low, frame.atr)
    follows = _open_candle(frame, candle.clock, high, low, close)
    fill_gaps(gaps, high, low)
    above = take_pools(pools, 0, high, close, frame.atr)
    below = take_pools(pools, 1, -low, -close, frame.atr)
    if follows and above != below:
        symbol.grab = below if below > above else -above
        symbol.grab_clock = candle.clock
    break_structure(frame, close)
    _find_gap(gaps, symbol, frame, parameters.cap)
    symbol.body = body
    accepted = confirm_swings(frame, parameters.swing)
    for side in range(2):
        if accepted & (1 << side):
            _add_swing_pool(pools, frame, side, parameters)
