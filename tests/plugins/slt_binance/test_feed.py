"""The feed against a local server that speaks REST and streams: universe, plans, and bars end to end."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from aiohttp import WSMsgType, web
from attrs import evolve

from slt.config import FeedConfig
from slt.errors import DataError, FeedError
from slt.feed.pipeline import FeedPipeline
from slt.types import SymbolChange, Wave
from slt_binance.feed import BinanceFeed, BinanceFeedConfig

NOW = 1_790_000_000_123
MINUTE = 60_000
FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "100000", "tickSize": "0.1"},
    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    {"filterType": "MIN_NOTIONAL", "notional": "5"},
]


def entry(symbol, status="TRADING", kind="PERPETUAL", quote="USDT", **more):
    return {
        "symbol": symbol, "status": status, "contractType": kind, "quoteAsset": quote, "marginAsset": quote,
        "filters": FILTERS,
    } | more  # fmt: skip


LISTED = [
    entry("BTCUSDT"),
    entry("ETHUSDT"),
    entry("SOLUSDT"),
    entry("币USDT"),
    entry("OLDUSDT", status="SETTLING"),
    entry("BTCUSDC", quote="USDC"),
    entry("TSLAUSDT", kind="TRADIFI_PERPETUAL"),
    entry("BTCUSDT_261225", kind="CURRENT_QUARTER"),
    entry("BTCUSD_PERP", quote="USD", st=2),
]
VOLUMES = {"BTCUSDT": 9e9, "ETHUSDT": 5e9, "SOLUSDT": 7e9, "币USDT": 1e6, "OLDUSDT": 9e12, "TSLAUSDT": 9e12}


class Venue:
    """A small exchange in a thread of its own, because the market is described outside the test's loop."""

    def __init__(self):
        self.paths, self.controls, self.status, self.volumes = [], [], 200, VOLUMES
        self.listed = LISTED
        self.started, self.loop = threading.Event(), None
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))

    async def serve(self):
        app = web.Application()
        app.router.add_get("/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.loop, self.done = asyncio.get_running_loop(), asyncio.Event()
        self.started.set()
        await self.done.wait()
        await runner.cleanup()

    async def handle(self, request):
        path = "/" + request.match_info["path"]
        self.paths.append(path)
        if path == "/fapi/v1/time":
            return web.json_response({"serverTime": NOW})
        if path == "/fapi/v1/exchangeInfo":
            return web.json_response({"symbols": self.listed}, status=self.status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if path.endswith("!ticker@arr"):
            for symbols in (list(self.volumes)[:2], list(self.volumes)[2:]):
                tickers = [{"e": "24hrTicker", "s": s, "q": str(self.volumes[s]), "st": 1} for s in symbols]
                tickers.append({"e": "24hrTicker", "s": "SOLUSDT", "q": "1e15", "st": 2})
                await socket.send_str(json.dumps(tickers))
        elif path == "/market/stream":
            await self.stream(socket)
        async for _ in socket:
            pass
        return socket

    async def stream(self, socket):
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT
        control = json.loads(message.data)
        self.controls.append(control)
        await socket.send_str(json.dumps({"result": None, "id": control["id"]}))
        for minute in range(3):
            for stream in control["params"]:
                if stream.endswith("@kline_1m"):
                    for closed in (False, True):
                        await socket.send_str(kline(stream, minute, closed))
        if "!contractInfo" in control["params"]:
            news = {"e": "contractInfo", "E": NOW, "s": "NEWUSDT", "ct": "PERPETUAL", "cs": "TRADING", "st": 1}
            await socket.send_str(json.dumps({"stream": "!contractInfo", "data": news}))

    def stop(self):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(10)


def kline(stream, minute, closed):
    symbol = stream.removesuffix("@kline_1m").upper()
    opened = NOW // MINUTE * MINUTE + minute * MINUTE
    bar = {
        "t": opened, "T": opened + MINUTE - 1, "s": symbol, "i": "1m", "f": minute * 10, "L": minute * 10 + 9,
        "o": "100.1", "c": "100.5", "h": "101", "l": "99.5", "v": str(minute + 1), "n": 10, "x": closed, "q": "1",
        "V": "0.5", "Q": "1", "B": "0",
    }  # fmt: skip
    data = {"e": "kline", "E": opened + (MINUTE + 500 if closed else 500), "s": symbol, "k": bar}
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture
def venue():
    state = Venue()
    state.thread.start()
    state.started.wait(10)
    yield state
    state.stop()


@pytest.fixture
def feed_on(venue):
    def make(**options):
        address = f"127.0.0.1:{venue.port}"
        given = {"rest_url": f"http://{address}", "stream_url": f"ws://{address}", "ticker_seconds": 0.5} | options
        return BinanceFeed(BinanceFeedConfig(**given))

    return make


def test_market_of_named_symbols_has_their_rules_and_the_exchange_time(venue, feed_on):
    market = feed_on(symbols=("ETHUSDT", "BTCUSDT")).slt_describe_market()
    assert market.symbols == ("ETHUSDT", "BTCUSDT")
    assert market.interval_ms == MINUTE
    assert 0 <= market.start - NOW // MINUTE * MINUTE <= MINUTE
    assert market.end is None
    assert str(market.rules["BTCUSDT"].tick_size) == "0.1"
    assert set(venue.paths) == {"/fapi/v1/time", "/fapi/v1/exchangeInfo"}


def test_market_top_is_ranked_by_volume_among_what_can_be_traded(venue, feed_on):
    assert feed_on(top=2).slt_describe_market().symbols == ("BTCUSDT", "SOLUSDT")
    assert "/market/ws/!ticker@arr" in venue.paths
    assert feed_on(top=50).slt_describe_market().symbols == ("BTCUSDT", "SOLUSDT", "ETHUSDT", "币USDT")


def test_market_top_takes_who_has_told_a_volume_in_time(venue, feed_on, caplog):
    venue.volumes = {"ETHUSDT": 1.0}
    assert feed_on(top=3).slt_describe_market().symbols == ("ETHUSDT",)
    assert "only 1 of 4 symbols have told their volume" in caplog.text


def test_market_other_quote_asset(feed_on):
    assert feed_on(quote_asset="USDC", symbols=("BTCUSDC",)).slt_describe_market().symbols == ("BTCUSDC",)


def test_market_wrong_symbols_are_all_named(feed_on):
    with pytest.raises(DataError) as caught:
        feed_on(symbols=("BTCUSDT", "ETHUSD", "OLDUSDT", "TSLAUSDT", "BTCUSDC")).slt_describe_market()
    assert caught.value.problems == (
        "feeds.binance.symbols: the exchange knows no `ETHUSD`; did you mean `ETHUSDT`?",
        "feeds.binance.symbols: `OLDUSDT` cannot be traded (status SETTLING, PERPETUAL, quoted in USDT); remove it",
        (
            "feeds.binance.symbols: `TSLAUSDT` cannot be traded (status TRADING, TRADIFI_PERPETUAL, quoted in USDT); "
            "remove it"
        ),
        "feeds.binance.symbols: `BTCUSDC` cannot be traded (status TRADING, PERPETUAL, quoted in USDC); remove it",
    )


def test_market_of_a_resumed_run_keeps_its_symbols_whether_they_trade_or_not(feed_on):
    market = feed_on(symbols=("BTCUSDT", "OLDUSDT")).slt_describe_market(resumed=("OLDUSDT", "GONEUSDT", "BTCUSDT"))
    assert market.symbols == ("OLDUSDT", "GONEUSDT", "BTCUSDT")
    assert set(market.rules) == {"OLDUSDT", "BTCUSDT"}


def test_market_symbol_that_does_not_trade_yet_is_left_out_until_it_does(venue, feed_on, caplog):
    venue.listed = [*LISTED, entry("NEWUSDT", status="PENDING_TRADING")]
    feed = feed_on(symbols=("NEWUSDT", "BTCUSDT"))
    assert feed.slt_describe_market().symbols == ("BTCUSDT",)
    assert "NEWUSDT: listed, but not trading yet" in caplog.text
    assert asyncio.run(feed.slt_review_market(("BTCUSDT",))).joining == ()
    venue.listed = [*LISTED, entry("NEWUSDT")]
    review = asyncio.run(feed.slt_review_market(("BTCUSDT",)))
    assert review.joining == ("NEWUSDT",)
    assert set(review.rules) == {"NEWUSDT"}
    venue.listed = [*LISTED, entry("SOONUSDT", status="PENDING_TRADING")]
    with pytest.raises(DataError, match="none of SOONUSDT trades yet"):
        feed_on(symbols=("SOONUSDT",)).slt_describe_market()


def test_review_tells_how_each_symbol_stands(venue, feed_on):
    venue.listed = [
        entry("BTCUSDT", deliveryDate=4_133_404_800_000),
        entry("ETHUSDT", deliveryDate=NOW + 1),
        *LISTED[2:],
    ]
    review = asyncio.run(feed_on(symbols=("BTCUSDT",)).slt_review_market(("BTCUSDT", "ETHUSDT", "OLDUSDT", "GONEUSDT")))
    assert [(c.symbol, c.status, c.is_tradable, c.delivery_time) for c in review.changes] == [
        ("BTCUSDT", "TRADING", True, 0),
        ("ETHUSDT", "TRADING", True, NOW + 1),
        ("OLDUSDT", "SETTLING", False, 0),
        ("GONEUSDT", "GONE", False, 0),
    ]
    assert review.joining == ()


def test_review_of_the_top_lets_newcomers_join_up_to_twice_as_many(venue, feed_on, caplog):
    feed = feed_on(top=2)
    venue.volumes = VOLUMES | {"ETHUSDT": 1e12, "币USDT": 1e12}
    assert asyncio.run(feed.slt_review_market(("BTCUSDT", "SOLUSDT"))).joining == ("ETHUSDT", "币USDT")
    assert asyncio.run(feed.slt_review_market(("BTCUSDT", "SOLUSDT", "ETHUSDT"))).joining == ("币USDT",)
    review = asyncio.run(feed_on(top=1).slt_review_market(("BTCUSDT", "SOLUSDT")))
    assert review.joining == ()
    assert "there is room for 0" in caplog.text
    venue.volumes = {}
    assert asyncio.run(feed.slt_review_market(("BTCUSDT",))).changes[0].is_tradable
    assert "nobody joins at this review" in caplog.text


def test_review_of_an_exchange_that_does_not_answer_says_so(venue, feed_on):
    venue.status = 500
    with pytest.raises(FeedError, match="the list of symbols cannot be read"):
        asyncio.run(feed_on(symbols=("BTCUSDT",), request_timeout_seconds=1.0).slt_review_market(("BTCUSDT",)))


def test_market_without_any_perpetual_says_so(feed_on):
    with pytest.raises(FeedError, match="trades no perpetual quoted in EUR"):
        feed_on(quote_asset="EUR").slt_describe_market()


def test_market_silent_tickers_say_which_option_to_check(venue, feed_on):
    venue.volumes = {}
    with pytest.raises(FeedError, match=r"said nothing in 0.5 s; check `feeds.binance.stream_url`"):
        feed_on().slt_describe_market()


def test_market_unreachable_exchange_is_one_line(feed_on):
    with pytest.raises(FeedError, match="the list of symbols cannot be read") as caught:
        feed_on(rest_url="http://127.0.0.1:1", request_timeout_seconds=1.0).slt_describe_market()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbols": ("btcusdt",)}, "`btcusdt` is not a symbol"),
        ({"symbols": ("A", "A")}, "`A` stands there more than once"),
        ({"streams_per_connection": 1_025}, "streams_per_connection"),
        ({"interval": "2m"}, "interval"),
        ({"stream_url": "http://x"}, "stream_url"),
        ({"top": 0}, "top"),
    ],
)
def test_config_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        BinanceFeedConfig(**options)


