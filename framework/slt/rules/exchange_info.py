"""Symbol rules from the exchange's own description of its symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.errors import DataError
from slt.rules._json import as_decimal, as_int, decode
from slt.rules.generic import GENERIC_BRACKETS
from slt.types import LeverageBracket, SymbolRules

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["parse_exchange_info"]


def parse_exchange_info(
    answer: str | bytes | dict[str, Any],
    brackets: Mapping[str, tuple[LeverageBracket, ...]] | None = None,
    *,
    symbols: Collection[str] | None = None,
    statuses: Collection[str] | None = None,
    contract_types: Collection[str] | None = None,
) -> dict[str, SymbolRules]:
    """Read the rules of every symbol from a full ``GET /fapi/v1/exchangeInfo`` answer.

    Args:
        answer: The answer as text, bytes or decoded JSON. Names in any script are taken as they are.
        brackets: Leverage brackets per symbol, as `parse_brackets` gives them; a symbol without any gets
            `GENERIC_BRACKETS`.
        symbols: Only these, so that an odd symbol nobody trades cannot stop a run; None = all.
        statuses: Only symbols in these states, e.g. ``{"TRADING"}`` for a live broker; None = any, which recorded
            candles of symbols delisted since need.
        contract_types: Only these, e.g. ``{"PERPETUAL"}``; None = any.

    Returns:
        Rules per symbol in the exchange's order, fees at the lowest tier's default. A filter the exchange leaves out
        limits nothing; without MARKET_LOT_SIZE the LOT_SIZE holds for market orders too.

    Raises:
        DataError: Every symbol (of those asked for) whose filters cannot be read, all at once.
    """
    data = decode(answer, "exchangeInfo")
    entries = data.get("symbols") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "symbol" in entry for entry in entries):
        raise DataError("exchangeInfo: found no list `symbols`; give the full answer of GET /fapi/v1/exchangeInfo")
    result: dict[str, SymbolRules] = {}
    problems: list[str] = []
    for entry in entries:
        name = str(entry["symbol"])
        if not _is_wanted(entry, name, symbols, statuses, contract_types):
            continue
        try:
            result[name] = _symbol_rules(name, entry, (brackets or {}).get(name, GENERIC_BRACKETS))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return result


def _is_wanted(
    entry: dict[str, Any],
    name: str,
    symbols: Collection[str] | None,
    statuses: Collection[str] | None,
    contract_types: Collection[str] | None,
) -> bool:
    return (
        (symbols is None or name in symbols)
        and (statuses is None or entry.get("status") in statuses)
        and (contract_types is None or entry.get("contractType") in contract_types)
    )


def _symbol_rules(symbol: str, entry: dict[str, Any], brackets: tuple[LeverageBracket, ...]) -> SymbolRules:
    listed = entry.get("filters")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise DataError(f"exchangeInfo: {symbol} has no list `filters`")
    filters = {str(one.get("filterType")): one for one in listed}
    missing = [name for name in ("PRICE_FILTER", "LOT_SIZE") if name not in filters]
    if missing:
        raise DataError(f"exchangeInfo: {symbol} has no filter {' and no '.join(missing)}; found {sorted(filters)}")
    market = "MARKET_LOT_SIZE" if "MARKET_LOT_SIZE" in filters else "LOT_SIZE"
    wanted = {
        "tick_size": ("PRICE_FILTER", "tickSize"),
        "min_price": ("PRICE_FILTER", "minPrice"),
        "max_price": ("PRICE_FILTER", "maxPrice"),
        "step_size": ("LOT_SIZE", "stepSize"),
        "min_quantity": ("LOT_SIZE", "minQty"),
        "max_quantity": ("LOT_SIZE", "maxQty"),
        "market_step_size": (market, "stepSize"),
        "market_min_quantity": (market, "minQty"),
        "market_max_quantity": (market, "maxQty"),
        "min_notional": ("MIN_NOTIONAL", "notional"),
        "multiplier_up": ("PERCENT_PRICE", "multiplierUp"),
        "multiplier_down": ("PERCENT_PRICE", "multiplierDown"),
    }
    numbers: dict[str, Any] = {
        field: as_decimal(filters.get(name, {}).get(key, 0), f"exchangeInfo: {symbol}: {name}.{key}")
        for field, (name, key) in wanted.items()
    }
    limit = filters.get("MAX_NUM_ORDERS", {}).get("limit", 200)
    max_orders = as_int(limit, f"exchangeInfo: {symbol}: MAX_NUM_ORDERS.limit")
    return SymbolRules(symbol=symbol, brackets=brackets, max_orders=max_orders, **numbers)
