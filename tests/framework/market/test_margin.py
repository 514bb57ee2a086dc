from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from slt.market import bankruptcy_price, initial_margin, liquidation_price, maintenance_margin, unrealised_pnl
from slt.rules import GENERIC_BRACKETS, generic_rules
from slt.types import LeverageBracket

RULES = generic_rules("XUSDT", 100.0)


def one_bracket(rate: float, cum: float):
    return evolve(RULES, brackets=(LeverageBracket(0, 1e12, 20, rate, cum),))


def test_unrealised_pnl_is_signed_by_side():
    assert unrealised_pnl(1, 2.0, 100.0, 110.0) == 20.0
    assert unrealised_pnl(-1, 2.0, 100.0, 110.0) == -20.0


def test_initial_margin_is_notional_over_leverage():
    assert initial_margin(2.0, 100.0, 8) == 25.0


@pytest.mark.parametrize(
    ("quantity", "entry", "rate", "cum", "maintenance", "unrealised", "expected"),
    [
        # The exchange's own worked example for cross margin: ETHUSDT and BTCUSDT in one wallet of 1,535,443.01 USDT.
        (3683.979, 1456.84, 0.10, 135_365.0, 71_200.81144, -56_354.57, 1153.26),
        (109.488, 32_481.98, 0.025, 16_300.0, 356_512.508, -448_192.89, 26_316.89),
        (3683.979, 1456.84, 0.10, 135_365.0, 0.0, 0.0, 1114.78),
        (109.488, 32_481.98, 0.025, 16_300.0, 0.0, 0.0, 18_778.73),
    ],
)
def test_liquidation_price_golden_examples(quantity, entry, rate, cum, maintenance, unrealised, expected):
    price = liquidation_price(
        one_bracket(rate, cum),
        1,
        quantity,
        entry,
        1_535_443.01,
        other_maintenance=maintenance,
        other_unrealised=unrealised,
    )

    assert price == pytest.approx(expected, abs=0.01)


def test_liquidation_price_isolated_by_hand():
    # 10 at 100 with 20x: margin 50; long: (50 - 1000) / (10 * (0.025 - 1)); short: (50 + 1000) / (10 * (0.025 + 1)).
    assert liquidation_price(RULES, 1, 10.0, 100.0, 50.0) == pytest.approx(950 / 9.75)
    assert liquidation_price(RULES, -1, 10.0, 100.0, 50.0) == pytest.approx(1050 / 10.25)


def test_liquidation_price_moves_to_the_bracket_it_falls_into():
    # A short of 99,000 ends in the second bracket, whose rate and cum count, not those it was opened with.
    price = liquidation_price(RULES, -1, 990.0, 100.0, 9_900.0)

    assert price == pytest.approx(111_400 / (990 * 1.05))
    assert price * 990 > GENERIC_BRACKETS[0].cap


def test_liquidation_price_none_where_the_wallet_covers_everything():
    assert liquidation_price(RULES, 1, 10.0, 100.0, 1_000.0) is None
    assert liquidation_price(RULES, 1, 10.0, 100.0, 5_000.0) is None
    assert liquidation_price(RULES, -1, 10.0, 100.0, 1_000.0) is not None


def test_bankruptcy_price_is_where_the_backing_is_gone():
    assert bankruptcy_price(1, 10.0, 100.0, 50.0) == 95.0
    assert bankruptcy_price(-1, 10.0, 100.0, 50.0) == 105.0
    assert bankruptcy_price(1, 10.0, 100.0, 50.0, other_unrealised=10.0) == 94.0
    assert bankruptcy_price(1, 10.0, 100.0, 1_000.0) is None


@given(
    st.sampled_from([1, -1]),
    st.floats(0.01, 1e5),
    st.floats(0.01, 1e5),
    st.integers(1, 20),
    st.floats(0, 1e5),
    st.floats(-1e5, 1e5),
)
def test_liquidation_price_is_where_margin_balance_meets_maintenance_margin(
    side, quantity, entry, leverage, maintenance, unrealised
):
    assume(quantity * entry < 1.5e7)
    wallet = quantity * entry / leverage + maintenance - unrealised
    price = liquidation_price(
        RULES, side, quantity, entry, wallet, other_maintenance=maintenance, other_unrealised=unrealised
    )

    def surplus(at: float) -> float:
        balance = wallet + unrealised + unrealised_pnl(side, quantity, entry, at)
        return balance - maintenance - maintenance_margin(RULES, quantity * at)

    if price is None:
        assert side == 1
        assert surplus(1e-12) >= -1e-6
        return
    scale = 1e-9 * (quantity * max(entry, price) + maintenance + abs(unrealised)) + 1e-9
    assert surplus(price) == pytest.approx(0.0, abs=scale)
    assert surplus(price * (1 + side * 1e-6)) > -scale
    bankrupt = bankruptcy_price(side, quantity, entry, wallet - maintenance, other_unrealised=unrealised)
    assert bankrupt is None or side * (price - bankrupt) >= -1e-9 * price - 1e-12
