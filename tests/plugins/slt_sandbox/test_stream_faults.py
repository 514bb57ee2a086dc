"""Faults of k-lines and of market connections, as a client meets them."""

# ruff: noqa: SIM117 - first the sandbox, then its clients
from __future__ import annotations

import asyncio
import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import websockets

sys.path.insert(0, str(Path(__file__).parent))

from arena import (
    MINUTE,
    START,
    SYMBOLS,
    WAIT,
    GivenFeed,
    arena,
    client,
    closed_bars,
    frames,
    klines,
    post,
    source_bars,
    until_over,
)

A, B = SYMBOLS
MINUTES = 12


async def seen(*faults, minutes=MINUTES, streams=None):
    """What one client sees of a short market: payloads, and the texts that are no JSON."""
    feed = GivenFeed(minutes=minutes)
    async with arena(feed, faults=faults) as box, client(box, streams=streams or klines()) as socket:
        payloads = await until_over(box, socket)
        return feed, payloads, [e.detail["name"] for e in box.exchange.ledger.of("fault")]


def closes(payloads, symbol=A):
    return [time for _, time, *_ in closed_bars(payloads, symbol)]


def at(minute):
    """Close time of the bar that begins with a minute."""
    return START + (minute + 1) * MINUTE


async def test_kline_late_comes_after_the_wait_and_the_next_bar_has_spoken():
    feed, payloads, struck = await seen(f"kline_late symbol={A} nth=3 seconds=30")
    assert struck == ["kline_late"]
    event = next(p for p in payloads if p["s"] == A and p["k"]["x"] and p["k"]["T"] + 1 == at(2))
    assert 30_000 <= event["E"] - at(2) <= 32_000
    before = payloads[: payloads.index(event)]
    assert any(p["s"] == A and p["k"]["t"] == at(2) for p in before)
    assert sorted(closed_bars(payloads, A)) == source_bars(feed, A)
    assert closed_bars(payloads, B) == source_bars(feed, B)


async def test_kline_duplicate_comes_twice():
    feed, payloads, _ = await seen(f"kline_duplicate symbol={A} nth=4")
    expected = source_bars(feed, A)
    assert closed_bars(payloads, A) == [*expected[:4], expected[3], *expected[4:]]


async def test_kline_reordered_comes_after_two_updates_of_the_next_bar():
    feed, payloads, _ = await seen(f"kline_reordered symbol={A} nth=5")
    late = next(i for i, p in enumerate(payloads) if p["s"] == A and p["k"]["x"] and p["k"]["T"] + 1 == at(4))
    assert sum(p["s"] == A and p["k"]["t"] == at(4) for p in payloads[:late]) >= 2
    assert sorted(closed_bars(payloads, A)) == source_bars(feed, A)


async def test_kline_restated_comes_again_with_other_numbers():
    feed, payloads, _ = await seen(f"kline_restated symbol={A} nth=2")
    told = [bar for bar in closed_bars(payloads, A) if bar[1] == at(1)]
    assert told[0] == source_bars(feed, A)[1]
    assert len(told) == 2
    assert told[1][-1] != told[0][-1]
    assert told[1][-2] != told[0][-2]
    _, _, opened, high, low, close, _ = told[1]
    assert low <= min(opened, close) <= max(opened, close) <= high


async def test_kline_missing_says_nothing_and_trade_ids_betray_it():
    feed, payloads, _ = await seen(f"kline_missing symbol={A} nth=3")
    assert not [p for p in payloads if p["s"] == A and p["k"]["T"] + 1 == at(2)]
    assert closed_bars(payloads, A) == [bar for bar in source_bars(feed, A) if bar[1] != at(2)]
    closed = {p["k"]["T"] + 1: p["k"] for p in payloads if p["s"] == A and p["k"]["x"]}
    assert closed[at(3)]["f"] > closed[at(1)]["L"] + 1


async def test_kline_never_closed_speaks_but_never_closes():
    feed, payloads, _ = await seen(f"kline_never_closed symbol={A} nth=3")
    assert [p for p in payloads if p["s"] == A and p["k"]["T"] + 1 == at(2)]
    assert closed_bars(payloads, A) == [bar for bar in source_bars(feed, A) if bar[1] != at(2)]


async def test_symbol_silent_says_nothing_for_so_long():
    _, payloads, _ = await seen(f"symbol_silent symbol={A} nth=3 seconds=180")
    assert closes(payloads) == [at(m) for m in range(MINUTES) if m not in {2, 3, 4}]
    assert closes(payloads, B) == [at(m) for m in range(MINUTES)]


async def test_faults_of_one_interval_bar_hit_the_longer_ones_apart():
    feed, payloads, _ = await seen(f"kline_missing symbol={A} nth=1", streams=klines(interval="5m"), minutes=10)
    assert not [p for p in payloads if p["s"] == A and p["k"]["t"] == START]
    assert [p["k"]["t"] for p in payloads if p["s"] == A and p["k"]["x"]] == [START + 5 * MINUTE]
    assert len(feed.bars) == 10


