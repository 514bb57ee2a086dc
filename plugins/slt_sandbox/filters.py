"""The exchange's filters on the numbers of a request, exact in decimal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.rules import lot_of
from slt_sandbox.errors import refusal
from slt_sandbox.numbers import decimals_of, number, plain

if TYPE_CHECKING:
    from decimal import Decimal

    from slt.types import SymbolRules

__all__ = ["check_notional", "check_percent", "check_price", "check_quantity"]


def check_price(rules: SymbolRules, price: Decimal) -> None:
    """Refuse a limit or trigger price that PRICE_FILTER forbids (-4001 -4013 -4002 -1111 -4014)."""
    if price <= 0:
        raise refusal(-4001)
    if rules.tick_size and decimals_of(price) > decimals_of(rules.tick_size):
        raise refusal(-1111)
    if price < rules.min_price:
        raise refusal(-4013)
    if rules.max_price and price > rules.max_price:
        raise refusal(-4002)
    if rules.tick_size and (price - rules.min_price) % rules.tick_size:
        raise refusal(-4014)


def check_quantity(rules: SymbolRules, quantity: Decimal, *, is_market: bool) -> None:
    """Refuse a quantity that LOT_SIZE or MARKET_LOT_SIZE forbids (-4003 -1111 -4004 -4005 -4023)."""
    lot = lot_of(rules, is_market=is_market)
    if quantity <= 0:
        raise refusal(-4003)
    if rules.step_size and decimals_of(quantity) > decimals_of(rules.step_size):
        raise refusal(-1111)
    if quantity < lot.minimum:
        raise refusal(-4004)
    if lot.maximum and quantity > lot.maximum:
        raise refusal(-4005)
    if lot.step and (quantity - lot.minimum) % lot.step:
        raise refusal(-4023)


def check_notional(rules: SymbolRules, quantity: Decimal, price: Decimal) -> None:
    """Refuse an order that is too small (-4164); reduce-only orders are not asked."""
    if quantity * price < rules.min_notional:
        raise refusal(-4164, notional=plain(rules.min_notional))


def check_percent(rules: SymbolRules, side: int, price: Decimal, mark: float) -> None:
    """Refuse a limit price too far from the mark price on the side that hurts (-4016 -4024)."""
    if mark != mark:  # noqa: PLR0124 - no price yet
        return
    if side > 0 and rules.multiplier_up and price > (highest := number(mark) * rules.multiplier_up):
        raise refusal(-4016, limit=plain(highest))
    if side < 0 and rules.multiplier_down and price < (lowest := number(mark) * rules.multiplier_down):
        raise refusal(-4024, limit=plain(lowest))
