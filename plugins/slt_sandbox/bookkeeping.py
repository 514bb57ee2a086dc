"""What the book did, written into orders, trades, ledger and user events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slt.types import Fill, FillCause, FundingPayment, OrderStatus, OrderUpdate
from slt_sandbox.account import Income, TradeRow
from slt_sandbox.algo_orders import AlgoRecord
from slt_sandbox.errors import MESSAGES, ApiError
from slt_sandbox.events import (
    account_update,
    algo_update,
    force_order,
    order_trade_update,
    trade_lite,
)
from slt_sandbox.numbers import number
from slt_sandbox.orders import OrderRecord
from slt_sandbox.protection import margin_warning, protection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from slt.types import PricePoint
    from slt_sandbox.account import Account
    from slt_sandbox.market import Market

__all__ = ["Bookkeeper", "raise_rejection"]

_CODE = re.compile(r"-\d{4}")
_DUST = 1e-9
_MONEY_PLACES = 8
_FORCED_NAMES = {FillCause.LIQUIDATION: "autoclose-", FillCause.AUTO_DELEVERAGING: "adl_autoclose"}
_SETTLEMENT = "settlement_autoclose-"
_REDUCE_ONLY = "-2022"


class Bookkeeper:
    """Writes down what happens to an account.

    Args:
        market: Shared state.
        account: The account.
    """

    def __init__(self, market: Market, account: Account) -> None:
        self._market = market
        self._account = account

    # -- states of orders ------------------------------------------------------------------------------------------

    def add_order(self, order: OrderRecord) -> None:
        """Keep a new order and tell of it."""
        account = self._account
        account.orders[order.order_id] = order
        account.open_orders[order.order_id] = order
        account.by_client[order.client_id] = order.order_id
        account.by_book[order.book_id] = order
        self._tell(order, "NEW", order.time)
        self._record(
            "order",
            order.symbol,
            client_id=order.client_id,
            order_id=order.order_id,
            side=order.side,
            type=order.type,
            quantity=float(order.quantity),
            price=float(order.price),
            reduce_only=order.reduce_only,
            algo_id=order.algo_id,
        )

    def add_algo(self, algo: AlgoRecord) -> None:
        """Keep a new conditional order and tell of it."""
        account = self._account
        account.algos[algo.algo_id] = algo
        account.open_algos[algo.algo_id] = algo
        account.algos_by_client[algo.client_id] = algo.algo_id
        account.by_book[f"a{algo.algo_id}"] = algo
        self._record(
            "algo",
            algo.symbol,
            client_id=algo.client_id,
            algo_id=algo.algo_id,
            side=algo.side,
            type=algo.type,
            quantity=float(algo.quantity),
            trigger_price=float(algo.trigger_price),
            reduce_only=algo.reduce_only,
        )
        self.change_algo(algo, "NEW", algo.time)

    def amend_order(self, order: OrderRecord) -> None:
        """Tell that an order has another quantity or price."""
        self._tell(order, "AMENDMENT", order.update_time)
        self._record(
            "amended",
            order.symbol,
            client_id=order.client_id,
            order_id=order.order_id,
            quantity=float(order.quantity),
            price=float(order.price),
        )

    def end_order(self, order: OrderRecord, status: str, expiry: int = 0) -> None:
        """Cancel or expire what is left of an order; the book has let it go already."""
        now = self._market.clock()
        order.status, order.expiry, order.update_time = status, expiry, now
        self._account.open_orders.pop(order.order_id, None)
        self._tell(order, status, now)
        kind = "cancelled" if status == "CANCELED" else "expired"
        self._record(kind, order.symbol, client_id=order.client_id, order_id=order.order_id, er=expiry)
        self._finish_algo(order)
        self.watch_protection(order.symbol)

    def change_algo(self, algo: AlgoRecord, status: str, time: int, reason: str = "") -> None:
        """Give a conditional order a new state and tell of it."""
        algo.status, algo.reason, algo.update_time = status, reason, time
        if not algo.is_open:
            self._account.open_algos.pop(algo.algo_id, None)
        self._account.emit(algo_update(self._market.clock(), time, algo))
        if status != "NEW":
            words = {"CANCELED": "algo_cancelled", "TRIGGERED": "algo_triggered"}
            kind = words.get(status, "algo_finished")
            self._record(kind, algo.symbol, client_id=algo.client_id, algo_id=algo.algo_id, status=status)
        self.watch_protection(algo.symbol)

    def _finish_algo(self, order: OrderRecord) -> None:
        algo = self._account.algos.get(order.algo_id)
        if algo is not None and algo.status == "TRIGGERED" and not order.is_open:
            self.change_algo(algo, "FINISHED", order.update_time)

    def note_refusal(self, symbol: str, client_id: str, error: ApiError) -> None:
        """Write down that an order was refused."""
        self._record("refused", symbol, client_id=client_id, code=error.code, msg=error.text)

    # -- what the book did -----------------------------------------------------------------------------------------

    def run(self, point: PricePoint) -> None:
        """Move the book's price to a point, and write down all that happens on the way."""
        book = self._account.book
        while True:
            wallet = book.wallet
            events = book.advance(point)
            if not events:
                return
            self.take(events, wallet)

    def take(self, events: Iterable[Fill | OrderUpdate | FundingPayment], wallet: float) -> None:
        """Write down what one step of the book gave.

        Args:
            events: As the book gave them; at most one of them is a fill.
            wallet: Wallet balance before the step.
        """
        for event in events:
            if isinstance(event, FundingPayment):
                self._take_funding(event)
            elif isinstance(event, Fill):
                self._take_fill(event, self._account.book.wallet - wallet + event.fee)
            elif event.status == OrderStatus.EXPIRED:
                self._take_expiry(event)

    def _take_fill(self, fill: Fill, realised: float) -> None:
        order = self._order_of(fill)
        account, now = self._account, self._market.clock()
        realised = round(realised, _MONEY_PLACES) + 0.0
        order.executed = float(round(number(order.executed) + number(fill.quantity), 12))
        order.quote += fill.quantity * fill.price
        order.update_time = fill.time
        is_done = order.left <= _DUST * float(order.quantity)
        order.status = "FILLED" if is_done else "PARTIALLY_FILLED"
        if is_done:
            account.open_orders.pop(order.order_id, None)
        trade = TradeRow(
            self._market.next_id("trade"),
            order,
            fill.price,
            fill.quantity,
            fill.fee,
            realised,
            fill.is_maker,
            fill.time,
        )
        account.trades.append(trade)
        account.realised[fill.symbol] = account.realised.get(fill.symbol, 0.0) + realised
        account.updated[fill.symbol] = fill.time
        self._add_income(trade)
        is_forced = fill.cause != FillCause.ORDER or fill.client_id.startswith("settlement")
        account.emit(trade_lite(now, fill.time, order, trade))
        account.emit(account_update(now, fill.time, account, "ORDER", (fill.symbol,)))
        is_liquidation = fill.cause == FillCause.LIQUIDATION
        self._tell(order, "CALCULATED" if is_liquidation else "TRADE", fill.time, trade)
        self._record_fill(order, trade, fill, is_forced=is_forced)
        if is_liquidation:
            self._market.tell(force_order(now, order))
        if is_done:
            self._finish_algo(order)
        self._after_position(fill, order)

    def _record_fill(self, order: OrderRecord, trade: TradeRow, fill: Fill, *, is_forced: bool) -> None:
        position = self._account.quantity(fill.symbol)
        before = position - fill.side * fill.quantity
        self._record(
            "fill",
            fill.symbol,
            client_id=order.client_id,
            order_id=order.order_id,
            trade_id=trade.trade_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            fee=fill.fee,
            realised=trade.realised,
            cause=fill.cause.value,
            is_forced=is_forced,
            position=position,
        )
        if abs(before) <= _DUST:
            self._record("opened", fill.symbol, client_id=order.client_id, quantity=position)
        elif before * position <= 0:
            self._record("closed", fill.symbol, client_id=order.client_id, quantity=0.0)

    def _after_position(self, fill: Fill, order: OrderRecord) -> None:
        if self._account.book.position(fill.symbol) is None:
            self._account.called.discard(fill.symbol)
            for algo in list(self._account.open_algos.values()):
                if algo.symbol == fill.symbol and algo.time_in_force == "GTE_GTC" and algo.order is not order:
                    self._account.book.cancel(algo.symbol, f"a{algo.algo_id}", fill.time)
                    self.change_algo(algo, "EXPIRED", fill.time)
        self.watch_protection(fill.symbol)

    def _order_of(self, fill: Fill) -> OrderRecord:
        """The order that a fill belongs to; a conditional order's first fill makes its order, a forced one too."""
        found = self._account.by_book.get(fill.client_id)
        if isinstance(found, OrderRecord):
            return found
        if isinstance(found, AlgoRecord):
            return self.trigger(found, fill.time, fill.client_id)
        prefix = _FORCED_NAMES.get(fill.cause, _SETTLEMENT)
        order_id = self._market.next_id("order")
        order = OrderRecord(
            order_id=order_id,
            client_id=prefix if prefix == "adl_autoclose" else f"{prefix}{order_id}",
            symbol=fill.symbol,
            side=fill.side,
            type="LIMIT",
            time_in_force="IOC",
            quantity=number(fill.quantity),
            price=number(fill.price),
            reduce_only=True,
            time=fill.time,
            update_time=fill.time,
            book_id=fill.client_id,
        )
        self._account.orders[order_id] = order
        self._account.by_client[order.client_id] = order_id
        return order

    def trigger(self, algo: AlgoRecord, time: int, book_id: str, quantity: Decimal | None = None) -> OrderRecord:
        """Make the order that a conditional order becomes, and tell of both."""
        algo.trigger_time = time
        order = OrderRecord(
            order_id=self._market.next_id("order"),
            client_id=algo.client_id,
            symbol=algo.symbol,
            side=algo.side,
            type="LIMIT" if algo.price else "MARKET",
            time_in_force="GTC" if algo.time_in_force == "GTE_GTC" else algo.time_in_force,
            quantity=algo.quantity if quantity is None else quantity,
            price=algo.price,
            reduce_only=algo.reduce_only,
            close_position=algo.close_position,
            time=time,
            update_time=time,
            book_id=book_id,
            algo_id=algo.algo_id,
            working_type=algo.working_type,
            price_match=algo.price_match,
        )
        algo.order = order
        self.add_order(order)
        self.change_algo(algo, "TRIGGERED", time)
        return order

    def _take_expiry(self, update: OrderUpdate) -> None:
        found = self._account.by_book.get(update.client_id)
        if isinstance(found, AlgoRecord):
            if found.order is None:
                short = "ReduceOnly Order is rejected." if _REDUCE_ONLY in update.reason else "Margin is insufficient."
                self.change_algo(found, "REJECTED", update.time, short)
                return
            found = found.order
        if found is not None and found.is_open:
            self.end_order(found, "EXPIRED", 4 if "reduce-only" in update.reason else 0)

    def _take_funding(self, payment: FundingPayment) -> None:
        account, now = self._account, self._market.clock()
        row = Income(
            self._market.next_id("transaction"), "FUNDING_FEE", payment.symbol, -payment.amount, payment.time, 0
        )
        account.income.append(row)
        is_isolated = account.book.margin_type(payment.symbol) == "isolated"
        symbols = (payment.symbol,) if is_isolated else ()
        paid, symbol = -payment.amount, payment.symbol
        account.emit(account_update(now, payment.time, account, "FUNDING_FEE", symbols, change=paid, funding=symbol))
        self._record("funding", payment.symbol, amount=payment.amount, rate=payment.rate)

    def watch_protection(self, symbol: str) -> None:
        """Note when a position begins or ends to have less protection by stops than its size."""
        account, now = self._account, self._market.clock()
        held = account.quantity(symbol)
        is_naked = bool(held) and protection(account, symbol, -1 if held > 0 else 1) < abs(held) * (1 - _DUST)
        if is_naked and symbol not in account.naked_since:
            account.naked_since[symbol] = now
            self._record("naked", symbol, quantity=held)
        elif not is_naked and symbol in account.naked_since:
            since = account.naked_since.pop(symbol)
            self._record("covered", symbol, quantity=held, naked_ms=now - since)

    def watch_margin(self, symbol: str) -> None:
        """Send a margin call when a position comes close to its liquidation."""
        call = margin_warning(self._market, self._account, symbol)
        if call is not None:
            self._account.emit(call)

    # -- small parts -----------------------------------------------------------------------------------------------

    def _add_income(self, trade: TradeRow) -> None:
        for kind, amount in (("REALIZED_PNL", trade.realised), ("COMMISSION", -trade.fee)):
            if amount:
                number_ = self._market.next_id("transaction")
                row = Income(number_, kind, trade.order.symbol, amount, trade.time, trade.trade_id)
                self._account.income.append(row)

    def _tell(self, order: OrderRecord, execution: str, time: int, trade: TradeRow | None = None) -> None:
        account = self._account
        account.emit(order_trade_update(self._market.clock(), time, order, execution, account.asset, trade))

    def _record(self, kind: str, symbol: str, **detail: object) -> None:
        self._market.ledger.record(self._market.clock(), kind, self._account.api_key, symbol, **detail)


def raise_rejection(events: list[Fill | OrderUpdate]) -> None:
    """Raise the book's rejection of an order, if it is one, in the exchange's words.

    Raises:
        ApiError: The book rejected it.
    """
    first = events[0]
    if not isinstance(first, OrderUpdate) or first.status != OrderStatus.REJECTED:
        return
    found = _CODE.search(first.reason)
    code = int(found.group()) if found else -1000
    text = MESSAGES.get(code, first.reason)
    raise ApiError(code, first.reason if "{" in text else text)
