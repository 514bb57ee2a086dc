"""Orders and their events as plain data, for snapshots."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs

from slt.types import Fill, FillCause, Order, OrderRole, OrderStatus, OrderType, OrderUpdate

__all__ = ["as_plain", "event_from", "order_from"]


def as_plain(message: Order | Fill | OrderUpdate) -> dict[str, Any]:
    """Give a message as a dict of numbers, texts and None."""
    names = (one.name for one in attrs.fields(type(message)))
    values = ((name, getattr(message, name)) for name in names)
    return {name: value.value if isinstance(value, Enum) else value for name, value in values}


def order_from(plain: dict[str, Any]) -> Order:
    """Give back the order that `as_plain` took."""
    return Order(**{**plain, "type": OrderType(plain["type"]), "role": OrderRole(plain["role"])})


def event_from(plain: dict[str, Any]) -> Fill | OrderUpdate:
    """Give back the fill or update that `as_plain` took."""
    if "status" in plain:
        return OrderUpdate(**{**plain, "status": OrderStatus(plain["status"])})
    return Fill(**{**plain, "cause": FillCause(plain["cause"])})
