"""The market's clock: between two prices it runs as fast as the market is played."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MarketClock", "WallClock", "wall_ms"]


class MarketClock:
    """Gives the exchange's time, ms UTC, when called; it never passes an event that has not been played yet.

    Args:
        start: Time before anything is played, ms UTC.
        speed: Market seconds per second; 0 = time moves with the events only.
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(self, start: int, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self.jump_ms = 0
        self._monotonic = monotonic
        self._time = start
        self._limit = start
        self._anchor = (monotonic(), start)

    def __call__(self) -> int:
        """The exchange's time now, a jump that was injected included."""
        return self.now() + self.jump_ms

    def now(self) -> int:
        """The market's own time, without a jump."""
        if self.speed:
            wall, market = self._anchor
            passed = market + int((self._monotonic() - wall) * 1_000 * self.speed)
            self._time = max(self._time, min(passed, self._limit))
        return self._time

    def start(self) -> None:
        """Let time run from here: what passed before does not count."""
        self._anchor = (self._monotonic(), self._time)

    def wait_seconds(self, moment: int) -> float:
        """Seconds until the market should be at `moment`; above 0 only when it has to be waited for.

        Time runs up to `moment` from now on. A player that has fallen behind by more than a second is not chased:
        the market goes on from where it is.
        """
        self._limit = max(self._limit, moment)
        if not self.speed:
            return 0.0
        wall, market = self._anchor
        left = (moment - market) / 1_000 / self.speed - (self._monotonic() - wall)
        if left < -1.0:
            self._anchor = (self._monotonic(), moment)
        return max(0.0, left)

    def reach(self, moment: int) -> None:
        """Be at `moment` at least: an event of that time is played now."""
        self._limit = max(self._limit, moment)
        self._time = max(self._time, moment)


class WallClock(MarketClock):
    """The machine's time of day, for a market in real time: clients stamp their requests by it.

    It waits for nobody: a market that has stood still is played up to now.

    Args:
        start: Time before anything is played, ms UTC.
        wall: The machine's clock, ms UTC.
    """

    def __init__(self, start: int, wall: Callable[[], int] | None = None) -> None:
        super().__init__(start, 1.0)
        self._wall = wall or wall_ms

    def now(self) -> int:
        """The time of day, without a jump; it never goes back."""
        self._time = max(self._time, self._wall())
        return self._time

    def start(self) -> None:
        """The time of day runs by itself."""

    def wait_seconds(self, moment: int) -> float:
        """Seconds until the time of day is `moment`; 0 once it has passed."""
        return max(0.0, (moment - self.now()) / 1_000)

    def reach(self, moment: int) -> None:
        """An event of a time that has come is played now."""


def wall_ms() -> int:
    """The machine's clock, ms UTC."""
    return time.time_ns() // 1_000_000
