"""Exit 7: leave when the reason for the entry is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["Invalidation", "InvalidationConfig"]


@frozen(kw_only=True)
class InvalidationConfig:
    """Options of `Invalidation`.

    Attributes:
        adverse_move: Move against the entry that must be exceeded, as a fraction of the entry price (0.02 = 2 %).
        adverse_confidence: An adverse move closes while the confidence is below this, 0 to 1.
        flip_confidence: A trend that flipped against the side closes while the confidence is below this, 0 to 1.
        trend_timeframe: Timeframe of that trend, as the feature set names it: `1h`, `15m` or `5m`.
    """

    adverse_move: float = field(default=0.02, validator=[validators.gt(0), validators.lt(1)])
    adverse_confidence: float = field(default=0.70, validator=[validators.ge(0), validators.le(1)])
    flip_confidence: float = field(default=0.80, validator=[validators.ge(0), validators.le(1)])
    trend_timeframe: str = field(default="15m", validator=validators.in_(("1h", "15m", "5m")))


@frozen(eq=False)
class Invalidation:
    """Closes on a move of more than 2 % against the entry, or on a trend flip, when confidence is lacking.

    The trend is that of closed bars. It has flipped when it was known and not against the position at entry and is
    against it now. An unknown confidence or trend, now or at entry, closes nothing.
    """

    config: InvalidationConfig
    config_class = InvalidationConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:
        """Close all when the entry's reason is gone; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        if outlook is None:
            return None
        config = self.config
        confidence = outlook.confidence
        if confidence < config.adverse_confidence:
            level = position.entry_price * (1.0 - position.side * config.adverse_move)
            if position.side * (point.price - level) < 0.0:
                return ExitOrder(trigger_price=level)
        if confidence < config.flip_confidence and self._flipped(position.entry_outlook, outlook):
            return ExitOrder()
        return None

    def _flipped(self, entry: Outlook | None, outlook: Outlook) -> bool:
        timeframe = self.config.trend_timeframe
        now = outlook.trends.get(timeframe)
        if now is None or entry is None or not now < 0.0:
            return False
        before = entry.trends.get(timeframe)
        return before is not None and before >= 0.0
