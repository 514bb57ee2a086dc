"""The kernel against the slow implementation of `ict_reference`.

Context (prices, ATR, trends) must be equal bit for bit. Values are float32 of float64 results that pass through exp,
log and tanh, whose last bit is the C library's: they may differ by one unit in the last place of float32.
"""

from __future__ import annotations

import ict_markets as markets
import ict_reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def check(bars, **options):
    block = markets.run(bars, **options)
    names = {"swing_candles": "k", "age_candles": "age", "cap_zones": "cap", "warmup_candles": "warmup"}
    slow = {names[key]: value for key, value in options.items()}
    for j in range(len(bars.symbols)):
        values, context, fresh, ready = ict_reference.run_reference(bars, j, **slow)
        np.testing.assert_array_equal(block.fresh[:, j], fresh)
        np.testing.assert_array_equal(block.ready[:, j], ready)
        for i, name in enumerate(block.context_names):
            np.testing.assert_array_equal(block.context[:, j, i], np.array(context)[:, i], err_msg=name)
        for i, name in enumerate(block.names):
            expected = np.array(values)[:, i].astype(np.float32)
            found = block.values[:, j, i]
            known = ~np.isnan(expected)
            np.testing.assert_array_equal(~np.isnan(found), known, err_msg=name)
            np.testing.assert_array_max_ulp(found[known], expected[known], maxulp=1)
    return block


@pytest.mark.parametrize(
    ("name", "rows", "interval_ms", "skip"),
    [
        ("ALGOUSDT-1m-futures", 20_000, 60_000, 0),
        ("NEARUSDT-1m-futures", 14_000, 60_000, 3),
        ("BTCUSDT-1m-futures", 16_000, 60_000, 0),
        ("SOLUSDT-5m-futures", 5_000, 300_000, 7_000),
    ],
)
def test_features_on_real_candles_equal_reference(name, rows, interval_ms, skip):
    block = check(markets.real(name, rows, interval_ms, skip))
    assert block.ready.any()


@pytest.mark.parametrize("symbol", ["SOLUSDT", "XRPUSDT"])
def test_aggregated_candles_equal_the_exchange_own_15m(symbol):
    """ATR and swings of 15m, built from 5m candles, are those of the exchange's own 15m candles."""
    five = markets.real(f"{symbol}-5m-futures", 3_000, 300_000)
    block = markets.run(five)
    own = markets.real(f"{symbol}-15m-futures", 200_000, 900_000)
    own = own.rows(*np.searchsorted(own.close_time, [five.close_time[2], five.close_time[-1] + 1]).tolist())
    frame = ict_reference.Timeframe(5, 300, 24, 0.1)
    expected = []
    columns = (own.close_time // 900_000 - 1, own.open[:, 0], own.high[:, 0], own.low[:, 0], own.close[:, 0])
    for clock, *candle in zip(*(column.tolist() for column in columns), strict=True):
        frame.push(clock, candle)
        swings = [frame.newest(side) for side in ("high", "low")]
        expected.append([frame.atr, *(s["price"] if s else np.nan for s in swings)])
    rows = np.searchsorted(five.close_time, own.close_time)
    found = np.stack([block.context_of(n)[rows, 0] for n in ("atr_15m", "swing_high_15m", "swing_low_15m")], axis=1)
    assert len(rows) > 700
    np.testing.assert_array_equal(found, expected)


def test_features_on_generated_minutes_with_defaults_equal_reference():
    bars = markets.random_walk(11, 14_000, interval_ms=60_000, offset=120_000)
    block = check(markets.damaged(bars, 12, absent=0.0002, empty=0.02, dojis=0.02, no_taker=0.0005))
    assert block.ready.any()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    tick=st.sampled_from([2.0**-10, 2.0**-4, 0.25]),
    swing=st.integers(1, 6),
    age=st.integers(5, 80),
    cap=st.integers(1, 6),
    absent=st.sampled_from([0.0, 0.005, 0.03]),
    empty=st.sampled_from([0.0, 0.05, 0.4]),
)
def test_features_on_awkward_candles_equal_reference(seed, tick, swing, age, cap, absent, empty):
    bars = markets.random_walk(seed, 500, tick=tick)
    bars = markets.damaged(bars, seed + 1, absent=absent, empty=empty, dojis=0.05, no_volume=0.02, no_taker=0.01)
    check(bars, swing_candles=swing, age_candles=age, cap_zones=cap, warmup_candles=30)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), offset=st.integers(0, 9), empty=st.sampled_from([0.0, 0.3, 0.8]))
def test_features_on_awkward_minutes_equal_reference(seed, offset, empty):
    bars = markets.random_walk(seed, 1_500, symbols=2, interval_ms=60_000, offset=offset * 60_000, tick=2.0**-5)
    bars = markets.damaged(bars, seed + 1, absent=0.003, empty=empty, dojis=0.05)
    check(bars, age_candles=40, cap_zones=4, warmup_candles=30)
