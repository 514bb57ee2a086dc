"""The local exchange as a venue of tests: real REST and WebSocket on 127.0.0.1, prices and faults by hand."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from slt.types import PricePoint
from slt_binance.broker import BinanceBroker
from slt_binance.options import BinanceBrokerConfig
from slt_sandbox import rest, user_stream
from slt_sandbox.exchange import Exchange
from slt_sandbox.fault_points import NoFaults
from slt_sandbox.settings import ExchangeSettings

KEY, SECRET = "key-at-the-local-exchange", "secret-at-the-local-exchange"


class SandboxVenue(NoFaults):
    """One account at a local exchange; `before`, `after` and `reorder` may be set to make things go wrong."""

    def __init__(self, rules: dict[str, Any], symbol: str, **settings: Any) -> None:
        self.permissions = ("futures",)
        self.kind = BinanceBroker
        self.wallet = 10_000.0
        self.skew_ms = 0
        self.symbol = symbol
        self.seen: list[tuple[str, str]] = []
        self.before: Any = None
        self.after: Any = None
        self.reorder: Any = None
        self.url = ""
        self.exchange = Exchange(rules, ExchangeSettings(**settings), self.clock)
        self.options: dict[str, Any] = {"recv_window_ms": 300}
        self.sockets: dict[int, web.Request] = {}
        self._runner: web.AppRunner | None = None

    def clock(self) -> int:
        return time.time_ns() // 1_000_000 + self.skew_ms

    @property
    def broker(self) -> BinanceBroker:
        url = {"rest_url": self.url, "stream_url": self.url.replace("http", "ws")}
        return self.kind(BinanceBrokerConfig(**{**url, **self.options}))

    @property
    def account(self):
        return self.exchange.account(KEY)

    async def move(self, price: float, symbol: str | None = None) -> None:
        self.exchange.advance(PricePoint(self.clock(), symbol or self.symbol, price))
        await asyncio.sleep(0)

    def count(self, method: str, path: str) -> int:
        return self.seen.count((method, path))

    async def before_rest(self, request: web.Request, method: str, path: str) -> web.StreamResponse | None:
        self.seen.append((method, path))
        return await self.before(request, method, path) if self.before is not None else None

    async def after_rest(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        return await self.after(request, response) if self.after is not None else response

    async def order_user_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return await self.reorder(events) if self.reorder is not None else events

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/private"):
            return await handler(request)
        self.sockets[id(request)] = request
        try:
            return await handler(request)
        finally:
            self.sockets.pop(id(request))

    def cut(self) -> None:
        """Break every user stream without a word."""
        for request in list(self.sockets.values()):
            if request.transport is not None:
                request.transport.abort()

    async def start(self) -> None:
        self.exchange.add_account(KEY, SECRET, self.wallet, permissions=self.permissions)
        app = web.Application(middlewares=[self._watch])
        app.router.add_routes(user_stream.routes(self.exchange, self))
        app.router.add_routes(rest.routes(self.exchange, self))
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        os.environ["BINANCE_API_KEY"], os.environ["BINANCE_API_SECRET"] = KEY, SECRET

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        os.environ.pop("BINANCE_API_KEY", None)
        os.environ.pop("BINANCE_API_SECRET", None)


@asynccontextmanager
async def opened(venue: SandboxVenue):
    await venue.start()
    try:
        yield venue
    finally:
        await venue.stop()
