"""Conservative rules for symbols of which nothing is known: a person's own data."""

from __future__ import annotations

from decimal import Decimal

from slt.errors import DataError
from slt.rules.grids import to_decimal
from slt.types import LeverageBracket, SymbolRules

__all__ = ["GENERIC_BRACKETS", "generic_rules"]

GENERIC_BRACKETS = (
    LeverageBracket(floor=0.0, cap=100_000.0, max_leverage=20, maintenance_rate=0.025, cum=0.0),
    LeverageBracket(floor=100_000.0, cap=500_000.0, max_leverage=10, maintenance_rate=0.05, cum=2_500.0),
    LeverageBracket(floor=500_000.0, cap=2_000_000.0, max_leverage=5, maintenance_rate=0.1, cum=27_500.0),
    LeverageBracket(floor=2_000_000.0, cap=5_000_000.0, max_leverage=4, maintenance_rate=0.125, cum=77_500.0),
    LeverageBracket(floor=5_000_000.0, cap=10_000_000.0, max_leverage=2, maintenance_rate=0.25, cum=702_500.0),
    LeverageBracket(floor=10_000_000.0, cap=20_000_000.0, max_leverage=1, maintenance_rate=0.5, cum=3_202_500.0),
)
"""A ladder as mid-sized perpetuals have it: at most 20x, 2.5 % maintenance margin up to 100,000 of notional."""


def generic_rules(symbol: str, price: float | None = None) -> SymbolRules:
    """Make plausible, conservative rules from nothing but a price of the symbol.

    The tick is one unit in the fifth significant digit of the price, a quantity step is worth between 1 and 10 of quote
    currency, an order at least 5; fees are those of the exchange's lowest tier (taker 0.05 %, maker 0.02 %); prices and
    quantities have no upper limit; the leverage brackets are `GENERIC_BRACKETS`.

    Args:
        symbol: Exchange name.
        price: A typical price of it, quote currency, above 0; None = unknown: any price and quantity is allowed.

    Returns:
        The rules.

    Raises:
        DataError: The price is not a finite number above 0.
    """
    if price is None:
        return SymbolRules(
            symbol=symbol,
            tick_size=Decimal(0),
            step_size=Decimal(0),
            min_notional=Decimal(5),
            brackets=GENERIC_BRACKETS,
        )
    try:
        exact = to_decimal(price)
    except ValueError:
        exact = Decimal(0)
    if exact <= 0:
        raise DataError(f"rules of {symbol}: found the price `{price}`, allowed is a finite number above 0")
    magnitude = exact.adjusted()
    tick, step = Decimal(1).scaleb(magnitude - 4), Decimal(1).scaleb(-magnitude)
    return SymbolRules(
        symbol=symbol,
        tick_size=tick,
        step_size=step,
        min_notional=Decimal(5),
        brackets=GENERIC_BRACKETS,
        min_price=tick,
        min_quantity=step,
        market_step_size=step,
        market_min_quantity=step,
    )
