"""Plays a feed's bars as an exchange that trades: prices move, candles grow and close, tickers tick."""

from __future__ import annotations

import asyncio
import heapq
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import field, frozen
from attrs.validators import ge

from slt.types import BarState, PricePoint
from slt_sandbox.broadcast import Broadcast
from slt_sandbox.tape import POINTS, Bar, Tape, trades_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from slt.hookspecs import FeedSpecs
    from slt.types import Bars, MarketInfo, SymbolRules
    from slt_sandbox.broadcast import KlineFaults, View
    from slt_sandbox.clock import MarketClock
    from slt_sandbox.hub import Hub

__all__ = ["Player", "PlayerSettings", "Trading", "bar_at"]

_BLOCK_ROWS = 240
_DAY_MS = 86_400_000
_TICK_WALL_MS = 250
"""Least distance of two ticker pushes in wall time."""
_CLOSE, _BARRIER, _TRADE, _TICK = range(4)
"""What comes first of what happens at one time."""


class Trading(Protocol):
    """What the player needs of the exchange."""

    def advance(self, point: PricePoint) -> None:
        """Move a symbol's price."""

    def add_volume(self, symbol: str, base: float, quote: float, trades: int) -> None:
        """Add to what a symbol has traded."""

    def status(self, symbol: str) -> str:
        """The symbol's state, ``TRADING`` for one that trades."""
        ...


@frozen(kw_only=True)
class PlayerSettings:
    """How the market is played.

    Attributes:
        speed: Market seconds per second; 0 = as fast as the clients read.
        seed: Of everything random.
        close_delay_min_seconds: Least market time from a bar's end until the exchange says that it is closed.
        close_delay_max_seconds: Most market time until then; 0 = at once, before the next bar's first price.
        wait_for_clients: Stream connections to wait for before the market begins; at least 1 where `speed` is 0.
        is_stepped: After each bar's closes wait until `Player.step` is called.
        steps_prices: Where it is stepped, wait after each price too: five steps make a bar.
        pushes_empty: Push a bar without trades too, as a flat one; else nothing is said of it.
    """

    speed: float = field(default=1.0, validator=ge(0.0))
    seed: int = field(default=1, validator=ge(0))
    close_delay_min_seconds: float = field(default=0.2, validator=ge(0.0))
    close_delay_max_seconds: float = field(default=2.0, validator=ge(0.0))
    wait_for_clients: int = field(default=0, validator=ge(0))
    is_stepped: bool = False
    steps_prices: bool = False
    pushes_empty: bool = False


