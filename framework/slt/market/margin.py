"""Margin arithmetic of USDⓈ-M perpetuals in one-way mode: pure formulas, quote currency throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.rules import bracket_of

if TYPE_CHECKING:
    from slt.types import LeverageBracket, SymbolRules

__all__ = ["bankruptcy_price", "initial_margin", "liquidation_price", "unrealised_pnl"]


def unrealised_pnl(side: int, quantity: float, entry_price: float, price: float) -> float:
    """Compute the profit of an open position at a price: side · quantity · (price - entry), before costs.

    Args:
        side: +1 long, -1 short.
        quantity: Base units, at least 0.
        entry_price: Quantity-weighted mean of the entry fills.
        price: Price to value it at.

    Returns:
        Quote currency.
    """
    return side * quantity * (price - entry_price)


def initial_margin(quantity: float, price: float, leverage: int) -> float:
    """Compute the margin a position binds: quantity · price / leverage.

    Args:
        quantity: Base units, at least 0.
        price: Entry price.
        leverage: Whole leverage, at least 1.

    Returns:
        Quote currency.
    """
    return quantity * price / leverage


def liquidation_price(
    rules: SymbolRules,
    side: int,
    quantity: float,
    entry_price: float,
    wallet: float,
    *,
    other_maintenance: float = 0.0,
    other_unrealised: float = 0.0,
) -> float | None:
    """Compute the price at which the exchange takes a position over.

    LP = (WB - TMM + UPNL + cum - side · q · EP) / (q · MMR - side · q), with MMR and cum of the bracket that holds the
    notional at LP: where the result falls into another bracket it is computed again with that one. Source: Binance
    support, "How to Calculate Liquidation Price of USDⓈ-M Futures Contracts", one-way mode.

    Args:
        rules: The symbol's rules.
        side: +1 long, -1 short.
        quantity: Base units, above 0.
        entry_price: Quantity-weighted mean of the entry fills.
        wallet: WB: the position's own margin when isolated, the whole wallet balance when cross.
        other_maintenance: TMM: maintenance margin of all other cross positions; 0 when isolated.
        other_unrealised: UPNL: unrealised profit of all other cross positions; 0 when isolated.

    Returns:
        The price; None where no price above 0 liquidates.
    """
    backing = wallet - other_maintenance + other_unrealised
    bracket = bracket_of(rules, quantity * entry_price)
    price = _price_in(bracket, side, quantity, entry_price, backing)
    for _ in rules.brackets:
        found = bracket_of(rules, quantity * max(0.0, price))
        if found is bracket:
            break
        bracket = found
        price = _price_in(bracket, side, quantity, entry_price, backing)
    return price if price > 0 else None


def _price_in(bracket: LeverageBracket, side: int, quantity: float, entry_price: float, backing: float) -> float:
    return (backing + bracket.cum - side * quantity * entry_price) / (quantity * (bracket.maintenance_rate - side))


def bankruptcy_price(
    side: int, quantity: float, entry_price: float, wallet: float, *, other_unrealised: float = 0.0
) -> float | None:
    """Compute the price at which a position has lost all that backs it: EP - side · (WB + UPNL) / q.

    Beyond it the exchange's insurance fund bears the loss.

    Args:
        side: +1 long, -1 short.
        quantity: Base units, above 0.
        entry_price: Quantity-weighted mean of the entry fills.
        wallet: As in `liquidation_price`.
        other_unrealised: As in `liquidation_price`.

    Returns:
        The price; None where no price above 0 exhausts it.
    """
    price = entry_price - side * (wallet + other_unrealised) / quantity
    return price if price > 0 else None
