"""The user stream: kept open and alive for the whole run; after every break what was missed comes first."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from typing import TYPE_CHECKING, Any

from attrs import frozen
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from slt.types import BrokerLink, Fill, FundingPayment
from slt_binance.client import server_name
from slt_binance.endpoints import Endpoints
from slt_binance.faults import Action, ExchangeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.client import ClientConnection

    from slt_binance.client import Client
    from slt_binance.events import Events, Update
    from slt_binance.history import History
    from slt_binance.tracking import Tracker

__all__ = ["Timing", "UserStream"]

_TICK_S = 0.25
_IDLE_TICK_S = 1.0
_PING_S = 20.0
_CONNECT_S = 10.0
_KEEP_RETRY_S = 30.0
_FIRST_BACKOFF_S = 0.5
_STEADY_S = 30.0
_OVERLAP_MS = 5_000
_HOUR_MS = 3_600_000
_QUEUED_FRAMES = 4_096
_log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.frames")
_silent.setLevel(logging.WARNING)
"""Of the library's own log: at DEBUG it shows the address, which holds the listen key."""


@frozen
class Timing:
    """Seconds of the user stream.

    Attributes:
        keepalive: Between two renewals of the listen key.
        event_timeout: Until the stream must have said something of an order that REST took.
        reconnect: Until the connection is opened anew.
        longest_backoff: Between two attempts to connect, at most.
    """

    keepalive: float
    event_timeout: float
    reconnect: float
    longest_backoff: float


class _BrokenError(Exception):
    """The stream has to be opened anew; the text says why."""