class Player:
    """Moves the exchange's prices and the streams along a feed's bars.

    Each bar becomes four prices (open, nearer extreme, farther extreme, close) at its start, after one and two thirds,
    and a millisecond before its end; each moves the exchange and is pushed as one k-line update. Some time after the
    end the update that closes the bar follows, and behind it what the next bar had to say until then. Where that delay
    is 0, bars close before the next bar's first price trades, as in a back-test.

    Args:
        feed: Where bars come from.
        market: What it told of itself.
        rules: Trading rules of every symbol, for the decimals of prices and quantities.
        exchange: What is moved.
        hub: Where streams are pushed.
        clock: The market's clock, begun at `start`, which this moves.
        settings: How to play.
        start: Market time to begin at, ms UTC; a day before it is read for the tickers.
        shift_ms: Added to every time of the feed.
        faults: What goes wrong with k-lines; None = nothing.
    """

    def __init__(
        self,
        feed: FeedSpecs,
        market: MarketInfo,
        rules: dict[str, SymbolRules],
        exchange: Trading,
        hub: Hub,
        clock: MarketClock,
        settings: PlayerSettings,
        *,
        start: int,
        shift_ms: int = 0,
        faults: KlineFaults | None = None,
    ) -> None:
        self.settings = settings
        self.is_over = False
        self.rows = 0
        self._feed = feed
        self._market = market
        self._exchange = exchange
        self._hub = hub
        self._clock = clock
        self._start = start
        self._shift = shift_ms
        self.tapes = {symbol: Tape(symbol, market.interval_ms) for symbol in market.symbols}
        self.broadcast = Broadcast(hub, self.tapes, rules, market, faults, shift_ms, self._later)
        self._events: list[tuple[int, int, int, Callable[[], Any]]] = []
        self._sequence = 0
        self._closing: dict[str, int] = {}
        self._random = random.Random(settings.seed)  # noqa: S311 # delays of a simulation
        self._running = asyncio.Event()
        self._running.set()
        self._steps = asyncio.Semaphore(0)
        self.is_between_bars = False
        self.is_waiting = False
        self.on_row: list[Callable[[int], None]] = []

    async def play(self) -> None:
        """Play the market to its end."""
        settings, interval = self.settings, self._market.interval_ms
        begun = False
        async for bars, row in self._rows():
            closed = int(bars.close_time[row]) + self._shift
            if closed <= self._start:
                self._remember(bars, row)
                await asyncio.sleep(0)
                continue
            if not begun:
                begun = True
                await self._hub.wait_readers(max(settings.wait_for_clients, 1 if not settings.speed else 0))
                self._clock.start()
                self._open_market()
                self._add(closed - interval, _TICK, partial(self._tick, closed - interval))
            self._plan(bars, row, closed)
            await self._run_until(closed)
        await self._run_until(None)
        self.is_over = True

    def pause(self) -> None:
        """Let the market stand still."""
        self._running.clear()

    def resume(self) -> None:
        """Let the market go on."""
        self._clock.start()
        self._running.set()

    @property
    def is_paused(self) -> bool:
        """Whether the market stands still."""
        return not self._running.is_set()

    def step(self, count: int = 1) -> None:
        """Let a market that is stepped go on, so many times over, to where it waits next."""
        self.is_waiting = False
        for _ in range(count):
            self._steps.release()

    async def _wait_for_step(self) -> None:
        """Stand still until a step is given; everything said so far is on its way to the clients."""
        await self._hub.drained()
        self.is_waiting = True
        await self._steps.acquire()
        self.is_waiting = False

    # -- what happens ----------------------------------------------------------------------------------------------

    def _plan(self, bars: Bars, row: int, closed: int) -> None:
        """Schedule everything that happens because of a row of bars."""
        interval = self._market.interval_ms
        opened, third = closed - interval, interval // 3
        made = {s: bar for c, s in enumerate(bars.symbols) if (bar := bar_at(bars, row, c, self._shift)) is not None}
        for step, time in enumerate((opened, opened + third, opened + 2 * third, closed - 1)):
            self._add(time, _TRADE, partial(self._trade, made, time, step))
        if self.settings.pushes_empty:
            quiet = [s for s, tape in self.tapes.items() if s not in made and tape.candle is not None]
            self._add(closed, _CLOSE, lambda: self.broadcast.close_empty(quiet, opened, closed))
        longest = int(self.settings.close_delay_max_seconds * 1_000)
        self._add(closed + longest, _BARRIER, lambda: self._end_row(closed))

    def _trade(self, made: dict[str, Bar], time: int, step: int) -> None:
        exchange, is_last = self._exchange, step == POINTS - 1
        for symbol, bar in made.items():
            if exchange.status(symbol) != "TRADING":
                continue
            candle = self.tapes[symbol].grow(bar, step)
            exchange.advance(PricePoint(time, symbol, candle.close, is_gap=step == 0))
            if self._closing.get(symbol, 0) <= time:
                self.broadcast.update(symbol, time)
            if is_last:
                exchange.add_volume(symbol, candle.volume, candle.quote, candle.trades)
                self._plan_close(symbol, bar.close_time)

    def _plan_close(self, symbol: str, closed: int) -> None:
        settings = self.settings
        delay = self._random.uniform(settings.close_delay_min_seconds, settings.close_delay_max_seconds)
        time = closed + int(min(delay, settings.close_delay_max_seconds) * 1_000)
        views = self.broadcast.views(symbol)
        self._closing[symbol] = time
        self._add(time, _CLOSE, lambda: self._close(symbol, views, time, closed))

    def _close(self, symbol: str, views: list[View], time: int, closed: int) -> None:
        self.broadcast.close(symbol, views, time)
        candle = self.tapes[symbol].candle
        if candle is not None and candle.open_time >= closed:
            self.broadcast.update(symbol, time)

    async def _end_row(self, closed: int) -> None:
        self.rows += 1
        for call in self.on_row:
            call(closed)
        if not self.settings.speed:
            await self._hub.wait_readers(1)
            await self._hub.confirmed()
        if self.settings.is_stepped:
            self.is_between_bars = True
            await self._wait_for_step()
            self.is_between_bars = False

    def _tick(self, time: int) -> None:
        """Push tickers and mark prices, and plan the next time."""
        self.broadcast.tick(time)
        speed = self.settings.speed
        distance = max(1_000, int(_TICK_WALL_MS * speed)) if speed else self._market.interval_ms // 3
        self._add(time + distance, _TICK, lambda: self._tick(time + distance))

    def _later(self, time: int, call: Callable[[], Any]) -> None:
        """Have something done at a market time, after everything else of that time."""
        self._add(time, _TICK, call)

    # -- the order of things ---------------------------------------------------------------------------------------

    def _add(self, time: int, rank: int, call: Callable[[], Any]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time, rank, self._sequence, call))

    async def _run_until(self, end: int | None) -> None:
        """Do what is due before a time; None = all that is left but the ticks."""
        while self._events and (end is None or self._events[0][0] < end):
            time, rank, _, call = heapq.heappop(self._events)
            if end is None and rank == _TICK:
                continue
            await self._running.wait()
            while (wait := self._clock.wait_seconds(time)) > 0:
                await asyncio.sleep(wait)
                await self._running.wait()
            self._clock.reach(time)
            result = call()
            if result is not None:
                await result
            elif rank == _TRADE:
                await self._after_price()

    async def _after_price(self) -> None:
        """Give way to the clients, as far as the pace asks for it."""
        settings = self.settings
        if settings.is_stepped and settings.steps_prices:
            await self._wait_for_step()
        elif settings.speed:
            await asyncio.sleep(0)
        else:
            await self._hub.drained()

    async def _rows(self) -> AsyncIterator[tuple[Bars, int]]:
        """Every row of the feed from a day before the start."""
        since = self._start - self._shift - _DAY_MS
        blocks = self._feed.slt_read_bars(start=since, rows=_BLOCK_ROWS)
        while (bars := await asyncio.to_thread(next, blocks, None)) is not None:
            for row in range(len(bars)):
                yield bars, row

    def _remember(self, bars: Bars, row: int) -> None:
        """Take in a bar from before the start, for the tickers and the trade ids."""
        for column, symbol in enumerate(bars.symbols):
            bar = bar_at(bars, row, column, self._shift)
            if bar is not None:
                self.tapes[symbol].grow(bar, POINTS - 1)

    def _open_market(self) -> None:
        """Give the exchange the last prices from before the start."""
        for symbol, tape in self.tapes.items():
            if tape.candle is not None:
                self._exchange.advance(PricePoint(tape.candle.close_time - 1, symbol, tape.last_price, is_gap=True))


def bar_at(bars: Bars, row: int, column: int, shift_ms: int = 0) -> Bar | None:
    """One bar of a block; None where nothing traded. Half the volume stands in for unknown purchases of takers."""
    if bars.state[row, column] != BarState.TRADED:
        return None
    closed, volume = int(bars.close_time[row]) + shift_ms, float(bars.volume[row, column])
    taker = float(bars.taker_buy_volume[row, column])
    opened = closed - bars.interval_ms
    return Bar(
        open_time=opened,
        close_time=closed,
        open=float(bars.open[row, column]),
        high=float(bars.high[row, column]),
        low=float(bars.low[row, column]),
        close=float(bars.close[row, column]),
        volume=volume,
        taker=volume / 2 if np.isnan(taker) else taker,
        trades=trades_of(bars.symbols[column], opened, volume),
    )
