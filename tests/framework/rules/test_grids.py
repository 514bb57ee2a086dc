from __future__ import annotations

import math
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from slt.rules import ceil_quantity, floor_quantity, generic_rules, lot_of, round_price

RULES = evolve(
    generic_rules("XUSDT", 100.0),
    tick_size=Decimal("0.05"),
    min_price=Decimal("0.02"),
    step_size=Decimal("0.1"),
    min_quantity=Decimal("0.3"),
    max_quantity=Decimal(900),
    market_step_size=Decimal("0.5"),
    market_min_quantity=Decimal("0.5"),
    market_max_quantity=Decimal(90),
)

steps = st.sampled_from(["0.0000001", "0.00001", "0.001", "0.01", "0.05", "0.1", "0.25", "1", "5", "100", "1000"])
values = st.floats(min_value=1e-9, max_value=1e12, allow_nan=False)


def printed(value: float) -> Decimal:
    return Decimal(repr(value))


@pytest.mark.parametrize(
    ("price", "direction", "expected"),
    [
        (1.0, -1, 0.97),
        (1.0, 1, 1.02),
        (1.0, 0, 1.02),
        (0.97, 1, 0.97),
        (0.98, 0, 0.97),
        (0.02, -1, 0.02),
        (100.03, -1, 100.02),
    ],
)
def test_round_price_counts_ticks_from_the_lowest_price(price, direction, expected):
    assert round_price(RULES, price, direction) == expected


def test_round_price_without_tick_leaves_the_price():
    assert round_price(generic_rules("XUSDT"), 1.23456789012, 1) == 1.23456789012


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rounding_not_a_number_raises(value):
    with pytest.raises(ValueError, match="allowed is a finite number"):
        round_price(RULES, value, 1)
    with pytest.raises(ValueError, match="allowed is a finite number"):
        floor_quantity(RULES, value)
    with pytest.raises(ValueError, match="allowed is a finite number"):
        ceil_quantity(RULES, value)


def test_quantities_use_the_filter_of_the_order_type():
    assert floor_quantity(RULES, 0.99, is_market=True) == 0.5
    assert floor_quantity(RULES, 0.99, is_market=False) == 0.9
    assert ceil_quantity(RULES, 0.51, is_market=True) == 1.0
    assert ceil_quantity(RULES, 0.51, is_market=False) == 0.6


def test_floor_quantity_below_the_smallest_is_zero():
    assert floor_quantity(RULES, 0.29, is_market=False) == 0.0
    assert floor_quantity(RULES, 0.3, is_market=False) == 0.3
    assert floor_quantity(generic_rules("XUSDT"), 0.123) == 0.123


def test_ceil_quantity_is_at_least_the_smallest():
    assert ceil_quantity(RULES, 0.0, is_market=False) == 0.3


@pytest.mark.parametrize("noisy", [0.1 + 0.2, 0.3 - 1e-16, 1.1 - 0.8])
def test_float_noise_counts_as_on_the_grid(noisy):
    assert floor_quantity(RULES, noisy, is_market=False) == 0.3
    assert ceil_quantity(RULES, noisy, is_market=False) == 0.3


def test_lot_of_market_falls_back_to_the_limit_filter_part_by_part():
    rules = evolve(RULES, market_step_size=Decimal(0), market_max_quantity=Decimal(0))

    lot = lot_of(rules, is_market=True)

    assert (lot.minimum, lot.maximum, lot.step) == (Decimal("0.5"), Decimal(900), Decimal("0.1"))


@given(values, steps, st.sampled_from([-1, 0, 1]))
def test_round_price_lands_on_the_grid_next_to_the_price(value, tick, direction):
    step = Decimal(tick)
    rules = evolve(RULES, tick_size=step, min_price=step)

    rounded = printed(round_price(rules, value, direction))

    assert (rounded - step) % step == 0
    noise = step * Decimal("0.000001")
    # Beyond 15 digits a float cannot hold every grid point, and a coarser one is taken.
    reach = max(step, abs(printed(value)) * Decimal("1e-14"))
    assert direction <= 0 or rounded >= printed(value) - noise
    assert direction >= 0 or rounded <= printed(value) + noise
    assert abs(rounded - printed(value)) <= reach + noise


@given(values, steps)
def test_floor_and_ceil_enclose_the_quantity_on_the_grid(value, step_text):
    step = Decimal(step_text)
    rules = evolve(RULES, step_size=step, min_quantity=step)
    noise = step * Decimal("0.000001")

    low = printed(floor_quantity(rules, value, is_market=False))
    high = printed(ceil_quantity(rules, value, is_market=False))

    assert low % step == 0
    assert high % step == 0
    assert low <= printed(value) + noise
    assert high >= printed(value) - noise
    assert high >= step


@given(st.integers(1, 10**12), st.integers(0, 8))
def test_a_value_on_the_grid_stays(count, places):
    step = Decimal(1).scaleb(-places)
    value = float(count * step)
    rules = evolve(RULES, tick_size=step, min_price=step, step_size=step, min_quantity=step)
    if printed(value) != count * step:
        return
    for direction in (-1, 0, 1):
        assert round_price(rules, value, direction) == value
    assert floor_quantity(rules, value, is_market=False) == value
    assert ceil_quantity(rules, value, is_market=False) == value
