"""What fills, order updates and funding do to the books, in whatever order they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from slt.events import Notify, ReadAccount
from slt.notices import open_notice
from slt.types import FillCause, OrderRole, OrderStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.trading.closes import CloseDesk
    from slt.trading.core import Core
    from slt.trading.portfolio import Holding, PendingEntry
    from slt.types import Fill, FundingPayment, Order, OrderUpdate, Trade

__all__ = ["FillDesk"]


class FillDesk:
    """Books what the broker says.

    Args:
        core: The engine's memory.
        closes: Protects and closes positions.
        on_closed: Told of every finished trade.

    Attributes:
        closes: As given.
    """

    def __init__(self, core: Core, closes: CloseDesk, on_closed: Callable[[Trade], None]) -> None:
        self._core = core
        self.closes = closes
        self._on_closed = on_closed

    def book(self, fill: Fill) -> None:
        """Book a fill, once, to the entry or the position that it belongs to."""
        portfolio = self._core.portfolio
        if not portfolio.is_new(fill):
            return
        entry = portfolio.entries.get(fill.symbol)
        holding = portfolio.holdings.get(fill.symbol)
        if entry is not None and fill.client_id == entry.order.client_id:
            self.enter(fill, entry)
        elif holding is not None and fill.time <= (holding.resumed_time or 0):
            return  # of an earlier run; the account that told of the position had it in
        elif holding is None:
            self._book_stray(fill)
        elif fill.client_id == holding.entry.order.client_id:
            self.enter(fill, holding.entry)
        elif fill.side == holding.position.side:
            self._report(fill, "a fill that is not slt's has made the position larger")
        else:
            self.leave(fill, holding, _close_reason(fill, portfolio.order_of(fill.client_id)))

    def enter(self, fill: Fill, entry: PendingEntry) -> Holding:
        """Book a fill that opens a position or makes it larger."""
        core, portfolio = self._core, self._core.portfolio
        is_first = fill.symbol not in portfolio.holdings
        holding = portfolio.fill_entry(fill, entry, *self.closes.protective_levels(entry.proposal, fill.price))
        if fill.symbol not in portfolio.entries:
            filled = portfolio.filled.get(entry.order.client_id, entry.order.quantity)
            core.store_intent(entry.order, "filled", filled=filled)
        self.closes.protect(holding)
        self.store_position(holding)
        if is_first:
            core.emit(Notify(open_notice(holding.position, run_id=core.setup.run_id)))
        return holding

    def leave(self, fill: Fill, holding: Holding, reason: str) -> None:
        """Book a fill that closes a position or a part of it."""
        core, portfolio = self._core, self._core.portfolio
        order = portfolio.orders.get(fill.client_id)
        trade = portfolio.fill_close(fill, holding, reason)
        if order is not None and fill.client_id not in portfolio.orders:
            core.store_intent(order, "filled", filled=order.quantity)
        self.store_position(holding)
        if trade is None:
            self.closes.follow_part(holding, fill.client_id)
            return
        self.closes.finish(holding)
        self._on_closed(trade)

    def change(self, update: OrderUpdate) -> None:
        """Follow the state of an order of ours; another's is passed over."""
        core, portfolio = self._core, self._core.portfolio
        order = portfolio.orders.get(update.client_id)
        if order is None:
            return
        core.store_intent(order, str(update.status), update.reason, portfolio.filled.get(order.client_id, 0.0))
        if order.role is not OrderRole.ENTRY:
            self.closes.note_update(order, update, portfolio.holdings.get(update.symbol))
            return
        if update.status is not OrderStatus.ACCEPTED:
            portfolio.drop_order(order.client_id)
            entry = portfolio.retire_entry(update.symbol)
            if entry is not None and update.symbol not in portfolio.holdings:
                core.learner.drop_sample(entry.proposal.strategy, order.position_id)

    def pay_funding(self, payment: FundingPayment) -> None:
        """Book a funding settlement."""
        holding = self._core.portfolio.pay_funding(payment)
        if holding is not None:
            self.store_position(holding)

    def store_position(self, holding: Holding) -> None:
        """Keep the position as it is now."""
        holding.stored_peak, holding.stored_time = holding.position.peak_gain, self._core.clock
        self._core.store(self._core.portfolio.record(holding, holding.stored_time))

    def _book_stray(self, fill: Fill) -> None:
        """A fill without a position: a late one of an entry of ours is a position, and is closed; others are told."""
        portfolio = self._core.portfolio
        entry = portfolio.retired_entries.get(fill.client_id)
        if entry is None:
            if fill.symbol not in portfolio.left:  # the other run's, until the account has been read
                self._report(fill, "a fill belongs to no position")
            return
        self._core.alert(
            f"late_fill-{fill.symbol}",
            f"{fill.symbol}: an entry that was given up has filled; its position is protected and closed",
            f"client id {fill.client_id}",
        )
        order = evolve(entry.order, position_id=self._core.next_id())
        self.closes.close_at_once(self.enter(fill, evolve(entry, order=order)), "late_fill")

    def _report(self, fill: Fill, what: str) -> None:
        core = self._core
        core.alert(f"stray_fill-{fill.symbol}", f"{fill.symbol}: {what}", f"client id {fill.client_id}")
        core.emit(ReadAccount(core.time, f"{fill.symbol}: {what}"))


def _close_reason(fill: Fill, order: Order | None) -> str:
    """What closed: the cause of a forced fill, ``stop`` or ``target``, or the reason of the exit order."""
    if fill.cause is not FillCause.ORDER:
        return str(fill.cause)
    return order.reason if order is not None else "unknown"
