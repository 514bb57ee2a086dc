"""What keeps a run alive and lets it end well: signals, the order of the stop, crash guard, watchdog and health.

The parts are `slt.lifecycle`'s; here they meet the clock and the run. A back-test listens to signals alone; paper and
live runs, which nobody watches, get the rest too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from slt.errors import StoppedError
from slt.lifecycle import CrashGuard, Health, HealthReport, LifecycleManager, Watchdog
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from slt.config import Settings
    from slt.notify import Outbox
    from slt.run.assembly import Assembly
    from slt.run.player import Player, Progress

__all__ = ["STOPS", "Upkeep", "guarded", "listening", "register_stop", "save_and_stop", "until_forced"]

T = TypeVar("T")

STOPS: dict[str, tuple[int, float]] = {
    "fits": (10, 1.0),
    "outbox": (20, 4.0),
    "writer": (30, 3.0),
    "broker": (40, 1.0),
    "cache": (45, 1.0),
    "storage": (50, 4.0),
    "upkeep": (60, 1.0),
}
"""Priority (lower stops earlier) and deadline in seconds of each component: 15 s, and before them 5 s for the driver
to save its state."""

_SAVE_SECONDS = 5.0
"""How long a stop waits for the last snapshot; the one before it is as good, only more is done again."""

_HEALTH_SECONDS = 5.0
_LAGS_KEPT = 12
_SILENCE_SECONDS = 60.0
_FEED_PATIENCE_SECONDS = 180.0
_MANY_RECORDS = 10_000
_MANY_NOTICES = 20
_log = get_logger("lifecycle")


@contextlib.contextmanager
def listening(lifecycle: LifecycleManager) -> Iterator[None]:
    """Let SIGINT and SIGTERM reach the lifecycle meanwhile; outside the main thread nothing can listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lifecycle.install_signals(asyncio.get_running_loop())
    try:
        yield
    finally:
        lifecycle.remove_signals()


def register_stop(lifecycle: LifecycleManager, name: str, stop: Callable[[], Awaitable[None]]) -> None:
    """Name how a component of `STOPS` stops."""
    priority, deadline = STOPS[name]
    lifecycle.register(name, stop, priority=priority, deadline_seconds=deadline)


async def until_forced(lifecycle: LifecycleManager, work: Coroutine[object, object, T]) -> T:
    """Await some work; cancel it where a second signal forces the end.

    Raises:
        StoppedError: The end was forced.
    """
    task = asyncio.ensure_future(work)
    forced = asyncio.ensure_future(lifecycle.forced.wait())
    try:
        await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StoppedError("the stop was forced; the same command resumes the run from its last snapshot")
        return task.result()
    finally:
        for one in (task, forced):
            one.cancel()
        await asyncio.gather(task, forced, return_exceptions=True)


async def save_and_stop(player: Player, assembly: Assembly) -> NoReturn:
    """Take a last snapshot and leave.

    Raises:
        StoppedError: Always.
    """
    run_id = assembly.folder.run_id
    try:
        async with asyncio.timeout(_SAVE_SECONDS):
            await player.save()
    except TimeoutError:
        raise StoppedError(
            f"run {run_id} is stopped; the storage took nothing for {_SAVE_SECONDS:g} s, so the same command resumes "
            "it from the snapshot before"
        ) from None
    raise StoppedError(f"run {run_id} is stopped and saved; the same command resumes it")


@contextlib.asynccontextmanager
async def guarded(settings: Settings, lifecycle: LifecycleManager) -> AsyncIterator[None]:
    """Count this start, wait where too many before it ended in a crash, and count no more where this one does not.

    Raises:
        StoppedError: The run was stopped while it waited.
    """
    if settings.run.mode == "backtest":
        yield
        return
    guard = CrashGuard(Path(settings.run.folder) / f"{settings.run.name}.starts.json")
    now = _wall_ms()
    guard.record_start(now)
    try:
        await _wait_out(guard.delay_seconds(now), lifecycle)
        yield
    except StoppedError:
        guard.mark_clean()
        raise
    guard.mark_clean()


async def _wait_out(delay_seconds: float, lifecycle: LifecycleManager) -> None:
    if delay_seconds > 0.0:
        _log.warning("started too often without a clean stop, waiting", seconds=delay_seconds, safety=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lifecycle.stopping.wait(), delay_seconds)
    if lifecycle.stop_requested:
        raise StoppedError("stopped before the run began; the same command starts it")


