"""The twelve features and the context columns, written at the close of a whole 5m candle.

T_H, T_M, T_L: trend of 1h, 15m, 5m. A_M, A_L: ATR of 15m, 5m. c: close of the 5m candle. Prices of side 1 are negated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slt_ict.jit import part
from slt_ict.layout import FRAMES
from slt_ict.zones import nearest_zone, weigh_gaps, weigh_order_blocks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["measure_flow", "measure_volume", "write_context", "write_values"]

_MID_LENGTH = FRAMES[1]
_HIGH_LENGTH = FRAMES[2]
_FLOW_ALPHA = 0.15
_VOLUME_ALPHA = 1.0 / 96.0
_FAR = 10.0  # ATR
_FADE_CANDLES = 24.0
_GRAB_HALF_LIFE = 6.0  # candles


@part
def measure_flow(symbol: Any, volume: float, taker: float) -> None:
    """Order flow: EW sum of (2 · taker buys − volume) over EW sum of volume, alpha 0.15; NaN where taker is NaN."""
    if math.isnan(taker):
        symbol.flow = math.nan
        return
    symbol.flow_sum = (1.0 - _FLOW_ALPHA) * symbol.flow_sum + (2.0 * taker - volume)
    symbol.flow_volume = (1.0 - _FLOW_ALPHA) * symbol.flow_volume + volume
    symbol.flow = symbol.flow_sum / symbol.flow_volume if symbol.flow_volume > 0.0 else math.nan


@part
def measure_volume(symbol: Any, volume: float) -> None:
    """Participation: tanh(z / 3), z = log volume against its own EW mean and deviation before this candle, alpha 1/96.

    A volume of 0 enters no statistics and gives NaN, as does a past that never varied.
    """
    symbol.participation = math.nan
    if not volume > 0.0:
        return
    x = math.log(volume)
    if symbol.volume_count == 0:
        symbol.volume_count = 1
        symbol.volume_mean = x
        return
    delta = x - symbol.volume_mean
    if symbol.volume_variance > 0.0:
        symbol.participation = math.tanh(delta / math.sqrt(symbol.volume_variance) / 3.0)
    symbol.volume_mean += _VOLUME_ALPHA * delta
    symbol.volume_variance = (1.0 - _VOLUME_ALPHA) * (symbol.volume_variance + _VOLUME_ALPHA * delta * delta)


@part
def _in_atr(distance: float, atr: float) -> float:
    if math.isnan(distance) or math.isnan(atr):
        return math.nan
    # 0 stays 0 also where the ATR is 0
    return min(max(distance / atr, -_FAR), _FAR) if distance != 0.0 else 0.0


@part
def _integrity(frame: Any, trend: int) -> float:
    """Share of the last up to three steps a side between 15m swings that go with T_H; 0.5 if none or T_H = 0."""
    steps = 0
    agreeing = 0
    for side in range(2):
        direction = trend if side == 0 else -trend
        for i in range(frame.level_count[side] - 1):
            step = frame.level[side, i] - frame.level[side, i + 1]
            steps += 1
            if step * direction > 0.0:
                agreeing += 1
    if trend == 0 or steps < 2:
        return 0.5
    return agreeing / steps


@part
def _agreement(frame: Any, length: int, clock: int, sign: int) -> float:
    if frame.trend != sign:
        return 0.0
    age = (clock + 1) // length - 1 - frame.event_clock
    return math.exp(-age / _FADE_CANDLES)


@part
def _convergence(frames: Any, clock: int) -> float:
    low = frames[0]
    mid = frames[1]
    high = frames[2]
    vote = 3 * high.trend + 2 * mid.trend + low.trend
    if vote == 0:
        return 0.0
    sign = 1 if vote > 0 else -1
    total = 3.0 * _agreement(high, _HIGH_LENGTH, clock, sign)
    total += 2.0 * _agreement(mid, _MID_LENGTH, clock, sign)
    total += _agreement(low, 1, clock, sign)
    return total / 6.0


@part
def _pool_distance(pools: Any, side: int, close: float, atr: float) -> float:
    if pools.count[side] == 0:
        return _FAR
    price = close if side == 0 else -close
    return _in_atr(max(pools.near[side] - price, 0.0), atr)


@part
def _pool_balance(pools: Any, close: float, atr: float) -> float:
    above = _pool_distance(pools, 0, close, atr)
    below = _pool_distance(pools, 1, close, atr)
    total = below + above
    return (below - above) / total if total != 0.0 else 0.0


@part
def write_values(values: NDArray[np.float32], symbol: Any, frames: Any, gaps: Any, blocks: Any, pools: Any) -> None:
    """Write the vector; float32 ``[12]``, columns as `VALUE_NAMES`, formulas as in the plugin's docstring."""
    low = frames[0]
    mid = frames[1]
    high = frames[2]
    close = symbol.close
    grab_age = symbol.clock - symbol.grab_clock
    grab = symbol.grab
    values[0] = high.trend * (1.0 if high.event_is_bos == 1 else 0.5)
    values[1] = weigh_order_blocks(blocks, close, mid.atr) if not math.isnan(mid.atr) else math.nan
    values[2] = symbol.displacement
    values[3] = grab * 0.5 ** (grab_age / _GRAB_HALF_LIFE) if grab != 0.0 else 0.0
    values[4] = symbol.flow
    values[5] = weigh_gaps(gaps, close, low.atr) if not math.isnan(low.atr) else math.nan
    values[6] = (2 * mid.trend + low.trend) / 3.0
    values[7] = _in_atr(close - mid.level[0, 0], mid.atr)
    values[8] = _integrity(mid, high.trend)
    values[9] = symbol.participation
    values[10] = _convergence(frames, symbol.clock)
    values[11] = _pool_balance(pools, close, mid.atr)


@part
def _write_block(context: NDArray[np.float64], at: int, blocks: Any, side: int, close: float) -> None:
    # near edge first for bulls (top, bottom) and for bears (bottom, top): the order of the context columns
    i = nearest_zone(blocks, side, close)
    sign = 1.0 if side == 0 else -1.0
    context[at] = sign * blocks.top[side, i] if i >= 0 else math.nan
    context[at + 1] = sign * blocks.bottom[side, i] if i >= 0 else math.nan


@part
def write_context(context: NDArray[np.float64], symbol: Any, frames: Any, blocks: Any, pools: Any) -> None:
    """Write the context; float64 ``[15]``, columns as `slt_ict.layout.CONTEXT_NAMES`; NaN = unknown."""
    mid = frames[1]
    close = symbol.close
    for i in range(3):
        context[i] = frames[i].atr
        context[3 + i] = frames[i].trend
    context[6] = mid.level[0, 0]
    context[7] = -mid.level[1, 0]
    context[8] = _in_atr(-mid.level[1, 0] - close, mid.atr)
    _write_block(context, 9, blocks, 0, close)
    _write_block(context, 11, blocks, 1, close)
    context[13] = pools.near[0] if pools.count[0] > 0 else math.nan
    context[14] = -pools.near[1] if pools.count[1] > 0 else math.nan
