"""The exchange's own Python SDK, pointed at the local exchange: it knows the newest field names and types."""

from __future__ import annotations

import asyncio
import logging
import warnings
from functools import partial

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from binance_common.configuration import (
        ConfigurationRestAPI,
        ConfigurationWebSocketAPI,
        ConfigurationWebSocketStreams,
    )
    from binance_common.errors import BadRequestError, UnauthorizedError
    from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
        DerivativesTradingUsdsFutures,
    )
    from pydantic import BaseModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:binance_common"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:binance_sdk_derivatives_trading_usds_futures"),
]


def unknown_fields(value, path="answer"):
    """Fields that the SDK's models do not have, and answers that it could not make a model of."""
    if isinstance(value, list):
        return [found for i, one in enumerate(value) for found in unknown_fields(one, f"{path}[{i}]")]
    if not isinstance(value, BaseModel):
        return []
    inner = getattr(value, "actual_instance", None)
    if inner is not None:
        return unknown_fields(inner, path)
    found = [f"{path}.{name}" for name in getattr(value, "additional_properties", {}) if name != "e"]
    for name in type(value).model_fields:
        if name != "additional_properties":
            found += unknown_fields(getattr(value, name), f"{path}.{name}")
    return found


class Caller:
    """Calls the SDK in a thread, and judges every answer."""

    def __init__(self, server, caplog, **changes):
        settings = {"api_key": server.key, "api_secret": server.secret, **changes}
        self.client = DerivativesTradingUsdsFutures(
            config_rest_api=ConfigurationRestAPI(base_path=server.url, retries=0, timeout=25_000, **settings),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=server.ws),
            config_ws_api=ConfigurationWebSocketAPI(stream_url=f"{server.ws}/ws-fapi/v1", **settings),
        )
        self.caplog = caplog

    async def __call__(self, name, **arguments):
        response = await asyncio.to_thread(partial(getattr(self.client.rest_api, name), **arguments))
        data = response.data()
        assert unknown_fields(data) == []
        assert self.complaints() == []
        assert any(limit.rateLimitType == "REQUEST_WEIGHT" for limit in response.rate_limits)
        return data

    def complaints(self):
        return [record.getMessage() for record in self.caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def sdk(server, caplog):
    caplog.set_level(logging.WARNING)
    return Caller(server, caplog)


READS = [
    ("test_connectivity", {}),
    ("check_server_time", {}),
    ("exchange_information", {}),
    ("account_information_v2", {}),
    ("account_information_v3", {}),
    ("futures_account_balance_v2", {}),
    ("futures_account_balance_v3", {}),
    ("futures_account_configuration", {}),
    ("get_current_multi_assets_mode", {}),
    ("get_current_position_mode", {}),
    ("get_income_history", {}),
    ("notional_and_leverage_brackets", {}),
    ("notional_and_leverage_brackets", {"symbol": "BTCUSDT"}),
    ("query_user_rate_limit", {}),
    ("symbol_configuration", {}),
    ("user_commission_rate", {"symbol": "BTCUSDT"}),
    ("get_funding_rate_history", {"symbol": "BTCUSDT"}),
    ("get_funding_rate_info", {}),
    ("mark_price", {}),
    ("mark_price", {"symbol": "BTCUSDT"}),
    ("order_book", {"symbol": "BTCUSDT", "limit": 5}),
    ("symbol_order_book_ticker", {}),
    ("symbol_order_book_ticker", {"symbol": "BTCUSDT"}),
    ("symbol_price_ticker", {}),
    ("symbol_price_ticker_v2", {"symbol": "BTCUSDT"}),
    ("ticker24hr_price_change_statistics", {"symbol": "BTCUSDT"}),
    ("ticker24hr_price_change_statistics", {}),
    ("account_trade_list", {"symbol": "BTCUSDT"}),
    ("all_orders", {"symbol": "BTCUSDT"}),
    ("current_all_open_orders", {}),
    ("current_all_algo_open_orders", {}),
    ("query_all_algo_orders", {"symbol": "BTCUSDT"}),
    ("position_information_v2", {}),
    ("position_information_v3", {}),
]


async def test_sdk_every_read_fits_its_models(server, sdk):
    desk = server.exchange.trading(server.key)
    await sdk("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=1.0)
    await sdk("new_order", symbol="BTCUSDT", side="BUY", type="LIMIT", quantity=1.0, price=95.0, time_in_force="GTC")
    for kind, extra in (("STOP_MARKET", {"trigger_price": 90.0}), ("TRAILING_STOP_MARKET", {"callback_rate": 5.0})):
        await sdk(
            "new_algo_order", algo_type="CONDITIONAL", symbol="BTCUSDT", side="SELL", type=kind, quantity=1.0, **extra
        )

    answers = {f"{name} {given}": await sdk(name, **given) for name, given in READS}

    assert len(answers) == len(READS)
    assert len(desk.account.open_algos) == 2
    (position,) = answers["position_information_v3 {}"]
    assert (position.symbol, position.position_amt, position.entry_price) == ("BTCUSDT", "1", "100")
    assert answers["account_information_v3 {}"].total_wallet_balance == "9999.95"


async def test_sdk_orders_live_from_placing_to_cancelling(server, sdk):
    leverage = await sdk("change_initial_leverage", symbol="BTCUSDT", leverage=5)
    margin = await sdk("change_margin_type", symbol="BTCUSDT", margin_type="ISOLATED")
    limit = await sdk(
        "new_order",
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        quantity=0.5,
        price=95.0,
        time_in_force="GTC",
        new_client_order_id="slt-1",
    )
    changed = await sdk(
        "modify_order", symbol="BTCUSDT", side="BUY", quantity=0.6, price=94.0, orig_client_order_id="slt-1"
    )
    batch = await sdk(
        "modify_multiple_orders",
        batch_orders=[
            {"symbol": "BTCUSDT", "side": "BUY", "quantity": 0.7, "price": 93, "origClientOrderId": "slt-1"},
            {"symbol": "BTCUSDT", "side": "BUY", "quantity": 0.7, "price": 93, "origClientOrderId": "nobody"},
        ],
    )
    cancelled = await sdk("cancel_order", symbol="BTCUSDT", orig_client_order_id="slt-1")
    queried = await sdk("query_order", symbol="BTCUSDT", orig_client_order_id="slt-1")

    assert (leverage.leverage, leverage.max_notional_value) == (5, "5000000")
    assert margin.code == 200
    assert (limit.status, limit.orig_qty, limit.price) == ("NEW", "0.5", "95")
    assert (changed.status, changed.orig_qty, changed.price) == ("NEW", "0.6", "94")
    assert (batch[0].orig_qty, batch[0].price, batch[1].code) == ("0.7", "93", -2013)
    assert (cancelled.status, queried.status, queried.avg_price) == ("CANCELED", "CANCELED", "0")


async def test_sdk_market_order_and_its_stop(server, sdk):
    bought = await sdk(
        "new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.5, new_order_resp_type="RESULT"
    )
    stop = await sdk(
        "new_algo_order",
        algo_type="CONDITIONAL",
        symbol="BTCUSDT",
        side="SELL",
        type="STOP_MARKET",
        quantity=0.5,
        trigger_price=97.0,
        reduce_only="true",
        client_algo_id="stop-1",
    )
    server.to(96.0)
    done = await sdk("query_algo_order", client_algo_id="stop-1")
    child = await sdk("query_order", symbol="BTCUSDT", order_id=int(done.actual_order_id))
    batch = await sdk(
        "place_multiple_orders",
        batch_orders=[
            {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": 1, "price": 90, "timeInForce": "GTC"},
            {"symbol": "NONEUSDT", "side": "BUY", "type": "MARKET", "quantity": 1},
        ],
    )
    swept = await sdk("cancel_all_open_orders", symbol="BTCUSDT")
    algos = await sdk("cancel_all_algo_open_orders", symbol="BTCUSDT")

    assert (bought.status, bought.executed_qty) == ("FILLED", "0.5")
    assert (stop.algo_status, stop.trigger_price) == ("NEW", "97")
    assert (done.algo_status, done.actual_price, done.actual_qty) == ("FINISHED", "97", "0.5")
    assert (child.status, child.avg_price, child.client_order_id) == ("FILLED", "97", "stop-1")
    assert (batch[0].status, batch[1].code) == ("NEW", -1121)
    assert (swept.code, algos.code) == (200, 200)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"api_secret": "wrong"}, BadRequestError, "Signature for this request is not valid"),
        ({"api_key": "stranger"}, UnauthorizedError, "Invalid API-key"),
    ],
)
async def test_sdk_with_wrong_keys_is_refused(server, caplog, changes, error, text):
    sdk = Caller(server, caplog, **changes)

    with pytest.raises(error, match=text):
        await sdk("account_information_v3")


