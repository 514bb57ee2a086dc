"""Symbols, prices and funding as the REST answers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.rules import lot_of
from slt_sandbox.limits import rate_limits
from slt_sandbox.market import ONBOARD_TIME
from slt_sandbox.numbers import decimals_of, money, number, plain

if TYPE_CHECKING:
    from decimal import Decimal

    from slt.types import SymbolRules
    from slt_sandbox.exchange import Exchange

__all__ = [
    "book_ticker",
    "brackets_of",
    "day_ticker",
    "depth",
    "exchange_info",
    "premium_index",
    "price_ticker",
    "split_symbol",
]

_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD1", "BTC", "ETH", "BNB")
_ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
_TIMES_IN_FORCE = ["GTC", "IOC", "FOK", "GTX", "GTD"]
_LEVEL_QUANTITY = "1000"


def split_symbol(symbol: str) -> tuple[str, str]:
    """Base and quote asset of a symbol; USDT where the name does not tell."""
    quote = next((one for one in _QUOTES if symbol.endswith(one) and symbol != one), "USDT")
    return symbol.removesuffix(quote), quote


def exchange_info(exchange: Exchange) -> dict[str, Any]:
    """Every symbol with its filters, and the limits."""
    assets = sorted({split_symbol(symbol)[1] for symbol in exchange.rules} | {"USDT"})
    return {
        "exchangeFilters": [],
        "rateLimits": rate_limits(exchange.settings),
        "serverTime": exchange.clock(),
        "assets": [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"} for asset in assets],
        "symbols": [_symbol(exchange, rules) for rules in exchange.rules.values()],
        "timezone": "UTC",
    }


def _symbol(exchange: Exchange, rules: SymbolRules) -> dict[str, Any]:
    base, quote = split_symbol(rules.symbol)
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": exchange.quote(rules.symbol).delivery,
        "onboardDate": ONBOARD_TIME,
        "status": exchange.status(rules.symbol),
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        "pricePrecision": decimals_of(rules.tick_size),
        "quantityPrecision": decimals_of(rules.step_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": plain(exchange.settings.liquidation_fee_fraction),
        "marketTakeBound": "0.05",
        "filters": _filters(rules),
        "orderTypes": _ORDER_TYPES,
        "timeInForce": _TIMES_IN_FORCE,
    }


def _filters(rules: SymbolRules) -> list[dict[str, Any]]:
    lots = (("LOT_SIZE", lot_of(rules, is_market=False)), ("MARKET_LOT_SIZE", lot_of(rules, is_market=True)))
    found: list[dict[str, Any]] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(rules.min_price),
            "maxPrice": plain(rules.max_price),
            "tickSize": plain(rules.tick_size),
        }
    ]
    found += [
        {
            "filterType": name,
            "minQty": plain(lot.minimum),
            "maxQty": plain(lot.maximum),
            "stepSize": plain(lot.step),
        }
        for name, lot in lots
    ]
    found.append({"filterType": "MAX_NUM_ORDERS", "limit": rules.max_orders})
    found.append({"filterType": "MIN_NOTIONAL", "notional": plain(rules.min_notional)})
    if rules.multiplier_up or rules.multiplier_down:
        percent = {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": plain(rules.multiplier_up),
            "multiplierDown": plain(rules.multiplier_down),
            "multiplierDecimal": "4",
        }
        found.append(percent)
    return found


def brackets_of(rules: SymbolRules) -> dict[str, Any]:
    """A symbol's leverage brackets."""
    rows = [
        {
            "bracket": index,
            "initialLeverage": one.max_leverage,
            "notionalCap": int(one.cap),
            "notionalFloor": int(one.floor),
            "maintMarginRatio": one.maintenance_rate,
            "cum": int(one.cum) if one.cum == int(one.cum) else one.cum,
        }
        for index, one in enumerate(rules.brackets, start=1)
    ]
    return {"symbol": rules.symbol, "brackets": rows}


def premium_index(exchange: Exchange, symbol: str) -> dict[str, Any]:
    """Mark price and funding of a symbol."""
    next_time, rate = exchange.market.next_funding(symbol)
    price = exchange.price_text(symbol)
    return {
        "symbol": symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": plain(rate),
        "interestRate": "0.0001",
        "nextFundingTime": next_time,
        "time": exchange.clock(),
    }


def price_ticker(exchange: Exchange, symbol: str) -> dict[str, Any]:
    """Last price of a symbol."""
    return {"symbol": symbol, "price": exchange.price_text(symbol), "time": exchange.clock()}


def _sides(exchange: Exchange, symbol: str) -> tuple[Decimal, Decimal, Decimal]:
    """Best bid, best ask and the tick; a tick to each side of the last price."""
    tick = exchange.rules[symbol].tick_size or number(0.01)
    last = number(float(exchange.price_text(symbol)))
    return max(last - tick, tick), last + tick, tick


def book_ticker(exchange: Exchange, symbol: str) -> dict[str, Any]:
    """Best bid and ask of a symbol, made from its last price."""
    bid, ask, _ = _sides(exchange, symbol)
    return {
        "symbol": symbol,
        "bidPrice": plain(bid),
        "bidQty": _LEVEL_QUANTITY,
        "askPrice": plain(ask),
        "askQty": _LEVEL_QUANTITY,
        "time": exchange.clock(),
    }


def depth(exchange: Exchange, symbol: str, limit: int) -> dict[str, Any]:
    """Levels around the last price, a tick apart."""
    bid, ask, tick = _sides(exchange, symbol)
    now, levels = exchange.clock(), range(limit)
    return {
        "lastUpdateId": exchange.quote(symbol).updates,
        "E": now,
        "T": now,
        "bids": [[plain(bid - tick * level), _LEVEL_QUANTITY] for level in levels if bid - tick * level > 0],
        "asks": [[plain(ask + tick * level), _LEVEL_QUANTITY] for level in levels],
    }


def day_ticker(exchange: Exchange, symbol: str) -> dict[str, Any]:
    """What a symbol has traded since the exchange opened."""
    quote = exchange.quote(symbol)
    first, last = (quote.first, quote.last) if quote.updates else (0.0, 0.0)
    mean = quote.quote_volume / quote.volume if quote.volume else last
    return {
        "symbol": symbol,
        "priceChange": money(last - first),
        "priceChangePercent": f"{100 * (last - first) / first if first else 0.0:.3f}",
        "weightedAvgPrice": money(mean),
        "lastPrice": plain(last),
        "lastQty": "0",
        "openPrice": plain(first),
        "highPrice": plain(quote.high if quote.updates else 0.0),
        "lowPrice": plain(quote.low if quote.updates else 0.0),
        "volume": money(quote.volume),
        "quoteVolume": money(quote.quote_volume),
        "openTime": max(0, quote.first_time),
        "closeTime": exchange.clock(),
        "firstId": 1,
        "lastId": max(1, quote.trades),
        "count": quote.trades,
    }
