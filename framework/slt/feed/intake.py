"""Which frames count: all that close a bar or say something new, the first of each bar, the last of one never closed.

Everything else is the state of a bar in progress, which the next frame makes obsolete. Bars are made of the frames
that count, in live trading and from a recording alike, so neither can depend on what a queue replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Intake", "StreamState"]


class StreamState:
    """What the reader remembers of one stream.

    Attributes:
        name: The stream.
        symbol: Its symbol; empty for a stream of all symbols.
        queue: Number of the queue its frames wait in.
        is_watched: Whether unclosed updates are wanted too.
    """

    __slots__ = ("bar", "is_closed", "is_watched", "last", "name", "queue", "symbol")

    def __init__(self, name: str, symbol: str, queue: int) -> None:
        self.name = name
        self.symbol = symbol
        self.queue = queue
        self.is_watched = False
        self.bar = b""
        self.is_closed = True
        self.last = b""

    def sort(self, frame: bytes, bar: bytes, is_final: bool) -> tuple[bytes, ...]:
        """The frames that count now that this one has come, in order; empty where it only updates an open bar."""
        if not bar:
            return (frame,)
        if bar == self.bar and not is_final:
            self.last = frame
            return ()
        unclosed = self.last if bar != self.bar and not self.is_closed else b""
        self.bar, self.is_closed, self.last = bar, is_final or (bar == self.bar and self.is_closed), frame
        return (unclosed, frame) if unclosed else (frame,)


class Intake:
    """Sorts the frames of all streams, each by its own stream's past.

    Args:
        route: The feed's ``slt_route_frame``.
        streams: Name and symbol of every stream planned.
        queues: Number of queues that the streams are spread over.
    """

    def __init__(
        self, route: Callable[[bytes], tuple[str, bytes, bool]], streams: Iterable[tuple[str, str]], queues: int = 1
    ) -> None:
        self.route = route
        self.streams: dict[str, StreamState] = {}
        self._queues = queues
        self.add(streams)

    def add(self, streams: Iterable[tuple[str, str]]) -> None:
        """Sort the frames of more streams, given by name and symbol."""
        for name, symbol in streams:
            if name not in self.streams:
                self.streams[name] = StreamState(name, symbol, len(self.streams) % self._queues)

    def sort(self, frame: bytes) -> tuple[bytes, ...]:
        """The frames that count now that this one has come; none for streams that nobody planned."""
        name, bar, is_final = self.route(frame)
        state = self.streams.get(name)
        return () if state is None else state.sort(frame, bar, is_final)
