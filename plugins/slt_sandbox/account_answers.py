"""Account, balances and positions as the REST answers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.market import maintenance_margin
from slt_sandbox.numbers import money, plain

if TYPE_CHECKING:
    from slt.market import ExchangePosition
    from slt_sandbox.account import Account
    from slt_sandbox.exchange import Exchange

__all__ = ["account_v2", "account_v3", "balance_row", "max_notional", "position_risk_v2", "position_risk_v3"]

_ACCOUNT_FLAGS = {"feeTier": 0, "feeBurn": False, "canTrade": True, "canDeposit": True, "canWithdraw": True}


def max_notional(exchange: Exchange, symbol: str, leverage: int) -> float:
    """The largest position that a leverage allows, quote currency."""
    brackets = exchange.rules[symbol].brackets
    return max((one.cap for one in brackets if one.max_leverage >= leverage), default=0.0)


@frozen
class _Sums:
    """Margins of an account, quote currency."""

    maintenance: float
    positions: float
    orders: float
    unrealised: float
    cross_unrealised: float

    @property
    def initial(self) -> float:
        return self.positions + self.orders


def _maintenance(exchange: Exchange, position: ExchangePosition) -> float:
    mark = exchange.mark_price(position.symbol)
    return maintenance_margin(exchange.rules[position.symbol], position.quantity * mark)


def _sums(exchange: Exchange, account: Account) -> _Sums:
    book, held = account.book, account.book.positions()
    cross = [position for position in held if book.margin_type(position.symbol) == "cross"]
    return _Sums(
        maintenance=sum(_maintenance(exchange, position) for position in held),
        positions=sum(position.margin for position in held),
        orders=book.reserved,
        unrealised=sum(position.unrealised for position in held),
        cross_unrealised=sum(position.unrealised for position in cross),
    )


def _asset(exchange: Exchange, account: Account, sums: _Sums) -> dict[str, Any]:
    book = account.book
    return {
        "asset": account.asset,
        "walletBalance": money(book.wallet),
        "unrealizedProfit": money(sums.unrealised),
        "marginBalance": money(book.equity),
        "maintMargin": money(sums.maintenance),
        "initialMargin": money(sums.initial),
        "positionInitialMargin": money(sums.positions),
        "openOrderInitialMargin": money(sums.orders),
        "crossWalletBalance": money(book.cross_wallet),
        "crossUnPnl": money(sums.cross_unrealised),
        "availableBalance": money(book.available),
        "maxWithdrawAmount": money(min(book.available, max(0.0, book.wallet))),
        "updateTime": max(account.updated.values(), default=exchange.clock()),
    }


def _totals(account: Account, sums: _Sums) -> dict[str, Any]:
    book = account.book
    return {
        "totalInitialMargin": money(sums.initial),
        "totalMaintMargin": money(sums.maintenance),
        "totalWalletBalance": money(book.wallet),
        "totalUnrealizedProfit": money(sums.unrealised),
        "totalMarginBalance": money(book.equity),
        "totalPositionInitialMargin": money(sums.positions),
        "totalOpenOrderInitialMargin": money(sums.orders),
        "totalCrossWalletBalance": money(book.cross_wallet),
        "totalCrossUnPnl": money(sums.cross_unrealised),
        "availableBalance": money(book.available),
        "maxWithdrawAmount": money(min(book.available, max(0.0, book.wallet))),
    }


def _shown(account: Account) -> list[str]:
    """Symbols with a position or an open order."""
    held = {position.symbol for position in account.book.positions()}
    orders = {order.symbol for order in account.open_orders.values()}
    return sorted(held | orders)


def account_v3(exchange: Exchange, account: Account) -> dict[str, Any]:
    """The account; only symbols with a position or an open order."""
    sums = _sums(exchange, account)
    positions = [_position_v3(exchange, account, symbol) for symbol in _shown(account)]
    return _totals(account, sums) | {"assets": [_asset(exchange, account, sums)], "positions": positions}


def _position_v3(exchange: Exchange, account: Account, symbol: str) -> dict[str, Any]:
    held = account.book.position(symbol)
    margin = money(held.margin if held and account.book.margin_type(symbol) == "isolated" else 0.0)
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(held.side * held.quantity if held else 0.0),
        "unrealizedProfit": money(held.unrealised if held else 0.0),
        "isolatedMargin": _isolated_margin(account, held),
        "notional": money(held.side * held.quantity * exchange.mark_price(symbol) if held else 0.0),
        "isolatedWallet": margin,
        "initialMargin": money(held.margin if held else 0.0),
        "maintMargin": money(_maintenance(exchange, held) if held else 0.0),
        "updateTime": account.updated.get(symbol, 0),
    }


def _isolated_margin(account: Account, held: ExchangePosition | None) -> str:
    if held is None or account.book.margin_type(held.symbol) != "isolated":
        return "0"
    return money(held.margin + held.unrealised)


def account_v2(exchange: Exchange, account: Account) -> dict[str, Any]:
    """The account as version 2 shows it, with every symbol."""
    sums = _sums(exchange, account)
    flags = _ACCOUNT_FLAGS | {
        "updateTime": 0,
        "multiAssetsMargin": account.is_multi_assets,
        "tradeGroupId": -1,
    }
    asset = _asset(exchange, account, sums) | {"marginAvailable": True}
    positions = [_position_v2(exchange, account, symbol) for symbol in exchange.rules]
    return flags | _totals(account, sums) | {"assets": [asset], "positions": positions}


def _position_v2(exchange: Exchange, account: Account, symbol: str) -> dict[str, Any]:
    held, leverage = account.book.position(symbol), account.book.leverage(symbol)
    return {
        "symbol": symbol,
        "initialMargin": money(held.margin if held else 0.0),
        "maintMargin": money(_maintenance(exchange, held) if held else 0.0),
        "unrealizedProfit": money(held.unrealised if held else 0.0),
        "positionInitialMargin": money(held.margin if held else 0.0),
        "openOrderInitialMargin": "0",
        "leverage": str(leverage),
        "isolated": account.book.margin_type(symbol) == "isolated",
        "entryPrice": plain(held.entry_price if held else 0.0),
        "maxNotional": plain(max_notional(exchange, symbol, leverage)),
        "bidNotional": "0",
        "askNotional": "0",
        "positionSide": "BOTH",
        "positionAmt": plain(held.side * held.quantity if held else 0.0),
        "updateTime": account.updated.get(symbol, 0),
    }


def balance_row(exchange: Exchange, account: Account) -> dict[str, Any]:
    """The balance of the wallet's asset."""
    asset = _asset(exchange, account, _sums(exchange, account))
    return {
        "accountAlias": "sandbox",
        "asset": account.asset,
        "balance": asset["walletBalance"],
        "crossWalletBalance": asset["crossWalletBalance"],
        "crossUnPnl": asset["crossUnPnl"],
        "availableBalance": asset["availableBalance"],
        "maxWithdrawAmount": asset["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": asset["updateTime"],
    }


def _position_common(exchange: Exchange, account: Account, symbol: str) -> dict[str, Any]:
    held = account.book.position(symbol)
    level = held.liquidation_price if held else None
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(held.side * held.quantity if held else 0.0),
        "entryPrice": plain(held.entry_price if held else 0.0),
        "breakEvenPrice": plain(held.entry_price if held else 0.0),
        "markPrice": exchange.price_text(symbol),
        "unRealizedProfit": money(held.unrealised if held else 0.0),
        "liquidationPrice": money(level or 0.0),
        "isolatedMargin": _isolated_margin(account, held),
        "notional": money(held.side * held.quantity * exchange.mark_price(symbol) if held else 0.0),
        "isolatedWallet": money(held.margin if held and account.book.margin_type(symbol) == "isolated" else 0.0),
        "updateTime": account.updated.get(symbol, 0),
    }


