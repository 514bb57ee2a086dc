"""Where `ict_smc` enters: direction tiers, triggers, stop and target, at chosen points of a block.

Everything here works on flat arrays, one element per point, as seen from one side: prices are multiplied by the side,
so that support lies below and the target above for longs and shorts alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from slt.types import BarState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import Bars, FeatureBlock
    from slt_strategies.ict_smc import IctSmcConfig

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["CONTEXT", "REASONS", "Setups", "find_setups"]

CONTEXT = (
    "atr_15m",
    "atr_1h",
    "trend_5m",
    "trend_15m",
    "swing_high_15m",
    "swing_low_15m",
    "swing_low_distance",
    "order_block_bull_top",
    "order_block_bull_bottom",
    "order_block_bear_bottom",
    "order_block_bear_top",
    "liquidity_above_15m",
    "liquidity_below_15m",
)
_TIERS = 5
_TRIGGERS = ("liquidity grab", "order block retest", "displacement")
REASONS = tuple(f"{trigger}, tier {tier}" for trigger in _TRIGGERS for tier in range(1, _TIERS + 1))


@frozen(eq=False)
class Setups:
    """Entries found, one element each.

    Attributes:
        rows: Row of the block.
        symbols: Column of the block.
        side: int8, +1 or -1.
        stop: Stop price.
        target: Target price.
        reason: int16, index into `REASONS`.
    """

    rows: NDArray[np.intp]
    symbols: NDArray[np.intp]
    side: NDArray[np.int8]
    stop: Array
    target: Array
    reason: NDArray[np.int16]


@frozen(eq=False)
class _Points:
    """Features of n points seen from one side; prices are multiplied by the side."""

    close: Array
    structure: Array
    trend_15m: Array
    trend_5m: Array
    integrity: Array
    displacement: Array
    grab: Array
    flow: Array
    gaps: Array
    atr_15m: Array
    atr_1h: Array
    swing: Array
    zone_near: Array
    zone_far: Array
    pool: Array


def find_setups(config: IctSmcConfig, bars: Bars, features: FeatureBlock) -> Setups:
    """All entries of a block: traded, fresh and ready points with a tier, a trigger and a sound stop.

    Args:
        config: The strategy's options.
        bars: The block.
        features: Its features, with the columns of `ict`.
    """
    where = np.nonzero(features.fresh & features.ready & (bars.state == BarState.TRADED))
    if not len(where[0]):
        return _NOTHING
    # The two sides exclude each other: each tier needs a 1h structure that is not against it and 15m or 1h with it.
    found = [_setups_of_side(config, bars, features, where, side) for side in (1, -1)]
    return Setups(
        rows=np.concatenate([f.rows for f in found]),
        symbols=np.concatenate([f.symbols for f in found]),
        side=np.concatenate([f.side for f in found]),
        stop=np.concatenate([f.stop for f in found]),
        target=np.concatenate([f.target for f in found]),
        reason=np.concatenate([f.reason for f in found]),
    )


_NOTHING = Setups(
    rows=np.empty(0, dtype=np.intp),
    symbols=np.empty(0, dtype=np.intp),
    side=np.empty(0, dtype=np.int8),
    stop=np.empty(0),
    target=np.empty(0),
    reason=np.empty(0, dtype=np.int16),
)


def _setups_of_side(
    config: IctSmcConfig,
    bars: Bars,
    features: FeatureBlock,
    where: tuple[NDArray[np.intp], ...],
    side: int,
) -> Setups:
    points = _points(bars, features, where, side)
    tier = _tier(points, relaxed=config.relaxed is not False)
    trigger = _trigger(points, config)
    stop = _stop(points, config)
    target = _target(points, stop, config)
    chosen = np.flatnonzero((tier > 0) & (trigger >= 0) & (stop * side > 0) & (target * side > 0))
    reason = trigger[chosen] * _TIERS + tier[chosen] - 1
    return Setups(
        rows=where[0][chosen],
        symbols=where[1][chosen],
        side=np.full(len(chosen), side, dtype=np.int8),
        stop=stop[chosen] * side,
        target=target[chosen] * side,
        reason=reason.astype(np.int16),
    )


def _points(bars: Bars, features: FeatureBlock, where: tuple[NDArray[np.intp], ...], side: int) -> _Points:
    def odd(name: str) -> Array:
        return features.value(name)[where].astype(np.float64) * side

    def context(name: str) -> Array:
        return features.context_of(name)[where]

    swing, zone, pool = (
        ("swing_low_15m", ("order_block_bull_top", "order_block_bull_bottom"), "liquidity_above_15m")
        if side > 0
        else ("swing_high_15m", ("order_block_bear_bottom", "order_block_bear_top"), "liquidity_below_15m")
    )
    return _Points(
        close=bars.close[where] * side,
        structure=odd("market_structure"),
        trend_15m=context("trend_15m") * side,
        trend_5m=context("trend_5m") * side,
        integrity=features.value("structure_integrity")[where].astype(np.float64),
        displacement=odd("institutional_candle"),
        grab=odd("liquidity_grab"),
        flow=odd("order_flow"),
        gaps=odd("fvg_count"),
        atr_15m=context("atr_15m"),
        atr_1h=context("atr_1h"),
        swing=context(swing) * side,
        zone_near=context(zone[0]) * side,
        zone_far=context(zone[1]) * side,
        pool=context(pool) * side,
    )


def _tier(p: _Points, *, relaxed: bool) -> NDArray[np.int64]:
    """Direction tier 1-5 of each point, first match wins, 0 where none holds; the table is in `IctSmc`'s docstring."""
    hour_up = p.structure > 0.75
    hour_down = p.structure < -0.75
    structure_down = p.structure < 0
    quarter_up = p.trend_15m > 0
    pullback = (p.trend_15m < 0) & (p.structure > 0) & (p.integrity > 0.5)
    quarter_neutral = (p.trend_15m == 0) | pullback
    five_up = p.trend_5m > 0
    conditions = [
        hour_up & quarter_up & five_up,
        hour_up & quarter_up,
        hour_up & quarter_neutral & five_up,
        relaxed & hour_up & (quarter_up | quarter_neutral),
        relaxed & quarter_up & five_up & ~hour_down & ~structure_down,
    ]
    tier = np.select(conditions, [np.int64(i) for i in range(1, _TIERS + 1)], np.int64(0))
    known = ~(np.isnan(p.structure) | np.isnan(p.trend_15m) | np.isnan(p.trend_5m))
    return np.where(known, tier, 0)


