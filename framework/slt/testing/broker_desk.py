"""A broker at work: short words for orders and prices, for `BrokerConformance` and for tests of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.types import MINUTE_MS, Order, OrderRole, OrderSide, OrderType, PricePoint

if TYPE_CHECKING:
    from slt.types import Fill, FundingPayment, OrderUpdate, SymbolRules

__all__ = ["KIT_START", "BrokerDesk"]

KIT_START = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
"""Where the clock of a `BrokerDesk` begins, ms UTC."""


class BrokerDesk:
    """A broker with a clock and short words for what the cards do with it.

    Attributes:
        hooks: The broker's hooks.
        symbol: Symbol that orders and prices are for.
        rules: What the broker told of its symbols.
        time: ms UTC; moves on by a minute with every price.
        told: Everything it said of orders, in order.
    """

    def __init__(self, hooks: Any, symbol: str, rules: dict[str, SymbolRules]) -> None:
        self.hooks = hooks
        self.symbol = symbol
        self.rules = rules
        self.time = KIT_START
        self.told: list[Fill | OrderUpdate | FundingPayment] = []
        self._count = 0

    def order(self, side: int, kind: OrderType, quantity: float, role: OrderRole, **changes: Any) -> Order:
        """A new order with the next client id."""
        self._count += 1
        reduce_only = role is not OrderRole.ENTRY
        return Order(
            client_id=f"kit-{self._count:06d}",
            position_id="kit",
            symbol=self.symbol,
            side=OrderSide(side),
            type=kind,
            role=role,
            quantity=quantity,
            time=self.time,
            reduce_only=reduce_only,
            leverage=0 if reduce_only else 5,
            **changes,
        )

    async def submit(self, order: Order) -> list[Any]:
        """Send an order."""
        events: list[Any] = await self.hooks.slt_submit_order(order=order)
        self.told += events
        return events

    async def enter(self, side: int = 1, quantity: float = 1.0) -> Order:
        """Send a market entry."""
        order = self.order(side, OrderType.MARKET, quantity, OrderRole.ENTRY)
        await self.submit(order)
        return order

    async def leave(self, side: int = -1, quantity: float = 1.0, level: float | None = None) -> Order:
        """Send a market exit."""
        order = self.order(side, OrderType.MARKET, quantity, OrderRole.EXIT, level=level)
        await self.submit(order)
        return order

    async def protect(self, stop: float, target: float, side: int = -1, quantity: float = 1.0) -> tuple[Order, Order]:
        """Rest a stop and a target."""
        orders = (
            self.order(side, OrderType.STOP_MARKET, quantity, OrderRole.STOP, stop_price=stop),
            self.order(side, OrderType.TAKE_PROFIT_MARKET, quantity, OrderRole.TARGET, stop_price=target),
        )
        for order in orders:
            await self.submit(order)
        return orders

    def point(self, price: float, *, gap: bool = False) -> PricePoint:
        """The price a minute later."""
        self.time += MINUTE_MS
        return PricePoint(self.time, self.symbol, price, gap)

    def to(self, price: float, *, gap: bool = False) -> list[Any]:
        """Move the price until nothing more happens."""
        return self.through(self.point(price, gap=gap))

    def through(self, point: PricePoint) -> list[Any]:
        """Ask for one point until the broker has nothing more to say of it."""
        events: list[Any] = []
        for _ in range(1_000):
            found = self.hooks.slt_advance_price(point=point)
            if not found:
                self.told += events
                return events
            events += found
        raise AssertionError("slt_advance_price never returned an empty list for one and the same point")
