"""Faults of requests over the WebSocket API: those of the REST requests that they stand for."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import websockets

sys.path.insert(0, str(Path(__file__).parent))

from arena import KEY, SECRET, SYMBOLS, GivenFeed, arena, client, frames, klines, ws_url

from slt_sandbox.signing import sorted_text

A = SYMBOLS[0]


@asynccontextmanager
async def opened(*faults):
    """A sandbox whose market has begun, and how to ask it over its WebSocket API."""
    async with arena(GivenFeed(minutes=5_000), speed=60.0, faults=faults) as box:
        async with client(box, streams=klines()) as stream:
            await frames(stream, 2)
        async with websockets.connect(ws_url(box, "/ws-fapi/v1")) as socket:

            async def ask(method, **params):
                given = {**params, "apiKey": KEY, "timestamp": box.exchange.clock()}
                signature = hmac.new(SECRET.encode(), sorted_text(given).encode(), hashlib.sha256).hexdigest()
                frame = {"id": "7", "method": method, "params": given | {"signature": signature}}
                await socket.send(json.dumps(frame))
                return json.loads(await socket.recv())

            async def buy(**more):
                return await ask("order.place", symbol=A, side="BUY", type="MARKET", quantity="1", **more)

            yield box, ask, buy


def taken(box):
    return [entry.detail["client_id"] for entry in box.exchange.ledger.of("order")]


def struck(box):
    return [entry.detail["name"] for entry in box.exchange.ledger.of("fault")]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("error_2019", 400, -2019),
        ("error_1021", 400, -1021),
        ("error_1008", 503, -1008),
        ("http_503_unavailable", 503, -1000),
        ("http_403", 403, -1000),
        ("http_429", 429, -1003),
        ("http_418", 418, -1003),
    ],
)
async def test_ws_order_is_refused_by_a_fault_and_not_taken(fault, status, code):
    async with opened(fault) as (box, _, buy):
        answer = await buy(newClientOrderId="one")
        assert (answer["id"], answer["status"], answer["error"]["code"]) == ("7", status, code)
        assert answer["error"]["msg"]
        assert "rateLimits" in answer
        assert (taken(box), struck(box)) == ([], [fault])


async def test_ws_order_goes_through_once_the_fault_is_spent():
    async with opened("error_2019") as (box, _, buy):
        await buy(newClientOrderId="one")
        assert (await buy(newClientOrderId="two"))["status"] == 200
        assert taken(box) == ["two"]


@pytest.mark.parametrize(("fault", "is_taken"), [("answer_lost", True), ("request_lost", False)])
async def test_ws_line_that_breaks_leaves_the_order_taken_or_not(fault, is_taken):
    async with opened(f"{fault} path=/fapi/v1/order method=POST") as (box, _, buy):
        with pytest.raises(websockets.ConnectionClosedError):
            await buy(newClientOrderId="gone")
        assert taken(box) == (["gone"] if is_taken else [])


async def test_ws_outcome_in_doubt_is_either():
    async with opened("http_503_unknown times=0 path=/fapi/v1/order method=POST") as (box, ask, buy):
        answers = [await buy(newClientOrderId=f"c{n}") for n in range(16)]
        known = [(await ask("order.status", symbol=A, origClientOrderId=f"c{n}"))["status"] for n in range(16)]
        assert {(one["status"], one["error"]["code"]) for one in answers} == {(503, -1000)}
        assert 2 <= len(taken(box)) <= 14
        assert [f"c{n}" for n, status in enumerate(known) if status == 200] == taken(box)


async def test_ws_throttling_lets_through_what_reduces_risk():
    async with opened("error_1008 times=0 nth=2") as (_, ask, buy):
        assert (await buy())["status"] == 200
        assert (await buy())["status"] == 503
        closing = await ask("order.place", symbol=A, side="SELL", type="MARKET", quantity="1", reduceOnly=True)
        assert closing["status"] == 200


async def test_ws_rule_about_another_symbol_or_request_is_passed_over():
    async with opened(f"error_2019 symbol={SYMBOLS[1]}", "http_500 path=/fapi/v1/algoOrder") as (box, ask, buy):
        assert (await buy())["status"] == 200
        assert (await ask("v2/account.balance"))["status"] == 200
        assert struck(box) == []


@pytest.mark.parametrize("fault", ["request_late", "answer_late", "fill_before_ack"])
async def test_ws_order_that_waits_is_taken_all_the_same(fault):
    async with opened(f"{fault} path=/fapi/v1/order method=POST seconds=0.05") as (box, _, buy):
        assert (await buy(newClientOrderId="late"))["status"] == 200
        assert (taken(box), struck(box)) == (["late"], [fault])


async def test_ws_frame_that_names_no_method_is_refused_and_strikes_nothing():
    async with opened("error_1021 times=0") as (box, ask, _):
        answer = await ask("order.odd")
        assert (answer["status"], answer["error"]["code"]) == (400, -1130)
        assert struck(box) == []
