"""Endpoints about orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_sandbox.algo_orders import parse_algo
from slt_sandbox.answers import (
    algo_acknowledgement,
    algo_cancelled,
    algo_row,
    order_acknowledgement,
    order_amended,
    order_row,
    trade_row,
)
from slt_sandbox.endpoint import Call, Endpoint
from slt_sandbox.errors import MESSAGES, ApiError, refusal
from slt_sandbox.orders import parse_amendment, parse_order
from slt_sandbox.params import Params

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt_sandbox.orders import OrderRecord

__all__ = ["ENDPOINTS", "amend_order", "cancel_algo", "cancel_order", "place_algo", "place_order", "query_order"]

_DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}
_MAX_BATCH = 5
_MAX_CANCELS = 10
_MAX_ROWS = 1_000


def _check_side(call: Call) -> None:
    """Orders of hedge mode are not simulated: an account in it can place none."""
    if call.account.is_hedged:
        raise ApiError(-4061, f"{MESSAGES[-4061]} The sandbox trades in one-way mode only: set dualSidePosition=false.")
    if call.params.text("positionSide", "BOTH") != "BOTH":
        raise refusal(-4061)


def place_order(call: Call) -> Any:
    """Take an order; the acknowledgement shows it new, a RESULT as it is."""
    _check_side(call)
    request = parse_order(call.params, call.exchange.clock())
    order = call.trading.place(request)
    row = order_acknowledgement(order)
    if not request.wants_result:
        row |= {"status": "NEW", "executedQty": "0", "cumQty": "0"}
    return row


def _test_order(call: Call) -> Any:
    _check_side(call)
    call.trading.check(parse_order(call.params, call.exchange.clock()))
    return {}


def amend_order(call: Call) -> Any:
    """Give an order another quantity and price."""
    params = call.params
    return order_amended(call.trading.amend(call.symbol(), *_order_key(params), parse_amendment(params)))


def _order_key(params: Params) -> tuple[int, str]:
    if "orderId" not in params and "origClientOrderId" not in params:
        raise ApiError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return params.whole("orderId", 0), params.text("origClientOrderId", "")


def cancel_order(call: Call) -> Any:
    """Cancel an order."""
    return order_acknowledgement(call.trading.cancel(call.symbol(), *_order_key(call.params)))


def query_order(call: Call) -> Any:
    """Tell an order's state."""
    order = call.trading.find(call.symbol(), *_order_key(call.params))
    if order is None:
        raise refusal(-2013)
    return order_row(order)


def _open_order(call: Call) -> Any:
    order = call.trading.find(call.symbol(), *_order_key(call.params))
    if order is None or not order.is_open:
        raise refusal(-2013)
    return order_row(order)


def _open_orders(call: Call) -> Any:
    symbols = set(call.symbols()[0])
    return [order_row(order) for order in call.account.open_orders.values() if order.symbol in symbols]


def _all_orders(call: Call) -> Any:
    params, symbol = call.params, call.symbol()
    first, limit = params.whole("orderId", 0), min(params.whole("limit", 500), _MAX_ROWS)
    start, end = params.whole("startTime", 0), params.whole("endTime", call.exchange.clock())
    found = [
        order
        for order in call.account.orders.values()
        if order.symbol == symbol and order.order_id >= first and start <= order.time <= end
    ]
    return [order_row(order) for order in (found[:limit] if first else found[-limit:])]


def _place_batch(call: Call) -> Any:
    return _each(call, place_order)


def _amend_batch(call: Call) -> Any:
    return _each(call, amend_order)


def _each(call: Call, act: Callable[[Call], Any]) -> Any:
    """Answer the orders of a batch one by one: with what became of each, or why nothing did."""
    rows = call.params.rows("batchOrders")
    if not 0 < len(rows) <= _MAX_BATCH:
        raise refusal(-1130, name="batchOrders")
    return [_one_of(call, row, act) for row in rows]


def _one_of(call: Call, row: Any, act: Callable[[Call], Any]) -> Any:
    try:
        if not isinstance(row, dict):
            raise refusal(-1130, name="batchOrders")
        return act(Call(call.exchange, Params(row), call.account))
    except ApiError as error:
        return error.body


def _cancel_batch(call: Call) -> Any:
    params, symbol = call.params, call.symbol()
    by_client = "orderIdList" not in params
    keys = params.rows("origClientOrderIdList" if by_client else "orderIdList")
    if not 0 < len(keys) <= _MAX_CANCELS:
        raise refusal(-1130, name="orderIdList")
    return [_cancel_one(call, symbol, key, by_client=by_client) for key in keys]


def _cancel_one(call: Call, symbol: str, key: Any, *, by_client: bool) -> Any:
    try:
        if not by_client and not str(key).isdigit():
            raise refusal(-1130, name="orderIdList")
        order_id, client_id = (0, str(key)) if by_client else (int(key), "")
        return order_acknowledgement(call.trading.cancel(symbol, order_id, client_id))
    except ApiError as error:
        return error.body


