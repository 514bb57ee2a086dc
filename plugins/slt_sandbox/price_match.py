"""Price matching: a limit order that names a level of the book instead of a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt_sandbox.errors import refusal
from slt_sandbox.numbers import number

if TYPE_CHECKING:
    from decimal import Decimal

    from slt.types import SymbolRules
    from slt_sandbox.params import Params

__all__ = ["NO_MATCH", "match_price", "parse_match"]

NO_MATCH = "NONE"
"""The order names its price itself."""
_LEVELS = {"OPPONENT": 1, "OPPONENT_5": 5, "QUEUE": 1, "QUEUE_5": 5, "QUEUE_10": 10, "QUEUE_20": 20}
"""Level of the book by mode; the exchange has switched OPPONENT_10 and OPPONENT_20 off."""


def parse_match(params: Params, *, is_limit: bool) -> str:
    """Read the mode of price matching, `NO_MATCH` where none is sent.

    Args:
        params: The request.
        is_limit: The order has a limit price.

    Raises:
        ApiError: -5037 no such mode, -5038 not for this type, -1106 a price is sent besides.
    """
    mode = params.text("priceMatch", NO_MATCH)
    if mode == NO_MATCH:
        return mode
    if mode not in _LEVELS:
        raise refusal(-5037)
    if not is_limit:
        raise refusal(-5038)
    if "price" in params:
        raise refusal(-1106, name="price")
    return mode


def match_price(mode: str, side: int, last: float, rules: SymbolRules) -> Decimal:
    """Give the price of a level: the exchange's book has one a tick, on both sides of the last price.

    Args:
        mode: As `parse_match` gave it, not `NO_MATCH`.
        side: +1 buys, -1 sells.
        last: The last price; NaN before the first.
        rules: Of the symbol, for the tick.

    Raises:
        ApiError: -5041, there is no price yet.
    """
    if last != last:  # noqa: PLR0124 - NaN: no price yet
        raise refusal(-5041)
    is_across = mode.startswith("OPPONENT")
    tick = rules.tick_size or number(0.01)
    return max(tick, number(last) + (side if is_across else -side) * _LEVELS[mode] * tick)
