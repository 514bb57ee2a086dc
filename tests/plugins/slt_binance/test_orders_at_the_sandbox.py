"""Random orders, linted by `slt.rules` and worded by the broker, at the local exchange: its filters refuse none.

The local exchange judges the numbers of a request in code of its own (`slt_sandbox.filters`), in decimal, on the text
that is sent. What it may refuse all the same is what no filter can know beforehand: a reduce-only order without a
position (-2022).
"""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest
from aiohttp import web
from attrs import evolve
from random_orders import FILES, NO_FILES, answers, random_order
from venue import KEY, SECRET

from slt.rules import GENERIC_BRACKETS, check_order, generic_rules, parse_exchange_info
from slt.types import FillCause, OrderSide, OrderType, PricePoint
from slt_binance.client import Client, Credentials
from slt_binance.faults import ExchangeError
from slt_binance.signing import HmacSigner
from slt_binance.words import order_request
from slt_sandbox import rest
from slt_sandbox.endpoint import Call
from slt_sandbox.errors import ApiError
from slt_sandbox.exchange import Exchange
from slt_sandbox.fault_points import NoFaults
from slt_sandbox.market_answers import exchange_info
from slt_sandbox.params import Params
from slt_sandbox.rest_orders import place_algo, place_order
from slt_sandbox.settings import ExchangeSettings

ORDERS = 10_000
SMALLER = 1_500
OVER_HTTP = 300
NO_POSITION = -2022
WALLET = 1e14


class Floor:
    """One exchange with one rich account; every order finds it empty, with the price that it was made for.

    Args:
        answer: What the exchange says of its symbols (`GET /fapi/v1/exchangeInfo`).
        rules: As read from it.
    """

    def __init__(self, answer: dict, rules: dict) -> None:
        self.entries = [entry for entry in answer["symbols"] if entry["symbol"] in rules]
        self.rules = rules
        self.time = 1_704_067_200_000
        settings = ExchangeSettings(default_leverage=1, orders_per_10s=10**9, orders_per_minute=10**9)
        self.exchange = Exchange(rules, settings, lambda: self.time)
        self.account = self.exchange.add_account(KEY, SECRET, WALLET)

    def place(self, endpoint, parameters: dict) -> int:
        """Give the exchange a worded order; returns the code of its refusal, 0 where it takes it."""
        call = Call(self.exchange, Params(parameters), self.account)
        try:
            (place_algo if endpoint.path.endswith("algoOrder") else place_order)(call)
        except ApiError as error:
            return error.code
        return 0

    def prepare(self, symbol: str, mark: float) -> None:
        """Sweep away what an earlier order left, and move the price."""
        desk = self.exchange.trading(KEY)
        desk.cancel_all(symbol)
        desk.algos.cancel_all(symbol)
        desk.force_close(symbol, FillCause.ORDER)
        self.time += 1
        self.exchange.advance(PricePoint(self.time, symbol, mark, is_gap=True))

    def open_against(self, order, mark: float) -> None:
        """Hold what a closing order is to close."""
        rules, opposite = self.rules[order.symbol], OrderSide(-order.side)
        entry = evolve(order, client_id="opens", side=opposite, type=OrderType.MARKET, leverage=1, reduce_only=False)
        linted = check_order(
            evolve(entry, price=None, stop_price=None), rules, mark, 0, max_quantity=order.quantity * 10
        )
        if linted.is_ok:
            assert self.place(*order_request(linted.order, rules, "last")) == 0


def try_orders(floors: list[Floor], count: int, seed: int) -> tuple[Counter, Counter]:
    """Codes of the orders that were linted and sent, and of the same orders sent as they were."""
    dice = random.Random(seed)
    linted_codes, raw_codes = Counter(), Counter()
    for number in range(count):
        floor = dice.choice(floors)
        entry = dice.choice(floor.entries)
        symbol = entry["symbol"]
        order, mark = random_order(dice, entry, number)
        order = evolve(order, leverage=0 if order.reduce_only else 1)
        floor.prepare(symbol, mark)
        if order.reduce_only and dice.random() < 0.7:
            floor.open_against(order, mark)
        result = check_order(order, floor.rules[symbol], mark, 0, max_quantity=order.quantity * dice.choice([1, 1, 3]))
        if not result.is_ok:
            continue
        code = floor.place(*order_request(result.order, floor.rules[symbol], "last"))
        linted_codes[code] += 1
        assert code in {0, NO_POSITION}, f"{result.order} at {mark}: the exchange says {code}"
        assert code == 0 or result.order.reduce_only
        raw_codes[floor.place(*as_decided(order, number))] += 1
    return linted_codes, raw_codes


