"""The order linter: the exchange's filters as a check before sending that explains and repairs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from slt.rules.brackets import max_leverage
from slt.rules.grids import Lot, ceil_quantity, floor_quantity, lot_of, round_price, to_decimal
from slt.types import Order, OrderSide, OrderType, SymbolRules

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["LintProblem", "LintRepair", "LintResult", "check_order"]

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


@frozen
class LintProblem:
    """Why the exchange would refuse an order.

    Attributes:
        code: The exchange's error code, e.g. -4164.
        filter: The filter or rule broken, e.g. ``"MIN_NOTIONAL"``.
        text: What was found and what is allowed.
    """

    code: int
    filter: str
    text: str


@frozen
class LintRepair:
    """What the linter changed on an order.

    Attributes:
        field: Field of `Order`.
        before: Value as given.
        after: Value as repaired.
        filter: The filter that asked for it.
    """

    field: str
    before: float
    after: float
    filter: str


@frozen
class LintResult:
    """The linter's verdict on one order.

    Attributes:
        order: The order as repaired; send it only when `is_ok`.
        problems: What no repair could cure; empty when the order may be sent.
        repairs: What was changed.
    """

    order: Order
    problems: tuple[LintProblem, ...] = ()
    repairs: tuple[LintRepair, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the order may be sent."""
        return not self.problems

    @property
    def reason(self) -> str:
        """All problems in one line, each with its code; empty when there is none."""
        return "; ".join(f"{problem.text} ({problem.filter}, {problem.code})" for problem in self.problems)


def check_order(
    order: Order,
    rules: SymbolRules,
    mark_price: float | None,
    open_orders: int,
    *,
    max_quantity: float | None = None,
    position_notional: float = 0.0,
) -> LintResult:
    """Repair what rounding can repair on an order, and name what the exchange would still refuse.

    Repairs. Prices go to the tick grid: a limit never to a worse price than decided (a buy down, a sell up); a stop
    towards the market (a long's stop up, a short's down), so that the loss at the stop never grows; a take-profit away
    from the market, which on the tick grid triggers at the very same trades. Quantities go down to the step grid. A
    quantity below the smallest (quantity or notional) is topped up to it when `max_quantity` allows; a reduce-only one
    below the smallest quantity always is, because it can never close more than the position.

    Checks, with the exchange's codes: PRICE_FILTER (limit and trigger prices: -4001 -4002 -4006 -4013), LOT_SIZE and
    MARKET_LOT_SIZE (-4003 -4004 -4005; the market filter for everything that executes at market), MIN_NOTIONAL (-4164;
    at the mark price for market orders, at the trigger for triggered ones; reduce-only exempt), PERCENT_PRICE (-4016
    -4024; limit prices only, and only the side that hurts), a trigger already passed (-2021), the number of open orders
    (-2025 -4045; a limit of 0 is none), leverage and its bracket (-4028 -2027), the client id (-4015).

    Args:
        order: The order as decided; never changed.
        rules: Rules of its symbol.
        mark_price: Mark price now, quote currency; None = unknown, the checks that need it are left out.
        open_orders: Orders already working on the symbol, this one not counted.
        max_quantity: Highest quantity that topping up may reach, base units; None = an entry is never topped up.
        position_notional: Notional of the position already open in the order's direction, quote currency.

    Returns:
        The repaired order, the remaining problems and the repairs.
    """
    problems = _malformed(order)
    if problems:
        return LintResult(order, tuple(problems))
    repaired, repairs = _round_prices(order, rules)
    reference = _reference_price(repaired, mark_price)
    repaired = _fit_quantity(repaired, rules, reference, max_quantity)
    if repaired.quantity != order.quantity:
        repairs.append(LintRepair("quantity", order.quantity, repaired.quantity, _lot_name(order)))
    problems = [
        *_price_problems(repaired, rules),
        *_quantity_problems(repaired, rules, reference),
        *_mark_problems(repaired, rules, mark_price),
        *_count_problems(repaired, rules, open_orders),
        *_leverage_problems(repaired, rules, reference, position_notional),
    ]
    return LintResult(repaired, tuple(problems), tuple(repairs))


