"""From a symbol's tape to what is pushed: k-lines of every interval asked for, trades, books, tickers, mark prices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import evolve, frozen

from slt.candles import interval_name
from slt_sandbox.payloads import (
    agg_trade_text,
    book_ticker_text,
    depth_text,
    dump,
    grid_of,
    kline_text,
    mark_price,
    mini_ticker,
    ticker,
)
from slt_sandbox.tape import CALENDAR, Candle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt.types import MarketInfo, SymbolRules
    from slt_sandbox.hub import Hub
    from slt_sandbox.tape import Tape

__all__ = ["Broadcast", "KlineFaults", "Push", "View"]

_INTERVALS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
_BY_CALENDAR = -1
"""Stands for the length of the intervals of `CALENDAR`."""
_CONTINUOUS = "_perpetual@continuousKline_"
_EIGHT_HOURS_MS = 28_800_000


@frozen
class View:
    """A candle as one stream shows it.

    Attributes:
        stream: Name of the stream.
        interval: Name of its interval.
        candle: The candle so far.
        ends: Whether it ends with the source's bar.
    """

    stream: str
    interval: str
    candle: Candle
    ends: bool


@frozen
class Push:
    """One k-line push as the faults leave it.

    Attributes:
        delay_ms: Market time to wait before it is sent.
        candle: What it tells.
        is_closed: Whether it closes the bar.
        mangle: Changes the text; None = it is sent as it is.
        client: Only this client gets it; 0 = all do.
        spared: Clients that do not get it.
    """

    candle: Candle
    is_closed: bool
    delay_ms: int = 0
    mangle: Callable[[str], str] | None = None
    client: int = 0
    spared: frozenset[int] = frozenset()


class KlineFaults(Protocol):
    """What can go wrong with k-lines."""

    def kline(self, symbol: str, candle: Candle, *, is_closed: bool, time: int) -> list[Push] | None:
        """The pushes that come of one; None = it is sent as it is."""


class Broadcast:
    """Words and pushes what the streams say.

    Args:
        hub: Where streams are pushed.
        tapes: The symbols' trading.
        rules: Their rules, for the decimals.
        market: What the feed told, for the funding.
        faults: What goes wrong with k-lines; None = nothing.
        shift_ms: Added to the times of the funding.
        later: Does something at a market time.
    """

    def __init__(
        self,
        hub: Hub,
        tapes: Mapping[str, Tape],
        rules: Mapping[str, SymbolRules],
        market: MarketInfo,
        faults: KlineFaults | None,
        shift_ms: int,
        later: Callable[[int, Callable[[], Any]], None],
    ) -> None:
        self._hub = hub
        self._tapes = tapes
        self._grids = {symbol: grid_of(rules[symbol]) for symbol in tapes}
        self._faults = faults
        self._later = later
        self._base = market.interval_ms
        self._base_name = interval_name(market.interval_ms)
        self._funding = {
            symbol: (rates.time + shift_ms, rates.rate) for symbol, rates in market.funding.items() if len(rates.time)
        }
        self._wanted: dict[str, list[tuple[str, str, int]]] = {}
        self._version = -1
        self._updates = 0
        self._changed: set[str] = set()

    # -- candles ---------------------------------------------------------------------------------------------------

    def update(self, symbol: str, time: int) -> None:
        """Push a symbol's candles as they are now, and what else its last price says."""
        self._changed.add(symbol)
        for view in self.views(symbol):
            self._push(view, symbol, time, is_closed=False)
        self._push_quotes(symbol, time)

    def views(self, symbol: str) -> list[View]:
        """A symbol's candles as the streams listened to show them; none for a stream that nobody listens to."""
        if self._version != self._hub.version:
            self._read_subscriptions()
        tape = self._tapes[symbol]
        made = []
        for stream, name, length in self._wanted.get(symbol, ()):
            if length == _BY_CALENDAR:
                candle = tape.period(name)
            else:
                candle = tape.candle if length == self._base else tape.longer(length)
            if candle is not None and tape.candle is not None:
                made.append(View(stream, name, candle, candle.close_time == tape.candle.close_time))
        return made

    def close(self, symbol: str, views: list[View], time: int) -> None:
        """Push the updates that close a bar."""
        for view in views:
            if view.ends:
                self._push(view, symbol, time, is_closed=True)

    def close_empty(self, symbols: list[str], opened: int, closed: int) -> None:
        """Push a closed bar without trades, flat at the last price."""
        for symbol in symbols:
            last = self._tapes[symbol].last_price
            flat = Candle(opened, closed, last, last, last, last, 0.0, 0.0, 0.0, 0.0, -1, -1)
            for view in self.views(symbol):
                if view.interval == self._base_name:
                    self._push(evolve(view, candle=flat), symbol, closed, is_closed=True)

    def _push(self, view: View, symbol: str, time: int, *, is_closed: bool) -> None:
        pushes = None
        if self._faults is not None:
            pushes = self._faults.kline(symbol, view.candle, is_closed=is_closed, time=time)
        if pushes is None:
            self._send(view, symbol, time, Push(view.candle, is_closed))
            return
        for push in pushes:
            if push.delay_ms:
                at = time + push.delay_ms
                self._later(at, partial(self._send, view, symbol, at, push))
            else:
                self._send(view, symbol, time, push)

    def _send(self, view: View, symbol: str, time: int, push: Push) -> None:
        text = kline_text(
            symbol,
            view.interval,
            push.candle,
            self._grids[symbol],
            time,
            is_closed=push.is_closed,
            is_continuous=_CONTINUOUS in view.stream,
        )
        self._hub.publish(view.stream, push.mangle(text) if push.mangle else text, push.client, push.spared)

    def _read_subscriptions(self) -> None:
        """Note which intervals of which symbols are listened to."""
        self._version = self._hub.version
        known = {symbol.lower(): symbol for symbol in self._tapes}
        self._wanted = {}
        for stream in self._hub.listened():
            lower, _, kind = stream.replace(_CONTINUOUS, "@kline_").partition("@kline_")
            length = self._base if kind == self._base_name else _INTERVALS.get(kind, 0)
            if kind in CALENDAR:
                length = _BY_CALENDAR
            if lower in known and (length == _BY_CALENDAR or (length >= self._base and length % self._base == 0)):
                self._wanted.setdefault(known[lower], []).append((stream, kind, length))

    # -- everything else -------------------------------------------------------------------------------------------

    def _push_quotes(self, symbol: str, time: int) -> None:
        hub, lower, grid = self._hub, symbol.lower(), self._grids[symbol]
        candle = self._tapes[symbol].candle
        if candle is None:
            return
        self._updates += 1
        if hub.has_listeners(f"{lower}@aggTrade"):
            quantity = candle.volume / max(1, candle.trades)
            hub.publish(f"{lower}@aggTrade", agg_trade_text(candle, symbol, grid, time, quantity))
        for stream in (f"{lower}@bookTicker", "!bookTicker"):
            if hub.has_listeners(stream):
                hub.publish(stream, book_ticker_text(symbol, candle.close, grid, time, self._updates))
        for levels in ("", "5", "10", "20"):
            for pace in ("", "@100ms", "@500ms"):
                stream = f"{lower}@depth{levels}{pace}"
                if hub.has_listeners(stream):
                    hub.publish(stream, depth_text(symbol, candle.close, grid, time, self._updates))

    def tick(self, time: int) -> None:
        """Push the tickers of the symbols that have traded since the last time, and all mark prices."""
        hub, changed = self._hub, sorted(self._changed)
        self._changed.clear()
        for word, make in (("ticker", ticker), ("miniTicker", mini_ticker)):
            is_all = hub.has_listeners(f"!{word}@arr")
            made = []
            for symbol in changed:
                stream = f"{symbol.lower()}@{word}"
                if is_all or hub.has_listeners(stream):
                    value = make(self._tapes[symbol], self._grids[symbol], time)
                    made.append(value)
                    hub.publish_value(stream, value)
            if made and is_all:
                hub.publish(f"!{word}@arr", dump(made))
        self._push_marks(time)

    def _push_marks(self, time: int) -> None:
        hub = self._hub
        arrays = [s for s in ("!markPrice@arr", "!markPrice@arr@1s") if hub.has_listeners(s)]
        made = []
        for symbol, tape in self._tapes.items():
            single = [s for p in ("", "@1s") if hub.has_listeners(s := f"{symbol.lower()}@markPrice{p}")]
            if tape.candle is None or not (arrays or single):
                continue
            next_funding, rate = self._next_funding(symbol, time)
            value = mark_price(symbol, tape.last_price, self._grids[symbol], time, rate, next_funding)
            made.append(value)
            for stream in single:
                hub.publish(stream, dump(value))
        for stream in arrays:
            if made:
                hub.publish(stream, dump(made))

    def _next_funding(self, symbol: str, time: int) -> tuple[int, float]:
        """Time and rate of the next settlement; without known rates every eight hours at 0."""
        known = self._funding.get(symbol)
        if known is not None:
            index = int(np.searchsorted(known[0], time, side="right"))
            if index < len(known[0]):
                return int(known[0][index]), float(known[1][index])
        return time - time % _EIGHT_HOURS_MS + _EIGHT_HOURS_MS, 0.0
