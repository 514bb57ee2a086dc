"""The simulated market: matching, fees, funding, margin and liquidation. Pure, synchronous and deterministic.

`Book` is one account trading many symbols in one-way mode; the formulas under it are public too. Brokers that simulate
an exchange are faces of this package.
"""

from __future__ import annotations

from slt.market.account import ExchangePosition, MarketSettings
from slt.market.book import Book
from slt.market.margin import bankruptcy_price, initial_margin, liquidation_price, unrealised_pnl
from slt.market.path import bar_path
from slt.rules import maintenance_margin

__all__ = [
    "Book",
    "ExchangePosition",
    "MarketSettings",
    "bankruptcy_price",
    "bar_path",
    "initial_margin",
    "liquidation_price",
    "maintenance_margin",
    "unrealised_pnl",
]
