"""Swings and gaps as building blocks, against their definitions written out."""

from __future__ import annotations

import ict_markets as markets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt_ict.blocks import find_gaps, find_swings


def candles(seed, rows=300, tick=0.125):
    bars = markets.random_walk(seed, rows, tick=tick, volatility=3e-3)
    return bars.open[:, 0], bars.high[:, 0], bars.low[:, 0], bars.close[:, 0]


def swings_as_of(events, t):
    """The alternating row of swings as known after candle t."""
    row = []
    for known, candle, side, price, replaces in zip(
        events.known_at, events.candle, events.side, events.price, events.replaces, strict=True
    ):
        if known > t:
            break
        if replaces:
            row.pop()
        row.append((int(candle), int(side), float(price)))
    return row


def plain_swings(high, low, left, right, first):
    """Window extremes from `first` on, a high where both; of one side in a row the most extreme, earliest of equals."""
    candidates = []
    for r in range(first, len(high) - right):
        window = slice(r - left, r + right + 1)
        if high[r] == high[window].max():
            candidates.append((r, 1, float(high[r])))
        elif low[r] == low[window].min():
            candidates.append((r, -1, float(low[r])))
    row = []
    for candidate in candidates:
        if row and row[-1][1] == candidate[1]:
            if candidate[2] * candidate[1] > row[-1][2] * candidate[1]:
                row[-1] = candidate
        else:
            row.append(candidate)
    return row


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), length=st.integers(1, 22), t=st.integers(60, 299))
def test_find_swings_with_windows_of_other_libraries_equals_their_prefix_answer(seed, length, t):
    """left = L − 1, right = L, first = 2L − 1, a high wins: what a row-wise library says of the candles up to t."""
    _, high, low, _ = candles(seed)
    events = find_swings(high, low, length - 1, length, first=2 * length - 1, high_wins=True)
    expected = plain_swings(high[: t + 1], low[: t + 1], length - 1, length, 2 * length - 1)
    assert swings_as_of(events, t) == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 8))
def test_find_swings_of_mirrored_candles_are_mirrored(seed, k):
    _, high, low, _ = candles(seed)
    up, down = find_swings(high, low, k, k), find_swings(-low, -high, k, k)
    np.testing.assert_array_equal(up.candle, down.candle)
    np.testing.assert_array_equal(up.side, -down.side)
    np.testing.assert_array_equal(up.price, -down.price)
    assert (np.diff(up.known_at) >= 0).all()
    assert (up.known_at - up.candle == k).all()


def test_find_swings_on_candle_that_is_both_takes_the_opposite_side_first():
    high = [5.0, 6, 9, 6, 5, 6, 12, 6, 5, 6, 7]
    low = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 1, 2.5, 2.6, 2.7, 2.8]
    both = find_swings(high, low, 2, 2)
    assert list(zip(both.candle.tolist(), both.side.tolist(), strict=True)) == [(2, 1), (6, -1), (6, 1)]
    wins = find_swings(high, low, 2, 2, high_wins=True)
    assert (6, -1) not in zip(wins.candle.tolist(), wins.side.tolist(), strict=True)


@pytest.mark.parametrize("windows", [(-1, 3, None), (2, 0, None), (5, 5, 4)])
def test_find_swings_with_impossible_windows_raises(windows):
    left, right, first = windows
    with pytest.raises(ValueError, match="swings need left >= 0"):
        find_swings([1.0] * 20, [1.0] * 20, left, right, first=first)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_find_gaps_equals_definition(seed):
    open_, high, low, close = candles(seed)
    gaps = find_gaps(open_, high, low, close)
    expected = []
    for t in range(2, len(high)):
        later = range(t + 1, len(high))
        if low[t] > high[t - 2] and close[t - 1] > open_[t - 1]:
            touched = next((j for j in later if low[j] <= low[t]), -1)
            expected.append((t, 1, low[t], high[t - 2], touched))
        elif high[t] < low[t - 2] and close[t - 1] < open_[t - 1]:
            touched = next((j for j in later if high[j] >= high[t]), -1)
            expected.append((t, -1, low[t - 2], high[t], touched))
    found = zip(gaps.known_at, gaps.side, gaps.top, gaps.bottom, gaps.touched_at, strict=True)
    assert list(found) == expected
    assert len(expected) > 5
