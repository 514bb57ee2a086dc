"""The whole way from sockets to waves, against a real WebSocket server with faults of its own."""

from __future__ import annotations

import asyncio
import random

import pytest

from slt.config import FeedConfig
from slt.feed import FrameReader, open_recording, read_waves
from slt.feed.pipeline import FeedPipeline
from slt.feed.recorder import Recorder
from slt.lifecycle import Loops
from slt.types import MarketInfo, PricePoint, SymbolChange, Wave

SYMBOLS = ("AAA", "BBB")


def waves_of(said):
    return [item for item in said if isinstance(item, Wave)]


async def test_pipeline_subscribes_and_gives_a_wave_when_all_are_in(server, run, words, eventually):
    state = run(SYMBOLS)
    await server.ready()
    assert server.asked == [{"id": 1, "streams": ["aaa", "bbb", "changes"], "wanted": True}]
    await server.push(words.kline("AAA", 1, closed=False), words.kline("AAA", 1), words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))
    (wave,) = waves_of(state.said)
    assert wave.bars.close_time.tolist() == [words.START + words.MINUTE]
    assert wave.bars.state.tolist() == [[1, 1]]
    status = state.pipeline.status()
    assert status.is_up
    assert status.counters["waves"] == 1
    assert status.counters["frames"] == 4, "three k-lines and the answer to the subscription"
    assert status.connections[0].reconnects == {}
    assert status.event_time == words.START + words.MINUTE + 100


async def test_pipeline_cuts_at_the_deadline_without_any_frame(server, run, words, eventually):
    state = run(SYMBOLS)
    await server.ready()
    await server.push(words.kline("AAA", 1))
    await eventually(lambda: state.pipeline.status().counters["bars"] == 1)
    assert not state.said
    state.wall.now = words.START + words.MINUTE + 3_001
    await eventually(lambda: waves_of(state.said))
    assert waves_of(state.said)[0].time == words.START + words.MINUTE + 3_000
    assert waves_of(state.said)[0].bars.state.tolist() == [[1, 0]]


@pytest.mark.parametrize(("ahead_s", "is_told"), [(0, False), (1, False), (3_600, True), (-3_600, True)])
async def test_clock_that_differs_from_the_exchange_is_told(server, run, words, eventually, caplog, ahead_s, is_told):
    state = run(SYMBOLS, start_time=words.START + words.MINUTE + 100 + ahead_s * 1_000)
    await server.ready()
    await server.push(words.kline("AAA", 1), words.kline("BBB", 1))
    await eventually(lambda: state.pipeline.status().counters["bars"] == 2)
    state.wall.now += 120_000
    await eventually(lambda: waves_of(state.said))
    assert state.pipeline.status().lag_ms == ahead_s * 1_000
    assert ("set it by NTP" in caplog.text) is is_told


async def test_pipeline_on_event_times_cuts_when_the_exchange_passes_the_deadline(server, run, words, eventually):
    state = run(SYMBOLS, clock="events", start_time=5)
    await server.ready()
    await server.push(words.kline("AAA", 1), words.kline("AAA", 2, closed=False, delay=3_001))
    await eventually(lambda: waves_of(state.said))
    assert waves_of(state.said)[0].bars.state.tolist() == [[1, 0]]


async def test_watched_symbol_gives_prices_and_others_do_not(server, run, words, eventually):
    state = run(SYMBOLS)
    await server.ready()
    await server.push(words.kline("AAA", 1, closed=False), words.kline("BBB", 1, closed=False))
    state.pipeline.watch(["AAA"])
    for close in (101.0, 102.0):
        await server.push(words.kline("AAA", 1, closed=False, close=close), words.kline("BBB", 1, closed=False))
    await eventually(lambda: PricePoint(words.START + 100, "AAA", 102.0) in state.said)
    assert {item.symbol for item in state.said} == {"AAA"}
    state.pipeline.watch([])
    await server.push(words.kline("AAA", 1, closed=False, close=103.0), words.kline("AAA", 1), words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))
    assert not any(isinstance(item, PricePoint) and item.price == 103.0 for item in state.said)


async def test_symbol_change_is_told_and_the_symbol_no_longer_waited_for(server, run, words, eventually):
    state = run(SYMBOLS)
    await server.ready()
    change = SymbolChange(words.START, "BBB", "SETTLING", is_tradable=False)
    await server.push(words.kline("AAA", 1, closed=False), change, words.kline("AAA", 1))
    await eventually(lambda: waves_of(state.said))
    assert state.said[0] == change
    heard = state.pipeline._connections[0].liveness.heard
    assert set(heard) == {"aaa"}
    await server.sockets[0].close(1011)
    await server.ready(2)
    assert set(heard) == {"aaa"}, "nor on the next connection"
    await server.push(SymbolChange(words.START, "BBB", "TRADING", is_tradable=True))
    await eventually(lambda: set(heard) == {"aaa", "bbb"})


