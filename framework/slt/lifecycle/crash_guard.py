"""Slows down a program that a supervisor restarts as fast as it crashes."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["CrashGuard"]

_log = logging.getLogger("slt.lifecycle")


class CrashGuard:
    """Counts starts that no clean stop followed, in a small file, and says how long to wait before the next try.

    Use: `record_start`, wait `delay_seconds`, run, and `mark_clean` at a clean stop. Times come in; nothing here reads
    a clock or waits. A file that cannot be read counts as empty, one that cannot be written is logged: the guard never
    keeps slt from starting.

    The delay is 0 while at most `allowed` starts lie in the window, then `first_seconds`, and doubles with each further
    start that finds the window full, up to `longest_seconds`.

    Args:
        path: The file; its folder is made.
        allowed: Starts within the window that need no wait.
        window_ms: Length of the window.
        first_seconds: The first delay.
        longest_seconds: The longest delay.
    """

    def __init__(
        self,
        path: Path,
        *,
        allowed: int = 3,
        window_ms: int = 300_000,
        first_seconds: float = 5.0,
        longest_seconds: float = 60.0,
    ) -> None:
        self._path = path
        self._allowed = allowed
        self._window_ms = window_ms
        self._first = first_seconds
        self._longest = longest_seconds

    def record_start(self, now_ms: int) -> None:
        """Note a start at `now_ms`, ms UTC. Starts later than that (the clock was set back) are forgotten."""
        starts, level = self._read()
        recent = [*self._recent(starts, now_ms), now_ms]
        self._write(recent, level + 1 if len(recent) > self._allowed else 0)

    def delay_seconds(self, now_ms: int) -> float:
        """How long to wait before going on, as the starts recorded up to `now_ms` have it; 0 = not at all."""
        starts, level = self._read()
        if level < 1 or len(self._recent(starts, now_ms)) <= self._allowed:
            return 0.0
        return min(self._longest, self._first * 2.0 ** min(level - 1, 30))

    def mark_clean(self) -> None:
        """Note a clean stop: the count begins anew."""
        self._write([], 0)

    def _recent(self, starts: list[int], now_ms: int) -> list[int]:
        return [start for start in starts if now_ms - self._window_ms < start <= now_ms]

    def _read(self) -> tuple[list[int], int]:
        try:
            data: Any = json.loads(self._path.read_bytes())
            starts, level = data["starts"], data["level"]
        except FileNotFoundError:
            return [], 0
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _log.warning("crash guard: `%s` cannot be read (%s) and counts as empty", self._path, type(error).__name__)
            return [], 0
        whole = isinstance(starts, list) and all(type(start) is int for start in starts)
        if not whole or type(level) is not int:
            _log.warning("crash guard: `%s` holds no list of starts and counts as empty", self._path)
            return [], 0
        return starts, level

    def _write(self, starts: list[int], level: int) -> None:
        text = json.dumps({"starts": starts, "level": level})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._path, text)
        except OSError as error:
            _log.warning("crash guard: `%s` cannot be written (%s)", self._path, error.strerror)


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
