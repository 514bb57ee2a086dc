"""Swings and gaps against the package `smartmoneyconcepts`, in the two claims that can honestly be made.

A: after candle t, `find_swings` with the package's parameters (left = L - 1, right = L, first = 2 L - 1, a high wins)
holds exactly the swings the package gives for the candles up to t, but for the first and the last row, where it invents
one. B: a gap known at t is the package's row t - 1, bit for bit, and is first touched where it says "mitigated".

Nothing is claimed of its breaks of structure, order blocks, liquidity or retracements, which look ahead, and nothing
here shows that slt's own settings (as many candles on both sides, caps, ages) are right: the golden tests do that.
"""

from __future__ import annotations

import contextlib
import io

import ict_markets as markets
import numpy as np
import pytest

from slt_ict.blocks import find_gaps, find_swings

with contextlib.redirect_stdout(io.StringIO()):  # it prints a plea for stars when it is imported
    smartmoneyconcepts = pytest.importorskip(
        "smartmoneyconcepts", reason="smartmoneyconcepts is not installed: pip install selflearningtrader[test]"
    )
smc = smartmoneyconcepts.smc
pd = pytest.importorskip("pandas")

REAL = [
    ("BTCUSDT-5m-futures", 300_000),
    ("SOLUSDT-5m-futures", 300_000),
    ("1000PEPEUSDT-5m-futures", 300_000),
    ("BNBUSDT-15m-futures", 900_000),
    ("AVAXUSDT-1m-futures", 60_000),
]


def generated(seed, tick):
    return frame_of(markets.random_walk(seed, 4_000, tick=tick, volatility=3e-3))


def real(name, interval_ms):
    return frame_of(markets.real(name, 12_000, interval_ms, skip=1_000))


def frame_of(bars):
    names = ("open", "high", "low", "close", "volume")
    return pd.DataFrame({name: getattr(bars, name)[:, 0] for name in names})


def alternating(events, t):
    """The swings that stand after candle t: a replacing one takes the place of the last."""
    row = []
    for i in range(int(np.searchsorted(events.known_at, t, side="right"))):
        if events.replaces[i]:
            row.pop()
        row.append((int(events.candle[i]), int(events.side[i]), float(events.price[i])))
    return row


def package_swings(frame, length):
    """The package's rows without the first and the last, which it overwrites with invented swings."""
    table = smc.swing_highs_lows(frame, swing_length=length)
    rows = table.iloc[1:-1].dropna(subset=["HighLow"])
    return [
        (int(i), int(side), float(level)) for i, side, level in zip(rows.index, rows.HighLow, rows.Level, strict=True)
    ]


def check_swings(frame, length, prefixes):
    events = find_swings(frame.high, frame.low, length - 1, length, first=2 * length - 1, high_wins=True)
    compared = 0
    for t in prefixes:
        expected = package_swings(frame.iloc[: t + 1], length)
        assert alternating(events, t) == expected, f"after candle {t}"
        compared += len(expected)
    return compared


def check_gaps(frame):
    gaps = find_gaps(frame.open, frame.high, frame.low, frame.close)
    table = smc.fvg(frame).dropna(subset=["FVG"])
    np.testing.assert_array_equal(gaps.known_at, table.index + 1)
    np.testing.assert_array_equal(gaps.side, table.FVG)
    np.testing.assert_array_equal(gaps.top, table.Top)
    np.testing.assert_array_equal(gaps.bottom, table.Bottom)
    np.testing.assert_array_equal(np.where(gaps.touched_at < 0, 0, gaps.touched_at), table.MitigatedIndex)
    return len(table)


@pytest.mark.parametrize("length", [5, 20])
@pytest.mark.parametrize(("seed", "tick"), [(1, 2.0**-10), (2, 0.125), (3, 0.5)])
def test_find_swings_of_generated_candles_are_those_of_the_package_as_of_each_prefix(seed, tick, length):
    """Coarse ticks make equal highs, where the rules for ties decide."""
    frame = generated(seed, tick)
    prefixes = np.random.default_rng(seed).integers(3 * length, len(frame), 25).tolist()
    assert check_swings(frame, length, [*prefixes, len(frame) - 1]) > 500


@pytest.mark.parametrize("length", [5, 20])
@pytest.mark.parametrize(("name", "interval_ms"), REAL)
def test_find_swings_of_real_candles_are_those_of_the_package_as_of_each_prefix(name, interval_ms, length):
    frame = real(name, interval_ms)
    prefixes = np.random.default_rng(length).integers(3 * length, len(frame), 12).tolist()
    assert check_swings(frame, length, [*prefixes, len(frame) - 1]) > 500


@pytest.mark.parametrize(("seed", "tick"), [(1, 2.0**-10), (2, 0.125), (3, 0.5)])
def test_find_gaps_of_generated_candles_are_the_rows_of_the_package(seed, tick):
    assert check_gaps(generated(seed, tick)) > 100


@pytest.mark.parametrize(("name", "interval_ms"), REAL)
def test_find_gaps_of_real_candles_are_the_rows_of_the_package(name, interval_ms):
    assert check_gaps(real(name, interval_ms)) > 500
