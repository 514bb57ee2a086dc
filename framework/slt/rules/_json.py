"""Reading the exchange's JSON answers with errors a person can act on."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from slt.errors import DataError

__all__ = ["as_decimal", "as_float", "as_int", "decode"]


def decode(answer: str | bytes | dict[str, Any] | list[Any], what: str) -> Any:
    """Give the JSON value of `answer`, decoding text; `what` names the answer in the error."""
    if not isinstance(answer, str | bytes):
        return answer
    try:
        return json.loads(answer)
    except ValueError as error:
        raise DataError(f"{what}: found no JSON ({error}); give the exchange's answer unchanged") from error


def as_decimal(value: object, what: str) -> Decimal:
    """Give `value` (a decimal string, or a number) as an exact, finite Decimal of at least 0."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise DataError(f"{what}: found `{value}`, allowed is a decimal number of at least 0")
    return number


def as_float(value: object, what: str) -> float:
    """Give `value` as a finite float of at least 0."""
    return float(as_decimal(value, what))


def as_int(value: object, what: str) -> int:
    """Give `value` as a whole number of at least 0; `20.0` counts as 20."""
    number = as_decimal(value, what)
    if number != number.to_integral_value():
        raise DataError(f"{what}: found `{value}`, allowed is a whole number")
    return int(number)
