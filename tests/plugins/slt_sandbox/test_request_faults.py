"""Faults of requests, answers, user events, and of the exchange as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arena import (
    KEY,
    MINUTE,
    SECRET,
    SYMBOLS,
    WAIT,
    GivenFeed,
    arena,
    client,
    frames,
    http,
    klines,
    post,
    until,
    ws_url,
)

A = SYMBOLS[0]
HEADERS = {"X-MBX-APIKEY": KEY}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_STATUS = {"http_408": 408, "http_500": 500, "http_502": 502, "http_503_unknown": 503, "error_1007": 408}
LONG = {"feed": GivenFeed(minutes=5_000), "speed": 60.0}


async def call(box, method, path, **parameters):
    """A signed request; gives status, body and headers, or None where the line broke."""
    query = urlencode({**parameters, "timestamp": box.exchange.clock()})
    signature = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
    url = f"{box.url}{path}?{query}&signature={signature}"
    try:
        async with http() as session, session.request(method, url, headers=HEADERS) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text, answer.headers
    except aiohttp.ServerDisconnectedError:
        return None


async def buy(box, **more):
    return await call(
        box, "POST", "/fapi/v1/order", **{"symbol": A, "side": "BUY", "type": "MARKET", "quantity": 1, **more}
    )


async def test_order_at_market_between_two_bars_fills_at_the_open_of_the_next():
    feed = GivenFeed(minutes=30)
    async with Started(feed=feed, speed=6_000.0, delays=(0, 0), is_stepped=True) as box:
        await until(lambda: box.player.is_between_bars)
        await buy(box)
        assert not list(box.exchange.ledger.of("fill"))
        box.player.step()
        await until(lambda: box.player.rows == 2)
        (fill,) = box.exchange.ledger.of("fill")
        assert fill.detail["price"] == pytest.approx(feed.bars.open[1, 0])


async def test_request_that_is_late_is_carried_out_all_the_same():
    async with Started("request_late path=/fapi/v1/order method=POST seconds=0.4") as box:
        buying = asyncio.create_task(buy(box, newClientOrderId="late"))
        await until(lambda: list(box.exchange.ledger.of("fault")))  # the request is here, and waits
        assert taken(box) == []
        assert (await buying)[0] == 200
        assert taken(box) == ["late"]


def taken(box):
    return [entry.detail["client_id"] for entry in box.exchange.ledger.of("order")]


class Started:
    """A sandbox whose market has begun."""

    def __init__(self, *faults, **options):
        self.running = arena(**{**LONG, **options}, faults=faults)

    async def __aenter__(self):
        box = await self.running.__aenter__()
        async with client(box, streams=klines()) as socket:
            await frames(socket, 2)
        return box

    async def __aexit__(self, *error):
        await self.running.__aexit__(*error)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("error_1008", 503, -1008),
        ("error_1021", 400, -1021),
        ("error_2019", 400, -2019),
        ("error_2022", 400, -2022),
        ("error_4120", 400, -4120),
        ("error_4164", 400, -4164),
        ("http_503_unavailable", 503, -1000),
        ("http_503_internal", 503, -1000),
    ],
)
async def test_refusal_of_an_order_is_certain(fault, status, code):
    async with Started(fault) as box:
        got, body, _ = await buy(box, newClientOrderId="one")
        assert (got, body["code"]) == (status, code)
        assert "{" not in body["msg"]
        assert taken(box) == []
        assert (await buy(box, newClientOrderId="two"))[0] == 200
        assert taken(box) == ["two"]


@pytest.mark.parametrize("fault", ["http_408", "http_500", "http_502", "http_503_unknown", "error_1006", "error_1007"])
async def test_outcome_of_an_order_in_doubt_is_either(fault):
    async with Started(f"{fault} times=0 path=/fapi/v1/order method=POST") as box:
        answers = [await buy(box, newClientOrderId=f"c{n}", quantity=0.1) for n in range(24)]
        assert {status for status, _, _ in answers} == {_STATUS.get(fault, 400)}
        assert 4 <= len(taken(box)) <= 20
        for number in range(24):
            status, _, _ = await call(box, "GET", "/fapi/v1/order", symbol=A, origClientOrderId=f"c{number}")
            assert (status == 200) is (f"c{number}" in taken(box))


async def test_throttling_lets_orders_through_that_reduce_risk():
    async with Started("error_1008 times=0") as box:
        assert (await buy(box))[0] == 503
        box.faults.schedule._armed.clear()
        assert (await buy(box))[0] == 200
        await post(box, "/sandbox/faults", "error_1008 times=0")
        assert (await call(box, "DELETE", "/fapi/v1/allOpenOrders", symbol=A))[0] == 200
        assert (await buy(box, side="SELL", reduceOnly="true"))[0] == 200
        assert (await buy(box))[0] == 503


async def test_too_many_requests_lasts_and_says_how_long():
    async with Started("http_429 seconds=4") as box:
        status, body, headers = await call(box, "GET", "/fapi/v3/balance")
        assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "4")
        assert (await call(box, "GET", "/fapi/v3/balance"))[0] == 429
        async with asyncio.timeout(WAIT):
            while (await call(box, "GET", "/fapi/v3/balance"))[0] != 200:  # noqa: ASYNC110 - the answer is the event
                await asyncio.sleep(0.2)


async def test_ban_tells_until_when():
    async with Started("http_418 seconds=1") as box:
        status, body, _ = await call(box, "GET", "/fapi/v3/balance")
        until = int(body["msg"].partition("banned until ")[2].partition(".")[0])
        assert (status, body["code"]) == (418, -1003)
        assert until > box.exchange.clock() - 10 * MINUTE  # market time runs on meanwhile, sixty seconds in one


async def test_firewall_answers_with_a_page():
    async with Started("http_403") as box:
        status, body, headers = await call(box, "GET", "/fapi/v3/balance")
        assert status == 403
        assert body.startswith("<html>")
        assert headers["Content-Type"].startswith("text/html")


async def test_conditional_order_that_would_trigger_at_once_is_refused():
    stop = {"algoType": "CONDITIONAL", "symbol": A, "side": "SELL", "type": "STOP_MARKET", "quantity": 1}
    async with Started("error_2021") as box:
        stop["triggerPrice"] = f"{box.exchange.last_price(A) * 0.9:.2f}"
        assert (await buy(box))[0] == 200  # not about these
        answers = [await call(box, "POST", "/fapi/v1/algoOrder", **stop, clientAlgoId=f"s{n}") for n in range(2)]
        assert [(status, body.get("code")) for status, body, _ in answers] == [(400, -2021), (200, None)]
        assert [entry.detail["client_id"] for entry in box.exchange.ledger.of("algo")] == ["s1"]


async def test_answer_that_is_late_comes_after_what_it_tells_of():
    async with Started("answer_late path=/fapi/v1/order method=POST seconds=0.5") as box:
        buying = asyncio.create_task(buy(box, newClientOrderId="slow"))
        await until(lambda: taken(box) == ["slow"])
        assert not buying.done()
        assert (await buying)[0] == 200


@pytest.mark.parametrize(("fault", "is_taken"), [("answer_lost", True), ("request_lost", False)])
async def test_line_that_breaks_leaves_the_order_taken_or_not(fault, is_taken):
    async with Started(f"{fault} path=/fapi/v1/order method=POST") as box:
        assert await buy(box, newClientOrderId="gone") is None
        assert taken(box) == (["gone"] if is_taken else [])


async def test_fault_in_a_form_body_is_about_its_symbol_and_the_request_is_read_all_the_same():
    async with Started(f"error_2019 symbol={SYMBOLS[1]}") as box, http() as session:
        for symbol, status in ((A, 200), (SYMBOLS[1], 400)):
            body = urlencode({"symbol": symbol, "side": "BUY", "type": "MARKET", "quantity": 1, "timestamp": 1})
            signature = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
            given = {"data": f"{body}&signature={signature}", "headers": HEADERS | _FORM}
            async with session.post(f"{box.url}/fapi/v1/order", **given) as answer:
                assert answer.status == status


async def user_stream(box, session):
    async with session.post(f"{box.url}/fapi/v1/listenKey", headers=HEADERS) as answer:
        key = (await answer.json())["listenKey"]
    return await session.ws_connect(f"{ws_url(box, '/private/ws/')}{key}")


async def hear(socket, word, seconds=WAIT):
    """Names of the events up to the first of a kind."""
    heard = []
    async with asyncio.timeout(seconds):
        while word not in heard:
            heard.append((await socket.receive_json())["e"])
    return heard


async def up_to_fill(socket, count):
    """Every event up to the one that tells of a fill for the last of so many times."""
    heard, fills = [], 0
    async with asyncio.timeout(WAIT):
        while fills < count:
            heard.append(await socket.receive_json())
            fills += heard[-1]["e"] == "ORDER_TRADE_UPDATE" and heard[-1]["o"]["x"] == "TRADE"
    return heard


async def order_of_ack_and_fill(box):
    """Which came first: the answer to an order, or its fill."""
    happened = []
    async with http() as session:
        socket = await user_stream(box, session)

        async def ask():
            assert (await buy(box))[0] == 200
            happened.append("ack")

        async def listen():
            await hear(socket, "ORDER_TRADE_UPDATE")
            happened.append("fill")

        await asyncio.gather(ask(), listen())
        await socket.close()
    return happened


async def test_fill_before_the_answer_to_its_order():
    async with Started("fill_before_ack seconds=0.7") as box:
        assert await order_of_ack_and_fill(box) == ["fill", "ack"]


async def test_answer_to_an_order_before_its_fill():
    async with Started("ack_before_fill seconds=0.7") as box:
        assert await order_of_ack_and_fill(box) == ["ack", "fill"]


async def test_user_events_twice():
    async with Started("user_duplicate") as box, http() as session:
        socket = await user_stream(box, session)
        await buy(box)
        heard = await up_to_fill(socket, 2)
        half = len(heard) // 2
        assert half >= 2
        assert heard[half:] == heard[:half]
        await socket.close()


async def test_user_stream_that_is_silent_loses_events_and_then_speaks():
    async with Started("user_silent seconds=0.6") as box, http() as session:
        socket = await user_stream(box, session)
        await buy(box)
        await until(lambda: list(box.exchange.ledger.of("fault")))
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.3)
        await until(lambda: asyncio.get_running_loop().time() > box.faults._user_silent_until)
        await buy(box)
        assert await hear(socket, "ORDER_TRADE_UPDATE")
        await socket.close()


async def test_user_stream_that_is_cut_ends_without_a_word():
    async with Started() as box, http() as session:
        socket = await user_stream(box, session)
        await post(box, "/sandbox/faults", "user_cut")
        assert (await socket.receive(timeout=WAIT)).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        assert socket.close_code == 1006


async def test_listen_key_that_expired_says_so_and_is_silent_then():
    async with Started() as box, http() as session:
        socket = await user_stream(box, session)
        await post(box, "/sandbox/faults", "listen_key_expired")
        assert await hear(socket, "listenKeyExpired") == ["listenKeyExpired"]
        await buy(box)
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.4)
        await socket.close()


async def test_clock_that_jumped_is_told_by_the_exchange():
    async with Started() as box:
        before = box.exchange.clock()
        await post(box, "/sandbox/faults", "clock_jump seconds=3600")
        assert box.exchange.clock() >= before + 3_600_000


@pytest.mark.parametrize(("fault", "prefix"), [("liquidation", "autoclose"), ("adl", "adl_autoclose")])
async def test_position_is_closed_by_the_exchange(fault, prefix):
    async with Started() as box, http() as session:
        socket = await user_stream(box, session)
        await post(box, "/sandbox/faults", fault)  # waits: there is nothing to close yet
        assert [e for e in box.exchange.ledger.of("fault") if e.detail["name"] == fault] == []
        await buy(box)
        await hear(socket, "ORDER_TRADE_UPDATE")
        box._world.turn()
        async with asyncio.timeout(WAIT):
            while True:
                event = await socket.receive_json()
                if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["c"].startswith(prefix):
                    break
        assert box.exchange.accounts()[0].book.positions() == ()
        await socket.close()


async def test_delisting_settles_positions_and_ends_trading():
    async with Started() as box:
        await buy(box)
        await post(box, "/sandbox/faults", f"delisting symbol={A}")
        assert box.state()["symbols"][A] == "CLOSE"
        assert box.exchange.accounts()[0].book.positions() == ()
        assert (await buy(box))[0] == 400


async def test_halt_ends_after_its_time():
    async with Started(speed=3_000.0) as box:
        box.player.pause()
        await post(box, "/sandbox/faults", f"halt symbol={A} seconds=600")
        assert box.state()["symbols"][A] == "PRE_SETTLE"
        box.player.resume()
        await until(lambda: box.state()["symbols"][A] == "TRADING")


async def test_listing_keeps_a_symbol_shut_until_it_is_due():
    rules = [f"listing symbol={A} after_seconds=600"]
    async with arena(LONG["feed"], speed=3_000.0, faults=rules, wait_for_clients=1) as box:
        assert box.state()["symbols"][A] == "PENDING_TRADING"
        async with client(box, streams=klines([A])) as socket:
            first = json.loads((await frames(socket, 1))[0])["data"]
        assert first["k"]["t"] >= GivenFeed().start + 600_000
        assert box.state()["symbols"][A] == "TRADING"


async def test_stall_lets_everything_stand_still():
    async with Started() as box:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await post(box, "/sandbox/faults", "stall seconds=0.5")
        assert loop.time() - begun >= 0.5


async def test_algo_update_after_the_events_of_the_order_it_set_off():
    async with Started("algo_after_fill times=0", speed=600.0) as box, http() as session:
        await buy(box)
        box.player.pause()
        price = box.exchange.last_price(A)
        for side in (0.9995, 0.9999):
            await call(
                box,
                "POST",
                "/fapi/v1/algoOrder",
                algoType="CONDITIONAL",
                symbol=A,
                side="SELL",
                type="STOP_MARKET",
                quantity=0.5,
                triggerPrice=f"{price * side:.2f}",
                reduceOnly="true",
            )
        socket = await user_stream(box, session)
        box.player.resume()
        heard = []
        async with asyncio.timeout(WAIT):
            while not any(e["e"] == "ALGO_UPDATE" and e["o"]["X"] == "FINISHED" for e in heard):
                heard.append(await socket.receive_json())
        words = [e["e"] for e in heard]
        assert words.index("ORDER_TRADE_UPDATE") < words.index("ALGO_UPDATE")
        await socket.close()
