"""The feed `binance`: closed candles of USDⓈ-M perpetuals over WebSocket, never over REST."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le, matches_re

from slt import hookimpl
from slt.candles import parse_interval
from slt.errors import FeedError
from slt.rules import parse_exchange_info
from slt.types import ConnectionPlan, MarketInfo, MarketReview
from slt_binance.client import Client
from slt_binance.endpoints import Endpoints
from slt_binance.faults import ExchangeError
from slt_binance.frames import decode_frame, kline_stream, route_frame, subscription_frames
from slt_binance.universe import choose_symbols, coming_symbols, read_volumes, standing, tradable_symbols

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attrs import Attribute

    from slt.types import Bars

__all__ = ["BinanceFeed", "BinanceFeedConfig"]

_CONTRACTS = "!contractInfo"
_MOST_STREAMS = 1_024
_MOST_OF_TOP = 2
"""How many times `top` symbols are followed at most: one that falls out of the top stays, for its positions."""
_SYMBOL = re.compile(r"[^\s@!/a-z]+")
_log = logging.getLogger(__name__)


def _check_symbols(_: BinanceFeedConfig, __: Attribute[tuple[str, ...]], symbols: tuple[str, ...]) -> None:
    wrong = [s for s in symbols if _SYMBOL.fullmatch(s) is None]
    if wrong:
        raise ValueError(f"`{wrong[0]}` is not a symbol; write it as the exchange does, such as `BTCUSDT`")
    doubled = sorted({s for s in symbols if symbols.count(s) > 1})
    if doubled:
        raise ValueError(f"`{doubled[0]}` stands there more than once")


@frozen(kw_only=True)
class BinanceFeedConfig:
    """Options of `BinanceFeed`.

    Attributes:
        rest_url: Address of the REST API: the demo exchange; for real prices `https://fapi.binance.com`.
        stream_url: Address of the streams: the demo exchange; for real prices `wss://fstream.binance.com`.
        symbols: Symbols to follow, in this order, each from when it trades; empty = the `top` by quote volume.
        top: How many symbols to follow where none are named; what comes among them joins, up to twice as many.
        quote_asset: Only perpetuals quoted and margined in it.
        interval: Length of the candles.
        connections: Least number of connections that the streams are spread over.
        streams_per_connection: Most streams on one connection; the exchange allows 1024.
        request_timeout_seconds: Time for one REST request and its answer.
        ticker_seconds: Longest time to listen to the tickers for the quote volumes.
    """

    rest_url: str = field(default="https://demo-fapi.binance.com", validator=matches_re(r"https?://.+"))
    stream_url: str = field(default="wss://demo-fstream.binance.com", validator=matches_re(r"wss?://.+"))
    symbols: tuple[str, ...] = field(default=(), validator=_check_symbols)
    top: int = field(default=50, validator=and_(ge(1), le(2_000)))
    quote_asset: str = field(default="USDT", validator=matches_re(r"[A-Z0-9]+"))
    interval: str = field(default="1m", validator=in_(("1m", "3m", "5m", "15m", "30m", "1h")))
    connections: int = field(default=2, validator=and_(ge(1), le(50)))
    streams_per_connection: int = field(default=200, validator=and_(ge(2), le(_MOST_STREAMS)))
    request_timeout_seconds: float = field(default=10.0, validator=gt(0.0))
    ticker_seconds: float = field(default=10.0, validator=gt(0.0))


class BinanceFeed:
    """Candles of Binance USDⓈ-M perpetuals as they close, over WebSocket.

    Symbols are named, or those with the greatest quote volume are taken. Candles come from the k-line streams alone:
    the REST API is asked for the list of symbols and the time, never for a candle. Listings, halts and delistings are
    followed while it runs: at once by the stream of contract changes, and at every review of the market.

    Args:
        config: The options.
    """

    config_class = BinanceFeedConfig

    def __init__(self, config: BinanceFeedConfig) -> None:
        self.config = config

    @hookimpl
    def slt_describe_market(self, resumed: tuple[str, ...] = ()) -> MarketInfo:
        """Ask which symbols trade and choose; see `slt.hookspecs.FeedSpecs.slt_describe_market`."""
        return asyncio.run(self._look(resumed))

    @hookimpl
    def slt_read_bars(self, start: int, rows: int) -> Iterator[Bars]:  # noqa: ARG002 # the contract's arguments
        """Give nothing: the exchange's past comes from the own store and the archive files."""
        return iter(())

    @hookimpl
    def slt_plan_connections(self, symbols: tuple[str, ...]) -> tuple[ConnectionPlan, ...]:
        """Spread the streams evenly; see `slt.hookspecs.FeedSpecs.slt_plan_connections`."""
        room = self.config.streams_per_connection - 1
        count = min(max(self.config.connections, -(-len(symbols) // room)), max(len(symbols), 1))
        url = f"{self.config.stream_url.rstrip('/')}/market/stream"
        plans = []
        for number in range(count):
            share = symbols[number::count]
            streams = tuple(kline_stream(symbol, self.config.interval) for symbol in share)
            first = number == 0
            plans.append(
                ConnectionPlan(
                    name=f"market-{number + 1}",
                    url=url,
                    streams=(*streams, _CONTRACTS) if first else streams,
                    symbols=(*share, "") if first else share,
                )
            )
        return tuple(plans)

    @hookimpl
    def slt_subscribe_streams(self, streams: tuple[str, ...], is_wanted: bool, first_id: int) -> tuple[str, ...]:
        """Word the control frames; see `slt.hookspecs.FeedSpecs.slt_subscribe_streams`."""
        return subscription_frames(streams, is_wanted, first_id)

    slt_route_frame = staticmethod(hookimpl(route_frame))
    slt_decode_frame = staticmethod(hookimpl(decode_frame))

    @hookimpl
    async def slt_review_market(self, symbols: tuple[str, ...]) -> MarketReview:
        """Look at the list of symbols again; see `slt.hookspecs.FeedSpecs.slt_review_market`.

        Raises:
            FeedError: The exchange does not answer.
        """
        answer, time = await self._list()
        changes = standing(answer, symbols, time)
        joining = await self._newcomers(answer, symbols, sum(change.is_tradable for change in changes))
        return MarketReview(changes, joining, parse_exchange_info(answer, symbols=frozenset(joining)))

    async def _newcomers(self, answer: dict[str, Any], symbols: tuple[str, ...], trading: int) -> tuple[str, ...]:
        """Symbols that trade now and are to be followed: named ones, or what has come among the `top`."""
        config = self.config
        tradable = tradable_symbols(answer, config.quote_asset)
        if config.symbols:
            return tuple(s for s in config.symbols if s in tradable and s not in symbols)
        try:
            ranked = self._rank(await read_volumes(config.stream_url, tradable, config.ticker_seconds))
        except FeedError as error:
            _log.warning("nobody joins at this review: %s", error)
            return ()
        new = tuple(symbol for symbol in ranked if symbol not in symbols)
        room = max(0, _MOST_OF_TOP * config.top - trading)
        if len(new) > room:
            _log.warning("%d symbols have come among the top, there is room for %d of them", len(new), room)
        return new[:room]

    async def _list(self) -> tuple[dict[str, Any], int]:
        """The exchange's list of symbols, and its time, ms UTC."""
        config = self.config
        client = Client(config.rest_url, None, timeout_seconds=config.request_timeout_seconds)
        try:
            await client.sync_clock()
            answer: dict[str, Any] = await client.call(Endpoints.EXCHANGE_INFO)
        except ExchangeError as error:
            raise FeedError(f"feeds.binance: the list of symbols cannot be read: {error}") from None
        finally:
            await client.close()
        if not isinstance(answer.get("symbols"), list):
            raise FeedError(f"feeds.binance: {config.rest_url} lists no symbols; is it the USDⓈ-M futures API?")
        return answer, client.now

    async def _look(self, resumed: tuple[str, ...]) -> MarketInfo:
        config = self.config
        answer, now = await self._list()
        interval_ms = parse_interval(config.interval)
        symbols = resumed or await self._choose(answer)
        return MarketInfo(
            symbols=symbols,
            interval_ms=interval_ms,
            start=now // interval_ms * interval_ms,
            end=None,
            description=f"live candles of {len(symbols)} perpetuals, {config.interval}, from {config.stream_url}",
            rules=parse_exchange_info(answer, symbols=symbols),
        )

    async def _choose(self, answer: dict[str, Any]) -> tuple[str, ...]:
        config = self.config
        tradable = tradable_symbols(answer, config.quote_asset)
        if config.symbols:
            known = {
                str(entry["symbol"]): f"status {entry.get('status')}, {entry.get('contractType')}, "
                f"quoted in {entry.get('quoteAsset')}"
                for entry in answer["symbols"]
            }
            coming = coming_symbols(answer, config.quote_asset)
            if waiting := [symbol for symbol in config.symbols if symbol in coming]:
                _log.warning("%s: listed, but not trading yet; followed as soon as it does", ", ".join(waiting))
            return choose_symbols(config.symbols, tradable, known, coming)
        if not tradable:
            raise FeedError(f"feeds.binance: {config.rest_url} trades no perpetual quoted in {config.quote_asset}")
        volumes = await read_volumes(config.stream_url, tradable, config.ticker_seconds)
        ranked = self._rank(volumes)
        if len(ranked) < min(config.top, len(tradable)):
            _log.warning("only %d of %d symbols have told their volume; following these", len(ranked), len(tradable))
        return ranked

    def _rank(self, volumes: dict[str, float]) -> tuple[str, ...]:
        return tuple(sorted(volumes, key=lambda symbol: (-volumes[symbol], symbol))[: self.config.top])