class UserStream:
    """Reads the user stream for as long as it is awaited.

    Args:
        client: The REST client.
        url: ``wss://host``, without a path.
        timing: Its times.
        events: Translates.
        history: Tells what was missed.
        tracker: Orders and trades known.
    """

    def __init__(
        self, client: Client, url: str, timing: Timing, events: Events, history: History, tracker: Tracker
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._timing = timing
        self._events = events
        self._history = history
        self._tracker = tracker
        self._last_event = 0
        self._complete = 0
        self._last_heard = 0.0
        self._attempts = 0
        self._jitter = random.Random()  # noqa: S311 # spreads reconnects, guards no secret

    async def run(self, emit: Callable[[Update | BrokerLink], Awaitable[None]]) -> None:
        """Read until cancelled.

        Args:
            emit: Takes every update; may wait.
        """
        while True:
            reason = "it ended"
            try:
                await self._serve(emit)
            except (_BrokenError, ExchangeError, WebSocketException, OSError, TimeoutError) as error:
                reason = _reason(error, server_name(self._url))
            wait = self._backoff()
            _log.warning("user stream: %s; opening it anew in %.1f s", reason, wait)
            await emit(BrokerLink(self._client.now, is_up=False, reason=reason))
            await asyncio.sleep(wait)

    def expect(self, client_id: str) -> None:
        """The exchange took an order: the stream has to say so before long."""
        tracked = self._tracker.get(client_id)
        if tracked is not None and not (tracked.is_accepted or tracked.is_finished):
            deadline = asyncio.get_running_loop().time() + self._timing.event_timeout
            self._tracker.awaited.setdefault(client_id, deadline)

    async def _serve(self, emit: Callable[[Update | BrokerLink], Awaitable[None]]) -> None:
        """One connection, from the listen key to its end; always ends with an error."""
        if not self._last_event:
            self._last_event = self._complete = self._client.now
            self._last_heard = asyncio.get_running_loop().time()
        key = str((await self._client.call(Endpoints.START_STREAM, is_urgent=True))["listenKey"])
        async with connect(
            f"{self._url}/private/ws/{key}",
            open_timeout=_CONNECT_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1.0,
            max_queue=_QUEUED_FRAMES,
            max_size=2**22,
            logger=_silent,
        ) as socket:
            keeper = asyncio.create_task(self._keep_alive(socket))
            try:
                for update in await self._missed():
                    await emit(update)
                self._tracker.awaited.clear()
                await emit(BrokerLink(self._client.now, is_up=True, reason=""))
                await self._read(socket, keeper, emit)
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)

    async def _read(
        self,
        socket: ClientConnection,
        keeper: asyncio.Task[str],
        emit: Callable[[Update | BrokerLink], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        until = begin + self._timing.reconnect
        while True:
            if loop.time() - begin > _STEADY_S:
                self._attempts = 0
            if keeper.done():
                raise _BrokenError(keeper.result())
            if loop.time() >= until:
                raise _BrokenError("planned, before the exchange cuts the connection")
            is_busy = self._events.is_waiting or self._tracker.awaited
            frame = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S if is_busy else _IDLE_TICK_S):
                    frame = await socket.recv()
            if frame is not None:
                for update in self._translate(frame, loop.time()):
                    await emit(update)
            await self._ask_overdue(loop.time(), emit)
            if not self._events.is_waiting:
                self._complete = self._last_event

    def _translate(self, frame: str | bytes, now: float) -> list[Update]:
        event = _event_of(frame)
        if event is None:
            raise _BrokenError(f"a frame of {len(frame)} bytes is no JSON event")
        if event.get("e") == "listenKeyExpired":
            raise _BrokenError("the listen key has expired")
        self._last_event, self._last_heard = max(self._last_event, int(event.get("E") or 0)), now
        self._client.saw_time(self._last_event)
        try:
            return self._events.translate(event, now)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kind = event.get("e")
            raise _BrokenError(f"an event {kind} cannot be read ({type(error).__name__} at {error})") from error

    async def _ask_overdue(self, now: float, emit: Callable[[Update | BrokerLink], Awaitable[None]]) -> None:
        """Ask for what the stream announced and did not complete; find out that it is silent."""
        late = [client_id for client_id, deadline in self._tracker.awaited.items() if deadline <= now]
        if late:
            raise _BrokenError(f"silent: {len(late)} orders were taken and not told here")
        for symbol, number, _ in self._events.overdue_orders(now):
            await self._history.name_order(symbol, number)
            for update in self._events.release(symbol, number, now):
                await emit(update)
        for symbol in sorted({symbol for symbol, _ in self._events.overdue_trades(now)}):
            for fill in await self._history.fills_since(symbol, self._complete - _OVERLAP_MS):
                if self._tracker.tell_trade(fill.symbol, fill.trade_id):
                    await emit(fill)
        funded = self._events.take_unnamed_funding()
        if funded is not None:
            for payment in await self._history.funding_since(funded - _OVERLAP_MS):
                if self._tracker.tell_funding(payment):
                    await emit(payment)

    async def _missed(self) -> list[Update]:
        """Everything that happened since all was known last; asked for as a whole, so that no failure loses a part."""
        await self._client.sync_clock()
        now = self._client.now
        # Events may have carried times of a clock that was wrong for a while: then what this machine knows counts.
        since = min(self._complete, now - int((asyncio.get_running_loop().time() - self._last_heard) * 1000))
        updates: list[Update] = []
        ended = [tracked for tracked in self._tracker if tracked.is_finished]
        for symbol in sorted(self._tracker.symbols()):
            updates += await self._history.fills_since(symbol, since - _OVERLAP_MS)
        for tracked in [one for one in self._tracker.working() if not one.is_sending]:
            updates += await self._history.tell_order(tracked.symbol, tracked.client_id)
        if self._tracker.positions and since // _HOUR_MS != now // _HOUR_MS:
            updates += await self._history.funding_since(since)
        for tracked in ended:
            tracked.is_caught_up = True
        self._complete = max(self._complete, self._last_event)
        return [update for update in updates if self._is_news(update)]

    def _is_news(self, update: Update) -> bool:
        if isinstance(update, Fill):
            return self._tracker.tell_trade(update.symbol, update.trade_id)
        return not isinstance(update, FundingPayment) or self._tracker.tell_funding(update)

    async def _keep_alive(self, socket: ClientConnection) -> str:
        """Renew the listen key; returns why it cannot be renewed any more."""
        pause = self._timing.keepalive
        while True:
            await asyncio.sleep(pause)
            pause = self._timing.keepalive
            try:
                await self._client.call(Endpoints.KEEP_STREAM, is_urgent=True)
            except ExchangeError as error:
                if error.action in {Action.GONE, Action.FATAL}:
                    return f"the listen key cannot be renewed: {error}"
                _log.warning("user stream: its key was not renewed, trying again: %s", error)
                pause = min(_KEEP_RETRY_S, self._timing.keepalive)
            if socket.close_code is not None:
                return "closed"

    def _backoff(self) -> float:
        longest = min(self._timing.longest_backoff, _FIRST_BACKOFF_S * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return longest * self._jitter.uniform(0.5, 1.0)


def _event_of(frame: str | bytes) -> dict[str, Any] | None:
    """The event of a frame, out of its wrapper; None for anything else."""
    try:
        found = json.loads(frame)
    except ValueError:
        return None
    inner = found.get("data", found) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else None


def _reason(error: Exception, server: str) -> str:
    if isinstance(error, _BrokenError | ExchangeError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"{server} did not open it in time"
    received = getattr(error, "rcvd", None)
    if received is not None:
        return f"{server} closed it ({received.code})"
    if getattr(error, "sent", None) is not None:
        return f"{server} answered no ping"
    response = getattr(error, "response", None)
    if response is not None:
        return f"{server} refused it with HTTP {response.status_code}; check stream_url"
    return f"no connection to {server} ({getattr(error, 'strerror', None) or type(error).__name__})"
