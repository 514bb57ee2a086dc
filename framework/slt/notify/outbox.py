"""The outbox: a task for each channel, and what to do when one is slow, busy, broken or gone."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from slt.errors import ConfigError, PluginError, RetryLaterError
from slt.log import get_logger
from slt.notify.channel import Channel, ChannelStatus, Parcel

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from slt.hookspecs import NotifierSpecs
    from slt.notices import NoticesConfig
    from slt.types import Notice

__all__ = ["Outbox"]

_log = get_logger("error")
_OPEN_SECONDS = 5.0
_CANCEL_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 86_400.0
"""Longest wait that a channel may ask for: one that says a year by mistake is asked again the next day."""


class Outbox:
    """Brings notices to all channels.

    Use: `open`, then ``group.create_task(outbox.run())`` in the driver's task group, `put` from the loop's thread as
    often as wanted, `drain` and `close` at the end. A driver that computes for long must let the loop run now and then,
    or nothing is sent until `drain`.

    Args:
        channels: Config name to notifier, with all three hooks.
        config: See `NoticesConfig`.
        is_backtest: Whether only ``config.in_backtest`` is sent.
        rng: Jitter of the retries.
        delivered: Per channel the ids that it has taken in an earlier life of this run, oldest first; None = none.
        on_delivered: Called with channel and notice at each confirmation, and for each notice that is given up for
            good, to be stored; what it raises is logged.
        on_queued: Called with each notice taken and the time, seconds since 1970, to be stored; what it raises is
            logged.
        clock: Seconds that never go back.
        sleep: How to wait some seconds.
        wall: Seconds since 1970, by which notices grow old.
    """

    def __init__(
        self,
        channels: Mapping[str, NotifierSpecs],
        config: NoticesConfig,
        *,
        is_backtest: bool,
        rng: random.Random,
        delivered: Mapping[str, Iterable[str]] | None = None,
        on_delivered: Callable[[str, Notice], None] | None = None,
        on_queued: Callable[[Notice, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._kinds = frozenset(config.in_backtest if is_backtest else config.kinds)
        known = delivered or {}
        self._channels = [Channel(name, each, config, known.get(name, ())) for name, each in channels.items()]
        self._rng = rng
        self._on_delivered = on_delivered
        self._on_queued = on_queued
        self._wall = wall
        self._clock = clock
        self._sleep = sleep
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._abandoned: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open every channel.

        Raises:
            ConfigError: What is wrong with any of them, all problems at once; none stays open.
            PluginError: A notifier failed in another way.
        """
        problems: list[str] = []
        for channel in self._channels:
            try:
                async with asyncio.timeout(_OPEN_SECONDS):
                    await channel.notifier.slt_open_notifier()
            except ConfigError as error:
                problems += error.problems
            except Exception as error:
                await self.close()
                # Its text stays out of the message: it may hold an address that is a secret.
                raise PluginError(f"notifiers.{channel.name} failed to open: {type(error).__name__}") from error
        if problems:
            await self.close()
            raise ConfigError(*problems)

    def put(self, notice: Notice) -> None:
        """Take a notice for every channel that is on. Never waits and never raises.

        Left out: kinds that the config does not send, and per channel what it has already. When a channel's queue is
        full its oldest notice that is no alert is dropped and counted; its oldest alert where all are.
        """
        if notice.kind not in self._kinds:
            return
        now = self._wall()
        if self._on_queued is not None and not self.is_settled(notice):
            try:
                self._on_queued(notice, now)
            except Exception as error:  # noqa: BLE001 - the notice is sent, whatever the bookkeeping says
                _log.error("notice not recorded", id=notice.id, error=_words(error))
        self._offer(notice, now)

    def put_back(self, notice: Notice, queued: float) -> None:
        """Take a notice that waited when an earlier life of the run ended.

        Args:
            notice: The notice.
            queued: When it was told first, seconds since 1970.
        """
        if notice.kind in self._kinds:
            self._offer(notice, queued)

    def is_settled(self, notice: Notice) -> bool:
        """Whether every channel has it, or has it waiting."""
        return all(channel.has(notice) for channel in self._channels)

    def _offer(self, notice: Notice, queued: float) -> None:
        for channel in self._channels:
            if self._closing:
                channel.dropped += 1
            else:
                channel.offer(notice, queued)

    async def run(self) -> None:
        """Send until `drain` has been called and the queues are empty; to be run once, in a task."""
        self._tasks = [asyncio.create_task(self._work(channel)) for channel in self._channels]
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            try:
                for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
                    if isinstance(outcome, Exception):
                        _log.error("outbox failed", safety=True, exc_info=outcome)
            finally:
                self._ended.set()

    async def drain(self, timeout_seconds: float) -> int:
        """Take no more notices, wait for what is queued, and end `run`.

        Args:
            timeout_seconds: How long to wait before the rest is left undelivered; see `undelivered`.

        Returns:
            How many (notice, channel) pairs are left.
        """
        self._closing = True
        for channel in self._channels:
            channel.wake.set()
        await asyncio.sleep(0)  # a `run` whose task has only just been made starts now
        if self._tasks:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._ended.wait()
            except TimeoutError:
                for task in self._tasks:
                    task.cancel()
                await self._ended.wait()
        return sum(len(channel.undelivered()) for channel in self._channels)

    async def close(self) -> None:
        """Close every channel; failures are logged."""
        for channel in self._channels:
            try:
                async with asyncio.timeout(_OPEN_SECONDS):
                    await channel.notifier.slt_close_notifier()
            except Exception as error:  # noqa: BLE001 - a notifier must not keep the others or the run from closing
                _log.warning("notifier failed to close", channel=channel.name, error=_words(error))

    def undelivered(self) -> list[Notice]:
        """Notices that some channel has not confirmed, in order of time.

        After a restart `put` them again: with `delivered` given back too, each channel leaves out what it has.
        """
        found = {notice.id: notice for channel in self._channels for notice in channel.undelivered()}
        return sorted(found.values(), key=lambda notice: notice.time)

    def delivered(self) -> dict[str, tuple[str, ...]]:
        """Per channel the ids it has taken, oldest first, at most ``config.remember``: what a next life starts with."""
        return {channel.name: channel.known() for channel in self._channels}

    def status(self) -> tuple[ChannelStatus, ...]:
        """How each channel is doing."""
        now = self._clock()
        return tuple(channel.status(now) for channel in self._channels)

    async def _work(self, channel: Channel) -> None:
        while channel.off is None:
            if channel.queue:
                # A moment for what is told in the same breath, so that many become one message.
                await self._pace(channel)
                parcel, stale = channel.take(self._wall())
                self._record(channel, stale)
                if parcel is not None:
                    await self._deliver(channel, parcel)
            elif self._closing:
                return
            else:
                channel.wake.clear()
                await channel.wake.wait()

    async def _deliver(self, channel: Channel, parcel: Parcel) -> None:
        notice, attempt, begun = parcel.notice, 1, self._clock()
        while True:
            try:
                await self._send(channel, notice)
            except RetryLaterError as error:
                channel.busy += 1
                asked = error.seconds if math.isfinite(error.seconds) else self._config.retry_seconds
                wait = min(asked, _LONGEST_WAIT_SECONDS)
                _log.warning("notice waits: channel is busy", channel=channel.name, id=notice.id, seconds=wait)
            except ConfigError as error:
                self._switch_off(channel, parcel, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever a notifier raises stays within its channel
                channel.fail(error)
                if self._is_hopeless(error, attempt, begun):
                    self._give_up(channel, parcel, attempt, error)
                    return
                wait = self._backoff(attempt)
                attempt += 1
                _log.warning("notice not sent", channel=channel.name, id=notice.id, error=_words(error), seconds=wait)
            else:
                channel.confirm(parcel)
                self._record(channel, parcel.contents)
                return
            await self._rest(channel, max(wait, 0.0))
            await self._pace(channel)
            if stale := channel.expire(parcel, self._wall()):
                self._record(channel, stale)
                return

    def _is_hopeless(self, error: Exception, attempt: int, begun: float) -> bool:
        """Whether a message is given up after this failure.

        Where the channel cannot be reached, that says nothing about the message: it is tried on, but not for ever,
        because some servers fail at one message alone, and others wait behind it.
        """
        if isinstance(error, PluginError):
            return True
        if attempt < self._config.max_attempts:
            return False
        patience = self._config.expire_hours * 3600.0
        return not isinstance(error, OSError) or 0.0 < patience <= self._clock() - begun

    async def _rest(self, channel: Channel, seconds: float) -> None:
        channel.due_time = self._clock() + seconds
        await self._sleep(seconds)

    async def _pace(self, channel: Channel) -> None:
        wait = channel.next_time - self._clock()
        if wait > 0.0:
            await self._rest(channel, wait)
        channel.next_time = self._clock() + self._config.rate_limit_seconds

    async def _send(self, channel: Channel, notice: Notice) -> None:
        # A task of its own: a notifier that swallows its cancellation is left behind, and its channel switched off.
        task = asyncio.ensure_future(_sending(channel.notifier, notice))
        channel.due_time = self._clock() + self._config.send_timeout_seconds
        try:
            await asyncio.wait({task}, timeout=self._config.send_timeout_seconds)
        except asyncio.CancelledError:
            channel.uncertain += 1
            await self._end(task)
            raise
        if not task.done():
            if not await self._end(task):
                raise ConfigError(f"notifiers.{channel.name} cannot be cancelled; its author must act")
            raise TimeoutError(f"no confirmation within {self._config.send_timeout_seconds:g} s")
        if task.cancelled():
            raise ConnectionAbortedError("the notifier cancelled its own task")
        task.result()

    async def _end(self, task: asyncio.Task[None]) -> bool:
        task.cancel()
        task.add_done_callback(_look_at)
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        if not task.done():
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)
        return task.done()

    def _record(self, channel: Channel, notices: Iterable[Notice]) -> None:
        for notice in notices:
            if self._on_delivered is not None:
                try:
                    self._on_delivered(channel.name, notice)
                except Exception as error:  # noqa: BLE001 - the notice is delivered, whatever the bookkeeping says
                    _log.error("delivery not recorded", channel=channel.name, id=notice.id, error=_words(error))

    @staticmethod
    def _switch_off(channel: Channel, parcel: Parcel, error: ConfigError) -> None:
        channel.give_up(parcel)
        channel.switch_off(str(error))
        _log.error("notifier switched off", channel=channel.name, reason=str(error), safety=True)

    def _give_up(self, channel: Channel, parcel: Parcel, attempts: int, error: Exception) -> None:
        channel.give_up(parcel)
        self._record(channel, parcel.contents)
        notice = parcel.notice
        _log.error("notice dropped", channel=channel.name, id=notice.id, attempts=attempts, error=_words(error))

    def _backoff(self, attempt: int) -> float:
        """Half to whole of ``retry_seconds · 2^(attempt − 1)``, at most ``retry_max_seconds``."""
        whole = min(self._config.retry_seconds * 2.0 ** min(attempt - 1, 60), self._config.retry_max_seconds)
        return whole * (0.5 + 0.5 * self._rng.random())


async def _sending(notifier: NotifierSpecs, notice: Notice) -> None:
    await notifier.slt_send_notice(notice=notice)


def _look_at(task: asyncio.Task[None]) -> None:
    """Take the outcome of a task that nobody waits for, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
