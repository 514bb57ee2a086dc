"""Fills a `StrategyBlock` point by point for the bases in `slt.authoring`, and refuses what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.errors import PluginError
from slt.types import VIEW_NAMES, StrategyBlock

if TYPE_CHECKING:
    from slt.types import Bars

__all__ = ["BlockWriter"]


class BlockWriter:
    """Collects the entries and views of one block.

    Args:
        who: The strategy's class, for error messages.
        bars: The block that is answered.
    """

    def __init__(self, who: str, bars: Bars) -> None:
        self.who = who
        self.bars = bars
        self._block = StrategyBlock.quiet(bars.state.shape)
        self._reasons: dict[str, int] = {}

    def enter(self, at: tuple[int, int], side: float, stop: float, target: float, reason: str) -> None:
        """Propose an entry at (row, symbol); raises `PluginError` where side, stop and target do not fit the close."""
        close = float(self.bars.close[at])
        if side not in (1, -1):
            raise PluginError(f"{self._where(at)} side is {side}; +1, -1 or 0 is needed")
        if not (side * stop < side * close < side * target and min(stop, target) > 0.0):
            order = "stop < close < target" if side > 0 else "target < close < stop"
            raise PluginError(
                f"{self._where(at)} stop {stop:g}, close {close:g} and target {target:g} do not fit; "
                f"a {'long' if side > 0 else 'short'} needs {order}, all above 0"
            )
        block = self._block
        block.side[at] = side
        block.stop[at] = stop
        block.target[at] = target
        block.reason[at] = self._reasons.setdefault(reason, len(self._reasons))

    def rate(self, at: tuple[int, int], name: str, value: float) -> None:
        """Set a view at (row, symbol); raises `PluginError` where the name is unknown or the value not in [0, 1]."""
        if name not in VIEW_NAMES:
            raise PluginError(f"{self._where(at)} view `{name}` is unknown; there are: {', '.join(VIEW_NAMES)}")
        if value < 0.0 or value > 1.0:
            raise PluginError(f"{self._where(at)} view `{name}` is {value:g}; 0 to 1 or NaN is needed")
        getattr(self._block, name)[at] = value

    def block(self) -> StrategyBlock:
        """The block as filled so far."""
        arrays = {name: getattr(self._block, name) for name in ("side", "stop", "target", "reason", *VIEW_NAMES)}
        return StrategyBlock(reasons=tuple(self._reasons), **arrays)

    def _where(self, at: tuple[int, int]) -> str:
        row, symbol = at
        return f"{self.who}: {self.bars.symbols[symbol]} at {self.bars.close_time[row]}:"
