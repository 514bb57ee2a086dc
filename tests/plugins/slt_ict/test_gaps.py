"""When `ict` is ready and fresh, and what gaps and empty minutes do."""

from __future__ import annotations

import ict_markets as markets
import numpy as np
import pytest

from slt.types import Bars, BarState

WARM = 40  # 5m candles; the laws hold for any warm-up, and a short one shows more values


def test_ready_on_minutes_begins_with_the_two_thousandth_candle():
    bars = markets.random_walk(2, 10_050, 1, 60_000)
    block = markets.run(bars)
    assert not block.ready[:9_999].any()
    assert np.isnan(block.values[:9_999]).all()
    assert block.ready[9_999:].all()
    assert not np.isnan(block.values[9_999:]).any()


def test_ready_counts_from_the_first_candle_that_could_be_whole():
    bars = markets.random_walk(2, 10_050, 1, 60_000, offset=60_000)
    block = markets.run(bars)
    assert block.ready[:, 0].argmax() == 4 + 10_000 - 1


def test_fresh_is_the_bar_that_closes_a_whole_candle_and_values_are_held_between():
    bars = markets.random_walk(6, 600, 2, 60_000)
    block = markets.run(bars, warmup_candles=WARM)
    expected = bars.close_time % 300_000 == 0
    np.testing.assert_array_equal(block.fresh, np.repeat(expected[:, None], 2, axis=1))
    held = ~block.fresh[1:]
    np.testing.assert_array_equal(block.values[1:][held], block.values[:-1][held])
    np.testing.assert_array_equal(block.context[1:][held], block.context[:-1][held])


def test_absent_bars_hold_the_last_values():
    bars = markets.random_walk(6, 600, 1, 60_000)
    block = markets.run(bars.rows(0, 450), warmup_candles=WARM)
    where = np.zeros((600, 1), dtype=bool)
    where[450:] = True
    markets.blank(bars, where, BarState.ABSENT)
    quiet = markets.run(bars, warmup_candles=WARM)
    assert not quiet.fresh[450:].any()
    assert quiet.ready[450:].all()
    np.testing.assert_array_equal(quiet.values[450:], np.repeat(block.values[-1:], 150, axis=0))


def with_gap(bars, start, stop):
    where = np.zeros(bars.state.shape, dtype=bool)
    where[start:stop] = True
    markets.blank(bars, where, BarState.ABSENT)
    return bars


def test_gap_of_one_minute_blocks_until_an_hour_is_whole():
    bars = with_gap(markets.random_walk(6, 900, 1, 60_000), 502, 503)
    block = markets.run(bars, warmup_candles=WARM)
    assert block.ready[:503].any()
    assert block.ready[502, 0]  # absent, not yet known to be a gap
    assert not block.fresh[500:509].any()  # the candle of rows 500 … 504 is not whole
    assert not block.ready[503:564].any()
    assert np.isnan(block.values[503:564]).all()
    assert block.ready[564:].all()  # rows 505 … 564 are the hour
    assert not np.isnan(block.context[503:, 0, [0, 1, 3, 4, 5]]).any()  # ATR and trends persist


def test_gap_of_more_than_a_twentieth_blocks_for_the_whole_window():
    clean = markets.random_walk(6, 3_000)
    few = markets.run(with_gap(Bars.concatenate([clean]), 2_200, 2_300))
    assert few.ready[2_311]
    assert not few.ready[2_310]
    many = markets.run(with_gap(Bars.concatenate([clean]), 700, 801))
    assert many.ready[:, 0].argmax() == 700 + 2_000
    assert not many.ready[2_650]


def test_empty_minutes_are_whole_and_add_nothing():
    """A candle of five EMPTY minutes is fresh and ready; prices, zones and trends stand still, it has no body."""
    bars = markets.random_walk(6, 600, 1, 60_000)
    where = np.zeros((600, 1), dtype=bool)
    where[500:505] = True
    markets.blank(bars, where, BarState.EMPTY)
    block = markets.run(bars, warmup_candles=WARM)
    assert block.fresh[504, 0]
    assert block.ready[200:].all()
    assert block.value("institutional_candle")[504, 0] == 0
    assert np.isnan(block.value("institutional_participation")[504, 0])
    for name in ("order_flow", "fvg_count", "trend_alignment_enhanced"):
        assert block.value(name)[504, 0] == block.value(name)[503, 0]


