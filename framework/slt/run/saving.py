"""Saving a run on a live feed: a new part of the session log, begun with a snapshot. It never holds the run up long.

What a snapshot has behind it is not made again after a restart, so its records must be safe before it is taken. Where
neither the disk nor the database takes them, or the disk does not answer, the run goes on unsaved, with its entries
halted, and positions stay managed: the part before stays the one that a restart begins with.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from slt.errors import SltError
from slt.log import get_logger
from slt.run.restoring import take_state
from slt.run.snapshots import save_snapshot

if TYPE_CHECKING:
    from slt.run.assembly import Assembly
    from slt.run.live_session import LiveSession
    from slt.run.session_log import SessionLog

__all__ = ["save_part"]

_RECORDS_S = 1.0
"""How long records may take to be safe: the run stands still meanwhile."""
_WHOLE_S = 5.0
_log = get_logger("lifecycle")


async def save_part(assembly: Assembly, session: LiveSession, log: SessionLog, progress: dict[str, Any]) -> bool:
    """Begin a part of the session log with a snapshot of the whole run.

    Args:
        assembly: The run's parts.
        session: Engine, dense part, results.
        log: The session log.
        progress: What the driver itself remembers.

    Returns:
        Whether it was saved; what kept it is in the log, and in `SessionLog.problem` where the disk refused.
    """
    writer = assembly.writer
    try:
        async with asyncio.timeout(_RECORDS_S):
            await writer.durable(writer.put(()))
        async with asyncio.timeout(_WHOLE_S):
            await log.begin_part(take_state(assembly, session, progress))
            await asyncio.to_thread(save_snapshot, assembly.folder.snapshot, {"session": "session"})
    except TimeoutError:
        cause = writer.last_error or "the disk does not answer"
    except SltError as error:
        cause = str(error)
    else:
        cause = log.problem
    if cause:
        _log.warning("the run is not saved, trying again", cause=cause, safety=True)
    return not cause
