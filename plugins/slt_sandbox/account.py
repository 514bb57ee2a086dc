"""One account: its book, its orders, its settings, and who listens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.market import Book
    from slt_sandbox.algo_orders import AlgoRecord
    from slt_sandbox.orders import OrderRecord
    from slt_sandbox.position_margin import MarginMove

__all__ = ["Account", "Income", "TradeRow"]


@frozen
class TradeRow:
    """One execution, as userTrades lists it.

    Attributes:
        trade_id: The exchange's number.
        order: The order filled.
        price: Quote currency per unit.
        quantity: Base units.
        fee: Commission, quote currency.
        realised: Profit realised, before the commission.
        is_maker: The order rested.
        time: ms UTC.
    """

    trade_id: int
    order: OrderRecord
    price: float
    quantity: float
    fee: float
    realised: float
    is_maker: bool
    time: int


@frozen
class Income:
    """One change of the wallet.

    Attributes:
        transaction_id: The exchange's number.
        kind: `REALIZED_PNL`, `COMMISSION`, `FUNDING_FEE` or `INSURANCE_CLEAR`.
        symbol: Exchange name.
        amount: Quote currency; positive was received.
        time: ms UTC.
        trade_id: The execution it came from; 0 = none.
    """

    transaction_id: int
    kind: str
    symbol: str
    amount: float
    time: int
    trade_id: int


@define(eq=False, kw_only=True)
class Account:
    """An account and everything the exchange keeps of it.

    Attributes:
        api_key: Its key.
        secret: HMAC secret or PEM public key that signs for it.
        permissions: What the key may do: `futures`, `withdrawals`.
        book: The simulated account.
        asset: Currency of its wallet.
        orders: By order id.
        open_orders: The working ones, by order id.
        by_client: Latest order id of each client id.
        by_book: Record (order or conditional order) of each of the book's names.
        algos: By algo id.
        open_algos: The waiting ones, by algo id.
        algos_by_client: Latest algo id of each client id.
        trades: Executions, oldest first.
        income: Changes of the wallet, oldest first.
        realised: Profit realised per symbol, before commissions.
        updated: Last change of each symbol's position, ms UTC.
        naked_since: Symbols whose position has less protection than its size, and since when, ms UTC.
        called: Symbols that a margin call was sent for.
        margin_moves: Changes of isolated margins, oldest first.
        countdowns: When all orders of a symbol are cancelled, ms UTC.
        is_hedged: Hedge mode is set.
        is_multi_assets: Multi-assets mode is set.
        addresses: Addresses that the key may be used from; empty = any.
    """

    api_key: str
    secret: str
    permissions: frozenset[str]
    book: Book
    asset: str = "USDT"
    orders: dict[int, OrderRecord] = field(factory=dict)
    open_orders: dict[int, OrderRecord] = field(factory=dict)
    by_client: dict[str, int] = field(factory=dict)
    by_book: dict[str, OrderRecord | AlgoRecord] = field(factory=dict)
    algos: dict[int, AlgoRecord] = field(factory=dict)
    open_algos: dict[int, AlgoRecord] = field(factory=dict)
    algos_by_client: dict[str, int] = field(factory=dict)
    trades: list[TradeRow] = field(factory=list)
    income: list[Income] = field(factory=list)
    realised: dict[str, float] = field(factory=dict)
    updated: dict[str, int] = field(factory=dict)
    naked_since: dict[str, int] = field(factory=dict)
    called: set[str] = field(factory=set)
    margin_moves: list[MarginMove] = field(factory=list)
    countdowns: dict[str, int] = field(factory=dict)
    is_hedged: bool = False
    is_multi_assets: bool = False
    addresses: frozenset[str] = frozenset()
    listeners: list[Callable[[list[dict[str, Any]]], None]] = field(factory=list, repr=False)
    _pending: list[dict[str, Any]] = field(factory=list, repr=False)

    def quantity(self, symbol: str) -> float:
        """Signed base units held."""
        position = self.book.position(symbol)
        return position.side * position.quantity if position else 0.0

    def emit(self, event: dict[str, Any]) -> None:
        """Add a user event to those of this moment."""
        self._pending.append(event)

    def flush(self) -> None:
        """Give the events of this moment to everyone who listens."""
        if not self._pending:
            return
        events, self._pending = self._pending, []
        for listener in list(self.listeners):
            listener(list(events))