def test_empty_minute_inside_a_candle_equals_a_candle_without_it():
    bars = markets.random_walk(6, 600, 1, 60_000)
    where = np.zeros((600, 1), dtype=bool)
    where[502] = True
    markets.blank(bars, where, BarState.EMPTY)
    flat = Bars.concatenate([bars])
    for name in ("open", "high", "low", "close"):
        getattr(flat, name)[502] = bars.close[501]
    flat.state[502] = BarState.TRADED
    a, b = markets.run(bars, warmup_candles=WARM), markets.run(flat, warmup_candles=WARM)
    np.testing.assert_array_equal(a.values, b.values)


def candles(rows):
    """A 5m market of explicit (open, high, low, close) candles."""
    table = np.array(rows, dtype=float)
    bars = markets.random_walk(1, len(rows))
    columns = {n: table[:, i : i + 1].copy() for i, n in enumerate(("open", "high", "low", "close"))}
    return markets.replaced(bars, **columns)


def quiet_market(rows=60):
    """A saw of ±1 around 100 with swing highs at 102 and swing lows at 98 every ten candles."""
    out = []
    for i in range(rows):
        high = 102.0 if i % 10 == 5 else 101.0
        low = 98.0 if i % 10 == 0 else 99.0
        out.append((100.0, high, low, 100.0))
    return out


def test_sweep_that_closes_back_is_a_grab_and_halves_in_six_candles():
    rows = [*quiet_market(), (100.0, 102.5, 99.0, 100.0), *[(100.0, 101.0, 99.0, 100.0)] * 6]
    grab = markets.run(candles(rows), warmup_candles=12).value("liquidity_grab")[:, 0]
    assert grab[59] == 0
    assert grab[60] < 0
    assert grab[66] == grab[60] / 2


def test_sweep_that_closes_beyond_is_no_grab():
    rows = [*quiet_market(), (100.0, 102.5, 99.0, 102.25)]
    assert markets.run(candles(rows), warmup_candles=12).value("liquidity_grab")[60, 0] == 0


def test_sweep_on_first_candle_after_a_gap_is_no_grab_and_takes_the_pool():
    rows = [
        *quiet_market(),
        (100.0, 101.0, 99.0, 100.0),
        (100.0, 102.5, 99.0, 100.0),
        *[(100.0, 101.0, 99.0, 100.0)] * 2,
        (100.0, 102.4, 99.0, 100.0),
        *[(100.0, 101.0, 99.0, 100.0)] * 12,
    ]
    block = markets.run(with_gap(candles(rows), 60, 61), warmup_candles=12)
    assert block.ready[-1, 0]
    assert block.value("liquidity_grab")[-1, 0] == 0
    whole = markets.run(candles(rows), warmup_candles=12)
    assert whole.value("liquidity_grab")[-1, 0] < 0


def test_gap_of_three_candles_never_spans_a_missing_one():
    up = [(100.0, 101.0, 99.0, 100.0), (100.0, 104.0, 100.0, 104.0), (104.0, 106.0, 103.0, 105.0)]
    still = [(105.0, 106.0, 104.0, 105.0)] * 14
    whole = markets.run(candles([*quiet_market(), *up, *still]), warmup_candles=12)
    assert whole.value("fvg_count")[-1, 0] > 0
    broken = [*quiet_market(), *up[:2], (104.0, 106.0, 103.0, 105.0), up[2], *still]
    block = markets.run(with_gap(candles(broken), 62, 63), warmup_candles=12)
    assert block.ready[-1, 0]
    assert block.value("fvg_count")[-1, 0] == 0


@pytest.mark.parametrize("missing", [False, True])
def test_order_block_is_not_born_where_its_search_spans_a_missing_candle(missing):
    """15m: swing highs at 102; the break at 103 comes after one 15m candle that may be missing."""
    fifteen = [*quiet_market(50), *[(100.0, 101.0, 99.0, 100.0)] * 2, (100.0, 103.0, 99.0, 102.5)]
    fifteen += [(102.5, 103.0, 102.0, 102.5)] * 5
    bars = candles([row for row in fifteen for _ in range(3)])
    block = markets.run(with_gap(bars, 151, 152) if missing else bars, warmup_candles=12)
    born = ~np.isnan(block.context_of("order_block_bull_top")[-1, 0])
    assert block.ready[-1, 0]
    assert born != missing
    assert block.context_of("trend_15m")[-1, 0] == 1
