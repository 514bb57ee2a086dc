from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_outlook, make_point, make_position
from slt.types import ExitOrder
from slt_exits.deep_loss import DeepLoss, DeepLossConfig

SIDES = pytest.mark.parametrize("side", [1, -1])
NAN = float("nan")


def ask(position, price, outlook=None, **options):
    plugin = DeepLoss(DeepLossConfig(**options))
    return plugin.slt_check_exit(position=position, point=make_point(price), outlook=outlook)


@pytest.mark.parametrize(("side", "basis"), [(1, "risk"), (-1, "risk"), (1, "margin"), (-1, "margin")])
def test_deep_loss_at_50_percent_closes_all(side, basis):
    position = make_position(side)
    level = position.price_at_gain(-0.5, basis)
    assert ask(position, level, basis=basis) == ExitOrder(1.0, level)
    assert ask(position, math.nextafter(level, side * math.inf), basis=basis) is None


@SIDES
def test_deep_loss_counts_the_price_move_without_costs(side):
    position = make_position(side, cost_rate=0.0007, costs_paid=0.4)
    assert ask(position, position.price_at_gain(-0.45)) is None


@SIDES
@pytest.mark.parametrize(
    ("rebound", "confidence", "waits"),
    [
        (0.71, 0.80, True),
        (0.70, 0.80, False),
        (0.71, 0.799, False),
        (1.0, 1.0, True),
        (NAN, 1.0, False),
        (1.0, NAN, False),
        (NAN, NAN, False),
    ],
)
def test_deep_loss_waits_only_with_a_likely_rebound_and_confidence(side, rebound, confidence, waits):
    position = make_position(side)
    answer = ask(position, position.price_at_gain(-0.8), make_outlook(confidence, rebound))
    assert (answer is None) is waits


@given(side=st.sampled_from([1, -1]), gain=st.floats(-2, 2), rebound=st.floats(0, 1), confidence=st.floats(0, 1))
def test_deep_loss_fires_exactly_by_its_rule(side, gain, rebound, confidence):
    position = make_position(side)
    price = position.price_at_gain(gain)
    is_deep = side * (price - position.price_at_gain(-0.5)) <= 0
    waits = rebound > 0.70 and confidence >= 0.80
    assert (ask(position, price, make_outlook(confidence, rebound)) is not None) == (is_deep and not waits)


@pytest.mark.parametrize("options", [{"max_loss": 0}, {"hold_rebound": 2}, {"hold_confidence": -1}, {"basis": "x"}])
def test_deep_loss_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DeepLossConfig(**options)
