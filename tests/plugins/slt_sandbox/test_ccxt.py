"""ccxt and ccxt.pro, pointed at the local exchange."""

from __future__ import annotations

import asyncio
import contextlib
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ccxt
    import ccxt.pro as ccxtpro

WAIT = 25.0
SYMBOL = "BTC/USDT:USDT"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ccxt"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp_socks"),
]


@contextlib.asynccontextmanager
async def connect(server, **changes):
    urls = {f"fapi{side}{version}": f"{server.url}/fapi/v{version[1:] or 1}" for side, version in _VERSIONS}
    options = {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}
    config = {
        "apiKey": server.key,
        "secret": server.secret,
        "enableRateLimit": False,
        "options": {**options, "defaultType": "swap", "warnOnFetchOpenOrdersWithoutSymbol": False},
        **changes,
    }
    exchange = ccxtpro.binanceusdm(config)
    exchange.urls["api"].update(urls)
    exchange.urls["api"]["ws"]["linear"] = f"{server.ws}/ws"
    exchange.urls["api"]["ws"]["ws-api"]["linear"] = f"{server.ws}/ws-fapi/v1"
    try:
        yield exchange
    finally:
        await exchange.close()


_VERSIONS = [(side, version) for side in ("Public", "Private") for version in ("", "V2", "V3")]


@pytest.fixture
async def client(server):
    async with connect(server) as exchange:
        yield exchange


def waits_for(client, word):
    """Whether ccxt.pro waits for a message of a kind."""
    return any(word in name for one in client.clients.values() for name in one.futures)


async def test_ccxt_reads_markets_prices_and_account(server, client):
    markets = await client.load_markets()
    balance = await client.fetch_balance()
    market = markets[SYMBOL]

    assert sorted(markets) == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
    assert (market["active"], market["linear"], market["limits"]["cost"]["min"]) == (True, True, 5.0)
    assert (balance["USDT"]["free"], balance["USDT"]["total"]) == (10_000.0, 10_000.0)
    assert (await client.fetch_ticker(SYMBOL))["last"] == 100.0
    assert (await client.fetch_order_book(SYMBOL, 5))["bids"][0] == [99.9, 1000.0]
    assert (await client.fetch_bids_asks([SYMBOL]))[SYMBOL]["ask"] == 100.1
    assert (await client.fetch_funding_rate(SYMBOL))["markPrice"] == 100.0
    assert abs(await client.fetch_time() - server.clock()) < 5_000
    assert (await client.fetch_leverage_tiers([SYMBOL]))[SYMBOL][0]["maxLeverage"] == 50.0
    assert (await client.fetch_trading_fee(SYMBOL))["taker"] == 0.0005
    assert await client.fetch_position_mode(SYMBOL) == {"info": {"dualSidePosition": False}, "hedged": False}


async def test_ccxt_sets_leverage_and_margin_type(client):
    leverage = await client.set_leverage(5, SYMBOL)
    await client.set_margin_mode("isolated", SYMBOL)
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await client.set_margin_mode("isolated", SYMBOL)
    found = await client.fetch_leverage(SYMBOL)

    assert leverage["leverage"] == 5
    assert (found["longLeverage"], found["marginMode"]) == (5, "isolated")


async def test_ccxt_limit_order_is_queried_edited_and_cancelled(client):
    placed = await client.create_order(SYMBOL, "limit", "buy", 0.5, 95.0, {"clientOrderId": "slt-1"})
    edited = await client.edit_order(placed["id"], SYMBOL, "limit", "buy", 0.6, 94.0)
    (listed,) = await client.fetch_open_orders(SYMBOL)
    cancelled = await client.cancel_order(placed["id"], SYMBOL)
    found = await client.fetch_order(placed["id"], SYMBOL)

    assert (placed["status"], placed["clientOrderId"], placed["price"]) == ("open", "slt-1", 95.0)
    assert (edited["amount"], listed["price"], listed["id"]) == (0.6, 94.0, placed["id"])
    assert (cancelled["status"], found["status"]) == ("canceled", "canceled")
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(placed["id"], SYMBOL)


