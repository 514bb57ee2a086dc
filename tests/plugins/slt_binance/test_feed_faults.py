"""Every fault of a feed that the local exchange knows, met by the real feed and the kernel's pipeline.

Whatever goes wrong: no bar that goes out differs from the market's own, what is missing is missing and not made up, the
counters tell what happened, and bars flow again afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import pytest
from attrs import evolve, frozen

sys.path.insert(0, str(Path(__file__).parents[1] / "slt_sandbox"))

from arena import MINUTE, START, SYMBOLS, GivenFeed, arena, source_bars

from slt.config import FeedConfig
from slt.feed.pipeline import FeedPipeline
from slt.types import BarState, SymbolChange, Wave
from slt_binance.feed import BinanceFeed, BinanceFeedConfig
from slt_sandbox.fault_rules import CATALOGUE

A, B = SYMBOLS
MINUTES = 2_000
ENOUGH = 40
"""Waves in which every fault has struck, those of lines excepted: they are over when the line lives again."""
SPEED = 300.0
QUICK = {
    "clock": "events",
    "silence_seconds": 2.0,
    "symbol_silence_seconds": 3.0,
    "resubscribe_minutes": 0.02,
    "ping_seconds": 1.0,
    "backoff_ceiling_seconds": 0.5,
    "overlap_seconds": 0.5,
}
WHOLE = 0


@frozen
class Case:
    """A fault and what the feed has to say about it.

    Attributes:
        rule: The rule in the sandbox's words.
        counter: The counter of the pipeline that must tell of it; empty = none.
        causes: Causes of which one must be among those of the reconnects; empty = none.
        lost: Most bars of `A` that may be missing; `WHOLE` = not one.
        connections: Connections that the streams are spread over.
    """

    rule: str
    counter: str = ""
    causes: tuple[str, ...] = ()
    lost: int = WHOLE
    connections: int = 1


MANY = 10_000
"""Bars pass while a line is dead, at this speed."""

CASES = {
    "close_1006": Case("close_1006 nth=200", causes=("1006",), lost=MANY),
    "close_1011": Case("close_1011 nth=200", causes=("1011",), lost=MANY),
    "close_1008": Case("close_1008 nth=200", causes=("1008",), lost=MANY),
    "cut_24h": Case("cut_24h nth=200", causes=("1001",), lost=MANY),
    "half_open": Case("half_open nth=200 client=1", causes=("silent", "1006", "1011", "timeout"), lost=MANY),
    "unrouted": Case("unrouted nth=200 client=1", causes=("silent",), lost=MANY),
    "slow_network": Case("slow_network nth=50 times=40 seconds=0.02"),
    "burst": Case("burst nth=100 seconds=1"),
    "symbol_silent": Case(f"symbol_silent symbol={A} nth=10 seconds=600", counter="missing", lost=11),
    "kline_late": Case(f"kline_late symbol={A} nth=10 times=3 seconds=20", counter="recovered"),
    "kline_duplicate": Case(f"kline_duplicate symbol={A} nth=10 times=3", counter="duplicate"),
    "kline_reordered": Case(f"kline_reordered symbol={A} nth=10 times=3", counter="recovered"),
    "kline_restated": Case(f"kline_restated symbol={A} nth=10 seconds=20", counter="restated_late"),
    "kline_missing": Case(f"kline_missing symbol={A} nth=10 times=2", counter="missing", lost=2),
    "kline_never_closed": Case(f"kline_never_closed symbol={A} nth=10 times=3", counter="recovered"),
    "malformed_json": Case(f"malformed_json symbol={A} nth=10 times=2", counter="decode_errors", lost=2),
    "huge_frame": Case(f"huge_frame symbol={A} nth=10", causes=("1009",), lost=MANY),
}


def test_every_fault_of_the_feed_is_here():
    assert set(CASES) == {name for name, fault in CATALOGUE.items() if fault.place in {"line", "kline"}}


class Ear:
    """The real feed and the pipeline on a local exchange, and every bar that they gave."""

    def __init__(self, box, connections):
        url = box.url
        options = {"rest_url": url, "stream_url": url.replace("http", "ws"), "symbols": SYMBOLS}
        self.feed = BinanceFeed(BinanceFeedConfig(connections=connections, **options))
        self.waves, self.changes, self.bars, self.restated = [], [], {}, []
        self.pipeline = None

    def take(self, item):
        if isinstance(item, SymbolChange):
            self.changes.append(item)
        elif isinstance(item, Wave):
            self.waves.append(item)
            self.restated += item.restated
            bars = item.bars
            for row, closed in enumerate(bars.close_time.tolist()):
                for column, symbol in enumerate(bars.symbols):
                    if bars.state[row, column] == BarState.TRADED:
                        assert (symbol, closed) not in self.bars, "a bar went out twice"
                        names = ("open", "high", "low", "close", "volume")
                        self.bars[symbol, closed] = tuple(float(getattr(bars, n)[row, column]) for n in names)

    async def listen(self, until, seconds=100.0):
        market = await asyncio.to_thread(self.feed.slt_describe_market)
        config = FeedConfig(**QUICK)
        self.pipeline = FeedPipeline(self.feed, evolve(market), config, wall_ms=lambda: time.time_ns() // 1_000_000)
        running = asyncio.create_task(self.pipeline.run())
        try:
            async with asyncio.timeout(seconds), contextlib.aclosing(self.pipeline.read()) as items:
                async for item in items:
                    self.take(item)
                    if until(self):
                        return
                    if running.done():
                        running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @property
    def causes(self):
        return {cause for one in self.pipeline.status().connections for cause in one.reconnects}

    @property
    def counters(self):
        return self.pipeline.status().counters


def true_bars(feed):
    return {(s, closed): values for symbol in SYMBOLS for s, closed, *values in source_bars(feed, symbol)}


def is_told(ear, case):
    """Whether what the case is about has been noticed."""
    return (not case.counter or ear.counters[case.counter] > 0) and (
        not case.causes or not ear.causes.isdisjoint(case.causes)
    )


@pytest.mark.parametrize("name", CASES)
async def test_feed_meets_the_fault_hands_out_no_wrong_bar_and_recovers(name):
    case = CASES[name]
    source = GivenFeed(minutes=MINUTES)
    seen = []

    def is_over(ear):
        if ear.waves and not seen and len(ear.waves) >= ENOUGH and is_told(ear, case):
            seen.append(len(ear.waves))
        whole = bool(ear.waves) and (ear.waves[-1].bars.state[-1] == BarState.TRADED).all()
        return bool(seen) and len(ear.waves) > seen[0] + 5 and bool(whole)

    async with arena(source, speed=SPEED, faults=[case.rule], wait_for_clients=1) as box:
        ear = Ear(box, case.connections)
        await ear.listen(is_over)
        struck = [entry.detail for entry in box.exchange.ledger.of("fault")]
        lines = [entry.detail for entry in box.exchange.ledger.of("stream")]
    assert name in {one["name"] for one in struck} or name in str(lines), "the fault never struck"
    truth = true_bars(source)
    wrong = {key: value for key, value in ear.bars.items() if list(value) != pytest.approx(list(truth[key]))}
    assert not wrong
    assert is_told(ear, case)
    closed = [key[1] for key in ear.bars if key[0] == A]
    expected = (max(closed) - min(closed)) // MINUTE + 1
    assert 0 <= expected - len(closed) <= case.lost
    assert min(closed) >= START


async def test_restated_bar_is_handed_on_with_the_numbers_of_the_exchange():
    source = GivenFeed(minutes=MINUTES)
    async with arena(source, speed=SPEED, faults=[CASES["kline_restated"].rule], wait_for_clients=1) as box:
        ear = Ear(box, 2)
        await ear.listen(lambda ear: bool(ear.restated))
    (kline,) = ear.restated
    went_out = ear.bars[A, kline.close_time]
    assert went_out == pytest.approx(true_bars(source)[A, kline.close_time])
    assert kline.volume == pytest.approx(went_out[-1] * 1.01, rel=1e-3)


@pytest.mark.parametrize("name", ["close_1006", "close_1011", "cut_24h"])
async def test_two_connections_lose_only_what_the_broken_one_carried(name):
    source = GivenFeed(minutes=MINUTES)
    seen = []

    def is_over(ear):
        if not seen and ear.causes:
            seen.append(len(ear.waves))
        return bool(seen) and len(ear.waves) > seen[0] + 20

    async with arena(source, speed=SPEED, faults=[f"{name} nth=40 client=1"], wait_for_clients=2) as box:
        ear = Ear(box, 2)
        await ear.listen(is_over)
    held = {s: {closed for symbol, closed in ear.bars if symbol == s} for s in SYMBOLS}
    spans = {s: (max(times) - min(times)) // MINUTE + 1 for s, times in held.items()}
    assert any(len(held[s]) == spans[s] for s in SYMBOLS), "the connection that lived lost nothing"
