"""Placing, cancelling and modifying orders of one account, and moving its prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from slt.types import Order, OrderRole, OrderSide, OrderType, OrderUpdate, PricePoint
from slt_sandbox.algo_trading import AlgoTrading
from slt_sandbox.bookkeeping import Bookkeeper, raise_rejection
from slt_sandbox.errors import ApiError, refusal
from slt_sandbox.filters import check_notional, check_percent, check_price, check_quantity
from slt_sandbox.numbers import number, plain
from slt_sandbox.orders import OrderRecord, OrderRequest
from slt_sandbox.price_match import NO_MATCH, match_price

if TYPE_CHECKING:
    from decimal import Decimal

    from slt.types import Fill, FillCause
    from slt_sandbox.account import Account
    from slt_sandbox.market import Market
    from slt_sandbox.orders import Amendment

__all__ = ["Trading"]

_MAX_EDITS = 10_000


class Trading:
    """The trading desk of one account.

    Attributes:
        account: The account.
        algos: Its conditional orders.

    Args:
        market: Shared state.
        account: The account.
    """

    def __init__(self, market: Market, account: Account) -> None:
        self._market = market
        self.account = account
        self._keeper = Bookkeeper(market, account)
        self.algos = AlgoTrading(market, account, self._keeper)

    # -- orders ----------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest) -> OrderRecord:
        """Take an order.

        Raises:
            ApiError: Why not; nothing has changed then.
        """
        try:
            request = self._priced(request)
            self._check(request)
            return self._take(request)
        except ApiError as error:
            self._keeper.note_refusal(request.symbol, request.client_id, error)
            raise

    def check(self, request: OrderRequest) -> None:
        """Judge an order without taking it (the test endpoint)."""
        self._check(self._priced(request))

    def _priced(self, request: OrderRequest) -> OrderRequest:
        """The order with the price that it left to the book."""
        if request.price_match == NO_MATCH or request.symbol not in self._market.rules:
            return request
        return evolve(request, price=self._match(request.symbol, request.price_match, request.side))

    def _match(self, symbol: str, mode: str, side: int) -> Decimal:
        return match_price(mode, side, self._market.quotes[symbol].last, self._market.rules[symbol])

    def _check(self, request: OrderRequest) -> None:
        self._market.check_open(request.symbol, reduce_only=request.reduce_only)
        rules = self._market.rules[request.symbol]
        last, is_limit = self._market.quotes[request.symbol].last, request.type == "LIMIT"
        check_quantity(rules, request.quantity, is_market=not is_limit)
        if is_limit:
            check_price(rules, request.price)
            check_percent(rules, request.side, request.price, last)
        known = request.price if is_limit else None if last != last else number(last)  # noqa: PLR0124 - no price yet
        if known is not None and not request.reduce_only:
            check_notional(rules, request.quantity, known)
        self._check_unique(request.client_id)
        would_take = is_limit and request.side * (float(request.price) - last) >= 0
        if request.time_in_force == "GTX" and would_take:
            raise refusal(-5022)
        if request.time_in_force == "FOK" and not would_take:
            raise refusal(-5021)

    def _check_unique(self, client_id: str) -> None:
        order = self.account.open_orders.get(self.account.by_client.get(client_id, 0))
        if client_id and order is not None:
            raise refusal(-4116)

    def _take(self, request: OrderRequest) -> OrderRecord:
        now, wallet = self._market.clock(), self.account.book.wallet
        order_id = self._market.next_id("order")
        order = OrderRecord(
            order_id=order_id,
            client_id=request.client_id or f"auto_{order_id}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            quantity=request.quantity,
            price=request.price,
            reduce_only=request.reduce_only,
            time=now,
            update_time=now,
            book_id=f"o{order_id}",
            good_till=request.good_till,
            stp=request.stp,
            price_match=request.price_match,
        )
        events = self._submit(order, request.quantity)
        self._keeper.add_order(order)
        self._keeper.take(events, wallet)
        is_now = self._market.settings.market_fill == "at_once" and not self._market.is_between_bars()
        if order.type == "MARKET" and is_now:
            self._fill_now(order.symbol)
        if order.is_open and order.time_in_force in {"IOC", "FOK"} and order.type == "LIMIT":
            self.account.book.cancel(order.symbol, order.book_id, now)
            self._keeper.end_order(order, "EXPIRED", 2)
        self._keeper.watch_margin(order.symbol)
        return order

    def _submit(self, order: OrderRecord, quantity: Decimal) -> list[Fill | OrderUpdate]:
        """Give an order to the book; its refusal is the exchange's."""
        is_limit = order.type == "LIMIT"
        events = self.account.book.submit(
            Order(
                client_id=order.book_id,
                position_id="",
                symbol=order.symbol,
                side=OrderSide(order.side),
                type=OrderType.LIMIT if is_limit else OrderType.MARKET,
                role=OrderRole.EXIT if order.reduce_only else OrderRole.ENTRY,
                quantity=float(quantity),
                time=self._market.now(order.symbol),
                price=float(order.price) if is_limit else None,
                reduce_only=order.reduce_only,
            )
        )
        raise_rejection(events)
        return events

    def _fill_now(self, symbol: str) -> None:
        last = self._market.quotes[symbol].last
        if last == last:  # noqa: PLR0124 - NaN: no price yet
            self._keeper.run(PricePoint(self._market.now(symbol), symbol, last))

    def find(self, symbol: str, order_id: int, client_id: str) -> OrderRecord | None:
        """An order by its number or its client id, the latest of that id; None = unknown."""
        wanted = order_id or self.account.by_client.get(client_id, 0)
        order = self.account.orders.get(wanted)
        return order if order is not None and order.symbol == symbol else None

    def cancel(self, symbol: str, order_id: int, client_id: str) -> OrderRecord:
        """Cancel a working order.

        Raises:
            ApiError: -2011, it does not work.
        """
        order = self.find(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise refusal(-2011)
        self._withdraw(order)
        return order

    def cancel_all(self, symbol: str) -> list[OrderRecord]:
        """Cancel all working orders of a symbol."""
        orders = [order for order in self.account.open_orders.values() if order.symbol == symbol]
        for order in orders:
            self._withdraw(order)
        return orders

    def _withdraw(self, order: OrderRecord, status: str = "CANCELED", expiry: int = 0) -> None:
        self.account.book.cancel(order.symbol, order.book_id, self._market.clock())
        self._keeper.end_order(order, status, expiry)

    def amend(self, symbol: str, order_id: int, client_id: str, wanted: Amendment) -> OrderRecord:
        """Give a working limit order another quantity and price; it loses its place in the queue.

        One that has filled so much already, or may only rest and would take now, is cancelled.

        Raises:
            ApiError: Why not; the order works on as it was.
        """
        order = self.find(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise refusal(-2013)
        price = wanted.price
        if wanted.price_match != NO_MATCH:
            price = self._match(symbol, wanted.price_match, order.side)
        self._check_amendment(order, wanted, price)
        last = self._market.quotes[symbol].last
        would_take = order.time_in_force == "GTX" and order.side * (float(price) - last) >= 0
        if float(wanted.quantity) <= order.executed or would_take:
            self._withdraw(order)
            return order
        self._replace(order, wanted, price)
        return order

    def _check_amendment(self, order: OrderRecord, wanted: Amendment, price: Decimal) -> None:
        if self._market.quotes[order.symbol].status != "TRADING":
            raise refusal(-5024)
        if order.type != "LIMIT":
            raise refusal(-5025)
        if wanted.reduce_only and not order.reduce_only:
            raise refusal(-5047)
        if (wanted.quantity, price) == (order.quantity, order.price):
            raise refusal(-5027)
        if order.edits >= _MAX_EDITS:
            raise refusal(-5026)
        rules = self._market.rules[order.symbol]
        check_quantity(rules, wanted.quantity, is_market=False)
        check_price(rules, price)
        check_percent(rules, order.side, price, self._market.quotes[order.symbol].last)
        if not order.reduce_only and wanted.quantity * price < rules.min_notional:
            raise refusal(-5029, notional=plain(rules.min_notional))

    def _replace(self, order: OrderRecord, wanted: Amendment, price: Decimal) -> None:
        account, old = self.account, (order.quantity, order.price)
        wallet = account.book.wallet
        account.book.cancel(order.symbol, order.book_id, self._market.clock())
        try:
            events = self._resubmit(order, wanted.quantity, price)
        except ApiError:
            self._keeper.take(self._resubmit(order, *old), wallet)
            raise
        order.update_time = self._market.clock()
        order.stp, order.price_match, order.modify_id = "NONE", wanted.price_match, wanted.modify_id
        self._keeper.amend_order(order)
        self._keeper.take(events, wallet)

    def _resubmit(self, order: OrderRecord, quantity: Decimal, price: Decimal) -> list[Fill | OrderUpdate]:
        order.edits += 1
        order.quantity, order.price, order.book_id = quantity, price, f"o{order.order_id}e{order.edits}"
        self.account.by_book[order.book_id] = order
        return self._submit(order, quantity - number(order.executed))

    # -- prices ----------------------------------------------------------------------------------------------------

    def advance(self, point: PricePoint, start: float) -> None:
        """Move a symbol's price.

        Args:
            point: The price to come.
            start: The price now; NaN where none is known.
        """
        self.algos.advance(point, start)
        self._keeper.watch_margin(point.symbol)

    def expire(self) -> None:
        """Cancel what has outlived its time: orders good till a date, and dead men's switches."""
        now, account = self._market.clock(), self.account
        for order in [one for one in account.open_orders.values() if 0 < one.good_till <= now]:
            self._withdraw(order, "EXPIRED")
        wall = self._market.wall()
        for symbol in [symbol for symbol, deadline in account.countdowns.items() if deadline <= wall]:
            del account.countdowns[symbol]
            self.cancel_all(symbol)

    # -- the exchange's own acts -----------------------------------------------------------------------------------

    def force_close(self, symbol: str, cause: FillCause, fraction: float = 1.0) -> None:
        """Close (a share of) a position at the last price, as liquidation, auto-deleveraging or settlement."""
        wallet = self.account.book.wallet
        events = self.account.book.force_close(symbol, self._market.now(symbol), cause, fraction)
        self._keeper.take(events, wallet)

    def end_all(self, symbol: str, expiry: int) -> None:
        """Expire every order of a symbol."""
        for order in [one for one in self.account.open_orders.values() if one.symbol == symbol]:
            self._withdraw(order, "EXPIRED", expiry)
        self.algos.cancel_all(symbol, "EXPIRED")