async def test_faults_of_one_client_leave_the_other_alone():
    feed = GivenFeed(minutes=MINUTES)
    rules = [f"kline_missing symbol={A} nth=3 client=1", f"kline_duplicate symbol={A} nth=5 client=2"]
    async with arena(feed, faults=rules, wait_for_clients=2) as box:
        async with client(box, streams=klines()) as one, client(box, streams=klines()) as two:
            first, second = await asyncio.gather(until_over(box, one), until_over(box, two))
    expected = source_bars(feed, A)
    assert closed_bars(first, A) == [bar for bar in expected if bar[1] != at(2)]
    assert closed_bars(second, A) == [*expected[:5], expected[4], *expected[5:]]


async def test_malformed_json_is_cut_in_the_middle():
    async with arena(faults=[f"malformed_json symbol={A} nth=2"]) as box, client(box, streams=klines()) as socket:
        texts, broken = await frames(socket, 60), []
        for text in texts:
            try:
                json.loads(text)
            except ValueError:
                broken.append(text)
        assert len(broken) == 1
        assert f'"s":"{A}"' in broken[0]


async def test_huge_frame_is_larger_than_clients_expect():
    async with arena(faults=["huge_frame"]) as box, client(box, streams=klines()) as socket:
        sizes = [len(text) for text in await frames(socket, 20)]
        assert 4 << 20 < max(sizes) < 5 << 20
        assert sum(size > 1_000 for size in sizes) == 1
    async with arena(faults=["huge_frame"]) as box:
        async with websockets.connect(box.url.replace("http", "ws") + f"/market/ws/{klines()[0]}") as socket:
            with pytest.raises(websockets.ConnectionClosedError, match="1009"):
                await frames(socket, 100)


@pytest.mark.parametrize(
    ("fault", "code"), [("close_1006", None), ("close_1011", 1011), ("close_1008", 1008), ("cut_24h", 1001)]
)
async def test_connection_ends_with_the_code_of_the_fault(fault, code):
    async with arena(GivenFeed(minutes=5_000), speed=3_000.0, faults=[f"{fault} nth=20"]) as box:
        async with client(box, streams=klines()) as socket:
            with pytest.raises(websockets.ConnectionClosed) as caught:
                await frames(socket, 100)
            assert (caught.value.rcvd.code if caught.value.rcvd else None) == code
        async with client(box, streams=klines()) as socket:
            assert len(await frames(socket, 30)) == 30  # the fault is spent: a new connection lives


async def test_half_open_connection_takes_everything_and_says_nothing():
    async with arena(GivenFeed(minutes=5_000), speed=3_000.0, faults=["half_open nth=20 client=1"]) as box:
        async with client(box, streams=klines(), ping_interval=None) as dead, client(box, streams=klines()) as alive:
            with pytest.raises(TimeoutError):
                await frames(dead, 1_000, 1.0)
            await dead.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(await dead.ping(), 0.5)
            assert len(await frames(alive, 30)) == 30
            assert [c["silent"] for c in box.state()["clients"]] == [True, False]


async def test_half_open_connection_does_not_hold_up_a_market_that_waits_for_readers():
    feed = GivenFeed(minutes=60)
    async with arena(feed, faults=["half_open nth=20 client=1"], wait_for_clients=2) as box:
        async with client(box, streams=klines(), ping_interval=None), client(box, streams=klines()) as alive:
            payloads = await until_over(box, alive)
    assert closed_bars(payloads, A) == source_bars(feed, A)


async def test_unrouted_connection_answers_and_pushes_nothing():
    async with arena(GivenFeed(minutes=5_000), speed=3_000.0) as box, client(box, streams=klines()) as socket:
        await frames(socket, 5)
        assert await post(box, "/sandbox/faults", "unrouted client=1") == (200, {"added": 1, "struck": 1})
        await socket.send('{"method":"SUBSCRIBE","params":["x@kline_1m"],"id":99}')
        async with asyncio.timeout(WAIT):
            while json.loads(await socket.recv()) != {"result": None, "id": 99}:
                pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)


async def test_burst_holds_everything_back_and_sends_it_at_once():
    async with arena(GivenFeed(minutes=5_000), speed=6_000.0, faults=["burst nth=10 seconds=1"]) as box:
        async with client(box, streams=klines()) as socket:
            behind, times = [], []
            for _ in range(60):
                event = json.loads(await asyncio.wait_for(socket.recv(), WAIT))["data"]
                times.append(event["E"])
                behind.append(box.exchange.clock() - event["E"])
    # The market went on for more than a bar before the tenth frame came, and nothing of it is lost.
    assert behind[9] > MINUTE
    assert times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) <= MINUTE // 3 + 2_000


async def test_slow_network_delays_each_frame():
    async with arena(GivenFeed(minutes=50), faults=["slow_network times=10 seconds=0.1"]) as box:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with client(box, streams=klines()) as socket:
            await frames(socket, 20)
        assert loop.time() - begun >= 0.9
