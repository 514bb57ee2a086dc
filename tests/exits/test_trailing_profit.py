from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_outlook, make_point, make_position
from slt.types import ExitMark, ExitOrder
from slt_exits.trailing_profit import TrailingProfit, TrailingProfitConfig

SIDES = pytest.mark.parametrize("side", [1, -1])
RUNNING = make_outlook(continuation=0.71)
ARMED = {"trailing_profit"}
COSTS = {"cost_rate": 0.0007, "costs_paid": 0.1}


def ask(position, price, outlook=RUNNING, **options):
    plugin = TrailingProfit(TrailingProfitConfig(**options))
    return plugin.slt_check_exit(position=position, point=make_point(price), outlook=outlook)


@pytest.mark.parametrize(("side", "basis"), [(1, "risk"), (-1, "risk"), (1, "margin"), (-1, "margin")])
def test_trailing_profit_above_20_percent_net_arms(side, basis):
    position = make_position(side, **COSTS)
    level = position.price_at_net_gain(0.2, basis)
    assert ask(position, level, basis=basis) is None
    assert ask(position, math.nextafter(level, side * math.inf), basis=basis) == ExitMark("trailing_profit")


@SIDES
@pytest.mark.parametrize(("continuation", "arms"), [(0.70, False), (0.7000001, True), (float("nan"), False)])
def test_trailing_profit_arms_only_above_70_percent_continuation(side, continuation, arms):
    position = make_position(side)
    answer = ask(position, position.price_at_gain(0.5), make_outlook(continuation=continuation))
    assert (answer == ExitMark("trailing_profit")) is arms


@SIDES
def test_trailing_profit_without_outlook_does_not_arm(side):
    position = make_position(side)
    assert ask(position, position.price_at_gain(0.5), None) is None


@SIDES
def test_trailing_profit_not_armed_never_closes(side):
    position = make_position(side, peak_gain=1.0)
    assert ask(position, position.price_at_gain(0.1)) is None


@SIDES
@pytest.mark.parametrize(("peak", "kept"), [(1.0, 0.75), (0.4, 0.3), (0.2, 0.15), (0.16, 0.11)])
def test_trailing_profit_armed_closes_where_a_quarter_or_5_points_are_given_back(side, peak, kept):
    position = make_position(side, marks=set(ARMED), peak_gain=peak, **COSTS)
    level = position.price_at_net_gain(kept)
    assert ask(position, level - side * 1e-9, None) == ExitOrder(1.0, pytest.approx(level))
    assert ask(position, level + side * 1e-9, None) is None


@SIDES
def test_trailing_profit_at_a_new_peak_stays(side):
    position = make_position(side, marks=set(ARMED), peak_gain=0.3)
    assert ask(position, position.price_at_gain(0.9)) is None


@SIDES
def test_trailing_profit_on_margin_reads_the_peak_on_margin(side):
    position = make_position(side, marks=set(ARMED), peak_gain=8.0)
    # 1 R is 1 of a margin of 20 per unit: a peak of 8 R is 40 % of the margin, of which 30 % are kept.
    level = position.price_at_gain(0.30, "margin")
    assert ask(position, level + side * 1e-9, basis="margin") is None
    assert ask(position, level - side * 1e-9, basis="margin") == ExitOrder(1.0, pytest.approx(level))


@given(side=st.sampled_from([1, -1]), peak=st.floats(0.2, 5), gain=st.floats(-1, 5))
def test_trailing_profit_armed_fires_exactly_from_its_level_on(side, peak, gain):
    position = make_position(side, marks=set(ARMED), peak_gain=peak)
    answer = ask(position, position.price_at_gain(gain))
    kept = peak - max(peak / 4, 0.05)
    if abs(gain - kept) > 1e-9:
        assert (answer is not None) == (gain < kept)


@pytest.mark.parametrize(
    "options",
    [
        {"arm_gain": 0},
        {"arm_continuation": 1.1},
        {"give_back": 0},
        {"give_back": 1},
        {"min_give_back": -0.1},
        {"basis": "x"},
    ],
)
def test_trailing_profit_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TrailingProfitConfig(**options)
