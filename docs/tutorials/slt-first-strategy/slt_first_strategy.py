"""A breakout strategy: enter where the price leaves the range of its last bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt.authoring import BarStrategy, Signal

if TYPE_CHECKING:
    from slt.authoring import Bar, FeatureRow

__all__ = ["Breakout", "BreakoutConfig"]


@frozen(kw_only=True)
class BreakoutConfig:
    """Options of `Breakout`.

    Attributes:
        lookback_bars: Length of the range, in traded bars; also the warm-up.
        stop_fraction: Distance to the stop as a fraction of the price (0.008 = 0.8 %).
        target_r: Distance to the target, in R (1 R = the distance to the stop).
    """

    lookback_bars: int = field(default=240, validator=validators.ge(2))
    stop_fraction: float = field(default=0.008, validator=[validators.gt(0), validators.lt(0.2)])
    target_r: float = field(default=1.5, validator=[validators.gt(0), validators.le(4)])


class Breakout(BarStrategy):
    """Buys a close above the highest high of the last 240 bars, sells one below their lowest low.

    The range is made of the bars before the current one. The confidence in a long grows in a straight line from 0.25 at
    the bottom of the range to 0.75 at its top and stays there beyond; the confidence in a short is the rest to 1. It is
    a rule of thumb that was fitted to nothing.
    """

    config_class = BreakoutConfig

    def on_bar(self, symbol: str, bar: Bar, features: FeatureRow) -> Signal | None:
        """Look at one closed bar; see `slt.authoring.BarStrategy.on_bar`."""
        del features  # this strategy looks at prices alone
        config, memory = self.config, self.memory(symbol)
        highs, lows = memory.setdefault("highs", []), memory.setdefault("lows", [])
        is_warm = len(highs) == config.lookback_bars
        top, bottom = (max(highs), min(lows)) if is_warm else (bar.high, bar.low)
        highs.append(bar.high)
        lows.append(bar.low)
        if not is_warm:
            return None
        del highs[0], lows[0]
        place = min(max((bar.close - bottom) / (top - bottom), 0.0), 1.0) if top > bottom else 0.5
        confidence = 0.25 + 0.5 * place
        views = {"confidence_long": confidence, "confidence_short": 1.0 - confidence}
        side = int(bar.close > top) - int(bar.close < bottom)
        if side == 0:
            return Signal(views=views)
        return Signal(
            side=side,
            stop=bar.close * (1 - side * config.stop_fraction),
            target=bar.close * (1 + side * config.target_r * config.stop_fraction),
            reason="new high" if side > 0 else "new low",
            confidence=confidence if side > 0 else 1.0 - confidence,
            views=views,
        )
