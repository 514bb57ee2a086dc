"""Numbers as the exchange writes them: decimal strings without an exponent."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["decimals_of", "money", "number", "plain"]


def number(value: float | Decimal) -> Decimal:
    """The decimal number that a value prints as."""
    return value if isinstance(value, Decimal) else Decimal(repr(float(value)))


def plain(value: float | Decimal) -> str:
    """A number as text: shortest form, no exponent, no negative zero."""
    text = f"{number(value):f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def decimals_of(step: Decimal) -> int:
    """Decimal places that a grid needs; 8 where there is no grid."""
    return max(0, -int(step.normalize().as_tuple().exponent)) if step else 8


def money(value: float) -> str:
    """A balance as text: to eight places."""
    return plain(round(float(value), 8))
