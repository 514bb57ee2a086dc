"""Who listens to what: stream names, the connections behind them, and what is pushed to each."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Protocol

from slt_sandbox.payloads import dump

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp import web

__all__ = ["ROUTES", "Connection", "Hub", "LineFaults", "NoLineFaults", "route_of"]

ROUTES = ("market", "public", "unrouted")
"""Addresses of market data; ``unrouted`` is the old one, which takes every subscription and pushes the public ones."""
_PUBLIC = re.compile(r"^(!bookTicker|[^@]+@(bookTicker|trade|(rpiD|d)epth.*))$")
_MARKET = re.compile(
    r"^(!(ticker|miniTicker|markPrice|forceOrder)@arr(@1s)?|!contractInfo"
    r"|[^@!]+@(kline_\w+|continuousKline_\w+|markPrice(@1s)?|aggTrade|ticker|miniTicker|forceOrder))$"
)
_QUEUE_LIMIT = 200_000
"""Frames that may wait for a connection; one that reads more slowly is cut (1008)."""


class LineFaults(Protocol):
    """What can go wrong on one connection."""

    def line_delay(self, client: int) -> float:
        """Seconds to wait before the next frame is sent to a client."""
        ...

    def line_end(self, client: int) -> str:
        """How the connection ends instead of the next frame: empty, or the name of a fault."""
        ...


class NoLineFaults:
    """Nothing ever goes wrong."""

    def line_delay(self, client: int) -> float:
        """No wait."""
        del client
        return 0.0

    def line_end(self, client: int) -> str:
        """The connection goes on."""
        del client
        return ""


def route_of(stream: str) -> str:
    """The address that a stream is pushed on: ``market``, ``public``, or empty for a name that is no stream."""
    if _MARKET.match(stream):
        return "market"
    return "public" if _PUBLIC.match(stream) else ""


class Connection:
    """One client's market connection: what it subscribed, and the frames that wait for it.

    Args:
        socket: The open WebSocket.
        number: The client's number, from 1, in the order of connecting.
        route: One of `ROUTES`.
        is_combined: Whether payloads are wrapped with their stream's name.
        opened: The exchange's time of opening, ms UTC.
        faults: What goes wrong on it.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        number: int,
        route: str,
        *,
        is_combined: bool,
        opened: int,
        faults: LineFaults,
    ) -> None:
        self.socket = socket
        self.number = number
        self.route = route
        self.is_combined = is_combined
        self.opened = opened
        self.streams: dict[str, None] = {}
        self.heard: set[str] = set()
        self.sent = 0
        self.is_silent = False
        self.overflowed = False
        self._faults = faults
        self._frames: deque[str] = deque()
        self._is_waiting = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._pongs: dict[bytes, asyncio.Event] = {}
        self.on_fault: Callable[[Connection, str], Awaitable[None]] | None = None

    def push(self, stream: str, text: str) -> None:
        """Queue a stream's payload."""
        if not self.is_silent:
            self.send(f'{{"stream":"{stream}","data":{text}}}' if self.is_combined else text)

    def send(self, text: str) -> None:
        """Queue a frame."""
        if len(self._frames) >= _QUEUE_LIMIT:
            self.overflowed = True
        self._frames.append(text)
        self._is_waiting.set()
        self._is_empty.clear()

    async def write(self) -> None:
        """Send what is queued, for as long as the connection lasts."""
        frames = self._frames
        while not self.socket.closed:
            await self._is_waiting.wait()
            while frames:
                delay = self._faults.line_delay(self.number)
                if delay:
                    await asyncio.sleep(delay)
                ending = self._faults.line_end(self.number)
                if ending and self.on_fault is not None:
                    await self.on_fault(self, ending)
                if self.socket.closed or self.is_silent:
                    break
                await self.socket.send_str(frames.popleft())
                self.sent += 1
            if self.is_silent:
                frames.clear()
            if not frames:
                self._is_waiting.clear()
                self._is_empty.set()

    def finish(self) -> None:
        """Let go of everybody who waits for this connection."""
        self._frames.clear()
        self._is_empty.set()
        for event in self._pongs.values():
            event.set()

    async def drained(self) -> None:
        """Wait until everything queued has been handed to the network."""
        await self._is_empty.wait()

    async def confirmed(self, word: bytes) -> None:
        """Wait until the client has received everything sent so far: it answers a ping behind it."""
        if self.is_silent or self.socket.closed:
            return
        event = self._pongs.setdefault(word, asyncio.Event())
        try:
            await self.drained()
            if not self.socket.closed:
                await self.socket.ping(word)
                await event.wait()
        except ConnectionError:
            return
        finally:
            self._pongs.pop(word, None)

    def heard_pong(self, word: bytes) -> None:
        """Note that the client answered a ping."""
        event = self._pongs.get(word)
        if event is not None:
            event.set()


