from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from slt.candles import Candles, write_parquet
from slt.errors import DataError
from slt.testing import FeedConformance
from slt.types import Bars, BarState
from slt_replay.feed import ReplayFeed, ReplayFeedConfig

DATA = Path(__file__).parents[4] / "shared" / "data"
START = 1_704_067_200_000
MINUTE = 60_000

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded candles are not at {DATA}")


def candles(minutes, seed=7):
    at = np.array(minutes)
    draws = np.random.default_rng(seed).random((4, 10_000))[:, at]
    opened, close = 100 + draws[0], 100 + draws[1]
    values = [opened, np.maximum(opened, close) + draws[2], np.minimum(opened, close) - draws[3], close, 10 * draws[2]]
    return Candles(START + at * MINUTE, np.stack([*values, values[4] * draws[3]]))


def save(folder, name, minutes, seed=7):
    write_parquet(folder / name, [candles(minutes, seed)], has_taker_volume=True)


def feed(folder, **options):
    return ReplayFeed(ReplayFeedConfig(**({"files": (str(folder / "*"),)} | options)))


def problems_of(folder, **options):
    with pytest.raises(DataError) as caught:
        feed(folder, **options).slt_describe_market()
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


class TestMadeFiles(FeedConformance):
    """Three symbols with gaps, late starts, early ends, overlapping files and funding."""

    rows = 64

    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.folder = tmp_path
        save(tmp_path, "AAAUSDT-1m-1.parquet", [*range(3, 100), *range(130, 400)], seed=1)
        save(tmp_path, "AAAUSDT-1m-2.parquet", [*range(350, 700)], seed=1)
        save(tmp_path, "BBBUSDT-1m.parquet", [*range(200, 650)], seed=2)
        lines = [f"{START + m * MINUTE},1,2,0.5,1,{m}" for m in (10, 11, 400)]
        (tmp_path / "CCCUSDT-1m.csv").write_text("\n".join(lines))
        (tmp_path / "funding.txt").write_text("")
        (tmp_path / "f").mkdir()
        (tmp_path / "f" / "BBBUSDT-funding.csv").write_text(f"{START + 480 * MINUTE},0.0001\n")

    def make_feed(self):
        return feed(self.folder, funding_files=(str(self.folder / "f"),))


@needs_data
class TestRecordedMinutes(FeedConformance):
    """Real minutes of three symbols whose files begin at different times, with funding."""

    def make_feed(self):
        return ReplayFeed(
            ReplayFeedConfig(
                files=(f"{DATA}/*-1m-futures.parquet",),
                symbols=("XRPUSDT", "BTCUSDT", "SUIUSDT"),
                funding_files=(f"{DATA}/*-funding-*.parquet",),
            )
        )


@needs_data
class TestRecordedTakers(FeedConformance):
    """Real minutes with taker volume."""

    rows = 1_000

    def make_feed(self):
        return ReplayFeed(
            ReplayFeedConfig(files=(f"{DATA}/A*-1m-futures.parquet", f"{DATA}/LINKUSDT-1m-futures.parquet"))
        )


@needs_data
class TestRecordedFiveMinutes(FeedConformance):
    """Real five-minute bars of a symbol in two files with months between them."""

    max_bars = 200_000

    def make_feed(self):
        return ReplayFeed(
            ReplayFeedConfig(files=(f"{DATA}/ETHUSDT-5m-*.parquet",), start="2024-05-01", end="2024-11-01")
        )


@needs_data
class TestRecordedPanel(FeedConformance):
    """Real daily bars of hundreds of symbols in one file."""

    rows = 30
    max_bars = 50

    def make_feed(self):
        return ReplayFeed(ReplayFeedConfig(files=(f"{DATA}/universe-1d-futures.parquet",)))


@needs_data
def test_feed_recorded_files_hold_every_bar_they_say():
    replay = ReplayFeed(ReplayFeedConfig(files=(f"{DATA}/*-5m-futures*.parquet",)))
    market = replay.slt_describe_market()
    assert market.interval_ms == 5 * MINUTE
    bars = sum(int((block.state == BarState.TRADED).sum()) for block in replay.slt_read_bars(0, 288))
    assert bars == 262_656 + 143_900 + 78_624 + 175_104 + 143_901 + 107_990 + 52_416 + 52_416


