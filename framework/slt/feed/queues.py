"""Bounded queues between the sockets and the decoders: what counts is never dropped, the rest is replaced."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define

__all__ = ["QUEUES", "FrameQueue", "Waiting", "make_queues"]

QUEUES = 3
"""Number of queues, and of the workers behind them."""

TICK = -1
"""The order of a frame that only tells the price of a watched symbol."""


@define
class Waiting:
    """A frame in a queue.

    Attributes:
        order: Its number among the frames that count; `TICK` for an unclosed update.
        time: When it came, ms UTC.
        frame: As received.
        stream: Its stream.
    """

    order: int
    time: int
    frame: bytes
    stream: str


class FrameQueue(asyncio.Queue[Waiting]):
    """First in, first out, but an unclosed update takes the place of the one of its stream that still waits.

    Attributes:
        replaced: Updates that gave way to newer ones.
    """

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 # asyncio.Queue's way to be given another container
        self._queue: deque[Waiting] = deque()
        self._ticks: dict[str, Waiting] = {}
        self.replaced = 0

    def _get(self) -> Waiting:
        item = self._queue.popleft()
        if item.order == TICK and self._ticks.get(item.stream) is item:
            del self._ticks[item.stream]
        return item

    def _put(self, item: Waiting) -> None:
        self._queue.append(item)
        if item.order == TICK:
            self._ticks[item.stream] = item
        else:
            self._ticks.pop(item.stream, None)

    def offer(self, stream: str, time: int, frame: bytes) -> bool:
        """Queue an unclosed update; False where it found no room, which loses nothing that counts."""
        held = self._ticks.get(stream)
        if held is not None:
            held.time, held.frame = time, frame
            self.replaced += 1
            return True
        if self.full():
            return False
        self.put_nowait(Waiting(TICK, time, frame, stream))
        return True


def make_queues(slots: int) -> tuple[FrameQueue, ...]:
    """Queues that together hold `slots` frames."""
    return tuple(FrameQueue(slots // QUEUES + (place < slots % QUEUES)) for place in range(QUEUES))
