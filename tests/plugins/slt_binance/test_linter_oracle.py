"""The order linter and the wording of orders against an exchange that nobody of slt wrote the checks of.

The oracle below is made of the documentation's filter rules, in Decimal, on the exchange's own JSON; it shares no code
with `slt.rules`. It judges the very text that would be sent.
"""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from random_orders import FILES, NO_FILES, listings, random_order

from slt.rules import check_order
from slt_binance.words import order_request

if TYPE_CHECKING:
    from slt.types import Order

ORDERS = 10_000
FILTER_CODES = {-4001, -4002, -4003, -4004, -4005, -4006, -4013, -4014, -4016, -4023, -4024, -4164}

pytestmark = pytest.mark.skipif(not FILES, reason=NO_FILES)


def price_codes(price: Decimal, rule: dict) -> list[tuple[bool, int]]:
    low, high, tick = (Decimal(rule[name]) for name in ("minPrice", "maxPrice", "tickSize"))
    return [
        (price <= 0, -4001),
        (bool(low) and price < low, -4013),
        (bool(high) and price > high, -4002),
        (bool(tick) and (price - low) % (tick or 1) != 0, -4014),
    ]


def quantity_codes(quantity: Decimal, rule: dict) -> list[tuple[bool, int]]:
    low, high, step = (Decimal(rule[name]) for name in ("minQty", "maxQty", "stepSize"))
    return [
        (quantity <= 0, -4003),
        (quantity < low, -4004),
        (bool(high) and quantity > high, -4005),
        (bool(step) and (quantity - low) % (step or 1) != 0, -4023),
    ]


def oracle(parameters: dict[str, str], entry: dict, mark: Decimal) -> int:
    """The code with which the exchange refuses an order, 0 where its filters let it pass."""
    filters = {f["filterType"]: f for f in entry["filters"]}
    kind, side, quantity = parameters["type"], parameters["side"], Decimal(parameters["quantity"])
    price = Decimal(parameters.get("price") or parameters.get("triggerPrice") or 0)
    worth = quantity * (mark if kind == "MARKET" else price)
    is_exempt = parameters.get("reduceOnly") is True or "MIN_NOTIONAL" not in filters
    band = filters["PERCENT_PRICE"]
    checks = [] if kind == "MARKET" else price_codes(price, filters["PRICE_FILTER"])
    checks += quantity_codes(quantity, filters["LOT_SIZE" if kind == "LIMIT" else "MARKET_LOT_SIZE"])
    checks.append((not is_exempt and worth < Decimal(str(filters.get("MIN_NOTIONAL", {}).get("notional", 0))), -4164))
    if kind == "LIMIT":
        checks.append((side == "BUY" and price > mark * Decimal(band["multiplierUp"]), -4016))
        checks.append((side == "SELL" and price < mark * Decimal(band["multiplierDown"]), -4024))
    return next((code for is_broken, code in checks if is_broken), 0)


def as_given(order: Order) -> dict[str, str]:
    """The order's numbers as they are, without anybody putting them on a grid."""
    price = order.price or order.stop_price
    raw = {"type": order.type.value, "side": order.side.name, "quantity": f"{Decimal(repr(order.quantity)):f}"}
    raw |= {"reduceOnly": True} if order.reduce_only else {}
    return raw | ({"price" if order.price else "triggerPrice": f"{Decimal(repr(price)):f}"} if price else {})


def test_linter_ten_thousand_random_orders_none_is_refused_by_a_filter_and_none_refused_for_nothing():
    dice = random.Random(20261122)
    symbols = list(listings())
    assert len(symbols) > 500
    sent, refused, repaired = 0, Counter(), 0
    for number in range(ORDERS):
        entry, rules = dice.choice(symbols)
        order, mark = random_order(dice, entry, number)
        top = order.quantity * 3 if dice.random() < 0.5 else None
        result = check_order(order, rules, mark, 0, max_quantity=top)
        parameters = order_request(result.order, rules, "last")[1] if result.is_ok else as_given(result.order)
        verdict = oracle(parameters, entry, Decimal(repr(mark)))
        codes = {problem.code for problem in result.problems}
        if result.is_ok:
            sent += 1
            repaired += bool(result.repairs)
            assert verdict == 0, f"{entry['symbol']}: {parameters} at {mark}: the exchange says {verdict}"
        else:
            refused.update(codes)
            if codes & FILTER_CODES:
                # A price that rounds to nothing is both below the lowest and not above 0; a quantity of nothing is
                # refused before anything is rounded.
                assert verdict != 0
                assert codes == {-4003} or (-4013 if verdict == -4001 else verdict) in codes, (
                    f"{entry['symbol']}: {parameters} at {mark}: {result.reason}, oracle {verdict}"
                )
    assert sent > ORDERS * 0.3
    assert repaired > ORDERS * 0.1
    assert {-4164, -4005, -4016, -4024, -2021} <= set(refused)


def test_oracle_refuses_orders_that_nobody_linted():
    """Without the linter a great part is refused: the property above is not empty."""
    dice = random.Random(7)
    symbols = list(listings())
    codes = Counter()
    for number in range(2_000):
        entry, _ = dice.choice(symbols)
        order, mark = random_order(dice, entry, number)
        codes[oracle(as_given(order), entry, Decimal(repr(mark)))] += 1
    assert codes[0] < 1_000
    assert {-4014, -4023, -4164, -4005, -4004} <= set(codes)
