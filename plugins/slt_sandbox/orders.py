"""Orders of the order book: as asked for, and as the exchange keeps them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, frozen

from slt_sandbox.errors import refusal
from slt_sandbox.price_match import NO_MATCH, parse_match

if TYPE_CHECKING:
    from slt_sandbox.params import Params

__all__ = [
    "ALGO_TYPES",
    "OPEN_STATES",
    "Amendment",
    "OrderRecord",
    "OrderRequest",
    "parse_amendment",
    "parse_order",
    "parse_side",
]

ALGO_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
OPEN_STATES = frozenset({"NEW", "PARTIALLY_FILLED"})
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
_SELF_TRADES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_MIN_LIFE_MS = 600_000


@frozen(kw_only=True)
class OrderRequest:
    """An order as asked for, checked for form but not against filters.

    Attributes:
        symbol: Exchange name.
        side: +1 buys, -1 sells.
        type: `LIMIT` or `MARKET`.
        time_in_force: `GTC`, `IOC`, `FOK`, `GTX` or `GTD`.
        quantity: Base units.
        price: Limit price; 0 for a market order, and until it is matched.
        price_match: Level of the book that gives the price; `NO_MATCH` = the order names it.
        client_id: The client's own; empty = the exchange makes one.
        reduce_only: May only shrink a position.
        wants_result: The answer waits for the first fill.
        good_till: End of a GTD order, ms UTC; 0 = none.
        stp: Self-trade prevention mode, kept and shown.
    """

    symbol: str
    side: int
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    client_id: str
    reduce_only: bool
    wants_result: bool
    good_till: int
    stp: str
    price_match: str = NO_MATCH


@frozen(kw_only=True)
class Amendment:
    """What a working limit order is to become.

    Attributes:
        quantity: Base units, those filled already included.
        price: Limit price; 0 until it is matched.
        price_match: Level of the book that gives the price; `NO_MATCH` = the request names it.
        reduce_only: Asked to be reduce-only, which only an order that is so already may be.
        modify_id: The client's own name for the change; None = none.
    """

    quantity: Decimal
    price: Decimal
    price_match: str = NO_MATCH
    reduce_only: bool = False
    modify_id: int | None = None


@define(eq=False, kw_only=True)
class OrderRecord:
    """An order as the exchange keeps it.

    Attributes:
        order_id: The exchange's number.
        client_id: The client's name for it.
        symbol: Exchange name.
        side: +1 buys, -1 sells.
        type: `LIMIT` or `MARKET`.
        time_in_force: As asked.
        quantity: Base units asked for.
        price: Limit price; 0 for a market order.
        reduce_only: May only shrink a position.
        close_position: Closes whatever is held.
        time: When it was taken, ms UTC.
        update_time: Last change, ms UTC.
        book_id: Its name in the book.
        status: The exchange's word.
        executed: Base units filled.
        quote: Quote currency filled.
        algo_id: The conditional order that it came from; 0 = none.
        working_type: Price that a trigger watches.
        good_till: End of a GTD order, ms UTC; 0 = none.
        stp: Self-trade prevention mode.
        expiry: Why it expired, as the user stream tells.
        edits: Times it was modified.
        price_match: Level of the book that gave the price.
        modify_id: The client's name for the last change; None = none.
    """

    order_id: int
    client_id: str
    symbol: str
    side: int
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    time: int
    update_time: int
    book_id: str
    close_position: bool = False
    status: str = "NEW"
    executed: float = 0.0
    quote: float = 0.0
    algo_id: int = 0
    working_type: str = "CONTRACT_PRICE"
    good_till: int = 0
    stp: str = "EXPIRE_MAKER"
    expiry: int = 0
    edits: int = 0
    price_match: str = NO_MATCH
    modify_id: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still works."""
        return self.status in OPEN_STATES

    @property
    def average(self) -> float:
        """Mean fill price; 0 without a fill."""
        return self.quote / self.executed if self.executed else 0.0

    @property
    def left(self) -> float:
        """Base units not filled yet."""
        return max(0.0, float(self.quantity) - self.executed)


def parse_side(params: Params) -> int:
    """+1 for BUY, -1 for SELL (-1117 for anything else)."""
    return 1 if params.choice("side", ("BUY", "SELL"), -1117) == "BUY" else -1


def parse_order(params: Params, now: int) -> OrderRequest:
    """Read a new order.

    Raises:
        ApiError: A parameter is missing, wrong, or does not go with the others.
    """
    kind = params.text("type")
    if kind in ALGO_TYPES:
        raise refusal(-4120)
    if kind not in {"LIMIT", "MARKET"}:
        raise refusal(-1116)
    if params.flag("closePosition"):
        raise refusal(-4136, type=kind, close="true")
    side, is_limit = parse_side(params), kind == "LIMIT"
    for name in () if is_limit else ("price", "timeInForce"):
        if name in params:
            raise refusal(-1106, name=name)
    in_force = params.choice("timeInForce", _TIMES_IN_FORCE, -1115, None if is_limit else "GTC")
    good_till = params.whole("goodTillDate") if in_force == "GTD" else 0
    if in_force == "GTD" and good_till <= now + _MIN_LIFE_MS:
        raise refusal(-5040)
    match = parse_match(params, is_limit=is_limit)
    return OrderRequest(
        symbol=params.text("symbol"),
        side=side,
        type=kind,
        time_in_force=in_force,
        quantity=params.decimal("quantity"),
        price=params.decimal("price") if is_limit and match == NO_MATCH else Decimal(0),
        price_match=match,
        client_id=params.client_id("newClientOrderId"),
        reduce_only=params.flag("reduceOnly"),
        wants_result=params.choice("newOrderRespType", ("ACK", "RESULT"), -1130, "ACK") == "RESULT",
        good_till=good_till,
        stp=params.choice("selfTradePreventionMode", _SELF_TRADES, -5039, "EXPIRE_MAKER"),
    )


def parse_amendment(params: Params) -> Amendment:
    """Read what an order is to become.

    Raises:
        ApiError: A parameter is missing, wrong, or does not go with the others.
    """
    match = parse_match(params, is_limit=True)
    return Amendment(
        quantity=params.decimal("quantity"),
        price=params.decimal("price") if match == NO_MATCH else Decimal(0),
        price_match=match,
        reduce_only=params.flag("reduceOnly"),
        modify_id=params.whole("modifyId") if "modifyId" in params else None,
    )
