"""The local exchange put together: one HTTP server, one market, one account."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from aiohttp import web

from slt.candles import utc_text
from slt.errors import ConfigError
from slt.rules import generic_rules
from slt_sandbox import rest, user_stream, ws_api
from slt_sandbox.archive import Archive
from slt_sandbox.clock import MarketClock, WallClock, wall_ms
from slt_sandbox.desk import desk_routes
from slt_sandbox.exchange import Exchange
from slt_sandbox.fault_rules import Schedule
from slt_sandbox.faults import Faults
from slt_sandbox.hub import Hub
from slt_sandbox.payloads import dump
from slt_sandbox.player import Player, PlayerSettings
from slt_sandbox.streams import MarketSockets, SocketSettings
from slt_sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Handler

    from slt.hookspecs import FeedSpecs
    from slt.types import MarketInfo, SymbolRules
    from slt_sandbox.fault_rules import FaultRule
    from slt_sandbox.settings import ExchangeSettings

__all__ = ["Sandbox"]

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000


class Sandbox:
    """A local exchange on one address: REST, market and user streams, archive files, and a desk to control it.

    Attributes:
        url: Where it listens, ``http://host:port``; empty before `start`.
        market: What is played.
        exchange: Accounts, orders, prices, and the ledger.
        hub: Who listens to which stream.
        player: What moves the market.
        faults: What goes wrong, and by which rules.

    Args:
        feed: Whose bars are played.
        api_key: Key of the account.
        secret: HMAC secret or PEM public key of the account.
        wallet: Its balance, quote currency.
        exchange: How the exchange behaves.
        player: How the market is played.
        sockets: Limits of market connections.
        rules: Faults from the start on.
        history_days: Days of the feed before the market begins: they are in the archive, and in the tickers.
        is_now: Move the feed's times, by whole days, so that the market begins now.
        host: Address to listen on.
        port: Port; 0 = any that is free.
    """

    def __init__(
        self,
        feed: FeedSpecs,
        *,
        api_key: str,
        secret: str,
        wallet: float = 10_000.0,
        exchange: ExchangeSettings | None = None,
        player: PlayerSettings | None = None,
        sockets: SocketSettings | None = None,
        rules: Iterable[FaultRule] = (),
        history_days: int = 0,
        is_now: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.url = ""
        self.hub = Hub()
        self._feed = feed
        self._account = (api_key, secret, wallet)
        self._settings = (exchange, player or PlayerSettings(), sockets or SocketSettings())
        self._given = list(rules)
        self._history_days = history_days
        self._is_now = is_now
        self._address = (host, port)
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self._private: dict[int, web.Request] = {}
        self._world: World
        self._sockets: MarketSockets
        self.market: MarketInfo
        self.exchange: Exchange
        self.player: Player
        self.faults: Faults

    async def start(self) -> None:
        """Read what the feed holds, listen, and let the market begin.

        Raises:
            ConfigError: The feed has too little, or the port is taken.
        """
        self.market = await asyncio.to_thread(self._feed.slt_describe_market)
        start, shift = self._begin()
        rules = await asyncio.to_thread(self._rules_of_all, start - shift)
        settings, playing, limits = self._settings
        is_real_time = self._is_now and playing.speed == 1.0
        clock = WallClock(start) if is_real_time else MarketClock(start, playing.speed)
        funding = {s: _shifted(rates, shift) for s, rates in self.market.funding.items()}
        wall = None if playing.speed == 1.0 else wall_ms
        self.exchange = Exchange(rules, settings or _default_settings(is_real_time=is_real_time), clock, funding, wall)
        self.exchange.add_account(*self._account)
        self.exchange.subscribe_market(self._publish)
        schedule = Schedule(self._given, playing.seed, start)
        self.faults = Faults(schedule, clock, self._note, wall)
        self._world = World(schedule, self.exchange, clock, self._note, self._break_private)
        self._sockets = MarketSockets(self.hub, clock, limits, self.faults, self._note_line)
        self.player = Player(
            self._feed,
            self.market,
            rules,
            self.exchange,
            self.hub,
            clock,
            playing,
            start=start,
            shift_ms=shift,
            faults=self.faults,
        )
        self.player.on_row.append(lambda _: self._world.turn())
        self.exchange.market.is_between_bars = lambda: self.player.is_between_bars
        archive = Archive(self._feed, self.market, rules, clock, shift)
        await self._listen([*self._routes(), *archive.routes(), *desk_routes(self)])
        self._playing = asyncio.create_task(self.player.play())

    async def wait(self) -> None:
        """Serve for ever; a market that is over stands still, and everything else goes on.

        Raises:
            Exception: Whatever broke the market.
        """
        if self._playing is not None:
            await self._playing
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End every connection and let go of the port."""
        if self._playing is not None:
            self._playing.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._playing
        if self._runner is not None:
            await self._sockets.close()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Sandbox:  # noqa: PYI034 - `Self` would hide the name from the reader
        """Start."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def add_fault(self, rule: FaultRule, *, is_now: bool = False) -> int:
        """Put a rule in force; with `is_now` a fault of connections strikes those there are.

        Returns:
            Connections struck.
        """
        if is_now:
            return await self._sockets.strike(rule.name, rule.client)
        self.faults.schedule.add(rule)
        self._world.prepare(rule)
        self._world.turn()
        return 0

    def state(self) -> dict[str, Any]:
        """How the market and the clients are, as plain values."""
        player, now = self.player, self.exchange.clock()
        return {
            "time": now,
            "time_text": utc_text(now),
            "speed": player.settings.speed,
            "rows": player.rows,
            "is_over": player.is_over,
            "is_paused": player.is_paused,
            "is_waiting": player.is_waiting,
            "symbols": {symbol: self.exchange.status(symbol) for symbol in self.market.symbols},
            "clients": [
                {"client": c.number, "route": c.route, "streams": len(c.streams), "sent": c.sent, "silent": c.is_silent}
                for c in self.hub.connections.values()
            ],
            "frames": self.hub.pushed,
            "ledger": len(self.exchange.ledger),
            "accounts": [
                {
                    "wallet": account.book.wallet,
                    "equity": account.book.equity,
                    "positions": {p.symbol: p.side * p.quantity for p in account.book.positions()},
                    "orders": len(account.open_orders) + len(account.open_algos),
                }
                for account in self.exchange.accounts()
            ],
        }

    # -- parts -----------------------------------------------------------------------------------------------------

    def _routes(self) -> list[web.RouteDef]:
        return [
            *rest.routes(self.exchange, self.faults),
            *user_stream.routes(self.exchange, self.faults),
            *ws_api.routes(self.exchange, self.faults),
            *self._sockets.routes(),
        ]

    @web.middleware
    async def _follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note who is on a private stream, so that a fault can break the line."""
        if not request.path.startswith("/private/"):
            return await handler(request)
        self._private[id(request)] = request
        try:
            return await handler(request)
        finally:
            del self._private[id(request)]

    def _break_private(self) -> int:
        """Break every private stream without a closing handshake; returns how many."""
        for request in list(self._private.values()):
            if request.transport is not None:
                request.transport.abort()
        return len(self._private)

    async def _listen(self, routes: list[web.RouteDef]) -> None:
        app = web.Application(middlewares=[self._follow])
        app.add_routes(routes)
        host, port = self._address
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, host, port)
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ConfigError(
                f"services.sandbox.port: cannot listen on {port} of {host} ({why}); end what listens there, or choose "
                "another port"
            ) from None
        bound = self._runner.addresses[0][1]
        self.url = f"http://{host}:{bound}"

    def _begin(self) -> tuple[int, int]:
        """Market time at which the play begins, and what is added to the feed's times."""
        market = self.market
        start = market.start + self._history_days * _DAY_MS
        shift = 0
        if self._is_now:
            now = wall_ms()
            shift = (now - start) // _DAY_MS * _DAY_MS
            start = now - now % _MINUTE_MS
        if market.end is not None and start - shift >= market.end:
            days = (market.end - market.start) / _DAY_MS
            raise ConfigError(
                f"services.sandbox.history_days: found {self._history_days}, but the source holds {days:g} days in "
                "all; lower it, or give the source more"
            )
        return start, shift

    def _rules_of_all(self, start: int) -> dict[str, SymbolRules]:
        """Rules of every symbol: the feed's own, else generic ones by a price from about the start."""
        known = dict(self.market.rules)
        missing = [symbol for symbol in self.market.symbols if symbol not in known]
        if missing:
            bars = next(iter(self._feed.slt_read_bars(start=start, rows=60)), None)
            for symbol in missing:
                prices: Iterable[float] = bars.close[:, bars.symbols.index(symbol)] if bars is not None else []
                price = next((float(p) for p in prices if p > 0), None)
                known[symbol] = generic_rules(symbol, price)
        return {symbol: known[symbol] for symbol in self.market.symbols}

    def _publish(self, payload: dict[str, Any]) -> None:
        """Push what the exchange itself has to say to all."""
        if payload["e"] == "contractInfo":
            self.hub.publish_value("!contractInfo", payload)
        elif payload["e"] == "forceOrder":
            symbol = payload["o"]["s"]
            self.hub.publish_value(f"{symbol.lower()}@forceOrder", payload)
            if self.hub.has_listeners("!forceOrder@arr"):
                self.hub.publish("!forceOrder@arr", dump(payload | {"ps": symbol, "st": 1}))

    def _note(self, name: str, symbol: str, detail: str) -> None:
        self.exchange.ledger.record(self.exchange.clock(), "fault", symbol=symbol, name=name, detail=detail)

    def _note_line(self, word: str, client: int, detail: str) -> None:
        self.exchange.ledger.record(self.exchange.clock(), "stream", word=word, client=client, detail=detail)


def _default_settings(*, is_real_time: bool) -> ExchangeSettings:
    from slt_sandbox.settings import ExchangeSettings as Settings  # noqa: PLC0415 - only for the default

    return Settings(check_timestamp=is_real_time)


def _shifted(rates: Any, shift: int) -> Any:
    from attrs import evolve  # noqa: PLC0415 - only for a market that is moved in time

    return evolve(rates, time=rates.time + shift) if shift else rates
