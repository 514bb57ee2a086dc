"""Which symbols to follow: those asked for, or the ones that trade most, as far as they can be traded at all."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from slt.errors import DataError, FeedError
from slt_binance.frames import is_usdm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["choose_symbols", "read_volumes", "tradable_symbols"]

_TICKERS = "!ticker@arr"
_SHOWN = 10


def tradable_symbols(answer: Mapping[str, Any], quote_asset: str) -> tuple[str, ...]:
    """Perpetuals in trading, quoted and margined in an asset, out of an ``exchangeInfo`` answer, in its order.

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
    )


def choose_symbols(wanted: Collection[str], tradable: Collection[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """The symbols asked for, each checked.

    Args:
        wanted: Names from the configuration.
        tradable: Names that can be followed.
        known: Status and type of every name the exchange has.

    Raises:
        DataError: With a line for each that is unknown or cannot be traded.
    """
    problems = []
    for symbol in wanted:
        if symbol in tradable:
            continue
        if symbol in known:
            problems.append(f"feeds.binance.symbols: `{symbol}` cannot be traded ({known[symbol]}); remove it")
        else:
            near = difflib.get_close_matches(symbol, list(tradable), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"{len(tradable)} perpetuals are traded there"
            problems.append(f"feeds.binance.symbols: the exchange knows no `{symbol}`; {hint}")
    if problems:
        raise DataError(*problems)
    return tuple(wanted)


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
