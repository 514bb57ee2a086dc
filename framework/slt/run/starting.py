"""What a paper or live run shows before it is under way: health over HTTP, and a word for ``slt status``.

A start may take long: kernels are compiled, a database recovers, too many crashes are waited out, and a second instance
waits as a standby for as long as the first one lives. A platform's health check must find it alive all that time, and
not ready; what it waits for is named. Once the run is under way, the same server shows the run's own vitals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from slt._binding import in_one_line
from slt.errors import SltError, StoppedError
from slt.lifecycle import Loops
from slt.report.standing import Standing
from slt.run.health_server import HealthServer
from slt.run.vitals import resident_mib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from slt.config import Settings
    from slt.lifecycle import LifecycleManager
    from slt.loader import Installed

__all__ = ["OPEN_SECONDS", "Starting", "opening", "starting_file"]

OPEN_SECONDS = 300.0
"""Longest time that opening one plugin may take."""

_WORD_SECONDS = 5.0
_LATE_SECONDS = 1200.0
"""More than opening broker, storage and cache may take together, and everything around it."""


def starting_file(root: Path, name: str) -> Path:
    """Where a run that is starting keeps its word.

    Args:
        root: The folder of all runs.
        name: Name of the run.
    """
    return root / f"{name}.starting.json"


class Starting:
    """A run that is not under way yet. Use: ``async with starting.shown()`` around everything, then `hand_over`.

    Args:
        settings: The configuration; a back-test shows nothing.
        clock: Seconds that never go back.

    Attributes:
        server: Health over HTTP, of the start and then of the run.
        waits: What keeps the run from being under way, by source.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.server = HealthServer(settings.health, self.snapshot)
        self.waits = {"start": "the run is not under way yet"}
        self._settings = settings
        self._file = starting_file(Path(settings.run.folder), settings.run.name)
        self._tasks: list[asyncio.Task[None]] = []
        self._loops = Loops(clock)
        self._mark = self._loops.declare("start", interval_seconds=OPEN_SECONDS, deadline_seconds=_LATE_SECONDS)
        self._news = asyncio.Event()
        self._is_over = False

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Serve health meanwhile, and keep the file until `forget`."""
        if self._settings.run.mode == "backtest":
            yield
            return
        self._tasks = [asyncio.create_task(work) for work in (self.server.run(), self._keep_file())]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.server.stop()
            self.server.show(self.snapshot)
            self.forget()

    @contextlib.contextmanager
    def waiting(self, source: str, reason: str) -> Iterator[None]:
        """Name something else that is waited for meanwhile, however long that takes."""
        self._mark.rest()
        self.waits[source] = reason
        self._news.set()
        try:
            yield
        finally:
            del self.waits[source]
            self._mark.beat()
            self._news.set()

    def hand_over(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        """The run is under way: the server shows its vitals from now on."""
        self.server.show(snapshot)

    def forget(self) -> None:
        """Take the file away, because the run's own has been written, or there will be none."""
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)

    def snapshot(self) -> dict[str, Any]:
        """As `slt.run.vitals.Vitals.snapshot`, of a run that has nothing yet; its state is ``starting``."""
        run = self._settings.run
        return {
            "run": run.name,
            "mode": run.mode,
            "state": "starting",
            "pid": os.getpid(),
            "score": 100.0,
            "status": "green",
            "parts": [],
            "waits": dict(self.waits),
            "event_time": None,
            "trades": None,
            "open_positions": None,
            "equity": None,
            "margin_in_use": None,
            "open_risk": 0.0,
            "positions": [],
            "standing": attrs.asdict(Standing(0)),
            "lag_seconds": None,
            "late_loops": [attrs.asdict(loop) for loop in self._loops.late()],
            "memory_mib": round(resident_mib(), 1),
            "writer": {"pending": 0, "written": 0, "failures": 0, "journal_failures": 0},
            "cache": None,
            "channels": [],
            "feed": None,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    async def _keep_file(self) -> None:
        """Say again and again that the run is starting: silence means that it is not any more."""
        while not self._is_over:
            self._news.clear()
            with contextlib.suppress(OSError):  # the run's folder is looked at by those who need it
                await asyncio.to_thread(self._write, json.dumps(self.snapshot(), indent=1))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WORD_SECONDS):
                    await self._news.wait()

    def _write(self, text: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        if self._is_over:
            fresh.unlink()
        else:
            fresh.replace(self._file)


@contextlib.asynccontextmanager
async def opening(plugin: Installed, lifecycle: LifecycleManager) -> AsyncIterator[None]:
    """Open a plugin meanwhile, not for longer than `OPEN_SECONDS`, and not beyond a signal to stop.

    Raises:
        StoppedError: The run was stopped before it began.
        SltError: It did not open in time, or what it needs is out of reach: a later start may find it.
    """
    loop = asyncio.get_running_loop()

    async def cut(limit: asyncio.Timeout) -> None:
        await lifecycle.stopping.wait()
        limit.reschedule(loop.time())

    try:
        async with asyncio.timeout(OPEN_SECONDS) as limit:
            cutting = asyncio.ensure_future(cut(limit))
            try:
                yield
            finally:
                cutting.cancel()
    except TimeoutError as error:
        if lifecycle.stop_requested:
            raise StoppedError("stopped before the run began; the same command starts it") from None
        raise SltError(f"{plugin} did not open within {OPEN_SECONDS:g} s") from error
    except OSError as error:
        raise SltError(f"{plugin} could not be opened: {in_one_line(error)}") from error