@pytest.mark.parametrize(
    ("count", "options", "lengths"),
    [
        (1, {}, [1]),
        (50, {}, [25, 25]),
        (200, {}, [100, 100]),
        (1_000, {}, [167, 167, 167, 167, 166, 166]),
        (1_000, {"connections": 1, "streams_per_connection": 1_024}, [1_000]),
    ],
)
def test_plans_spread_the_streams_evenly_below_the_limit(count, options, lengths):
    feed = BinanceFeed(BinanceFeedConfig(**options))
    symbols = tuple(f"S{i}USDT" for i in range(count))
    plans = feed.slt_plan_connections(symbols)
    assert sorted(s for plan in plans for s in plan.symbols if s) == sorted(symbols)
    assert [len([s for s in plan.symbols if s]) for plan in plans] == lengths
    assert all(len(plan.streams) == len(plan.symbols) <= feed.config.streams_per_connection for plan in plans)
    assert plans[0].streams[-1] == "!contractInfo"
    assert plans[0].streams[0] == "s0usdt@kline_1m"
    assert len({plan.name for plan in plans}) == len(plans)
    assert all(plan.url == "wss://demo-fstream.binance.com/market/stream" for plan in plans)


def test_past_is_not_told():
    assert list(BinanceFeed(BinanceFeedConfig()).slt_read_bars(0, 100)) == []


