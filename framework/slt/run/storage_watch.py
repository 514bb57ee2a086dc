"""What a paper or live run makes of its storage's state: alerts, a halt of entries where config wants it, pruning."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import SltError
from slt.log import get_logger
from slt.notices import alert_notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.lifecycle import LoopMark, Loops
    from slt.storage.link import StorageLink
    from slt.storage.writer import Writer
    from slt.types import Notice

__all__ = ["StorageWatch"]

_LOOK_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_PAUSE_SECONDS = 0.5
_LATE_SECONDS = 30.0
_LATE_PRUNING_SECONDS = 600.0
"""More than opening a storage may take, the recovery of a server among it, and one deletion."""
_log = get_logger("lifecycle")


class StorageWatch:
    """Looks at the writer every second, and tells people what changes.

    Args:
        writer: The run's writer.
        storage: The run's storage.
        run_id: The run.
        loops: Where the two loops are declared.
        tell: Takes an alert.
        event_time: Event time now, ms UTC.
        is_halting: Whether entries are to halt while the storage is away.
        sleep: How to wait.
    """

    def __init__(
        self,
        writer: Writer,
        storage: StorageLink,
        run_id: str,
        *,
        loops: Loops,
        tell: Callable[[Notice], None],
        event_time: Callable[[], int],
        is_halting: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._writer = writer
        self._storage = storage
        self._run_id = run_id
        self._loops = loops
        self._tell = tell
        self._event_time = event_time
        self._is_halting = is_halting
        self._sleep = sleep
        self._is_away = False
        self._refused = 0

    def halt_reason(self) -> str:
        """Why entries halt, one line; empty = they do not, on account of the storage."""
        if not (self._is_halting and self._writer.is_away):
            return ""
        return f"the storage is away, and run.halt_entries_without_storage is on: {self._writer.last_error}"

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        mark = self._loops.declare("storage", interval_seconds=_LOOK_SECONDS, deadline_seconds=_LATE_SECONDS)
        while True:
            mark.beat()
            self.look()
            await self._sleep(_LOOK_SECONDS)

    async def prune(self) -> None:
        """Have the storage delete what its options call too old, once an hour, until cancelled."""
        mark = self._loops.declare("pruning", interval_seconds=_PAUSE_SECONDS, deadline_seconds=_LATE_PRUNING_SECONDS)
        while True:
            mark.rest()
            await self._sleep(_PRUNE_SECONDS)
            try:
                total = await self._prune_once(mark)
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the run goes on
                cause = str(error) if isinstance(error, SltError) else type(error).__name__
                _log.warning("old records are deleted later", cause=cause)
            else:
                if total:
                    _log.info("old records deleted", records=total)

    def look(self) -> None:
        """Compare the state with what was told last."""
        writer = self._writer
        if writer.is_away and not self._is_away and writer.failures_in_a_row > 1:
            self._is_away = True
            text = "The storage is away; the run goes on, records wait in its journal"
            self._alert("storage_away", text, writer.last_error)
        elif self._is_away and not writer.is_away:
            self._is_away = False
            self._alert("storage_back", "The storage is back", f"{writer.pending} records wait", tone="good")
        if writer.refused > self._refused:
            self._refused = writer.refused
            text = "The storage refuses a record for what it is; it is kept in refused.jsonl"
            self._alert("record_refused", text, f"{self._refused} so far")

    async def _prune_once(self, mark: LoopMark) -> int:
        total = 0
        mark.beat()
        while deleted := await self._storage.slt_prune_records(now=self._event_time()):
            total += deleted
            await self._sleep(_PAUSE_SECONDS)
            mark.beat()
        return total

    def _alert(self, code: str, title: str, detail: str, *, tone: str = "bad") -> None:
        _log.warning(title, detail=detail, safety=True)
        time = self._event_time()
        self._tell(alert_notice(code, title, run_id=self._run_id, time=time, fields=(("Detail", detail),), tone=tone))