class Upkeep:
    """Watches over a paper or live run: the watchdog and its heartbeat, and ``health.json`` in the run's folder.

    Args:
        assembly: The run's parts.
        outbox: Where notices go; None where none are sent.

    Attributes:
        health: What is watched.
        state: What the run is left in when it ends: ``stopped`` unless told otherwise.
    """

    def __init__(self, assembly: Assembly, outbox: Outbox | None) -> None:
        self.health = Health()
        self.state = "stopped"
        self._assembly = assembly
        self._outbox = outbox
        self._watchdog = Watchdog(assembly.folder.path / "watchdog.txt", silence_seconds=_SILENCE_SECONDS)
        self._file = assembly.folder.path / "health.json"
        self._tasks: list[asyncio.Task[None]] = []
        self._progress: Progress | None = None
        self._fed = 0.0
        self._lags: list[float] = []
        self._is_file_broken = False

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to watch, in tasks that run until they are cancelled; `stop` ends it."""
        loop = asyncio.get_running_loop()
        self._fed = loop.time()
        self.health.register("feed", self._feed_health, is_critical=True)
        self.health.register("loop", self._loop_health)
        self.health.register("writer", self._writer_health)
        self.health.register("outbox", self._outbox_health)
        self.health.register("plugins", self._plugin_health)
        self._watchdog.start(loop)
        self._tasks = [tasks.create_task(self._watchdog.heartbeat()), tasks.create_task(self._keep_file())]
        return self._tasks

    def note(self, progress: Progress) -> None:
        """A bar has been played."""
        self._progress = progress
        self._fed = asyncio.get_running_loop().time()

    async def stop(self) -> None:
        """End the watch and write the health a last time."""
        for task in self._tasks:
            task.cancel()
        self._watchdog.stop()
        await self._write(self.state)

    async def _keep_file(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._write("running")
            begun = loop.time()
            await asyncio.sleep(_HEALTH_SECONDS)
            self._lags = [*self._lags[1 - _LAGS_KEPT :], loop.time() - begun - _HEALTH_SECONDS]

    async def _write(self, state: str) -> None:
        text = json.dumps(self._figures(state, self.health.report()), indent=1)
        try:
            await asyncio.to_thread(_replace, self._file, text)
        except OSError as error:
            if not self._is_file_broken:
                _log.warning("health file cannot be written", file=str(self._file), cause=error.strerror)
            self._is_file_broken = True

    def _figures(self, state: str, report: HealthReport) -> dict[str, object]:
        progress = self._progress
        parts = [{"name": p.name, "score": round(p.score, 1), "detail": p.detail} for p in report.parts]
        return {
            "run": self._assembly.folder.run_id,
            "mode": self._assembly.settings.run.mode,
            "state": state,
            "pid": os.getpid(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "score": round(report.score, 1),
            "status": report.status,
            "parts": parts,
            "event_time": progress.time if progress else None,
            "trades": progress.trades if progress else None,
            "open_positions": progress.open_positions if progress else None,
            "equity": progress.equity if progress else None,
        }

    def _feed_health(self) -> tuple[float, str]:
        age = asyncio.get_running_loop().time() - self._fed
        speed = self._assembly.settings.run.speed
        distance = self._assembly.market.interval_ms / 1000 / speed if speed > 0 else 0.0
        allowed = distance + _FEED_PATIENCE_SECONDS
        return 100.0 * min(1.0, allowed / max(age, 1e-9)), f"last bar {age:.0f} s ago"

    def _loop_health(self) -> tuple[float, str]:
        lag = max(self._lags, default=0.0)
        return 100.0 / (1.0 + max(lag, 0.0)), f"late by at most {lag:.3f} s in the last minute"

    def _writer_health(self) -> tuple[float, str]:
        writer = self._assembly.writer
        if writer.failures_in_a_row:
            return 40.0, f"{writer.pending} records wait: {writer.last_error}"
        return (100.0 if writer.pending < _MANY_RECORDS else 70.0), f"{writer.pending} records wait"

    def _outbox_health(self) -> tuple[float, str]:
        channels = self._outbox.status() if self._outbox is not None else ()
        waiting = sum(channel.waiting for channel in channels)
        off = [channel.name for channel in channels if channel.off is not None]
        if off:
            return 50.0, f"switched off: {', '.join(off)}; {waiting} notices wait"
        return (100.0 if waiting <= _MANY_NOTICES else 70.0), f"{waiting} notices wait"

    def _plugin_health(self) -> tuple[float, str]:
        faults = [*self._assembly.dense.faults, *self._assembly.engine.faults]
        return (30.0, f"entries halted: {faults[0]}") if faults else (100.0, "no plugin has failed")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
