"""Positions, orders and money: what is true of the account after each fill.

All of it is plain data, so that a snapshot is a pickle. Identity kept after every fill and funding payment:
``wallet = initial equity + Σ(gross PnL − fees − funding)`` over closed and open positions alike.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, TypeVar

import attrs
from attrs import define, field

from slt.types import Fill, FundingPayment, OpenPosition, Order, Outlook, Position, Proposal, Trade

__all__ = ["Holding", "PendingEntry", "Portfolio", "Resting"]

T = TypeVar("T")
_FLAT = 1e-9
"""Share of the initial quantity below which a position counts as flat (float dust of partial closes)."""


_BOOKED = ("gross", "fees", "funding", "slippage", "exit_quantity", "exit_value", "is_refilled")
"""What a stored position says of its holding, beside the reasons of its partial exits."""
_CENT = 0.01
"""Money below which a change of the initial equity is rounding, and no deposit."""
_REMEMBERED_FILLS = 512
"""Fills by symbol whose ids are remembered, so that one that comes twice is booked once."""
_REMEMBERED_ORDERS = 512
"""Orders that work no longer and are remembered, for what they still fill."""


@define(eq=False)
class PendingEntry:
    """An entry that has been ordered and is not yet filled.

    Attributes:
        order: The entry order.
        proposal: What it came from, stop already at the floor or beyond.
        margin: Initial margin reserved for it, quote currency.
        cost_rate: Expected cost of closing, fraction of the notional.
        p_win: The model's probability at the decision; None while UNTRAINED.
        model_version: The model asked; 0 = UNTRAINED.
        outlook: The position's prospects at the decision.
    """

    order: Order
    proposal: Proposal
    margin: float
    cost_rate: float
    p_win: float | None
    model_version: int
    outlook: Outlook | None


@define(eq=False)
class Resting:
    """The order that protects a position on one side.

    Attributes:
        client_id: The newest one; empty = none.
        is_acknowledged: Whether the exchange has confirmed it.
        is_asked: Whether the exchange has been asked for it, because its word was late.
        replaced: Acknowledged ones before it, oldest first, that are cancelled once it is acknowledged.
        cancelled: Times that somebody else has cancelled one.
    """

    client_id: str = ""
    is_acknowledged: bool = False
    is_asked: bool = False
    replaced: list[str] = field(factory=list)
    cancelled: int = 0


@define(eq=False)
class Holding:
    """An open position with what the portfolio keeps beside it.

    Attributes:
        position: What exits see.
        entry: The entry it came from.
        price: Last price seen.
        outlook: Latest outlook; None before the first.
        gross: Realised PnL of the parts closed so far, before fees and funding.
        fees: Commissions paid so far.
        funding: Funding paid so far.
        slippage: Slippage so far; part of `gross`.
        exit_quantity: Base units closed so far.
        exit_value: Σ quantity · price of the closing fills.
        partial_exits: Reasons of the closes so far, in order.
        stop: The protective stop.
        target: The target.
        uncovered_since: Since when a part has had no acknowledged stop, ms UTC; None = all of it has one.
        close_attempts: Closing orders that failed since the last success.
        retry_time: When the failed close is tried again, ms UTC; None = no failure pending.
        close_reason: Why the full close was ordered.
        stored_peak: `Position.peak_gain` when the position was last stored.
        stored_time: When that was, ms UTC.
        is_refilled: The entry filled on after a part had been closed: the position's entry price is then the cost of
            what is open, and no longer the mean of all entry fills.
        resumed_time: Since when this run has it, where an earlier run opened it: the account told of it, with what had
            been filled up to then, ms UTC, and of what its entry still fills. None: this run opened it.
    """

    position: Position
    entry: PendingEntry
    price: float
    outlook: Outlook | None = None
    gross: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    slippage: float = 0.0
    exit_quantity: float = 0.0
    exit_value: float = 0.0
    partial_exits: list[str] = field(factory=list)
    stop: Resting = field(factory=Resting)
    target: Resting = field(factory=Resting)
    uncovered_since: int | None = None
    close_attempts: int = 0
    retry_time: int | None = None
    close_reason: str = ""
    stored_peak: float = 0.0
    stored_time: int = 0
    is_refilled: bool = False
    resumed_time: int | None = None

    def resting(self, client_id: str) -> Resting | None:
        """The side whose newest order this is; None = neither."""
        return next((r for r in (self.stop, self.target) if client_id and r.client_id == client_id), None)

    @property
    def margin(self) -> float:
        """Initial margin bound by what is still open, quote currency."""
        position = self.position
        return position.entry_price * position.quantity / position.leverage

    @property
    def unrealised(self) -> float:
        """PnL of what is still open at the last price, before closing costs."""
        position = self.position
        return position.side * (self.price - position.entry_price) * position.quantity


class Portfolio:
    """The account: wallet, holdings by symbol, entries under way, working orders.

    Args:
        run_id: The run.
        initial_equity: Wallet at the start, quote currency.
        win_rate_trades: How many recent results the win rate looks at.

    Attributes:
        steps: Time of an equity point (ms UTC) and the initial equity at it and those after; one more whenever what
            came or went has moved it.
    """

    def __init__(self, run_id: str, initial_equity: float, win_rate_trades: int) -> None:
        self.run_id = run_id
        self.initial_equity = initial_equity
        self.wallet = initial_equity
        self.holdings: dict[str, Holding] = {}
        self.entries: dict[str, PendingEntry] = {}
        self.orders: dict[str, Order] = {}
        self.filled: dict[str, float] = {}
        self.seen_fills: dict[str, dict[int, None]] = {}
        self.settled: dict[str, None] = {}
        self.left: dict[str, OpenPosition] = {}
        self.retired: dict[str, Order] = {}
        self.retired_entries: dict[str, PendingEntry] = {}
        self.results: deque[bool] = deque(maxlen=win_rate_trades)
        self.trades = 0
        self.steps: list[tuple[int, float]] = []

    @property
    def equity(self) -> float:
        """Wallet plus unrealised PnL at the last prices."""
        return self.wallet + sum(h.unrealised for h in self.holdings.values())

    @property
    def margin_in_use(self) -> float:
        """Initial margin of all positions and entries under way."""
        return sum(h.margin for h in self.holdings.values()) + sum(e.margin for e in self.entries.values())

    @property
    def position_ids(self) -> frozenset[str]:
        """Positions that are open or being entered."""
        ids = {holding.position.id for holding in self.holdings.values()}
        return frozenset(ids | {entry.order.position_id for entry in self.entries.values()})

    def note_point(self, time: int) -> None:
        """Remember the initial equity of an equity point where it is another than that of the one before."""
        if not self.steps or abs(self.initial_equity - self.steps[-1][1]) >= _CENT:
            self.steps.append((time, self.initial_equity))

    def engaged(self, symbol: str) -> bool:
        """Whether the symbol has a position or an entry under way."""
        return symbol in self.holdings or symbol in self.entries

    def fill_entry(self, fill: Fill, entry: PendingEntry, stop: float, target: float) -> Holding:
        """Book an entry fill; opens the position with the first one.

        Args:
            fill: The fill.
            entry: The entry it belongs to.
            stop: Protective stop for this fill price.
            target: Target for this fill price.
        """
        holding = self.holdings.get(fill.symbol)
        if holding is None:
            holding = self._open(fill, entry, stop, target)
        else:
            position = holding.position
            holding.is_refilled |= holding.exit_quantity > 0
            value = position.entry_price * position.quantity + fill.price * fill.quantity
            position.quantity += fill.quantity
            position.initial_quantity += fill.quantity
            position.entry_price = value / position.quantity
            position.entry_time = min(position.entry_time, fill.time)
        self._pay(holding, fill)
        entry.margin = max(0.0, entry.margin - fill.price * fill.quantity / max(1, entry.order.leverage))
        if self._book(fill, entry.order) >= entry.order.quantity * (1 - _FLAT):
            self.retire_entry(fill.symbol, entry)
        return holding

    def fill_close(self, fill: Fill, holding: Holding, reason: str) -> Trade | None:
        """Book a closing fill.

        Args:
            fill: The fill; a quantity above what is open closes what is open.
            holding: The holding it closes.
            reason: What ordered the close.

        Returns:
            The finished trade when this made the position flat, else None.
        """
        position = holding.position
        quantity = min(fill.quantity, position.quantity)
        gross = position.side * (fill.price - position.entry_price) * quantity
        self.wallet += gross
        holding.gross += gross
        holding.exit_quantity += quantity
        holding.exit_value += quantity * fill.price
        holding.price = fill.price
        position.quantity -= quantity
        self._pay(holding, fill)
        if fill.client_id in self.orders:
            self._book(fill, self.orders[fill.client_id])
        if position.quantity > position.initial_quantity * _FLAT:
            holding.partial_exits.append(reason)
            return None
        position.quantity = 0.0
        del self.holdings[fill.symbol]
        return self._finish(fill.time, holding, reason)

    def drop_order(self, client_id: str) -> float:
        """Forget a working order that will not fill any more; returns what was filled of it, base units."""
        self._retire(client_id)
        return self.filled.pop(client_id, 0.0)

    def retire_entry(self, symbol: str, entry: PendingEntry | None = None) -> PendingEntry | None:
        """Take an entry out of those under way, and remember it for fills that come late.

        Args:
            symbol: Its symbol.
            entry: Only this one; None = whichever is under way.

        Returns:
            The entry; None where it is not under way.
        """
        found = self.entries.get(symbol)
        if found is None or (entry is not None and found is not entry):
            return None
        _remember(self.retired_entries, found.order.client_id, found)
        return self.entries.pop(symbol)

    def order_of(self, client_id: str) -> Order | None:
        """An order of ours, working or remembered; None = not known."""
        return self.orders.get(client_id) or self.retired.get(client_id)

    def pay_funding(self, payment: FundingPayment) -> Holding | None:
        """Book a funding settlement, once; None where the position is already gone (the wallet is charged anyway)."""
        key = f"{payment.symbol}-{payment.time}"
        if key in self.settled:
            return None
        _remember(self.settled, key, None)
        self.wallet -= payment.amount
        holding = self.holdings.get(payment.symbol)
        if holding is not None:
            holding.funding += payment.amount
            holding.position.costs_paid += payment.amount
        return holding

    def is_new(self, fill: Fill) -> bool:
        """Whether this fill has not been booked before, by its symbol and trade id, in whatever order they come."""
        seen = self.seen_fills.setdefault(fill.symbol, {})
        if fill.trade_id in seen:
            return False
        seen[fill.trade_id] = None
        if len(seen) > _REMEMBERED_FILLS:
            del seen[next(iter(seen))]
        return True

    def record(self, holding: Holding, time: int) -> OpenPosition:
        """The position as a storage keeps it at an event time (ms UTC), with its money so far."""
        position = holding.position
        state: dict[str, Any] = attrs.asdict(position)
        state["marks"] = sorted(position.marks)
        state["exits_done"] = sorted(position.exits_done)
        state["books"] = {name: getattr(holding, name) for name in _BOOKED}
        state["books"]["partial_exits"] = list(holding.partial_exits)
        return OpenPosition(
            id=position.id,
            run_id=self.run_id,
            symbol=position.symbol,
            side=position.side,
            entry_time=position.entry_time,
            quantity=position.quantity,
            is_open=position.quantity > 0,
            state=state,
            told_time=time,
        )

    def _open(self, fill: Fill, entry: PendingEntry, stop: float, target: float) -> Holding:
        order, proposal = entry.order, entry.proposal
        position = Position(
            id=order.position_id,
            symbol=fill.symbol,
            side=proposal.side,
            strategy=proposal.strategy,
            entry_time=fill.time,
            entry_price=fill.price,
            quantity=fill.quantity,
            initial_quantity=fill.quantity,
            initial_stop=stop,
            stop=stop,
            target=target,
            leverage=order.leverage,
            cost_rate=entry.cost_rate,
            entry_outlook=entry.outlook,
        )
        holding = Holding(position=position, entry=entry, price=fill.price, outlook=entry.outlook)
        self.holdings[fill.symbol] = holding
        return holding

    def _pay(self, holding: Holding, fill: Fill) -> None:
        self.wallet -= fill.fee
        holding.fees += fill.fee
        holding.slippage += fill.slippage
        holding.position.costs_paid += fill.fee

    def _book(self, fill: Fill, order: Order) -> float:
        """Add a fill to its order; an order that is done leaves the working orders."""
        done = self.filled.get(order.client_id, 0.0) + fill.quantity
        if done >= order.quantity * (1 - _FLAT):
            self._retire(order.client_id)
            self.filled.pop(order.client_id, None)
        else:
            self.filled[order.client_id] = done
        return done

    def _retire(self, client_id: str) -> None:
        order = self.orders.pop(client_id, None)
        if order is not None:
            _remember(self.retired, client_id, order)

    def _finish(self, time: int, holding: Holding, reason: str) -> Trade:
        position, entry = holding.position, holding.entry
        net = holding.gross - holding.fees - holding.funding
        won = net > 0
        self.results.append(won)
        self.trades += 1
        entry_price = position.entry_price
        if holding.is_refilled:
            entry_price = (holding.exit_value - position.side * holding.gross) / holding.exit_quantity
        risk = position.initial_quantity * abs(entry_price - position.initial_stop)
        return Trade(
            id=position.id,
            run_id=self.run_id,
            symbol=position.symbol,
            side=position.side,
            strategy=position.strategy,
            reason=entry.proposal.reason,
            entry_time=position.entry_time,
            # An exchange that was begun anew may have set its clock back; no trade ends before it begins.
            exit_time=max(time, position.entry_time),
            entry_price=entry_price,
            exit_price=holding.exit_value / holding.exit_quantity,
            quantity=position.initial_quantity,
            leverage=position.leverage,
            initial_stop=position.initial_stop,
            target=position.target,
            gross_pnl=holding.gross,
            fees=holding.fees,
            funding=holding.funding,
            slippage=holding.slippage,
            net_pnl=net,
            r_multiple=net / risk if risk > 0 else math.nan,
            exit=reason,
            partial_exits=tuple(holding.partial_exits),
            confidence=entry.proposal.confidence,
            p_win=entry.p_win,
            model_version=entry.model_version,
            won=won,
        )


def _remember(memory: dict[str, T], key: str, value: T) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED_ORDERS:
        del memory[next(iter(memory))]
