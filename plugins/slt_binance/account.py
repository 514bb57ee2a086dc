"""The account at one moment: wallet, positions, and working orders of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.types import AccountState, ExchangeOrder, ExchangePosition
from slt_binance.endpoints import Endpoints
from slt_binance.tracking import Tracked

if TYPE_CHECKING:
    from slt_binance.client import Client
    from slt_binance.tracking import Tracker

__all__ = ["funds", "read_account"]

_SIDES = {"BUY": 1, "SELL": -1}
_READINGS = 3


async def read_account(client: Client, tracker: Tracker, quote: str) -> AccountState:
    """Read the account; positions are read before and after the orders, until both readings agree.

    Args:
        client: The REST client.
        tracker: Takes in the orders found, so that what they trigger finds its name.
        quote: The quote currency.

    Raises:
        ExchangeError: The exchange does not answer.
    """
    positions = await _positions(client)
    readings = 0
    while True:
        plain = await client.call(Endpoints.OPEN_ORDERS, is_urgent=True)
        algos = await client.call(Endpoints.OPEN_ALGOS, is_urgent=True)
        account = await client.call(Endpoints.ACCOUNT, is_urgent=True)
        before, positions = positions, await _positions(client)
        readings += 1
        if before == positions or readings == _READINGS:
            break
    orders = (*(_plain(order) for order in plain), *(_algo(order) for order in algos))
    tracker.positions.clear()
    tracker.positions.update(position.symbol for position in positions)
    _note_orders(tracker, plain, algos)
    wallet, available = funds(account, quote)
    return AccountState(client.now, wallet, available, positions, orders)


def funds(account: dict[str, Any], quote: str) -> tuple[float, float]:
    """Wallet balance and available balance of a currency, from ``GET /fapi/v3/account``."""
    for asset in account.get("assets", ()):
        if asset["asset"] == quote:
            return float(asset["walletBalance"]), float(asset["availableBalance"])
    return 0.0, 0.0


async def _positions(client: Client) -> tuple[ExchangePosition, ...]:
    found = []
    for row in await client.call(Endpoints.POSITIONS, is_urgent=True):
        amount = float(row["positionAmt"])
        if amount:
            side = 1 if amount > 0 else -1
            entry, time = float(row["entryPrice"]), int(row.get("updateTime") or 0)
            found.append(ExchangePosition(str(row["symbol"]), side, abs(amount), entry, time))
    return tuple(sorted(found, key=lambda position: position.symbol))


def _plain(row: dict[str, Any]) -> ExchangeOrder:
    stop = float(row.get("stopPrice") or 0)
    return ExchangeOrder(
        client_id=str(row["clientOrderId"]),
        symbol=str(row["symbol"]),
        side=_SIDES[row["side"]],
        type=str(row["type"]),
        quantity=float(row["origQty"]),
        filled_quantity=float(row["executedQty"]),
        stop_price=stop or None,
        reduce_only=bool(row["reduceOnly"]),
        time=int(row.get("time") or row["updateTime"]),
    )


def _algo(row: dict[str, Any]) -> ExchangeOrder:
    return ExchangeOrder(
        client_id=str(row["clientAlgoId"]),
        symbol=str(row["symbol"]),
        side=_SIDES[row["side"]],
        type=str(row["orderType"]),
        quantity=float(row["quantity"]),
        filled_quantity=float(row.get("actualQty") or 0),
        stop_price=float(row["triggerPrice"]),
        reduce_only=bool(row["reduceOnly"]),
        time=int(row["createTime"]),
    )


def _note_orders(tracker: Tracker, plain: list[dict[str, Any]], algos: list[dict[str, Any]]) -> None:
    for row in plain:
        name, symbol = str(row["clientOrderId"]), str(row["symbol"])
        tracker.put(Tracked(name, symbol, _SIDES[row["side"]], is_algo=False, is_accepted=True))
        tracker.link(symbol, int(row["orderId"]), name)
    for row in algos:
        name, symbol = str(row["clientAlgoId"]), str(row["symbol"])
        level = float(row["triggerPrice"])
        tracker.put(Tracked(name, symbol, _SIDES[row["side"]], is_algo=True, level=level, is_accepted=True))
        tracker.link(symbol, int(row.get("actualOrderId") or 0), name)
