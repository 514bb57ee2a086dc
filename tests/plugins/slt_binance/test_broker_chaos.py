"""Seeded runs of random orders among random faults: afterwards broker and exchange tell the same story.

Each seed alone: ``pytest tests/plugins/slt_binance/test_broker_chaos.py -k "seed7"``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from decimal import Decimal

import pytest
from aiohttp import web
from venue import KEY, SandboxVenue

from slt.errors import BrokerError
from slt.rules import GENERIC_BRACKETS
from slt.testing.broker import make_hooks
from slt.testing.live_broker import LiveDesk
from slt.types import (
    MINUTE_MS,
    Fill,
    MarketInfo,
    OrderRole,
    OrderStatus,
    OrderType,
    OrderUpdate,
    SymbolRules,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT")
STEPS = 40
UNKNOWN = "Unknown error, please check your request or try again later."


def rules(symbol):
    return SymbolRules(
        symbol,
        Decimal("0.01"),
        Decimal("0.001"),
        Decimal(5),
        GENERIC_BRACKETS,
        min_quantity=Decimal("0.001"),
        market_step_size=Decimal("0.001"),
        market_min_quantity=Decimal("0.001"),
    )


class Chaos:
    """Faults at random, as often as `share` says; `calm` ends them."""

    def __init__(self, venue, dice, share=0.25):
        self.venue, self.dice, self.share = venue, dice, share
        self.struck = Counter()
        venue.before, venue.after, venue.reorder = self.before, self.after, self.reorder

    def calm(self):
        self.share = 0.0

    def strikes(self, name):
        is_struck = self.dice.random() < self.share
        self.struck[name] += is_struck
        return is_struck

    async def before(self, request, method, path):
        if not path.startswith("/fapi") or not self.strikes("before"):
            return None
        kind = self.dice.randrange(8)
        if kind == 0:
            request.transport.abort()
            return web.Response()
        if kind == 1:
            await asyncio.sleep(self.dice.uniform(0.0, 0.3))
            return None
        answers = [
            (503, {"code": -1000, "msg": UNKNOWN}),
            (503, {"code": -1008, "msg": "Request throttled by system-level protection."}),
            (503, {"code": 0, "msg": "Service Unavailable."}),
            (502, "<html>bad gateway</html>"),
            (408, {"code": -1007, "msg": "Timeout waiting for response from backend server."}),
            (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
        ]
        status, body = answers[kind - 2]
        return (
            web.Response(status=status, text=body) if isinstance(body, str) else web.json_response(body, status=status)
        )

    async def after(self, request, response):
        if request.path.startswith("/fapi") and self.strikes("after"):
            kind = self.dice.randrange(3)
            if kind == 0:
                request.transport.abort()
            elif kind == 1:
                await asyncio.sleep(self.dice.uniform(0.0, 0.8))
            else:
                return web.json_response({"code": -1007, "msg": "Timeout waiting for response."}, status=408)
        return response

    async def reorder(self, events):
        events = list(events)
        if self.strikes("reorder"):
            self.dice.shuffle(events)
            if self.dice.random() < 0.3:
                events += events
        if self.strikes("slow"):
            await asyncio.sleep(self.dice.uniform(0.0, 0.2))
        if self.dice.random() < self.share / 10:
            self.struck["cut"] += 1
            self.venue.cut()
        return events


class Trader(LiveDesk):
    """Sends orders the way the kernel does: an unknown outcome is asked for, never sent again."""

    outcomes: dict

    def trade_ids(self):
        return {(u.symbol, u.trade_id) for u in self.pushed if isinstance(u, Fill)}

    async def place(self, order):
        try:
            async with asyncio.timeout(3.0):
                known = await self.submit(order)
        except (BrokerError, TimeoutError):
            known = await self.ask(order) or [
                OrderUpdate(0, order.client_id, order.symbol, OrderStatus.REJECTED, "lost")
            ]
        self.outcomes[order.client_id] = known

    async def ask(self, order):
        while True:
            try:
                async with asyncio.timeout(5.0):
                    return await self.hooks.slt_query_order(symbol=order.symbol, client_id=order.client_id)
            except (BrokerError, TimeoutError):
                await asyncio.sleep(0.05)

    async def drop(self, order):
        for _ in range(20):
            try:
                async with asyncio.timeout(3.0):
                    return await self.hooks.slt_cancel_order(symbol=order.symbol, client_id=order.client_id, time=0)
            except (BrokerError, TimeoutError):
                await asyncio.sleep(0.05)
        return None


async def trade(desk, venue, dice):
    """Entries, stops, targets, limits, exits, cancels and prices, some of them at the same time."""
    resting, prices = [], dict.fromkeys(SYMBOLS, 100.0)
    for _ in range(STEPS):
        desk.symbol = dice.choice(SYMBOLS)
        side, action = dice.choice([1, -1]), dice.randrange(6)
        price = prices[desk.symbol]
        if action == 0:
            await desk.place(desk.order(side, OrderType.MARKET, dice.randrange(1, 9) / 10, OrderRole.ENTRY))
        elif action == 1:
            levels = [(OrderType.STOP_MARKET, 1 - side * 0.01), (OrderType.TAKE_PROFIT_MARKET, 1 + side * 0.01)]
            orders = [
                desk.order(-side, kind, 0.5, OrderRole.STOP, stop_price=round(price * level, 2))
                for kind, level in levels
            ]
            resting += orders
            await asyncio.gather(*(desk.place(order) for order in orders))
        elif action == 2:
            order = desk.order(side, OrderType.LIMIT, 0.3, OrderRole.ENTRY, price=round(price * (1 - side * 0.005), 2))
            resting.append(order)
            await desk.place(order)
        elif action == 3:
            await desk.place(desk.order(side, OrderType.MARKET, 0.4, OrderRole.EXIT))
        elif action == 4 and resting:
            await desk.drop(resting.pop(dice.randrange(len(resting))))
        prices[desk.symbol] = round(price * dice.uniform(0.985, 1.015), 2)
        await venue.move(prices[desk.symbol], desk.symbol)


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed{seed}")
async def test_random_faults_leave_broker_and_exchange_with_one_story(seed, monkeypatch):
    monkeypatch.setattr("slt_binance.client._FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("slt_binance.user_stream._FIRST_BACKOFF_S", 0.02)
    dice = random.Random(seed)
    limits = {"weight_per_minute": 100_000, "orders_per_10s": 10_000, "orders_per_minute": 10_000}
    venue = SandboxVenue({s: rules(s) for s in SYMBOLS}, "BTCUSDT", fill_slices=1 + seed % 3, **limits)
    venue.options |= {"event_timeout_seconds": 2.0, "request_timeout_seconds": 1.0, "longest_backoff_seconds": 0.1}
    await venue.start()
    for symbol in SYMBOLS:
        await venue.move(100.0, symbol)
    market = MarketInfo(SYMBOLS, MINUTE_MS, 0, None, "chaos")
    hooks = make_hooks(venue.broker)
    desk = Trader(hooks, "BTCUSDT", dict(await hooks.slt_open_broker(market=market, wallet=0.0)), 10.0)
    desk.outcomes = {}
    reading = asyncio.create_task(desk.collect())
    chaos = Chaos(venue, dice)
    try:
        await trade(desk, venue, dice)
        chaos.calm()
        venue.cut()
        account = venue.exchange.account(KEY)
        await desk.until(lambda: not untold(desk, account), f"every trade, now {untold(desk, account)},")
        compare(desk, venue)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await hooks.slt_close_broker()
        await venue.stop()
    assert sum(chaos.struck.values()) > 10


def untold(desk, account):
    """Trades of the exchange that were not pushed: order, symbol, trade id, time."""
    told = desk.trade_ids()
    missing = [t for t in account.trades if (t.order.symbol, t.trade_id) not in told]
    return [(t.order.client_id, t.order.symbol, t.trade_id, t.time) for t in missing]


def compare(desk, venue):
    """Every trade told once with its numbers; no order twice; what was told as refused is not there."""
    account = venue.exchange.account(KEY)
    told = [u for u in desk.pushed if isinstance(u, Fill)]
    twice = [key for key, times in Counter((f.symbol, f.trade_id) for f in told).items() if times > 1]
    assert twice == []
    expected = {(t.order.symbol, t.trade_id): (t.order.side, t.quantity, t.price) for t in account.trades}
    assert {(f.symbol, f.trade_id): (f.side, f.quantity, f.price) for f in told} == expected
    assert sum(f.fee for f in told) == pytest.approx(sum(t.fee for t in account.trades))
    algos = Counter(a.client_id for a in account.algos.values())
    children = {a.order.order_id for a in account.algos.values() if a.order is not None}
    plain = Counter(o.client_id for o in account.orders.values() if o.order_id not in children)
    assert all(times == 1 for times in (plain + algos).values()), "an intent was placed twice"
    names = set(plain) | set(algos)
    for client_id, known in desk.outcomes.items():
        is_refused = any(isinstance(u, OrderUpdate) and u.status is OrderStatus.REJECTED for u in known)
        assert is_refused == (client_id not in names), (
            f"{client_id}: told {known}, at the exchange: {client_id in names}"
        )
    assert {f.client_id for f in told} <= names
    assert not [entry for entry in venue.exchange.ledger if entry.kind in {"banned", "limited"}]