def position_risk_v3(exchange: Exchange, account: Account, symbol: str = "") -> list[dict[str, Any]]:
    """Positions; only symbols with a position or an open order."""
    rows = []
    for name in _shown(account):
        if symbol not in {"", name}:
            continue
        held = account.book.position(name)
        margin = money(held.margin if held else 0.0)
        rows.append(
            _position_common(exchange, account, name)
            | {
                "marginAsset": account.asset,
                "initialMargin": margin,
                "maintMargin": money(_maintenance(exchange, held) if held else 0.0),
                "positionInitialMargin": margin,
                "openOrderInitialMargin": "0",
                "adl": 2 if held else 0,
                "bidNotional": "0",
                "askNotional": "0",
            }
        )
    return rows


def position_risk_v2(exchange: Exchange, account: Account, symbol: str = "") -> list[dict[str, Any]]:
    """Positions as version 2 shows them, with every symbol."""
    rows = []
    for name in exchange.rules if not symbol else [symbol]:
        leverage = account.book.leverage(name)
        rows.append(
            _position_common(exchange, account, name)
            | {
                "marginType": account.book.margin_type(name),
                "isAutoAddMargin": "false",
                "leverage": str(leverage),
                "maxNotionalValue": plain(max_notional(exchange, name, leverage)),
            }
        )
    return rows
