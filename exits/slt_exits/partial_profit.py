"""Exit 3: take half of a good gain off the table, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["PartialProfit", "PartialProfitConfig"]

_NAME = "partial_profit"


@frozen(kw_only=True)
class PartialProfitConfig:
    """Options of `PartialProfit`.

    Attributes:
        min_gain: Gain net of costs from which the part is closed, as a share of `basis` (0.6 = 60 %).
        fraction: Share of the open quantity that is closed.
        basis: What 100 % means: `risk` (entry to the initial stop) or `margin` (the initial margin).
    """

    min_gain: float = field(default=0.60, validator=validators.gt(0))
    fraction: float = field(default=0.50, validator=[validators.gt(0), validators.lt(1)])
    basis: str = field(default="risk", validator=validators.in_(("risk", "margin")))


@frozen(eq=False)
class PartialProfit:
    """Closes half of a position at a net gain of 60 %, once per position."""

    config: PartialProfitConfig
    config_class = PartialProfitConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:  # noqa: ARG002 - the hook's signature
        """Close a part at the gain; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        side = position.side
        if side * (point.price - position.entry_price) <= 0.0 or _NAME in position.exits_done:
            return None
        level = position.price_at_net_gain(self.config.min_gain, self.config.basis)
        if side * (point.price - level) < 0.0:
            return None
        return ExitOrder(fraction=self.config.fraction, trigger_price=level)
