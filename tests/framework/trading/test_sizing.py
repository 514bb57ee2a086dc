from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.config import RiskConfig
from slt.trading.sizing import allowed_leverage, cap_size, floored_stop, leverage_curve, round_trip_cost
from slt.types import LeverageBracket, Size

BRACKET = LeverageBracket(0.0, 1e9, 125, 0.004, 0.0)
fractions = st.floats(0.001, 0.2)
shares = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("win_rate", "confidence", "expected"),
    [(0.60, 0.60, 5.6), (0.70, 0.80, 19.2), (0.70, 1.0, 24.0), (0.55, 0.5, 1.0), (0.2, 0.4, 1.0), (0.2, math.nan, 1.0)],
)
def test_leverage_curve_has_the_known_values(win_rate, confidence, expected):
    assert leverage_curve(win_rate, confidence) == pytest.approx(expected)


@given(fractions, shares, shares)
def test_liquidation_lies_at_least_one_and_a_half_stops_away(stop_fraction, win_rate, confidence):
    leverage = allowed_leverage(RiskConfig(), BRACKET, stop_fraction, win_rate, confidence)
    rate = BRACKET.maintenance_rate
    nearest = (1 / leverage - rate) / (1 + rate)  # a short; a long's lies farther away
    assert 1 <= leverage <= 20
    assert leverage == 1 or nearest >= 1.5 * stop_fraction - 1e-12


def test_leverage_is_capped_by_option_and_bracket():
    assert allowed_leverage(RiskConfig(max_leverage=7), BRACKET, 0.001, 1.0, 1.0) == 7
    small = LeverageBracket(0.0, 1e9, 3, 0.004, 0.0)
    assert allowed_leverage(RiskConfig(), small, 0.001, 1.0, 1.0) == 3


@given(st.floats(0.01, 1e5), fractions, st.sampled_from([1, -1]), fractions)
def test_floored_stop_is_never_nearer_than_the_floor_and_never_moves_in(price, distance, side, floor):
    stop = price * (1 - side * distance)
    floored = floored_stop(price, stop, side, floor)
    away = side * (price - floored) / price
    assert away >= floor - 1e-12
    assert away >= distance - 1e-12
    assert away == pytest.approx(max(floor, distance))


@given(
    st.floats(1.0, 1e6), st.floats(1.0, 1e6), st.floats(100.0, 1e6), st.floats(0.0, 0.6), st.integers(1, 20), fractions
)
def test_capped_size_respects_every_cap(notional, margin, equity, used, leverage, loss_fraction):
    risk = RiskConfig()
    capped = cap_size(Size(notional, margin), risk, equity, used * equity, leverage, loss_fraction)
    assert 0 <= capped.notional <= notional
    assert 1 <= capped.leverage <= leverage
    assert capped.notional * loss_fraction <= risk.max_loss_at_stop * equity * (1 + 1e-9)
    bound = capped.notional / capped.leverage
    assert bound <= margin * (1 + 1e-9)
    assert bound <= risk.max_margin_per_position * equity * (1 + 1e-9)
    assert bound + used * equity <= max(risk.max_margin_in_use, used) * equity * (1 + 1e-9)


def test_smallest_leverage_that_fits_the_margin_is_taken():
    capped = cap_size(Size(5_000.0, 1_000.0), RiskConfig(), 100_000.0, 0.0, 20, 0.01)
    assert (capped.notional, capped.leverage, capped.cap) == (5_000.0, 5, "sizer")


def test_capped_size_names_the_cap_that_bound_it():
    risk = RiskConfig()
    assert cap_size(Size(1e9, 1e9), risk, 10_000.0, 0.0, 20, 0.02).cap == "risk"
    assert cap_size(Size(1e9, 1e9), risk, 10_000.0, 0.0, 1, 0.0001).cap == "leverage"
    assert cap_size(Size(1.0, 1.0), risk, 10_000.0, 5_000.0, 1, 0.02).cap == "margin"


def test_round_trip_cost_is_both_fees_and_both_slippages(look):
    rules = look.rules("AAAUSDT", taker_fee=0.0005, slippage=0.0002)
    assert round_trip_cost(rules) == pytest.approx(0.0014)
