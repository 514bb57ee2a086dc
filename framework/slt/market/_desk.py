"""What a book tells of its account, and what may be set on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.errors import BrokerError
from slt.market.account import ExchangePosition, MarginAccount, MarketSettings

if TYPE_CHECKING:
    from slt.market._slots import Slot
    from slt.types import Order

__all__ = ["AccountDesk"]


class AccountDesk:
    """The account's side of a book: balances, positions, leverage and margin type.

    Args:
        wallet: Wallet balance to start with, quote currency.
        settings: Margin type, default leverage, fees of the exchange.
        slots: What is kept of each symbol.
    """

    def __init__(self, wallet: float, settings: MarketSettings, slots: dict[str, Slot]) -> None:
        self.settings = settings
        self._slots = slots
        self._account = MarginAccount(wallet)

    @property
    def wallet(self) -> float:
        """Wallet balance: start plus everything realised, less fees and funding."""
        return self._account.wallet

    @property
    def equity(self) -> float:
        """Wallet plus unrealised profit at the last prices."""
        return self._account.equity()

    @property
    def margin_in_use(self) -> float:
        """Margin of positions and working entries."""
        return self._account.margin_in_use()

    @property
    def available(self) -> float:
        """What a new entry may bind, at least 0."""
        return max(0.0, self._account.available())

    def positions(self) -> tuple[ExchangePosition, ...]:
        """Open positions by symbol."""
        return tuple(self._position(symbol, slot) for symbol, slot in sorted(self._account.held.items()))

    def position(self, symbol: str) -> ExchangePosition | None:
        """The open position of a symbol; None = flat."""
        slot = self._slot(symbol)
        return self._position(symbol, slot) if slot.quantity else None

    def _position(self, symbol: str, slot: Slot) -> ExchangePosition:
        return ExchangePosition(
            symbol=symbol,
            side=slot.side,
            quantity=abs(slot.quantity),
            entry_price=slot.entry_price,
            leverage=slot.leverage,
            margin=self._account.margin_of(slot),
            unrealised=slot.unrealised,
            liquidation_price=self._account.liquidation_price(slot),
        )

    def open_orders(self, symbol: str) -> tuple[Order, ...]:
        """Working orders of a symbol, oldest first."""
        return tuple(working.order for working in self._slot(symbol).orders)

    @property
    def cross_wallet(self) -> float:
        """The part of the wallet that no isolated position binds."""
        return self._account.cross_wallet()

    @property
    def reserved(self) -> float:
        """What working entries bind."""
        return self._account.reserved

    def leverage(self, symbol: str) -> int:
        """The leverage a symbol is set to."""
        return self._slot(symbol).leverage

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the leverage of entries to come, at least 1; the caller has checked the brackets."""
        self._slot(symbol).leverage = leverage

    def margin_type(self, symbol: str) -> str:
        """``"isolated"`` or ``"cross"``, as set for a symbol."""
        return "isolated" if self._slot(symbol).is_isolated else "cross"

    def set_margin_type(self, symbol: str, margin_type: str) -> None:
        """Set a symbol's margin type, ``"isolated"`` or ``"cross"``.

        Raises:
            BrokerError: The symbol has a position or working orders.
        """
        slot = self._slot(symbol)
        if slot.quantity or slot.orders:
            raise BrokerError(f"{symbol}: the margin type is fixed while there is a position or an order")
        slot.is_isolated = margin_type == "isolated"

    def _slot(self, symbol: str) -> Slot:
        slot = self._slots.get(symbol)
        if slot is None:
            raise BrokerError(f"{symbol}: the book has no rules for this symbol; known are {sorted(self._slots)}")
        return slot
