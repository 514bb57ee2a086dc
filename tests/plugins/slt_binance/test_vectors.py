"""The broker against what other people recorded: the exchange's answers, and the requests that it documents.

Binance.Net's bodies stand in for the exchange's answers; the exchange's own Postman collection says which parameters
each request may carry.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from venue import SandboxVenue, opened

from slt.rules import parse_brackets, parse_exchange_info
from slt.testing import LiveBrokerConformance
from slt.testing.broker import make_hooks
from slt.testing.live_broker import LiveDesk
from slt.types import Fill, OrderRole, OrderStatus, OrderType, OrderUpdate
from slt_binance.account import read_account
from slt_binance.broker import BinanceBroker, BinanceBrokerConfig
from slt_binance.history import History
from slt_binance.tracking import Tracker
from slt_binance.words import FeeTable

VECTORS = Path(__file__).parents[4] / "shared" / "vectors"
BODIES = VECTORS / "JKorf+Binance.Net/Binance.Net.UnitTests/Endpoints/UsdFutures"
POSTMAN = VECTORS / "binance+binance-api-postman/collections/Binance Derivatives Trading USDS Futures API.json"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="other people's recordings are not beside the repository")


def body(name):
    """Method, path and answer of one of Binance.Net's recordings."""
    method, path, _, text = (BODIES / f"{name}.txt").read_text(encoding="utf-8-sig").split("\n", 3)
    return method.strip(), path.strip(), json.loads(text)


@pytest.fixture
def play(server):
    """Let the server answer with recordings, whatever is asked."""

    def play(*names):
        for name in names:
            method, path, answer = body(name)
            server.defaults[method, path] = answer

    return play


async def test_read_account_from_recorded_answers(client, play):
    play(
        "Account/GetAccountInfoV3", "Trading/GetPositions", "Trading/GetOpenOrders", "Trading/GetOpenConditionalOrders"
    )
    tracker = Tracker()
    state = await read_account(client, tracker, "USDT")
    assert (state.wallet, state.available) == (23.72469206, 23.72469206)
    (position,) = state.positions
    assert (position.symbol, position.side, position.quantity, position.entry_price) == ("BTCUSDT", 1, 0.001, 22185.2)
    names = {order.client_id for order in state.orders}
    assert "MRumok0dkhrP4kCm12AHaB" in names
    assert {t.client_id for t in tracker} == names


async def test_finished_stop_from_recorded_answers_gives_its_fill(client, play, server):
    play("Trading/GetConditionalOrder", "Trading/GetUserTrades")
    _, _, order = body("Trading/GetOrder")
    child = {**order, "orderId": 974828356187, "status": "FILLED", "executedQty": "0.002", "side": "BUY"}

    def answer(parameters):
        known = parameters.get("orderId") == "974828356187"
        return child if known else (400, {"code": -2013, "msg": "Order does not exist."})

    server.defaults["GET", "/fapi/v1/order"] = answer
    history = History(client, Tracker(), FeeTable("USDT", {}))
    # The two recordings are years apart, and told in the order of their times: here the fill comes first.
    fill, accepted = await history.tell_order("BTCUSDT", "x-yHjDKm8h7cd1bf4f-9ce3-4d55-b9f")
    assert isinstance(accepted, OrderUpdate)
    assert accepted.status is OrderStatus.ACCEPTED
    assert isinstance(fill, Fill)
    assert (fill.client_id, fill.trade_id, fill.quantity, fill.price) == (accepted.client_id, 698759, 0.002, 7819.01)
    assert fill.fee == 0.0781901


async def test_income_from_recorded_answers_takes_funding_only(client, play):
    play("Account/GetIncomeHistory")
    assert await History(client, Tracker(), FeeTable("USDT", {})).funding_since(0) == []


def test_rules_and_brackets_from_recorded_answers():
    assert set(parse_exchange_info(body("ExchangeData/GetExchangeInfo")[2])) == {"BLZUSDT"}
    assert parse_brackets(body("Account/GetBrackets")[2])["ETHUSDT"][0].max_leverage == 75


def documented():
    """Parameters per method and path in the exchange's own collection."""

    def walk(items):
        for item in items:
            if "item" in item:
                yield from walk(item["item"])
            else:
                yield item["request"]

    found = {}
    for request in walk(json.loads(POSTMAN.read_text())["item"]):
        url = request["url"]
        form = (request.get("body") or {}).get("urlencoded") or []
        found[request["method"], "/" + "/".join(url["path"])] = {p["key"] for p in [*url.get("query", []), *form]}
    return found


async def test_every_request_carries_documented_parameters_only():
    """A life of orders at the local exchange, request by request, against the exchange's own collection."""
    kit, seen = LiveBrokerConformance(), {}

    async def note(request, method, path):
        text = request.rel_url.raw_query_string + (await request.text() if method in {"POST", "PUT"} else "")
        seen.setdefault((method, path), set()).update(dict(parse_qsl(text)))

    venue = SandboxVenue(kit.make_market().rules, kit.symbol)
    venue.before = note
    async with opened(venue):
        await venue.move(100.0)
        hooks = make_hooks(venue.broker)
        desk = LiveDesk(hooks, kit.symbol, await hooks.slt_open_broker(market=kit.make_market(), wallet=0.0), 5.0)
        await desk.enter()
        orders = [*await desk.protect(98.0, 102.0), desk.order(1, OrderType.LIMIT, 1.0, OrderRole.ENTRY, price=90.0)]
        await desk.submit(orders[-1])
        await desk.account()
        for order in orders:
            await hooks.slt_query_order(symbol=kit.symbol, client_id=order.client_id)
            await hooks.slt_cancel_order(symbol=kit.symbol, client_id=order.client_id, time=0)
        await hooks.slt_close_broker()
    allowed = documented()
    asked = {key: names for key, names in seen.items() if key[1].startswith("/fapi")}
    assert len(asked) > 12
    for key, names in asked.items():
        assert key in allowed, f"{key} is not in the exchange's collection"
        assert names <= allowed[key], f"{key} does not take {names - allowed[key]}"


def test_open_hooks_need_no_network_to_be_described():
    assert BinanceBroker(BinanceBrokerConfig()).slt_snapshot_broker() == {}
