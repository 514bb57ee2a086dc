"""The feed `recording`: frames as the exchange sends them, recorded, and read back as candles."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from slt.errors import DataError, PluginNotFoundError
from slt.feed import Recorder, open_recording, read_waves, reader_of
from slt.testing import FeedConformance
from slt.types import Bars, BarState, SymbolChange, Wave
from slt_replay.recording import RecordingFeed, RecordingFeedConfig

START = 1_790_000_040_000
MINUTE = 60_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def frame(symbol, minute, closed, first, last, price):
    opened = START + (minute - 1) * MINUTE
    bar = {
        "t": opened, "T": opened + MINUTE - 1, "s": symbol, "i": "1m", "f": first, "L": last, "o": f"{price:.2f}",
        "c": f"{price + 1:.2f}", "h": f"{price + 2:.2f}", "l": f"{price - 1:.2f}", "v": f"{last - first + 1}",
        "n": last - first + 1, "x": closed, "q": "1", "V": "0.5", "Q": "1", "B": "0",
    }  # fmt: skip
    data = {"e": "kline", "E": opened + (MINUTE + 300 if closed else 300), "s": symbol, "k": bar}
    return json.dumps({"stream": f"{symbol.lower()}@kline_1m", "data": data}, separators=(",", ":")).encode()


def market_frames(minutes):
    """Frames with their times: one symbol skips minutes without trades, one comes late now and then, one has a gap."""
    ids = dict.fromkeys(SYMBOLS, 1)
    frames = []
    for minute in range(1, minutes + 1):
        close = START + minute * MINUTE
        for place, symbol in enumerate(SYMBOLS):
            if symbol == "ETHUSDT" and minute % 7 == 3:
                continue
            first, last = ids[symbol], ids[symbol] + 4
            ids[symbol] = last + 1
            if symbol == "SOLUSDT" and minute % 20 == 9:
                continue
            late = 20_000 if symbol == "BTCUSDT" and minute % 11 == 5 else 0
            price = 100.0 + minute % 13 + place
            frames.append((close - 30_000, frame(symbol, minute, False, first, last, price)))
            frames.append((close + 500 + place + late, frame(symbol, minute, True, first, last, price)))
    return sorted(frames, key=lambda pair: pair[0])


async def record(folder, frames, **about):
    recorder = Recorder(folder, "binance", 1 << 24)
    streams = [(f"{s.lower()}@kline_1m", s) for s in SYMBOLS]
    recorder.begin(
        {"symbols": SYMBOLS, "interval_ms": MINUTE, "streams": streams, "deadline_ms": 3_000, "clock": "receive"}
        | about
    )
    number = recorder.connection("market-1")
    for place, (time, data) in enumerate(frames):
        recorder.add(number, time, data)
        if place % 50 == 49:
            await recorder._flush()
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "r"
    asyncio.run(record(folder, market_frames(120)))
    return folder


class TestRecordingFeed(FeedConformance):
    rows = 30

    @pytest.fixture(autouse=True)
    def _folder(self, recorded):
        self.folder = recorded

    def make_feed(self):
        return RecordingFeed(RecordingFeedConfig(folder=str(self.folder)))


def whole(folder):
    feed = RecordingFeed(RecordingFeedConfig(folder=str(folder)))
    market = feed.slt_describe_market()
    return market, Bars.concatenate(list(feed.slt_read_bars(0, 50)))


def test_recording_late_bars_stand_in_their_place_empty_minutes_are_known_gaps_stay(recorded):
    market, bars = whole(recorded)
    assert market.start == START
    assert market.total_bars == len(bars) == 120
    states = {symbol: bars.state[:, i] for i, symbol in enumerate(bars.symbols)}
    minutes = np.arange(1, 121)
    assert (states["BTCUSDT"] == BarState.TRADED).all()
    assert (states["ETHUSDT"] == np.where(minutes % 7 == 3, BarState.EMPTY, BarState.TRADED)).all()
    assert (states["SOLUSDT"] == np.where(minutes % 20 == 9, BarState.ABSENT, BarState.TRADED)).all()
    assert "binance" in market.description


def test_recording_waves_have_late_bars_as_earlier_rows(recorded):
    waves = [w for w in read_waves(open_recording(recorded), reader_of("binance")) if isinstance(w, Wave)]
    late = [w for w in waves if len(w.bars) > 1 and w.bars.state[0, 0] == BarState.TRADED]
    assert len(late) == sum(minute % 11 == 5 for minute in range(1, 121))


def test_recording_torn_by_a_crash_gives_what_is_whole(recorded, tmp_path):
    files = open_recording(recorded).files
    assert len(files) == 3, "one an hour"
    for path in files[:2]:
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(data if path is files[0] else data[: len(data) * 2 // 3])
    _, bars = whole(tmp_path)
    assert 30 <= len(bars) < 120
    complete = whole(recorded)[1].rows(0, len(bars) - 1)
    assert bars.rows(0, len(bars) - 1).close.tobytes() == complete.close.tobytes()


async def test_recording_symbol_changes_come_between_the_waves(tmp_path):
    news = {"e": "contractInfo", "E": START, "s": "ETHUSDT", "ct": "PERPETUAL", "cs": "SETTLING", "st": 1}
    frames = market_frames(3)
    frames.insert(8, (frames[7][0], json.dumps({"stream": "!contractInfo", "data": news}).encode()))
    streams = [*((f"{s.lower()}@kline_1m", s) for s in SYMBOLS), ("!contractInfo", "")]
    await record(tmp_path / "r", frames, streams=streams)
    items = list(read_waves(open_recording(tmp_path / "r"), reader_of("binance")))
    assert [i for i in items if isinstance(i, SymbolChange)] == [
        SymbolChange(START, "ETHUSDT", "SETTLING", is_tradable=False)
    ]


async def test_recording_without_a_closed_bar_says_so(tmp_path):
    await record(tmp_path / "r", market_frames(3)[:2])
    with pytest.raises(DataError, match="holds no closed bar; record for longer"):
        whole(tmp_path / "r")


def test_recording_that_is_none_says_so(tmp_path):
    with pytest.raises(DataError, match="holds no recording"):
        whole(tmp_path)


@pytest.mark.parametrize(
    ("feed", "error", "words"),
    [
        ("binanse", PluginNotFoundError, "did you mean `binance`"),
        ("replay", DataError, "reads no frames, so it cannot have made a recording"),
    ],
)
def test_reader_of_a_feed_that_reads_no_frames_says_so(feed, error, words):
    with pytest.raises(error, match=words):
        reader_of(feed)