@pytest.mark.parametrize("frame", [b"no words at all", b"aaa|1|1|AAA|x|60000|1", b"\xff\xfe"])
async def test_garbled_frame_is_counted_and_the_next_is_read(server, run, words, eventually, frame):
    state = run(SYMBOLS)
    await server.ready()
    await server.push(frame, words.kline("AAA", 1), words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))
    assert state.pipeline.status().counters["decode_errors"] == 1


@pytest.mark.parametrize(("code", "cause"), [(1011, "1011"), (1008, "1008"), (1001, "1001"), (None, "1006")])
async def test_lost_connection_is_counted_by_cause_and_made_anew(server, run, words, eventually, code, cause):
    state = run(SYMBOLS)
    await server.ready()
    await server.push(words.kline("AAA", 1))
    if code is None:
        server.sockets[0].transport.abort()
    else:
        await server.sockets[0].close(code)
    await server.ready(2)
    await server.push(words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))
    assert waves_of(state.said)[0].bars.state.tolist() == [[1, 1]]
    assert state.pipeline.status().connections[0].reconnects == {cause: 1}


async def test_frame_over_the_limit_ends_the_connection_and_a_new_one_comes(server, run, words, eventually):
    state = run(SYMBOLS)
    await server.ready()
    await server.push(b"x" * (2 << 20))
    await server.ready(2)
    assert state.pipeline.status().connections[0].reconnects == {"1009": 1}


async def test_refused_connection_is_tried_again_until_it_works(server, run, words, eventually):
    server.refuse = 3
    state = run(SYMBOLS)
    await server.ready()
    await server.push(words.kline("AAA", 1), words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))
    assert state.pipeline.status().connections[0].reconnects == {"http_503": 3}


async def test_half_open_socket_is_replaced_after_the_silence_limit(server, run, words, eventually):
    state = run(SYMBOLS, overlap_seconds=0.0)
    await server.ready()
    await server.push(words.kline("AAA", 1))
    await eventually(lambda: state.pipeline.status().counters["bars"] == 1)
    state.seconds.now += 61
    await server.ready(2)
    assert state.pipeline.status().connections[0].reconnects == {"silent": 1}
    await server.push(words.kline("BBB", 1))
    await eventually(lambda: waves_of(state.said))


async def test_planned_reconnect_has_the_new_socket_up_before_the_old_closes(server, run, words, eventually, table):
    state = run(SYMBOLS, reconnect_hours=0.01, silence_seconds=1_000.0, symbol_silence_seconds=1_000.0)
    await server.ready()
    state.seconds.now += 37
    await server.ready(2)
    await server.push(words.kline("AAA", 1), socket=0)
    await server.push(words.kline("AAA", 1), words.kline("BBB", 1), socket=1)
    await server.push(words.kline("BBB", 1), words.kline("AAA", 2), socket=0)
    await server.push(words.kline("BBB", 2), socket=1)
    await eventually(lambda: len(waves_of(state.said)) == 2)
    assert len(table(state.said)) == 4
    counters = state.pipeline.status().counters
    assert counters["duplicate"] == 2
    assert state.pipeline.status().connections[0].reconnects == {"planned": 1}


async def test_silent_symbol_is_subscribed_again(server, run, words, eventually):
    symbols = tuple(f"S{i}" for i in range(8))
    state = run(symbols)
    await server.ready()
    for _ in range(4):
        state.seconds.now += 50
        await server.push(*(words.kline(s, 1, closed=False) for s in symbols[1:]))
        frames = state.pipeline.status().counters["frames"]
        await eventually(lambda seen=frames: state.pipeline.status().counters["frames"] >= seen)
        await asyncio.sleep(0.05)
    await eventually(lambda: len(server.asked) == 3)
    assert [(a["streams"], a["wanted"]) for a in server.asked[1:]] == [(["s0"], False), (["s0"], True)]
    assert len(server.sockets) == 1
    assert state.pipeline.status().connections[0].silent_symbols == ("S0",)


async def test_overlapping_connections_share_the_symbols(server, run, words, eventually):
    state = run(("AAA", "BBB", "CCC"), connections=2)
    await server.ready(2)
    assert sorted(a["streams"] for a in server.asked) == [["aaa", "ccc", "changes"], ["bbb"]]
    for symbol in ("AAA", "BBB", "CCC"):
        await server.push(words.kline(symbol, 1))
    await eventually(lambda: waves_of(state.said))


async def test_full_queues_hold_the_reader_back_and_lose_nothing(server, run, words, eventually, table):
    symbols = tuple(f"S{i}" for i in range(30))
    state = run(symbols, queue_slots=30)
    await server.ready()
    for minute in range(1, 21):
        await server.push(*(words.kline(s, minute) for s in symbols))
    await eventually(lambda: len(waves_of(state.said)) == 20)
    assert len(table(state.said)) == 600


