"""An exit that lets no good gain become a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["BreakEven", "BreakEvenConfig"]


@frozen(kw_only=True)
class BreakEvenConfig:
    """Options of `BreakEven`.

    Attributes:
        min_peak: Net gain that must have been seen, in R (0.5 = half of the distance to the stop).
    """

    min_peak: float = field(default=0.5, validator=validators.gt(0))


@frozen(eq=False)
class BreakEven:
    """Closes where the net gain is back at nothing, once it has been half of the risk."""

    config: BreakEvenConfig
    config_class = BreakEvenConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:
        """Close all at the level of no gain; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        del outlook  # this exit looks at prices alone
        if position.peak_gain < self.config.min_peak:
            return None
        level = position.price_at_net_gain(0.0)
        return ExitOrder(trigger_price=level) if position.side * (point.price - level) <= 0.0 else None
