"""Endpoints about the account and its settings."""

from __future__ import annotations

from typing import Any

from slt_sandbox.account_answers import (
    account_v2,
    account_v3,
    balance_row,
    max_notional,
    position_risk_v2,
    position_risk_v3,
)
from slt_sandbox.answers import income_row
from slt_sandbox.endpoint import Call, Endpoint
from slt_sandbox.errors import refusal
from slt_sandbox.events import account_config_update, multi_assets_update
from slt_sandbox.limits import rate_limits
from slt_sandbox.market import ONBOARD_TIME
from slt_sandbox.market_answers import brackets_of
from slt_sandbox.numbers import plain
from slt_sandbox.position_margin import change_margin, list_margin_moves

__all__ = [
    "ENDPOINTS",
    "account_information",
    "balance",
    "close_listen_key",
    "keep_listen_key",
    "position_risk",
    "start_listen_key",
]

_SUCCESS = {"code": 200, "msg": "success"}
_WEEK_MS = 604_800_000
_MAX_ROWS = 1_000


def _account_v2(call: Call) -> Any:
    return account_v2(call.exchange, call.account)


def account_information(call: Call) -> Any:
    """The account."""
    return account_v3(call.exchange, call.account)


def balance(call: Call) -> Any:
    """The balances."""
    return [balance_row(call.exchange, call.account)]


def _position_risk_v2(call: Call) -> Any:
    symbol = call.symbol() if "symbol" in call.params else ""
    return position_risk_v2(call.exchange, call.account, symbol)


def position_risk(call: Call) -> Any:
    """The positions."""
    symbol = call.symbol() if "symbol" in call.params else ""
    return position_risk_v3(call.exchange, call.account, symbol)


def _account_config(call: Call) -> Any:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": call.account.is_hedged,
        "updateTime": 0,
        "multiAssetsMargin": call.account.is_multi_assets,
        "tradeGroupId": -1,
    }


def _symbol_config(call: Call) -> Any:
    book = call.account.book
    return [
        {
            "symbol": symbol,
            "marginType": "ISOLATED" if book.margin_type(symbol) == "isolated" else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": book.leverage(symbol),
            "maxNotionalValue": plain(max_notional(call.exchange, symbol, book.leverage(symbol))),
        }
        for symbol in call.symbols()[0]
    ]


def _set_leverage(call: Call) -> Any:
    symbol, leverage, book = call.symbol(), call.params.whole("leverage"), call.account.book
    highest = call.exchange.rules[symbol].brackets[0].max_leverage
    if not 1 <= leverage <= highest:
        raise refusal(-4028, leverage=leverage)
    position = book.position(symbol)
    if position and leverage < book.leverage(symbol) and book.margin_type(symbol) == "isolated":
        raise refusal(-4161)
    allowed = max_notional(call.exchange, symbol, leverage)
    if position and position.quantity * call.exchange.mark_price(symbol) > allowed:
        raise refusal(-2027)
    if leverage != book.leverage(symbol):
        book.set_leverage(symbol, leverage)
        call.account.emit(account_config_update(call.exchange.clock(), symbol, leverage))
    return {"leverage": leverage, "maxNotionalValue": plain(allowed), "symbol": symbol}


def _set_margin_type(call: Call) -> Any:
    symbol, account = call.symbol(), call.account
    wanted = call.params.choice("marginType", ("ISOLATED", "CROSSED", "CROSS"), -1130)
    margin_type = "isolated" if wanted == "ISOLATED" else "cross"
    if margin_type == account.book.margin_type(symbol):
        raise refusal(-4046)
    working = {order.symbol for order in account.open_orders.values()}
    if symbol in working | {algo.symbol for algo in account.open_algos.values()}:
        raise refusal(-4047)
    if account.book.position(symbol):
        raise refusal(-4048)
    account.book.set_margin_type(symbol, margin_type)
    return dict(_SUCCESS)


def _position_mode(call: Call) -> Any:
    return {"dualSidePosition": call.account.is_hedged}


def _set_position_mode(call: Call) -> Any:
    wanted, account = call.params.flag("dualSidePosition"), call.account
    if wanted == account.is_hedged:
        raise refusal(-4059)
    if account.open_orders or account.open_algos:
        raise refusal(-4067)
    if account.book.positions():
        raise refusal(-4068)
    account.is_hedged = wanted
    return dict(_SUCCESS)


def _multi_assets(call: Call) -> Any:
    return {"multiAssetsMargin": call.account.is_multi_assets}


def _set_multi_assets(call: Call) -> Any:
    wanted = call.params.flag("multiAssetsMargin")
    if wanted == call.account.is_multi_assets:
        raise refusal(-4171)
    call.account.is_multi_assets = wanted
    call.account.emit(multi_assets_update(call.exchange.clock(), is_on=wanted))
    return dict(_SUCCESS)


