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


class Watchdog:
    """A thread that expects a beat from the event loop and ends the process when none has come for too long.

    `heartbeat` is a task that does nothing else, so that an idle hour or a long fit in a child process raises no alarm:
    only a loop that does not come round does. Silence is counted by the thread's own rounds, so that a process that was
    suspended (a laptop asleep, SIGSTOP) is not taken for a stuck one. Code that holds the interpreter's lock for good
    stops the thread too; that is beyond a watchdog inside the process.

    Args:
        dump_file: Where the stacks of all threads and tasks go, appended.
        on_silence: Called with the dump before the end, for a last alert; has `alert_seconds`; None = nobody.
        silence_seconds: Silence after which the process is ended.
        beat_seconds: Distance of the beats.
        check_seconds: Distance of the thread's rounds.
        alert_seconds: Time for writing the dump and for `on_silence`, together.
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
        # In a thread of its own: neither a full disk nor a hanging alert may keep the process from ending.
        helper = threading.Thread(target=self._report, args=(silence,), name="slt-watchdog-report", daemon=True)
        helper.start()
        helper.join(self._alert_seconds)
        self._exit(WATCHDOG_EXIT_CODE)

    def _report(self, silence: float) -> None:
        text = ""
        try:
            text = describe_stacks(self._loop)
            self._dump_file.parent.mkdir(parents=True, exist_ok=True)
            with self._dump_file.open("a", encoding="utf-8") as file:
                file.write(f"event loop silent for {silence:.0f} s\n{text}\n")
                file.flush()
                os.fsync(file.fileno())
        except Exception as error:  # noqa: BLE001 - the process ends in any case; the alert is still tried
            text += f"\nthe dump is incomplete: {type(error).__name__}"
        _log.critical("event loop silent for %.0f s: ending; stacks in `%s`", silence, self._dump_file)
        if self._on_silence is not None:
            try:
                self._on_silence(text)
            except Exception:  # noqa: BLE001 - as above
                _log.critical("the alert about the silent event loop failed")


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
