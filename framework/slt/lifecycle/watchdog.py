"""Notices that the event loop is stuck, writes down where, and ends the process so that its supervisor restarts it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["WATCHDOG_EXIT_CODE", "Watchdog"]

_log = logging.getLogger("slt.lifecycle")

WATCHDOG_EXIT_CODE = 70
"""Exit code of a process that its watchdog ended."""

_DUMP_SHARE = 0.1
"""Share of the last seconds that the alert waits for the dump; then it goes without."""

_LOG_SECONDS = 1.0
"""Time that the log has when dump and alert are done or given up."""


class Watchdog:
    """A thread that expects a beat from the event loop and ends the process when none has come for too long.

    `heartbeat` is a task that does nothing else, so that an idle hour or a long fit in a child process raises no alarm:
    only a loop that does not come round does. Silence is counted by the thread's own rounds, so that a process that was
    suspended (a laptop asleep, SIGSTOP) is not taken for a stuck one. Code that holds the interpreter's lock for good
    stops the thread too; that is beyond a watchdog inside the process.

    Args:
        dump_file: Where the stacks of all threads and tasks go, appended.
        on_silence: Called with the dump before the end, for a last alert, in a thread of its own; None = nobody. The
            dump has a tenth of `alert_seconds`; then it is called without waiting on for it.
        silence_seconds: Silence after which the process is ended.
        beat_seconds: Distance of the beats.
        check_seconds: Distance of the thread's rounds.
        alert_seconds: Time for writing the dump and for `on_silence`, together; the log has a second more.
        exit_callback: Called with `WATCHDOG_EXIT_CODE`; `os._exit`, because a stuck loop cannot be asked to end.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        dump_file: Path,
        *,
        on_silence: Callable[[str], None] | None = None,
        silence_seconds: float = 60.0,
        beat_seconds: float = 5.0,
        check_seconds: float = 1.0,
        alert_seconds: float = 10.0,
        exit_callback: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dump_file = dump_file
        self._on_silence = on_silence
        self._silence_seconds = silence_seconds
        self._beat_seconds = beat_seconds
        self._check_seconds = check_seconds
        self._alert_seconds = alert_seconds
        self._exit = exit_callback
        self._clock = clock
        self._beaten = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start watching `loop`; the first beat is due one silence from now."""
        self._loop = loop
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, name="slt-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; from any thread, also if it never started."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def beat(self) -> None:
        """Say that the loop comes round."""
        self._beaten.set()

    async def heartbeat(self) -> None:
        """Beat for ever; to be run in a task of its own, and cancelled at the end."""
        while True:
            self.beat()
            await asyncio.sleep(self._beat_seconds)

    def _watch(self) -> None:
        silence, last = 0.0, self._clock()
        while not self._ended.wait(self._check_seconds):
            now = self._clock()
            silence += min(now - last, 2.0 * self._check_seconds)
            last = now
            if self._beaten.is_set():
                self._beaten.clear()
                silence = 0.0
            elif silence >= self._silence_seconds:
                self._bite(silence)
                return

    def _bite(self, silence: float) -> None:
        # In threads of their own, the log last: neither a full disk nor a hanging alert nor a screen that nobody reads
        # may keep the process from ending, nor one of them the others.
        report = _Report()
        try:
            works = (_begin(self._dump, silence, report), _begin(self._tell, report))
            end = time.monotonic() + self._alert_seconds
            for work in works:
                work.join(max(end - time.monotonic(), 0.0))
            _begin(self._log, silence, report).join(_LOG_SECONDS)
        finally:
            self._exit(WATCHDOG_EXIT_CODE)

    def _dump(self, silence: float, report: _Report) -> None:
        try:
            report.text = describe_stacks(self._loop)
            self._dump_file.parent.mkdir(parents=True, exist_ok=True)
            with self._dump_file.open("a", encoding="utf-8") as file:
                file.write(f"event loop silent for {silence:.0f} s\n{report.text}\n")
                file.flush()
                os.fsync(file.fileno())
        except Exception as error:  # noqa: BLE001 - the process ends in any case; the alert is still tried
            report.text += f"\nthe dump is incomplete: {type(error).__name__}"
        report.is_written.set()

    def _tell(self, report: _Report) -> None:
        if self._on_silence is None:
            return
        is_written = report.is_written.wait(self._alert_seconds * _DUMP_SHARE)
        try:
            self._on_silence(report.text if is_written else f"{report.text}\nthe dump is not written yet")
        except Exception:  # noqa: BLE001 - as above
            report.has_alert_failed = True

    def _log(self, silence: float, report: _Report) -> None:
        _log.critical("event loop silent for %.0f s: ending; stacks in `%s`", silence, self._dump_file)
        if report.has_alert_failed:
            _log.critical("the alert about the silent event loop failed")


class _Report:
    """What the threads of the last seconds tell one another: the stacks, whether they are written, and the alert."""

    def __init__(self) -> None:
        self.text = ""
        self.is_written = threading.Event()
        self.has_alert_failed = False


def _begin(work: Callable[..., None], *args: object) -> threading.Thread:
    """Start work that nothing has to wait for."""
    thread = threading.Thread(target=work, args=args, name="slt-watchdog-report", daemon=True)
    thread.start()
    return thread


def describe_stacks(loop: asyncio.AbstractEventLoop | None) -> str:
    """The stacks of all threads, and of all tasks of `loop` (None = no loop), as text; from any thread."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"--- thread {names.get(ident, '?')} ({ident})\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to see other threads
    ]
    for task in _tasks_of(loop):
        buffer = io.StringIO()
        buffer.write(f"--- task {task.get_name()}\n")
        task.print_stack(file=buffer)
        parts.append(buffer.getvalue())
    return "\n".join(parts)


def _tasks_of(loop: asyncio.AbstractEventLoop | None) -> list[asyncio.Task[object]]:
    if loop is None:
        return []
    try:
        return sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    except RuntimeError:  # the set of tasks kept changing while it was read
        return []
