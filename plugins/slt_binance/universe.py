"""Which symbols to follow: those asked for, or the ones that trade most, as far as they can be traded at all."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from slt.errors import DataError, FeedError
from slt.types import SymbolChange
from slt_binance.frames import delivery_time, is_usdm

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["choose_symbols", "coming_symbols", "read_volumes", "standing", "tradable_symbols"]

_TICKERS = "!ticker@arr"
_COMING = frozenset({"PENDING_TRADING", "PRE_TRADING"})
"""Words for a symbol that is listed and about to trade."""


def tradable_symbols(answer: Mapping[str, Any], quote_asset: str) -> tuple[str, ...]:
    """Perpetuals in trading, quoted and margined in an asset, out of an ``exchangeInfo`` answer, in its order.

    One that is to be delivered is left out: it may be entered no more.

    Raises:
        DataError: The answer has no list of symbols.
    """
    entries = answer.get("symbols")
    if not isinstance(entries, list):
        raise DataError("exchangeInfo: found no list `symbols`; is the address that of the USDⓈ-M futures API?")
    return tuple(
        str(entry["symbol"])
        for entry in entries
        if entry.get("status") == "TRADING"
        and entry.get("contractType") == "PERPETUAL"
        and entry.get("quoteAsset") == quote_asset
        and entry.get("marginAsset", quote_asset) == quote_asset
        and is_usdm(entry)
        and not delivery_time(entry.get("deliveryDate"))
    )


def choose_symbols(
    wanted: Collection[str], tradable: Collection[str], known: Mapping[str, str], coming: Collection[str] = ()
) -> tuple[str, ...]:
    """The symbols asked for, each checked; those that are listed but do not trade yet are left out.

    Args:
        wanted: Names from the configuration.
        tradable: Names that can be followed.
        known: Status and type of every name the exchange has.
        coming: Names that are about to trade.

    Raises:
        DataError: With a line for each that is unknown or cannot be traded, or where none trades yet.
    """
    problems = []
    for symbol in wanted:
        if symbol in tradable or symbol in coming:
            continue
        if symbol in known:
            problems.append(f"feeds.binance.symbols: `{symbol}` cannot be traded ({known[symbol]}); remove it")
        else:
            near = difflib.get_close_matches(symbol, list(tradable), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"{len(tradable)} perpetuals are traded there"
            problems.append(f"feeds.binance.symbols: the exchange knows no `{symbol}`; {hint}")
    chosen = tuple(symbol for symbol in wanted if symbol in tradable)
    if not chosen and not problems:
        problems.append(f"feeds.binance.symbols: none of {', '.join(wanted)} trades yet; add one that does")
    if problems:
        raise DataError(*problems)
    return chosen


def coming_symbols(answer: Mapping[str, Any], quote_asset: str) -> tuple[str, ...]:
    """As `tradable_symbols`, those that are listed and do not trade yet."""
    entries = [entry | {"status": "TRADING"} for entry in answer["symbols"] if entry.get("status") in _COMING]
    return tradable_symbols({"symbols": entries}, quote_asset)


def standing(answer: Mapping[str, Any], symbols: Iterable[str], time: int) -> tuple[SymbolChange, ...]:
    """How symbols stand by an ``exchangeInfo`` answer; one that is not in it is gone."""
    entries = {str(entry["symbol"]): entry for entry in answer["symbols"]}
    return tuple(_stands(symbol, entries.get(symbol), time) for symbol in symbols)


def _stands(symbol: str, entry: Mapping[str, Any] | None, time: int) -> SymbolChange:
    if entry is None:
        return SymbolChange(time, symbol, "GONE", is_tradable=False)
    status = str(entry.get("status"))
    return SymbolChange(time, symbol, status, status == "TRADING", delivery_time(entry.get("deliveryDate")))


async def read_volumes(stream_url: str, symbols: Collection[str], seconds: float) -> dict[str, float]:
    """Quote volume of the last 24 h per symbol, from the ticker stream of the whole market.

    The stream tells only what has changed, about once a second; it is listened to until every symbol has spoken, at
    most for the given time.

    Args:
        stream_url: Address of the streams, without a path.
        symbols: Symbols to wait for.
        seconds: Longest time to listen.

    Returns:
        Volumes in quote currency of the symbols that spoke.

    Raises:
        FeedError: The stream cannot be reached, or said nothing.
    """
    url = f"{stream_url.rstrip('/')}/market/ws/{_TICKERS}"
    volumes: dict[str, float] = {}
    awaited = set(symbols)
    try:
        async with asyncio.timeout(seconds), connect(url, max_size=1 << 24, close_timeout=1.0) as socket:
            while awaited:
                for ticker in _tickers(await socket.recv()):
                    if is_usdm(ticker) and ticker["s"] in awaited:
                        awaited.discard(ticker["s"])
                        volumes[ticker["s"]] = float(ticker["q"])
    except TimeoutError:
        pass
    except (OSError, WebSocketException, ValueError, KeyError, TypeError) as error:
        raise FeedError(
            f"the ticker stream {url} failed ({type(error).__name__}: {error}); check `feeds.binance.stream_url`"
        ) from error
    if not volumes:
        raise FeedError(f"the ticker stream {url} said nothing in {seconds:g} s; check `feeds.binance.stream_url`")
    return volumes


def _tickers(frame: str | bytes) -> list[dict[str, Any]]:
    content = json.loads(frame)
    data = content.get("data", []) if isinstance(content, dict) else content
    return [one for one in data if isinstance(one, dict)]
