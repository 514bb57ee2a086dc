"""Prices on the tick grid and quantities on the step grid, exact in decimal."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from slt.types import SymbolRules

__all__ = ["Lot", "ceil_quantity", "floor_quantity", "lot_of", "round_price", "to_decimal"]

# A value this close to a grid point, in steps, is that point: float noise of sums such as 0.1 + 0.2 is far below it.
_NOISE = Decimal("0.000001")
_MODES = {-1: ROUND_FLOOR, 0: ROUND_HALF_EVEN, 1: ROUND_CEILING}


@frozen
class Lot:
    """The quantity filter that applies to an order.

    Attributes:
        minimum: Smallest quantity; 0 = no limit.
        maximum: Largest quantity; 0 = no limit.
        step: Quantities are `minimum` plus a multiple of it; 0 = any.
    """

    minimum: Decimal
    maximum: Decimal
    step: Decimal


def to_decimal(value: float) -> Decimal:
    """Give the decimal number that `value` prints as: what the exchange would be sent.

    Args:
        value: A finite float, numpy's included.

    Raises:
        ValueError: `value` is NaN or infinite.
    """
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise ValueError(f"found `{value}`, allowed is a finite number")
    return number


def lot_of(rules: SymbolRules, *, is_market: bool) -> Lot:
    """Give the quantity filter of market orders or of limit orders.

    Args:
        rules: The symbol's rules.
        is_market: True for orders that execute at market, triggered ones included (MARKET_LOT_SIZE); False for limits.

    Returns:
        The filter. Where a part of the market filter is 0, the limit filter's part stands in: the stricter reading.
    """
    if not is_market:
        return Lot(rules.min_quantity, rules.max_quantity, rules.step_size)
    return Lot(
        rules.market_min_quantity or rules.min_quantity,
        rules.market_max_quantity or rules.max_quantity,
        rules.market_step_size or rules.step_size,
    )


def round_price(rules: SymbolRules, price: float, direction: int) -> float:
    """Put a price on the tick grid, counted from the lowest price.

    Args:
        rules: The symbol's rules; a tick of 0 leaves the price as it is.
        price: Any finite price. Within a millionth of a tick of the grid it counts as on it.
        direction: -1 down, +1 up, 0 to the nearest tick.

    Returns:
        A float whose shortest print is the exact decimal price. It may lie outside the price limits: `check_order`
        judges that.

    Raises:
        ValueError: `price` is NaN or infinite.
    """
    return float(price) if not rules.tick_size else _on_grid(price, rules.min_price, rules.tick_size, direction)


def floor_quantity(rules: SymbolRules, quantity: float, *, is_market: bool = True) -> float:
    """Round a quantity down to the step grid.

    Args:
        rules: The symbol's rules.
        quantity: Base units, finite. Within a millionth of a step of the grid it counts as on it.
        is_market: Which filter applies, as in `lot_of`.

    Returns:
        A float whose shortest print is the exact decimal quantity; 0.0 where `quantity` is below the smallest one.
        The largest quantity is not applied here.

    Raises:
        ValueError: `quantity` is NaN or infinite.
    """
    lot = lot_of(rules, is_market=is_market)
    if not lot.step:
        return float(quantity) if to_decimal(quantity) >= lot.minimum else 0.0
    value = _on_grid(quantity, lot.minimum, lot.step, -1)
    return value if value > 0 and to_decimal(value) >= lot.minimum else 0.0


def ceil_quantity(rules: SymbolRules, quantity: float, *, is_market: bool = True) -> float:
    """Round a quantity up to the step grid, and to the smallest quantity at least.

    Args:
        rules: The symbol's rules.
        quantity: Base units, finite. Within a millionth of a step of the grid it counts as on it.
        is_market: Which filter applies, as in `lot_of`.

    Returns:
        A float whose shortest print is the exact decimal quantity. The largest quantity is not applied here.

    Raises:
        ValueError: `quantity` is NaN or infinite.
    """
    lot = lot_of(rules, is_market=is_market)
    if to_decimal(quantity) <= lot.minimum:
        return float(lot.minimum)
    return _on_grid(quantity, lot.minimum, lot.step, 1) if lot.step else float(quantity)


def _on_grid(value: float, origin: Decimal, step: Decimal, direction: int) -> float:
    count = (to_decimal(value) - origin) / step
    whole = count.to_integral_value(ROUND_HALF_EVEN)
    if abs(count - whole) > _NOISE:
        whole = count.to_integral_value(_MODES[direction])
    rounded = origin + whole * step
    result = float(rounded)
    coarse = Decimal(1)
    # Beyond 15 digits a float may not hold the decimal: take the next coarser grid point that it does hold.
    while to_decimal(result) != rounded:
        coarse *= 10
        rounded = origin + (whole / coarse).to_integral_value(_MODES[direction]) * coarse * step
        result = float(rounded)
    return result
