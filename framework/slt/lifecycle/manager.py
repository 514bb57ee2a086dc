"""Stopping in order: who stops when, how long each may take, and what a second signal does."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

__all__ = ["LifecycleManager", "StopReport"]

_log = logging.getLogger("slt.lifecycle")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_SHARE = 0.1


@frozen
class _Component:
    name: str
    order: tuple[int, int]
    stop: Callable[[], Awaitable[None]]
    deadline_seconds: float


@frozen
class StopReport:
    """How the stop went.

    Attributes:
        stopped: Components that stopped in time, in order.
        timed_out: Components that were cancelled at their deadline.
        failed: Components whose stop raised.
        skipped: Components that were not asked any more, because a second signal forced the end.
    """

    stopped: tuple[str, ...] = ()
    timed_out: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether every component stopped in time and without an error."""
        return not (self.timed_out or self.failed or self.skipped)


class LifecycleManager:
    """Stops registered components one after the other, each within its deadline, and listens to SIGINT and SIGTERM.

    The first signal sets `stopping`; the driver then accepts no more entries, saves its state and awaits `stop`. The
    second sets `forced`: the component that is stopping is cancelled and the rest skipped. The third kills. Positions
    are none of this: their stops rest on the exchange.

    Args:
        budget_seconds: Most that the whole stop takes. If the deadlines add up to more, all are shortened in
            proportion, so that the last component gets its share however slow the first is.
        clock: Seconds that never go back.

    Attributes:
        stopping: Set by the first signal, `request_stop` or `stop`.
        forced: Set by the second signal.
    """

    def __init__(self, *, budget_seconds: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.stopping = asyncio.Event()
        self.forced = asyncio.Event()
        self._budget = budget_seconds
        self._clock = clock
        self._components: list[_Component] = []
        self._report: asyncio.Task[StopReport] | None = None
        self._signals = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has come or `request_stop` was called; true at once, also while the loop does not run."""
        return self._signals > 0 or self.stopping.is_set()

    def register(
        self, name: str, stop: Callable[[], Awaitable[None]], *, priority: int, deadline_seconds: float = 5.0
    ) -> None:
        """Name something that has to be stopped.

        Args:
            name: For the log; unique.
            stop: Called once at the stop; may be cancelled at the deadline.
            priority: Lower stops earlier; of equals, the one registered last stops first.
            deadline_seconds: How long `stop` may take, above 0.

        Raises:
            ValueError: The name is taken or the deadline is not above 0.
        """
        if any(component.name == name for component in self._components):
            raise ValueError(f"a component `{name}` is registered already")
        if not deadline_seconds > 0.0:
            raise ValueError(f"the deadline of `{name}` was {deadline_seconds}; it must be above 0")
        order = (priority, -len(self._components))
        self._components.append(_Component(name, order, stop, deadline_seconds))

    def install_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to SIGINT and SIGTERM; to be called in the main thread.

        The handlers are those of the interpreter, not of the loop: they run while the loop is busy computing as well.
        """
        self._loop = loop
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._on_signal)

    def remove_signals(self) -> None:
        """Put the handlers back that were found."""
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()

    def request_stop(self, reason: str) -> None:
        """Ask for a stop from within, as a first signal would; from the loop's thread."""
        if not self.stopping.is_set():
            _log.info("stopping: %s", reason)
            self.stopping.set()

    async def stop(self) -> StopReport:
        """Stop every component in order. Never raises; a second call waits for the first and gives its report.

        Returns:
            How it went; also logged, component by component where it did not go well, and at debug level where the
            program just comes to its end.
        """
        if self._report is None:
            level = logging.INFO if self.stopping.is_set() else logging.DEBUG
            self.stopping.set()
            self._report = asyncio.ensure_future(self._stop_all(level))
        return await asyncio.shield(self._report)

    async def _stop_all(self, level: int) -> StopReport:
        order = sorted(self._components, key=lambda component: component.order)
        total = sum(component.deadline_seconds for component in order)
        scale = min(1.0, self._budget / total) if total else 1.0
        found: dict[str, list[str]] = {"stopped": [], "timed_out": [], "failed": [], "skipped": []}
        begun = self._clock()
        for component in order:
            outcome = "skipped"
            if not self.forced.is_set():
                outcome = await self._stop_one(component, component.deadline_seconds * scale)
            found[outcome].append(component.name)
        report = StopReport(**{outcome: tuple(names) for outcome, names in found.items()})
        _log.log(
            level if report.is_clean else logging.WARNING, "stopped in %.1f s%s", self._clock() - begun, _faults(report)
        )
        return report

    async def _stop_one(self, component: _Component, deadline_seconds: float) -> str:
        task = asyncio.ensure_future(_call(component.stop))
        forced = asyncio.ensure_future(self.forced.wait())
        grace = deadline_seconds * _GRACE_SHARE
        await asyncio.wait({task, forced}, timeout=deadline_seconds - grace, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not task.done():
            task.cancel()
            task.add_done_callback(_look_at)
            await asyncio.wait({task}, timeout=grace)
            _log.warning("%s did not stop within %.1f s", component.name, deadline_seconds)
            return "timed_out"
        error = None if task.cancelled() else task.exception()
        if error is None:
            return "stopped"
        _log.error("%s failed to stop: %s", component.name, type(error).__name__, exc_info=error)
        return "failed"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, signal.Signals(number).name, self._signals)

    def _tell(self, name: str, count: int) -> None:
        self.request_stop(f"{name} received; a second one forces the end")
        if count > 1:
            _log.warning("%s received again: the stop is forced", name)
            self.forced.set()


async def _call(stop: Callable[[], Awaitable[None]]) -> None:
    await stop()


def _look_at(task: asyncio.Task[None]) -> None:
    """Take the outcome of a task that nobody waits for, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()


def _faults(report: StopReport) -> str:
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (("too slow", report.timed_out), ("failed", report.failed), ("skipped", report.skipped))
        if names
    ]
    return f" ({'; '.join(parts)})" if parts else ""
