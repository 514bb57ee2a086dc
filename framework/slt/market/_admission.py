"""Whether the exchange takes an order, and what it binds for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import evolve

from slt.rules import check_order
from slt.types import OrderType

if TYPE_CHECKING:
    from slt.market._slots import Slot
    from slt.market.account import MarginAccount
    from slt.types import Order

__all__ = ["inspect_order", "reservation"]

_NOISE = 1e-9
"""Relative difference that is float noise, not an order off the grid."""


def inspect_order(order: Order, slot: Slot, account: MarginAccount, *, is_fresh: bool) -> tuple[Order, str]:
    """Judge an order as the exchange would.

    Args:
        order: As sent.
        slot: Its symbol.
        account: The account.
        is_fresh: Whether the slot's last price is the price now; else the checks that need it are left out.

    Returns:
        The order free of float noise and, for an entry, with the leverage that counts; and why it is refused, with the
        exchange's code (empty: it is not).
    """
    cleaned, reason = _lint(order, slot, is_fresh=is_fresh)
    if reason:
        return order, reason
    held = slot.quantity
    if order.reduce_only:
        needs_position = order.type in {OrderType.MARKET, OrderType.LIMIT}
        if needs_position and held * order.side >= 0:
            return order, "reduce-only: there is no position to reduce (-2022)"
        return cleaned, ""
    if slot.is_isolated and held and cleaned.leverage < slot.leverage:
        return order, f"leverage {cleaned.leverage} is below the position's {slot.leverage} (-4161)"
    needed, available = reservation(cleaned, slot, account), account.available()
    if needed > available:
        text = f"{needed:.2f} is needed, {max(0.0, available):.2f} is available"
        return order, f"margin is insufficient: {text} (-2019)"
    return cleaned, ""


def reservation(order: Order, slot: Slot, account: MarginAccount) -> float:
    """Tell what an accepted order binds while it works, quote currency.

    Only limit and market entries bind anything; triggered orders do so when they trigger, as on the exchange. Where no
    price is known the answer is 0, and the fill decides.
    """
    price = slot.last if order.type == OrderType.MARKET else order.price
    if order.reduce_only or price is None or math.isnan(price):
        return 0.0
    return max(0.0, account.opening_cost(slot, order.side * order.quantity, price, order.leverage))


def _lint(order: Order, slot: Slot, *, is_fresh: bool) -> tuple[Order, str]:
    same_side = slot.quantity * order.side > 0
    linted = check_order(
        order if order.reduce_only else evolve(order, leverage=order.leverage or slot.leverage),
        slot.rules,
        slot.last if is_fresh else None,
        len(slot.orders),
        position_notional=abs(slot.quantity) * slot.last if same_side else 0.0,
    )
    if not linted.is_ok:
        return order, linted.reason
    for repair in linted.repairs:
        if abs(repair.after - repair.before) > _NOISE * abs(repair.before):
            code = -4023 if repair.field == "quantity" else -4014
            return order, f"found the {repair.field} {repair.before}, off the grid ({repair.filter}, {code})"
    return linted.order, ""