def _leverage_bracket(call: Call) -> Any:
    return [brackets_of(call.exchange.rules[symbol]) for symbol in call.symbols()[0]]


def _commission_rate(call: Call) -> Any:
    symbol = call.symbol()
    rules = call.exchange.rules[symbol]
    return {
        "symbol": symbol,
        "makerCommissionRate": plain(rules.maker_fee),
        "takerCommissionRate": plain(rules.taker_fee),
        "rpiCommissionRate": "0",
    }


def _income(call: Call) -> Any:
    params, now = call.params, call.exchange.clock()
    symbol = call.symbol() if "symbol" in params else ""
    kind, limit = params.text("incomeType", ""), min(params.whole("limit", 100), _MAX_ROWS)
    start, end = params.whole("startTime", now - _WEEK_MS), params.whole("endTime", now)
    rows = [
        row
        for row in call.account.income
        if symbol in {"", row.symbol} and kind in {"", row.kind} and start <= row.time <= end
    ]
    return [income_row(row, call.account) for row in rows[-limit:]]


def _order_limits(call: Call) -> Any:
    return [row for row in rate_limits(call.exchange.settings) if row["rateLimitType"] == "ORDERS"]


def start_listen_key(call: Call) -> Any:
    """Give the listen key, or lengthen its life."""
    return {"listenKey": _listen_key(call, "start")}


def keep_listen_key(call: Call) -> Any:
    """Lengthen the life of the listen key."""
    return {"listenKey": _listen_key(call, "keep")}


def close_listen_key(call: Call) -> Any:
    """Close the listen key."""
    _listen_key(call, "close")
    return {}


def _listen_key(call: Call, action: str) -> str | None:
    exchange, api_key = call.exchange, call.account.api_key
    keys, now = exchange.listen_keys, exchange.wall()
    exchange.ledger.record(exchange.clock(), "listen_key", api_key, action=action)
    if action == "close":
        return keys.close(api_key)
    return keys.start(api_key, now) if action == "start" else keys.keep(api_key, now)


def _key_rights(call: Call) -> Any:
    """What the key may do, as the exchange's account service tells."""
    may_withdraw = "withdrawals" in call.account.permissions
    return {
        "ipRestrict": True,  # nobody but this machine can reach it
        "createTime": ONBOARD_TIME,
        "enableReading": True,
        "enableFutures": "futures" in call.account.permissions,
        "enableWithdrawals": may_withdraw,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableMargin": False,
        "enableVanillaOptions": False,
        "enableSpotAndMarginTrading": False,
        "enablePortfolioMarginTrading": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": True,
    }


def _one(method: str, path: str, answer: Any, weight: int = 1, security: str = "signed") -> Endpoint:
    return Endpoint(method=method, path=f"/fapi/{path}", answer=answer, weight=weight, security=security)


ENDPOINTS: tuple[Endpoint, ...] = (
    _one("GET", "v2/account", _account_v2, 5),
    _one("GET", "v3/account", account_information, 5),
    _one("GET", "v2/balance", balance, 5),
    _one("GET", "v3/balance", balance, 5),
    _one("GET", "v2/positionRisk", _position_risk_v2, 5),
    _one("GET", "v3/positionRisk", position_risk, 5),
    _one("GET", "v1/accountConfig", _account_config, 5),
    _one("GET", "v1/symbolConfig", _symbol_config, 5),
    _one("POST", "v1/leverage", _set_leverage),
    _one("POST", "v1/marginType", _set_margin_type),
    _one("POST", "v1/positionMargin", change_margin),
    _one("GET", "v1/positionMargin/history", list_margin_moves),
    _one("GET", "v1/positionSide/dual", _position_mode, 30),
    _one("POST", "v1/positionSide/dual", _set_position_mode),
    _one("GET", "v1/multiAssetsMargin", _multi_assets, 30),
    _one("POST", "v1/multiAssetsMargin", _set_multi_assets),
    _one("GET", "v1/leverageBracket", _leverage_bracket),
    _one("GET", "v1/commissionRate", _commission_rate, 20),
    _one("GET", "v1/income", _income, 30),
    _one("GET", "v1/rateLimit/order", _order_limits),
    _one("POST", "v1/listenKey", start_listen_key, security="key"),
    _one("PUT", "v1/listenKey", keep_listen_key, security="key"),
    _one("DELETE", "v1/listenKey", close_listen_key, security="key"),
    Endpoint(method="GET", path="/sapi/v1/account/apiRestrictions", answer=_key_rights),
)
"""Every endpoint of this module."""
