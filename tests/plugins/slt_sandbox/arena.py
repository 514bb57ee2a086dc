"""A feed of given bars, a whole sandbox over it, and clients that speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import websockets

from slt.rules import generic_rules
from slt.types import Bars, BarState, FundingRates, MarketInfo
from slt_sandbox.player import PlayerSettings
from slt_sandbox.server import Sandbox

DAY = 86_400_000
MINUTE = 60_000
START = 1_704_067_200_000
KEY, SECRET = "k" * 16, "s" * 16
SYMBOLS = ("AAAUSDT", "BBBUSDT")
WAIT = 25.0
"""Longest wait for something that must come, seconds: a machine may be slow."""


class GivenFeed:
    """Bars made by a seed, or given one by one; minutes in `empty` hold no trade."""

    def __init__(self, minutes=30, symbols=SYMBOLS, seed=1, empty=(), start=START, interval_ms=MINUTE, taker=True):
        self.symbols, self.start, self.minutes, self.interval_ms = symbols, start, minutes, interval_ms
        draw = np.random.default_rng(seed)
        shape = (minutes, len(symbols))
        steps = np.cumsum(draw.normal(0, 0.3, (minutes + 1, len(symbols))), axis=0) + 100
        opened, closed = steps[:-1].round(2), steps[1:].round(2)
        reach = np.abs(draw.normal(0, 0.2, (2, *shape)))
        state = np.full(shape, BarState.TRADED, np.uint8)
        for minute, column in empty:
            state[minute, column] = BarState.EMPTY
        gone = state != BarState.TRADED
        volume = draw.uniform(1, 50, shape).round(1)

        def held(values, blank=np.nan):
            return np.where(gone, blank, values)

        self.bars = Bars(
            symbols=symbols,
            interval_ms=interval_ms,
            close_time=start + interval_ms * np.arange(1, minutes + 1, dtype=np.int64),
            open=held(opened),
            high=held((np.maximum(opened, closed) + reach[0]).round(2)),
            low=held((np.minimum(opened, closed) - reach[1]).round(2)),
            close=held(closed),
            volume=held(volume, 0.0),
            taker_buy_volume=held((volume * 0.4).round(1) if taker else np.full(shape, np.nan), 0.0),
            state=state,
        )
        times = np.arange(start + 8 * 3_600_000, start + 10 * DAY, 8 * 3_600_000, dtype=np.int64)
        self.funding = {symbols[0]: FundingRates(time=times, rate=np.full(len(times), 0.0001))}

    def slt_describe_market(self):
        return MarketInfo(
            symbols=self.symbols,
            interval_ms=self.interval_ms,
            start=self.start,
            end=self.start + self.minutes * self.interval_ms,
            description="given bars",
            rules={symbol: generic_rules(symbol, 100.0) for symbol in self.symbols},
            funding=self.funding,
        )

    def slt_read_bars(self, start, rows):
        first = int(np.searchsorted(self.bars.close_time, start, side="right"))
        for row in range(first, len(self.bars), rows):
            yield self.bars.rows(row, min(row + rows, len(self.bars)))


@asynccontextmanager
async def arena(feed=None, *, speed=0.0, delays=(0.2, 2.0), faults=(), sandbox=None, **player):
    """A sandbox that is running, on a port of its own."""
    from slt_sandbox.fault_rules import parse_rule

    settings = PlayerSettings(
        speed=speed, close_delay_min_seconds=delays[0], close_delay_max_seconds=delays[1], **player
    )
    rules = [parse_rule(text) for text in faults]
    given = {"api_key": KEY, "secret": SECRET, "player": settings, "rules": rules} | (sandbox or {})
    async with Sandbox(feed or GivenFeed(), **given) as box:
        yield box


def ws_url(box, path):
    return box.url.replace("http", "ws", 1) + path


@asynccontextmanager
async def client(box, path="/market/stream", streams=(), **options):
    """A WebSocket client; with `streams` it has subscribed and been told so."""
    async with websockets.connect(ws_url(box, path), max_queue=None, max_size=None, **options) as socket:
        if streams:
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": list(streams), "id": 7}))
            assert json.loads(await socket.recv()) == {"result": None, "id": 7}
        yield socket


def klines(symbols=SYMBOLS, interval="1m"):
    return [f"{symbol.lower()}@kline_{interval}" for symbol in symbols]


async def frames(socket, count, seconds=WAIT):
    """So many frames, each as text."""
    async with asyncio.timeout(seconds):
        return [await socket.recv() for _ in range(count)]


async def until(is_so, seconds=WAIT):
    """Wait for something that no event tells of."""
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - as it says
            await asyncio.sleep(0.01)


async def until_over(box, socket, seconds=WAIT):
    """Every frame's payload until the market is over, and then up to the answer to a last question."""
    made = []
    async with asyncio.timeout(seconds):
        while not box.player.is_over:
            with contextlib.suppress(TimeoutError):
                made.append(json.loads(await asyncio.wait_for(socket.recv(), 0.1)))
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":"last"}')
        while (frame := json.loads(await socket.recv())).get("id") != "last":
            made.append(frame)
    return [frame.get("data", frame) for frame in made]


def closed_bars(payloads, symbol=None):
    """``(symbol, close time, open, high, low, close, volume)`` of the closing updates, in order of arrival."""
    return [
        (p["s"], p["k"]["T"] + 1, *(float(p["k"][word]) for word in "ohlcv"))
        for p in payloads
        if p.get("e") == "kline" and p["k"]["x"] and symbol in {None, p["s"]}
    ]


def source_bars(feed, symbol):
    """What `closed_bars` should give for a symbol."""
    column, bars = feed.symbols.index(symbol), feed.bars
    return [
        (
            symbol,
            int(bars.close_time[row]),
            *(float(getattr(bars, n)[row, column]) for n in ("open", "high", "low", "close", "volume")),
        )
        for row in range(len(bars))
        if bars.state[row, column] == BarState.TRADED
    ]


@asynccontextmanager
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT)) as session:
        yield session


async def post(box, path, value):
    async with http() as session, session.post(box.url + path, json=value) as answer:
        return answer.status, await answer.json()


async def get(box, path, **options):
    async with http() as session, session.get(box.url + path, **options) as answer:
        return answer.status, await answer.read(), answer.headers
