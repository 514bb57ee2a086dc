"""Candles that grow: they end as the source's bars, their trade ids have no hole, and sums over a day are right."""

from __future__ import annotations

import math
from datetime import date as date_type
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt_sandbox.tape import CALENDAR, POINTS, Bar, Rolling, Tape, merge, trades_of

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
prices = st.floats(0.01, 1e5)


@st.composite
def bars(draw, most=30):
    made = []
    opened = 0
    for _ in range(draw(st.integers(1, most))):
        opened += MINUTE * draw(st.integers(1, 4))
        one, two, up, down = draw(prices), draw(prices), draw(st.floats(0, 10)), draw(st.floats(0, 0.005))
        volume = draw(st.floats(0.001, 1e6))
        made.append(
            Bar(
                open_time=opened,
                close_time=opened + MINUTE,
                open=one,
                high=max(one, two) + up,
                low=min(one, two) - down,
                close=two,
                volume=volume,
                taker=volume * draw(st.floats(0, 1)),
                trades=trades_of("X", opened, volume),
            )
        )
    return made


@given(bars())
def test_grow_ends_as_the_bar_and_only_widens_on_the_way(given_bars):
    tape = Tape("X", MINUTE)
    for bar in given_bars:
        steps = [tape.grow(bar, step) for step in range(POINTS)]
        last = steps[-1]
        assert (last.open, last.high, last.low, last.close) == (bar.open, bar.high, bar.low, bar.close)
        assert (last.volume, last.taker, last.trades) == (bar.volume, bar.taker, bar.trades)
        assert [c.close for c in steps] == list(bar.path())
        for before, after in pairwise(steps):
            assert before.high <= after.high
            assert before.low >= after.low
            assert before.volume <= after.volume
            assert before.quote <= after.quote * (1 + 1e-12)
            assert before.first_id == after.first_id <= before.last_id <= after.last_id
        assert bar.low * bar.volume * (1 - 1e-9) <= last.quote <= bar.high * bar.volume * (1 + 1e-9)


@given(bars())
def test_grow_numbers_trades_without_a_hole_even_over_minutes_that_are_not_there(given_bars):
    tape = Tape("X", MINUTE)
    closed = [[tape.grow(bar, step) for step in range(POINTS)][-1] for bar in given_bars]
    assert [b.first_id for b in closed[1:]] == [a.last_id + 1 for a in closed[:-1]]


@given(bars(), st.sampled_from([3, 5, 15, 60]))
def test_longer_candle_is_what_its_bars_come_to(given_bars, minutes):
    tape, length, seen = Tape("X", MINUTE), minutes * MINUTE, []
    for bar in given_bars:
        for step in range(POINTS):
            candle = tape.grow(bar, step)
            opened = bar.open_time - bar.open_time % length
            parts = [c for c in seen if c.open_time >= opened] + [candle]
            made = tape.longer(length)
            assert (made.open_time, made.close_time) == (opened, opened + length)
            assert (made.open, made.close) == (parts[0].open, candle.close)
            assert (made.high, made.low) == (max(c.high for c in parts), min(c.low for c in parts))
            assert made.volume == pytest.approx(math.fsum(c.volume for c in parts))
            assert (made.first_id, made.last_id) == (parts[0].first_id, candle.last_id)
        seen.append(candle)


@pytest.mark.parametrize(
    ("name", "date", "first", "days"),
    [
        ("1w", "2026-11-22", "2026-11-16", 7),
        ("1w", "2026-11-23", "2026-11-23", 7),
        ("1M", "2024-02-29", "2024-02-01", 29),
        ("1M", "2026-12-31", "2026-12-01", 31),
        ("3d", "1970-01-06", "1970-01-04", 3),
    ],
)
def test_calendar_knows_the_period_of_a_day(name, date, first, days):
    def number(text):
        return date_type.fromisoformat(text).toordinal() - date_type(1970, 1, 1).toordinal()

    assert CALENDAR[name](number(date)) == (number(first), days)


@pytest.mark.parametrize("name", CALENDAR)
def test_period_candle_is_what_its_bars_come_to(name):
    tape, start, seen = Tape("X", 6 * HOUR), 1_704_067_200_000, []  # 2024-01-01, a Monday
    for number in range(40 * 4):
        opened = start + number * 6 * HOUR
        bar = Bar(opened, opened + 6 * HOUR, 10.0 + number, 12.0 + number, 9.0 - number / 1e3, 11.0, 5.0, 2.0, 9)
        for step in range(POINTS):
            candle = tape.grow(bar, step)
            first, days = CALENDAR[name](opened // DAY)
            parts = [c for c in seen if c.open_time >= first * DAY] + [candle]
            made = tape.period(name)
            assert (made.open_time, made.close_time) == (first * DAY, (first + days) * DAY)
            assert (made.open, made.close) == (parts[0].open, candle.close)
            assert (made.high, made.low) == (max(c.high for c in parts), min(c.low for c in parts))
            assert made.volume == pytest.approx(math.fsum(c.volume for c in parts))
            assert (made.first_id, made.last_id) == (parts[0].first_id, candle.last_id)
        seen.append(candle)


@settings(max_examples=30)
@given(bars(40), st.integers(1, 600))
def test_rolling_is_what_a_walk_over_the_last_day_finds(given_bars, spread):
    tape, rolling, seen = Tape("X", MINUTE), Rolling(), []
    for bar in given_bars:
        far = Bar(bar.open_time * spread, bar.open_time * spread + MINUTE, *_numbers(bar))
        candle = tape.grow(far, POINTS - 1)
        rolling.add(candle)
        seen = [c for c in [*seen, candle] if c.open_time >= candle.close_time - DAY]
        assert list(rolling.candles) == seen
        assert (rolling.high, rolling.low) == (max(c.high for c in seen), min(c.low for c in seen))
        assert rolling.volume == pytest.approx(math.fsum(c.volume for c in seen), rel=1e-6, abs=1e-3)


def test_rolling_of_nothing_knows_no_extremes():
    assert math.isnan(Rolling().high)
    assert math.isnan(Rolling().low)
    assert math.isnan(Tape("X", MINUTE).last_price)
    assert Tape("X", MINUTE).longer(5 * MINUTE) is None
    assert Tape("X", MINUTE).period("1w") is None


def test_merge_of_one_candle_takes_its_values():
    bar = Bar(0, MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0, 4.0, 9)
    candle = Tape("X", MINUTE).grow(bar, POINTS - 1)
    made = merge(None, candle, 0, 5 * MINUTE)
    assert (made.close_time, made.high, made.trades) == (5 * MINUTE, 2.0, 9)


def _numbers(bar):
    return (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.taker, bar.trades)