def _malformed(order: Order) -> list[LintProblem]:
    problems = []
    if not _CLIENT_ID.fullmatch(order.client_id):
        text = f"found the client id `{order.client_id}`, allowed are 1 to 36 of A-Z a-z 0-9 . : / _ -"
        problems.append(LintProblem(-4015, "CLIENT_ID", text))
    if not (math.isfinite(order.quantity) and order.quantity > 0):
        problems.append(
            LintProblem(-4003, _lot_name(order), f"found the quantity {order.quantity}, allowed is above 0")
        )
    needed, code = ("price", -4001) if order.type == OrderType.LIMIT else ("stop_price", -4006)
    value = getattr(order, needed)
    if order.type != OrderType.MARKET and not (value is not None and math.isfinite(value) and value > 0):
        text = f"found the {needed} {value} on a {order.type.value} order, allowed is a price above 0"
        problems.append(LintProblem(code, "PRICE_FILTER", text))
    return problems


def _lot_name(order: Order) -> str:
    return "LOT_SIZE" if order.type == OrderType.LIMIT else "MARKET_LOT_SIZE"


def _round_prices(order: Order, rules: SymbolRules) -> tuple[Order, list[LintRepair]]:
    # A limit buys lower and sells higher; a long's stop (a sell) goes up, its target (a sell) goes up too.
    name = "price" if order.type == OrderType.LIMIT else "stop_price"
    value = None if order.type == OrderType.MARKET else getattr(order, name)
    if value is None:
        return order, []
    rounded = round_price(rules, value, -order.side)
    if rounded == value:
        return order, []
    repaired = evolve(order, price=rounded) if name == "price" else evolve(order, stop_price=rounded)
    return repaired, [LintRepair(name, value, rounded, "PRICE_FILTER")]


def _reference_price(order: Order, mark_price: float | None) -> float | None:
    if order.type == OrderType.LIMIT:
        return order.price
    return order.stop_price if order.stop_price is not None else mark_price


def _fit_quantity(order: Order, rules: SymbolRules, reference: float | None, max_quantity: float | None) -> Order:
    is_market = order.type != OrderType.LIMIT
    floored = floor_quantity(rules, order.quantity, is_market=is_market)
    least = _least_quantity(order, rules, reference)
    if floored < least and (order.reduce_only or (max_quantity is not None and least <= max_quantity)):
        floored = least
    return evolve(order, quantity=floored or order.quantity)


def _least_quantity(order: Order, rules: SymbolRules, reference: float | None) -> float:
    is_market = order.type != OrderType.LIMIT
    least = ceil_quantity(rules, _smallest(lot_of(rules, is_market=is_market)), is_market=is_market)
    if order.reduce_only or reference is None or reference <= 0 or not rules.min_notional:
        return least
    wanted = rules.min_notional / to_decimal(reference)
    by_notional = ceil_quantity(rules, float(wanted), is_market=is_market)
    while to_decimal(by_notional) * to_decimal(reference) < rules.min_notional:
        # Float noise was taken for a grid point, or the float lies just below the decimal: one more step.
        step = lot_of(rules, is_market=is_market).step
        more = float(to_decimal(by_notional) + step) if step else math.nextafter(by_notional, math.inf)
        by_notional = ceil_quantity(rules, more, is_market=is_market)
    return max(least, by_notional)


def _smallest(lot: Lot) -> float:
    return float(lot.minimum or lot.step)


