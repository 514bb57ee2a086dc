"""The six views of `ict_smc`: how much the features support a side now.

Every view is a weighted mean of parts. A part is a feature seen from the side in question (odd features times +1 or
-1), divided by the value that counts as full and clipped. Full is about what one row in ten reaches in size on a random
walk: order_blocks_count 0.4, fvg_count 0.25, liquidity_context 0.6, liquidity_grab 0.25, institutional_participation
0.5, order_flow 0.1, institutional_candle 0.25; the others count as they are. Parts that are NaN drop out and the
weights of the others are scaled up; with less than 60 % of the weight known the view is NaN.

Confidence, parts in [0, 1] (no support = 0), weights in percent:

================  ======  =================================================================================
group             weight  part
================  ======  =================================================================================
structure (30)        20  structure_integrity where market_structure goes with the side, else 0
..                    10  market_structure (1 after a BOS, 0.5 after a CHoCH only)
zones (25)            15  order_blocks_count
..                    10  fvg_count
liquidity (20)        12  liquidity_context
..                     8  liquidity_grab
institution (15)       5  institutional_participation
..                     5  order_flow
..                     5  institutional_candle
timeframes (10)        6  timeframe_convergence where the weighted trend goes with the side, else 0
..                     4  trend_alignment_enhanced
================  ======  =================================================================================

Rebound and continuation are ``(1 + mean) / 2`` over parts in [-1, 1]:

* rebound: 30 liquidity_grab, 25 order_blocks_count, 20 nearness to the protecting swing (``1 - d / 2`` for a distance
  of d ATR on the right side of it, -1 beyond it), 15 order_flow, 10 trend_alignment_enhanced.
* continuation: 35 trend_alignment_enhanced, 25 timeframe_convergence signed by the weighted trend, 20 order_flow, 10
  institutional_candle, 10 market_structure.

The weighted trend is the sign of 3 T_H + 2 T_M + T_L, the structural trends of 1h, 15m and 5m. These views are rules,
not probabilities that were fitted to anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import FeatureBlock

    Array = NDArray[np.float32]

__all__ = ["FEATURES", "Held", "compute_views"]

FEATURES = (
    "market_structure",
    "order_blocks_count",
    "institutional_candle",
    "liquidity_grab",
    "order_flow",
    "fvg_count",
    "trend_alignment_enhanced",
    "swing_high_distance",
    "structure_integrity",
    "institutional_participation",
    "timeframe_convergence",
    "liquidity_context",
)
_MIN_KNOWN = 0.6
_FULL = {
    "order_blocks_count": 0.4,
    "fvg_count": 0.25,
    "liquidity_context": 0.6,
    "liquidity_grab": 0.25,
    "institutional_participation": 0.5,
    "order_flow": 0.1,
    "institutional_candle": 0.25,
}


@define
class Held:
    """The views of the last block of one row, for the next one, whose inputs are most often the same.

    Attributes:
        inputs: The bits that the views follow from; empty = none yet.
        views: The views.
    """

    inputs: bytes = b""
    views: dict[str, Array] = field(factory=dict)


def compute_views(features: FeatureBlock, held: Held) -> dict[str, Array]:
    """All six views, float32 ``[t, s]``, by the names of `slt.types.VIEW_NAMES`.

    Args:
        features: A block with the columns in `FEATURES` and the context column ``swing_low_distance``.
        held: Spares the work where a block of one row repeats the last; the result does not depend on it.
    """
    if len(features.values) != 1:
        return _compute(features)
    names = "\n".join(features.names).encode()
    inputs = names + features.values.tobytes() + features.context_of("swing_low_distance").tobytes()
    if inputs != held.inputs:
        held.inputs, held.views = inputs, _compute(features)
    return held.views


def _compute(features: FeatureBlock) -> dict[str, Array]:
    rows = _rows_that_differ(features)
    values = {name: features.value(name)[rows] for name in FEATURES}
    low_distance = features.context_of("swing_low_distance")[rows].astype(np.float32)
    # Row i of the block shows what was computed at the last differing row at or before it.
    shown = np.searchsorted(rows, np.arange(len(features.values)), side="right") - 1
    views = {}
    for side, word in ((1, "long"), (-1, "short")):
        # How far the price stands on the right side of the swing that protects this side, in ATR.
        room = -low_distance if side > 0 else -values["swing_high_distance"]
        seen = _from_side(values, side)
        views[f"confidence_{word}"] = _confidence(seen)[shown]
        views[f"rebound_{word}"] = _rebound(seen, room)[shown]
        views[f"continuation_{word}"] = _continuation(seen)[shown]
    return views


def _rows_that_differ(features: FeatureBlock) -> NDArray[np.intp]:
    """Row 0 and every row whose inputs differ from the row before in any symbol: values are held between fresh rows."""
    inputs = (
        features.values.view(np.int32),
        features.context_of("swing_low_distance").copy().view(np.int64)[:, :, np.newaxis],
    )
    differs = np.zeros(len(features.values), dtype=np.bool_)
    differs[:1] = True
    for bits in inputs:
        differs[1:] |= (bits[1:] != bits[:-1]).any(axis=(1, 2))
    return np.flatnonzero(differs)


_ODD = (
    "market_structure",
    "order_blocks_count",
    "institutional_candle",
    "liquidity_grab",
    "order_flow",
    "fvg_count",
    "trend_alignment_enhanced",
    "liquidity_context",
)


def _from_side(values: dict[str, Array], side: int) -> dict[str, Array]:
    sign = np.float32(side)
    seen = {name: values[name] * sign if name in _ODD else values[name] for name in FEATURES}
    # sign(3 T_H + 2 T_M + T_L): the 1h trend is the sign of market_structure, the other two make up the alignment.
    seen["weighted_trend"] = np.sign(np.sign(seen["market_structure"]) + seen["trend_alignment_enhanced"])
    return seen


def _confidence(seen: dict[str, Array]) -> Array:
    with_structure = np.clip(np.sign(seen["market_structure"]), 0, 1)
    with_trend = np.clip(seen["weighted_trend"], 0, 1)
    return _mean(
        (20, seen["structure_integrity"] * with_structure),
        (10, _support(seen, "market_structure")),
        (15, _support(seen, "order_blocks_count")),
        (10, _support(seen, "fvg_count")),
        (12, _support(seen, "liquidity_context")),
        (8, _support(seen, "liquidity_grab")),
        (5, _support(seen, "institutional_participation")),
        (5, _support(seen, "order_flow")),
        (5, _support(seen, "institutional_candle")),
        (6, seen["timeframe_convergence"] * with_trend),
        (4, _support(seen, "trend_alignment_enhanced")),
    )


def _rebound(seen: dict[str, Array], room: Array) -> Array:
    nearness = np.where(room < 0, np.float32(-1), np.clip(1 - room / 2, -1, 1)).astype(np.float32)
    mean = _mean(
        (30, _lean(seen, "liquidity_grab")),
        (25, _lean(seen, "order_blocks_count")),
        (20, nearness),
        (15, _lean(seen, "order_flow")),
        (10, _lean(seen, "trend_alignment_enhanced")),
    )
    return (mean + np.float32(1)) / np.float32(2)


def _continuation(seen: dict[str, Array]) -> Array:
    mean = _mean(
        (35, _lean(seen, "trend_alignment_enhanced")),
        (25, seen["timeframe_convergence"] * seen["weighted_trend"]),
        (20, _lean(seen, "order_flow")),
        (10, _lean(seen, "institutional_candle")),
        (10, _lean(seen, "market_structure")),
    )
    return (mean + np.float32(1)) / np.float32(2)


def _support(seen: dict[str, Array], name: str) -> Array:
    """0 without support, 1 from full support on."""
    part: Array = np.clip(seen[name] / np.float32(_FULL.get(name, 1.0)), 0, 1)
    return part


def _lean(seen: dict[str, Array], name: str) -> Array:
    """-1 fully against, +1 fully with the side."""
    part: Array = np.clip(seen[name] / np.float32(_FULL.get(name, 1.0)), -1, 1)
    return part


def _mean(*parts: tuple[int, Array]) -> Array:
    """Weighted mean over the known parts; NaN where too little is known. Whole weights keep the sums exact."""
    total = np.zeros_like(parts[0][1])
    known = np.zeros_like(total)
    for weight, part in parts:
        is_known = ~np.isnan(part)
        total += np.where(is_known, part, np.float32(0)) * np.float32(weight)
        known += is_known * np.float32(weight)
    enough = known >= _MIN_KNOWN * sum(weight for weight, _ in parts)
    mean: Array = np.where(enough, total / np.maximum(known, np.float32(1)), np.float32(np.nan))
    return mean
