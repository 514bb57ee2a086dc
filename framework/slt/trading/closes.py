"""Protecting and closing positions: resting stop and target, exits at market, retries until the exchange confirms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.events import CancelOrder, ReadAccount
from slt.rules import floor_quantity, round_price
from slt.trading.guard import Guard
from slt.trading.orders import send, take_back
from slt.trading.sizing import floored_stop
from slt.types import OrderRole, OrderStatus, OrderType, OrderUpdate

if TYPE_CHECKING:
    from slt.trading.core import Core
    from slt.trading.portfolio import Holding, Resting
    from slt.types import Order, Proposal

__all__ = ["CloseDesk"]

_FIRST_RETRY_MS = 1_000
_LONGEST_RETRY_MS = 60_000
_MOST_DOUBLINGS = 6
_ALERT_AFTER = 3
_MOST_CANCELLED = 3
"""Times that a stop or a target which somebody else cancels is placed again."""


class CloseDesk:
    """Gives the orders that protect and close positions.

    Args:
        core: The engine's memory.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._guard = Guard(core)

    def protective_levels(self, proposal: Proposal, fill_price: float) -> tuple[float, float]:
        """Stop and target for an entry filled at `fill_price`: the proposal's, on the tick grid, the stop floored."""
        setup, side = self._core.setup, proposal.side
        rules = setup.rules[proposal.symbol]
        stop = floored_stop(fill_price, proposal.stop, side, setup.risk.min_stop_fraction)
        return round_price(rules, stop, side), round_price(rules, proposal.target, side)

    def protect(self, holding: Holding) -> None:
        """Rest a stop and a target for what is open now; those they replace go when they are acknowledged."""
        self._guard.protect(holding)

    def check_cover(self, holding: Holding) -> None:
        """Close a position that has been without an acknowledged stop for too long; half-way there, ask for it."""
        if holding.position.closing:
            return
        if not self._guard.is_overdue(holding):
            self._guard.ask_when_late(holding)
            return
        symbol, seconds = holding.position.symbol, self._core.setup.risk.stop_ack_seconds
        self._core.alert(
            f"stop_late-{symbol}",
            f"{symbol}: the protective stop is not acknowledged after {seconds:g} s; closing the position",
            "",
        )
        self.close(holding, "unprotected")

    def close(self, holding: Holding, reason: str, *, fraction: float = 1.0, level: float | None = None) -> None:
        """Close a share of a position at market; a part too small to trade is skipped, a whole never.

        Args:
            holding: What to close.
            reason: The exit's name, or another word for the trade's record.
            fraction: Share of the open quantity.
            level: Price level of the decision, for simulated brokers.
        """
        position = holding.position
        quantity = position.quantity
        if fraction < 1.0:
            if holding.retry_time is not None and self._core.time < holding.retry_time:
                return
            position.exits_done.add(reason)
            rules = self._core.setup.rules[position.symbol]
            quantity = floor_quantity(rules, position.quantity * fraction)
            if quantity <= 0:
                return
        else:
            position.closing = True
            holding.close_reason = reason
            self._withdraw_entry(position.symbol)
        holding.retry_time = None
        send(self._core, holding, OrderRole.EXIT, OrderType.MARKET, quantity, reason=reason, level=level)

    def close_at_once(self, holding: Holding, reason: str) -> None:
        """Close at market now, unless a close is already on its way; a failed one is not waited for any longer."""
        if not holding.position.closing or holding.retry_time is not None:
            self.close(holding, reason)

    def follow_part(self, holding: Holding, client_id: str) -> None:
        """After a fill that closed a part: protect the rest, and go on closing it if all of it was to be closed.

        A stop or target that filled in part works on by itself; the other one is reduce-only and needs no new size.
        """
        if holding.resting(client_id) is not None:
            return
        holding.close_attempts = 0
        self.protect(holding)
        if holding.position.closing and not self._is_closing(holding):
            self.close(holding, holding.close_reason)

    def finish(self, holding: Holding) -> None:
        """After the last fill of a position: cancel whatever of its orders still works, its entry included."""
        symbol, portfolio = holding.position.symbol, self._core.portfolio
        leftover = [o.client_id for o in portfolio.orders.values() if o.position_id == holding.position.id]
        take_back(self._core, symbol, leftover)
        portfolio.retire_entry(symbol)

    def note_update(self, order: Order, update: OrderUpdate, holding: Holding | None) -> None:
        """Act on a change of a stop, target or closing order."""
        if update.status is OrderStatus.ACCEPTED:
            if holding is not None:
                self._guard.acknowledge(holding, order)
            return
        self._core.portfolio.drop_order(order.client_id)
        if holding is None or order.position_id != holding.position.id:
            return
        if order.role is OrderRole.EXIT:
            self._failed(holding, order, update)
            return
        resting = holding.stop if order.role is OrderRole.STOP else holding.target
        self._guard.lose(holding, resting, order.client_id)
        if update.status is OrderStatus.CANCELLED and self._restore(holding, resting, order):
            return
        if resting is holding.stop:
            self._naked(holding, update)
        else:
            self._without_target(holding, update)

    def retry(self, holding: Holding, time: int) -> None:
        """Order a failed close again when its wait is over."""
        if holding.retry_time is not None and time >= holding.retry_time:
            self.close(holding, holding.close_reason)

    def _restore(self, holding: Holding, resting: Resting, order: Order) -> bool:
        """Place anew what somebody else has cancelled, a few times; returns whether that was done or not needed."""
        if resting.client_id or holding.position.closing:
            return True
        if resting.cancelled >= _MOST_CANCELLED:
            return False
        resting.cancelled += 1
        symbol, role = order.symbol, str(order.role)
        what = f"the protective {role}" if resting is holding.stop else f"the {role}"
        title = f"{symbol}: {what} was cancelled, and not by slt; it is placed again"
        self._core.alert(f"{role}_cancelled-{symbol}", title, f"client id {order.client_id}")
        self.protect(holding)
        # Whoever cancelled it may have closed the position as well.
        self._core.emit(ReadAccount(self._core.time, f"{symbol}: {what} was cancelled"))
        return True

    def _naked(self, holding: Holding, update: OrderUpdate) -> None:
        if holding.position.closing or self._guard.is_covered(holding):
            return
        self._core.alert(
            f"stop_gone-{holding.position.symbol}",
            f"{holding.position.symbol}: the protective stop is gone ({update.status}); closing the position",
            update.reason,
        )
        self.close(holding, "unprotected", level=holding.position.stop)

    def _without_target(self, holding: Holding, update: OrderUpdate) -> None:
        """The target does not rest. Where the price is beyond it (an entry that gapped past it), it is reached."""
        position = holding.position
        if position.closing or holding.target.client_id:
            return
        # The price seen last may be a fill's own, so worse than the market's by the slippage.
        level = position.target * (1 - position.side * self._core.setup.rules[position.symbol].slippage)
        if position.side * (holding.price - level) >= 0:
            self.close(holding, str(OrderRole.TARGET), level=position.target)
            return
        self._core.alert(
            f"target_gone-{position.symbol}",
            f"{position.symbol}: the target does not rest ({update.status}); stop and exits stay in force",
            update.reason,
        )

    def _is_closing(self, holding: Holding) -> bool:
        """Whether an order that closes the position is on its way or waits to be tried again."""
        orders = self._core.portfolio.orders.values()
        return holding.retry_time is not None or any(
            order.position_id == holding.position.id and order.role is OrderRole.EXIT for order in orders
        )

    def _withdraw_entry(self, symbol: str) -> None:
        """Cancel what is still unfilled of an entry whose position is being closed; late fills are still booked."""
        entry = self._core.portfolio.entries.get(symbol)
        if entry is not None:
            self._core.emit(CancelOrder(self._core.time, symbol, entry.order.client_id))

    def _failed(self, holding: Holding, order: Order, update: OrderUpdate) -> None:
        """A closing order failed: try again after a wait; a part is decided anew by its exit once the wait is over."""
        if not holding.position.closing:
            holding.position.exits_done.discard(order.reason)
        elif self._is_closing(holding):
            return
        wait = min(_LONGEST_RETRY_MS, _FIRST_RETRY_MS << min(holding.close_attempts, _MOST_DOUBLINGS))
        holding.close_attempts += 1
        holding.retry_time = update.time + wait
        # The exchange refuses to close what it does not have: its account says whether that is so.
        self._core.emit(ReadAccount(self._core.time, f"{order.symbol}: a close failed ({update.reason})"))
        if holding.close_attempts == _ALERT_AFTER:
            self._core.alert(
                f"close_failed-{order.symbol}",
                f"{order.symbol}: closing failed {_ALERT_AFTER} times and is tried again without end",
                update.reason,
            )