def _price_problems(order: Order, rules: SymbolRules) -> list[LintProblem]:
    value = order.price if order.type == OrderType.LIMIT else order.stop_price
    if order.type == OrderType.MARKET or value is None:
        return []
    price = to_decimal(value)
    problems = []
    if price < rules.min_price or price <= 0:
        text = f"found the price {value}, allowed is at least {rules.min_price}"
        problems.append(LintProblem(-4013, "PRICE_FILTER", text))
    if rules.max_price and price > rules.max_price:
        text = f"found the price {value}, allowed is at most {rules.max_price}"
        problems.append(LintProblem(-4002, "PRICE_FILTER", text))
    return problems


def _quantity_problems(order: Order, rules: SymbolRules, reference: float | None) -> list[LintProblem]:
    lot, name = lot_of(rules, is_market=order.type != OrderType.LIMIT), _lot_name(order)
    quantity = to_decimal(order.quantity)
    problems = []
    if quantity < (lot.minimum or lot.step):
        text = f"found the quantity {order.quantity}, allowed is at least {lot.minimum or lot.step}"
        problems.append(LintProblem(-4004, name, text))
    if lot.maximum and quantity > lot.maximum:
        text = f"found the quantity {order.quantity}, allowed is at most {lot.maximum}"
        problems.append(LintProblem(-4005, name, text))
    if not order.reduce_only and reference is not None:
        notional = quantity * to_decimal(reference)
        if notional < rules.min_notional:
            text = f"found a notional of {notional:f}, allowed is at least {rules.min_notional}"
            problems.append(LintProblem(-4164, "MIN_NOTIONAL", text))
    return problems


def _mark_problems(order: Order, rules: SymbolRules, mark_price: float | None) -> list[LintProblem]:
    if mark_price is None:
        return []
    if order.type == OrderType.LIMIT and order.price is not None:
        return _percent_problems(order.side, to_decimal(order.price), to_decimal(mark_price), rules)
    if order.stop_price is None:
        return []
    triggers_up = (order.type == OrderType.STOP_MARKET) == (order.side == OrderSide.BUY)
    if mark_price >= order.stop_price if triggers_up else mark_price <= order.stop_price:
        text = f"the trigger {order.stop_price} is already passed at {mark_price}; the order would trigger at once"
        return [LintProblem(-2021, "TRIGGER", text)]
    return []


def _percent_problems(side: int, price: Decimal, mark: Decimal, rules: SymbolRules) -> list[LintProblem]:
    if side == OrderSide.BUY and rules.multiplier_up and price > mark * rules.multiplier_up:
        text = f"found a buy at {price}, allowed is at most {mark * rules.multiplier_up:f}"
        return [LintProblem(-4016, "PERCENT_PRICE", text)]
    if side == OrderSide.SELL and rules.multiplier_down and price < mark * rules.multiplier_down:
        text = f"found a sell at {price}, allowed is at least {mark * rules.multiplier_down:f}"
        return [LintProblem(-4024, "PERCENT_PRICE", text)]
    return []


def _count_problems(order: Order, rules: SymbolRules, open_orders: int) -> list[LintProblem]:
    if order.type == OrderType.MARKET or not rules.max_orders or open_orders < rules.max_orders:
        return []
    code = -2025 if order.type == OrderType.LIMIT else -4045
    text = f"found {open_orders} open orders on {order.symbol}, allowed are {rules.max_orders}"
    return [LintProblem(code, "MAX_NUM_ORDERS", text)]


def _leverage_problems(
    order: Order, rules: SymbolRules, reference: float | None, position_notional: float
) -> list[LintProblem]:
    if order.reduce_only or not order.leverage:
        return []
    highest = rules.brackets[0].max_leverage
    if not 1 <= order.leverage <= highest:
        text = f"found leverage {order.leverage}, allowed is 1 to {highest}"
        return [LintProblem(-4028, "LEVERAGE_BRACKET", text)]
    if reference is None:
        return []
    notional = position_notional + order.quantity * reference
    allowed = max_leverage(rules, notional)
    if order.leverage > allowed:
        text = f"found leverage {order.leverage} on a notional of {notional:g}, allowed is {allowed}"
        return [LintProblem(-2027, "LEVERAGE_BRACKET", text)]
    return []
