"""The private WebSocket: user events to whoever holds a listen key."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from slt_sandbox.controls import answer_control
from slt_sandbox.fault_points import FaultPoints, NoFaults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from slt_sandbox.exchange import Exchange

__all__ = ["routes"]

_EXPIRED = "listenKeyExpired"
_PING_SECONDS = 180.0


def routes(exchange: Exchange, faults: FaultPoints | None = None) -> list[web.RouteDef]:
    """The private WebSocket routes: a key in the path, in the query (several allowed), or subscribed later.

    Args:
        exchange: The exchange behind them.
        faults: What may go wrong; None = nothing.
    """

    def handler(*, is_combined: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False)
            await socket.prepare(request)
            await _UserSocket(exchange, faults or NoFaults(), socket, is_combined=is_combined).serve(request)
            return socket

        return handle

    return [
        web.get("/private/ws", handler(is_combined=False)),
        web.get("/private/ws/{keys:.*}", handler(is_combined=False)),
        web.get("/private/stream", handler(is_combined=True)),
    ]


class _UserSocket:
    """One client's private connection.

    Keys that are not in force are taken and stay silent, as on the exchange.
    """

    def __init__(
        self, exchange: Exchange, faults: FaultPoints, socket: web.WebSocketResponse, *, is_combined: bool
    ) -> None:
        self._exchange = exchange
        self._faults = faults
        self._socket = socket
        self.is_combined = is_combined
        self.streams: dict[str, None] = {}
        self._wanted: frozenset[str] = frozenset()
        self._ends: dict[str, Callable[[], None]] = {}
        self._batches: asyncio.Queue[tuple[str, list[dict[str, Any]]]] = asyncio.Queue()

    async def serve(self, request: web.Request) -> None:
        """Answer and push until the client goes."""
        self._wanted = frozenset(filter(None, request.query.get("events", "").split("/")))
        named = request.query.getall("listenKey", []) + request.query.get("streams", "").split("/")
        self.subscribe(self, [*request.match_info.get("keys", "").split("/"), *named])
        writer = asyncio.create_task(self._write())
        try:
            async for message in self._socket:
                if message.type == WSMsgType.TEXT:
                    me: Any = self  # the control words need only what this class has
                    await self._socket.send_str(answer_control(message.data, me, me))
        finally:
            self.unsubscribe(self, list(self.streams))
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer

    def subscribe(self, _: object, keys: Iterable[str]) -> None:
        """Listen to the accounts of some listen keys."""
        now = self._exchange.wall()
        for key in filter(None, keys):
            self.streams[key] = None
            name = key.partition("@")[0]
            if key not in self._ends and self._exchange.listen_keys.account_of(name, now) is not None:
                self._ends[key] = self._exchange.subscribe(name, self._taker(key))

    def unsubscribe(self, _: object, keys: Iterable[str]) -> None:
        """Listen to them no more."""
        for key in keys:
            self.streams.pop(key, None)
            end = self._ends.pop(key, None)
            if end is not None:
                end()

    def _taker(self, key: str) -> Callable[[list[dict[str, Any]]], None]:
        return lambda events: self._batches.put_nowait((key, events))

    async def _write(self) -> None:
        while True:
            key, events = await self._batches.get()
            for event in await self._faults.order_user_events(events):
                if self._is_for(key, event):
                    await self._socket.send_str(self._frame(key, event))
                if event["e"] == _EXPIRED and event["listenKey"] == key.partition("@")[0]:
                    self._silence(key)

    def _is_for(self, key: str, event: dict[str, Any]) -> bool:
        """Whether an event goes out: of a wanted kind, under a key that is in force (or has just ended)."""
        name = key.partition("@")[0]
        if event["e"] == _EXPIRED:
            return bool(event["listenKey"] == name)
        if self._exchange.listen_keys.account_of(name, self._exchange.wall()) is None:
            self._silence(key)
            return False
        return not self._wanted or event["e"] in self._wanted

    def _silence(self, key: str) -> None:
        end = self._ends.pop(key, None)
        if end is not None:
            end()

    def _frame(self, key: str, event: dict[str, Any]) -> str:
        value = {"stream": key, "data": event} if self.is_combined else event
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
