from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import DataError
from slt.rules import (
    GENERIC_BRACKETS,
    bracket_of,
    generic_rules,
    maintenance_margin,
    max_leverage,
    parse_brackets,
)

TIERS = Path(__file__).parents[4] / "shared/data/raw/leverage/binance_leverage_tiers.json"
RULES = generic_rules("XUSDT", 1.0)

EXCHANGE = [
    {
        "symbol": "ETHUSDT",
        "notionalCoef": 1.5,
        "brackets": [
            {
                "bracket": 2,
                "initialLeverage": 50,
                "notionalCap": 100000,
                "notionalFloor": 10000,
                "maintMarginRatio": 0.01,
                "cum": 35.0,
            },
            {
                "bracket": 1,
                "initialLeverage": 75,
                "notionalCap": 10000,
                "notionalFloor": 0,
                "maintMarginRatio": 0.0065,
                "cum": 0.0,
            },
        ],
    }
]


def test_parse_brackets_of_the_exchange_takes_list_object_and_text():
    listed = parse_brackets(EXCHANGE)

    assert parse_brackets(EXCHANGE[0]) == listed
    assert parse_brackets(json.dumps(EXCHANGE)) == listed
    assert parse_brackets(json.dumps(EXCHANGE).encode()) == listed
    first, second = listed["ETHUSDT"]
    assert (first.floor, first.cap, first.max_leverage, first.maintenance_rate, first.cum) == (0, 10000, 75, 0.0065, 0)
    assert (second.floor, second.cap, second.max_leverage, second.maintenance_rate) == (10000, 100000, 50, 0.01)
    assert second.cum == 35.0


def test_parse_brackets_without_cum_makes_the_margin_continuous():
    rows = [{k: v for k, v in row.items() if k != "cum"} for row in EXCHANGE[0]["brackets"]]

    ladder = parse_brackets({"symbol": "ETHUSDT", "brackets": rows})["ETHUSDT"]

    assert [b.cum for b in ladder] == pytest.approx([0.0, 35.0])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("no json", "found no JSON"),
        (5, "found neither a list of symbols"),
        ([{"symbol": "A", "brackets": []}], "leverage brackets of A: found `[]`, allowed is a list of at least one"),
        (
            [{"symbol": "A", "brackets": [{"notionalFloor": 0}]}],
            "leverage brackets of A: a bracket has no `notionalCap`; found ['notionalFloor']",
        ),
        (
            {"A/USDT:USDT": [{"minNotional": 5, "maxNotional": 9, "maintenanceMarginRate": 0.1, "maxLeverage": 5}]},
            "leverage brackets of AUSDT: found one that begins at 5 where 0 is due",
        ),
        (
            {"A/USDT:USDT": [{"minNotional": 0, "maxNotional": 0, "maintenanceMarginRate": 0.1, "maxLeverage": 5}]},
            "allowed is floor < cap",
        ),
        (
            {"A/USDT:USDT": [{"minNotional": 0, "maxNotional": "x", "maintenanceMarginRate": 0.1, "maxLeverage": 5}]},
            "leverage brackets of AUSDT: cap: found `x`",
        ),
        (
            {"A/USDT:USDT": [{"minNotional": 0, "maxNotional": 9, "maintenanceMarginRate": 0.1, "maxLeverage": 2.5}]},
            "leverage: found `2.5`, allowed is a whole number",
        ),
    ],
)
def test_parse_brackets_of_something_else_says_what_is_wrong(answer, text):
    with pytest.raises(DataError) as caught:
        parse_brackets(answer)

    assert text in str(caught.value)


def test_parse_brackets_reports_every_symbol_at_once():
    answer = [{"symbol": "A", "brackets": []}, {"symbol": "B", "brackets": None}, *EXCHANGE]

    with pytest.raises(DataError) as caught:
        parse_brackets(answer)

    assert len(caught.value.problems) == 2


@pytest.mark.skipif(not TIERS.exists(), reason="the shared leverage tiers are not here")
def test_parse_brackets_of_all_real_symbols_are_continuous_ladders():
    tables = parse_brackets(TIERS.read_bytes())

    assert len(tables) == 907
    assert {"BTCUSDT", "BTCUSDT_260925", "1000000BOBUSDT", "币安人生USDT", "ETHUSDC"} <= set(tables)
    assert tables["BTCUSDT"][1].cum == 300.0
    for ladder in tables.values():
        assert ladder[0].floor == 0
        for before, after in pairwise(ladder):
            assert after.floor == before.cap
            assert after.max_leverage <= before.max_leverage
            step = after.floor * (after.maintenance_rate - before.maintenance_rate) + before.cum
            assert after.cum == pytest.approx(step)


def test_bracket_of_holds_floor_inclusive_cap_exclusive():
    assert bracket_of(RULES, 0.0) is GENERIC_BRACKETS[0]
    assert bracket_of(RULES, 99_999.99) is GENERIC_BRACKETS[0]
    assert bracket_of(RULES, 100_000.0) is GENERIC_BRACKETS[1]
    assert bracket_of(RULES, -100_000.0) is GENERIC_BRACKETS[1]
    assert bracket_of(RULES, 1e12) is GENERIC_BRACKETS[-1]


def test_max_leverage_beyond_the_last_cap_is_zero():
    assert max_leverage(RULES, 50_000.0) == 20
    assert max_leverage(RULES, 19_999_999.0) == 1
    assert max_leverage(RULES, 20_000_000.0) == 0


@given(st.floats(0, 3e7), st.floats(0, 3e7))
def test_maintenance_margin_rises_with_the_notional_without_jumps(a, b):
    low, high = sorted((a, b))

    difference = maintenance_margin(RULES, high) - maintenance_margin(RULES, low)

    assert difference >= -1e-6
    assert difference <= 0.5 * (high - low) + 1e-6
    assert maintenance_margin(RULES, -high) == maintenance_margin(RULES, high)
