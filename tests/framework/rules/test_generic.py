from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import DataError
from slt.rules import GENERIC_BRACKETS, ceil_quantity, floor_quantity, generic_rules, round_price


@pytest.mark.parametrize(
    ("price", "tick", "step"),
    [
        (65_432.1, "1", "0.0001"),
        (2_500.0, "0.1", "0.001"),
        (150.0, "0.01", "0.01"),
        (2.5, "0.0001", "1"),
        (0.1, "0.00001", "10"),
        (0.0000123, "0.000000001", "100000"),
    ],
)
def test_generic_rules_scale_with_the_price(price, tick, step):
    rules = generic_rules("XUSDT", price)

    assert (rules.tick_size, rules.min_price) == (Decimal(tick), Decimal(tick))
    assert (rules.step_size, rules.min_quantity, rules.market_step_size) == (Decimal(step),) * 3
    assert rules.min_notional == 5
    assert (rules.taker_fee, rules.maker_fee) == (0.0005, 0.0002)


@given(st.floats(1e-8, 1e8))
def test_generic_rules_keep_ticks_and_steps_small(price):
    rules = generic_rules("XUSDT", price)

    assert abs(round_price(rules, price, 1) / price - 1) <= 1e-4 * (1 + 1e-9)
    assert 1 <= float(rules.step_size) * price < 10.000001


def test_generic_rules_without_a_price_allow_any_number():
    rules = generic_rules("XUSDT")

    assert round_price(rules, 1.23456, -1) == 1.23456
    assert floor_quantity(rules, 1.23456) == 1.23456
    assert ceil_quantity(rules, 1.23456) == 1.23456
    assert rules.min_notional == 5


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_generic_rules_of_no_price_raise(price):
    with pytest.raises(DataError, match="rules of XUSDT: found the price"):
        generic_rules("XUSDT", price)


def test_generic_brackets_are_a_continuous_ladder():
    for before, after in pairwise(GENERIC_BRACKETS):
        assert after.floor == before.cap
        step = after.floor * (after.maintenance_rate - before.maintenance_rate)
        assert after.cum == pytest.approx(before.cum + step)
        assert after.maintenance_rate < 1 / after.max_leverage
