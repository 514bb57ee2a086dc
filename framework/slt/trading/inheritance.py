"""Positions that an earlier run of the same name has left open: they go on here, with their true entry time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import fields_dict

from slt.candles import utc_text
from slt.trading.portfolio import Holding, PendingEntry
from slt.types import Order, OrderRole, OrderSide, OrderType, Outlook, Position, Proposal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.events import PositionsLeft
    from slt.trading.core import Core
    from slt.trading.fills import FillDesk
    from slt.types import ExchangeOrder, ExchangePosition, OpenPosition

__all__ = ["Inheritance"]

_ROLES = {"STOP_MARKET": OrderRole.STOP, "TAKE_PROFIT_MARKET": OrderRole.TARGET}
_SAME_PRICE = 1e-3
"""Share by which the exchange's entry price may differ from the stored one, for its rounding."""
_FILLED_ON = 0.02
"""The same where the exchange has more than was stored: the entry filled on, at other prices."""


class Inheritance:
    """Takes over what the storage knows as open and the exchange has, and what the books of this run do not have.

    A run whose folder is gone, or an instance on another machine that takes over, begins with empty books. The stored
    position says what the exchange does not: since when it is open, which strategy opened it, its stop, its target and
    what its exits have done. Nothing is taken over on the word of the storage alone: the exchange has to have the
    position, on the same side and at the same entry price. Of the quantity the exchange's word counts.

    Args:
        core: The engine's memory.
        fills: Protects and stores positions.
    """

    def __init__(self, core: Core, fills: FillDesk) -> None:
        self._core = core
        self._fills = fills

    def note(self, event: PositionsLeft) -> None:
        """Remember what other runs left open, the newest of each symbol.

        What the books have of these is out of date: while this run was down, another one went on with it. It is let go,
        and taken over as the other one left it, or not at all where that one has closed it.
        """
        for record in sorted(event.positions, key=lambda one: (one.entry_time, one.id)):
            self._let_go(record)
            if record.is_open:
                self._core.portfolio.left[record.symbol] = record

    def resume(self, found: ExchangePosition, orders: Iterable[ExchangeOrder]) -> None:
        """Go on with a position of the account, if it is one that was left; otherwise nothing happens.

        Args:
            found: The position.
            orders: The account's working orders: the stop that the earlier run left may still be what closes it.
        """
        core, portfolio = self._core, self._core.portfolio
        record = portfolio.left.get(found.symbol)
        if record is None or portfolio.engaged(found.symbol) or found.symbol not in core.setup.rules:
            return
        del portfolio.left[found.symbol]
        position = _read_position(record, core.setup.strategies)
        if position is None or not _is_same(position, found):
            return
        if found.quantity > position.quantity:
            # The entry filled on, and the earlier run did not live to store it.
            position.initial_quantity += found.quantity - position.quantity
            position.quantity, position.entry_price = found.quantity, found.entry_price
        holding = self._hold(position, record.state.get("books") or {}, found.update_time or core.time)
        portfolio.holdings[found.symbol] = holding
        portfolio.wallet += holding.gross - holding.fees - holding.funding
        for order in orders:
            role = _ROLES.get(order.type)
            if role is not None and order.symbol == found.symbol and order.client_id.startswith(core.setup.owner):
                portfolio.retired[order.client_id] = _order_left(order, role, position)
        self._fills.closes.protect(holding)
        self._fills.store_position(holding)
        core.alert(
            f"resumed-{position.id}",
            f"{position.symbol}: the position that run {record.run_id} left open goes on here",
            f"open since {utc_text(position.entry_time)}, {position.quantity:g} at {position.entry_price:g}",
        )

    def _let_go(self, record: OpenPosition) -> None:
        core, portfolio = self._core, self._core.portfolio
        holding, entry = portfolio.holdings.get(record.symbol), portfolio.entries.get(record.symbol)
        if holding is not None and holding.position.id == record.id:
            if record.told_time < holding.stored_time:
                return  # what this run said last has not reached the storage yet
            entry = holding.entry
            portfolio.wallet -= holding.gross - holding.fees - holding.funding
            del portfolio.holdings[record.symbol]
        elif entry is None or entry.order.position_id != record.id:
            return
        portfolio.retire_entry(record.symbol, entry)
        portfolio.retired_entries.pop(entry.order.client_id, None)
        for client_id in [name for name, order in portfolio.orders.items() if order.position_id == record.id]:
            portfolio.drop_order(client_id)
        core.learner.drop_sample(entry.proposal.strategy, record.id)
        core.alert(
            f"elsewhere-{record.id}",
            f"{record.symbol}: run {record.run_id} went on with this position while this run was down",
            "it goes on from there" if record.is_open else "it is closed",
        )

    def _hold(self, position: Position, books: dict[str, Any], time: int) -> Holding:
        holding = Holding(position, self._entry_of(position), position.entry_price, resumed_time=time)
        for name in books.keys() & fields_dict(Holding).keys():
            setattr(holding, name, books[name])
        return holding

    def _entry_of(self, position: Position) -> PendingEntry:
        """The entry as far as the stored position tells it; it is filled, and only names are read of it."""
        order = Order(
            client_id=self._core.next_id(),
            position_id=position.id,
            symbol=position.symbol,
            side=OrderSide(position.side),
            type=OrderType.MARKET,
            role=OrderRole.ENTRY,
            quantity=position.initial_quantity,
            time=position.entry_time,
            leverage=position.leverage,
            reason="resumed",
        )
        proposal = Proposal(
            time=position.entry_time,
            symbol=position.symbol,
            side=position.side,
            strategy=position.strategy,
            price=position.entry_price,
            stop=position.stop,
            target=position.target,
            reason="resumed",
            confidence=float("nan"),
        )
        return PendingEntry(order, proposal, 0.0, position.cost_rate, None, 0, None)


def _read_position(record: OpenPosition, strategies: tuple[str, ...]) -> Position | None:
    """The stored position; None where another version of slt stored it in a form that is not known."""
    state = {name: value for name, value in record.state.items() if name in fields_dict(Position)}
    outlook = state.get("entry_outlook")
    state["marks"], state["exits_done"] = set(state.get("marks", ())), set(state.get("exits_done", ()))
    # What was true of the orders of that run, whose answers nobody waits for any more.
    state |= {"stop_resting": False, "stop_traded_time": None, "closing": False}
    if state.get("strategy") not in strategies:
        state["strategy"] = strategies[0]
    try:
        state["entry_outlook"] = Outlook(**outlook) if outlook else None
        return Position(**state)
    except TypeError:
        return None


def _order_left(order: ExchangeOrder, role: OrderRole, position: Position) -> Order:
    return Order(
        client_id=order.client_id,
        position_id=position.id,
        symbol=order.symbol,
        side=OrderSide(order.side),
        type=OrderType(order.type),
        role=role,
        quantity=order.quantity,
        time=order.time,
        stop_price=order.stop_price,
        reduce_only=True,
        leverage=position.leverage,
        reason=str(role),
    )


def _is_same(position: Position, found: ExchangePosition) -> bool:
    off = abs(found.entry_price / position.entry_price - 1)
    allowed = _SAME_PRICE if found.quantity <= position.quantity else _FILLED_ON
    return found.side == position.side and position.quantity > 0 and off <= allowed
