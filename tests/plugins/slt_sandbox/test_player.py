"""The market as it is played: which prices the exchange sees and when, and what the streams say of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from slt.market import bar_path
from slt_sandbox.clock import MarketClock
from slt_sandbox.hub import Hub
from slt_sandbox.player import Player, PlayerSettings, bar_at
from slt_sandbox.tape import Bar

sys.path.insert(0, str(Path(__file__).parent))

from arena import (
    DAY,
    MINUTE,
    START,
    SYMBOLS,
    WAIT,
    GivenFeed,
    arena,
    client,
    closed_bars,
    klines,
    source_bars,
    until,
    until_over,
)


class Tracks:
    """An exchange that writes down what it is told, and a hub that does so in the same list."""

    def __init__(self):
        self.happened = []
        self.volumes = Counter()
        self.halted = set()

    def advance(self, point):
        self.happened.append(("price", point.time, point.symbol, point.price, point.is_gap))

    def add_volume(self, symbol, base, quote, trades):
        del quote, trades
        self.volumes[symbol] += base

    def status(self, symbol):
        return "SETTLING" if symbol in self.halted else "TRADING"


class OpenHub(Hub):
    """A hub in which somebody listens to everything, and reads at once."""

    def __init__(self, tracks, streams):
        super().__init__()
        self.tracks = tracks
        self._listeners = {stream: {1: None} for stream in streams}

    def publish(self, stream, text, client=0, spared=frozenset()):
        del client, spared
        self.tracks.happened.append(("push", stream, json.loads(text)))

    def readers(self):
        return [1]

    async def confirmed(self):
        self.tracks.happened.append(("barrier",))


async def played(feed, streams=None, history=0, **settings):
    tracks = Tracks()
    start = feed.start + history
    market = feed.slt_describe_market()
    hub = OpenHub(tracks, streams if streams is not None else klines(feed.symbols))
    clock = MarketClock(start, settings.get("speed", 0.0))
    settings = PlayerSettings(**{"speed": 0.0, **settings})
    player = Player(feed, market, market.rules, tracks, hub, clock, settings, start=start)
    async with asyncio.timeout(20):
        await player.play()
    assert player.is_over
    return tracks


async def test_player_gives_the_exchange_the_points_of_the_path_at_their_times():
    feed = GivenFeed(minutes=3)
    prices = [h for h in (await played(feed)).happened if h[0] == "price"]
    expected = []
    for row in range(3):
        opened = START + row * MINUTE
        paths = [
            bar_path(*(float(getattr(feed.bars, n)[row, c]) for n in ("open", "high", "low", "close")), 0, "ohlc")
            for c in (0, 1)
        ]
        for step, time in enumerate((opened, opened + 20_000, opened + 40_000, opened + 59_999)):
            expected += [("price", time, s, paths[c][step], step == 0) for c, s in enumerate(SYMBOLS)]
    assert prices == expected


async def test_player_closes_every_bar_once_with_the_source_numbers():
    feed = GivenFeed(minutes=8)
    pushes = [h[2] for h in (await played(feed)).happened if h[0] == "push"]
    for symbol in SYMBOLS:
        assert closed_bars(pushes, symbol) == source_bars(feed, symbol)


async def test_player_closes_within_the_delay_and_before_the_next_bar_speaks():
    feed = GivenFeed(minutes=12)
    happened = (await played(feed, close_delay_min_seconds=0.2, close_delay_max_seconds=2.0)).happened
    last_closed, delays = {}, []
    for what in happened:
        if what[0] != "push":
            continue
        event = what[2]
        if event["k"]["x"]:
            delays.append(event["E"] - event["k"]["T"] - 1)
            last_closed[event["s"]] = event["k"]["t"]
        else:
            assert last_closed.get(event["s"], event["k"]["t"] - MINUTE) == event["k"]["t"] - MINUTE
    assert len(delays) == 24
    assert 200 <= min(delays) < max(delays) <= 2_000
    assert len(set(delays)) > 12


async def test_player_with_a_delay_pushes_five_updates_a_bar():
    happened = (await played(GivenFeed(minutes=5))).happened
    per_bar = Counter((h[2]["s"], h[2]["k"]["t"]) for h in happened if h[0] == "push")
    assert set(per_bar.values()) == {5}
    assert len(per_bar) == 10


async def test_player_without_a_delay_closes_bars_before_the_next_price_trades():
    happened = (await played(GivenFeed(minutes=4), close_delay_min_seconds=0, close_delay_max_seconds=0)).happened
    for minute in range(1, 4):
        time = START + minute * MINUTE
        opens = [i for i, h in enumerate(happened) if h[0] == "price" and h[1] == time]
        closes = [i for i, h in enumerate(happened) if h[0] == "push" and h[2]["k"]["x"] and h[2]["E"] == time]
        barriers = [i for i, h in enumerate(happened) if h[0] == "barrier"]
        assert len(opens) == len(closes) == 2
        assert max(closes) < barriers[minute - 1] < min(opens)


@pytest.mark.parametrize("seed", [1, 2])
async def test_player_with_the_same_seed_plays_the_same(seed):
    one, two = [(await played(GivenFeed(minutes=6), seed=seed)).happened for _ in range(2)]
    assert one == two


async def test_player_with_another_seed_closes_at_other_times():
    one, two = [(await played(GivenFeed(minutes=6), seed=seed)).happened for seed in (1, 2)]
    assert one != two


async def test_player_says_nothing_of_an_empty_minute_and_trade_ids_prove_it():
    feed = GivenFeed(minutes=6, empty=[(2, 0), (3, 0)])
    pushes = [h[2] for h in (await played(feed)).happened if h[0] == "push"]
    closed = [p["k"] for p in pushes if p["s"] == SYMBOLS[0] and p["k"]["x"]]
    assert [(k["t"] - START) // MINUTE for k in closed] == [0, 1, 4, 5]
    assert [b["f"] for b in closed[1:]] == [a["L"] + 1 for a in closed[:-1]]


async def test_player_told_to_pushes_an_empty_minute_as_a_flat_bar():
    feed = GivenFeed(minutes=4, empty=[(2, 0)])
    pushes = [h[2] for h in (await played(feed, pushes_empty=True)).happened if h[0] == "push"]
    flat = next(p["k"] for p in pushes if p["s"] == SYMBOLS[0] and p["k"]["t"] == START + 2 * MINUTE)
    last = next(p["k"] for p in pushes if p["s"] == SYMBOLS[0] and p["k"]["t"] == START + MINUTE and p["k"]["x"])
    assert {flat[word] for word in "ohlc"} == {last["c"]}
    assert (flat["n"], flat["f"], flat["L"], float(flat["v"]), flat["x"]) == (0, -1, -1, 0.0, True)


async def test_player_leaves_a_symbol_alone_that_does_not_trade():
    feed, tracks = GivenFeed(minutes=4), Tracks()
    tracks.halted = {SYMBOLS[1]}
    market = feed.slt_describe_market()
    player = Player(
        feed,
        market,
        market.rules,
        tracks,
        OpenHub(tracks, klines()),
        MarketClock(START, 0.0),
        PlayerSettings(speed=0.0),
        start=START,
    )
    await player.play()
    assert {h[2] for h in tracks.happened if h[0] == "price"} == {SYMBOLS[0]}


async def test_player_counts_the_volume_of_each_bar_once():
    feed = GivenFeed(minutes=5)
    tracks = await played(feed)
    for column, symbol in enumerate(SYMBOLS):
        assert tracks.volumes[symbol] == pytest.approx(float(feed.bars.volume[:, column].sum()))


async def test_player_reads_a_day_before_the_start_for_tickers_and_trade_ids():
    feed = GivenFeed(minutes=40)
    whole = await played(feed, ["!ticker@arr", *klines()])
    late = await played(feed, ["!ticker@arr", *klines()], history=30 * MINUTE)
    prices = [h for h in late.happened if h[0] == "price"]
    before = float(feed.bars.close[29, 0])
    assert prices[0] == ("price", START + 30 * MINUTE - 1, SYMBOLS[0], before, True)
    assert prices[2][1] == START + 30 * MINUTE

    def ids(tracks):
        closed = [h[2]["k"] for h in tracks.happened if h[0] == "push" and h[1] in klines() and h[2]["k"]["x"]]
        return {(k["s"], k["t"]): (k["f"], k["L"]) for k in closed}

    assert ids(late).items() <= ids(whole).items()
    first = next(h[2] for h in late.happened if h[0] == "push" and h[1] == "!ticker@arr")
    assert first[0]["O"] == START
    expected = float(feed.bars.volume[:30, 0].sum())
    assert float(first[0]["v"]) == pytest.approx(expected, rel=0.2)


async def test_player_pushes_longer_candles_where_somebody_listens():
    feed = GivenFeed(minutes=15)
    happened = (await played(feed, klines(interval="5m"))).happened
    closed = [h[2]["k"] for h in happened if h[0] == "push" and h[2]["s"] == SYMBOLS[0] and h[2]["k"]["x"]]
    bars = feed.bars
    assert [(k["t"] - START) // MINUTE for k in closed] == [0, 5, 10]
    for number, k in enumerate(closed):
        part = slice(number * 5, number * 5 + 5)
        assert float(k["o"]) == bars.open[part, 0][0]
        assert float(k["c"]) == bars.close[part, 0][-1]
        assert float(k["h"]) == bars.high[part, 0].max()
        assert float(k["l"]) == bars.low[part, 0].min()
        assert float(k["v"]) == pytest.approx(bars.volume[part, 0].sum())


@pytest.mark.parametrize(("interval", "days"), [("3d", [2, 3, 3]), ("1w", [7]), ("1M", [])])
async def test_player_closes_candles_of_days_weeks_and_months_by_the_calendar(interval, days):
    # From Monday 2024-01-01, the second of three days counted from 1970-01-01.
    feed = GivenFeed(minutes=10 * 4, interval_ms=6 * 60 * MINUTE)
    happened = (await played(feed, klines(interval=interval))).happened
    mine = [h[2]["k"] for h in happened if h[0] == "push" and h[2]["s"] == SYMBOLS[0]]
    closed, first, opened = [k for k in mine if k["x"]], 0, feed.bars.open[:, 0]
    assert {k["i"] for k in mine} == {interval}
    assert len(closed) == len(days)
    for k, count in zip(closed, days, strict=True):
        last = first + count * 4
        assert (float(k["o"]), float(k["c"])) == (opened[first], feed.bars.close[last - 1, 0])
        assert float(k["h"]) == feed.bars.high[first:last, 0].max()
        assert k["T"] + 1 == START + last * 6 * 60 * MINUTE
        first = last


def test_bar_at_without_purchases_of_takers_takes_half_the_volume():
    feed = GivenFeed(minutes=2, taker=False, empty=[(1, 0)])
    bar = bar_at(feed.bars, 0, 0)
    assert bar.taker == bar.volume / 2
    assert bar_at(feed.bars, 1, 0) is None
    assert bar_at(feed.bars, 0, 0, shift_ms=DAY).close_time == bar.close_time + DAY


async def test_player_as_fast_as_clients_read_waits_for_the_first_and_loses_nothing():
    feed = GivenFeed(minutes=60)
    async with arena(feed) as box:
        await asyncio.sleep(0.05)
        assert box.player.rows == 0
        async with client(box, streams=klines()) as socket:
            payloads = await until_over(box, socket)
    for symbol in SYMBOLS:
        assert closed_bars(payloads, symbol) == source_bars(feed, symbol)


async def test_player_stands_still_while_nobody_reads_and_goes_on_after():
    feed = GivenFeed(minutes=3_000)
    async with arena(feed) as box:
        async with client(box, streams=klines()) as socket:
            await socket.recv()
        async with asyncio.timeout(WAIT):
            rows = -1
            while rows != box.player.rows:
                rows = box.player.rows
                await asyncio.sleep(0.2)
        assert rows < 3_000
        async with client(box, streams=klines()) as socket:
            await socket.recv()
            while box.player.rows <= rows:
                await socket.recv()


async def test_player_that_is_stepped_plays_one_bar_a_step():
    feed = GivenFeed(minutes=5)
    async with arena(feed, delays=(0, 0), is_stepped=True) as box, client(box, streams=klines()) as socket:
        seen = []
        for bar in range(1, 4):
            while len(seen) < 2 * bar:
                payload = json.loads(await asyncio.wait_for(socket.recv(), WAIT))["data"]
                seen += closed_bars([payload])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.1)
            assert {time for _, time, *_ in seen} == {START + n * MINUTE for n in range(1, bar + 1)}
            box.player.step()


async def test_player_that_is_stepped_by_prices_waits_after_each_of_them():
    feed = GivenFeed(minutes=5)
    stepped = {"delays": (0, 0), "is_stepped": True, "steps_prices": True}
    async with arena(feed, **stepped) as box, client(box, streams=klines()) as socket:
        path = Bar(0, MINUTE, *(getattr(feed.bars, n)[0, 0] for n in ("open", "high", "low", "close")), 1, 1, 9).path()
        for step in range(5):
            await until(lambda: box.player.is_waiting)
            assert box.exchange.last_price(SYMBOLS[0]) == path[min(step, 3)]
            assert (box.player.is_between_bars, box.player.rows) == ((True, 1) if step == 4 else (False, 0))
            box.player.step()
            assert not box.player.is_waiting
        await until(lambda: box.player.is_waiting)
        assert box.exchange.last_price(SYMBOLS[0]) == feed.bars.open[1, 0]
        box.player.step(4)
        await until(lambda: box.player.is_waiting and box.player.rows == 2)
        assert box.state()["is_waiting"]
        assert socket.close_code is None


async def test_player_that_is_paused_stands_still():
    async with arena(GivenFeed(minutes=200), speed=6_000.0) as box, client(box, streams=klines()) as socket:
        await socket.recv()
        box.player.pause()
        for _ in range(20):  # what was under way comes to its end
            await asyncio.sleep(0)
        rows, now = box.player.rows, box.exchange.clock()
        await asyncio.sleep(0.2)
        assert box.player.is_paused
        assert box.player.rows == rows
        assert box.exchange.clock() - now < MINUTE
        box.player.resume()
        while box.player.rows <= rows:
            await asyncio.wait_for(socket.recv(), WAIT)


async def test_player_at_a_pace_keeps_the_clock_beside_the_wall():
    async with arena(GivenFeed(minutes=600), speed=600.0) as box, client(box, streams=klines()) as socket:
        first = json.loads(await socket.recv())["data"]["E"]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        last = first
        while last < first + 10 * MINUTE:
            last = json.loads(await asyncio.wait_for(socket.recv(), WAIT))["data"]["E"]
        assert (
            loop.time() - begun >= 0.8
        )  # ten minutes at 600 a second are a second; never less, however slow the machine
