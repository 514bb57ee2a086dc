"""What keeps a run alive and lets it end well: signals, the order of the stop, crash guard, watchdog and health.

The parts are `slt.lifecycle`'s; here they meet the clock and the run. A back-test listens to signals alone; paper and
live runs, which nobody watches, get the rest too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from slt.errors import ConfigError, StoppedError
from slt.lifecycle import CrashGuard, LifecycleManager, Watchdog
from slt.log import get_logger
from slt.notices import alert_notice
from slt.run.heap import keep_small
from slt.run.last_words import tell_last
from slt.run.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from slt.config import Settings
    from slt.notify import Outbox
    from slt.run.assembly import Assembly
    from slt.run.player import Player, Progress
    from slt.run.starting import Starting

__all__ = ["STOPS", "Upkeep", "guarded", "listening", "register_stop", "save_and_stop", "until_forced"]

T = TypeVar("T")

STOPS: dict[str, tuple[int, float]] = {
    "fits": (10, 1.0),
    "outbox": (20, 3.5),
    "writer": (30, 3.0),
    "lock": (35, 0.5),
    "broker": (40, 1.0),
    "figures": (42, 0.5),
    "cache": (45, 0.5),
    "storage": (50, 4.0),
    "upkeep": (60, 1.0),
}
"""Priority (lower stops earlier) and deadline in seconds of each component: 15 s, and before them 5 s for the driver
to save its state."""

_SAVE_SECONDS = 5.0
"""How long a stop waits for the last snapshot; the one before it is as good, only more is done again."""

_HEALTH_SECONDS = 5.0
_BEAT_SECONDS = 0.5
_LAGS_KEPT = 120
_LATE_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
_LAST_WORDS_SECONDS = 8.0
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
async def guarded(settings: Settings, lifecycle: LifecycleManager, starting: Starting) -> AsyncIterator[None]:
    """Count this start, wait where too many before it ended in a crash, and count no more where this one does not.

    A configuration that is refused is no crash: whoever mends it need not wait.

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
        delay = guard.delay_seconds(now)
        with starting.waiting("crashes", f"started too often without a clean stop, waiting {delay:g} s"):
            await _wait_out(delay, lifecycle)
        yield
    except (StoppedError, ConfigError):
        guard.mark_clean()
        raise
    guard.mark_clean()


async def _wait_out(delay_seconds: float, lifecycle: LifecycleManager) -> None:
    if delay_seconds > 0.0:
        _log.warning("started too often without a clean stop, waiting", seconds=delay_seconds, safety=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_seconds):
                await lifecycle.stopping.wait()
    if lifecycle.stop_requested:
        raise StoppedError("stopped before the run began; the same command starts it")


class Upkeep:
    """Watches over a paper or live run: watchdog, vitals, ``health.json`` in the run's folder, and health over HTTP.

    Args:
        assembly: The run's parts.
        outbox: Where notices go; None where none are sent.
        starting: What is shown so far, and how.

    Attributes:
        vitals: What is known about the run; the driver adds what it has.
        state: What the run is left in when it ends: ``stopped`` unless told otherwise.
    """

    def __init__(self, assembly: Assembly, outbox: Outbox | None, starting: Starting) -> None:
        self.vitals = Vitals(assembly, outbox)
        self.state = "stopped"
        self._now = "running"
        dump = assembly.folder.path / "watchdog.txt"
        self._watchdog = Watchdog(
            dump, silence_seconds=_SILENCE_SECONDS, on_silence=partial(_tell_of_silence, assembly)
        )
        self._starting = starting
        self._server = starting.server
        self._file = assembly.folder.path / "health.json"
        self._tasks: list[asyncio.Task[None]] = []
        self._lags: deque[float] = deque(maxlen=_LAGS_KEPT)
        self._is_file_broken = False

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to watch, in tasks that run until they are cancelled; `stop` ends it."""
        self._watchdog.start(asyncio.get_running_loop())
        self._starting.hand_over(self._snapshot)
        works = (self._watchdog.heartbeat(), self._feel_lag(), self._keep_file(), keep_small())
        self._tasks = [tasks.create_task(work) for work in works]
        return self._tasks

    def note(self, progress: Progress) -> None:
        """A bar has been played."""
        self.vitals.fed(progress)

    async def stop(self) -> None:
        """End the watch and write the health a last time."""
        for task in self._tasks:
            task.cancel()
        self._watchdog.stop()
        await self._server.stop()
        self._now = self.state
        await self._write()

    async def _feel_lag(self) -> None:
        """Measure how late the loop comes round."""
        mark = self.vitals.loops.declare("heartbeat", interval_seconds=_BEAT_SECONDS, deadline_seconds=_LATE_SECONDS)
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await asyncio.sleep(_BEAT_SECONDS)
            self._lags.append(loop.time() - begun - _BEAT_SECONDS)
            self.vitals.lagged(max(self._lags))
            mark.beat()

    async def _keep_file(self) -> None:
        mark = self.vitals.loops.declare("health", interval_seconds=_HEALTH_SECONDS, deadline_seconds=_LATE_SECONDS)
        while True:
            await self.vitals.refresh()
            await self._write()
            self._starting.forget()
            mark.beat()
            await asyncio.sleep(_HEALTH_SECONDS)

    async def _write(self) -> None:
        text = json.dumps(self._snapshot(), indent=1, default=str)
        try:
            await asyncio.to_thread(_replace, self._file, text)
        except OSError as error:
            if not self._is_file_broken:
                _log.warning("health file cannot be written", file=str(self._file), cause=error.strerror)
            self._is_file_broken = True
        else:
            self._is_file_broken = False

    def _snapshot(self) -> dict[str, object]:
        written = datetime.now(UTC).isoformat(timespec="seconds")
        return {**self.vitals.snapshot(self._now), "written": written}


def _tell_of_silence(assembly: Assembly, _dump: str) -> None:
    """Try a last alert: nothing waits for it longer than the watchdog allows."""
    if "alert" not in assembly.settings.notices.kinds:
        return
    title = f"The event loop stood still for {_SILENCE_SECONDS:.0f} s; slt ends itself to be started again"
    fields = (("Run", assembly.folder.run_id), ("Stacks", str(assembly.folder.path / "watchdog.txt")))
    notice = alert_notice("watchdog", title, run_id=assembly.folder.run_id, time=_wall_ms(), fields=fields)
    tell_last(assembly.plugins.notifiers, notice, _LAST_WORDS_SECONDS)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
