"""The exchange's time, as a live run knows it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ExchangeClock"]


class ExchangeClock:
    """Tells the time by what the exchange said last and the seconds since then; never goes back.

    Args:
        seconds: A steady clock in seconds.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._offset: float | None = None
        self._last = 0

    @property
    def is_set(self) -> bool:
        """Whether the exchange has said any time yet."""
        return self._offset is not None

    def note(self, time_ms: int) -> None:
        """The exchange has just said this time, ms UTC; one behind the clock was only long on its way."""
        offset = time_ms - self._seconds() * 1000
        if self._offset is None or offset > self._offset:
            self._offset = offset

    def now(self) -> int:
        """The time, ms UTC; 0 before the exchange said any."""
        if self._offset is not None:
            self._last = max(self._last, int(self._offset + self._seconds() * 1000))
        return self._last
