"""Leverage brackets: which leverage and which maintenance margin a notional has."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from slt.errors import DataError
from slt.rules._json import as_float, as_int, decode
from slt.types import LeverageBracket, SymbolRules

__all__ = ["bracket_of", "maintenance_margin", "max_leverage", "parse_brackets"]

_FIELDS = {
    "floor": ("notionalFloor", "minNotional"),
    "cap": ("notionalCap", "maxNotional"),
    "max_leverage": ("initialLeverage", "maxLeverage"),
    "maintenance_rate": ("maintMarginRatio", "maintenanceMarginRate"),
}


def bracket_of(rules: SymbolRules, notional: float) -> LeverageBracket:
    """Find the leverage bracket of a notional.

    Args:
        rules: The symbol's rules.
        notional: Position size in quote currency; its sign is ignored.

    Returns:
        The bracket with ``floor <= notional < cap``; the last one for anything above its cap.
    """
    size = abs(notional)
    for bracket in rules.brackets:
        if size < bracket.cap:
            return bracket
    return rules.brackets[-1]


def max_leverage(rules: SymbolRules, notional: float) -> int:
    """Tell the highest initial leverage allowed for a notional.

    Args:
        rules: The symbol's rules.
        notional: Position size in quote currency, the open position included; its sign is ignored.

    Returns:
        Whole leverage; 0 where the notional is at or above the cap of the last bracket: no such position is allowed.
    """
    bracket = bracket_of(rules, notional)
    return bracket.max_leverage if abs(notional) < bracket.cap else 0


def maintenance_margin(rules: SymbolRules, notional: float) -> float:
    """Compute the maintenance margin: notional · rate - cum of the notional's bracket.

    Source: reference of the exchange, "Leverage and Margin of USDⓈ-M Futures".

    Args:
        rules: The symbol's rules.
        notional: Position size at the mark price, quote currency; its sign is ignored.

    Returns:
        Quote currency, at least 0.
    """
    bracket = bracket_of(rules, notional)
    return max(0.0, abs(notional) * bracket.maintenance_rate - bracket.cum)


def parse_brackets(answer: str | bytes | dict[str, Any] | list[Any]) -> dict[str, tuple[LeverageBracket, ...]]:
    """Read leverage brackets in any of the three forms in which they are found.

    Args:
        answer: ``GET /fapi/v1/leverageBracket`` as a list of symbols or as the object of one symbol; or ccxt's table of
            leverage tiers, keyed ``"BTC/USDT:USDT"`` (``"BTC/USDT:USDT-260925"`` becomes ``BTCUSDT_260925``). Text is
            decoded as JSON.

    Returns:
        Brackets per exchange symbol, lowest first, as printed. A missing ``cum`` is computed so that the maintenance
        margin is continuous over the brackets.

    Raises:
        DataError: Naming each symbol whose brackets cannot be read.
    """
    data = decode(answer, "leverage brackets")
    result: dict[str, tuple[LeverageBracket, ...]] = {}
    problems: list[str] = []
    for symbol, rows in _tables(data):
        try:
            result[symbol] = _ladder(symbol, rows)
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(*problems)
    return result


def _tables(data: Any) -> list[tuple[str, Any]]:
    if isinstance(data, dict) and "brackets" in data:
        data = [data]
    if isinstance(data, list) and all(isinstance(entry, dict) and "symbol" in entry for entry in data):
        return [(str(entry["symbol"]), entry.get("brackets")) for entry in data]
    if isinstance(data, dict) and all(isinstance(rows, list) for rows in data.values()):
        return [(_exchange_name(str(name)), rows) for name, rows in data.items()]
    raise DataError(
        "leverage brackets: found neither a list of symbols with `brackets` nor a table of tiers per symbol; "
        "give the answer of GET /fapi/v1/leverageBracket or ccxt's leverage tiers"
    )


def _exchange_name(name: str) -> str:
    pair, _, contract = name.partition(":")
    _, _, delivery = contract.partition("-")
    symbol = pair.replace("/", "")
    return f"{symbol}_{delivery}" if delivery else symbol


def _ladder(symbol: str, rows: Any) -> tuple[LeverageBracket, ...]:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"leverage brackets of {symbol}: found `{rows}`, allowed is a list of at least one bracket")
    ladder: list[LeverageBracket] = []
    for bracket, cum in sorted((_bracket(symbol, row) for row in rows), key=lambda pair: pair[0].floor):
        end, rate, amount = (ladder[-1].cap, ladder[-1].maintenance_rate, ladder[-1].cum) if ladder else (0.0, 0.0, 0.0)
        if bracket.floor != end:
            raise DataError(
                f"leverage brackets of {symbol}: found one that begins at {bracket.floor:g} where {end:g} is due; "
                "brackets begin at 0 and follow each other without a hole"
            )
        step = bracket.floor * (bracket.maintenance_rate - rate) + amount
        ladder.append(evolve(bracket, cum=step if cum is None else cum))
    return tuple(ladder)


def _bracket(symbol: str, row: dict[str, Any]) -> tuple[LeverageBracket, float | None]:
    info = row.get("info")
    merged = {**row, **info} if isinstance(info, dict) else row
    values: dict[str, Any] = {}
    for name, keys in _FIELDS.items():
        key = next((key for key in keys if key in merged), None)
        if key is None:
            raise DataError(f"leverage brackets of {symbol}: a bracket has no `{keys[0]}`; found {sorted(merged)}")
        values[name] = merged[key]
    what = f"leverage brackets of {symbol}"
    bracket = LeverageBracket(
        floor=as_float(values["floor"], f"{what}: floor"),
        cap=as_float(values["cap"], f"{what}: cap"),
        max_leverage=as_int(values["max_leverage"], f"{what}: leverage"),
        maintenance_rate=as_float(values["maintenance_rate"], f"{what}: maintenance rate"),
        cum=0.0,
    )
    if bracket.cap <= bracket.floor or bracket.max_leverage < 1 or bracket.maintenance_rate >= 1:
        raise DataError(f"{what}: found `{row}`; allowed is floor < cap, leverage of at least 1, a rate below 1")
    return bracket, as_float(merged["cum"], f"{what}: cum") if merged.get("cum") is not None else None
