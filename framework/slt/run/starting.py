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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from slt.log import get_logger
from slt.report.standing import Standing
from slt.run.health_server import HealthServer
from slt.run.vitals import resident_mib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from slt.config import Settings

__all__ = ["Starting", "starting_file"]

_WORD_SECONDS = 5.0
_log = get_logger("lifecycle")


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

    Attributes:
        server: Health over HTTP, of the start and then of the run.
        waits: What keeps the run from being under way, by source.
    """

    def __init__(self, settings: Settings) -> None:
        self.server = HealthServer(settings.health, self.snapshot)
        self.waits = {"start": "the run is not under way yet"}
        self._settings = settings
        self._file = starting_file(Path(settings.run.folder), settings.run.name)
        self._tasks: list[asyncio.Task[None]] = []
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
        """Name something else that is waited for meanwhile."""
        self.waits[source] = reason
        self._news.set()
        try:
            yield
        finally:
            del self.waits[source]
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
            "late_loops": [],
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