def test_market_tells_what_the_files_hold(tmp_path):
    save(tmp_path, "BBBUSDT-1m.parquet", range(10, 50))
    save(tmp_path, "AAAUSDT-1m.parquet", range(5, 30))
    (tmp_path / "AAAUSDT-funding.csv").write_text(
        "".join(f"{START + m * MINUTE},0.000{i}\n" for i, m in enumerate((0, 5, 20, 50, 60)))
    )
    files = (str(tmp_path / "*.parquet"),)
    market = feed(tmp_path, files=files, funding_files=(str(tmp_path / "*.csv"),)).slt_describe_market()
    assert market.symbols == ("AAAUSDT", "BBBUSDT")
    assert (market.start, market.end, market.interval_ms) == (START + 5 * MINUTE, START + 50 * MINUTE, MINUTE)
    assert market.total_bars == 45
    assert not market.is_synthetic
    assert market.description == (
        "recorded candles of AAAUSDT, BBBUSDT, 1m, 2024-01-01 00:05 to 2024-01-01 00:50 UTC, 2 files"
    )
    assert list(market.funding) == ["AAAUSDT"]
    np.testing.assert_array_equal(market.funding["AAAUSDT"].rate, [0.0001, 0.0002, 0.0003])


def test_symbols_stand_in_the_order_of_the_config_and_others_are_not_opened(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", range(50))
    save(tmp_path, "BBBUSDT-1m.parquet", range(50))
    (tmp_path / "CCCUSDT-1m.csv").write_text("open_time,open,high,low,close,volume\nbroken")
    assert feed(tmp_path, symbols=("BBBUSDT", "AAAUSDT")).slt_describe_market().symbols == ("BBBUSDT", "AAAUSDT")


def test_interval_chooses_among_files_found_by_a_glob(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", range(50))
    save(tmp_path, "AAAUSDT-5m.parquet", range(0, 500, 5))
    assert feed(tmp_path, interval="5m").slt_describe_market().total_bars == 100
    named = tuple(str(tmp_path / f"AAAUSDT-{i}.parquet") for i in ("1m", "5m"))
    expected = ["AAAUSDT-1m.parquet: holds 1m bars by its name, 5m were asked for"]
    assert problems_of(tmp_path, files=named, interval="5m") == expected


def test_span_leaves_out_what_is_outside(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", range(100))
    replay = feed(tmp_path, start="2024-01-01T00:10", end="2024-01-01T00:30")
    bars = Bars.concatenate(list(replay.slt_read_bars(0, 60)))
    np.testing.assert_array_equal(bars.close_time, START + MINUTE * np.arange(11, 31))
    np.testing.assert_array_equal(bars.close[:, 0], candles(range(100)).values[3, 10:30])


def test_gap_stays_absent(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", [0, 1, 5])
    (bars,) = feed(tmp_path).slt_read_bars(0, 60)
    assert bars.state[:, 0].tolist() == [1, 1, 0, 0, 0, 1]
    assert np.isnan(bars.close[2:5]).all()


def test_one_single_bar_takes_the_interval_of_the_others(tmp_path):
    save(tmp_path, "AAAUSDT-x.parquet", [3])
    assert problems_of(tmp_path) == [
        "feeds.replay.interval: a single bar does not tell its length; set it, such as `1m`"
    ]
    assert feed(tmp_path, interval="1m").slt_describe_market().total_bars == 1
    save(tmp_path, "BBBUSDT-x.parquet", range(0, 500, 5))
    assert problems_of(tmp_path) == ["AAAUSDT-x.parquet: 2024-01-01 00:03 is off the 5m grid"]


def test_different_intervals_are_named(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", range(50))
    save(tmp_path, "BBBUSDT-1m.parquet", range(50))
    save(tmp_path, "CCCUSDT-5m.parquet", range(0, 500, 5))
    assert problems_of(tmp_path) == [
        (
            "feeds.replay.interval: all symbols must share one interval; the files hold 1m: AAAUSDT, BBBUSDT; "
            "5m: CCCUSDT; choose one"
        )
    ]


def test_missing_symbol_is_named_with_the_nearest(tmp_path):
    save(tmp_path, "BTCUSDT-1m.parquet", range(50))
    assert problems_of(tmp_path, symbols=("BTCUSDC", "XYZ", "BTCUSDT")) == [
        "feeds.replay.symbols: no candles of `BTCUSDC`; did you mean `BTCUSDT`?",
        "feeds.replay.symbols: no candles of `XYZ`; the files hold BTCUSDT",
    ]


def test_nothing_in_the_span_tells_where_the_files_reach(tmp_path):
    save(tmp_path, "BTCUSDT-1m.parquet", range(50))
    assert problems_of(tmp_path, start="2025-01-01", end="2025-02-01") == [
        (
            "feeds.replay: no candles of any symbol from 2025-01-01 before 2025-02-01; "
            "the files hold BTCUSDT 1m, from 2024-01-01 00:00 to 2024-01-01 00:49"
        )
    ]
    assert problems_of(tmp_path, symbols=("ETHUSDT",), interval="5m") == [
        "feeds.replay: no candles of ETHUSDT 5m; the files hold BTCUSDT 1m, from 2024-01-01 00:00 to 2024-01-01 00:49"
    ]


def test_no_file_and_empty_list_are_refused(tmp_path):
    assert problems_of(tmp_path, files=()) == [
        "feeds.replay.files: names no file; write paths, folders or globs of candle files"
    ]
    assert problems_of(tmp_path, files=(f"{tmp_path}/*.parquet", f"{tmp_path}/gone.zip")) == [
        f"*.parquet: matches no .csv, .parquet, .zip file in {Path.cwd()}",
        "gone.zip: no such file",
    ]


def test_problems_of_all_files_come_at_once(tmp_path):
    save(tmp_path, "AAAUSDT-1m.parquet", [0, 1, 1, 2])
    (tmp_path / "BBBUSDT-1m.csv").write_text(f"{START},10,8,9,11,5")
    (tmp_path / "CCCUSDT-1m.zip").write_text("x")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "AAAUSDT-funding.csv").write_text(f"{START},9\n")
    assert problems_of(tmp_path, funding_files=(f"{tmp_path}/f/*",)) == [
        "AAAUSDT-1m.parquet: row 3 (2024-01-01 00:01): the same bar twice",
        "BBBUSDT-1m.csv: line 1 (2024-01-01 00:00): high 8.0 is below low 9.0",
        "CCCUSDT-1m.zip: cannot be read: File is not a zip file",
        "f/AAAUSDT-funding.csv: line 1 (2024-01-01 00:00): funding_rate 9.0 is no fraction below 1",
    ]


def test_overlapping_files_that_disagree_are_refused(tmp_path):
    save(tmp_path, "AAAUSDT-1m-1.parquet", range(50))
    save(tmp_path, "AAAUSDT-1m-2.parquet", range(40, 60), seed=8)
    (problem,) = problems_of(tmp_path)
    assert problem.startswith(
        "`AAAUSDT-1m-1.parquet` and `AAAUSDT-1m-2.parquet` disagree on AAAUSDT at 2024-01-01 00:40: open "
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symbols": ("btc",)}, "`btc` is not a symbol; write capital letters and digits, such as `BTCUSDT`"),
        ({"symbols": ("A", "B", "A")}, "`A` stands there more than once"),
        ({"interval": "1x"}, "`1x` is not an interval; write a number and s, m, h or d, such as `1m` or `4h`"),
        ({"start": "yesterday"}, "`yesterday` is not an ISO date; write `2024-01-31` or `2024-01-31T12:00`, UTC"),
        ({"start": "2024-01-02", "end": "2024-01-02"}, "start `2024-01-02` must come before end `2024-01-02`"),
    ],
)
def test_config_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ReplayFeedConfig(**options)
