"""The matcher: one account's orders against a path of prices.

A symbol's price moves from where it is to each `PricePoint` in a straight line; orders fill in the order in which the
line crosses their levels. After a gap there is no line: every level passed fills at the point's price. At one price the
order is liquidation, stop, exit, target, then age. Rules, in full:

* A stop or take-profit fills at its level plus slippage, a limit at its own price as maker, each in full at a touch; a
  limit that the market has already passed when it arrives fills at once at the last price as taker, without slippage.
* A market order fills at the next point that the book is given. One with a `level` fills there if the price crosses it
  on the way (to the next point, or to the one under way), else at the end of the way.
* With `MarketSettings.fill_slices` an order fills in parts, one at each point that sets it off; a stop or take-profit
  is a market order after its first.
* A reduce-only order shrinks to the position (the rest expires) and expires when there is none to reduce.
* An entry that cannot be paid for is rejected when it comes, or expires when it would fill.
* The last price stands in for the mark price.
* Liquidation closes the whole position at the liquidation price, or at the gap price, but never beyond the bankruptcy
  price: from there on the insurance fund bears the loss. No slippage; the fee is the liquidation fee.
* Funding due is settled when the first price at or after its time comes, on the position held before it, at the last
  price.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import evolve

from slt.errors import BrokerError
from slt.market._admission import inspect_order, reservation
from slt.market._crossing import crossing, level_of, passed
from slt.market._desk import AccountDesk
from slt.market._plain import as_plain, event_from
from slt.market._slots import Slot, Working, new_slot
from slt.market.account import MarginAccount, MarketSettings
from slt.market.margin import unrealised_pnl
from slt.rules import floor_quantity
from slt.types import (
    Fill,
    FillCause,
    FundingPayment,
    Order,
    OrderRole,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PricePoint,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slt.types import FundingRates, SymbolRules

__all__ = ["Book"]

Event = Fill | OrderUpdate | FundingPayment

_PRIORITY = {OrderRole.STOP: 1, OrderRole.EXIT: 2, OrderRole.TARGET: 3, OrderRole.ENTRY: 4}
_REMEMBERED = 500
"""Finished orders that are remembered, for questions and against sending twice."""
_FORCED_IDS = {
    FillCause.LIQUIDATION: "autoclose",
    FillCause.AUTO_DELEVERAGING: "adl",
    FillCause.ORDER: "settlement",
}
_NOISE = 1e-9
"""Quote currency, or share of an amount, that is float noise."""


class Book(AccountDesk):
    """A simulated exchange for one account in one-way mode. Plain state, no I/O, no clock, no randomness.

    Args:
        rules: Trading rules per symbol, fees and slippage included.
        wallet: Wallet balance to start with, quote currency.
        settings: Margin type, default leverage, liquidation fee; None = the defaults.
        funding: Funding per symbol, where known; None = no funding.

    Raises:
        DataError: A funding rate is not a finite number, or its times do not rise.
    """

    def __init__(
        self,
        rules: Mapping[str, SymbolRules],
        wallet: float,
        settings: MarketSettings | None = None,
        funding: Mapping[str, FundingRates] | None = None,
    ) -> None:
        settings, rates = settings or MarketSettings(), funding or {}
        leverage, is_isolated = settings.default_leverage, settings.margin_type == "isolated"
        slots = {
            symbol: new_slot(one, leverage, rates.get(symbol), is_isolated=is_isolated) for symbol, one in rules.items()
        }
        super().__init__(wallet, settings, slots)
        self._history: dict[str, list[Fill | OrderUpdate]] = {}
        self._sequence = 0
        self._trade_id = 0

    def add_symbols(self, rules: Mapping[str, SymbolRules], funding: Mapping[str, FundingRates] | None = None) -> None:
        """Let more symbols be traded; those known already stay as they are.

        Args:
            rules: Their rules.
            funding: Their funding, where known.
        """
        leverage, is_isolated = self.settings.default_leverage, self.settings.margin_type == "isolated"
        for symbol, one in rules.items():
            if symbol not in self._slots:
                rates = (funding or {}).get(symbol)
                self._slots[symbol] = new_slot(one, leverage, rates, is_isolated=is_isolated)

    # -- orders ----------------------------------------------------------------------------------------------------

    def submit(self, order: Order) -> list[Fill | OrderUpdate]:
        """Take an order.

        Args:
            order: On the symbol's grids; the book repairs float noise and nothing else.

        Returns:
            Its acceptance (with the fill, for a limit that can trade at once) or its rejection with the exchange's
            code; for a client id seen before, all that is known of that order.
        """
        known = self._history.get(order.client_id)
        if known is not None:
            return list(known)
        self._forget()
        slot = self._slots.get(order.symbol)
        if slot is None:
            return [self._update(order, order.time, OrderStatus.REJECTED, f"no rules for {order.symbol} (-1121)")]
        is_fresh = slot.time + self.settings.price_life_ms >= order.time and not math.isnan(slot.last)
        order, reason = inspect_order(order, slot, self._account, is_fresh=is_fresh)
        if reason:
            return [self._update(order, order.time, OrderStatus.REJECTED, reason)]
        return self._accept(order, slot, is_fresh=is_fresh)

    def cancel(self, symbol: str, client_id: str, time: int) -> list[Fill | OrderUpdate]:
        """Cancel a working order; empty when it is not working."""
        slot = self._slots.get(symbol)
        for working in slot.orders if slot else ():
            if slot and working.order.client_id == client_id:
                self._remove(slot, working)
                self._refresh(slot)
                return [self._update(working.order, time, OrderStatus.CANCELLED)]
        return []

    def query(self, client_id: str) -> list[Fill | OrderUpdate]:
        """Everything known of an order, oldest first; empty: never seen."""
        return list(self._history.get(client_id, ()))

    def _accept(self, order: Order, slot: Slot, *, is_fresh: bool) -> list[Fill | OrderUpdate]:
        reserved = reservation(order, slot, self._account)
        if not order.reduce_only:
            slot.leverage = order.leverage
        if not is_fresh and not slot.quantity and not slot.orders:
            # Nobody followed this symbol: its last price says nothing about where the price is now.
            slot.last = math.nan
        events: list[Fill | OrderUpdate] = [self._update(order, order.time, OrderStatus.ACCEPTED)]
        if is_fresh and order.type == OrderType.LIMIT and order.side * (level_of(order) - slot.last) >= 0:
            part = self._new_working(order, slot, 0.0)
            events += self._fill(part, slot, slot.last, order.time, is_maker=False)
        else:
            self._account.reserved += reserved
            slot.orders.append(self._new_working(order, slot, reserved))
        self._refresh(slot)
        return events

    def _new_working(self, order: Order, slot: Slot, reserved: float) -> Working:
        self._sequence += 1
        is_market = order.type == OrderType.MARKET
        direction = order.side if order.type == OrderType.STOP_MARKET else -order.side
        slices = self.settings.fill_slices
        part = floor_quantity(slot.rules, order.quantity / slices, is_market=is_market) if slices > 1 else 0.0
        return Working(
            order=order,
            level=order.level if is_market else level_of(order),
            direction=0 if is_market else direction,
            priority=_PRIORITY[order.role],
            sequence=self._sequence,
            reserved=reserved,
            is_ready=not is_market or order.level is not None,
            slice=part,
        )

    # -- prices ----------------------------------------------------------------------------------------------------

    def advance(self, point: PricePoint) -> list[Event]:
        """Move a symbol's price towards a point, up to and including the first thing that happens on the way.

        Args:
            point: The next price of its symbol; or, after an answer that was not empty, the same point again, to go on
                with the way to it.

        Returns:
            What happened, in order: funding due, or the first fill or expiry. Empty: the price has arrived.

        Raises:
            BrokerError: The symbol has no rules, or the price is not above 0.
        """
        slot = self._slots.get(point.symbol) or self._slot(point.symbol)
        price = point.price
        if not slot.is_underway or price != slot.price or point.time != slot.time or point.is_gap != slot.is_gap:
            events = self._begin(slot, point)
            if events:
                return events
        if not slot.is_slow and slot.floor < price < slot.ceiling:
            slot.last = price
            slot.is_underway = False
            return []
        events = self._match(slot, point)
        slot.is_underway = bool(events)
        return events

    def _begin(self, slot: Slot, point: PricePoint) -> list[Event]:
        """Take a new point: market orders may fill now, and funding that has come due is paid."""
        if not 0 < point.price < math.inf:
            raise BrokerError(f"{point.symbol}: found the price {point.price} at {point.time}, allowed is above 0")
        slot.time, slot.price, slot.is_gap, slot.is_underway = point.time, point.price, point.is_gap, True
        if slot.is_slow:
            for working in slot.orders:
                working.is_ready = True
        return self._settle(slot, point) if point.time >= slot.funding_time else []

    def _settle(self, slot: Slot, point: PricePoint) -> list[Event]:
        """Pay the funding that has come due."""
        first = slot.funding_index
        slot.seek_funding()
        if not slot.quantity:
            return []
        payments: list[Event] = []
        for index in range(first, slot.funding_index):
            rate = slot.funding_rates[index]
            amount = self._account.pay_funding(slot, rate)
            payments.append(FundingPayment(slot.funding_times[index], point.symbol, rate, amount))
        self._refresh(slot)
        return payments

    def _match(self, slot: Slot, point: PricePoint) -> list[Event]:
        """The first thing that the way from the last price to the point sets off."""
        start, price = slot.last, point.price
        is_gap = point.is_gap or math.isnan(start)
        start = price if is_gap else start
        best: tuple[float, int, int] | None = None
        chosen: Working | None = None
        reference = price
        for working in slot.orders:
            found = crossing(working, start, price)
            if found is not None:
                key = (abs(found - start), working.priority, working.sequence)
                if best is None or key < best:
                    best, chosen, reference = key, working, found
        forced = self._liquidation_crossing(slot, start, price)
        if forced is not None and (best is None or (abs(forced - start), 0, 0) < best):
            slot.last = forced
            return self._liquidate(slot, point, forced)
        slot.last = reference
        if chosen is None:
            self._refresh(slot)
            return []
        self._remove(slot, chosen)
        is_maker = chosen.order.type == OrderType.LIMIT
        events = self._fill(chosen, slot, reference, point.time, is_maker=is_maker)
        self._refresh(slot)
        return list(events)

    def _liquidation_crossing(self, slot: Slot, start: float, price: float) -> float | None:
        if not slot.quantity:
            return None
        level = slot.liquidation if slot.is_isolated else self._account.liquidation_price(slot)
        return None if level is None else passed(level, -slot.side, start, price)

    def _liquidate(self, slot: Slot, point: PricePoint, reference: float) -> list[Event]:
        price = self._account.bounded(slot, reference)
        asked = abs(slot.quantity) * price * self.settings.liquidation_fee_fraction
        if slot.is_isolated:
            backing = slot.margin + unrealised_pnl(slot.side, abs(slot.quantity), slot.entry_price, price)
            asked = min(asked, max(0.0, backing))
        return [self._force(slot, abs(slot.quantity), price, asked, point.time, FillCause.LIQUIDATION)]

    def force_close(self, symbol: str, time: int, cause: FillCause, fraction: float = 1.0) -> list[Event]:
        """Close a position, or a share of it, at the last price as the exchange's own act.

        Args:
            symbol: Exchange name.
            time: ms UTC.
            cause: LIQUIDATION asks the liquidation fee; the others none.
            fraction: Share of the position, above 0, at most 1; rounded down to the step unless 1.

        Returns:
            The fill; empty where there is nothing to close.
        """
        slot = self._slot(symbol)
        if not slot.quantity or math.isnan(slot.last):
            return []
        if cause == FillCause.LIQUIDATION:
            return self._liquidate(slot, PricePoint(time, symbol, slot.last), slot.last)
        held = abs(slot.quantity)
        quantity = held if fraction >= 1 else floor_quantity(slot.rules, held * fraction)
        return (
            [self._force(slot, quantity, self._account.bounded(slot, slot.last), 0.0, time, cause)] if quantity else []
        )

    def move_margin(self, symbol: str, amount: float) -> None:
        """Put money of the wallet behind an isolated position (above 0), or take some of its margin back (below 0).

        Args:
            symbol: Exchange name.
            amount: Quote currency; the caller has seen to it that there is so much.

        Raises:
            BrokerError: The symbol has no isolated position.
        """
        slot = self._slot(symbol)
        if not slot.quantity or not slot.is_isolated:
            raise BrokerError(f"{symbol}: only an isolated position has a margin of its own")
        slot.margin += amount
        self._refresh(slot)

    def _force(self, slot: Slot, quantity: float, price: float, fee: float, time: int, cause: FillCause) -> Fill:
        self._trade_id += 1
        side, symbol = -slot.side, slot.rules.symbol
        fill = Fill(
            time=time,
            client_id=f"{_FORCED_IDS[cause]}-{self._trade_id}",
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price,
            fee=self._account.trade(symbol, slot, side * quantity, price, fee),
            trade_id=self._trade_id,
            cause=cause,
        )
        self._history[fill.client_id] = [fill]
        self._refresh(slot)
        return fill

    def _fill(
        self, working: Working, slot: Slot, reference: float, time: int, *, is_maker: bool
    ) -> list[Fill | OrderUpdate]:
        """Fill an order, or its next slice; what is left of it works on at the points after this one."""
        order, part = working.order, working.slice
        if not 0 < part < order.quantity:
            return self._execute(order, slot, reference, time, is_maker=is_maker)
        events = self._execute(evolve(order, quantity=part), slot, reference, time, is_maker=is_maker)
        left = (
            round(order.quantity - part, 12) if slot.decimals is None else round(order.quantity - part, slot.decimals)
        )
        if left > 0 and all(isinstance(event, Fill) for event in events):
            working.order = evolve(order, quantity=left)
            working.is_ready = False
            if order.type != OrderType.LIMIT:
                working.level, working.direction = None, 0
            working.reserved = reservation(working.order, slot, self._account)
            self._account.reserved += working.reserved
            slot.orders.append(working)
        return events

    def _execute(
        self, order: Order, slot: Slot, reference: float, time: int, *, is_maker: bool
    ) -> list[Fill | OrderUpdate]:
        """Fill an order at a price, shrink it, or let it expire."""
        signed, rules = order.side * order.quantity, slot.rules
        if order.reduce_only:
            if slot.quantity * order.side >= 0:
                reason = "reduce-only: there is no position to reduce (-2022)"
                return [self._update(order, time, OrderStatus.EXPIRED, reason)]
            signed = order.side * min(order.quantity, abs(slot.quantity))
        price = reference if order.type == OrderType.LIMIT else reference * (1 + order.side * rules.slippage)
        if slot.quantity * order.side < 0:
            price = self._account.bounded(slot, price)
        if not order.reduce_only:
            needed = self._account.opening_cost(slot, signed, price, slot.leverage)
            if needed > self._account.available() * (1 + _NOISE):
                return [self._update(order, time, OrderStatus.EXPIRED, "margin is insufficient at the fill (-2019)")]
        quantity = abs(signed)
        fee = quantity * price * (rules.maker_fee if is_maker else rules.taker_fee)
        self._trade_id += 1
        fill = Fill(
            time=time,
            client_id=order.client_id,
            symbol=order.symbol,
            side=int(order.side),
            quantity=quantity,
            price=price,
            fee=self._account.trade(order.symbol, slot, signed, price, fee),
            trade_id=self._trade_id,
            is_maker=is_maker,
            slippage=max(0.0, order.side * (price - reference) * quantity),
        )
        self._history[order.client_id].append(fill)
        if quantity == order.quantity:
            return [fill]
        return [fill, self._update(order, time, OrderStatus.EXPIRED, "reduce-only: shrunk to the position")]

    # -- small parts -----------------------------------------------------------------------------------------------

    def _remove(self, slot: Slot, working: Working) -> None:
        slot.orders.remove(working)
        self._account.reserved -= working.reserved
        if abs(self._account.reserved) < _NOISE:
            self._account.reserved = 0.0

    def _update(self, order: Order, time: int, status: OrderStatus, reason: str = "") -> OrderUpdate:
        update = OrderUpdate(time, order.client_id, order.symbol, status, reason)
        self._history.setdefault(order.client_id, []).append(update)
        return update

    def _refresh(self, slot: Slot) -> None:
        """Bring the bounds within which nothing can happen up to date."""
        floor, ceiling, is_slow = -math.inf, math.inf, False
        for working in slot.orders:
            if working.level is None or not working.direction:
                is_slow = True
            elif working.direction < 0:
                floor = max(floor, working.level)
            else:
                ceiling = min(ceiling, working.level)
        slot.liquidation = None
        if slot.quantity and slot.is_isolated:
            slot.liquidation = self._account.liquidation_price(slot)
            if slot.liquidation is not None and slot.quantity > 0:
                floor = max(floor, slot.liquidation)
            elif slot.liquidation is not None:
                ceiling = min(ceiling, slot.liquidation)
        is_slow = is_slow or bool(slot.quantity and not slot.is_isolated)
        slot.floor, slot.ceiling = floor, ceiling
        slot.is_slow = is_slow or not floor < slot.last < ceiling

    def _forget(self) -> None:
        """Drop the oldest finished orders once there are many more than need remembering."""
        if len(self._history) < 2 * _REMEMBERED:
            return
        working = {one.order.client_id for slot in self._slots.values() for one in slot.orders}
        for client_id in list(self._history)[:_REMEMBERED]:
            if client_id not in working:
                del self._history[client_id]

    # -- snapshots -------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Give the whole state as plain data: numbers, texts, lists and dicts."""
        return {
            "wallet": self._account.wallet,
            "reserved": self._account.reserved,
            "sequence": self._sequence,
            "trade_id": self._trade_id,
            "slots": {symbol: slot.pack() for symbol, slot in self._slots.items()},
            "held": list(self._account.held),
            "history": {client_id: [as_plain(e) for e in events] for client_id, events in self._history.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave; rules, settings and funding stay those of this book.

        Args:
            state: As given by `snapshot`, also after a round trip through pickle or JSON. Not kept by reference.

        Raises:
            BrokerError: The state holds a symbol that this book has no rules for.
        """
        for symbol, packed in state["slots"].items():
            self._slot(symbol).unpack(packed)
        account = self._account = MarginAccount(state["wallet"])
        account.reserved = state["reserved"]
        account.held = {symbol: self._slots[symbol] for symbol in state["held"]}
        self._sequence, self._trade_id = state["sequence"], state["trade_id"]
        self._history = {client_id: [event_from(e) for e in events] for client_id, events in state["history"].items()}
        for slot in self._slots.values():
            self._refresh(slot)
