from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.market import bar_path


@pytest.mark.parametrize(
    ("side", "path", "expected"),
    [
        (1, "adverse", (10, 7, 12, 11)),
        (-1, "adverse", (10, 12, 7, 11)),
        (0, "adverse", (10, 12, 7, 11)),
        (1, "ohlc", (10, 12, 7, 11)),
        (-1, "ohlc", (10, 12, 7, 11)),
        (0, "ohlc", (10, 12, 7, 11)),
    ],
)
def test_bar_path_orders_the_extremes(side, path, expected):
    assert bar_path(10, 12, 7, 11, side, path) == expected


@pytest.mark.parametrize(("close", "second"), [(11, 8), (9, 12), (10, 8)])
def test_bar_path_equally_near_extremes_go_against_the_bar_first(close, second):
    assert bar_path(10, 12, 8, close, 0, "ohlc")[1] == second


def test_bar_path_unknown_path_says_what_is_allowed():
    with pytest.raises(ValueError, match="found `best`, allowed are `adverse` and `ohlc`"):
        bar_path(1, 1, 1, 1, 1, "best")


@given(
    st.lists(st.floats(1, 100), min_size=4, max_size=4),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from(["adverse", "ohlc"]),
)
def test_bar_path_visits_the_four_prices_open_first_close_last(prices, side, path):
    low, high = min(prices), max(prices)
    opened, close = prices[0], prices[1]

    points = bar_path(opened, high, low, close, side, path)

    assert points[0] == opened
    assert points[3] == close
    assert sorted(points[1:3]) == [low, high]
    if path == "adverse" and side:
        assert points[1] == (low if side > 0 else high)
    mirrored = bar_path(-opened, -low, -high, -close, -side, path)
    if path == "adverse" and side:
        assert mirrored == tuple(-p for p in points)
