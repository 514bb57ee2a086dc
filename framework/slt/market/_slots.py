"""What the book keeps of one symbol, and its form in a snapshot."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from slt.errors import DataError
from slt.market._plain import as_plain, order_from
from slt.market.margin import unrealised_pnl

if TYPE_CHECKING:
    from slt.types import FundingRates, Order, SymbolRules

__all__ = ["Slot", "Working", "new_slot"]

_DUST = 1e-12
"""Share of a fill below which what is left of a position is float noise, where no step size says so."""
_KEPT = (
    "leverage",
    "is_isolated",
    "quantity",
    "entry_price",
    "margin",
    "last",
    "time",
    "price",
    "is_gap",
    "is_underway",
)


@define(eq=False)
class Working:
    """An order waiting in the book.

    Attributes:
        order: As accepted.
        level: Price that sets it off; None = none, it waits for the next price.
        direction: +1 set off at or above its level, -1 at or below, 0 a market order.
        priority: Rank among orders at one level; lower first.
        sequence: Age; lower is older.
        reserved: Margin and fee kept free for it, quote currency.
        is_ready: It may fill on the way to the point under way; a market order waits for the next point.
        slice: Base units that fill at a time; 0 = all at once.
    """

    order: Order
    level: float | None
    direction: int
    priority: int
    sequence: int
    reserved: float = 0.0
    is_ready: bool = True
    slice: float = 0.0


@define(eq=False)
class Slot:
    """All that belongs to one symbol; one lookup gives the matcher everything.

    Attributes:
        rules: Trading rules.
        leverage: As set.
        is_isolated: Its position is backed by its own margin only; else by the wallet.
        decimals: Places that quantities are kept to; None = the rules have no step.
        quantity: Signed base units held; 0 = flat.
        entry_price: Mean entry price; 0 when flat.
        margin: Isolated margin; 0 when flat or cross.
        last: Where the price is now; NaN = unknown.
        time: Time of the latest price point, ms UTC; -1 before the first.
        price: Its price.
        is_gap: Whether it is one after a gap.
        is_underway: The price has not arrived at it yet.
        orders: Working orders, oldest first.
        liquidation: Price that liquidates; None = none. Kept for isolated positions only.
        floor: Highest level that a falling price sets off.
        ceiling: Lowest level that a rising price sets off.
        is_slow: The two bounds are not enough to tell that nothing happens.
        funding_times: Settlements to come, ms UTC, rising.
        funding_rates: Their rates.
        funding_index: The next settlement.
        funding_time: Its time; infinite when there is none.
    """

    rules: SymbolRules
    leverage: int
    is_isolated: bool
    decimals: int | None
    quantity: float = 0.0
    entry_price: float = 0.0
    margin: float = 0.0
    last: float = math.nan
    time: int = -1
    price: float = math.nan
    is_gap: bool = False
    is_underway: bool = False
    orders: list[Working] = field(factory=list)
    liquidation: float | None = None
    floor: float = -math.inf
    ceiling: float = math.inf
    is_slow: bool = True
    funding_times: list[int] = field(factory=list)
    funding_rates: list[float] = field(factory=list)
    funding_index: int = 0
    funding_time: float = math.inf

    @property
    def side(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return (self.quantity > 0) - (self.quantity < 0)

    @property
    def unrealised(self) -> float:
        """Profit at the last price, quote currency."""
        return unrealised_pnl(self.side, abs(self.quantity), self.entry_price, self.last) if self.quantity else 0.0

    def after(self, signed: float) -> float:
        """The signed quantity after a change, free of float noise."""
        total = self.quantity + signed
        if self.decimals is not None:
            return round(total, self.decimals) + 0.0
        return 0.0 if abs(total) <= abs(signed) * _DUST else total

    def closing_part(self, signed: float) -> float:
        """How much of a signed trade would close the position, base units."""
        return min(abs(signed), abs(self.quantity)) if self.quantity * signed < 0 else 0.0

    def seek_funding(self) -> None:
        """Find the first settlement after the latest price point."""
        self.funding_index = bisect_right(self.funding_times, self.time)
        more = self.funding_index < len(self.funding_times)
        self.funding_time = self.funding_times[self.funding_index] if more else math.inf

    def pack(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            **{name: getattr(self, name) for name in _KEPT},
            "orders": [
                {
                    "order": as_plain(one.order),
                    "level": one.level,
                    "direction": one.direction,
                    "priority": one.priority,
                    "sequence": one.sequence,
                    "reserved": one.reserved,
                    "is_ready": one.is_ready,
                    "slice": one.slice,
                }
                for one in self.orders
            ],
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        """Take back what `pack` gave."""
        for name in _KEPT:
            setattr(self, name, packed.get(name, getattr(self, name)))
        self.orders = [Working(**{**one, "order": order_from(one["order"])}) for one in packed["orders"]]
        self.seek_funding()


def new_slot(
    rules: SymbolRules, default_leverage: int, funding: FundingRates | None, *, is_isolated: bool = True
) -> Slot:
    """An empty slot.

    Args:
        rules: Trading rules of the symbol.
        default_leverage: Leverage until an order sets it; lowered to what the brackets allow.
        is_isolated: Whether its position is backed by its own margin only.
        funding: Settlements; None = none.

    Raises:
        DataError: A funding rate is not a finite number, or the times do not rise.
    """
    slot = Slot(
        rules=rules,
        leverage=min(default_leverage, rules.brackets[0].max_leverage),
        is_isolated=is_isolated,
        decimals=_decimals(rules),
    )
    if funding is not None:
        if not np.isfinite(funding.rate).all() or (np.diff(funding.time) <= 0).any():
            raise DataError(f"funding of {rules.symbol}: allowed are finite rates at rising times; repair the file")
        slot.funding_times = [int(time) for time in funding.time]
        slot.funding_rates = [float(rate) for rate in funding.rate]
        slot.seek_funding()
    return slot


def _decimals(rules: SymbolRules) -> int | None:
    if not rules.step_size:
        return None
    steps = (rules.step_size, rules.market_step_size, rules.min_quantity, rules.market_min_quantity)
    exponents = [int(step.normalize().as_tuple().exponent) for step in steps if step]
    return max(0, -min(exponents))
