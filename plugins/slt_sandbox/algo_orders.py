"""Conditional orders: they wait for a price, then become an order."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define

from slt_sandbox.errors import refusal
from slt_sandbox.orders import ALGO_TYPES, parse_side
from slt_sandbox.price_match import NO_MATCH, parse_match

if TYPE_CHECKING:
    from slt_sandbox.orders import OrderRecord
    from slt_sandbox.params import Params

__all__ = ["AlgoRecord", "parse_algo", "triggers_above"]

_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD", "GTE_GTC")
_CLOSING = frozenset({"STOP_MARKET", "TAKE_PROFIT_MARKET"})
_WITH_PRICE = frozenset({"STOP", "TAKE_PROFIT"})
_TRAILING = "TRAILING_STOP_MARKET"


@define(eq=False, kw_only=True)
class AlgoRecord:
    """A conditional order as the exchange keeps it.

    Attributes:
        algo_id: The exchange's number; 0 until it is taken.
        client_id: The client's name for it.
        symbol: Exchange name.
        side: +1 buys, -1 sells.
        type: One of `ALGO_TYPES`.
        time_in_force: As asked.
        quantity: Base units; 0 with `close_position`.
        price: Limit price after the trigger; 0 = at market, or not matched yet.
        trigger_price: Price that sets it off; 0 for a trailing stop.
        activate_price: Price from which a trailing stop follows; 0 = at once.
        callback_rate: Distance of a trailing stop, percent.
        reduce_only: May only shrink a position.
        close_position: Closes whatever is held.
        working_type: `CONTRACT_PRICE` or `MARK_PRICE`.
        price_protect: As asked; shown only.
        time: When it was taken, ms UTC.
        update_time: Last change, ms UTC.
        status: The exchange's word.
        trigger_time: When it was set off, ms UTC; 0 = not yet.
        order: The order that came of it; None = none yet.
        reason: Why it was rejected.
        is_active: A trailing stop follows the price.
        extreme: The best price it has seen since; 0 = none.
        price_match: Level of the book that gives the price when it is triggered.
    """

    client_id: str
    symbol: str
    side: int
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal
    activate_price: Decimal
    callback_rate: Decimal
    reduce_only: bool
    close_position: bool
    working_type: str
    price_protect: bool
    algo_id: int = 0
    time: int = 0
    update_time: int = 0
    status: str = "NEW"
    trigger_time: int = 0
    order: OrderRecord | None = None
    reason: str = ""
    is_active: bool = False
    extreme: float = 0.0
    price_match: str = NO_MATCH

    @property
    def is_open(self) -> bool:
        """Whether it still waits for its price."""
        return self.status == "NEW"

    @property
    def is_in_book(self) -> bool:
        """Whether the book watches it; the others are watched by `slt_sandbox.triggers`."""
        return self.type in _CLOSING and not self.close_position

    @property
    def is_limit(self) -> bool:
        """Whether it becomes a limit order."""
        return self.type in _WITH_PRICE

    @property
    def is_stop(self) -> bool:
        """Whether it limits a loss."""
        return "STOP" in self.type


def triggers_above(algo: AlgoRecord) -> bool:
    """Whether a rising price sets it off: a buying stop, a selling take-profit."""
    return algo.is_stop == (algo.side > 0)


def parse_algo(params: Params) -> AlgoRecord:
    """Read a new conditional order.

    Raises:
        ApiError: A parameter is missing, wrong, or does not go with the others.
    """
    params.choice("algoType", ("CONDITIONAL",), -1130)
    kind = params.choice("type", ALGO_TYPES, -1116)
    close = params.flag("closePosition")
    if close and kind not in _CLOSING:
        raise refusal(-4136, type=kind, close="true")
    if close and "quantity" in params:
        raise refusal(-4137)
    if close and "reduceOnly" in params:
        raise refusal(-1106, name="reduceOnly")
    zero = Decimal(0)
    match = parse_match(params, is_limit=kind in _WITH_PRICE)
    trailing = kind == _TRAILING
    activate = params.decimal("activatePrice") if trailing and "activatePrice" in params else zero
    rate = params.decimal("callbackRate") if trailing else zero
    if trailing and not Decimal("0.1") <= rate <= 10:
        raise refusal(-1130, name="callbackRate")
    return AlgoRecord(
        client_id=params.client_id("clientAlgoId"),
        symbol=params.text("symbol"),
        side=parse_side(params),
        type=kind,
        time_in_force=params.choice("timeInForce", _TIMES_IN_FORCE, -1115, "GTC"),
        quantity=zero if close else params.decimal("quantity"),
        price=params.decimal("price") if kind in _WITH_PRICE and match == NO_MATCH else zero,
        price_match=match,
        trigger_price=zero if trailing else params.decimal("triggerPrice"),
        activate_price=activate,
        callback_rate=rate,
        reduce_only=close or params.flag("reduceOnly"),
        close_position=close,
        working_type=params.choice("workingType", ("CONTRACT_PRICE", "MARK_PRICE"), -1130, "CONTRACT_PRICE"),
        price_protect=params.flag("priceProtect"),
        is_active=trailing and not activate,
    )