class Hub:
    """All market connections and the streams they listen to."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.accepted = 0
        self.pushed = 0
        self.version = 0
        self._listeners: dict[str, dict[int, Connection]] = {}
        self._changed = asyncio.Event()
        self._barrier = 0

    def admit(self, connection: Connection) -> None:
        """Take a new connection in."""
        self.connections[connection.number] = connection

    def next_number(self) -> int:
        """The next client's number."""
        self.accepted += 1
        return self.accepted

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self.unsubscribe(connection, list(connection.streams))
        self.connections.pop(connection.number, None)
        connection.finish()
        self._note_change()

    def subscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        """Add streams to a connection; those of another route, and names that are none, are taken and stay silent."""
        for stream in streams:
            connection.streams[stream] = None
            route = route_of(stream)
            if route and route == ("public" if connection.route == "unrouted" else connection.route):
                self._listeners.setdefault(stream, {})[connection.number] = connection
                connection.heard.add(stream)
        self._note_change()

    def unsubscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        """Take streams from a connection."""
        for stream in streams:
            connection.streams.pop(stream, None)
            self._deafen(connection, stream)
        self._note_change()

    def mute(self, connection: Connection) -> None:
        """Push nothing more to a connection, as an address does that does not route: it still takes subscriptions."""
        connection.route = "muted"
        for stream in list(connection.heard):
            self._deafen(connection, stream)
        self._note_change()

    def has_listeners(self, stream: str) -> bool:
        """Whether anybody listens to a stream."""
        return bool(self._listeners.get(stream))

    def publish(self, stream: str, text: str, client: int = 0, spared: frozenset[int] = frozenset()) -> None:
        """Push a payload to everybody who listens but `spared`, or to one client."""
        for number, connection in self._listeners.get(stream, {}).items():
            if client in {0, number} and number not in spared:
                connection.push(stream, text)
                self.pushed += 1

    def publish_value(self, stream: str, value: object) -> None:
        """As `publish`, for a value that is turned into JSON only where somebody listens."""
        if self.has_listeners(stream):
            self.publish(stream, dump(value))

    def readers(self) -> list[Connection]:
        """Connections that listen to something that is pushed."""
        return [c for c in self.connections.values() if c.heard and not c.is_silent]

    def listened(self) -> list[str]:
        """Every stream that somebody listens to."""
        return list(self._listeners)

    async def wait_readers(self, count: int) -> None:
        """Wait until so many connections listen to something that is pushed."""
        while len(self.readers()) < count:
            self._changed.clear()
            await self._changed.wait()

    async def drained(self) -> None:
        """Wait until every connection's frames have been handed to the network."""
        for connection in list(self.connections.values()):
            await connection.drained()

    async def confirmed(self) -> None:
        """Wait until every reading client has received all that was sent so far."""
        self._barrier += 1
        word = f"slt{self._barrier}".encode()
        await asyncio.gather(*(c.confirmed(word) for c in self.readers()))

    def _deafen(self, connection: Connection, stream: str) -> None:
        connection.heard.discard(stream)
        listeners = self._listeners.get(stream)
        if listeners is not None:
            listeners.pop(connection.number, None)
            if not listeners:
                del self._listeners[stream]

    def _note_change(self) -> None:
        self.version += 1
        self._changed.set()
