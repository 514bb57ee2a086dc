"""The plugin `ict` of kind features."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import ConfigError, PluginError
from slt.types import Column, FeatureBlock, Parity
from slt_ict.engine import advance_block
from slt_ict.jit import has_cache
from slt_ict.layout import (
    CANDLE_MS,
    CONTEXT_NAMES,
    MAX_SWING,
    MAX_ZONES,
    PARAMETERS,
    VALUE_NAMES,
    ZONES,
    empty_frames,
    empty_partials,
    empty_pools,
    empty_symbols,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from slt.types import Bars

__all__ = ["IctFeatures", "IctFeaturesConfig"]

_VERSION = "ict/1"
_EVEN = ("structure_integrity", "institutional_participation", "timeframe_convergence")
_MIRRORS = {"swing_high_distance": "swing_low_distance"}
_BAR_FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")
_MINUTE_MS = 60_000


@frozen(kw_only=True)
class IctFeaturesConfig:
    """Options of `ict`; the defaults are definition v1. Any change makes another schema: models do not carry over.

    Attributes:
        swing_candles: Candles on each side that a swing must exceed; also its confirmation delay.
        age_candles: Zones and pools older than this many candles of their own timeframe are dropped.
        cap_zones: Most zones or pools kept a side; the oldest makes room.
        pool_merge_atr: Swings at most this many ATR apart form one liquidity pool.
        warmup_candles: 5m candles since a symbol's first bar before it is ready; start points agree from about 2000 on.
    """

    swing_candles: int = field(default=5, validator=[validators.ge(1), validators.le(MAX_SWING)])
    age_candles: int = field(default=300, validator=validators.ge(1))
    cap_zones: int = field(default=24, validator=[validators.ge(1), validators.le(MAX_ZONES)])
    pool_merge_atr: float = field(default=0.1, validator=[validators.ge(0.0), validators.le(10.0)])
    warmup_candles: int = field(default=2000, validator=[validators.ge(12), validators.le(100_000)])


class IctFeatures:
    """Twelve causal ICT / Smart Money features of 5m, 15m and 1h candles, built inside from the base bars.

    Each candle is used only once it is closed. 5m candles are aggregated from base bars at UTC boundaries, 15m and 1h
    from 5m candles; where several close at once the highest goes first, so a vector sees exactly the higher candles
    closed by its own time. Values change on the bar that closes a whole 5m candle (`fresh`) and are held in between.

    T_H, T_M, T_L: trend of 1h, 15m, 5m, the side of its last structure event (0 before the first). A: ATR14 (Wilder) of
    the row's timeframe. c: close of the 5m candle. A swing high is a candle whose high is at least that of 5 candles
    before and after it, so it is known 5 candles late; highs and lows alternate. A close beyond the newest uncrossed
    swing is an event without further delay: a change of character against the trend, else a break of structure.

    == ===========================  ===  =========================================================================
    #  column                       tf   formula
    == ===========================  ===  =========================================================================
    1  market_structure             1h   T_H · (1 after a break of structure, ½ after a change of character)
    2  order_blocks_count           15m  (B − S) / (1 + B + S); B, S = Σ exp(−distance / A) over live bullish, bearish
                                         order blocks, distance 0 inside
    3  institutional_candle         5m   sign(body) · min(body / A(t−1), 3) / 3 · body / range
    4  liquidity_grab               5m   last wick beyond a pool that closed back: + below, − above the market;
                                         min(1, ¼ + depth / A) · min(1, ½ + touches / 4), halved every 6 candles
    5  order_flow                   5m   EW Σ(2 · taker buys − volume) / EW Σ volume, alpha 0.15
    6  fvg_count                    5m   as 2 over open gaps, weights times min(1, size / A) · share not yet filled
    7  trend_alignment_enhanced     all  (2 · T_M + T_L) / 3
    8  swing_high_distance          15m  (c − last swing high) / A, clipped to ±10
    9  structure_integrity          15m  share of the last ≤ 3 + 3 steps between swings that go with T_H; ½ if unknown
    10 institutional_participation  5m   tanh(z / 3), z = log volume against its EW mean and deviation, alpha 1/96
    11 timeframe_convergence        all  s = sign(3 T_H + 2 T_M + T_L); Σ over trends equal to s of weight 3, 2, 1 times
                                         exp(−candles since its last event / 24), over 6
    12 liquidity_context            15m  (below − above) / (below + above), distances to the nearest untaken pools in A,
                                         clipped to [0, 10], 10 where there is none
    == ===========================  ===  =========================================================================

    Warm-up and gaps: values are NaN and not ready until 2,000 five-minute candles lie behind the symbol's first bar,
    at most 5 % of the last 2,000 are missing, and the last hour is whole. From the first bar after a gap they are NaN
    again. A candle with a missing bar counts as missing on every timeframe: clocks and ages go on; swings, gaps of
    three candles and grabs start anew behind it; no order block spans it; levels, trends, zones and pools persist;
    the next true range is high − low. A candle of nothing but EMPTY bars is whole but has no prices: patterns treat
    it as missing, displacement is 0 and participation NaN there. ABSENT bars change nothing: the last values are
    held. Without taker volume order_flow is NaN and nothing else changes. Bars at or before a symbol's last one are
    ignored. The context is NaN only where a quantity is unknown: it does not wait for the warm-up.

    Source: the concepts as ICT teaches them, in causal form; the names of the columns are those of the original system.
    """

    config_class: ClassVar[type] = IctFeaturesConfig

    def __init__(self, config: IctFeaturesConfig) -> None:
        self._config = config
        self._symbols: tuple[str, ...] = ()
        self._interval_ms = 0
        self._state: dict[str, NDArray[Any]] = {}

    @hookimpl
    def slt_describe_features(self) -> tuple[tuple[Column, ...], tuple[str, ...], int, str]:
        """Columns, context names, warm-up in base bars (of one minute before `slt_start_features`), definition."""
        interval = self._interval_ms or _MINUTE_MS
        warmup = self._config.warmup_candles * CANDLE_MS // interval
        return tuple(_column(name) for name in VALUE_NAMES), CONTEXT_NAMES, warmup, self._definition()

    @hookimpl
    def slt_start_features(self, symbols: tuple[str, ...], interval_ms: int) -> None:
        """Lay out empty state and have the kernel compiled or loaded.

        Raises:
            ConfigError: The base interval does not divide five minutes.
        """
        if interval_ms <= 0 or CANDLE_MS % interval_ms != 0:
            raise ConfigError(
                f"features.ict: the base interval of {_name(interval_ms)} does not divide 5m ({CANDLE_MS} ms), the "
                "candles `ict` is built on; feed it bars of 1m or 5m, or leave `ict` out"
            )
        self._symbols = symbols
        self._interval_ms = interval_ms
        self._state = self._empty_state(len(symbols))
        if not has_cache(advance_block):
            logging.getLogger("slt.ict").info("compiling the `ict` kernel: about 10 s, once; it is kept for later runs")
        no_bars = tuple(np.empty((0, len(symbols))) for _ in _BAR_FIELDS)
        self._advance(np.empty(0, np.int64), no_bars, np.empty((0, len(symbols)), np.uint8))

    @hookimpl
    def slt_update_features(self, bars: Bars) -> FeatureBlock:
        """Features of a block of bars.

        Raises:
            PluginError: The block has other symbols or another interval than the run was started with.
        """
        if bars.symbols != self._symbols or bars.interval_ms != self._interval_ms:
            raise PluginError(
                f"features.ict: the block has {len(bars.symbols)} symbols and bars of {_name(bars.interval_ms)}, but "
                f"the run was started with {len(self._symbols)} symbols and bars of {_name(self._interval_ms)}"
            )
        prices = tuple(_plain(getattr(bars, name), np.float64) for name in _BAR_FIELDS)
        return self._advance(_plain(bars.close_time, np.int64), prices, _plain(bars.state, np.uint8))

    @hookimpl
    def slt_snapshot_features(self) -> dict[str, Any]:
        """Copy the state: plain arrays, one record a symbol."""
        return {
            "definition": self._definition(),
            "symbols": self._symbols,
            "interval_ms": self._interval_ms,
            "state": {name: array.copy() for name, array in self._state.items()},
        }

    @hookimpl
    def slt_restore_features(self, state: Mapping[str, Any]) -> None:
        """Take the state back.

        Raises:
            ConfigError: It was made by another definition, for other symbols or another interval.
        """
        here = {"definition": self._definition(), "symbols": self._symbols, "interval_ms": self._interval_ms}
        problems = [
            f"features.ict: the saved state has {key} `{state.get(key)}`, this run has `{value}`; "
            "start a new run or restore the options it was saved with"
            for key, value in here.items()
            if state.get(key) != value
        ]
        if problems:
            raise ConfigError(*problems)
        self._state = {name: array.copy() for name, array in state["state"].items()}

    def _definition(self) -> str:
        c = self._config
        return (
            f"{_VERSION} swing={c.swing_candles} age={c.age_candles} cap={c.cap_zones} merge={c.pool_merge_atr!r} "
            f"warmup={c.warmup_candles} atr=14 flow=0.15 volume=1/96"
        )

    def _empty_state(self, width: int) -> dict[str, NDArray[Any]]:
        return {
            "partials": empty_partials(width),
            "symbols": empty_symbols(width),
            "frames": empty_frames(width),
            "zones": np.zeros((width, 2), dtype=ZONES),  # gaps of 5m, order blocks of 15m
            "pools": empty_pools(width),
            "window": np.zeros((width, self._config.warmup_candles), dtype=np.uint8),
            "values": np.full((width, len(VALUE_NAMES)), np.nan, dtype=np.float32),
            "context": np.full((width, len(CONTEXT_NAMES)), np.nan),
            "ready": np.zeros(width, dtype=np.bool_),
        }

    def _parameters(self) -> NDArray[np.void]:
        c = self._config
        row = (self._interval_ms, c.swing_candles, c.age_candles, c.cap_zones, c.warmup_candles, c.pool_merge_atr)
        return np.array([row], dtype=PARAMETERS)

    def _advance(
        self, close_time: NDArray[np.int64], prices: tuple[NDArray[np.float64], ...], state: NDArray[np.uint8]
    ) -> FeatureBlock:
        shape = state.shape
        block = FeatureBlock(
            columns=tuple(_column(name) for name in VALUE_NAMES),
            context_names=CONTEXT_NAMES,
            values=np.empty((*shape, len(VALUE_NAMES)), dtype=np.float32),
            context=np.empty((*shape, len(CONTEXT_NAMES))),
            fresh=np.empty(shape, dtype=np.bool_),
            ready=np.empty(shape, dtype=np.bool_),
        )
        kept = self._state
        advance_block(
            (close_time, *prices, state),
            self._parameters(),
            tuple(kept[name] for name in ("partials", "symbols", "frames", "zones", "pools", "window")),
            tuple(kept[name] for name in ("values", "context", "ready")),
            block.values,
            block.context,
            block.fresh,
            block.ready,
        )
        return block


def _column(name: str) -> Column:
    if name in _MIRRORS:
        return Column(name, Parity.MIRRORED, _MIRRORS[name])
    return Column(name, Parity.EVEN if name in _EVEN else Parity.ODD)


def _name(interval_ms: int) -> str:
    if interval_ms > 0 and interval_ms % _MINUTE_MS == 0:
        return f"{interval_ms // _MINUTE_MS}m"
    return f"{interval_ms} ms"


def _plain(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """The array in the one layout the kernel is compiled for (C-contiguous, aligned, writeable), copied if need be."""
    return np.require(array, dtype=dtype, requirements=["C", "A", "W"])
