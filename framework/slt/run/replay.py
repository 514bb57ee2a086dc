"""The replay driver: history through the same engine as live trading, as fast as it goes.

A minute is left out only if nothing can happen in it: no position, no entry under way, no proposal, no timer, no fit
taking effect. Barriers and shadows look at left-out rows later, all at once, with the same outcome.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.run.player import Player, Progress, in_order
from slt.run.supervision import save_and_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.run.assembly import Assembly
    from slt.run.session import Session

__all__ = ["replay"]


async def replay(
    assembly: Assembly,
    session: Session,
    *,
    stopping: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    skip: bool = True,
) -> None:
    """Run the feed's whole history through a session, taking snapshots between blocks.

    Args:
        assembly: The run's parts.
        session: Engine and broker.
        stopping: Asked after every block; True saves the state and stops.
        on_progress: Told after every block.
        skip: Leave out minutes in which nothing can happen; off, the result is the same and the run slower.

    Raises:
        StoppedError: The run was stopped; the same command resumes it.
    """
    player = Player(assembly, session, skip=skip)
    start = await player.begin()
    blocks = in_order(assembly.plugins.feed.hooks.slt_read_bars(start=start, rows=assembly.settings.run.block_bars))
    while (bars := await asyncio.to_thread(next, blocks, None)) is not None:
        await player.play(bars)
        on_progress(player.progress())
        await assembly.writer.wait_for_room()
        if stopping():
            await save_and_stop(player, assembly)
        await player.save_when_due()
    await player.finish()
