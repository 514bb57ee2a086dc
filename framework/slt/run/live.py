"""The live driver: one bar at a time, paced by the clock, with ticks, snapshots, heartbeat and an orderly stop.

Today it plays recorded candles (paper trading on a recording, at any speed); a feed with an exchange behind it
delivers its bars through the same door. Decisions are the engine's: the same candles give the same trades as a
back-test. Time is the recording's: the clock says only when a bar is played, and when a bar is missing the tick in
its place, never what time the engine is told.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from slt.run.player import Player, Progress, in_order
from slt.run.supervision import save_and_stop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from slt.run.assembly import Assembly
    from slt.run.session import Session
    from slt.types import Bars

__all__ = ["play_live"]

_READ_ROWS = 240
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
        stopping: Asked between bars and while waiting for the next; True saves the state and stops. No bar is decided
            on after it, so no entry is accepted.
        on_progress: Told after every bar.

    Raises:
        StoppedError: The run was stopped; positions stay as they are, and the same command resumes it.
    """
    player = Player(assembly, session, skip=False)
    start = await player.begin()
    if session.vitals is not None:
        session.vitals.arrived("start")
    pace = _Pace(assembly.settings.run.speed, stopping)
    async with aclosing(_single_bars(assembly, start)) as stream:
        async for bars in stream:
            time = int(bars.close_time[0])
            for missing in player.missing_times(time):
                if not await pace.reach(missing):
                    await save_and_stop(player, assembly)
                await player.tick(missing)
            if not await pace.reach(time):
                await save_and_stop(player, assembly)
            await session.apply_halts(player.time)
            await player.play(bars)
            on_progress(player.progress())
            if stopping():
                await save_and_stop(player, assembly)
            await player.save_when_due()
    await player.finish()


async def _single_bars(assembly: Assembly, start: int) -> AsyncGenerator[Bars, None]:
    """The recording a bar at a time; read ahead in a thread, because a file may take its time."""
    blocks = in_order(assembly.plugins.feed.hooks.slt_read_bars(start=start, rows=_READ_ROWS))
    while (bars := await asyncio.to_thread(next, blocks, None)) is not None:
        for row in range(len(bars)):
            yield bars.rows(row, row + 1)


class _Pace:
    """Turns event time into moments of the loop's clock, from the first time it is asked for.

    Args:
        speed: Event time per wall time; 0 = never wait.
        stopping: Whether the run is to stop.
    """

    def __init__(self, speed: float, stopping: Callable[[], bool]) -> None:
        self._speed = speed
        self._stopping = stopping
        self._origin: tuple[int, float] | None = None

    async def reach(self, time: int) -> bool:
        """Wait for the moment of `time`; returns False where the run is to stop before it comes."""
        if self._speed == 0.0:
            return True
        loop = asyncio.get_running_loop()
        if self._origin is None:
            self._origin = (time, loop.time())
        first, began = self._origin
        moment = began + (time - first) / 1000 / self._speed
        while (left := moment - loop.time()) > 0:
            if self._stopping():
                return False
            await asyncio.sleep(min(left, _STOP_POLL_S))
        return True
