from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_outlook, make_point, make_position
from slt.types import ExitOrder
from slt_exits.conviction_drop import ConvictionDrop, ConvictionDropConfig

EXIT = ConvictionDrop(ConvictionDropConfig())
SIDES = pytest.mark.parametrize("side", [1, -1])
NAN = float("nan")
FALLEN = make_outlook(confidence=0.5, confidence_before=0.8)


def ask(position, price, outlook=FALLEN, plugin=EXIT):
    return plugin.slt_check_exit(position=position, point=make_point(price), outlook=outlook)


def in_profit(side):
    position = make_position(side)
    return position, position.price_at_gain(0.1)


@SIDES
@pytest.mark.parametrize(
    ("before", "now", "fires"),
    [(0.8, 0.64, True), (0.7, 0.56, True), (0.5, 0.4, True), (0.8, 0.641, False), (0.8, 0.9, False), (0.0, 0.0, False)],
)
def test_conviction_drop_of_20_percent_closes(side, before, now, fires):
    position, price = in_profit(side)
    by_rules = make_outlook(confidence=now, confidence_before=before)
    by_model = make_outlook(p_win=now, p_win_before=before)
    expected = ExitOrder(1.0, position.price_at_net_gain(0.0)) if fires else None
    assert ask(position, price, by_rules) == expected
    assert ask(position, price, by_model) == expected


@SIDES
def test_conviction_drop_counts_the_profit_after_costs(side):
    position = make_position(side, cost_rate=0.0007, costs_paid=0.1)
    level = position.price_at_net_gain(0.0)
    assert ask(position, level) is None
    assert ask(position, math.nextafter(level, side * math.inf)) == ExitOrder(trigger_price=level)
    assert ask(position, position.price_at_gain(-0.5)) is None


@SIDES
@pytest.mark.parametrize(
    "values",
    [
        {"confidence": NAN, "confidence_before": 0.9},
        {"confidence": 0.1, "confidence_before": NAN},
        {"p_win": NAN, "p_win_before": 0.9},
        {"p_win": 0.1, "p_win_before": NAN},
        {"p_win": None, "p_win_before": 0.9},
        {"p_win": 0.1, "p_win_before": None},
    ],
)
def test_conviction_drop_with_an_unknown_value_does_not_fire(side, values):
    position, price = in_profit(side)
    assert ask(position, price, make_outlook(**values)) is None


@SIDES
def test_conviction_drop_with_one_value_unknown_fires_by_the_other(side):
    position, price = in_profit(side)
    assert ask(position, price, make_outlook(NAN, p_win=0.4, p_win_before=0.6)) == ExitOrder(trigger_price=100.0)
    assert ask(position, price, make_outlook(0.4, confidence_before=0.6, p_win=NAN, p_win_before=NAN)) == ExitOrder(
        trigger_price=100.0
    )


def test_conviction_drop_without_outlook_does_nothing():
    position, price = in_profit(1)
    assert ask(position, price, None) is None


@given(before=st.floats(0.01, 1), share=st.floats(0, 2), drop=st.floats(0.05, 1))
def test_conviction_drop_fires_exactly_at_its_relative_fall(before, share, drop):
    plugin = ConvictionDrop(ConvictionDropConfig(min_drop=drop))
    position, price = in_profit(1)
    answer = ask(position, price, make_outlook(before * share, confidence_before=before), plugin)
    if abs(share - (1 - drop)) * before > 1e-6:
        assert (answer is not None) == (share < 1 - drop)


def test_conviction_drop_config_out_of_range_is_refused():
    with pytest.raises(ValueError, match="min_drop"):
        ConvictionDropConfig(min_drop=0)
