"""One channel of the outbox: what waits, what is delivered, what went wrong."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.hookspecs import NotifierSpecs
    from slt.notices import NoticesConfig
    from slt.types import Notice

__all__ = ["Channel", "ChannelStatus"]

_log = get_logger("error")
_MAYBE_TAKEN = (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


@frozen
class ChannelStatus:
    """How a channel is doing.

    Attributes:
        name: Config name of the notifier.
        waiting: Notices queued or being sent.
        delivered: Confirmed by the channel.
        failed: Attempts that failed, answers "later" not among them.
        busy: Times the channel asked to wait.
        uncertain: Attempts that failed in a way that leaves open whether the channel took the notice.
        duplicates: Notices left out because their id is delivered or waiting already.
        dropped: Notices given up: queue full, attempts used up, refused by the channel, channel off, outbox closed.
        off: Why the channel is switched off; None while it is on.
    """

    name: str
    waiting: int
    delivered: int
    failed: int
    busy: int
    uncertain: int
    duplicates: int
    dropped: int
    off: str | None


class Channel:
    """Queue, memory and counters of one notifier; no I/O and no waiting.

    Args:
        name: Config name of the notifier.
        notifier: Its hooks.
        config: Limits.
        delivered: Ids it has taken before, oldest first.
    """

    def __init__(self, name: str, notifier: NotifierSpecs, config: NoticesConfig, delivered: Iterable[str]) -> None:
        self.name = name
        self.notifier = notifier
        self.queue: deque[Notice] = deque()
        self.sending: Notice | None = None
        self.wake = asyncio.Event()
        self.next_time = -math.inf
        self.off: str | None = None
        self.delivered = self.failed = self.busy = self.uncertain = self.duplicates = self.dropped = 0
        self._limit = config.queue_limit
        self._remember = config.remember
        self._known: dict[str, None] = dict.fromkeys(delivered)
        self._waiting: set[str] = set()

    def offer(self, notice: Notice) -> None:
        """Queue a notice, unless it is delivered or waiting already or the channel is off; make room in a full one."""
        if notice.id in self._known or notice.id in self._waiting:
            self.duplicates += 1
            return
        if self.off is not None:
            self.dropped += 1
            return
        if len(self.queue) >= self._limit:
            self._make_room()
        self.queue.append(notice)
        self._waiting.add(notice.id)
        self.wake.set()

    def take(self) -> Notice:
        """Take the oldest notice for sending; it stays undelivered until `confirm` or `give_up`."""
        self.sending = self.queue.popleft()
        return self.sending

    def confirm(self, notice: Notice) -> None:
        """Note that the channel has taken the notice."""
        self.delivered += 1
        self._settle(notice)
        self._known[notice.id] = None
        while len(self._known) > self._remember:
            del self._known[next(iter(self._known))]

    def fail(self, error: Exception) -> None:
        """Count a failed attempt."""
        self.failed += 1
        self.uncertain += isinstance(error, _MAYBE_TAKEN)

    def give_up(self, notice: Notice) -> None:
        """Note that the notice will not be sent again."""
        self.dropped += 1
        self._settle(notice)

    def switch_off(self, reason: str) -> None:
        """Take no more notices and drop those that wait."""
        self.off = reason
        self.dropped += len(self.queue)
        self.queue.clear()
        self._waiting.clear()

    def undelivered(self) -> list[Notice]:
        """The notice being sent and those queued, in order."""
        return ([self.sending] if self.sending else []) + list(self.queue)

    def known(self) -> tuple[str, ...]:
        """Ids of delivered notices, oldest first."""
        return tuple(self._known)

    def status(self) -> ChannelStatus:
        """The counters as they stand."""
        return ChannelStatus(
            name=self.name,
            waiting=len(self.undelivered()),
            delivered=self.delivered,
            failed=self.failed,
            busy=self.busy,
            uncertain=self.uncertain,
            duplicates=self.duplicates,
            dropped=self.dropped,
            off=self.off,
        )

    def _settle(self, notice: Notice) -> None:
        self.sending = None
        self._waiting.discard(notice.id)

    def _make_room(self) -> None:
        oldest = next((i for i, notice in enumerate(self.queue) if notice.kind != "alert"), 0)
        notice = self.queue[oldest]
        del self.queue[oldest]
        self._waiting.discard(notice.id)
        self.dropped += 1
        _log.warning("notice dropped: queue full", channel=self.name, id=notice.id, limit=self._limit)
