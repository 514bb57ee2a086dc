"""Two moving averages and a stop: the strategy of the tutorial, small enough to read in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field, frozen, validators

from slt import hookimpl
from slt.errors import PluginError
from slt.types import BarState, StrategyBlock

if TYPE_CHECKING:
    from attrs import Attribute
    from numpy.typing import NDArray

    from slt.types import Bars, FeatureBlock

    Array = NDArray[np.float64]

__all__ = ["EmaCross", "EmaCrossConfig"]

_STATE = ("time", "close", "fast", "slow", "atr", "bars")


def _above_fast(config: EmaCrossConfig, attribute: Attribute[int], value: int) -> None:
    if value <= config.fast_bars:
        raise ValueError(f"{attribute.name} is {value}, it must be above fast_bars ({config.fast_bars})")


@frozen(kw_only=True)
class EmaCrossConfig:
    """Options of `EmaCross`.

    Attributes:
        fast_bars: Span of the fast average, in base bars.
        slow_bars: Span of the slow average, in base bars; also the warm-up.
        atr_bars: Span of the average true range, in base bars.
        stop_atr: Distance to the stop, in ATR.
        min_stop_fraction: Least distance to the stop as a fraction of the price (0.006 = 0.6 %).
        target_r: Distance to the target, in R.
    """

    fast_bars: int = field(default=60, validator=validators.ge(1))
    slow_bars: int = field(default=240, validator=[validators.ge(2), _above_fast])
    atr_bars: int = field(default=60, validator=validators.ge(1))
    stop_atr: float = field(default=6.0, validator=validators.gt(0))
    min_stop_fraction: float = field(default=0.006, validator=[validators.gt(0), validators.lt(0.5)])
    target_r: float = field(default=1.5, validator=validators.gt(0))


@define(eq=False)
class EmaCross:
    """Buys when the fast average of the closes crosses above the slow one, sells when it crosses below.

    Formulas, per symbol over its own traded bars, with ``a(n) = 2 / (n + 1)``: ``ema += a (close - ema)``, the first
    close being the first value; ``atr += a (true range - atr)``. A cross counts from `slow_bars` bars on. The stop lies
    `stop_atr` ATR from the close, at least `min_stop_fraction` of it. A gap in a symbol's bars starts it afresh.

    Views, in [0, 1]: with ``x = (close - slow) / atr``, ``confidence_long = 0.5 + 0.5 x / (1 + |x|)`` and
    ``confidence_short`` its complement; ``continuation`` is the same of ``(fast - slow) / atr``; rebound is unknown.
    All are NaN until warm. Reads no feature columns.
    """

    config: EmaCrossConfig
    _symbols: tuple[str, ...] = field(default=(), init=False)
    _state: dict[str, Array] = field(factory=dict, init=False)
    config_class = EmaCrossConfig

    @hookimpl
    def slt_propose_trades(self, bars: Bars, features: FeatureBlock) -> StrategyBlock:  # noqa: ARG002 - the hook's signature
        """Propose and rate a block; see `slt.hookspecs.StrategySpecs.slt_propose_trades`."""
        self._start(bars.symbols)
        block = StrategyBlock.quiet(bars.state.shape, ("cross up", "cross down"))
        for row in range(len(bars)):
            self._forget_after_gap(bars, row)
            on = bars.state[row] == BarState.TRADED
            crossed = self._advance(bars, row, on)
            self._rate(block, row)
            self._enter(block, row, crossed)
        return block

    @hookimpl
    def slt_snapshot_strategy(self) -> dict[str, Any]:
        """Give the averages of every symbol; see `slt.hookspecs.StrategySpecs.slt_snapshot_strategy`."""
        return {"symbols": self._symbols, **{name: array.copy() for name, array in self._state.items()}}

    @hookimpl
    def slt_restore_strategy(self, state: dict[str, Any]) -> None:
        """Take back a snapshot; see `slt.hookspecs.StrategySpecs.slt_restore_strategy`."""
        self._symbols = tuple(state["symbols"])
        self._state = {name: state[name].copy() for name in _STATE if name in state}

    def _start(self, symbols: tuple[str, ...]) -> None:
        if not self._symbols:
            self._symbols = symbols
            self._state = {name: np.zeros(len(symbols)) for name in _STATE}
        elif symbols != self._symbols:
            raise PluginError(
                f"ema_cross: the symbols changed from {', '.join(self._symbols)} to {', '.join(symbols)}; "
                "a run keeps its symbols, start a new run for others"
            )

    def _forget_after_gap(self, bars: Bars, row: int) -> None:
        seen = bars.state[row] != BarState.ABSENT
        now = float(bars.close_time[row])
        self._state["bars"][seen & (now - self._state["time"] > bars.interval_ms)] = 0.0
        self._state["time"][seen] = now

    def _advance(self, bars: Bars, row: int, on: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Take in the traded bars of one row; +1 or -1 where the averages have just crossed."""
        state, config = self._state, self.config
        close, high, low = bars.close[row], bars.high[row], bars.low[row]
        first = on & (state["bars"] == 0.0)
        for name in ("close", "fast", "slow"):
            state[name][first] = close[first]
        state["atr"][first] = (high - low)[first]
        above = state["fast"] > state["slow"]
        true_range = np.maximum(high, state["close"]) - np.minimum(low, state["close"])
        for name, value, span in (
            ("fast", close, config.fast_bars),
            ("slow", close, config.slow_bars),
            ("atr", true_range, config.atr_bars),
        ):
            state[name][on] += (2.0 / (span + 1) * (value - state[name]))[on]
        state["close"][on] = close[on]
        state["bars"][on] += 1.0
        crossed = (state["fast"] > state["slow"]).astype(np.int8) - above.astype(np.int8)
        crossed[~(on & (state["bars"] > config.slow_bars))] = 0
        return crossed

    def _rate(self, block: StrategyBlock, row: int) -> None:
        state = self._state
        warm = (state["bars"] >= self.config.slow_bars) & (state["atr"] > 0.0)
        if not warm.any():
            return
        atr = np.where(warm, state["atr"], np.nan)
        views = {"confidence": state["close"] - state["slow"], "continuation": state["fast"] - state["slow"]}
        for name, distance in views.items():
            x = distance / atr
            view = 0.5 + 0.5 * x / (1.0 + np.abs(x))
            block.view(name, +1)[row] = view
            block.view(name, -1)[row] = 1.0 - view

    def _enter(self, block: StrategyBlock, row: int, crossed: NDArray[np.int8]) -> None:
        state, config = self._state, self.config
        distance = np.maximum(config.stop_atr * state["atr"], config.min_stop_fraction * state["close"])
        # Stop and target of either side must stay above a price of 0.
        at = np.flatnonzero((crossed != 0) & (distance * max(1.0, config.target_r) < state["close"]))
        side, close, distance = crossed[at], state["close"][at], distance[at]
        block.side[row, at] = side
        block.stop[row, at] = close - side * distance
        block.target[row, at] = close + side * config.target_r * distance
        block.reason[row, at] = (side < 0).astype(np.int16)