async def test_reader_that_stands_still_holds_everything_back(server, words, eventually):
    market = MarketInfo(("AAA",), words.MINUTE, words.START, None, "words")
    pipeline = FeedPipeline(
        words.feed(server.url), market, FeedConfig(queue_slots=30), wall_ms=words.clock(words.START + 100)
    )
    task = asyncio.create_task(pipeline.run())
    try:
        await server.ready()
        for minute in range(1, 101):
            await server.push(words.kline("AAA", minute, event_time=words.START + 1))
        await asyncio.sleep(0.3)
        assert pipeline.status().counters["waves"] < 20
        found = []
        async with asyncio.timeout(10):
            async for item in pipeline.read():
                found.append(item)
                if len(found) == 60:
                    break
        times = [wave.bars.close_time.tolist() for wave in found]
        assert times == [[words.START + m * words.MINUTE] for m in range(1, 61)]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_worker_that_stands_still_is_named_and_one_in_an_idle_hour_is_not(server, words, eventually):
    clock = words.clock(1000.0)
    loops = Loops(clock)
    market = MarketInfo(("AAA",), words.MINUTE, words.START, None, "words")
    wall = words.clock(words.START + 100)
    pipeline = FeedPipeline(words.feed(server.url), market, FeedConfig(queue_slots=30), wall_ms=wall)
    pipeline.supervise(loops)
    clock.now += 3600.0
    assert loops.late() == (), "before it runs"
    task = asyncio.create_task(pipeline.run())
    try:
        await server.ready()
        clock.now += 3600.0
        await eventually(lambda: not loops.late())
        for minute in range(1, 101):
            await server.push(words.kline("AAA", minute, event_time=words.START + 1))
        # Nobody reads what the worker has made, so it cannot go on.
        await eventually(lambda: any(mark._beaten is not None for mark in pipeline._marks))
        await eventually(lambda: pipeline.status().queued != (0, 0, 0))
        clock.now += 61.0
        await eventually(lambda: "feed cut" not in {one.name for one in loops.late()})
        (late,) = loops.late()
        assert late.name.startswith("feed worker ")
        assert late.deadline_seconds == 60.0
        reader = asyncio.create_task(anext(pipeline.read()))
        await eventually(lambda: not loops.late())
        await reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_decoder_that_breaks_is_counted_as_a_bad_frame(server, run, words, eventually, monkeypatch):
    state = run(SYMBOLS)
    await server.ready()
    real = state.pipeline._hooks.slt_decode_frame

    def broken(frame):
        if frame.startswith(b"bbb"):
            raise ZeroDivisionError
        return real(frame)

    monkeypatch.setattr(state.pipeline._hooks, "slt_decode_frame", broken)
    await server.push(words.kline("BBB", 1), words.kline("AAA", 1))
    await eventually(lambda: state.pipeline.status().counters["bars"] == 1)
    assert state.pipeline.status().counters["decode_errors"] == 1


async def test_recording_gives_byte_equal_waves(server, run, words, eventually, tmp_path):
    symbols = tuple(f"S{i}" for i in range(12))
    recorder = Recorder(tmp_path / "r", "words", 1 << 20)
    state = run(symbols, recorder=recorder, connections=2)
    await server.ready(2)
    dice = random.Random(7)
    late = []
    for minute in range(1, 9):
        frames = []
        for symbol in symbols:
            fate = dice.random()
            open_ones = [
                words.kline(symbol, minute, closed=False, last=10 * minute + k, close=100.0 + k) for k in (3, 9)
            ]
            final = words.kline(symbol, minute, close=109.0)
            frames += [*open_ones, final] if fate < 0.7 else [*open_ones, final, final] if fate < 0.8 else open_ones
            if fate > 0.9:
                late.append(final)
        dice.shuffle(frames)
        for place, item in enumerate(frames):
            state.wall.now = words.START + minute * words.MINUTE + 200 + place * 120
            await server.push(item, socket=place % 2)
            if place % 5 == 0:
                await asyncio.sleep(0.002)
        await server.push(*late)
        late.clear()
        await asyncio.sleep(0.06)
    state.wall.now += 100_000
    await eventually(lambda: len(waves_of(state.said)) >= 8)
    state.task.cancel()
    await asyncio.gather(state.task, return_exceptions=True)
    feed = words.feed()
    recording = open_recording(tmp_path / "r")
    read = list(read_waves(recording, FrameReader(feed.slt_route_frame, feed.slt_decode_frame)))
    live = waves_of(state.said)
    assert len(read) >= 8
    for one, other in zip(live, read, strict=False):
        assert (one.time, one.restated) == (other.time, other.restated)
        for name in ("close_time", "open", "high", "low", "close", "volume", "taker_buy_volume", "state"):
            assert getattr(one.bars, name).tobytes() == getattr(other.bars, name).tobytes()
    assert recording.problems == []
