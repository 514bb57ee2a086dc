"""The margin account: wallet, positions and what they bind. Knows no orders.

Identity kept by every change: ``wallet = start + Σ(realised PnL - fees - funding)``. What the insurance fund bears is
never a payment: a position that would lose more than backs it is closed at its bankruptcy price instead, and a fee
or a funding payment is never more than what is left, so that the fill and the payment say exactly what the wallet felt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, in_

from slt.market.margin import bankruptcy_price, initial_margin, liquidation_price, unrealised_pnl
from slt.rules import maintenance_margin

if TYPE_CHECKING:
    from slt.market._slots import Slot

__all__ = ["ExchangePosition", "MarginAccount", "MarketSettings"]


@frozen(kw_only=True)
class MarketSettings:
    """How the simulated exchange treats the account.

    Attributes:
        margin_type: ``"isolated"``: a position can lose its own margin and no more. ``"cross"``: the wallet backs all.
            What a symbol has until `Book.set_margin_type` gives it another.
        default_leverage: Leverage of a symbol until an order sets it; the symbol's brackets may lower it.
        liquidation_fee_fraction: Fee of a forced close as a fraction of its notional; never more than what is left.
        fill_slices: Parts of equal size in which an order fills, each at a price point of its own; 1 = in full.
        price_life_ms: How old the last price may be to count as the price now.
    """

    margin_type: str = field(default="isolated", validator=in_(("isolated", "cross")))
    default_leverage: int = field(default=20, validator=ge(1))
    liquidation_fee_fraction: float = field(default=0.015, validator=ge(0.0))
    fill_slices: int = field(default=1, validator=ge(1))
    price_life_ms: int = field(default=1_000, validator=ge(0))


@frozen
class ExchangePosition:
    """A position as the exchange reports it.

    Attributes:
        symbol: Exchange name.
        side: +1 long, -1 short.
        quantity: Base units, above 0.
        entry_price: Quantity-weighted mean of the entry fills.
        leverage: As set for the symbol.
        margin: Quote currency bound: the isolated margin, or initial margin at the last price when cross.
        unrealised: Profit at the last price, quote currency, before costs.
        liquidation_price: Where the exchange takes it over; None = nowhere.
    """

    symbol: str
    side: int
    quantity: float
    entry_price: float
    leverage: int
    margin: float
    unrealised: float
    liquidation_price: float | None


class MarginAccount:
    """Wallet and positions of one account in one-way mode.

    Args:
        wallet: Wallet balance to start with, quote currency.
    """

    def __init__(self, wallet: float) -> None:
        self.wallet = wallet
        self.reserved = 0.0
        self.held: dict[str, Slot] = {}

    def equity(self) -> float:
        """Wallet plus unrealised profit at the last prices."""
        return self.wallet + sum(slot.unrealised for slot in self.held.values())

    def margin_of(self, slot: Slot) -> float:
        """Margin that a position binds now."""
        if slot.is_isolated:
            return slot.margin
        return initial_margin(abs(slot.quantity), slot.last, slot.leverage) if slot.quantity else 0.0

    def margin_in_use(self) -> float:
        """Margin of all positions and what working entries reserve."""
        return sum(self.margin_of(slot) for slot in self.held.values()) + self.reserved

    def available(self) -> float:
        """What a new order may bind; below 0 when a cross account is over-stretched."""
        return self.wallet + self._cross_unrealised() - self.margin_in_use()

    def opening_cost(self, slot: Slot, signed: float, price: float, leverage: int) -> float:
        """Margin and taker fee that the opening part of a trade needs, less what its closing part sets free."""
        closing = slot.closing_part(signed)
        opening = abs(signed) - closing
        cost = initial_margin(opening, price, leverage) + opening * price * slot.rules.taker_fee
        if not closing:
            return cost
        freed = self.margin_of(slot) * closing / abs(slot.quantity)
        return cost - freed - (unrealised_pnl(slot.side, closing, slot.entry_price, price) if slot.is_isolated else 0.0)

    def liquidation_price(self, slot: Slot) -> float | None:
        """Where the exchange takes the position over; None = nowhere, or no position."""
        if not slot.quantity:
            return None
        wallet, maintenance, unrealised = self._backing(slot)
        return liquidation_price(
            slot.rules,
            slot.side,
            abs(slot.quantity),
            slot.entry_price,
            wallet,
            other_maintenance=maintenance,
            other_unrealised=unrealised,
        )

    def bounded(self, slot: Slot, price: float) -> float:
        """A closing price, no worse than the position's bankruptcy price."""
        wallet, _, unrealised = self._backing(slot)
        limit = bankruptcy_price(slot.side, abs(slot.quantity), slot.entry_price, wallet, other_unrealised=unrealised)
        if limit is None:
            return price
        return max(price, limit) if slot.quantity > 0 else min(price, limit)

    def trade(self, symbol: str, slot: Slot, signed: float, price: float, fee: float) -> float:
        """Book a fill.

        Args:
            symbol: Exchange name.
            slot: The symbol's state.
            signed: Base units bought (above 0) or sold (below 0); may close, open, or turn the position round.
            price: Fill price.
            fee: Commission asked, quote currency.

        Returns:
            The commission paid: `fee`, or what was left to pay it from.
        """
        before, closing = slot.quantity, slot.closing_part(signed)
        opening = abs(signed) - closing
        if closing:
            self.wallet += unrealised_pnl(slot.side, closing, slot.entry_price, price)
            slot.margin -= slot.margin * (closing / abs(before))
        slot.quantity = slot.after(signed)
        if opening:
            kept = abs(before) - closing
            slot.entry_price = (kept * slot.entry_price + opening * price) / (kept + opening)
            if slot.is_isolated:
                slot.margin += initial_margin(opening, price, slot.leverage)
        if slot.quantity:
            self.held[symbol] = slot
        else:
            slot.entry_price = slot.margin = 0.0
            self.held.pop(symbol, None)
        paid = min(fee, self._left())
        self.wallet -= paid
        return paid

    def pay_funding(self, slot: Slot, rate: float) -> float:
        """Book a funding settlement on the position held, at the last price; positive was paid."""
        amount = slot.quantity * slot.last * rate
        if slot.is_isolated:
            amount = min(amount, slot.margin)
            slot.margin -= amount
        else:
            amount = min(amount, self._left())
        self.wallet -= amount
        return amount

    def cross_wallet(self) -> float:
        """The part of the wallet that no isolated position binds: what backs the cross positions."""
        return self.wallet - sum(slot.margin for slot in self.held.values() if slot.is_isolated)

    def _cross_unrealised(self) -> float:
        return sum(slot.unrealised for slot in self.held.values() if not slot.is_isolated)

    def _left(self) -> float:
        """What a fee can be paid from, at least 0."""
        return max(0.0, self.cross_wallet() + self._cross_unrealised())

    def _backing(self, slot: Slot) -> tuple[float, float, float]:
        """Wallet, maintenance margin and unrealised profit of the others: what stands behind a position."""
        if slot.is_isolated:
            return slot.margin, 0.0, 0.0
        others = [other for other in self.held.values() if other is not slot and not other.is_isolated]
        maintenance = sum(maintenance_margin(other.rules, other.quantity * other.last) for other in others)
        return self.cross_wallet(), maintenance, sum(other.unrealised for other in others)
