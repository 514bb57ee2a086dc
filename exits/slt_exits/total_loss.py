"""Exit 1: the last line of defence, when the resting stop did not do its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["TotalLoss", "TotalLossConfig"]


@frozen(kw_only=True)
class TotalLossConfig:
    """Options of `TotalLoss`.

    Attributes:
        max_loss_of_margin: Close at this loss as a share of the initial margin, whatever else holds (1 = all of it).
        max_loss_r: Close at this loss in R when the resting stop is missing or late (1 = at the stop).
        stop_fill_grace_seconds: How long the resting stop may take to fill once its level has traded, in seconds.
    """

    max_loss_of_margin: float = field(default=0.99, validator=[validators.gt(0), validators.le(1)])
    max_loss_r: float = field(default=1.0, validator=validators.gt(0))
    stop_fill_grace_seconds: float = field(default=5.0, validator=validators.ge(0))


@frozen(eq=False)
class TotalLoss:
    """Closes at 99 % of the margin lost, or at 1 R when the resting stop is missing or does not fill.

    Losses are gross price moves. Nothing an outlook says can delay this exit.
    """

    config: TotalLossConfig
    config_class = TotalLossConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:  # noqa: ARG002 - the hook's signature
        """Close all at the loss limit; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        loss = position.side * (position.entry_price - point.price)
        if loss <= 0.0:
            return None
        level = position.price_at_gain(-self.config.max_loss_of_margin, "margin")
        if position.side * (point.price - level) <= 0.0:
            return ExitOrder(trigger_price=level)
        level = position.price_at_gain(-self.config.max_loss_r)
        if position.side * (point.price - level) > 0.0:
            return None
        if not position.stop_resting:
            return ExitOrder(trigger_price=level)
        # The level was passed seconds ago: what fires now is the clock, so there is no level to fill at.
        traded = position.stop_traded_time
        overdue = traded is not None and point.time - traded >= self.config.stop_fill_grace_seconds * 1000.0
        return ExitOrder() if overdue else None
