"""Exit 5: take the profit when the reasons for it fade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["ConvictionDrop", "ConvictionDropConfig"]

# Views are float32: a fall of exactly the limit must not be missed by the last bit of 0.7 · 0.8.
_ROUNDING = 1e-7


@frozen(kw_only=True)
class ConvictionDropConfig:
    """Options of `ConvictionDrop`.

    Attributes:
        min_drop: Relative fall of confidence or p_win against 5 minutes ago that closes (0.2 = 20 %).
    """

    min_drop: float = field(default=0.20, validator=[validators.gt(0), validators.le(1)])


@frozen(eq=False)
class ConvictionDrop:
    """Closes a position in net profit when confidence or p_win fell by 20 % within 5 minutes.

    A fall is relative: ``now <= before · (1 - 0.2)``. A value unknown now or before says nothing. A position that comes
    into profit only after the fall is closed where the net profit begins.
    """

    config: ConvictionDropConfig
    config_class = ConvictionDropConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:
        """Close all on a fall while in profit; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        side = position.side
        if outlook is None or side * (point.price - position.entry_price) <= 0.0:
            return None
        if not (
            self._fell(outlook.confidence_before, outlook.confidence) or self._fell(outlook.p_win_before, outlook.p_win)
        ):
            return None
        level = position.price_at_net_gain(0.0)
        return ExitOrder(trigger_price=level) if side * (point.price - level) > 0.0 else None

    def _fell(self, before: float | None, now: float | None) -> bool:
        if before is None or now is None:
            return False
        return before > 0.0 and now <= before * (1.0 - self.config.min_drop) + _ROUNDING
