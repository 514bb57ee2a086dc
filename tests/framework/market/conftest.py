from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from slt.market import Book, MarketSettings
from slt.rules import generic_rules
from slt.types import Fill, LeverageBracket, Order, OrderRole, OrderSide, OrderType, PricePoint, SymbolRules

LADDER = (
    LeverageBracket(floor=0, cap=50_000, max_leverage=50, maintenance_rate=0.01, cum=0),
    LeverageBracket(floor=50_000, cap=500_000, max_leverage=20, maintenance_rate=0.025, cum=750),
    LeverageBracket(floor=500_000, cap=5_000_000, max_leverage=5, maintenance_rate=0.1, cum=38_250),
)


def make_rules(symbol: str, *, slippage: float = 0.0, taker: float = 0.0005, maker: float = 0.0002) -> SymbolRules:
    return evolve(
        generic_rules(symbol, 100.0),
        step_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        market_step_size=Decimal("0.001"),
        market_min_quantity=Decimal("0.001"),
        brackets=LADDER,
        slippage=slippage,
        taker_fee=taker,
        maker_fee=maker,
    )


class Desk:
    """A book with short words for orders and prices of one symbol, and a clock that ticks with every price."""

    symbol = "AUSDT"

    def __init__(self, book: Book) -> None:
        self.book = book
        self.time = 0
        self.count = 0
        self.orders: dict[str, Order] = {}

    def order(self, side: int, kind: OrderType, quantity: float = 1.0, role: OrderRole | None = None, **changes):
        self.count += 1
        reduce_only = changes.setdefault("reduce_only", role not in {None, OrderRole.ENTRY})
        order = Order(
            client_id=changes.pop("client_id", f"c{self.count}"),
            position_id="p",
            symbol=changes.pop("symbol", self.symbol),
            side=OrderSide(side),
            type=kind,
            role=role or OrderRole.ENTRY,
            quantity=quantity,
            time=changes.pop("time", self.time),
            leverage=changes.pop("leverage", 0 if reduce_only else 10),
            **changes,
        )
        self.orders[order.client_id] = order
        return order

    def submit(self, *args, **changes):
        return self.book.submit(self.order(*args, **changes))

    def market(self, side: int, quantity: float = 1.0, **changes):
        return self.submit(side, OrderType.MARKET, quantity, **changes)

    def limit(self, side: int, price: float, quantity: float = 1.0, **changes):
        return self.submit(side, OrderType.LIMIT, quantity, price=price, **changes)

    def stop(self, side: int, level: float, quantity: float = 1.0, role: OrderRole = OrderRole.STOP, **changes):
        return self.submit(side, OrderType.STOP_MARKET, quantity, role, stop_price=level, **changes)

    def target(self, side: int, level: float, quantity: float = 1.0, role: OrderRole = OrderRole.TARGET, **changes):
        return self.submit(side, OrderType.TAKE_PROFIT_MARKET, quantity, role, stop_price=level, **changes)

    def close(self, side: int, quantity: float = 1.0, **changes):
        return self.submit(side, OrderType.MARKET, quantity, OrderRole.EXIT, **changes)

    def to(self, price: float, *, gap: bool = False, symbol: str | None = None, time: int | None = None):
        """Move a price until nothing more happens; everything that did."""
        self.time = self.time + 60_000 if time is None else time
        return self.through(PricePoint(self.time, symbol or self.symbol, price, gap))

    def through(self, point: PricePoint):
        events = []
        while found := self.book.advance(point):
            events += found
        return events

    def open(self, side: int, quantity: float = 1.0, price: float = 100.0, leverage: int = 10) -> Fill:
        """A position of the given side at the given price."""
        self.to(price, gap=True)
        self.market(side, quantity, leverage=leverage)
        (fill,) = self.to(price)
        return fill


@pytest.fixture
def make_desk():
    """Makes a desk: settings of the market, slippage and fees as keywords."""

    def make(wallet: float = 10_000.0, *, funding=None, slippage=0.0, taker=0.0005, maker=0.0002, **settings) -> Desk:
        rules = {name: make_rules(name, slippage=slippage, taker=taker, maker=maker) for name in ("AUSDT", "BUSDT")}
        return Desk(Book(rules, wallet, MarketSettings(**settings), funding))

    return make


@pytest.fixture
def desk(make_desk) -> Desk:
    return make_desk()
