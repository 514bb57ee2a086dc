"""Exit 2: no position outlives its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import ExitOrder

if TYPE_CHECKING:
    from slt.types import Outlook, Position, PricePoint

__all__ = ["TimeStop", "TimeStopConfig"]

_HOUR_MS = 3_600_000.0


@frozen(kw_only=True)
class TimeStopConfig:
    """Options of `TimeStop`.

    Attributes:
        max_hours: Close everything this many hours after the first fill.
    """

    max_hours: float = field(default=2.0, validator=validators.gt(0))


@frozen(eq=False)
class TimeStop:
    """Closes a position 2 hours after its first fill, in profit or in loss.

    The time of the first fill is stored with the position, so a restart does not reset it.
    """

    config: TimeStopConfig
    config_class = TimeStopConfig

    @hookimpl
    def slt_check_exit(self, position: Position, point: PricePoint, outlook: Outlook | None) -> ExitOrder | None:  # noqa: ARG002 - the hook's signature
        """Close all once the time is up; see `slt.hookspecs.ExitSpecs.slt_check_exit`."""
        if point.time - position.entry_time >= self.config.max_hours * _HOUR_MS:
            return ExitOrder()
        return None
