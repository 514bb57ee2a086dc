"""The exchange's time, as a live run knows it."""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ExchangeClock"]

_STEP_S = 1.0
_STEPS, _FEWEST_STEPS = 15, 3


class ExchangeClock:
    """Tells the time by what the exchange said last and the seconds since then; never goes back.

    Args:
        seconds: A steady clock in seconds.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._offset: float | None = None
        self._last = 0
        self._newest = 0
        self._step: tuple[float, int] | None = None
        self._paces: deque[float] = deque(maxlen=_STEPS)

    @property
    def is_set(self) -> bool:
        """Whether the exchange has said any time yet."""
        return self._offset is not None

    def note(self, time_ms: int) -> None:
        """The exchange has just said this time, ms UTC; one behind the clock was only long on its way."""
        seconds = self._seconds()
        offset = time_ms - seconds * 1000
        if self._offset is None or offset > self._offset:
            self._offset = offset
        self._newest = max(self._newest, time_ms)
        self._note_pace(seconds)

    @property
    def pace(self) -> float:
        """Seconds of the exchange per second here: 1 at a real one, more at a simulated one that plays faster.

        The median of what was seen lately, so that neither a jump of the clock nor a pause counts; 1 until it is known.
        """
        return statistics.median_low(self._paces) if len(self._paces) >= _FEWEST_STEPS else 1.0

    def now(self) -> int:
        """The time, ms UTC; 0 before the exchange said any."""
        if self._offset is not None:
            self._last = max(self._last, int(self._offset + self._seconds() * 1000))
        return self._last

    def _note_pace(self, seconds: float) -> None:
        if self._step is None:
            self._step = (seconds, self._newest)
            return
        since, time_ms = self._step
        if seconds - since >= _STEP_S:
            self._paces.append((self._newest - time_ms) / 1000 / (seconds - since))
            self._step = (seconds, self._newest)
