"""Memory layout of the state: one record a symbol, so that a snapshot is a copy of a few arrays.

Arrays of shape ``(2, ...)`` hold two sides. Side 0 looks up (swing highs, bullish zones, liquidity above); side 1 looks
down and stores *negated* prices, so that one formula serves both and a mirrored market gives exactly mirrored numbers
(negation is exact). Times inside the state are clocks: the number of the candle since 1970 on its own timeframe, so
that a missing candle makes everything older without being written anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CANDLE",
    "CANDLE_MS",
    "CONTEXT_NAMES",
    "FRAME",
    "FRAMES",
    "MAX_SWING",
    "MAX_ZONES",
    "NEVER",
    "NO_SIDE",
    "PARAMETERS",
    "PARTIAL",
    "POOLS",
    "RING_MASK",
    "SYMBOL",
    "VALUE_NAMES",
    "ZONES",
    "empty_frames",
    "empty_partials",
    "empty_pools",
    "empty_symbols",
]

CANDLE_MS = 300_000
"""Length of the trigger candle (5m) in milliseconds; 15m and 1h are built from it."""

FRAMES = (1, 3, 12)
"""Length of the three timeframes in trigger candles: 5m, 15m, 1h."""

NEVER = -(2**62)
"""A clock or time before everything: nothing has happened yet."""

NO_SIDE = -1
"""Neither up (0) nor down (1)."""

MAX_SWING = 15
"""Largest number of candles a side that a swing may need."""

MAX_ZONES = 32
"""Largest number of zones or pools a side."""

_RING = 32
RING_MASK = _RING - 1
"""Candle `clock` lies at ``clock & RING_MASK`` of a frame's ring."""

VALUE_NAMES = (
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
"""The model's columns, in vector order."""

CONTEXT_NAMES = (
    "atr_5m",
    "atr_15m",
    "atr_1h",
    "trend_5m",
    "trend_15m",
    "trend_1h",
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
"""The context columns, in order."""

PARAMETERS = np.dtype(
    [
        ("interval_ms", "i8"),
        ("swing", "i8"),  # k, candles each side
        ("age", "i8"),  # candles of the zone's own timeframe
        ("cap", "i8"),  # zones or pools a side
        ("warmup", "i8"),  # trigger candles
        ("merge", "f8"),  # pools closer than this many ATR are one
    ]
)

PARTIAL = np.dtype(
    [
        ("time", "i8"),  # close time of the last bar delivered
        ("first", "i8"),  # clock of the first trigger candle that could be whole
        ("clock", "i8"),  # trigger candle being built
        ("delivered", "i8"),  # bars of it, empty ones included
        ("traded", "i8"),  # bars of it with a trade
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
        ("taker", "f8"),
    ]
)

CANDLE = np.dtype(
    [
        ("clock", "i8"),
        ("row", "i8"),  # of the block, where it closes
        ("traded", "i8"),  # 0: every minute of it was empty
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
        ("taker", "f8"),
    ]
)

FRAME = np.dtype(
    [
        # candle being built (15m and 1h only)
        ("part_clock", "i8"),
        ("part_whole", "i8"),
        ("part_traded", "i8"),
        ("part_high", "f8"),
        ("part_low", "f8"),
        ("part_close", "f8"),
        # closed candles
        ("clock", "i8"),
        ("run", "i8"),  # candles in a row without a missing one
        ("close", "f8"),
        ("atr", "f8"),
        ("atr_sum", "f8"),
        ("atr_count", "i8"),
        ("ring", "f8", (2, _RING)),  # highs, negated lows
        # swings: the last four a side, newest first
        ("level", "f8", (2, 4)),
        ("level_count", "i8", (2,)),
        ("crossed", "i8", (2,)),
        ("last_side", "i8"),
        # structure
        ("trend", "i8"),
        ("event_clock", "i8"),
        ("event_is_bos", "i8"),
    ]
)

ZONES = np.dtype(
    [
        ("count", "i8", (2,)),
        ("top", "f8", (2, MAX_ZONES)),
        ("bottom", "f8", (2, MAX_ZONES)),
        ("best", "f8", (2, MAX_ZONES)),  # deepest price into a gap since it was born
        ("born", "i8", (2, MAX_ZONES)),
    ]
)

POOLS = np.dtype(
    [
        ("count", "i8", (2,)),
        ("near", "f8", (2,)),  # lowest level of the side: the first to be reached
        ("level", "f8", (2, MAX_ZONES)),
        ("touched", "i8", (2, MAX_ZONES)),
        ("touches", "i8", (2, MAX_ZONES)),
    ]
)

SYMBOL = np.dtype(
    [
        # readiness, in trigger candles
        ("clock", "i8"),
        ("whole_run", "i8"),
        ("missing", "i8"),  # in the last `warmup` candles
        # trigger candle
        ("close", "f8"),
        ("body", "f8"),
        ("displacement", "f8"),
        ("grab", "f8"),
        ("grab_clock", "i8"),
        ("flow_sum", "f8"),
        ("flow_volume", "f8"),
        ("flow", "f8"),
        ("volume_count", "i8"),
        ("volume_mean", "f8"),
        ("volume_variance", "f8"),
        ("participation", "f8"),
        # search for the 15m order block since the active swing
        ("search_low", "f8", (2,)),
        ("search_high", "f8", (2,)),
        ("search_whole", "i8", (2,)),
    ]
)


def empty_partials(symbols: int) -> NDArray[np.void]:
    """State of the bar aggregation before the first bar; PARTIAL ``[s]``."""
    state = np.zeros(symbols, dtype=PARTIAL)
    for name in ("time", "first", "clock"):
        state[name] = NEVER
    return state


def empty_frames(symbols: int) -> NDArray[np.void]:
    """State of the three timeframes before the first candle; FRAME ``[s, 3]``."""
    state = np.zeros((symbols, len(FRAMES)), dtype=FRAME)
    for name in ("part_clock", "clock", "event_clock"):
        state[name] = NEVER
    state["last_side"] = NO_SIDE
    for name in ("close", "atr", "level"):
        state[name] = np.nan
    return state


def empty_symbols(symbols: int) -> NDArray[np.void]:
    """State of the symbols before the first candle; SYMBOL ``[s]``."""
    state = np.zeros(symbols, dtype=SYMBOL)
    for name in ("clock", "grab_clock"):
        state[name] = NEVER
    for name in ("close", "flow", "participation"):
        state[name] = np.nan
    return state


def empty_pools(symbols: int) -> NDArray[np.void]:
    """Pools of 5m and 15m before the first swing; POOLS ``[s, 2]``."""
    state = np.zeros((symbols, 2), dtype=POOLS)
    state["near"] = np.inf
    return state
