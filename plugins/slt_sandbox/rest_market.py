"""Endpoints about the market, open to everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_sandbox.endpoint import Call, Endpoint
from slt_sandbox.errors import ApiError
from slt_sandbox.market_answers import (
    book_ticker,
    day_ticker,
    depth,
    exchange_info,
    premium_index,
    price_ticker,
)
from slt_sandbox.numbers import plain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENDPOINTS", "best_prices", "last_prices", "levels", "server_time"]

_DEPTHS = ("5", "10", "20", "50", "100", "500", "1000")
_KLINE_PATHS = ("klines", "continuousKlines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines")
_MAX_ROWS = 1_000


def _ping(call: Call) -> Any:
    del call
    return {}


def server_time(call: Call) -> Any:
    """The exchange's clock."""
    return {"serverTime": call.exchange.clock()}


def _exchange_info(call: Call) -> Any:
    return exchange_info(call.exchange)


def _premium_index(call: Call) -> Any:
    return call.one_or_all(premium_index)


def last_prices(call: Call) -> Any:
    """Last price of a symbol, or of all."""
    return call.one_or_all(price_ticker)


def best_prices(call: Call) -> Any:
    """Best bid and ask of a symbol, or of all."""
    return call.one_or_all(book_ticker)


def _day_ticker(call: Call) -> Any:
    return call.one_or_all(day_ticker)


def levels(call: Call) -> Any:
    """Levels around a symbol's price."""
    return depth(call.exchange, call.symbol(), int(call.params.choice("limit", _DEPTHS, -1130, "500")))


def _funding_rate(call: Call) -> Any:
    start, end = call.params.whole("startTime", 0), call.params.whole("endTime", call.exchange.clock())
    limit = min(call.params.whole("limit", 100), _MAX_ROWS)
    rows = [
        {
            "symbol": symbol,
            "fundingRate": plain(rate),
            "fundingTime": time,
            "markPrice": call.exchange.price_text(symbol),
            "rateType": "Regular",
        }
        for symbol in call.symbols()[0]
        for time, rate in call.exchange.market.past_funding(symbol)
        if start <= time <= end
    ]
    rows.sort(key=lambda row: int(str(row["fundingTime"])))
    return rows[:limit] if "startTime" in call.params else rows[-limit:]


def _funding_info(call: Call) -> Any:
    """Only symbols whose interval or caps were changed are listed; here none is."""
    del call
    return []


def _kline_refusal(path: str) -> Callable[[Call], Any]:
    def answer(call: Call) -> Any:
        call.exchange.ledger.record(call.exchange.clock(), "kline_request", path=path)
        raise ApiError(-1000, "This exchange serves k-lines over WebSocket only.", status=403)

    return answer


def _open(path: str, answer: Callable[[Call], Any], weight: int = 1, weight_of_all: int = 0) -> Endpoint:
    return Endpoint(method="GET", path=path, answer=answer, weight=weight, weight_of_all=weight_of_all, security="none")


ENDPOINTS: tuple[Endpoint, ...] = (
    _open("/fapi/v1/ping", _ping),
    _open("/fapi/v1/time", server_time),
    _open("/fapi/v1/exchangeInfo", _exchange_info),
    _open("/fapi/v1/premiumIndex", _premium_index, 1, 10),
    _open("/fapi/v1/ticker/price", last_prices, 1, 2),
    _open("/fapi/v2/ticker/price", last_prices, 1, 2),
    _open("/fapi/v1/ticker/bookTicker", best_prices, 2, 5),
    _open("/fapi/v1/ticker/24hr", _day_ticker, 1, 40),
    _open("/fapi/v1/depth", levels, 10),
    *(
        Endpoint(method="GET", path=f"/fapi/v1/{name}", answer=answer, weight=0, security="none", is_funding=True)
        for name, answer in (("fundingRate", _funding_rate), ("fundingInfo", _funding_info))
    ),
    *(_open(f"/fapi/v1/{name}", _kline_refusal(f"/fapi/v1/{name}"), 5) for name in _KLINE_PATHS),
)
"""Every endpoint of this module."""
