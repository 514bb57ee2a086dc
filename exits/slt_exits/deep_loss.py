"""Exit 6: leave half-way to the stop, unless there is good reason to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["DeepLoss", "DeepLossConfig"]


@frozen(kw_only=True)
class DeepLossConfig:
    """Options of `DeepLoss`.

    Attributes:
        max_loss: Loss that closes, as a share of `basis` (0.5 = 50 %).
        hold_rebound: The close is put off while the rebound exceeds this, 0 to 1, and the confidence is high.
        hold_confidence: The close is put off while the confidence is at least this, 0 to 1, and a rebound is likely.
        basis: What 100 % means: `risk` (entry to the initial stop) or `margin` (the initial margin).
    """

    max_loss: float = field(default=0.50, validator=validators.gt(0))
    hold_rebound: float = field(default=0.70, validator=[validators.ge(0), validators.le(1)])
    hold_confidence: float = field(default=0.80, validator=[validators.ge(0), validators.le(1)])
    basis: str = field(default="risk", validator=validators.in_(("risk", "margin")))


@frozen(eq=False)
class DeepLoss:
    """Closes at a loss of 50 %, unless rebound > 70 % and confidence >= 80 % say to wait.

    Waiting delays this exit alone; the resting stop stays where it is. An unknown rebound or confidence delays nothing.
    """

    config: DeepLossConfig
    config_class = DeepLossConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:
        """Close all at the loss unless told to wait; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        side = position.side
        if side * (point.price - position.entry_price) >= 0.0:
            return None
        config = self.config
        level = position.price_at_gain(-config.max_loss, config.basis)
        if side * (point.price - level) > 0.0:
            return None
        if (
            outlook is not None
            and outlook.rebound > config.hold_rebound
            and outlook.confidence >= config.hold_confidence
        ):
            return None
        return ExitOrder(trigger_price=level)
