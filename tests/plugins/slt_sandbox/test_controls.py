"""Control words of the market streams, each answer word for word."""

from __future__ import annotations

import json

import pytest

from slt_sandbox.controls import answer_control
from slt_sandbox.hub import Connection, Hub, NoLineFaults, route_of


def make(route="market"):
    hub = Hub()
    connection = Connection(None, hub.next_number(), route, is_combined=True, opened=0, faults=NoLineFaults())
    hub.admit(connection)
    return hub, connection


def ask(request, pair=None):
    hub, connection = pair or make()
    return json.loads(answer_control(request if isinstance(request, str) else json.dumps(request), connection, hub))


VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ('{"method": ', 3, "Invalid JSON: expected value at line 1 column 12"),
        ("[1]", 2, "Invalid request: expected a JSON object"),
        ({"id": 1}, 2, "Invalid request: missing field `method` at line 1 column 8"),
        (
            {"method": "KNOCK", "id": 1},
            2,
            f"Invalid request: unknown variant `KNOCK`, expected one of {VARIANTS} at line 1 column 28",
        ),
        (
            {"method": "SUBSCRIBE", "params": ["a"], "id": 1.5},
            2,
            "Invalid request: request ID must be an unsigned integer",
        ),
        ({"method": "SUBSCRIBE", "id": 1}, 2, "Invalid request: missing field `params` at line 1 column 1"),
        ({"method": "SUBSCRIBE", "params": [3], "id": 1}, 2, "Invalid request: stream name must be a string"),
        ({"method": "SUBSCRIBE", "params": "a", "id": 1}, 2, "Invalid request: invalid type, expected a sequence"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "Invalid request: too many parameters"),
        ({"method": "GET_PROPERTY", "params": [1], "id": 1}, 2, "Invalid request: property name must be a string"),
        ({"method": "GET_PROPERTY", "params": ["colour"], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", 3], "id": 1}, 1, "Invalid value type: expected Boolean"),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1, "Invalid value type: expected Boolean"),
    ],
)
def test_answer_control_refusals(request_, code, message):
    answer = ask(request_)
    answer.pop("id", None)
    assert answer == {"code": code, "msg": message}


@pytest.mark.parametrize("identity", [1, 0, "3f2a-uuid"])
def test_answer_control_echoes_whatever_id_came(identity):
    assert ask({"method": "SUBSCRIBE", "params": ["x@kline_1m"], "id": identity}) == {"result": None, "id": identity}


def test_answer_control_subscriptions_are_listed_changed_and_undone():
    pair = make()
    assert ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}, pair)["result"] == []
    ask({"method": "SUBSCRIBE", "params": ["a@kline_1m", "!ticker@arr", "nonsense"], "id": 2}, pair)
    assert ask({"method": "LIST_SUBSCRIPTIONS", "id": 3}, pair)["result"] == ["a@kline_1m", "!ticker@arr", "nonsense"]
    assert set(pair[0].listened()) == {"a@kline_1m", "!ticker@arr"}
    assert ask({"method": "UNSUBSCRIBE", "params": ["a@kline_1m"], "id": 4}, pair) == {"result": None, "id": 4}
    assert pair[0].listened() == ["!ticker@arr"]


def test_answer_control_combined_can_be_read_and_set():
    pair = make()
    assert ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 1}, pair)["result"] is True
    ask({"method": "SET_PROPERTY", "params": ["combined", False], "id": 2}, pair)
    assert ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 3}, pair)["result"] is False


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@kline_1m", "market"),
        ("btcusdt_perpetual@continuousKline_1m", "market"),
        ("btcusdt@markPrice", "market"),
        ("btcusdt@markPrice@1s", "market"),
        ("!markPrice@arr@1s", "market"),
        ("!ticker@arr", "market"),
        ("!miniTicker@arr", "market"),
        ("!contractInfo", "market"),
        ("!forceOrder@arr", "market"),
        ("btcusdt@aggTrade", "market"),
        ("btcusdt@bookTicker", "public"),
        ("!bookTicker", "public"),
        ("btcusdt@depth5@100ms", "public"),
        ("币安usdt@kline_1m", "market"),
        ("0", ""),
        ("btcusdt", ""),
    ],
)
def test_route_of_each_stream(stream, route):
    assert route_of(stream) == route


@pytest.mark.parametrize(
    ("route", "heard"),
    [("market", ["a@kline_1m"]), ("public", ["a@bookTicker"]), ("unrouted", ["a@bookTicker"])],
)
def test_subscribe_on_a_wrong_route_is_taken_and_stays_silent(route, heard):
    hub, connection = make(route)
    assert ask({"method": "SUBSCRIBE", "params": ["a@kline_1m", "a@bookTicker"], "id": 1}, (hub, connection)) == {
        "result": None,
        "id": 1,
    }
    assert list(connection.streams) == ["a@kline_1m", "a@bookTicker"]
    assert hub.listened() == heard
