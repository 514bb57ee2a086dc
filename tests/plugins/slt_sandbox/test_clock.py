"""The market's clock: it runs with the pace, waits for what has not been played, and never goes back."""

from __future__ import annotations

import pytest

from slt_sandbox.clock import MarketClock, WallClock


class Wall:
    now = 100.0

    def __call__(self):
        return self.now


def make(speed, start=1_000_000):
    wall = Wall()
    return wall, MarketClock(start, speed, wall)


def test_clock_at_ten_times_the_pace_runs_ten_seconds_in_one():
    wall, clock = make(10.0)
    clock.wait_seconds(2_000_000)
    wall.now += 3.0
    assert clock() == 1_030_000


def test_clock_never_passes_what_has_not_been_played():
    wall, clock = make(10.0)
    clock.wait_seconds(1_005_000)
    wall.now += 60.0
    assert clock() == 1_005_000


def test_clock_says_how_long_to_wait_for_a_moment():
    wall, clock = make(4.0)
    assert clock.wait_seconds(1_008_000) == pytest.approx(2.0)
    wall.now += 1.5
    assert clock.wait_seconds(1_008_000) == pytest.approx(0.5)


def test_clock_that_fell_behind_goes_on_from_where_it_is():
    wall, clock = make(1.0)
    wall.now += 30.0
    assert clock.wait_seconds(1_010_000) == 0.0
    clock.reach(1_010_000)
    assert clock.wait_seconds(1_015_000) == pytest.approx(5.0)


def test_clock_without_a_pace_moves_with_events_alone():
    wall, clock = make(0.0)
    wall.now += 99.0
    assert clock() == 1_000_000
    assert clock.wait_seconds(1_060_000) == 0.0
    clock.reach(1_060_000)
    assert clock() == 1_060_000
    clock.reach(1_030_000)
    assert clock() == 1_060_000


def test_clock_jump_shows_in_the_exchange_time_and_not_in_the_market_time():
    _, clock = make(0.0)
    clock.jump_ms = 7_000
    assert (clock(), clock.now()) == (1_007_000, 1_000_000)


def test_clock_started_again_does_not_count_what_passed():
    wall, clock = make(1.0)
    clock.wait_seconds(2_000_000)
    wall.now += 5.0
    assert clock() == 1_005_000
    wall.now += 100.0
    clock.start()
    assert clock.wait_seconds(1_006_000) == pytest.approx(1.0)


def test_wall_clock_is_the_time_of_day_whatever_has_been_played():
    day = [1_000_000]
    clock = WallClock(960_000, lambda: day[0])
    assert clock() == 1_000_000
    clock.start()
    clock.reach(980_000)
    assert (clock.wait_seconds(980_000), clock.wait_seconds(1_020_000)) == (0.0, 20.0)
    day[0] = 1_090_000
    assert clock.wait_seconds(1_020_000) == 0.0
    assert clock() == 1_090_000
    day[0] = 1_080_000
    assert clock() == 1_090_000
    clock.jump_ms = 5_000
    assert (clock(), clock.now()) == (1_095_000, 1_090_000)
