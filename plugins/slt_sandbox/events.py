"""User events, as the private stream pushes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_sandbox.numbers import money, plain

if TYPE_CHECKING:
    from slt.market import ExchangePosition
    from slt_sandbox.account import Account, TradeRow
    from slt_sandbox.algo_orders import AlgoRecord
    from slt_sandbox.orders import OrderRecord

__all__ = [
    "account_config_update",
    "account_update",
    "algo_update",
    "force_order",
    "listen_key_expired",
    "margin_call",
    "multi_assets_update",
    "order_trade_update",
    "trade_lite",
]

_SIDES = {1: "BUY", -1: "SELL"}


def order_trade_update(
    now: int, time: int, order: OrderRecord, execution: str, asset: str, trade: TradeRow | None = None
) -> dict[str, Any]:
    """An order changed or filled.

    Args:
        now: Event time, ms UTC.
        time: Time of the change, ms UTC.
        order: As it is after the change.
        execution: `NEW`, `CANCELED`, `CALCULATED`, `EXPIRED`, `TRADE` or `AMENDMENT`.
        asset: Commission asset.
        trade: The execution, for one.
    """
    body: dict[str, Any] = {
        "s": order.symbol,
        "c": order.client_id,
        "S": _SIDES[order.side],
        "o": order.type,
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": plain(order.average),
        "sp": "0",
        "x": execution,
        "X": order.status,
        "i": order.order_id,
        "l": plain(trade.quantity if trade else 0.0),
        "z": plain(order.executed),
        "L": plain(trade.price if trade else 0.0),
        "T": time,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": bool(trade and trade.is_maker),
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.type,
        "ps": "BOTH",
        "cp": order.close_position,
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": plain(trade.realised if trade else 0.0),
        "V": order.stp,
        "pm": order.price_match,
        "gtd": order.good_till,
        "er": str(order.expiry),
    }
    if execution == "AMENDMENT" and order.modify_id is not None:
        body["M"] = order.modify_id
    if trade:
        body |= {"N": asset, "n": plain(trade.fee)}
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": time, "o": body}


def trade_lite(now: int, time: int, order: OrderRecord, trade: TradeRow) -> dict[str, Any]:
    """A fill, in short."""
    return {
        "e": "TRADE_LITE",
        "E": now,
        "T": time,
        "s": order.symbol,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "m": trade.is_maker,
        "c": order.client_id,
        "S": _SIDES[order.side],
        "L": plain(trade.price),
        "l": plain(trade.quantity),
        "t": trade.trade_id,
        "i": order.order_id,
    }


def account_update(
    now: int,
    time: int,
    account: Account,
    cause: str,
    symbols: tuple[str, ...] = (),
    *,
    change: float = 0.0,
    funding: str = "",
) -> dict[str, Any]:
    """The wallet changed, and perhaps positions.

    Args:
        now: Event time, ms UTC.
        time: Time of the change, ms UTC.
        account: As it is after the change.
        cause: The exchange's word, as `ORDER` or `FUNDING_FEE`.
        symbols: Symbols whose position changed.
        change: What the balance changed by other than profit and commission, quote currency.
        funding: Symbol of a funding fee.
    """
    book = account.book
    body: dict[str, Any] = {
        "m": cause,
        "B": [{"a": account.asset, "wb": money(book.wallet), "cw": money(book.cross_wallet), "bc": money(change)}],
        "P": [_position(account, symbol) for symbol in symbols],
    }
    if funding:
        body["S"] = funding
    return {"e": "ACCOUNT_UPDATE", "E": now, "T": time, "a": body}


def _position(account: Account, symbol: str) -> dict[str, Any]:
    held = account.book.position(symbol)
    is_isolated = account.book.margin_type(symbol) == "isolated"
    return {
        "s": symbol,
        "pa": plain(held.side * held.quantity if held else 0.0),
        "ep": plain(held.entry_price if held else 0.0),
        "bep": plain(held.entry_price if held else 0.0),
        "cr": money(account.realised.get(symbol, 0.0)),
        "up": money(held.unrealised if held else 0.0),
        "mt": "isolated" if is_isolated else "cross",
        "iw": money(held.margin if held and is_isolated else 0.0),
        "ps": "BOTH",
    }


def algo_update(now: int, time: int, algo: AlgoRecord) -> dict[str, Any]:
    """A conditional order changed."""
    order = algo.order
    body = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": _SIDES[algo.side],
        "ps": "BOTH",
        "f": algo.time_in_force,
        "q": plain(algo.quantity),
        "X": algo.status,
        "ai": str(order.order_id) if order else "",
        "ap": plain(order.average) if order else "0.00000",
        "aq": plain(order.executed) if order else "0.00000",
        "act": order.type if order else "0",
        "tp": plain(algo.trigger_price),
        "p": plain(algo.price),
        "V": "EXPIRE_MAKER",
        "wt": algo.working_type,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.trigger_time,
        "gtd": 0,
        "rm": algo.reason,
    }
    if algo.type == "TRAILING_STOP_MARKET":
        body["ia"] = algo.is_active
    return {"e": "ALGO_UPDATE", "T": time, "E": now, "o": body}


def margin_call(
    now: int, account: Account, position: ExchangePosition, maintenance: float, mark: float
) -> dict[str, Any]:
    """A position is close to its liquidation."""
    is_isolated = account.book.margin_type(position.symbol) == "isolated"
    row = {
        "s": position.symbol,
        "ps": "BOTH",
        "pa": plain(position.side * position.quantity),
        "mt": "ISOLATED" if is_isolated else "CROSSED",
        "iw": money(position.margin if is_isolated else 0.0),
        "mp": plain(mark),
        "up": money(position.unrealised),
        "mm": money(maintenance),
    }
    return {"e": "MARGIN_CALL", "E": now, "cw": money(account.book.cross_wallet), "p": [row]}


def account_config_update(now: int, symbol: str, leverage: int) -> dict[str, Any]:
    """A symbol's leverage was set."""
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": {"s": symbol, "l": leverage}}


def multi_assets_update(now: int, *, is_on: bool) -> dict[str, Any]:
    """Multi-assets mode was set."""
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ai": {"j": is_on}}


def listen_key_expired(now: int, key: str) -> dict[str, Any]:
    """A listen key ended; nothing more comes for it."""
    return {"e": "listenKeyExpired", "E": now, "listenKey": key}


def force_order(now: int, order: OrderRecord) -> dict[str, Any]:
    """A liquidation, as the market stream shows it."""
    body = {
        "s": order.symbol,
        "S": _SIDES[order.side],
        "o": "LIMIT",
        "f": "IOC",
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": plain(order.average),
        "X": "FILLED",
        "l": plain(order.executed),
        "z": plain(order.executed),
        "T": order.update_time,
    }
    return {"e": "forceOrder", "E": now, "o": body}
