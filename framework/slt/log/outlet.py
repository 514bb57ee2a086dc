"""A stream that people read, written to without ever waiting long for whoever reads it.

A terminal that was stopped with Ctrl-S, or a pipe whose reader hangs, blocks its writer: here that would be the run.
"""

from __future__ import annotations

import select
import sys
from collections import deque
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Outlet", "takes_text"]

_PIECE = 1000
"""Characters written at a time, at most 4 bytes each: a pipe that is ready takes 4096 bytes at once."""
_PATIENCE_MS = 500
_KEPT = 1000


def takes_text(stream: TextIO, patience_ms: int) -> bool:
    """Whether a stream takes some text now, without blocking; one that cannot tell is taken to.

    Args:
        stream: Any text stream.
        patience_ms: How long to wait until it does.
    """
    if not hasattr(select, "poll"):  # Windows, where only sockets can be asked
        return True
    try:
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLOUT)
        return bool(poller.poll(patience_ms))
    except (OSError, ValueError, AttributeError):  # a stream in memory, or a closed one, which the write will tell
        return True


class Outlet:
    """Lines on their way to a stream; those that it does not take now wait, up to a limit.

    Args:
        stream: Where lines go; None = stderr, looked up at every write, because a progress bar on screen puts its own
            stream in its place.

    Attributes:
        shown: Lines written.
        missed: Lines left out because too many waited, not yet told; safety lines are the last to go.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.shown = 0
        self.missed = 0
        self._stream = stream
        self._waiting: deque[tuple[str, bool]] = deque()
        self._is_stuck = False

    def put(self, lines: Iterable[tuple[str, bool]]) -> None:
        """Write lines, each with whether it is a safety line, as far as the stream takes them.

        Raises:
            OSError: The stream refuses; the line at hand is lost.
            ValueError: The stream is closed; as above.
        """
        self._waiting.extend(lines)
        while len(self._waiting) > _KEPT and self._is_stuck:
            del self._waiting[next((i for i, (_, is_safety) in enumerate(self._waiting) if not is_safety), 0)]
            self.missed += 1
        self.flush()

    def flush(self) -> bool:
        """Write what waits; returns whether nothing waits any more. Raises as `put` does."""
        while self._waiting:
            stream = self._stream or sys.stderr
            self._is_stuck = not takes_text(stream, 0 if self._is_stuck else _PATIENCE_MS)
            if self._is_stuck:
                return False
            text, is_safety = self._waiting.popleft()
            stream.write(text[:_PIECE])
            stream.flush()
            if text[_PIECE:]:
                self._waiting.appendleft((text[_PIECE:], is_safety))
            else:
                self.shown += 1
        return True
