"""The WebSocket server of the market streams: ``/market``, ``/public``, and the old addresses that push too little."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import WSCloseCode, WSMsgType, web
from attrs import field, frozen
from attrs.validators import gt, in_

from slt_sandbox.controls import MAX_STREAMS, answer_control
from slt_sandbox.hub import Connection, NoLineFaults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt_sandbox.hub import Hub, LineFaults

__all__ = ["MarketSockets", "SocketSettings"]

_HOUR_MS = 3_600_000
_PING = b"binance"


@frozen(kw_only=True)
class SocketSettings:
    """Limits of a market connection.

    Attributes:
        life_hours: Life of a connection until the exchange cuts it.
        life_clock: Clock of that life: `market` or `wall`.
        ping_seconds: Distance of the exchange's pings.
        pong_seconds: Time a client has to answer one.
        messages_per_second: Frames a client may send in a second; more, and it is cut.
    """

    life_hours: float = field(default=24.0, validator=gt(0.0))
    life_clock: str = field(default="market", validator=in_(("market", "wall")))
    ping_seconds: float = field(default=180.0, validator=gt(0.0))
    pong_seconds: float = field(default=600.0, validator=gt(0.0))
    messages_per_second: int = 10


class MarketSockets:
    """Accepts market connections and serves them until they end.

    Args:
        hub: Where they are kept.
        clock: The exchange's time, ms UTC.
        settings: Their limits.
        faults: What goes wrong on them; None = nothing.
        note: Told what happened: a word, the client's number, and more of it.
    """

    def __init__(
        self,
        hub: Hub,
        clock: Callable[[], int],
        settings: SocketSettings | None = None,
        faults: LineFaults | None = None,
        note: Callable[[str, int, str], None] | None = None,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._settings = settings or SocketSettings()
        self._faults = faults or NoLineFaults()
        self._note = note or _ignore
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The addresses of market data, routed and old."""
        made = []
        for route in ("market", "public", "unrouted"):
            prefix = "" if route == "unrouted" else f"/{route}"
            for word, is_combined in (("ws", False), ("stream", True)):
                handler = partial(self._serve, route=route, is_combined=is_combined)
                made.append(web.get(f"{prefix}/{word}", handler))
                made.append(web.get(f"{prefix}/{word}/{{streams:.*}}", handler))
        return made

    async def _serve(self, request: web.Request, *, route: str, is_combined: bool) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="this address speaks WebSocket")
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(
            socket,
            self._hub.next_number(),
            route,
            is_combined=is_combined,
            opened=self._clock(),
            faults=self._faults,
        )
        connection.on_fault = self._strike
        self._hub.admit(connection)
        self._note("connected", connection.number, request.path)
        wanted = _streams_in(request)
        if len(wanted) > MAX_STREAMS:
            await self._cut(connection, "too many streams")
        self._hub.subscribe(connection, wanted)
        helpers = [asyncio.create_task(_quietly(part)) for part in (connection.write(), self._keep(connection))]
        try:
            await self._listen(connection)
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._hub.remove(connection)
            self._note("disconnected", connection.number, str(socket.close_code or ""))
        return socket

    async def _listen(self, connection: Connection) -> None:
        """Answer what the client sends, until it leaves."""
        times: deque[float] = deque()
        loop = asyncio.get_running_loop()
        async for message in connection.socket:
            if message.type == WSMsgType.PONG:
                connection.heard_pong(bytes(message.data))
                continue
            times.append(loop.time())
            while times[0] <= times[-1] - 1.0:
                times.popleft()
            if len(times) > self._settings.messages_per_second:
                await self._cut(connection, "too many messages")
                return
            if message.type == WSMsgType.PING:
                if not connection.is_silent:
                    await connection.socket.pong(message.data)
            elif message.type == WSMsgType.TEXT and not connection.is_silent:
                connection.send(answer_control(message.data, connection, self._hub))
                if len(connection.streams) > MAX_STREAMS:
                    await self._cut(connection, "too many streams")
                    return

    async def _keep(self, connection: Connection) -> None:
        """Ping now and then, and end the connection when its time is up or nobody answers."""
        settings, loop = self._settings, asyncio.get_running_loop()
        opened = loop.time()
        pinged = opened
        while not connection.socket.closed:
            await asyncio.sleep(min(1.0, settings.ping_seconds / 2))
            lived = (
                self._clock() - connection.opened if settings.life_clock == "market" else 1e3 * (loop.time() - opened)
            )
            if lived >= settings.life_hours * _HOUR_MS:
                await self._strike(connection, "cut_24h")
            elif connection.overflowed:
                await self._cut(connection, "read too slowly")
            elif loop.time() - pinged >= settings.ping_seconds and not connection.is_silent:
                pinged = loop.time()
                self._in_background(self._await_pong(connection))

    async def _await_pong(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._settings.pong_seconds):
                await connection.confirmed(_PING)
        except TimeoutError:
            await self._cut(connection, "no pong")

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cut(self, connection: Connection, reason: str) -> None:
        self._note("cut", connection.number, reason)
        await connection.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode())

    async def _strike(self, connection: Connection, fault: str) -> None:
        """Let a fault end, or silence, a connection."""
        self._note(fault, connection.number, "")
        if fault == "half_open":
            connection.is_silent = True
        elif fault == "unrouted":
            self._hub.mute(connection)
        elif fault == "close_1006":
            transport = connection.socket._req.transport if connection.socket._req is not None else None  # noqa: SLF001 # aiohttp has no other way to drop a line without a closing handshake
            if transport is not None:
                transport.abort()
        else:
            code = {"close_1011": WSCloseCode.INTERNAL_ERROR, "close_1008": WSCloseCode.POLICY_VIOLATION}
            await connection.socket.close(code=code.get(fault, WSCloseCode.GOING_AWAY), message=fault.encode())

    async def strike(self, fault: str, client: int = 0) -> int:
        """Let a fault end, or silence, a client's connection, or every one; returns how many."""
        struck = [c for c in self._hub.connections.values() if client in {0, c.number}]
        for connection in struck:
            await self._strike(connection, fault)
        return len(struck)

    async def close(self) -> None:
        """End every connection and everything that waits for one."""
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._hub.connections.values()):
            with contextlib.suppress(ConnectionError):
                await connection.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the sandbox stops")


async def _quietly(work: Awaitable[None]) -> None:
    """Work on a connection that may be gone at any time."""
    with contextlib.suppress(ConnectionError):
        await work


def _streams_in(request: web.Request) -> list[str]:
    """Stream names in an address: behind ``/ws/``, or in ``?streams=``; a mere number, as ccxt sends, is none."""
    named = request.match_info.get("streams", "") or unquote(request.rel_url.query.get("streams", ""))
    return [name for name in named.split("/") if name and not name.isdigit()]


def _ignore(word: str, client: int, detail: str) -> None:
    """Nobody wants to know."""
