"""Conditional orders of one account: placing, cancelling, setting off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.types import Order, OrderRole, OrderSide, OrderType, PricePoint
from slt_sandbox.bookkeeping import raise_rejection
from slt_sandbox.errors import MESSAGES, ApiError, refusal
from slt_sandbox.filters import check_notional, check_price, check_quantity
from slt_sandbox.numbers import number
from slt_sandbox.price_match import NO_MATCH, match_price
from slt_sandbox.triggers import first_trigger, follow

if TYPE_CHECKING:
    from slt_sandbox.account import Account
    from slt_sandbox.algo_orders import AlgoRecord
    from slt_sandbox.bookkeeping import Bookkeeper
    from slt_sandbox.market import Market

__all__ = ["AlgoTrading"]


class AlgoTrading:
    """The conditional orders of one account.

    Plain stops and take-profits wait in the book; those with a limit price, trailing ones, and those that close the
    whole position are watched here: the book's price is moved to where one of them is set off, and then on.

    Args:
        market: Shared state.
        account: The account.
        keeper: Writes down what happens.
    """

    def __init__(self, market: Market, account: Account, keeper: Bookkeeper) -> None:
        self._market = market
        self._account = account
        self._keeper = keeper

    def place(self, algo: AlgoRecord) -> AlgoRecord:
        """Take a conditional order.

        Raises:
            ApiError: Why not; nothing has changed then.
        """
        try:
            self._check(algo)
            algo.algo_id = self._market.next_id("algo")
            algo.client_id = algo.client_id or f"auto_{algo.algo_id}"
            algo.time = algo.update_time = self._market.clock()
            if algo.is_in_book:
                raise_rejection(self._account.book.submit(self._book_stop(algo)))
        except ApiError as error:
            self._keeper.note_refusal(algo.symbol, algo.client_id, error)
            raise
        follow(algo, self._market.quotes[algo.symbol].last)
        self._keeper.add_algo(algo)
        return algo

    def _check(self, algo: AlgoRecord) -> None:
        self._market.check_open(algo.symbol, reduce_only=algo.reduce_only)
        rules = self._market.rules[algo.symbol]
        for price in (algo.price, algo.trigger_price, algo.activate_price):
            if price:
                check_price(rules, price)
        if not algo.close_position:
            check_quantity(rules, algo.quantity, is_market=not algo.is_limit)
        reference = algo.price or algo.trigger_price
        if reference and not algo.reduce_only:
            check_notional(rules, algo.quantity, reference)
        if algo.trigger_price or not algo.activate_price:
            self._check_trigger(algo)
        known = self._account.open_algos.get(self._account.algos_by_client.get(algo.client_id, 0))
        if algo.client_id and known is not None:
            raise refusal(-4116)
        if len(self._account.open_algos) >= self._market.settings.max_algo_orders:
            raise refusal(-4045)

    def _check_trigger(self, algo: AlgoRecord) -> None:
        if not algo.trigger_price:
            return
        last = self._market.quotes[algo.symbol].last
        if first_trigger([algo], last, last, is_gap=False) is not None:
            raise refusal(-2021)

    def _book_stop(self, algo: AlgoRecord) -> Order:
        role = OrderRole.STOP if algo.is_stop else OrderRole.TARGET
        return Order(
            client_id=f"a{algo.algo_id}",
            position_id="",
            symbol=algo.symbol,
            side=OrderSide(algo.side),
            type=OrderType(algo.type),
            role=role if algo.reduce_only else OrderRole.ENTRY,
            quantity=float(algo.quantity),
            time=self._market.now(algo.symbol),
            stop_price=float(algo.trigger_price),
            reduce_only=algo.reduce_only,
        )

    def find(self, algo_id: int, client_id: str) -> AlgoRecord | None:
        """A conditional order by its number or its client id; None = unknown."""
        return self._account.algos.get(algo_id or self._account.algos_by_client.get(client_id, 0))

    def cancel(self, algo_id: int, client_id: str) -> AlgoRecord:
        """Cancel a waiting conditional order.

        Raises:
            ApiError: -2011, it does not wait.
        """
        algo = self.find(algo_id, client_id)
        if algo is None or not algo.is_open:
            raise refusal(-2011)
        self._withdraw(algo)
        return algo

    def cancel_all(self, symbol: str, status: str = "CANCELED") -> list[AlgoRecord]:
        """Cancel (or let expire) all waiting conditional orders of a symbol."""
        algos = [algo for algo in self._account.open_algos.values() if algo.symbol == symbol]
        for algo in algos:
            self._withdraw(algo, status)
        return algos

    def _withdraw(self, algo: AlgoRecord, status: str = "CANCELED") -> None:
        now = self._market.clock()
        self._account.book.cancel(algo.symbol, f"a{algo.algo_id}", now)
        self._keeper.change_algo(algo, status, now)

    def advance(self, point: PricePoint, start: float) -> None:
        """Move the book's price to a point, and set off what is met on the way.

        Args:
            point: The price to come.
            start: The price now; NaN where none is known.
        """
        symbol = point.symbol
        watched = [one for one in self._account.open_algos.values() if one.symbol == symbol and not one.is_in_book]
        while watched:
            met = first_trigger(watched, start, point.price, is_gap=point.is_gap)
            if met is None:
                break
            start, algo = met
            watched.remove(algo)
            self._keeper.run(PricePoint(point.time, symbol, start, point.is_gap))
            if algo.is_open:
                self._set_off(algo, PricePoint(point.time, symbol, start))
        self._keeper.run(point)
        for algo in watched:
            if algo.is_open and follow(algo, point.price):
                self._keeper.change_algo(algo, "NEW", point.time)

    def _set_off(self, algo: AlgoRecord, point: PricePoint) -> None:
        """Turn a conditional order into an order."""
        wallet, held = self._account.book.wallet, self._account.quantity(algo.symbol)
        if algo.reduce_only and held * algo.side >= 0:
            self._keeper.change_algo(algo, "REJECTED", point.time, MESSAGES[-2022])
            return
        quantity = number(abs(held)) if algo.close_position else algo.quantity
        book_id = f"a{algo.algo_id}"
        if algo.price_match != NO_MATCH:
            algo.price = match_price(algo.price_match, algo.side, point.price, self._market.rules[algo.symbol])
        kind = OrderType.LIMIT if algo.is_limit else OrderType.MARKET
        events = self._account.book.submit(
            Order(
                client_id=book_id,
                position_id="",
                symbol=algo.symbol,
                side=OrderSide(algo.side),
                type=kind,
                role=OrderRole.STOP if algo.reduce_only else OrderRole.ENTRY,
                quantity=float(quantity),
                time=point.time,
                price=float(algo.price) if algo.price else None,
                reduce_only=algo.reduce_only,
            )
        )
        try:
            raise_rejection(events)
        except ApiError as error:
            self._keeper.change_algo(algo, "REJECTED", point.time, error.text)
            return
        self._keeper.trigger(algo, point.time, book_id, quantity)
        self._keeper.take(events, wallet)
        if kind == OrderType.MARKET:
            self._keeper.run(point)
