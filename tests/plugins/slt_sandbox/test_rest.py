"""The HTTP and WebSocket edges of the exchange, spoken to without any client library."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from slt.rules import generic_rules
from slt.types import PricePoint
from slt_sandbox import rest, user_stream
from slt_sandbox.errors import ApiError
from slt_sandbox.fault_points import NoFaults
from slt_sandbox.limits import Limits
from slt_sandbox.settings import ExchangeSettings


class Caller:
    """Signed requests to a floor whose clock stands still."""

    def __init__(self, floor, faults=None):
        self.floor = floor
        self.faults = faults

    async def __aenter__(self):
        app = web.Application()
        app.add_routes(
            [*rest.routes(self.floor.exchange, self.faults), *user_stream.routes(self.floor.exchange, self.faults)]
        )
        self.runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.runner.addresses[0][1]}")
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.runner.cleanup()

    def query(self, given, secret=None):
        text = urlencode({**given, "timestamp": given.get("timestamp", self.floor.time)})
        secret = secret or self.floor.secret
        return f"{text}&signature={hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()}"

    async def __call__(self, method, path, *, key=None, secret=None, signed=True, **given):
        query = self.query(given, secret) if signed else urlencode(given)
        headers = {"X-MBX-APIKEY": self.floor.key if key is None else key}
        async with self.session.request(method, URL(f"{path}?{query}", encoded=True), headers=headers) as response:
            text = await response.text()
            self.headers, self.status = response.headers, response.status
            return json.loads(text) if response.content_type == "application/json" else text


@pytest.fixture
async def call(floor):
    async with Caller(floor) as caller:
        yield caller


ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "95"}


async def test_answer_tells_used_weight_and_orders(call):
    await call("GET", "/fapi/v1/ping", signed=False)
    first = call.headers["X-MBX-USED-WEIGHT-1M"]
    await call("POST", "/fapi/v1/order", **ORDER)

    assert (first, call.headers["X-MBX-USED-WEIGHT-1M"]) == ("1", "1")
    assert (call.headers["X-MBX-ORDER-COUNT-10S"], call.headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")


async def test_list_of_all_symbols_weighs_more(call):
    await call("GET", "/fapi/v1/openOrders")

    assert call.headers["X-MBX-USED-WEIGHT-1M"] == "40"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"key": ""}, 401, -2014),
        ({"key": "stranger"}, 401, -2015),
        ({"secret": "wrong"}, 400, -1022),
        ({"signed": False}, 400, -1102),
        ({"timestamp": 1_000}, 400, -1021),
        ({"recvWindow": 60_001}, 400, -1131),
    ],
)
async def test_request_that_is_not_signed_rightly_is_refused(call, changes, status, code):
    answer = await call("GET", "/fapi/v3/account", **changes)

    assert (call.status, answer["code"]) == (status, code)
    assert call.floor.secret not in json.dumps(answer)


async def test_key_without_the_right_to_trade_is_refused(call):
    call.floor.exchange.add_account("reader", call.floor.secret, 1.0, permissions=())

    assert (await call("GET", "/fapi/v3/account", key="reader"))["code"] == -2015


async def test_key_tells_whether_it_may_withdraw(call):
    call.floor.exchange.add_account("rich", call.floor.secret, 1.0, permissions=("futures", "withdrawals"))

    assert (await call("GET", "/sapi/v1/account/apiRestrictions"))["enableWithdrawals"] is False
    assert (await call("GET", "/sapi/v1/account/apiRestrictions", key="rich"))["enableWithdrawals"] is True


async def test_unknown_address_is_answered_with_a_page(call):
    assert "404" in await call("GET", "/fapi/v1/balance")
    assert call.status == 404


async def test_klines_over_rest_are_refused_and_counted(call):
    answer = await call("GET", "/fapi/v1/klines", signed=False, symbol="BTCUSDT", interval="1m")

    assert (call.status, "WebSocket only" in answer["msg"]) == (403, True)
    assert [entry.detail for entry in call.floor.kinds("kline_request")] == [{"path": "/fapi/v1/klines"}]


async def test_acknowledgement_shows_an_order_new_and_a_result_as_it_is(call):
    market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    plain = await call("POST", "/fapi/v1/order", **market)
    result = await call("POST", "/fapi/v1/order", **market, newOrderRespType="RESULT")

    assert (plain["status"], plain["executedQty"]) == ("NEW", "0")
    assert (result["status"], result["executedQty"]) == ("FILLED", "1")
    assert {"avgPrice", "cumQuote"} & (plain.keys() | result.keys()) == set()


async def test_hedge_mode_is_set_and_then_no_order_is_taken(call):
    assert (await call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true"))["code"] == 200
    assert (await call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true"))["code"] == -4059
    assert await call("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": True}
    for side in ("BOTH", "LONG", "SHORT"):
        refusal = await call("POST", "/fapi/v1/order", **ORDER, positionSide=side)
        assert refusal["code"] == -4061
        assert "one-way mode only" in refusal["msg"]
    assert (await call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false"))["code"] == 200
    assert (await call("POST", "/fapi/v1/order", **ORDER, positionSide="LONG"))["code"] == -4061
    assert (await call("POST", "/fapi/v1/order", **ORDER, positionSide="BOTH"))["status"] == "NEW"


async def test_settings_that_an_order_or_position_blocks_are_refused(call):
    await call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    again = await call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    await call("POST", "/fapi/v1/order", **ORDER)
    ordered = await call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")
    mode = await call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    call.floor.to(94.0)
    held = await call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")
    held_mode = await call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    lower = await call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="5")
    high = await call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="51")

    answers = (again, ordered, mode, held, held_mode, lower, high)
    assert [answer["code"] for answer in answers] == [-4046, -4047, -4067, -4048, -4068, -4161, -4028]


async def test_batches_mix_orders_and_refusals(call):
    rows = [ORDER | {"newClientOrderId": "a"}, ORDER | {"quantity": "0"}, ORDER | {"newClientOrderId": "b"}]
    placed = await call("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(rows))
    ids = json.dumps(["a", "nobody"])
    cancelled = await call("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", origClientOrderIdList=ids)

    assert [row.get("clientOrderId", row.get("code")) for row in placed] == ["a", -4003, "b"]
    assert [row.get("status", row.get("code")) for row in cancelled] == ["CANCELED", -2011]


async def test_batch_of_changes_mixes_orders_and_refusals(call):
    for name in ("a", "b"):
        await call("POST", "/fapi/v1/order", **ORDER | {"newClientOrderId": name})
    one = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "2", "price": "94"}
    rows = [{"origClientOrderId": "a", **one}, {"origClientOrderId": "nobody", **one}, {**one}, "odd"]
    rows.append({"origClientOrderId": "b", **one, "modifyId": 7})
    changed = await call("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps(rows))

    assert (call.headers["X-MBX-ORDER-COUNT-10S"], call.headers["X-MBX-ORDER-COUNT-1M"]) == ("7", "3")
    assert [row.get("clientOrderId", row.get("code")) for row in changed] == ["a", -2013, -1102, -1130, "b"]
    assert [(row["price"], row["origQty"], row.get("modifyId")) for row in (changed[0], changed[4])] == [
        ("94", "2", None),
        ("94", "2", 7),
    ]
    assert (await call("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps(rows * 2)))["code"] == -1130


async def test_margin_moves_to_an_isolated_position_and_back(call):
    move = {"symbol": "BTCUSDT", "amount": "3", "type": "1"}
    cross = await call("POST", "/fapi/v1/positionMargin", **move)
    await call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    flat = await call("POST", "/fapi/v1/positionMargin", **move)
    await call("POST", "/fapi/v1/order", **{**ORDER, "type": "MARKET", "price": "", "timeInForce": ""})
    (before,) = await call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")
    call.floor.words()
    added = await call("POST", "/fapi/v1/positionMargin", **move)
    told = [event["a"]["m"] for event in call.floor.events]
    (after,) = await call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")
    poor = await call("POST", "/fapi/v1/positionMargin", **{**move, "amount": "100000"})
    bare = await call("POST", "/fapi/v1/positionMargin", **{**move, "amount": "3.5", "type": "2"})
    taken = await call("POST", "/fapi/v1/positionMargin", **{**move, "type": "2"})
    rows = await call("GET", "/fapi/v1/positionMargin/history", symbol="BTCUSDT")

    assert [answer["code"] for answer in (cross, flat, poor, bare)] == [-4049, -4054, -4050, -4051]
    assert (added["code"], added["type"], added["amount"], taken["code"]) == (200, 1, 3.0, 200)
    assert told == ["MARGIN_TRANSFER"]
    assert float(after["isolatedWallet"]) == float(before["isolatedWallet"]) + 3
    assert float(after["liquidationPrice"]) < float(before["liquidationPrice"])
    assert [(row["type"], row["amount"]) for row in rows] == [(1, "3"), (2, "3")]


async def test_symbols_of_any_script_are_taken(new_floor):
    rules = generic_rules("币安人生USDT", 100.0)
    floor = new_floor(rules={"币安人生USDT": rules})
    floor.exchange.advance(PricePoint(floor.time, "币安人生USDT", 100.0))
    async with Caller(floor) as call:
        info = await call("GET", "/fapi/v1/exchangeInfo", signed=False)
        placed = await call("POST", "/fapi/v1/order", symbol="币安人生USDT", side="BUY", type="MARKET", quantity="1")

    assert (info["symbols"][0]["baseAsset"], placed["symbol"]) == ("币安人生", "币安人生USDT")


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_weight_over_the_limit_is_refused_then_banned(new_floor):
    floor = new_floor(weight_per_minute=2, ban_after=1, ban_ms=90_000)
    async with Caller(floor) as call:
        statuses, answers = [], []
        for _ in range(5):
            answers.append(await call("GET", "/fapi/v1/ping", signed=False))
            statuses.append(call.status)
        wait = call.headers["Retry-After"]
        floor.time += 90_000
        await call("GET", "/fapi/v1/ping", signed=False)

    assert statuses == [200, 200, 429, 418, 418]
    assert (answers[2]["code"], wait, call.status) == (-1003, "90", 200)
    assert f"banned until {floor.time}" in answers[3]["msg"]
    assert [entry.kind for entry in floor.kinds("limited", "banned")] == ["limited", "banned", "banned"]


async def test_orders_over_the_limit_are_refused_until_the_window_ends(new_floor):
    floor = new_floor(orders_per_10s=1).to(100.0, gap=True)
    async with Caller(floor) as call:
        await call("POST", "/fapi/v1/order", **ORDER)
        second = await call("POST", "/fapi/v1/order", **ORDER)
        status = call.status
        floor.time += 10_000
        await call("POST", "/fapi/v1/order", **ORDER)

    assert (second["code"], status, call.status) == (-1015, 429, 200)
    assert len(floor.account.orders) == 2


async def test_requests_about_funding_share_a_limit_of_their_own(new_floor):
    floor = new_floor(funding_per_5m=3)
    async with Caller(floor) as call:
        for path in ("fundingRate", "fundingInfo", "fundingRate"):
            await call("GET", f"/fapi/v1/{path}", signed=False)
            assert (call.status, call.headers["X-MBX-USED-WEIGHT-1M"]) == (200, "0")
        refusal = await call("GET", "/fapi/v1/fundingInfo", signed=False)
        status, wait = call.status, int(call.headers["Retry-After"])
        await call("GET", "/fapi/v1/time", signed=False)
        other = call.status
        floor.time += 300_000
        await call("GET", "/fapi/v1/fundingRate", signed=False)

    assert (refusal["code"], status, other, call.status) == (-1003, 429, 200, 200)
    assert 0 < wait <= 300


def test_limits_count_each_address_and_account_by_itself():
    limits = Limits(ExchangeSettings(weight_per_minute=1, orders_per_minute=1))
    limits.use_weight("a", 1, 0)
    limits.use_weight("b", 1, 0)
    limits.use_orders("x", 0)

    with pytest.raises(ApiError):
        limits.use_weight("a", 1, 59_999)
    assert limits.use_weight("a", 1, 60_000) == 1
    assert limits.order_counts("x", 1) == (1, 1)
    assert limits.order_counts("y", 1) == (0, 0)


# -- faults ------------------------------------------------------------------------------------------------------------


class _Refusing(NoFaults):
    async def before_rest(self, request, method, path):
        return web.json_response({"code": -1008, "msg": "throttled"}, status=503) if method == "POST" else None


class _Losing(NoFaults):
    async def after_rest(self, request, response):
        request.transport.abort()
        return response


class _Doubling(NoFaults):
    async def order_user_events(self, events):
        return [*reversed(events), *events]


async def test_fault_before_a_request_keeps_the_exchange_from_hearing_it(floor):
    async with Caller(floor, _Refusing()) as call:
        answer = await call("POST", "/fapi/v1/order", **ORDER)

    assert (call.status, answer["code"], floor.account.orders) == (503, -1008, {})


async def test_fault_after_a_request_loses_the_answer_of_an_order_that_was_taken(floor):
    async with Caller(floor, _Losing()) as call:
        with pytest.raises(aiohttp.ClientConnectionError):
            await call("POST", "/fapi/v1/order", **ORDER)

    assert [order.status for order in floor.account.orders.values()] == ["NEW"]


# -- user stream -------------------------------------------------------------------------------------------------------


async def _key(call):
    return (await call("POST", "/fapi/v1/listenKey", signed=False))["listenKey"]


async def _events(socket, count):
    async with asyncio.timeout(25.0):
        return [await socket.receive_json() for _ in range(count)]


@pytest.mark.parametrize(
    ("address", "is_wrapped"),
    [
        ("/private/ws/{key}", False),
        ("/private/ws?listenKey={key}", False),
        ("/private/stream?listenKey={key}", True),
        ("/private/stream?streams={key}", True),
        ("/private/stream?listenKey=nobody&listenKey={key}", True),
    ],
)
async def test_user_stream_opens_in_every_form(call, address, is_wrapped):
    key = await _key(call)
    async with call.session.ws_connect(address.format(key=key)) as socket:
        call.floor.order("BUY", "1", "LIMIT", price="95", newClientOrderId="e")
        (event,) = await _events(socket, 1)

    if is_wrapped:
        assert event["stream"] == key
        event = event["data"]
    assert (event["e"], event["o"]["c"], event["o"]["X"]) == ("ORDER_TRADE_UPDATE", "e", "NEW")


async def test_user_stream_is_subscribed_listed_and_left(call):
    key = await _key(call)
    async with call.session.ws_connect("/private/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": [key], "id": "a-b"})
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        await socket.send_json({"method": "UNSUBSCRIBE", "params": [key], "id": 3})
        answers = await _events(socket, 3)
        call.floor.order("BUY", "1")
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 4})
        last = await _events(socket, 1)

    assert answers == [{"result": None, "id": "a-b"}, {"result": [key], "id": 2}, {"result": None, "id": 3}]
    assert last == [{"result": [], "id": 4}]


async def test_user_stream_brings_only_the_events_asked_for(call):
    key = await _key(call)
    async with call.session.ws_connect(f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE/TRADE_LITE") as socket:
        call.floor.order("BUY", "1")
        found = await _events(socket, 2)

    assert [event["e"] for event in found] == ["TRADE_LITE", "ACCOUNT_UPDATE"]


async def test_user_stream_says_that_its_key_ended_and_is_silent_after(call):
    key = await _key(call)
    async with call.session.ws_connect(f"/private/ws/{key}") as socket:
        call.floor.to(100.0, after=3_600_001)
        (event,) = await _events(socket, 1)
        call.floor.order("BUY", "1")
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        after = await _events(socket, 1)

    assert (event["e"], event["listenKey"]) == ("listenKeyExpired", key)
    assert after == [{"result": [key], "id": 1}]


async def test_user_stream_of_an_unknown_key_is_open_and_silent(call):
    async with call.session.ws_connect("/private/ws/nobody") as socket:
        call.floor.order("BUY", "1")
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})

        assert await _events(socket, 1) == [{"result": ["nobody"], "id": 1}]


async def test_user_events_go_through_the_faults(floor):
    async with Caller(floor, _Doubling()) as call:
        key = await _key(call)
        async with call.session.ws_connect(f"/private/ws/{key}") as socket:
            floor.order("BUY", "1")
            found = await _events(socket, 8)

    words = [event["e"] for event in found]
    assert words[:4] == words[7:3:-1]
    assert words[3] == "ORDER_TRADE_UPDATE"


async def test_listen_key_is_the_same_until_it_is_closed(call):
    first, second = await _key(call), await _key(call)
    kept = await call("PUT", "/fapi/v1/listenKey", signed=False)
    closed = await call("DELETE", "/fapi/v1/listenKey", signed=False)
    gone = await call("PUT", "/fapi/v1/listenKey", signed=False)

    assert first == second == kept["listenKey"]
    assert (len(first), closed, gone["code"]) == (64, {}, -1125)
    assert await _key(call) != first
