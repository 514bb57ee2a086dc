"""Orders and their events as plain data, for snapshots."""

from __future__ import annotations

from typing import Any

import attrs

from slt.types import Fill, FillCause, Order, OrderRole, OrderSide, OrderStatus, OrderType, OrderUpdate

__all__ = ["as_plain", "event_from", "order_from"]


_NAMES = {kind: tuple(one.name for one in attrs.fields(kind)) for kind in (Order, Fill, OrderUpdate)}
_ENUMS = frozenset({"type", "role", "status", "cause"})


def as_plain(message: Order | Fill | OrderUpdate) -> dict[str, Any]:
    """Give a message as a dict of numbers, texts and None."""
    plain = {name: getattr(message, name) for name in _NAMES[type(message)]}
    for name in _ENUMS & plain.keys():
        plain[name] = plain[name].value
    if "side" in plain:
        plain["side"] = int(plain["side"])
    return plain


def order_from(plain: dict[str, Any]) -> Order:
    """Give back the order that `as_plain` took."""
    return Order(
        **{
            **plain,
            "side": OrderSide(plain["side"]),
            "type": OrderType(plain["type"]),
            "role": OrderRole(plain["role"]),
        }
    )


def event_from(plain: dict[str, Any]) -> Fill | OrderUpdate:
    """Give back the fill or update that `as_plain` took."""
    if "status" in plain:
        return OrderUpdate(**{**plain, "status": OrderStatus(plain["status"])})
    return Fill(**{**plain, "cause": FillCause(plain["cause"])})
