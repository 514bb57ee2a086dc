"""The books against the exchange: what differs is asked for, and what still differs is put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.events import CancelOrder, QueryOrder, ReadAccount
from slt.rules import round_price
from slt.trading.portfolio import PendingEntry
from slt.types import ExchangePosition, Fill, Order, OrderRole, OrderSide, OrderType, Proposal

if TYPE_CHECKING:
    from slt.events import AccountRead
    from slt.trading.core import Core
    from slt.trading.fills import FillDesk
    from slt.trading.inheritance import Inheritance
    from slt.trading.portfolio import Holding
    from slt.types import AccountState

__all__ = ["BOOKS", "AccountDesk"]

BOOKS = "books"
"""The source under which entries halt until books and account agree."""

_ASKED = 2
"""Comparisons in a row in which a position may differ, its orders asked each time, before the account is believed."""
_LATEST = 6
"""Finished orders of a symbol whose fate is asked when its position differs."""
_DUST = 1e-9
_STOP_DISTANCES = 4
"""Distance to the stop of an adopted position, in smallest stop distances; its target is twice as far."""


class AccountDesk:
    """Compares the books with the account, and makes them agree.

    A position that differs may be a fill that is still on its way, so its orders are asked first and the account is
    read again. What differs still then is settled: what the exchange no longer has is booked as closed at the last
    price (``reconciled``), what it has beyond the books is a stranger.

    Args:
        core: The engine's memory.
        fills: Books fills.
        inheritance: Goes on with what earlier runs left.
    """

    def __init__(self, core: Core, fills: FillDesk, inheritance: Inheritance) -> None:
        self._core = core
        self._fills = fills
        self._inheritance = inheritance
        self.differing: dict[str, int] = {}

    def compare(self, event: AccountRead) -> None:
        """Compare, ask for what differs or put it right, and let entries resume once all agrees."""
        account = event.account
        for position in account.positions:
            self._inheritance.resume(position, account.orders)
        self._sweep(account)
        found = {p.symbol: p for p in account.positions}
        symbols = sorted(found.keys() | self._core.portfolio.holdings.keys())
        differences = [s for s in symbols if not self._agrees(s, found.get(s), event.time)]
        for symbol in [s for s in self.differing if s not in differences]:
            del self.differing[symbol]
        strangers = self._core.gates.state.strangers
        for symbol in [s for s in strangers if s not in found]:
            del strangers[symbol]
        if differences:
            text = f"the books and the exchange do not agree on {', '.join(differences)}; asking"
            self._core.halt(text, BOOKS)
            self._core.emit(ReadAccount(event.time, text))
            return
        self._take_wallet(account)
        self._core.halt("", BOOKS)

    def _sweep(self, account: AccountState) -> None:
        """Cancel orders of ours that belong to nothing; ask what became of those that rest only in the books.

        Stops and targets of an earlier run stay while they protect a position: one that the books do not have, or that
        has no acknowledged stop of this run yet.
        """
        core, portfolio = self._core, self._core.portfolio
        theirs = {order.client_id for order in account.orders}
        holdings = portfolio.holdings
        bare = {s for s, holding in holdings.items() if holding.uncovered_since is not None}
        left = {p.symbol: p.side for p in account.positions if p.symbol not in holdings or p.symbol in bare}
        for found in account.orders:
            is_ours = found.client_id.startswith(core.setup.owner) and found.client_id not in portfolio.orders
            if is_ours and not (found.reduce_only and left.get(found.symbol) == -found.side):
                core.emit(CancelOrder(core.time, found.symbol, found.client_id))
        for order in portfolio.orders.values():
            if order.role in {OrderRole.STOP, OrderRole.TARGET} and order.client_id not in theirs:
                core.emit(QueryOrder(core.time, order.symbol, order.client_id))

    def _agrees(self, symbol: str, found: ExchangePosition | None, time: int) -> bool:
        """Whether a symbol's position is as the books have it, now or after it was settled."""
        core, portfolio = self._core, self._core.portfolio
        holding = portfolio.holdings.get(symbol)
        ours = holding.position.side * holding.position.quantity if holding is not None else 0.0
        theirs = found.side * found.quantity if found is not None else 0.0
        stranger = core.gates.state.strangers.get(symbol, 0.0)
        if self._is_close(theirs, ours + stranger, symbol) or self._is_moving(symbol):
            return True
        count = self.differing.get(symbol, 0)
        if count < _ASKED:
            self.differing[symbol] = count + 1
            self._ask(symbol)
            return False
        self._settle(symbol, holding, theirs, found, time)
        return True

    def _is_close(self, one: float, other: float, symbol: str) -> bool:
        rules = self._core.setup.rules.get(symbol)
        step = float(rules.step_size) / 2 if rules is not None else 0.0
        return abs(one - other) <= max(step, _DUST * max(abs(one), abs(other)))

    def _is_moving(self, symbol: str) -> bool:
        """Whether an order is under way that changes the position; the next comparison looks again."""
        portfolio = self._core.portfolio
        return symbol in portfolio.entries or any(
            order.symbol == symbol and order.role is OrderRole.EXIT for order in portfolio.orders.values()
        )

    def _ask(self, symbol: str) -> None:
        """Ask for every order that may have changed the position."""
        core, portfolio = self._core, self._core.portfolio
        working = [o.client_id for o in portfolio.orders.values() if o.symbol == symbol]
        done = [o.client_id for o in portfolio.retired.values() if o.symbol == symbol][-_LATEST:]
        for client_id in dict.fromkeys([*working, *done]):
            core.emit(QueryOrder(core.time, symbol, client_id))

    def _settle(
        self, symbol: str, holding: Holding | None, theirs: float, found: ExchangePosition | None, time: int
    ) -> None:
        """Believe the exchange."""
        core = self._core
        ours = holding.position.side * holding.position.quantity if holding is not None else 0.0
        core.alert(
            f"reconciled-{symbol}",
            f"{symbol}: the exchange has {theirs:g}, the books had {ours:g}; the books follow",
            f"strangers: {core.setup.strangers}",
        )
        if holding is not None:
            kept = max(0.0, theirs * holding.position.side)
            gone = holding.position.quantity - min(kept, holding.position.quantity)
            if gone > holding.position.quantity * _DUST:
                fill = self._make_fill(symbol, -holding.position.side, gone, holding.price, time)
                ours += fill.side * gone
                self._fills.leave(fill, holding, "reconciled")
        surplus = theirs - ours
        core.gates.state.strangers.pop(symbol, None)
        if found is None or self._is_close(surplus, 0.0, symbol):
            return
        if holding is not None and holding.resumed_time is not None and surplus * holding.position.side > 0:
            self._grow(found, surplus, holding, time)
            return
        if core.setup.strangers == "ignore" or symbol not in core.setup.rules:
            core.gates.state.strangers[symbol] = surplus
            return
        self._adopt(found, surplus, time)

    def _grow(self, found: ExchangePosition, surplus: float, holding: Holding, time: int) -> None:
        """The entry of an earlier run has filled on: the account alone tells of it, and of the mean price."""
        position, more = holding.position, abs(surplus)
        price = (found.entry_price * (position.quantity + more) - position.entry_price * position.quantity) / more
        self._fills.enter(self._make_fill(found.symbol, found.side, more, price, time), holding.entry)

    def _adopt(self, found: ExchangePosition, quantity: float, time: int) -> None:
        """Take a stranger's position over: protect it and let the exits have it, or close it at once."""
        core, symbol = self._core, found.symbol
        holding = core.portfolio.holdings.get(symbol)
        entry = self._made_up_entry(found, quantity, time) if holding is None else holding.entry
        fill = self._make_fill(symbol, found.side, abs(quantity), found.entry_price, found.update_time or time)
        holding = self._fills.enter(fill, entry)
        if core.setup.strangers == "flatten":
            self._fills.closes.close_at_once(holding, "stranger")

    def _made_up_entry(self, found: ExchangePosition, quantity: float, time: int) -> PendingEntry:
        core, symbol, side, price = self._core, found.symbol, found.side, found.entry_price
        rules = core.setup.rules[symbol]
        distance = _STOP_DISTANCES * core.setup.risk.min_stop_fraction * price
        order = Order(
            client_id=core.next_id(),
            position_id=core.next_id(),
            symbol=symbol,
            side=OrderSide(side),
            type=OrderType.MARKET,
            role=OrderRole.ENTRY,
            quantity=abs(quantity),
            time=time,
            leverage=1,
            reason="adopted",
        )
        proposal = Proposal(
            time=time,
            symbol=symbol,
            side=side,
            strategy=core.setup.strategies[0],
            price=price,
            stop=round_price(rules, price - side * distance, side),
            target=round_price(rules, price + 2 * side * distance, side),
            reason="adopted",
            confidence=float("nan"),
        )
        return PendingEntry(order, proposal, 0.0, rules.taker_fee + rules.slippage, None, 0, None)

    def _make_fill(self, symbol: str, side: int, quantity: float, price: float, time: int) -> Fill:
        """What the exchange did without telling: a fill of its own number, below zero."""
        client_id = self._core.next_id()
        return Fill(time, client_id, symbol, side, quantity, price, 0.0, -self._core.sequence)

    def _take_wallet(self, account: AccountState) -> None:
        """The exchange's balance is the truth: deposits, and fees that were not told, move balance and start alike."""
        core, portfolio = self._core, self._core.portfolio
        if portfolio.entries or any(self._is_moving(symbol) for symbol in portfolio.holdings):
            return
        difference = account.wallet - portfolio.wallet
        portfolio.wallet += difference
        portfolio.initial_equity += difference
        if core.gates.state.day >= 0:
            core.gates.state.day_equity += difference