def _cancel_all(call: Call) -> Any:
    call.trading.cancel_all(call.symbol())
    return dict(_DONE)


def _countdown(call: Call) -> Any:
    symbol, countdown = call.symbol(), call.params.whole("countdownTime")
    if countdown > 0:
        call.account.countdowns[symbol] = call.exchange.wall() + countdown
    else:
        call.account.countdowns.pop(symbol, None)
    return {"symbol": symbol, "countdownTime": str(countdown)}


def place_algo(call: Call) -> Any:
    """Take a conditional order."""
    _check_side(call)
    return algo_acknowledgement(call.trading.algos.place(parse_algo(call.params)))


def _algo_key(params: Params) -> tuple[int, str]:
    if "algoId" not in params and "clientAlgoId" not in params:
        raise ApiError(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    return params.whole("algoId", 0), params.text("clientAlgoId", "")


def cancel_algo(call: Call) -> Any:
    """Cancel a conditional order."""
    return algo_cancelled(call.trading.algos.cancel(*_algo_key(call.params)))


def _query_algo(call: Call) -> Any:
    algo = call.trading.algos.find(*_algo_key(call.params))
    if algo is None:
        raise refusal(-2013)
    return algo_row(algo, is_single=True)


def _open_algos(call: Call) -> Any:
    symbols = set(call.symbols()[0])
    return [algo_row(algo) for algo in call.account.open_algos.values() if algo.symbol in symbols]


def _all_algos(call: Call) -> Any:
    params, symbol = call.params, call.symbol()
    first, limit = params.whole("algoId", 0), min(params.whole("limit", 500), _MAX_ROWS)
    start, end = params.whole("startTime", 0), params.whole("endTime", call.exchange.clock())
    found = [
        algo
        for algo in call.account.algos.values()
        if algo.symbol == symbol and algo.algo_id >= first and start <= algo.time <= end
    ]
    return [algo_row(algo) for algo in (found[:limit] if first else found[-limit:])]


def _cancel_all_algos(call: Call) -> Any:
    call.trading.algos.cancel_all(call.symbol())
    return dict(_DONE)


def _trades(call: Call) -> Any:
    params, symbol = call.params, call.symbol()
    first, limit = params.whole("fromId", 0), min(params.whole("limit", 500), _MAX_ROWS)
    start, end = params.whole("startTime", 0), params.whole("endTime", call.exchange.clock())
    order_id = params.whole("orderId", 0)
    found = [
        trade
        for trade in call.account.trades
        if trade.order.symbol == symbol and _is_wanted(trade.order, order_id) and start <= trade.time <= end
    ]
    if first:
        found = [trade for trade in found if trade.trade_id >= first][:limit]
    return [trade_row(trade, call.account) for trade in found[-limit:]]


def _is_wanted(order: OrderRecord, order_id: int) -> bool:
    return order_id in {0, order.order_id}


def _one(method: str, path: str, answer: Any, **more: Any) -> Endpoint:
    return Endpoint(method=method, path=f"/fapi/v1/{path}", answer=answer, **more)


ENDPOINTS: tuple[Endpoint, ...] = (
    _one("POST", "order", place_order, weight=0, orders_10s=1, orders_1m=1),
    _one("POST", "order/test", _test_order, weight=0),
    _one("PUT", "order", amend_order, weight=0, orders_10s=1, orders_1m=1),
    _one("DELETE", "order", cancel_order),
    _one("GET", "order", query_order),
    _one("GET", "openOrder", _open_order),
    _one("GET", "openOrders", _open_orders, weight=1, weight_of_all=40),
    _one("GET", "allOrders", _all_orders, weight=5),
    _one("POST", "batchOrders", _place_batch, weight=5, orders_10s=5, orders_1m=1),
    _one("PUT", "batchOrders", _amend_batch, weight=5, orders_10s=5, orders_1m=1),
    _one("DELETE", "batchOrders", _cancel_batch),
    _one("DELETE", "allOpenOrders", _cancel_all),
    _one("POST", "countdownCancelAll", _countdown, weight=10),
    _one("POST", "algoOrder", place_algo, weight=0, orders_10s=1, orders_1m=1),
    _one("DELETE", "algoOrder", cancel_algo),
    _one("GET", "algoOrder", _query_algo),
    _one("GET", "openAlgoOrders", _open_algos, weight=1, weight_of_all=40),
    _one("GET", "allAlgoOrders", _all_algos, weight=5),
    _one("DELETE", "algoOpenOrders", _cancel_all_algos),
    _one("GET", "userTrades", _trades, weight=5),
)
"""Every endpoint of this module."""
