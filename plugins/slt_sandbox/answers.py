"""Orders, trades and income as the REST answers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_sandbox.numbers import money, plain

if TYPE_CHECKING:
    from slt_sandbox.account import Account, Income, TradeRow
    from slt_sandbox.algo_orders import AlgoRecord
    from slt_sandbox.orders import OrderRecord

__all__ = [
    "algo_acknowledgement",
    "algo_cancelled",
    "algo_row",
    "income_row",
    "order_acknowledgement",
    "order_amended",
    "order_row",
    "trade_row",
]

_SIDES = {1: "BUY", -1: "SELL"}


def order_acknowledgement(order: OrderRecord) -> dict[str, Any]:
    """An order as placing and cancelling answer it: without average price and quote volume."""
    return {
        "clientOrderId": order.client_id,
        "cumQty": plain(order.executed),
        "executedQty": plain(order.executed),
        "orderId": order.order_id,
        "origQty": plain(order.quantity),
        "price": plain(order.price),
        "reduceOnly": order.reduce_only,
        "side": _SIDES[order.side],
        "positionSide": "BOTH",
        "status": order.status,
        "stopPrice": "0",
        "closePosition": order.close_position,
        "symbol": order.symbol,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "origType": order.type,
        "updateTime": order.update_time,
        "workingType": order.working_type,
        "priceProtect": False,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till,
    }


def order_amended(order: OrderRecord) -> dict[str, Any]:
    """An order as modifying answers it."""
    named = {} if order.modify_id is None else {"modifyId": order.modify_id}
    return order_acknowledgement(order) | {"pair": order.symbol} | named


def order_row(order: OrderRecord) -> dict[str, Any]:
    """An order as a query answers it."""
    row = order_acknowledgement(order)
    del row["cumQty"]
    return row | {"avgPrice": plain(order.average), "cumQuote": money(order.quote), "time": order.time}


def _algo_base(algo: AlgoRecord) -> dict[str, Any]:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": _SIDES[algo.side],
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force,
        "quantity": plain(algo.quantity),
        "algoStatus": algo.status,
        "triggerPrice": plain(algo.trigger_price),
        "price": plain(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.time,
        "updateTime": algo.update_time,
        "triggerTime": algo.trigger_time,
        "goodTillDate": 0,
    }


def algo_acknowledgement(algo: AlgoRecord) -> dict[str, Any]:
    """A conditional order as placing answers it."""
    row = _algo_base(algo)
    if algo.callback_rate:
        row |= {"activatePrice": plain(algo.activate_price), "callbackRate": plain(algo.callback_rate)}
    return row


def algo_row(algo: AlgoRecord, *, is_single: bool = False) -> dict[str, Any]:
    """A conditional order as a query answers it.

    Args:
        algo: The order.
        is_single: The query of one order, which tells a little more of what it became.
    """
    order = algo.order
    row = _algo_base(algo) | {
        "actualOrderId": str(order.order_id) if order else "",
        "actualPrice": plain(order.average) if order else "0",
        "tpOrderType": "",
    }
    if is_single:
        more = {"actualType": order.type, "actualQty": plain(order.executed)} if order else {}
        return row | more
    return row | {"tpTriggerPrice": "0", "tpPrice": "0", "slTriggerPrice": "0", "slPrice": "0"}


def algo_cancelled(algo: AlgoRecord) -> dict[str, Any]:
    """The answer to a cancelled conditional order; its code is a text."""
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def trade_row(trade: TradeRow, account: Account) -> dict[str, Any]:
    """An execution."""
    order = trade.order
    return {
        "buyer": order.side > 0,
        "commission": plain(trade.fee),
        "commissionAsset": account.asset,
        "id": trade.trade_id,
        "maker": trade.is_maker,
        "orderId": order.order_id,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "quoteQty": money(trade.price * trade.quantity),
        "baseQty": "0",
        "marginAsset": account.asset,
        "realizedPnl": plain(trade.realised),
        "side": _SIDES[order.side],
        "positionSide": "BOTH",
        "symbol": order.symbol,
        "pair": order.symbol,
        "time": trade.time,
    }


def income_row(row: Income, account: Account) -> dict[str, Any]:
    """A change of the wallet."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": plain(row.amount),
        "asset": account.asset,
        "info": row.kind,
        "time": row.time,
        "tranId": row.transaction_id,
        "tradeId": str(row.trade_id) if row.trade_id else "",
    }
