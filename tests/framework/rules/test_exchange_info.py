from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path

import pytest

from slt.errors import DataError
from slt.rules import GENERIC_BRACKETS, parse_brackets, parse_exchange_info

RAW = Path(__file__).parents[4] / "shared/data/raw"
ANSWERS = ["mainnet-2021-07-21", "mainnet-2021-12-04", "testnet-2025-12-24"]
needs_raw = pytest.mark.skipif(not RAW.exists(), reason="the shared recordings of the exchange are not here")


def raw(name: str) -> bytes:
    return (RAW / f"exchangeinfo/fapi-exchangeInfo-{name}.json").read_bytes()


def entry(symbol: str = "AUSDT", **changes: object) -> dict:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "261.10", "maxPrice": "809484"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.002", "maxQty": "1000"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.01", "minQty": "0.01", "maxQty": "120"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 199},
        ],
        **changes,
    }


def test_parse_takes_every_filter_exactly():
    rules = parse_exchange_info({"symbols": [entry()]})["AUSDT"]

    assert rules.tick_size == Decimal("0.10")
    assert (rules.min_price, rules.max_price) == (Decimal("261.10"), Decimal(809484))
    assert (rules.step_size, rules.min_quantity, rules.max_quantity) == (Decimal("0.001"), Decimal("0.002"), 1000)
    assert (rules.market_step_size, rules.market_min_quantity, rules.market_max_quantity) == (
        Decimal("0.01"),
        Decimal("0.01"),
        120,
    )
    assert rules.min_notional == 100
    assert (rules.multiplier_up, rules.multiplier_down) == (Decimal("1.05"), Decimal("0.95"))
    assert rules.max_orders == 199
    assert rules.brackets == GENERIC_BRACKETS


def test_parse_merges_brackets():
    ladder = parse_brackets(
        {"A/USDT:USDT": [{"minNotional": 0, "maxNotional": 9, "maintMarginRatio": 0.1, "initialLeverage": 5}]}
    )

    rules = parse_exchange_info({"symbols": [entry(), entry("BUSDT")]}, ladder)

    assert rules["AUSDT"].brackets == ladder["AUSDT"]
    assert rules["BUSDT"].brackets == GENERIC_BRACKETS


def test_parse_without_optional_filters_limits_nothing_and_copies_the_lot():
    bare = entry()
    bare["filters"] = bare["filters"][:2]

    rules = parse_exchange_info(json.dumps({"symbols": [bare]}))["AUSDT"]

    assert rules.market_step_size == rules.step_size
    assert rules.market_min_quantity == rules.min_quantity
    assert rules.min_notional == rules.multiplier_up == rules.multiplier_down == 0
    assert rules.max_orders == 200


def test_parse_filters_by_symbol_status_and_contract():
    answer = {
        "symbols": [
            entry("AUSDT"),
            entry("BUSDT", status="SETTLING"),
            entry("CUSDT", contractType="TRADIFI_PERPETUAL"),
        ]
    }

    assert set(parse_exchange_info(answer)) == {"AUSDT", "BUSDT", "CUSDT"}
    assert set(parse_exchange_info(answer, statuses={"TRADING"})) == {"AUSDT", "CUSDT"}
    assert set(parse_exchange_info(answer, contract_types={"PERPETUAL"})) == {"AUSDT", "BUSDT"}
    assert set(parse_exchange_info(answer, symbols={"BUSDT", "ZUSDT"})) == {"BUSDT"}


def test_parse_reports_every_broken_symbol_that_is_wanted():
    no_lot, bad_tick = entry("BUSDT"), copy.deepcopy(entry("CUSDT"))
    no_lot["filters"] = no_lot["filters"][:1]
    bad_tick["filters"][0]["tickSize"] = "abc"
    answer = {"symbols": [entry(), no_lot, bad_tick, {"symbol": "DUSDT", "filters": 5}]}

    with pytest.raises(DataError) as caught:
        parse_exchange_info(answer)

    assert caught.value.problems == (
        "exchangeInfo: BUSDT has no filter LOT_SIZE; found ['PRICE_FILTER']",
        "exchangeInfo: CUSDT: PRICE_FILTER.tickSize: found `abc`, allowed is a decimal number of at least 0",
        "exchangeInfo: DUSDT has no list `filters`",
    )
    assert set(parse_exchange_info(answer, symbols={"AUSDT"})) == {"AUSDT"}


@pytest.mark.parametrize("answer", ["[1]", "{}", '{"symbols": [5]}', '{"symbols": [{}]}'])
def test_parse_of_another_answer_says_which_is_needed(answer):
    with pytest.raises(DataError, match="give the full answer of GET /fapi/v1/exchangeInfo"):
        parse_exchange_info(answer)


def test_parse_of_no_json_says_so():
    with pytest.raises(DataError, match="exchangeInfo: found no JSON"):
        parse_exchange_info(b"<html>")


@needs_raw
@pytest.mark.parametrize(("name", "count"), list(zip(ANSWERS, [122, 145, 660], strict=True)))
def test_parse_of_real_answers_takes_every_symbol_with_its_own_strings(name, count):
    text = raw(name)
    rules = parse_exchange_info(text)

    assert len(rules) == count
    for listed in json.loads(text)["symbols"]:
        filters = {one["filterType"]: one for one in listed["filters"]}
        got = rules[listed["symbol"]]
        assert got.symbol == listed["symbol"]
        assert got.tick_size == Decimal(filters["PRICE_FILTER"]["tickSize"])
        assert got.market_max_quantity == Decimal(filters["MARKET_LOT_SIZE"]["maxQty"])
        assert got.multiplier_up == Decimal(filters["PERCENT_PRICE"]["multiplierUp"])
        assert got.min_notional == Decimal(filters["MIN_NOTIONAL"]["notional"])


@needs_raw
def test_parse_of_real_answers_with_real_brackets_knows_odd_symbols():
    brackets = parse_brackets((RAW / "leverage/binance_leverage_tiers.json").read_text(encoding="utf-8"))
    rules = parse_exchange_info(raw(ANSWERS[2]), brackets)

    assert rules["BTCUSDT"].brackets[0].max_leverage == 150
    assert rules["币安人生USDT"].brackets == brackets["币安人生USDT"]
    assert rules["OPENUSDT"].tick_size == 0
    assert rules["XMRUSDT"].max_orders == 0
    assert rules["BTCUSDT_251226"].symbol == "BTCUSDT_251226"