def test_default_hosts_are_those_of_the_demo_exchange():
    assert "demo" in BinanceFeedConfig().rest_url
    assert "demo" in BinanceFeedConfig().stream_url


async def test_bars_come_out_of_streams_end_to_end(venue, feed_on):
    feed = feed_on(symbols=("BTCUSDT", "ETHUSDT", "币USDT"))
    market = await asyncio.to_thread(feed.slt_describe_market)
    pipeline = FeedPipeline(feed, evolve(market), FeedConfig(), wall_ms=lambda: NOW)
    task = asyncio.create_task(pipeline.run())
    waves, changes = [], []
    async with asyncio.timeout(20):
        async for item in pipeline.read():
            (waves if isinstance(item, Wave) else changes).append(item)
            if len(waves) == 3 and changes:
                break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [w.bars.close_time[-1] for w in waves] == [NOW // MINUTE * MINUTE + (m + 1) * MINUTE for m in range(3)]
    assert all((w.bars.state == 1).all() for w in waves)
    assert waves[1].bars.volume[0].tolist() == [2.0] * 3
    assert changes == [SymbolChange(NOW, "NEWUSDT", "TRADING", is_tradable=True)]
    assert sorted(len(c["params"]) for c in venue.controls) == [1, 3]
    assert not [path for path in venue.paths if "kline" in path.lower()], "candles never come by REST"
