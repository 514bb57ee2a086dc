"""One channel of the outbox: what waits, what is delivered, what went wrong."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

from slt.log import get_logger
from slt.notices import DIGEST_LINES, digest_notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slt.hookspecs import NotifierSpecs
    from slt.notices import NoticesConfig
    from slt.types import Notice

__all__ = ["Channel", "ChannelStatus", "Parcel"]

_log = get_logger("error")
_PASSING = ("open", "close")
"""Kinds that nobody needs to hear of a day later; alerts and summaries are told however late."""
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
        expired: Notices left out because they had waited too long.
        digests: Messages that stood for several notices.
        off: Why the channel is switched off; None while it is on.
        due_seconds: Time until its next step, a try or the end of one: shrinks while it waits as it should; 0 where
            nothing is under way, or the step is overdue.
    """

    name: str
    waiting: int
    delivered: int
    failed: int
    busy: int
    uncertain: int
    duplicates: int
    dropped: int
    expired: int
    digests: int
    off: str | None
    due_seconds: float = 0.0


@frozen
class Parcel:
    """One message and the notices it stands for.

    Attributes:
        notice: What is sent.
        contents: What it tells, oldest first; the notice itself where it stands for nothing else.
    """

    notice: Notice
    contents: tuple[Notice, ...]


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
        self.sending: Parcel | None = None
        self.wake = asyncio.Event()
        self.next_time = self.due_time = -math.inf
        self.off: str | None = None
        self.delivered = self.failed = self.busy = self.uncertain = self.duplicates = self.dropped = 0
        self.expired = self.digests = 0
        self._expire_seconds = config.expire_hours * 3600.0
        self._digest_above = config.digest_above
        self._limit = config.queue_limit
        self._remember = config.remember
        self._known: dict[str, None] = dict.fromkeys(delivered)
        self._waiting: dict[str, float] = {}

    def offer(self, notice: Notice, queued: float) -> None:
        """Queue a notice, unless it is delivered or waiting already or the channel is off; make room in a full one.

        Args:
            notice: The notice.
            queued: When it was told first, seconds since 1970.
        """
        if notice.id in self._known or notice.id in self._waiting:
            self.duplicates += 1
            return
        if self.off is not None:
            self.dropped += 1
            return
        if len(self.queue) >= self._limit:
            self._make_room()
        self.queue.append(notice)
        self._waiting[notice.id] = queued
        self.wake.set()

    def has(self, notice: Notice) -> bool:
        """Whether the notice is delivered or waiting."""
        return notice.id in self._known or notice.id in self._waiting

    def take(self, now: float) -> tuple[Parcel | None, list[Notice]]:
        """Take the oldest notice for sending; where many wait, all that one digest can tell of them.

        What is taken stays undelivered until `confirm` or `give_up`.

        Args:
            now: Seconds since 1970.

        Returns:
            What to send, None where nothing is left; and what has waited too long and is left out for ever.
        """
        stale = self._drop_stale(now)
        if not self.queue:
            return None, stale
        if len(self.queue) > self._digest_above:
            contents = tuple(self.queue.popleft() for _ in range(self._told_in_one()))
            self.digests += 1
            self.sending = Parcel(digest_notice(contents), contents)
        else:
            notice = self.queue.popleft()
            self.sending = Parcel(notice, (notice,))
        return self.sending, stale

    def confirm(self, parcel: Parcel) -> None:
        """Note that the channel has taken what was sent."""
        self.delivered += len(parcel.contents)
        self._settle(parcel)
        self._remember_ids(parcel.contents)

    def fail(self, error: Exception) -> None:
        """Count a failed attempt."""
        self.failed += 1
        self.uncertain += isinstance(error, _MAYBE_TAKEN)

    def give_up(self, parcel: Parcel) -> None:
        """Note that what was taken will not be sent again."""
        self.dropped += len(parcel.contents)
        self._settle(parcel)

    def expire(self, parcel: Parcel, now: float) -> tuple[Notice, ...]:
        """Leave out what was taken, where all of it has become too old meanwhile.

        Args:
            parcel: What was taken.
            now: Seconds since 1970.

        Returns:
            What is left out for ever; nothing where the parcel is still to be sent.
        """
        if not all(self._is_stale(notice, now) for notice in parcel.contents):
            return ()
        self._settle(parcel)
        self._leave_out(parcel.contents)
        return parcel.contents

    def switch_off(self, reason: str) -> None:
        """Take no more notices and drop those that wait."""
        self.off = reason
        self.dropped += len(self.queue)
        self.queue.clear()
        self._waiting.clear()

    def undelivered(self) -> list[Notice]:
        """The notices being sent and those queued, in order."""
        return [*(self.sending.contents if self.sending else ()), *self.queue]

    def known(self) -> tuple[str, ...]:
        """Ids of delivered notices, oldest first."""
        return tuple(self._known)

    def status(self, now: float) -> ChannelStatus:
        """The counters as they stand.

        Args:
            now: Seconds of the clock of `next_time` and `due_time`.
        """
        waiting = self.undelivered()
        return ChannelStatus(
            name=self.name,
            waiting=len(waiting),
            delivered=self.delivered,
            failed=self.failed,
            busy=self.busy,
            uncertain=self.uncertain,
            duplicates=self.duplicates,
            dropped=self.dropped,
            expired=self.expired,
            digests=self.digests,
            off=self.off,
            due_seconds=round(max(self.due_time - now, 0.0), 3) if waiting else 0.0,
        )

    def _told_in_one(self) -> int:
        """How many of the queue one digest can tell without leaving out the title of an alert or a summary."""
        weighty = [place for place, notice in enumerate(self.queue) if notice.kind not in _PASSING]
        return weighty[DIGEST_LINES] if len(weighty) > DIGEST_LINES else len(self.queue)

    def _settle(self, parcel: Parcel) -> None:
        self.sending = None
        for notice in parcel.contents:
            self._waiting.pop(notice.id, None)

    def _remember_ids(self, notices: Iterable[Notice]) -> None:
        self._known.update(dict.fromkeys(notice.id for notice in notices))
        while len(self._known) > self._remember:
            del self._known[next(iter(self._known))]

    def _drop_stale(self, now: float) -> list[Notice]:
        stale = [notice for notice in self.queue if self._is_stale(notice, now)]
        if stale:
            self.queue = deque(notice for notice in self.queue if not self._is_stale(notice, now))
            for notice in stale:
                del self._waiting[notice.id]
            self._leave_out(stale)
        return stale

    def _leave_out(self, stale: Sequence[Notice]) -> None:
        self.expired += len(stale)
        self._remember_ids(stale)
        _log.warning("notices too old to be told", channel=self.name, notices=len(stale), oldest=stale[0].id)

    def _is_stale(self, notice: Notice, now: float) -> bool:
        is_passing = notice.kind in _PASSING
        return is_passing and 0.0 < self._expire_seconds < now - self._waiting[notice.id]

    def _make_room(self) -> None:
        oldest = next((i for i, notice in enumerate(self.queue) if notice.kind != "alert"), 0)
        notice = self.queue[oldest]
        del self.queue[oldest]
        del self._waiting[notice.id]
        self.dropped += 1
        _log.warning("notice dropped: queue full", channel=self.name, id=notice.id, limit=self._limit)
