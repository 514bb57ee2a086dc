"""Orders that shrink positions: how they are made, sent and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.events import CancelOrder, SubmitOrder
from slt.types import Order, OrderSide, OrderStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.trading.core import Core
    from slt.trading.portfolio import Holding
    from slt.types import OrderRole, OrderType

__all__ = ["send", "take_back"]


def send(
    core: Core,
    holding: Holding,
    role: OrderRole,
    kind: OrderType,
    quantity: float,
    *,
    reason: str,
    stop_price: float | None = None,
    level: float | None = None,
) -> str:
    """Store the intent of a reduce-only order against a position and send it.

    Args:
        core: The engine's memory.
        holding: The position.
        role: What the order is for.
        kind: Its type.
        quantity: Base units.
        reason: An exit's name, or the role.
        stop_price: Trigger price of stop and take-profit orders.
        level: Price level of the decision, for simulated brokers.

    Returns:
        Its client id.
    """
    position = holding.position
    order = Order(
        client_id=core.next_id(),
        position_id=position.id,
        symbol=position.symbol,
        side=OrderSide(-position.side),
        type=kind,
        role=role,
        quantity=quantity,
        time=core.time,
        stop_price=stop_price,
        reduce_only=True,
        level=level,
        reason=reason,
    )
    core.portfolio.orders[order.client_id] = order
    core.store_intent(order, "intended")
    core.emit(SubmitOrder(order))
    return order.client_id


def take_back(core: Core, symbol: str, client_ids: Iterable[str]) -> None:
    """Cancel those of these orders that still work; what they fill meanwhile is booked all the same."""
    for client_id in client_ids:
        order = core.portfolio.orders.get(client_id)
        if order is not None:
            filled = core.portfolio.drop_order(client_id)
            core.store_intent(order, str(OrderStatus.CANCELLED), filled=filled)
            core.emit(CancelOrder(core.time, symbol, client_id))
