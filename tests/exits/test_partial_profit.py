from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_point, make_position
from slt.types import ExitOrder
from slt_exits.partial_profit import PartialProfit, PartialProfitConfig

BOTH = pytest.mark.parametrize(("side", "basis"), [(1, "risk"), (-1, "risk"), (1, "margin"), (-1, "margin")])
COSTS = {"cost_rate": 0.0007, "costs_paid": 0.1}


def ask(position, price, **options):
    plugin = PartialProfit(PartialProfitConfig(**options))
    return plugin.slt_check_exit(position=position, point=make_point(price), outlook=None)


@BOTH
def test_partial_profit_at_60_percent_net_closes_half(side, basis):
    position = make_position(side, **COSTS)
    level = position.price_at_net_gain(0.6, basis)
    assert position.net_gain(level, basis) == pytest.approx(0.6)
    assert ask(position, level, basis=basis) == ExitOrder(0.5, level)
    assert ask(position, math.nextafter(level, -side * math.inf), basis=basis) is None


@pytest.mark.parametrize("side", [1, -1])
def test_partial_profit_counts_the_gain_after_costs(side):
    position = make_position(side, **COSTS)
    assert ask(position, position.price_at_gain(0.61)) is None
    assert ask(make_position(side), position.price_at_gain(0.61)) is not None


@pytest.mark.parametrize("side", [1, -1])
def test_partial_profit_is_taken_once(side):
    position = make_position(side, exits_done={"partial_profit"})
    assert ask(position, position.price_at_gain(2.0)) is None


@pytest.mark.parametrize("side", [1, -1])
def test_partial_profit_in_a_loss_does_nothing(side):
    position = make_position(side)
    assert ask(position, position.price_at_gain(-0.9)) is None


@given(side=st.sampled_from([1, -1]), basis=st.sampled_from(["risk", "margin"]), gain=st.floats(-2, 3))
def test_partial_profit_fires_exactly_from_its_level_on(side, basis, gain):
    position = make_position(side, **COSTS)
    price = position.price_at_gain(gain, basis)
    reached = side * (price - position.price_at_net_gain(0.6, basis)) >= 0
    assert (ask(position, price, basis=basis) is not None) == reached


@pytest.mark.parametrize("options", [{"min_gain": 0}, {"fraction": 0}, {"fraction": 1}, {"basis": "equity"}])
def test_partial_profit_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PartialProfitConfig(**options)