async def test_ccxt_market_order_and_stop_close_a_position(server, client):
    bought = await client.create_order(SYMBOL, "market", "buy", 0.5)
    stop = await client.create_order(
        SYMBOL, "market", "sell", 0.5, None, {"stopLossPrice": 97.0, "reduceOnly": True, "clientOrderId": "stop-1"}
    )
    (position,) = await client.fetch_positions([SYMBOL])
    waiting = await client.fetch_open_orders(SYMBOL, params={"trigger": True})
    server.to(96.0)
    trades = await client.fetch_my_trades(SYMBOL)
    income = await client.fetch_ledger("USDT")

    assert (bought["status"], bought["filled"]) == ("closed", 0.5)
    assert (stop["status"], stop["triggerPrice"], [one["id"] for one in waiting]) == ("open", 97.0, [stop["id"]])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.5, 100.0)
    assert [(trade["side"], trade["price"], trade["amount"]) for trade in trades] == [
        ("buy", 100.0, 0.5),
        ("sell", 97.0, 0.5),
    ]
    assert trades[0]["fee"] == {"cost": 0.025, "currency": "USDT"}
    assert sum(entry["amount"] * (1 if entry["direction"] == "in" else -1) for entry in income) == pytest.approx(
        -1.5 - 0.025 - 0.02425
    )
    assert await client.fetch_positions([SYMBOL]) == []


async def test_ccxt_cancels_a_stop_by_its_id(client):
    stop = await client.create_order(SYMBOL, "market", "sell", 0.5, None, {"stopLossPrice": 90.0})
    await client.cancel_order(stop["id"], SYMBOL, {"trigger": True})

    assert await client.fetch_open_orders(SYMBOL, params={"trigger": True}) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((SYMBOL, "limit", "buy", 0.5, 200.0), -4016),
        ((SYMBOL, "limit", "buy", 110.0, 99.0), -2019),
        ((SYMBOL, "market", "sell", 1.0, None, {"reduceOnly": True}), -2022),
        ((SYMBOL, "limit", "buy", 1.0, 101.0, {"postOnly": True}), -5022),
        ((SYMBOL, "market", "sell", 1.0, None, {"stopLossPrice": 105.0}), -2021),
    ],
    ids=["too far", "too big", "nothing to reduce", "would take", "would trigger"],
)
async def test_ccxt_refusals_carry_the_code(client, arguments, code):
    await client.set_leverage(1, SYMBOL)

    with pytest.raises(ccxt.ExchangeError, match=f'"code":{code},'):
        await client.create_order(*arguments)


async def test_ccxt_without_the_right_secret_is_refused(server):
    async with connect(server, secret="wrong") as client:
        with pytest.raises(ccxt.AuthenticationError):
            await client.fetch_balance()


async def test_ccxt_asking_for_candles_over_rest_is_refused_and_counted(server, client):
    with pytest.raises(ccxt.BaseError, match="WebSocket only"):
        await client.fetch_ohlcv(SYMBOL)

    (asked,) = server.exchange.ledger.of("kline_request")
    assert asked.detail["path"] == "/fapi/v1/klines"


async def test_ccxt_watches_candles(server, client):
    await client.load_markets()
    async with asyncio.timeout(WAIT):
        candles, _ = await asyncio.gather(client.watch_ohlcv(SYMBOL, "1m"), server.push_kline())

    assert candles[-1][1:] == [100.0, 101.0, 99.5, 100.5, 12.5]


async def test_ccxt_watches_its_orders_balance_and_trades(server, client):
    await client.load_markets()
    watching = asyncio.create_task(client.watch_orders(SYMBOL))
    async with asyncio.timeout(WAIT):
        await server.until(lambda: server.exchange.account(server.key).listeners)
        placed = await client.create_order(SYMBOL, "limit", "buy", 0.5, 95.0)
        seen = [(order["id"], order["status"]) for order in await watching]
        filling = asyncio.create_task(client.watch_my_trades(SYMBOL))
        balance = asyncio.create_task(client.watch_balance())
        await server.until(lambda: all(waits_for(client, word) for word in ("myTrades", "balance")))
        server.to(94.0)
        trades, money = await filling, await balance

    assert seen == [(placed["id"], "open")]
    assert (trades[-1]["price"], trades[-1]["takerOrMaker"]) == (95.0, "maker")
    assert money["USDT"]["total"] == pytest.approx(10_000 - 0.5 * 95 * 0.0002)


async def test_ccxt_places_orders_over_the_websocket_api(client):
    await client.load_markets()
    async with asyncio.timeout(WAIT):
        placed = await client.create_order_ws(SYMBOL, "limit", "buy", 0.5, 95.0)
        cancelled = await client.cancel_order_ws(placed["id"], SYMBOL)

    assert (placed["status"], cancelled["status"]) == ("open", "canceled")
