"""A feature set: how straight the price has moved, and whether it moves more than it did."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import BarState, Column, FeatureBlock, Parity

if TYPE_CHECKING:
    from slt.types import Bars

__all__ = ["Efficiency", "EfficiencyConfig"]


@frozen(kw_only=True)
class EfficiencyConfig:
    """Options of `Efficiency`.

    Attributes:
        lookback_bars: Length of the path that is looked at, in bars; the warm-up is one more.
    """

    lookback_bars: int = field(default=60, validator=[validators.ge(4), validators.le(10_000)])


class Efficiency:
    """How straight the price has moved.

    With r the log returns of the last n bars: ``efficiency`` = sum(r) / sum(|r|), from -1 (straight down) to +1, known
    as the efficiency ratio (P. Kaufman, Trading Systems and Methods, 1987); ``activity`` = mean |r| of the last quarter
    of them over the mean of all. Both are 0 where the price has not moved at all. Warm-up n + 1 bars, no delay: the
    value at a bar uses bars up to it. A minute without a trade counts as a return of 0; a gap begins the path anew.
    """

    config_class = EfficiencyConfig

    def __init__(self, config: EfficiencyConfig) -> None:
        self._config = config
        self._interval_ms = 0
        self._last: list[tuple[int, float]] = []
        self._returns: list[deque[float]] = []

    @hookimpl
    def slt_describe_features(self) -> tuple[tuple[Column, ...], tuple[str, ...], int, str]:
        """Two columns; see `slt.hookspecs.FeatureSpecs.slt_describe_features`."""
        n = self._config.lookback_bars
        return (Column("efficiency", Parity.ODD), Column("activity", Parity.EVEN)), (), n + 1, f"efficiency 1, n={n}"

    @hookimpl
    def slt_start_features(self, symbols: tuple[str, ...], interval_ms: int) -> None:
        """Forget everything; see `slt.hookspecs.FeatureSpecs.slt_start_features`."""
        self._interval_ms = interval_ms
        self._last = [(0, math.nan)] * len(symbols)
        self._returns = [deque(maxlen=self._config.lookback_bars) for _ in symbols]

    @hookimpl
    def slt_update_features(self, bars: Bars) -> FeatureBlock:
        """Compute a block; see `slt.hookspecs.FeatureSpecs.slt_update_features`."""
        shape = bars.state.shape
        values = np.full((*shape, 2), np.nan, np.float32)
        present = bars.state != BarState.ABSENT
        for row, column in np.argwhere(present):
            self._take(int(column), int(bars.close_time[row]), float(bars.close[row, column]))
            values[row, column] = self._values(int(column))
        return FeatureBlock(
            columns=self.slt_describe_features()[0],
            context_names=(),
            values=values,
            context=np.empty((*shape, 0)),
            fresh=present,
            ready=~np.isnan(values[:, :, 0]),
        )

    @hookimpl
    def slt_snapshot_features(self) -> dict[str, Any]:
        """Copy what is kept; see `slt.hookspecs.FeatureSpecs.slt_snapshot_features`."""
        return {"last": list(self._last), "returns": [list(returns) for returns in self._returns]}

    @hookimpl
    def slt_restore_features(self, state: dict[str, Any]) -> None:
        """Take it back; see `slt.hookspecs.FeatureSpecs.slt_restore_features`."""
        self._last = list(state["last"])
        self._returns = [deque(returns, maxlen=self._config.lookback_bars) for returns in state["returns"]]

    def _take(self, column: int, time: int, close: float) -> None:
        """Add one bar to a symbol's path; `close` is NaN in a minute without a trade."""
        before, last = self._last[column]
        close = last if math.isnan(close) else close
        if time - before > self._interval_ms:
            self._returns[column].clear()
        elif not math.isnan(last):
            self._returns[column].append(math.log(close / last))
        self._last[column] = (time, close)

    def _values(self, column: int) -> tuple[float, float]:
        returns = self._returns[column]
        if len(returns) < self._config.lookback_bars:
            return math.nan, math.nan
        steps = [abs(r) for r in returns]
        path, quarter = sum(steps), len(steps) // 4
        if path == 0.0:
            return 0.0, 0.0
        return sum(returns) / path, sum(steps[-quarter:]) / quarter / (path / len(steps))
