from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.report import CandleRecorder, choose_interval
from slt.types import Bars, BarState

MINUTE = 60_000
SYMBOLS = ("AUSDT", "BUSDT")


def make_bars(rows, seed=1, absent=0.2):
    rng = np.random.default_rng(seed)
    time = MINUTE * (7 + np.arange(1, rows + 1, dtype=np.int64))
    bars = Bars.absent(SYMBOLS, MINUTE, time)
    traded = rng.random(bars.state.shape) >= absent
    bars.state[traded] = BarState.TRADED
    opens, closes = (rng.uniform(90, 110, bars.state.shape) for _ in range(2))
    for name, values in (
        ("open", opens),
        ("close", closes),
        ("high", np.maximum(opens, closes) + 1),
        ("low", np.minimum(opens, closes) - 1),
    ):
        getattr(bars, name)[traded] = values[traded]
    return bars


def record(blocks, interval=5 * MINUTE):
    recorder = CandleRecorder(SYMBOLS, interval)
    for block in blocks:
        recorder.add(block)
    return recorder.candles()


class TestCandleRecorder:
    def test_candle_recorder_whole_block_equals_a_plain_loop(self):
        bars = make_bars(200)
        for column, symbol in enumerate(SYMBOLS):
            expected: dict[int, list[float]] = {}
            for row in np.flatnonzero(bars.state[:, column] == BarState.TRADED):
                start = (int(bars.close_time[row]) - MINUTE) // (5 * MINUTE) * 5 * MINUTE
                o, h, low, c = (float(getattr(bars, n)[row, column]) for n in ("open", "high", "low", "close"))
                known = expected.setdefault(start, [o, h, low, c])
                known[1:] = [max(known[1], h), min(known[2], low), c]
            candles = record([bars])[symbol]
            assert candles.open_time.tolist() == list(expected)
            rows = zip(candles.open, candles.high, candles.low, candles.close, strict=True)
            assert [list(map(float, row)) for row in rows] == list(expected.values())

    @given(st.lists(st.integers(1, 199), max_size=8, unique=True))
    def test_candle_recorder_any_cut_gives_the_same_candles(self, cuts):
        bars = make_bars(200)
        edges = [0, *sorted(cuts), 200]
        whole, cut = record([bars]), record([bars.rows(a, b) for a, b in pairwise(edges)])
        for symbol in SYMBOLS:
            for name in ("open_time", "open", "high", "low", "close"):
                assert np.array_equal(getattr(whole[symbol], name), getattr(cut[symbol], name))

    def test_candle_recorder_minute_by_minute_stays_compact(self):
        bars = make_bars(1500, absent=0.0)
        one, many = record([bars]), record([bars.rows(i, i + 1) for i in range(1500)])
        assert np.array_equal(one["AUSDT"].close, many["AUSDT"].close)
        assert len(many["AUSDT"]) == 301

    def test_candle_recorder_symbol_without_trade_is_left_out(self):
        assert record([make_bars(10, absent=1.1)]) == {}


class TestChooseInterval:
    @pytest.mark.parametrize(
        ("days", "base_minutes", "minutes"),
        [(1, 1, 1), (2, 1, 1), (30, 1, 15), (30, 5, 15), (30, 60, 60), (600, 5, 720), (90_000, 1, 1440), (1, 7, 7)],
    )
    def test_choose_interval_span_gives_a_readable_length(self, days, base_minutes, minutes):
        assert choose_interval(days * 1440 * MINUTE, base_minutes * MINUTE) == minutes * MINUTE
