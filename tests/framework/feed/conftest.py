"""A tiny live feed whose frames are words, and a server that speaks it with faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace

import pytest
from attrs import evolve
from websockets.asyncio.server import serve

from slt.config import FeedConfig
from slt.errors import DataError
from slt.feed.pipeline import FeedPipeline
from slt.types import ConnectionPlan, Kline, MarketInfo, SymbolChange, Wave

MINUTE = 60_000
START = 1_700_000_040_000


def make_kline(symbol="AAA", minute=1, *, closed=True, first=None, last=None, close=100.0, delay=100, **more):
    """Bar number `minute` after START; by default its trade ids go on from the bar before's."""
    first = 10 * minute if first is None else first
    last = 10 * minute + 9 if last is None else last
    close_time = START + minute * MINUTE
    bar = Kline(
        symbol=symbol,
        event_time=close_time + delay if closed else close_time - MINUTE + delay,
        interval_ms=MINUTE,
        close_time=close_time,
        open=100.0,
        high=max(100.0, close) + 1,
        low=min(100.0, close) - 1,
        close=close,
        volume=5.0 + minute,
        taker_buy_volume=2.0,
        first_trade_id=first,
        last_trade_id=last,
        trades=last - first + 1 if first >= 0 else 0,
        is_closed=closed,
    )
    return evolve(bar, **more)


def as_frame(item) -> bytes:
    """A k-line or symbol change in the words of `WordFeed`."""
    if isinstance(item, SymbolChange):
        return f"changes||1|{item.time}|{item.symbol}|{item.status}".encode()
    values = (
        item.symbol, item.event_time, item.interval_ms, item.close_time, item.open, item.high, item.low, item.close,
        item.volume, item.taker_buy_volume, item.first_trade_id, item.last_trade_id, item.trades,
    )  # fmt: skip
    return f"{item.symbol.lower()}|{item.close_time}|{int(item.is_closed)}|{'|'.join(map(str, values))}".encode()


class WordFeed:
    """Hooks of a live feed with frames ``stream|bar|closed|…``; answers to control frames begin with ``#``."""

    def __init__(self, url="", connections=1):
        self.url, self.connections = url, connections

    def slt_plan_connections(self, symbols):
        plans = []
        for number in range(self.connections):
            share = symbols[number :: self.connections]
            streams = tuple(s.lower() for s in share)
            extra = (("changes",), ("",)) if number == 0 else ((), ())
            plans.append(ConnectionPlan(f"c{number + 1}", self.url, streams + extra[0], share + extra[1]))
        return tuple(plans)

    def slt_subscribe_streams(self, streams, is_wanted, first_id):
        return (json.dumps({"id": first_id, "streams": streams, "wanted": is_wanted}),)

    def slt_route_frame(self, frame):
        if frame.startswith(b"#"):
            return "", b"", True
        stream, bar, closed, _ = frame.split(b"|", 3)
        return stream.decode(), bar, closed == b"1"

    def slt_decode_frame(self, frame):
        if frame.startswith(b"#"):
            return []
        parts = frame.decode().split("|")
        if parts[0] == "changes":
            return [SymbolChange(int(parts[3]), parts[4], parts[5], parts[5] == "TRADING")]
        try:
            symbol, *numbers = parts[3:]
            whole, prices, ids = numbers[:3], numbers[3:9], numbers[9:]
            return [Kline(symbol, *map(int, whole), *map(float, prices), *map(int, ids), is_closed=parts[2] == "1")]
        except (ValueError, TypeError) as error:
            raise DataError(f"garbled: {error}") from None


class Server:
    """A WebSocket server on 127.0.0.1 that the test drives: it sees subscriptions and pushes what it is told."""

    def __init__(self):
        self.sockets = []
        self.asked = []
        self.connected = asyncio.Event()
        self.refuse = 0
        self.mute = False

    async def handle(self, socket):
        self.sockets.append(socket)
        with contextlib.suppress(Exception):
            async for text in socket:
                self.asked.append(json.loads(text))
                if not self.mute:
                    await socket.send(b"#ok")
                self.connected.set()

    def admit(self, connection, request):
        if self.refuse > 0:
            self.refuse -= 1
            return connection.respond(503, "away\n")
        return None

    async def push(self, *items, socket=-1):
        for item in items:
            await self.sockets[socket].send(item if isinstance(item, bytes) else as_frame(item))

    async def ready(self, count=1):
        async with asyncio.timeout(10):
            while sum(a["wanted"] for a in self.asked) < count:  # noqa: ASYNC110 # what others do has no event
                await asyncio.sleep(0.01)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
async def server():
    state = Server()
    async with serve(state.handle, "127.0.0.1", 0, process_request=state.admit, compression=None) as running:
        state.url = f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        yield state


@pytest.fixture
async def run(server):
    """Start a pipeline on the server; gives it with its clocks and everything it says."""
    tasks = []

    def start(symbols=("AAA", "BBB"), *, connections=1, recorder=None, start_time=START + 100, **options):
        config = FeedConfig(**{"control_frames_per_second": 10.0, "backoff_ceiling_seconds": 0.2, **options})
        wall, seconds = Clock(start_time), Clock(1000.0)
        market = MarketInfo(symbols, MINUTE, START, None, "words")
        pipeline = FeedPipeline(
            WordFeed(server.url, connections), market, config, wall_ms=wall, recorder=recorder, seconds=seconds
        )
        said = []

        async def listen():
            async for item in pipeline.read():
                said.append(item)  # noqa: PERF401 # the test looks at it meanwhile

        tasks.extend([asyncio.create_task(pipeline.run()), asyncio.create_task(listen())])
        return SimpleNamespace(pipeline=pipeline, wall=wall, seconds=seconds, said=said, task=tasks[-2])

    yield start
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


@pytest.fixture
def eventually():
    """Wait until a condition holds."""

    async def wait(condition, seconds=10.0):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 # any condition
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def words():
    """What tests need of this module."""
    return SimpleNamespace(kline=make_kline, frame=as_frame, feed=WordFeed, clock=Clock, START=START, MINUTE=MINUTE)


@pytest.fixture
def table():
    """All bars of waves, as ``{(symbol, close time): (state, prices…)}``, each at most once."""

    def collect(items):
        found = {}
        for wave in items:
            if not isinstance(wave, Wave):
                continue
            bars = wave.bars
            for row, time in enumerate(bars.close_time):
                for column, symbol in enumerate(bars.symbols):
                    if bars.state[row, column]:
                        key = symbol, int(time)
                        assert key not in found, f"{key} came twice"
                        names = ("open", "high", "low", "close", "volume", "taker_buy_volume")
                        values = tuple(getattr(bars, n)[row, column].tobytes() for n in names)
                        found[key] = (int(bars.state[row, column]), *values)
        return found

    return collect
