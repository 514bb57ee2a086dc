from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_outlook, make_point, make_position
from slt.types import ExitOrder
from slt_exits.total_loss import TotalLoss, TotalLossConfig

EXIT = TotalLoss(TotalLossConfig())
SIDES = pytest.mark.parametrize("side", [1, -1])


def ask(position, price, minutes=1.0, outlook=None, plugin=EXIT):
    return plugin.slt_check_exit(position=position, point=make_point(price, minutes=minutes), outlook=outlook)


def one_before(price, side):
    """The next better price for the position."""
    return math.nextafter(price, side * math.inf)


@SIDES
def test_total_loss_at_99_percent_of_the_margin_closes_all(side):
    position = make_position(side, leverage=5)
    level = position.entry_price * (1 - side * 0.99 / 5)
    assert position.gain(level, "margin") == pytest.approx(-0.99)
    level = position.price_at_gain(-0.99, "margin")
    assert ask(position, level) == ExitOrder(1.0, level)
    assert ask(position, one_before(level, side)) is None


@SIDES
def test_total_loss_with_the_best_outlook_closes_all_the_same(side):
    position = make_position(side, leverage=5)
    level = position.price_at_gain(-1.0, "margin")
    assert ask(position, level, outlook=make_outlook(1.0, 1.0, 1.0, p_win=1.0)) is not None


@SIDES
def test_total_loss_at_one_r_with_a_resting_stop_leaves_it_to_the_stop(side):
    position = make_position(side)
    assert ask(position, position.price_at_gain(-1.5)) is None


@SIDES
def test_total_loss_at_one_r_without_a_resting_stop_closes_all(side):
    position = make_position(side, stop_resting=False)
    level = position.price_at_gain(-1.0)
    assert level == position.initial_stop
    assert ask(position, level) == ExitOrder(1.0, level)
    assert ask(position, one_before(level, side)) is None


@SIDES
def test_total_loss_with_a_stop_not_filled_after_five_seconds_closes_at_the_next_price(side):
    position = make_position(side, stop_traded_time=make_point(1.0, minutes=1).time)
    price = position.price_at_gain(-1.1)
    assert ask(position, price, minutes=1 + 4.999 / 60) is None
    assert ask(position, price, minutes=1 + 5 / 60) == ExitOrder(1.0, None)


@SIDES
def test_total_loss_with_an_unfilled_stop_but_a_recovered_price_waits(side):
    position = make_position(side, stop_traded_time=make_point(1.0, minutes=1).time)
    assert ask(position, position.price_at_gain(-0.9), minutes=10) is None


@SIDES
def test_total_loss_with_own_limits_uses_them(side):
    plugin = TotalLoss(TotalLossConfig(max_loss_of_margin=0.5, max_loss_r=2.0, stop_fill_grace_seconds=60))
    position = make_position(side, stop_traded_time=make_point(1.0, minutes=1).time)
    assert ask(position, position.price_at_gain(-1.9), minutes=30, plugin=plugin) is None
    assert ask(position, position.price_at_gain(-2.1), minutes=1.9, plugin=plugin) is None
    assert ask(position, position.price_at_gain(-2.1), minutes=2, plugin=plugin) is not None
    assert ask(position, position.price_at_gain(-0.51, "margin"), plugin=plugin) is not None


@given(side=st.sampled_from([1, -1]), gain=st.floats(-3.0, 3.0), leverage=st.integers(1, 100))
def test_total_loss_without_a_stop_fires_exactly_where_a_limit_is_passed(side, gain, leverage):
    position = make_position(side, stop_resting=False, leverage=leverage)
    price = position.price_at_gain(gain)
    lost_r = side * (price - position.price_at_gain(-1.0)) <= 0
    lost_margin = side * (price - position.price_at_gain(-0.99, "margin")) <= 0
    assert (ask(position, price) is not None) == (lost_r or lost_margin)


@pytest.mark.parametrize(
    "options",
    [{"max_loss_of_margin": 0}, {"max_loss_of_margin": 1.1}, {"max_loss_r": 0}, {"stop_fill_grace_seconds": -1}],
)
def test_total_loss_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TotalLossConfig(**options)
