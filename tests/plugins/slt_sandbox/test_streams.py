"""The market streams over real sockets: addresses, subscriptions, payloads, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import pytest
import websockets
from binance_sdk_derivatives_trading_usds_futures.websocket_streams import models

from slt_sandbox.streams import SocketSettings

sys.path.insert(0, str(Path(__file__).parent))

from arena import SYMBOLS, GivenFeed, arena, client, frames, get, klines, until, until_over, ws_url

FIRST = SYMBOLS[0].lower()
LONG = {"feed": GivenFeed(minutes=5_000), "speed": 3_000.0}


@pytest.mark.parametrize(
    ("path", "is_combined"),
    [
        (f"/market/ws/{FIRST}@kline_1m", False),
        (f"/market/stream?streams={FIRST}@kline_1m", True),
        (f"/market/stream?streams={FIRST}%40kline_1m", True),
    ],
)
async def test_streams_named_in_the_address_are_pushed(path, is_combined):
    async with arena(**LONG) as box, websockets.connect(ws_url(box, path)) as socket:
        frame = json.loads((await frames(socket, 1))[0])
        assert (set(frame) == {"stream", "data"}) is is_combined
        payload = frame["data"] if is_combined else frame
        assert (payload["e"], payload["s"], payload["k"]["i"]) == ("kline", SYMBOLS[0], "1m")
        if is_combined:
            assert frame["stream"] == f"{FIRST}@kline_1m"


@pytest.mark.parametrize("path", ["/market/ws", "/market/stream", "/market/ws/0"])
async def test_streams_subscribed_later_are_pushed(path):
    async with arena(**LONG) as box, client(box, path, klines()) as socket:
        got = [json.loads(text) for text in await frames(socket, 6)]
        assert {(g.get("data", g))["s"] for g in got} == set(SYMBOLS)


@pytest.mark.parametrize("path", ["/ws", "/stream", "/public/stream", f"/ws/{FIRST}@kline_1m"])
async def test_streams_on_a_wrong_address_are_acknowledged_and_dead(path):
    async with arena(**LONG) as box, client(box, path, klines()) as socket:
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":"x"}')
        assert set(json.loads(await socket.recv())["result"]) >= set(klines())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)
        assert box.player.rows > 5 or box.hub.pushed == 0


@pytest.mark.parametrize("path", ["/stream", "/public/stream"])
async def test_public_streams_are_pushed_on_the_old_address_too(path):
    async with arena(**LONG) as box, client(box, path, [f"{FIRST}@bookTicker"]) as socket:
        payload = json.loads((await frames(socket, 1))[0])["data"]
        assert float(payload["b"]) < float(payload["a"])


async def test_unsubscribe_ends_the_pushes():
    async with arena(**LONG) as box, client(box, streams=klines()) as socket:
        await frames(socket, 3)
        await socket.send(json.dumps({"method": "UNSUBSCRIBE", "params": klines(), "id": 9}))
        while json.loads(await socket.recv()) != {"result": None, "id": 9}:
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.4)


async def test_kline_payload_has_exactly_the_documented_fields_and_types():
    async with arena(**LONG) as box, client(box, streams=klines()) as socket:
        payload = json.loads((await frames(socket, 1))[0])["data"]
    assert list(payload) == ["e", "E", "s", "k"]
    kinds = {name: type(value) for name, value in payload["k"].items()}
    texts, whole = "sioclhvqVQB", "tTfLn"
    assert kinds == {**dict.fromkeys(texts, str), **dict.fromkeys(whole, int), "x": bool}


@pytest.mark.parametrize(
    ("path", "stream", "model"),
    [
        ("market", f"{FIRST}@kline_1m", models.KlineCandlestickStreamsResponse),
        ("market", f"{FIRST}_perpetual@continuousKline_1m", models.ContinuousContractKlineCandlestickStreamsResponse),
        ("market", f"{FIRST}@markPrice", models.MarkPriceStreamResponse),
        ("market", "!markPrice@arr@1s", models.MarkPriceStreamResponse),
        ("market", "!ticker@arr", models.AllMarketTickersStreamsResponseInner),
        ("market", "!miniTicker@arr", models.AllMarketMiniTickersStreamResponseInner),
        ("market", f"{FIRST}@ticker", models.IndividualSymbolTickerStreamsResponse),
        ("market", f"{FIRST}@miniTicker", models.IndividualSymbolMiniTickerStreamResponse),
        ("market", f"{FIRST}@aggTrade", models.AggregateTradeStreamsResponse),
        ("public", f"{FIRST}@bookTicker", models.IndividualSymbolBookTickerStreamsResponse),
        ("public", "!bookTicker", models.AllBookTickersStreamResponse),
        ("public", f"{FIRST}@depth5@100ms", models.PartialBookDepthStreamsResponse),
        ("public", f"{FIRST}@depth", models.DiffBookDepthStreamsResponse),
    ],
)
async def test_payloads_fit_the_exchange_own_models_to_the_field(path, stream, model):
    async with arena(**LONG) as box, client(box, f"/{path}/stream", [stream]) as socket:
        payload = json.loads((await frames(socket, 1))[0])["data"]
    for one in payload if isinstance(payload, list) else [payload]:
        made = model.model_validate_json(json.dumps(one))
        assert made.additional_properties == {}
        nested = [value for value in made.__dict__.values() if hasattr(value, "additional_properties")]
        assert all(value.additional_properties == {} for value in nested)
        assert set(made.to_dict()) >= set(one), "the model dropped a field"


async def test_tickers_tell_the_last_day_of_every_symbol_that_trades():
    feed = GivenFeed(minutes=30)
    async with arena(feed) as box, client(box, streams=["!ticker@arr", "!miniTicker@arr"]) as socket:
        payloads = await until_over(box, socket)
    ticks = [tick for array in payloads for tick in array if tick["e"] == "24hrTicker"]
    assert {tick["s"] for tick in ticks} == set(SYMBOLS)
    last = [tick for tick in ticks if tick["s"] == SYMBOLS[0]][-1]
    assert float(last["h"]) == feed.bars.high[:, 0].max()
    assert float(last["l"]) == feed.bars.low[:, 0].min()
    assert float(last["o"]) == feed.bars.open[0, 0]
    assert float(last["q"]) > 0


async def test_mark_prices_name_the_next_funding():
    feed = GivenFeed(minutes=20)
    async with arena(feed) as box, client(box, streams=["!markPrice@arr"]) as socket:
        payloads = await until_over(box, socket)
    known, unknown = payloads[-1]
    assert (known["r"], known["T"]) == ("0.00010000", int(feed.funding[SYMBOLS[0]].time[0]))
    assert (unknown["r"], unknown["T"]) == ("0.00000000", feed.start + 8 * 3_600_000)


async def test_contract_changes_and_liquidations_reach_the_market_streams():
    feed = GivenFeed(minutes=5_000)
    streams = ["!contractInfo", "!forceOrder@arr", f"{FIRST}@kline_1m"]
    async with arena(feed, speed=600.0) as box, client(box, streams=streams) as socket:
        await frames(socket, 1)
        box.exchange.set_status(SYMBOLS[1], "SETTLING")
        while (payload := json.loads(await socket.recv()))["stream"] != "!contractInfo":
            pass
        assert (payload["data"]["s"], payload["data"]["cs"]) == (SYMBOLS[1], "SETTLING")
        models.ContractInfoStreamResponse.model_validate_json(json.dumps(payload["data"]))


async def closing_of(socket, seconds=5.0):
    async with asyncio.timeout(seconds):
        while True:
            try:
                await socket.recv()
            except websockets.ConnectionClosed as closed:
                return closed.rcvd


async def test_more_than_ten_messages_a_second_end_the_connection():
    async with arena(**LONG) as box, client(box) as socket:
        for number in range(11):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert (await closing_of(socket)).code == 1008
        assert ("cut", "too many messages") in [
            (e.detail["word"], e.detail["detail"]) for e in box.exchange.ledger.of("stream")
        ]


async def test_ten_messages_a_second_are_answered():
    async with arena(**LONG) as box, client(box) as socket:
        for number in range(10):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert [json.loads(text)["id"] for text in await frames(socket, 10)] == list(range(10))


async def test_more_than_1024_streams_end_the_connection():
    async with arena(**LONG) as box, client(box, streams=[f"s{n}@kline_1m" for n in range(1_024)]) as socket:
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["one@kline_1m"], "id": 1}))
        assert (await closing_of(socket)).code == 1008


async def test_a_connection_is_cut_when_its_hours_are_over():
    limits = SocketSettings(life_hours=2.0, life_clock="market")
    async with arena(GivenFeed(minutes=5_000), speed=12_000.0, sandbox={"sockets": limits}) as box:
        async with client(box, streams=klines()) as socket:
            assert (await closing_of(socket, 10.0)).code == 1001
        assert "cut_24h" in [e.detail["word"] for e in box.exchange.ledger.of("stream")]


async def test_a_client_that_never_answers_a_ping_is_cut():
    limits = SocketSettings(ping_seconds=0.2, pong_seconds=4.0)
    running = arena(GivenFeed(minutes=5_000), speed=60.0, sandbox={"sockets": limits})
    async with running as box, client(box, streams=klines()) as socket:
        (connection,) = box.hub.connections.values()
        heard, hear = [], connection.heard_pong
        connection.heard_pong = lambda word: (heard.append(word), hear(word))
        await until(lambda: len(heard) >= 3)
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')  # pings were answered: it lives
        while "id" not in json.loads(await socket.recv()):
            pass
        socket.transport.pause_reading()
        await until(lambda: not box.hub.connections)
        socket.transport.abort()
    assert "no pong" in [e.detail["detail"] for e in box.exchange.ledger.of("stream")]


async def test_a_plain_request_to_a_stream_address_is_refused():
    async with arena(**LONG) as box:
        assert (await get(box, "/market/stream"))[0] == 400


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # python-binance imports what websockets is to drop
async def test_clients_of_strangers_get_their_candles(caplog):
    import ccxt.pro
    from binance import AsyncClient, BinanceSocketManager
    from binance_common.configuration import ConfigurationWebSocketStreams
    from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
        DerivativesTradingUsdsFutures,
    )

    caplog.set_level(logging.WARNING)
    async with arena(**LONG) as box:
        ws = ws_url(box, "")
        own = DerivativesTradingUsdsFutures(config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws))
        connection = await own.websocket_streams.create_connection()
        got = asyncio.Queue()
        stream = await connection.kline_candlestick_streams(symbol=FIRST, interval="1m")
        stream.on("message", got.put_nowait)
        made = await asyncio.wait_for(got.get(), 5)
        assert isinstance(made, models.KlineCandlestickStreamsResponse)
        assert (made.s, made.additional_properties, made.k.additional_properties) == (SYMBOLS[0], {}, {})
        await connection.close_connection(close_session=True)

        versions = {"fapiPublic": "v1", "fapiPrivate": "v1", "fapiPublicV2": "v2", "fapiPublicV3": "v3"}
        api = {name: f"{box.url}/fapi/{version}" for name, version in versions.items()}
        options = {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["linear"]}}
        other = ccxt.pro.binanceusdm({"options": options, "urls": {"api": {**api, "ws": {"linear": f"{ws}/ws"}}}})
        try:
            candles = await asyncio.wait_for(other.watch_ohlcv("AAA/USDT:USDT", "1m"), 10)
            assert all(candles[0][3] <= price <= candles[0][2] for price in (candles[0][1], candles[0][4]))
            marks = await asyncio.wait_for(other.watch_mark_price("AAA/USDT:USDT"), 10)
            assert marks["markPrice"] > 0
            assert await asyncio.wait_for(other.watch_bids_asks(["AAA/USDT:USDT"]), 10)
        finally:
            await other.close()

        third = AsyncClient()
        manager = BinanceSocketManager(third)
        manager.FSTREAM_URL = f"{ws}/"
        async with manager.kline_futures_socket(SYMBOLS[0], "1m") as socket:
            payload = await asyncio.wait_for(socket.recv(), 5)
            assert (payload["e"], payload["ps"]) == ("continuous_kline", SYMBOLS[0])
        async with manager.futures_multiplex_socket(klines()) as socket:
            assert (await asyncio.wait_for(socket.recv(), 5))["data"]["e"] == "kline"
        await third.close_connection()
    assert [r.getMessage() for r in caplog.records if r.name == "root"] == []
