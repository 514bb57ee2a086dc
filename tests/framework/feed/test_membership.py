"""Symbols that come and go while a pipeline runs: columns, subscriptions, counters, and the recording."""

from __future__ import annotations

import asyncio

from slt.feed import FrameReader, Recorder, open_recording, read_waves
from slt.types import SymbolChange, Wave


def waves_of(said):
    return [item for item in said if isinstance(item, Wave)]


def wanted(server, *, is_wanted):
    return [s for asked in server.asked if asked["wanted"] is is_wanted for s in asked["streams"]]


async def minute(server, words, state, number, *symbols):
    """One minute of some symbols."""
    state.wall.now = words.START + number * words.MINUTE + 200
    await server.push(*(words.kline(symbol, number) for symbol in symbols))


async def test_symbol_that_joins_is_subscribed_once_and_is_the_last_column(server, run, words, eventually):
    state = run(("AAA", "BBB"))
    await server.ready()
    await minute(server, words, state, 1, "AAA", "BBB")
    await eventually(lambda: waves_of(state.said))
    state.pipeline.follow(("AAA", "BBB", "CCC"))
    await eventually(lambda: "ccc" in wanted(server, is_wanted=True))
    await minute(server, words, state, 2, "AAA", "BBB", "CCC")
    await eventually(lambda: len(waves_of(state.said)) == 2)
    await minute(server, words, state, 3, "CCC", "BBB", "AAA")
    await eventually(lambda: len(waves_of(state.said)) == 3)
    last = waves_of(state.said)[-1].bars
    assert last.symbols == ("AAA", "BBB", "CCC")
    assert (last.state[-1] == 1).all()
    assert wanted(server, is_wanted=True) == ["aaa", "bbb", "changes", "ccc"]
    assert state.pipeline.status().counters["foreign"] == 0
    await server.sockets[0].close(1011)
    await server.ready(3)
    assert server.asked[-1]["streams"] == ["aaa", "bbb", "changes", "ccc"], "a new socket has all of them"


async def test_symbol_that_joins_goes_where_the_fewest_streams_are(server, run, words, eventually):
    state = run(("AAA", "BBB", "DDD"), connections=2)
    await server.ready(2)
    state.pipeline.follow(("AAA", "BBB", "DDD", "CCC"))
    await eventually(lambda: "ccc" in wanted(server, is_wanted=True))
    assert [plan.plan.streams for plan in state.pipeline._connections] == [("aaa", "ddd", "changes"), ("bbb", "ccc")]
    state.pipeline._hooks.connections = 3
    state.pipeline.follow(("AAA", "BBB", "DDD", "CCC", "EEE"))
    await server.ready(4)
    assert [c.plan.streams for c in state.pipeline._connections][2] == ("eee",), "the feed wants one more connection"


async def test_symbol_that_left_is_unsubscribed_after_its_last_bar_and_not_missing(server, run, words, eventually):
    state = run(("AAA", "BBB"))
    await server.ready()
    await minute(server, words, state, 1, "AAA", "BBB")
    await eventually(lambda: waves_of(state.said))
    state.pipeline.change(SymbolChange(words.START, "BBB", "SETTLING", is_tradable=False))
    state.pipeline.change(SymbolChange(words.START, "BBB", "SETTLING", is_tradable=False))
    for number in (2, 3):
        await minute(server, words, state, number, "AAA")
        await eventually(lambda number=number: len(waves_of(state.said)) == number)
    assert wanted(server, is_wanted=False) == []
    await minute(server, words, state, 4, "AAA")
    await eventually(lambda: wanted(server, is_wanted=False) == ["bbb"])
    assert state.pipeline.status().counters["missing"] == 0
    assert sum(isinstance(item, SymbolChange) for item in state.said) == 1, "what is known is no news"
    await server.push(SymbolChange(words.START, "BBB", "TRADING", is_tradable=True))
    await eventually(lambda: wanted(server, is_wanted=True).count("bbb") == 2)


async def test_connection_that_lost_its_last_symbol_stays_for_the_next(server, run, words, eventually):
    state = run(("AAA", "BBB"), connections=2)
    await server.ready(2)
    state.pipeline.change(SymbolChange(words.START, "BBB", "CLOSE", is_tradable=False))
    for number in (1, 2, 3):
        state.wall.now = words.START + number * words.MINUTE + 200
        await server.push(words.kline("AAA", number), socket=0)
        await eventually(lambda number=number: len(waves_of(state.said)) == number)
    await eventually(lambda: wanted(server, is_wanted=False) == ["bbb"])
    state.pipeline.follow(("AAA", "BBB", "CCC"))
    await eventually(lambda: "ccc" in wanted(server, is_wanted=True))
    assert state.pipeline._connections[1].plan.streams == ("ccc",)
    assert state.pipeline.status().is_up


async def test_recording_of_a_run_that_grew_gives_byte_equal_waves(server, run, words, eventually, tmp_path):
    state = run(("AAA", "BBB"), recorder=Recorder(tmp_path / "r", "words", 1 << 20))
    await server.ready()
    for number in range(1, 9):
        if number == 3:
            state.pipeline.follow(("AAA", "BBB", "CCC"))
            await eventually(lambda: "ccc" in wanted(server, is_wanted=True))
        if number == 6:
            state.pipeline.change(SymbolChange(state.wall.now, "AAA", "SETTLING", is_tradable=False))
        symbols = [s for s in ("AAA", "BBB", "CCC") if (s != "CCC" or number >= 3) and (s != "AAA" or number < 6)]
        await minute(server, words, state, number, *symbols)
        await eventually(lambda number=number: len(waves_of(state.said)) >= number)
    state.task.cancel()
    await asyncio.gather(state.task, return_exceptions=True)
    feed = words.feed()
    read = list(read_waves(open_recording(tmp_path / "r"), FrameReader(feed.slt_route_frame, feed.slt_decode_frame)))
    live, again = waves_of(state.said), waves_of(read)
    assert len(live) == len(again) == 8
    for one, other in zip(live, again, strict=True):
        assert (one.time, one.bars.symbols) == (other.time, other.bars.symbols)
        for name in ("close_time", "open", "high", "low", "close", "volume", "taker_buy_volume", "state"):
            assert getattr(one.bars, name).tobytes() == getattr(other.bars, name).tobytes()
    assert [i for i in read if isinstance(i, SymbolChange)] == [i for i in state.said if isinstance(i, SymbolChange)]