def as_decided(order, number: int):
    """The order's numbers as they came, on no grid."""
    price = order.price or order.stop_price

    class Path:
        path = "/fapi/v1/order" if order.type in {OrderType.LIMIT, OrderType.MARKET} else "/fapi/v1/algoOrder"

    raw = {"symbol": order.symbol, "side": order.side.name, "type": order.type.value, "reduceOnly": order.reduce_only}
    raw["quantity"] = f"{Decimal(repr(order.quantity)):f}"[:30]
    raw |= {"price": price, "timeInForce": "GTC"} if order.type is OrderType.LIMIT else {}
    raw |= (
        {} if order.type in {OrderType.LIMIT, OrderType.MARKET} else {"algoType": "CONDITIONAL", "triggerPrice": price}
    )
    return Path, {name: f"{Decimal(repr(v)):f}"[:30] if isinstance(v, float) else v for name, v in raw.items()}


def synthetic_floor() -> Floor:
    """Symbols from a millionth to a hundred thousand USDT, as the local exchange lists them itself."""
    prices = {f"S{power}USDT": 3.7 * 10.0**power for power in range(-6, 6)}
    rules = {symbol: generic_rules(symbol, price) for symbol, price in prices.items()}
    answer = exchange_info(Exchange(rules, ExchangeSettings(), lambda: 0))
    parsed = parse_exchange_info(answer, brackets=dict.fromkeys(rules, GENERIC_BRACKETS))
    return Floor(answer, parsed)


def judge(linted: Counter, raw: Counter, count: int) -> None:
    assert linted[0] > count * 0.25
    assert linted[NO_POSITION] < linted[0]
    assert raw[0] < raw.total() * 0.6, "the exchange takes what nobody linted: the property above is empty"
    assert {-1111, -4164} & set(raw)


@pytest.mark.skipif(not FILES, reason=NO_FILES)
def test_ten_thousand_linted_orders_on_real_symbols_none_is_refused_by_a_filter():
    floors = [Floor(answer, parse_exchange_info(answer)) for answer in answers()]
    assert sum(len(floor.entries) for floor in floors) > 500
    judge(*try_orders(floors, ORDERS, 20261122), ORDERS)


def test_linted_orders_on_the_symbols_of_the_local_exchange_none_is_refused_by_a_filter():
    judge(*try_orders([synthetic_floor()], SMALLER, 7), SMALLER)


async def test_linted_orders_over_http_signed_and_worded_are_refused_by_no_filter():
    floor = synthetic_floor()
    floor.exchange.market.clock = floor.exchange.market.wall = lambda: floor.time
    app = web.Application()
    app.router.add_routes(rest.routes(floor.exchange, NoFaults()))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = Client(
        f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", Credentials(KEY, HmacSigner(SECRET))
    )
    dice, codes = random.Random(11), Counter()
    try:
        for number in range(OVER_HTTP):
            entry = dice.choice(floor.entries)
            order, mark = random_order(dice, entry, number)
            order = evolve(order, leverage=0 if order.reduce_only else 1)
            floor.prepare(order.symbol, mark)
            result = check_order(order, floor.rules[order.symbol], mark, 0, max_quantity=order.quantity * 3)
            if not result.is_ok:
                continue
            endpoint, parameters = order_request(result.order, floor.rules[order.symbol], "last")
            code = 0
            try:
                await client.call(endpoint, **parameters)
            except ExchangeError as error:
                code = error.code
            codes[code] += 1
            assert code in {0, NO_POSITION}, f"{parameters} at {mark}: the exchange says {code}"
    finally:
        await client.close()
        await runner.cleanup()
    assert codes[0] > OVER_HTTP * 0.25