async def test_sdk_matches_prices_and_moves_margin(sdk):
    await sdk("change_margin_type", symbol="BTCUSDT", margin_type="ISOLATED")
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": 0.5, "time_in_force": "GTC"}
    taken = await sdk("new_order", **order, price_match="OPPONENT", new_order_resp_type="RESULT")
    rests = await sdk("new_order", **order, price_match="QUEUE")
    moved = await sdk("modify_isolated_position_margin", symbol="BTCUSDT", amount=2.0, type=1)
    (row,) = await sdk("get_position_margin_change_history", symbol="BTCUSDT")

    assert (taken.status, taken.price, rests.price, rests.price_match) == ("FILLED", "100.1", "99.9", "QUEUE")
    assert (moved.code, moved.amount, row.amount, row.type) == (200, 2.0, "2", 1)


async def test_sdk_refusal_carries_the_code(sdk):
    with pytest.raises(BadRequestError) as caught:
        await sdk(
            "new_order", symbol="BTCUSDT", side="BUY", type="LIMIT", quantity=1.0, price=95.05, time_in_force="GTC"
        )

    assert caught.value.args[0] == -1111 or caught.value.status_code == -1111


async def test_sdk_streams_klines_and_user_events(server, sdk):
    client, klines, events = sdk.client, [], []
    streams = client.websocket_streams
    key = (await sdk("start_user_data_stream")).listen_key
    kept = await sdk("keepalive_user_data_stream")
    await streams.create_connection()
    try:
        handle = await streams.kline_candlestick_streams(symbol="btcusdt", interval="1m")
        handle.on("message", klines.append)
        user = await streams.user_data(key)
        user.on("message", events.append)
        await server.push_kline()
        await server.until(lambda: server.exchange.account(server.key).listeners)
        await sdk("change_initial_leverage", symbol="BTCUSDT", leverage=7)
        await sdk("new_order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.5)
        await sdk(
            "new_algo_order",
            algo_type="CONDITIONAL",
            symbol="BTCUSDT",
            side="SELL",
            type="STOP_MARKET",
            quantity=0.5,
            trigger_price=97.0,
            reduce_only="true",
        )
        server.to(96.0)
        await server.until(lambda: len(events) >= 12 and klines)
    finally:
        await streams.close_connection()

    assert kept.listen_key == key
    assert len(key) == 64
    assert klines[0].k.x is True
    assert [found for event in (*klines, *events) for found in unknown_fields(event)] == []
    assert {type(event.actual_instance).__name__ for event in events} == {
        "AccountConfigUpdate",
        "AccountUpdate",
        "AlgoUpdate",
        "OrderTradeUpdate",
        "TradeLite",
    }
    assert sdk.complaints() == []


async def test_sdk_trades_over_the_websocket_api(sdk):
    api = sdk.client.websocket_api
    await api.create_connection()
    try:
        placed = (
            await api.new_order(
                symbol="BTCUSDT", side="BUY", type="LIMIT", quantity=0.5, price=95.0, time_in_force="GTC"
            )
        ).data()
        stop = (
            await api.new_algo_order(
                algo_type="CONDITIONAL",
                symbol="BTCUSDT",
                side="SELL",
                type="STOP_MARKET",
                quantity=0.5,
                trigger_price=90.0,
            )
        ).data()
        account = (await api.account_information_v2()).data()
        cancelled = (await api.cancel_order(symbol="BTCUSDT", order_id=placed.result.order_id)).data()
    finally:
        await api.close_connection()

    assert (placed.result.status, stop.result.algo_status) == ("NEW", "NEW")
    assert account.result.total_wallet_balance == "10000"
    assert cancelled.result.status == "CANCELED"
    assert unknown_fields([placed, stop, account, cancelled]) == []
    assert sdk.complaints() == []
