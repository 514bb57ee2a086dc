"""Exit 4: let a winner run while it keeps most of its peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitMark, ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["TrailingProfit", "TrailingProfitConfig"]

_NAME = "trailing_profit"


@frozen(kw_only=True)
class TrailingProfitConfig:
    """Options of `TrailingProfit`.

    Attributes:
        arm_gain: Gain net of costs that must be exceeded for the trail to arm, as a share of `basis` (0.2 = 20 %).
        arm_continuation: Continuation that must be exceeded at the same time, 0 to 1.
        give_back: Share of the peak gain that may be given back once armed.
        min_give_back: Least gain that may be given back, as a share of `basis` (0.05 = 5 points).
        basis: What 100 % means: `risk` (entry to the initial stop) or `margin` (the initial margin).
    """

    arm_gain: float = field(default=0.20, validator=validators.gt(0))
    arm_continuation: float = field(default=0.70, validator=[validators.ge(0), validators.le(1)])
    give_back: float = field(default=0.25, validator=[validators.gt(0), validators.lt(1)])
    min_give_back: float = field(default=0.05, validator=validators.ge(0))
    basis: str = field(default="risk", validator=validators.in_(("risk", "margin")))


@frozen(eq=False)
class TrailingProfit:
    """Closes an armed winner that gives back a quarter of its peak gain, at least 5 points.

    It arms when the net gain exceeds 20 % while the continuation exceeds 70 %, and remembers that on the position, over
    restarts. An unknown continuation does not arm it.
    """

    config: TrailingProfitConfig
    config_class = TrailingProfitConfig

    @hookimpl
    def slt_check_exit(
        self, position: Position, point: PricePoint, outlook: Outlook | None
    ) -> ExitOrder | ExitMark | None:
        """Arm, or close all at the give-back level; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        if _NAME in position.marks:
            return self._trail(position, point.price)
        if outlook is None or not outlook.continuation > self.config.arm_continuation:
            return None
        level = position.price_at_net_gain(self.config.arm_gain, self.config.basis)
        return ExitMark(_NAME) if position.side * (point.price - level) > 0.0 else None

    def _trail(self, position: Position, price: float) -> ExitOrder | None:
        config = self.config
        peak = position.peak_gain
        if config.basis != "risk":
            peak *= position.unit() / position.unit(config.basis)
        peak = max(peak, position.net_gain(price, config.basis))
        kept = peak - max(peak * config.give_back, config.min_give_back)
        level = position.price_at_net_gain(kept, config.basis)
        return ExitOrder(trigger_price=level) if position.side * (price - level) <= 0.0 else None
