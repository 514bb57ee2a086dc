from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest
from aiohttp import web
from attrs import evolve

from slt.rules import generic_rules
from slt.types import LeverageBracket, PricePoint
from slt_sandbox import rest, user_stream, ws_api
from slt_sandbox.algo_orders import parse_algo
from slt_sandbox.exchange import Exchange
from slt_sandbox.hub import Hub
from slt_sandbox.orders import parse_order
from slt_sandbox.params import Params
from slt_sandbox.settings import ExchangeSettings
from slt_sandbox.streams import MarketSockets

LADDER = (
    LeverageBracket(floor=0, cap=50_000, max_leverage=50, maintenance_rate=0.01, cum=0),
    LeverageBracket(floor=50_000, cap=500_000, max_leverage=20, maintenance_rate=0.025, cum=750),
    LeverageBracket(floor=500_000, cap=5_000_000, max_leverage=5, maintenance_rate=0.1, cum=38_250),
)
START = 1_800_000_000_000


def make_rules(symbol, price=100.0, **changes):
    given = {
        "tick_size": Decimal("0.1"),
        "step_size": Decimal("0.001"),
        "min_quantity": Decimal("0.001"),
        "max_quantity": Decimal(1000),
        "market_step_size": Decimal("0.001"),
        "market_min_quantity": Decimal("0.001"),
        "market_max_quantity": Decimal(100),
        "min_price": Decimal("0.1"),
        "max_price": Decimal(100000),
        "min_notional": Decimal(5),
        "multiplier_up": Decimal("1.15"),
        "multiplier_down": Decimal("0.85"),
        "brackets": LADDER,
    }
    return evolve(generic_rules(symbol, price), **{**given, **changes})


class Floor:
    """An exchange with short words for what clients do, and a clock that is set by hand."""

    key = "k" * 16
    secret = "s" * 16

    def __init__(self, funding=None, wallet=10_000.0, rules=None, wall=None, **settings):
        self.time = START
        listed = rules or {name: make_rules(name) for name in ("BTCUSDT", "ETHUSDT")}
        self.exchange = Exchange(listed, ExchangeSettings(**settings), lambda: self.time, funding, wall)
        self.account = self.exchange.add_account(self.key, self.secret, wallet)
        self.desk = self.exchange.trading(self.key)
        self.batches = []
        self.exchange.subscribe(self.key, self.batches.append)

    @property
    def events(self):
        return [event for batch in self.batches for event in batch]

    def words(self):
        """What was told, in short, since the last call."""
        told = [_word(event) for event in self.events]
        self.batches.clear()
        return told

    def to(self, price, symbol="BTCUSDT", *, gap=False, after=60_000):
        self.time += after
        self.exchange.advance(PricePoint(self.time, symbol, price, is_gap=gap))
        return self

    def order(self, side, quantity, kind="MARKET", symbol="BTCUSDT", **more):
        if kind == "LIMIT":
            more.setdefault("timeInForce", "GTC")
        params = Params({"symbol": symbol, "side": side, "type": kind, "quantity": quantity, **more})
        record = self.desk.place(parse_order(params, self.time))
        self.exchange.flush()
        return record

    def algo(self, side, kind, symbol="BTCUSDT", **more):
        params = Params({"algoType": "CONDITIONAL", "symbol": symbol, "side": side, "type": kind, **more})
        record = self.desk.algos.place(parse_algo(params))
        self.exchange.flush()
        return record

    def kinds(self, *wanted):
        return [entry for entry in self.exchange.ledger if not wanted or entry.kind in wanted]


def _word(event):
    body = event.get("o", event)
    return {
        "ORDER_TRADE_UPDATE": lambda: ("order", body["c"], body["x"], body["X"]),
        "ALGO_UPDATE": lambda: ("algo", body["caid"], body["X"]),
        "TRADE_LITE": lambda: ("lite", event["c"], event["l"]),
        "ACCOUNT_UPDATE": lambda: ("account", event["a"]["m"]),
    }.get(event["e"], lambda: (event["e"],))()


@pytest.fixture
def floor():
    """An exchange at 100.0 and an account of 10,000."""
    return Floor().to(100.0, gap=True).to(100.0, "ETHUSDT", gap=True)


@pytest.fixture
def new_rules():
    return make_rules


@pytest.fixture
def new_floor():
    return Floor


class Server:
    """The exchange behind a real socket, its prices moved by hand, its clock the machine's."""

    key = "key"
    secret = "secret"

    def __init__(self):
        self.exchange = Exchange(
            {name: make_rules(name) for name in ("BTCUSDT", "ETHUSDT")}, ExchangeSettings(), self.clock
        )
        self.exchange.add_account(self.key, self.secret, 10_000.0)
        self.hub = Hub()
        self.sockets = MarketSockets(self.hub, self.clock)
        self.faults = None

    def clock(self):
        return int(time.time() * 1_000)

    def to(self, price, symbol="BTCUSDT"):
        self.exchange.advance(PricePoint(self.clock(), symbol, price))

    async def __aenter__(self):
        app = web.Application()
        sources = (rest.routes(self.exchange, self.faults), user_stream.routes(self.exchange, self.faults))
        app.add_routes([*sources[0], *sources[1], *ws_api.routes(self.exchange), *self.sockets.routes()])
        self.runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        self.url, self.ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        for symbol in self.exchange.rules:
            self.to(100.0, symbol)
        return self

    async def __aexit__(self, *_):
        await self.sockets.close()
        await self.runner.cleanup()

    async def until(self, condition):
        """Wait for something that a client's task brings about."""
        async with asyncio.timeout(25.0):
            while not condition():  # noqa: ASYNC110 - what clients do sets no event of ours
                await asyncio.sleep(0.01)

    async def push_kline(self, symbol="BTCUSDT"):
        """Push one closed k-line as soon as somebody listens to it."""
        stream = f"{symbol.lower()}@kline_1m"
        await self.until(lambda: self.hub.has_listeners(stream))
        start = self.clock() // 60_000 * 60_000 - 60_000
        bar = {"t": start, "T": start + 59_999, "s": symbol, "i": "1m", "f": 1, "L": 9, "o": "100.0", "c": "100.5"}
        bar |= {"h": "101.0", "l": "99.5", "v": "12.5", "n": 9, "x": True, "q": "1251.2", "V": "6.2", "Q": "620.1"}
        event = {"e": "kline", "E": self.clock(), "s": symbol, "k": {**bar, "B": "0"}}
        self.hub.publish_value(stream, event)


@pytest.fixture
async def server():
    async with Server() as running:
        yield running
