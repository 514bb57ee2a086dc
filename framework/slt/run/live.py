"""The live driver: one bar at a time, paced by the clock, with ticks, snapshots, heartbeat and an orderly stop.

Today it plays recorded candles (paper trading on a recording, at any speed); a feed with an exchange behind it
delivers its bars through the same door. Decisions are the engine's: the same candles give the same trades as a
back-test.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import StoppedError
from slt.run.player import Player, Progress, in_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.run.assembly import Assembly
    from slt.run.session import Session

__all__ = ["play_live"]

_SNAPSHOT_ROWS = 60
_STOP_POLL_S = 0.25


async def play_live(
    assembly: Assembly,
    session: Session,
    *,
    stopping: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> None:
    """Play the feed bar by bar, each at its time (divided by ``run.speed``; 0 = at once).

    Args:
        assembly: The run's parts.
        session: Engine and broker.
        stopping: Asked between bars and while waiting for the next; True saves the state and stops.
        on_progress: Told after every bar.

    Raises:
        StoppedError: The run was stopped; positions stay as they are, and the same command resumes it.
    """
    player = Player(assembly, session, skip=False)
    start = player.resume() if assembly.folder.is_resumed else assembly.market.start
    loop = asyncio.get_running_loop()
    speed = assembly.settings.run.speed
    began: float | None = None
    first = 0
    for count, bars in enumerate(in_order(assembly.plugins.feed.hooks.slt_read_bars(start=start, rows=1)), 1):
        time = int(bars.close_time[0])
        if began is None:
            began, first = loop.time(), time
        if speed > 0:
            await _wait_until(began + (time - first) / 1000 / speed, stopping)
        await player.play(bars)
        on_progress(player.progress())
        if stopping():
            player.save()
            raise StoppedError(f"run {assembly.folder.run_id} is stopped and saved; the same command resumes it")
        if count % _SNAPSHOT_ROWS == 0:
            player.save()
    await player.finish()


async def _wait_until(moment: float, stopping: Callable[[], bool]) -> None:
    """Sleep until a moment of the loop's clock, waking early when the run is to stop."""
    loop = asyncio.get_running_loop()
    while (left := moment - loop.time()) > 0 and not stopping():  # noqa: ASYNC110 # a clock, not a condition
        await asyncio.sleep(min(left, _STOP_POLL_S))
