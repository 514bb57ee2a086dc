"""Which symbols' features are ready, as the last bars left them: what a run tells of warm-up and gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slt.candles import utc_text
from slt.types import BarState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import Bars

__all__ = ["Warmth"]

_ABSENT = int(BarState.ABSENT)


class Warmth:
    """Keeps, for each symbol, whether its features are ready and since when its bars have had no gap.

    Args:
        symbols: Column order of the blocks.
        interval_ms: Base interval.
        warmup_bars: Bars before the first ready row, as the slowest feature set declares.
        is_needed: Whether there is a feature set at all; without one nothing has to warm up.
    """

    def __init__(self, symbols: tuple[str, ...], interval_ms: int, warmup_bars: int, *, is_needed: bool) -> None:
        self._symbols = symbols
        self._interval_ms = interval_ms
        self._warmup_bars = warmup_bars
        self._is_needed = is_needed
        self._has_been_warm = False
        self._ready = np.zeros(len(symbols), np.bool_)
        self._last = np.zeros(len(symbols), np.int64)
        self._whole_since = np.zeros(len(symbols), np.int64)

    def note(self, bars: Bars, ready: NDArray[np.bool_]) -> None:
        """Take in a block, in time order of each symbol.

        Args:
            bars: The block; a symbol's absent bars count as missing.
            ready: bool ``[t, s]``, as in its `slt.types.FeatureBlock`.
        """
        if not self._is_needed or not len(bars):
            return
        here, times = bars.state != _ABSENT, bars.close_time
        before = np.empty_like(here)
        before[0] = times[0] - self._last == self._interval_ms
        before[1:] = here[:-1] & (np.diff(times) == self._interval_ms)[:, np.newaxis]
        begins = here & ~before
        rows = len(bars) - 1
        last, began = rows - here[::-1].argmax(axis=0), rows - begins[::-1].argmax(axis=0)
        known, broken = here.any(axis=0), begins.any(axis=0)
        self._whole_since = np.where(broken, times[began] - self._interval_ms, self._whole_since)
        self._last = np.where(known, times[last], self._last)
        self._ready = np.where(known, ready[last, np.arange(len(self._symbols))], self._ready)
        self._has_been_warm = self._has_been_warm or bool(self._ready.any())

    def begin_anew(self, symbols: tuple[str, ...]) -> None:
        """Forget the past of some symbols; new ones become the last columns."""
        held = {symbol: column for column, symbol in enumerate(self._symbols) if symbol not in symbols}
        self._symbols = (*self._symbols, *(symbol for symbol in symbols if symbol not in self._symbols))
        for name in ("_ready", "_last", "_whole_since"):
            before = getattr(self, name)
            after = np.zeros(len(self._symbols), before.dtype)
            for symbol, column in held.items():
                after[self._symbols.index(symbol)] = before[column]
            setattr(self, name, after)

    @property
    def symbols(self) -> int:
        """How many symbols there are."""
        return len(self._symbols)

    @property
    def count(self) -> int:
        """Symbols whose features are ready; all of them where there is no feature set."""
        return int(self._ready.sum()) if self._is_needed else len(self._symbols)

    @property
    def reason(self) -> str:
        """Why no symbol can be entered yet, one line; empty once any symbol's features have ever been ready.

        A gap that comes later is no reason: it holds single symbols up, and `waiting` tells which.
        """
        if not self._is_needed or self._has_been_warm:
            return ""
        begun = self._whole_since[self._last > 0]
        if not len(begun):
            return f"the features warm up: no bar has come yet, they need {self._warmup_bars}"
        bars = (int(self._last.max()) - int(begun.min())) // self._interval_ms
        return f"the features warm up: {bars} bars without a gap so far, they need {self._warmup_bars}"

    def waiting(self) -> dict[str, str]:
        """Symbols that wait for their features, each with one line on why."""
        if not self._is_needed:
            return {}
        return {self._symbols[column]: self._why(int(column)) for column in np.flatnonzero(~self._ready)}

    def health(self) -> tuple[float, str]:
        """Score (100 = every symbol is ready, 50 = none) and one line of detail."""
        if not self._is_needed:
            return 100.0, "none chosen"
        total, count = len(self._symbols), self.count
        if count == total:
            return 100.0, f"ready for every symbol ({total})"
        return 50.0 + 50.0 * count / total, self.reason or f"ready for {count} of {total} symbols; {self._longest()}"

    def snapshot(self) -> dict[str, Any]:
        """State as picklable data."""
        return {
            "symbols": self._symbols,
            "has_been_warm": self._has_been_warm,
            "ready": self._ready.copy(),
            "last": self._last.copy(),
            "whole_since": self._whole_since.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, its symbols included."""
        self._symbols = state["symbols"]
        self._has_been_warm = state["has_been_warm"]
        self._ready, self._last = state["ready"].copy(), state["last"].copy()
        self._whole_since = state["whole_since"].copy()

    def _why(self, column: int) -> str:
        if not self._last[column]:
            return "no bar has come yet"
        return f"its features are not ready: its bars have no gap since {utc_text(int(self._whole_since[column]))} UTC"

    def _longest(self) -> str:
        """The symbol that has waited least long for whole bars: it will be the last."""
        held = np.flatnonzero(~self._ready)
        column = int(held[self._whole_since[held].argmax()])
        return f"{self._symbols[column]}: {self._why(column)}"