def _trigger(p: _Points, config: IctSmcConfig) -> NDArray[np.int64]:
    """Index into `_TRIGGERS`, first match wins, -1 where nothing happened or the order flow is opposed."""
    grabbed = p.grab >= config.min_grab
    near = p.close - p.zone_near <= config.zone_reach_atr_15m * p.atr_15m
    retested = near & (p.close >= p.zone_far) & (p.displacement > 0)
    displaced = (p.displacement >= config.min_displacement) & (p.gaps > 0)
    trigger = np.select([grabbed, retested, displaced], [np.int64(0), np.int64(1), np.int64(2)], np.int64(-1))
    return np.where(p.flow < config.min_order_flow, -1, trigger)


def _stop(p: _Points, config: IctSmcConfig) -> Array:
    """Stop (price times side) behind the nearest structure; NaN where there is none or it lies too far away."""
    swing = np.where(p.swing < p.close, p.swing, np.nan)
    zone = np.where(p.zone_far < p.close, p.zone_far, np.nan)
    distance = p.close - np.fmax(swing, zone) + config.stop_buffer_atr_15m * p.atr_15m
    distance = np.maximum(distance, config.min_stop_atr_15m * p.atr_15m)
    distance = np.maximum(distance, config.min_stop_fraction * np.abs(p.close))
    return np.where(distance <= config.max_stop_atr_1h * p.atr_1h, p.close - distance, np.nan)


def _target(p: _Points, stop: Array, config: IctSmcConfig) -> Array:
    """Target (price times side): the nearest opposing pool where its distance suits, else a fixed multiple of R."""
    risk = p.close - stop
    reward = p.pool - p.close
    suits = (reward >= config.min_target_r * risk) & (reward <= config.max_target_r * risk)
    return np.where(suits, p.pool, p.close + config.target_r * risk)
