"""python-binance, pointed at the local exchange."""

from __future__ import annotations

import asyncio
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from binance import AsyncClient, BinanceSocketManager
    from binance.exceptions import BinanceAPIException
    from binance.ws.reconnecting_websocket import ReconnectingWebsocket

WAIT = 10.0
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:binance")


@pytest.fixture
async def client(server, monkeypatch):
    monkeypatch.setattr(AsyncClient, "FUTURES_URL", f"{server.url}/fapi")
    monkeypatch.setattr(AsyncClient, "WS_FUTURES_URL", f"{server.ws}/ws-fapi/v1")
    monkeypatch.setattr(BinanceSocketManager, "FSTREAM_URL", f"{server.ws}/")
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.2)  # its reader looks whether to end only so often
    client = AsyncClient(server.key, server.secret)
    yield client
    await client.close_connection()


async def test_python_binance_reads_market_and_account(server, client):
    info = await client.futures_exchange_info()
    account = await client.futures_account()
    (balance,) = await client.futures_account_balance()

    assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert account["totalWalletBalance"] == balance["balance"] == "10000"
    assert abs((await client.futures_time())["serverTime"] - server.clock()) < 5_000
    assert (await client.futures_mark_price(symbol="BTCUSDT"))["markPrice"] == "100"
    assert (await client.futures_leverage_bracket(symbol="BTCUSDT"))[0]["brackets"][0]["initialLeverage"] == 50
    assert await client.futures_get_position_mode() == {"dualSidePosition": False}
    assert (await client.futures_ticker(symbol="BTCUSDT"))["lastPrice"] == "100"


async def test_python_binance_orders_live_from_placing_to_cancelling(client):
    leverage = await client.futures_change_leverage(symbol="BTCUSDT", leverage=5)
    margin = await client.futures_change_margin_type(symbol="BTCUSDT", marginType="ISOLATED")
    placed = await client.futures_create_order(
        symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.5, price=95.0
    )
    queried = await client.futures_get_order(symbol="BTCUSDT", orderId=placed["orderId"])
    listed = await client.futures_get_open_orders()
    cancelled = await client.futures_cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])

    assert (leverage["leverage"], margin["code"]) == (5, 200)
    assert {"avgPrice", "cumQuote"} & placed.keys() == set()
    assert (queried["status"], queried["avgPrice"], len(listed)) == ("NEW", "0", 1)
    assert cancelled["status"] == "CANCELED"
    with pytest.raises(BinanceAPIException) as caught:
        await client.futures_cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])
    assert (caught.value.code, caught.value.status_code) == (-2011, 400)


async def test_python_binance_market_order_and_stops(server, client):
    await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.5)
    stop = await client.futures_create_order(
        symbol="BTCUSDT", side="SELL", type="STOP_MARKET", stopPrice=97.0, closePosition=True
    )
    target = await client.futures_create_algo_order(
        symbol="BTCUSDT",
        side="SELL",
        type="TAKE_PROFIT_MARKET",
        triggerPrice=105.0,
        quantity=0.5,
        reduceOnly=True,
        algoType="CONDITIONAL",
    )
    gone = await client.futures_cancel_algo_order(algoId=target["algoId"])
    waiting = await client.futures_get_open_algo_orders()
    positions = await client.futures_position_information()
    server.to(96.0)
    done = await client.futures_get_algo_order(algoId=stop["algoId"])

    assert (gone["code"], gone["msg"]) == ("200", "success")
    assert [one["algoId"] for one in waiting] == [stop["algoId"]]
    assert positions[0]["positionAmt"] == "0.5"
    assert (done["algoStatus"], done["actualPrice"]) == ("FINISHED", "97")
    assert await client.futures_position_information() == []
    trades = await client.futures_account_trades(symbol="BTCUSDT")
    assert [(trade["side"], trade["price"], trade["realizedPnl"]) for trade in trades] == [
        ("BUY", "100", "0"),
        ("SELL", "97", "-1.5"),
    ]


async def test_python_binance_streams_klines_and_user_events(server, client):
    sockets = BinanceSocketManager(client)
    async with asyncio.timeout(WAIT):
        async with sockets.futures_multiplex_socket(["btcusdt@kline_1m"]) as market:
            candle, _ = await asyncio.gather(market.recv(), server.push_kline())
        async with sockets.futures_user_socket() as user:
            await server.until(lambda: server.exchange.account(server.key).listeners)
            await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.5)
            events = [await user.recv() for _ in range(4)]

    assert (candle["stream"], candle["data"]["k"]["x"]) == ("btcusdt@kline_1m", True)
    assert [event["e"] for event in events] == [
        "ORDER_TRADE_UPDATE",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE",
    ]
    assert (events[-1]["o"]["X"], events[-1]["o"]["n"], events[-1]["o"]["N"]) == ("FILLED", "0.025", "USDT")


async def test_python_binance_places_orders_over_the_websocket_api(client):
    async with asyncio.timeout(WAIT):
        placed = await client.ws_futures_create_order(
            symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.5, price=95.0
        )

    assert (placed["status"], placed["origQty"]) == ("NEW", "0.5")
