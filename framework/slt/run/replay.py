"""The replay driver: history through the same engine as live trading, as fast as it goes.

A minute is left out only if nothing can happen in it: no position, no entry under way, no proposal, no timer, no fit
taking effect. Barriers and shadows look at left-out rows later, all at once, with the same outcome.
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

__all__ = ["replay"]

_SNAPSHOT_S = 5.0
"""Wall time between two snapshots; what a crash loses is done again, with the same result."""


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
    loop = asyncio.get_running_loop()
    saved = loop.time()
    player = Player(assembly, session, skip=skip)
    start = player.resume() if assembly.folder.is_resumed else assembly.market.start
    blocks = assembly.plugins.feed.hooks.slt_read_bars(start=start, rows=assembly.settings.run.block_bars)
    for bars in in_order(blocks):
        await player.play(bars)
        on_progress(player.progress())
        await assembly.writer.wait_for_room()
        is_stopping = stopping()
        if is_stopping or loop.time() - saved >= _SNAPSHOT_S:
            player.save()
            saved = loop.time()
        if is_stopping:
            raise StoppedError(f"run {assembly.folder.run_id} is stopped and saved; the same command resumes it")
    await player.finish()
