"""The REST client against a real server on 127.0.0.1: statuses, headers, timeouts, resets, clocks, secrets."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

import pytest

from slt_binance.client import Client, Credentials
from slt_binance.endpoints import Endpoints
from slt_binance.faults import Action, ExchangeError
from slt_binance.signing import HmacSigner, encode

KEY, SECRET = "key-of-the-test-account", "secret-of-the-test-account"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001", "newClientOrderId": "slt-1"}
LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("slt_binance.client._FIRST_WAIT_S", 0.001)


async def fails(client, endpoint, **parameters):
    with pytest.raises(ExchangeError) as caught:
        await client.call(endpoint, **parameters)
    return caught.value


async def test_call_signed_request_is_signed_as_sent(server, client):
    server.say("GET", "/fapi/v3/account", {"assets": []})
    assert await client.call(Endpoints.ACCOUNT) == {"assets": []}
    (seen,) = server.calls("/fapi/v3/account")
    payload, _, signature = seen.raw.rpartition("&signature=")
    assert HmacSigner(SECRET).sign(payload) == signature
    assert seen.headers["X-MBX-APIKEY"] == KEY
    assert abs(int(seen.parameters["timestamp"]) - time.time() * 1000) < 5_000
    assert seen.parameters["recvWindow"] == "5000"


async def test_call_order_goes_as_form_with_every_parameter_in_order(server, client):
    server.say("POST", "/fapi/v1/order", {"orderId": 1})
    await client.call(Endpoints.PLACE_ORDER, **ORDER, price=None, reduceOnly=True)
    (seen,) = server.calls("/fapi/v1/order")
    assert list(seen.parameters) == [*ORDER, "reduceOnly", "recvWindow", "timestamp", "signature"]
    assert seen.parameters["reduceOnly"] == "true"
    assert seen.headers["Content-Type"].startswith("application/x-www-form-urlencoded")


async def test_call_other_script_arrives_whole_and_rightly_signed(server, client):
    server.say("GET", "/fapi/v1/order", {"orderId": 1})
    await client.call(Endpoints.QUERY_ORDER, symbol="币安人生USDT", origClientOrderId="a:b/c")
    (seen,) = server.calls("/fapi/v1/order")
    assert seen.parameters["symbol"] == "币安人生USDT"
    assert seen.raw.startswith(encode({"symbol": "币安人生USDT", "origClientOrderId": "a:b/c"}))


async def test_call_public_and_key_only_calls_carry_no_signature(server, make_client):
    client = make_client(credentials=None)
    server.say("GET", "/fapi/v1/exchangeInfo", {"symbols": []})
    await client.call(Endpoints.EXCHANGE_INFO)
    assert "X-MBX-APIKEY" not in server.seen[-1].headers
    error = await fails(client, Endpoints.START_STREAM)
    assert error.action is Action.FATAL
    server.say("POST", "/fapi/v1/listenKey", {"listenKey": "k"})
    assert await make_client().call(Endpoints.START_STREAM) == {"listenKey": "k"}
    assert server.seen[-1].parameters == {}
    assert server.seen[-1].headers["X-MBX-APIKEY"] == KEY


@pytest.mark.parametrize(
    "failure",
    [
        (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
        (503, "<html>"),
        (502, ""),
        (408, "timeout"),
        (400, {"code": -1007, "msg": "Timeout waiting for response from backend server."}),
        "reset",
        (200, "<html>not json</html>"),
        (200, '{"orderId": 1, "cut'),
    ],
)
async def test_call_order_of_unknown_outcome_is_sent_once_reads_are_repeated(server, client, failure):
    server.say("POST", "/fapi/v1/order", failure)
    error = await fails(client, Endpoints.PLACE_ORDER, **ORDER)
    assert error.action is Action.UNKNOWN
    assert len(server.calls("/fapi/v1/order")) == 1
    server.say("GET", "/fapi/v1/openOrders", failure, failure, [])
    assert await client.call(Endpoints.OPEN_ORDERS) == []
    assert len(server.calls("/fapi/v1/openOrders")) >= 3


async def test_call_order_without_answer_in_time_is_unknown(server, make_client):
    client = make_client(timeout_seconds=0.2)
    server.say("POST", "/fapi/v1/order", "silent")
    error = await fails(client, Endpoints.PLACE_ORDER, **ORDER)
    assert error.action is Action.UNKNOWN
    assert "did not answer in time" in str(error)
    assert len(server.calls("/fapi/v1/order")) == 1


@pytest.mark.parametrize(
    "failure",
    [
        (503, {"code": -1008, "msg": "Request throttled by system-level protection."}),
        (503, "Service Unavailable."),
        (503, {"msg": "Internal error; unable to process your request. Please try again."}),
    ],
)
async def test_call_order_that_certainly_failed_is_tried_again_a_few_times(server, client, failure):
    server.say("POST", "/fapi/v1/order", failure, failure, {"orderId": 7})
    assert await client.call(Endpoints.PLACE_ORDER, **ORDER) == {"orderId": 7}
    server.say("POST", "/fapi/v1/order", *[failure] * 9)
    assert (await fails(client, Endpoints.PLACE_ORDER, **ORDER)).action is Action.RETRY
    assert len(server.calls("/fapi/v1/order")) == 3 + 5


async def test_call_without_a_listener_is_no_route_and_certainly_not_sent(make_client, unused_tcp_port):
    client = make_client(url=f"http://127.0.0.1:{unused_tcp_port}")
    error = await fails(client, Endpoints.TIME)
    assert error.action is Action.RETRY
    assert f"no connection to 127.0.0.1:{unused_tcp_port}" in str(error)


async def test_call_order_refused_tells_code_and_reason_once(server, client):
    server.say("POST", "/fapi/v1/order", (400, {"code": -2019, "msg": "Margin is insufficient."}))
    error = await fails(client, Endpoints.PLACE_ORDER, **ORDER)
    assert (error.action, error.code) == (Action.REJECTED, -2019)
    assert "Margin is insufficient" in str(error)
    assert len(server.calls("/fapi/v1/order")) == 1


async def test_call_no_need_to_change_counts_as_done(server, client):
    server.say("POST", "/fapi/v1/marginType", (400, {"code": -4046, "msg": "No need to change margin type."}))
    assert await client.call(Endpoints.SET_MARGIN_TYPE, symbol="BTCUSDT", marginType="ISOLATED") == {}


async def test_call_answer_with_a_code_as_text_is_a_success(server, client):
    server.say("DELETE", "/fapi/v1/algoOrder", {"algoId": 1, "clientAlgoId": "a", "code": "200", "msg": "success"})
    assert (await client.call(Endpoints.CANCEL_ALGO, clientAlgoId="a"))["algoId"] == 1


async def test_call_too_old_is_repeated_once_with_the_clock_measured_again(server, client):
    await client.sync_clock()
    server.skew_ms = 7_000
    stale = (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
    server.say("POST", "/fapi/v1/order", stale, {"orderId": 3})
    assert await client.call(Endpoints.PLACE_ORDER, **ORDER) == {"orderId": 3}
    first, second = (int(seen.parameters["timestamp"]) for seen in server.calls("/fapi/v1/order"))
    assert 6_000 < second - first < 9_000
    server.say("POST", "/fapi/v1/order", stale, stale, stale)
    assert (await fails(client, Endpoints.PLACE_ORDER, **ORDER)).action is Action.RESYNC
    assert len(server.calls("/fapi/v1/order")) == 4


async def test_call_without_a_time_of_its_own_refused_for_the_clock_ends(server, client):
    server.say("GET", "/fapi/v1/time", (400, {"code": -1021, "msg": "Timestamp outside of the recvWindow."}))
    async with asyncio.timeout(5.0):
        with pytest.raises(ExchangeError):
            await client.sync_clock()
    await client.sync_clock()


async def test_clock_of_the_machine_may_be_off_or_jump(server, client, monkeypatch):
    server.skew_ms = 3_600_000
    ahead = await client.sync_clock()
    assert -3_601_000 < ahead < -3_599_000
    before = client.now
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert abs(client.now - before) < 2_000


@pytest.mark.parametrize("skew_ms", [3_600_000, -3_600_000, -(10**12)])
async def test_pause_asked_for_before_the_clock_is_known_lasts_no_longer_for_it(server, make_client, skew_ms):
    client = make_client(longest_pause_seconds=0.0)
    server.skew_ms = skew_ms
    server.say("GET", "/fapi/v3/account", (403, "<html>Request blocked</html>"))
    await fails(client, Endpoints.ACCOUNT)
    client.budgets.blocked_until -= 20_000
    await client.sync_clock()
    assert client.budgets.wait_ms(client.now, 1, 0, is_urgent=False) == 0
    client.budgets.blocked_until += 20_000
    assert 8_000 < client.budgets.wait_ms(client.now, 1, 0, is_urgent=False) < 16_000


@pytest.mark.parametrize("entries", [1, 100_000])
async def test_answer_is_read_to_its_end_however_long(server, client, entries):
    told = {"symbols": [{"symbol": f"S{number}USDT"} for number in range(entries)]}
    server.say("GET", "/fapi/v1/exchangeInfo", told)
    assert await client.call(Endpoints.EXCHANGE_INFO) == told


async def test_endless_answer_is_given_up(server, client, monkeypatch):
    monkeypatch.setattr("slt_binance.client._LONGEST_BODY", 1_000)
    server.defaults["GET", "/fapi/v1/exchangeInfo"] = {"symbols": "x" * 10_000_000}
    assert "without JSON" in str(await fails(client, Endpoints.EXCHANGE_INFO))


async def test_clock_is_measured_again_when_old(server, make_client):
    ticks = [0]
    client = make_client(monotonic_ms=lambda: ticks[0])
    server.defaults["GET", "/fapi/v3/account"] = {}
    await client.call(Endpoints.ACCOUNT)
    await client.call(Endpoints.ACCOUNT)
    assert len(server.calls("/fapi/v1/time")) == 3
    ticks[0] += 31 * 60_000
    await client.call(Endpoints.ACCOUNT)
    assert len(server.calls("/fapi/v1/time")) == 6


async def test_concurrent_calls_measure_the_clock_once(server, client):
    server.defaults["GET", "/fapi/v3/account"] = {}
    await asyncio.gather(*(client.call(Endpoints.ACCOUNT) for _ in range(10)))
    assert len(server.calls("/fapi/v1/time")) == 3


async def test_budget_limits_from_exchange_info_hold_calls_back(server, make_client):
    client = make_client(longest_pause_seconds=0.0)
    client.budgets.set_limits(LIMITS)
    server.say("GET", "/fapi/v1/openOrders", (200, [], {"X-MBX-USED-WEIGHT-1M": "1919"}))
    await client.call(Endpoints.OPEN_ORDERS)
    error = await fails(client, Endpoints.OPEN_ORDERS)
    assert error.action is Action.WAIT
    assert "the budget is used up" in str(error)
    assert len(server.calls("/fapi/v1/openOrders")) == 1
    server.say("GET", "/fapi/v1/order", {"orderId": 1})
    await client.call(Endpoints.QUERY_ORDER, symbol="BTCUSDT", is_urgent=True)


async def test_pause_of_retry_after_is_kept_by_every_call(server, make_client):
    client = make_client(longest_pause_seconds=5.0)
    await client.sync_clock()
    limited = (429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "1"})
    server.say("GET", "/fapi/v3/account", limited)
    server.defaults["GET", "/fapi/v3/account"] = {}
    server.defaults["GET", "/fapi/v1/openOrders"] = []
    begin = client.now
    await asyncio.gather(client.call(Endpoints.ACCOUNT), asyncio.sleep(0.1))
    await client.call(Endpoints.OPEN_ORDERS)
    assert client.now - begin >= 1_000
    assert len(server.calls("/fapi/v3/account")) == 2


async def test_ban_sends_nothing_more_and_says_until_when(server, client):
    await client.sync_clock()
    until = client.now + 600_000
    banned = (418, {"code": -1003, "msg": f"Way too many requests; IP banned until {until}. Please use WebSocket."})
    server.say("POST", "/fapi/v1/order", banned)
    error = await fails(client, Endpoints.PLACE_ORDER, **ORDER)
    assert error.action is Action.WAIT
    assert "asked to pause, 600 s remain" in str(error)
    count = len(server.seen)
    for _ in range(20):
        await fails(client, Endpoints.TIME)
    assert len(server.seen) == count
    assert client.budgets.blocked_until == until


async def test_ban_by_a_clock_that_is_not_served_lasts_as_long_as_the_header_says(server, make_client):
    client = make_client(longest_pause_seconds=0.0)
    await client.sync_clock()
    text = f"Way too many requests; IP banned until {client.now + 10**12}. Please use WebSocket."
    server.say("GET", "/fapi/v3/account", (418, {"code": -1003, "msg": text}, {"Retry-After": "7"}))
    await fails(client, Endpoints.ACCOUNT)
    assert client.now < client.budgets.blocked_until <= client.now + 7_000


async def test_ban_without_a_header_lasts_no_longer_than_bans_do(server, make_client):
    client = make_client(longest_pause_seconds=0.0)
    await client.sync_clock()
    text = f"Way too many requests; IP banned until {client.now + 10**12}. Please use WebSocket."
    server.say("GET", "/fapi/v3/account", (418, {"code": -1003, "msg": text}))
    await fails(client, Endpoints.ACCOUNT)
    assert client.budgets.blocked_until <= client.now + 3 * 86_400_000


async def test_limit_without_a_time_pauses_until_the_next_minute(server, client):
    await client.sync_clock()
    server.say("GET", "/fapi/v3/account", (429, {"code": -1003, "msg": "Too many requests."}))
    server.defaults["GET", "/fapi/v3/account"] = {}
    client._longest_pause_ms = 0
    await fails(client, Endpoints.ACCOUNT)
    assert client.budgets.blocked_until % 60_000 < 1_000
    assert client.budgets.blocked_until > client.now - 1_000


@pytest.mark.parametrize("seconds", [15.0, 200.0])
async def test_firewall_page_pauses_as_long_as_the_option_says(server, make_client, seconds):
    client = make_client(longest_pause_seconds=0.0, firewall_pause_seconds=seconds)
    server.say("GET", "/fapi/v3/account", (403, "<html>Request blocked</html>"))
    assert (await fails(client, Endpoints.ACCOUNT)).action is Action.WAIT
    assert client.now < client.budgets.blocked_until <= client.now + seconds * 1000
    assert client.budgets.blocked_until > client.now + seconds * 1000 - 5_000


async def test_too_many_orders_stops_orders_only(server, make_client):
    client = make_client(longest_pause_seconds=0.0)
    client.budgets.set_limits(LIMITS)
    server.say("POST", "/fapi/v1/order", (429, {"code": -1015, "msg": "Too many new orders."}))
    assert (await fails(client, Endpoints.PLACE_ORDER, **ORDER)).action is Action.WAIT
    server.say("GET", "/fapi/v3/account", {})
    await client.call(Endpoints.ACCOUNT)


async def test_no_secret_in_errors_logs_or_tracebacks(server, make_client, caplog, unused_tcp_port):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    texts = []
    answers = [
        "reset",
        (503, "Unknown error, please check your request"),
        (400, {"code": -1022, "msg": "bad"}),
        "silent",
    ]
    clients = [make_client(timeout_seconds=0.3), make_client(url=f"http://127.0.0.1:{unused_tcp_port}")]
    clients.append(make_client(url="http://[broken"))
    for client in clients:
        server.say("POST", "/fapi/v1/order", *answers)
        for _ in answers:
            try:
                await client.call(Endpoints.PLACE_ORDER, **ORDER)
            except ExchangeError as error:
                texts += [*traceback.format_exception(error, chain=True), repr(error), str(error)]
    shown = "".join(texts) + caplog.text + repr(clients)
    assert KEY not in shown
    assert SECRET not in shown
    assert "signature" not in shown
    assert len(texts) > 20


async def test_close_twice_and_before_any_call_is_fine():
    client = Client("http://127.0.0.1:1", Credentials(KEY, HmacSigner(SECRET)))
    await client.close()
    await client.close()


async def test_call_that_may_wait_longer_waits_for_the_pause_to_end(server, make_client):
    client = make_client(longest_pause_seconds=0.0)
    await client.sync_clock()
    server.say("GET", "/fapi/v3/account", (429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "1"}))
    server.defaults["GET", "/fapi/v3/account"] = {"positions": []}
    await fails(client, Endpoints.ACCOUNT)
    with client.waiting_up_to(30.0):
        assert await client.call(Endpoints.ACCOUNT) == {"positions": []}
    server.say("GET", "/fapi/v3/account", (429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "1"}))
    await fails(client, Endpoints.ACCOUNT)


async def test_long_wait_is_told_once(server, make_client, caplog):
    caplog.set_level(logging.WARNING)
    client = make_client(longest_pause_seconds=60.0)
    await client.sync_clock()
    client.budgets.block(client.now + 11_500)
    waiting = asyncio.create_task(client.call(Endpoints.TIME))
    while "may be asked again" not in caplog.text:  # noqa: ASYNC110 # a log has no event
        await asyncio.sleep(0.01)
    client.budgets.blocked_until = 0
    await waiting
    assert caplog.text.count("may be asked again") == 1
    assert "waiting 11 s" in caplog.text or "waiting 12 s" in caplog.text
