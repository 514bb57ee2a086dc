"""The driver of a live feed: one bounded queue into the engine, for paper and for real orders alike.

::

    feed ── waves, prices, symbols ──►┐
    broker's event stream ───────────►│
    lanes: answers to orders ────────►├─► queue ─► session log ─► engine ─► commands ─► storage, lanes, outbox
    account, read now and then ──────►│
    the beat of the clock ───────────►┘

One task takes from the queue, so the engine sees one event after the other; nothing that it does waits for an
exchange. Every event is in the session log before it is handled: a restart begins where the process died.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from attrs import evolve

from slt.errors import SltError, StoppedError
from slt.events import EntriesHalted, PositionsLeft, Tick
from slt.feed import make_recorder
from slt.feed.pipeline import FeedPipeline
from slt.log import get_logger
from slt.run.adoption import adopt_past, read_positions_left
from slt.run.books import AccountReader
from slt.run.clock import ExchangeClock
from slt.run.folders import remember_symbols
from slt.run.lanes import Lanes
from slt.run.player import Progress
from slt.run.restoring import restore
from slt.run.saving import save_part
from slt.run.session_log import SessionLog
from slt.run.universe import Arrivals, Universe, Warmed
from slt.run.warming import bars_to_store, restated_to_store, unseen, warm_up
from slt.trading.accounts import BOOKS
from slt.types import BrokerLink, OrderType, PricePoint, SymbolChange, Wave

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from slt.lifecycle import LoopMark
    from slt.run.assembly import Assembly
    from slt.run.live_session import LiveSession
    from slt.run.vitals import Vitals

__all__ = ["MarketStream", "stream"]

_QUEUE = 10_000
_DRIVER_SECONDS = 30.0
_BEAT_S = 0.5
_LATE_WAVE_MS = 10_000
"""Age at which a wave is not fresh any more: its proposals are refused as stale."""
_PRICE_MS = 1_000
"""Age of a position's last price at which the clock beats instead."""
_SILENT_BARS = 2.5
"""Bars without any wave after which entries halt."""
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_LAST_ANSWERS_S = 4.0
"""How long a stop waits for orders under way, so that what has just been entered is protected."""
_SAVE_S = 5.0
_SAVE_AGAIN_S = 30.0
_DAY_MS = 86_400_000
_ALIKE = 2 / 3
"""Two paces of the exchange's clock of which the slower is more than this share of the faster are one."""
_log = get_logger("lifecycle")


class MarketStream(Protocol):
    """What a driver needs of a live feed; `slt.feed.pipeline.FeedPipeline` is it."""

    async def run(self) -> None:
        """Connect and receive until cancelled."""

    def read(self) -> AsyncIterator[Wave | PricePoint | SymbolChange]:
        """Yield what the feed says."""
        ...

    def watch(self, symbols: Iterable[str]) -> None:
        """Say whose prices are wanted."""


class _Beat:
    """The clock has moved on."""


async def stream(
    assembly: Assembly,
    session: LiveSession,
    *,
    stopping: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    source: MarketStream | None = None,
) -> NoReturn:
    """Trade a live feed until stopped.

    Args:
        assembly: The run's parts.
        session: Engine and broker.
        stopping: Asked before every event; True saves the state and stops. Nothing is entered after it.
        on_progress: Told after every wave.
        source: The feed; None = a pipeline around the feed plugin.

    Raises:
        StoppedError: The run was stopped; positions stay protected, and the same command resumes it.
        ExceptionGroup: A plugin broke its contract.
    """
    driver = _Driver(assembly, session, stopping, on_progress, source)
    await driver.begin()
    saved = await driver.run()
    run_id = assembly.folder.run_id
    raise StoppedError(
        f"run {run_id} is stopped and saved; the same command resumes it"
        if saved
        else f"run {run_id} is stopped; the same command resumes it from its session log"
    )


class _Driver:
    """One life of a run on a live feed."""

    def __init__(
        self,
        assembly: Assembly,
        session: LiveSession,
        stopping: Callable[[], bool],
        on_progress: Callable[[Progress], None],
        source: MarketStream | None,
    ) -> None:
        self._assembly = assembly
        self._session = session
        self._stopping = stopping
        self._on_progress = on_progress
        self._clock = ExchangeClock()
        self._source = source if source is not None else _make_pipeline(assembly)
        self._queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUE)
        self._folder = assembly.folder.path / "session"
        self._log = SessionLog(self._folder, assembly.settings.run.session_days * 86_400)
        self._broker = assembly.plugins.broker
        self._is_live = self._broker.implements("slt_read_updates")
        self._lanes: Lanes | None = None
        self._reader: AccountReader | None = None
        self._rows = 0
        self._time = 0
        self._save_due = 0.0
        self._wave_clock = 0
        self._begun_clock = 0
        self._bars_until = 0
        self._warmed: dict[str, int] = {}
        self._priced: dict[str, int] = {}
        self._pace = 1.0
        self._unstored: list[Wave] = []
        self._universe = Universe(
            assembly, session, self._source, self._queue.put, self._store_bars, lambda: self._bars_until or self._now()
        )
        self._mark = self._report_to(session.vitals) if session.vitals is not None else None

    def _report_to(self, vitals: Vitals) -> LoopMark:
        """Tell the run's vitals what a live feed has beyond a recording."""
        if isinstance(self._source, FeedPipeline):
            vitals.feed = self._source.status
            self._source.supervise(vitals.loops)
        settings = self._assembly.settings
        if settings.run.mode == "live" and settings.feed.clock == "receive":
            vitals.clock_offset_ms = lambda: self._clock.now() - _wall_ms() if self._clock.is_set else None
        mark = vitals.loops.declare("driver", interval_seconds=_BEAT_S, deadline_seconds=_DRIVER_SECONDS)
        mark.rest()  # until it trades: a standby waits for as long as it takes
        return mark

    # -- begin and end ---------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Bring an earlier life of the run back, or begin a new one; then warm up, and begin a part of the log."""
        assembly, session = self._assembly, self._session
        if assembly.folder.is_resumed:
            progress = await restore(assembly, session, self._folder, is_simulated=not self._is_live)
            self._time, self._rows = progress["time"], progress["rows"]
            self._bars_until = progress["bars_until"]
            self._universe.begin(progress.get("cold", ()))
        else:
            await adopt_past(assembly, session)
        self._clock.note(assembly.market.start)
        now = self._now()
        if (days := assembly.settings.run.warm_days) > 0:
            since = max(self._bars_until, now - round(days * _DAY_MS))
            self._warmed = await warm_up(assembly, session, since, now)
            self._bars_until = max(self._bars_until, *self._warmed.values(), 0)
        remember_symbols(assembly.folder.path, session.dense.symbols)
        self._begun_clock = self._clock.now()
        session.halts["feed"] = self._feed_silence
        session.halts["session log"] = lambda: self._log.problem
        await self.save()

    async def save(self) -> bool:
        """Begin a part of the session log with a snapshot of the whole run; False where that must be tried again."""
        self._session.write_out()
        self._store_bars()
        progress: dict[str, Any] = {"time": self._time, "rows": self._rows, "bars_until": self._bars_until}
        progress["cold"] = self._universe.cold
        is_saved = await save_part(self._assembly, self._session, self._log, progress)
        every = self._assembly.settings.run.session_minutes * 60 if is_saved else _SAVE_AGAIN_S
        self._save_due = asyncio.get_running_loop().time() + every
        return is_saved

    async def run(self) -> bool:
        """Trade until stopped; returns whether the last snapshot was taken."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in (self._source.run(), self._read_feed())]
            try:
                if not await self._stand_by():
                    return True
                works: list[Coroutine[Any, Any, None]] = [self._beat(), self._universe.run()]
                if self._is_live:
                    works += self._open_live(tasks)
                self._session.open_live(self._log, lanes=self._lanes, on_read=self._ask_account)
                running += [tasks.create_task(work) for work in works]
                await self._resume_orders()
                self._tell_under_way()
                self._source.watch(self._session.holds)
                _spare_collector()
                await self._consume(until=self._stopping)
                return await self._end()
            finally:
                gc.unfreeze()
                for task in running:
                    task.cancel()
                if self._lanes is not None:
                    self._lanes.stop()
                self._log.close()

    def _tell_under_way(self) -> None:
        if self._session.vitals is not None:
            self._session.vitals.arrived("start")

    async def _stand_by(self) -> bool:
        """Keep the features warm until this instance may trade; returns False where the run is stopped first."""
        if self._session.stand_by is None:
            return True
        waiting = asyncio.ensure_future(self._session.stand_by())
        bars_until = self._bars_until
        try:
            while not waiting.done():
                getting = asyncio.ensure_future(self._queue.get())
                await asyncio.wait({waiting, getting}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.cancel():
                    self._warm(getting.result())
            await waiting
        except StoppedError:
            return False
        finally:
            waiting.cancel()
        if self._bars_until > bars_until:
            await self.save()
        return True

    def _warm(self, item: Any) -> None:
        if isinstance(item, Wave) and len((wave := self._receive(item)).bars):
            self._session.compute(wave.bars)
            self._universe.note(wave.bars)
            self._bars_until = int(wave.bars.close_time[-1])
        self._queue.task_done()

    def _receive(self, wave: Wave) -> Wave:
        self._clock.note(wave.time)
        self._wave_clock = self._clock.now()
        wave = self._universe.receive(wave)
        return evolve(wave, bars=unseen(wave.bars, self._warmed))

    def _open_live(self, tasks: asyncio.TaskGroup) -> list[Coroutine[Any, Any, None]]:
        hooks, settings = self._broker.hooks, self._assembly.settings
        self._lanes = Lanes(
            hooks, tasks, deliver=self._queue.put, durable=self._session.reach_disk, now=self._clock.now
        )
        every = settings.run.reconcile_minutes * 60
        self._reader = AccountReader(hooks, self._lanes, self._clock, self._queue.put, every)
        lanes, writer = self._lanes, self._assembly.writer
        self._session.halts["orders"] = lambda: lanes.problem and f"{lanes.problem} ({writer.causes})"
        return [self._read_updates(), self._reader.run()]

    def _ask_account(self, reason: str) -> None:
        if self._reader is not None:
            self._reader.ask(reason)

    async def _resume_orders(self) -> None:
        """Nothing is entered before the books agree; orders of an earlier life are asked for, or sent."""
        if self._lanes is None or self._reader is None:
            return
        left = await read_positions_left(self._assembly, self._now())
        if left:
            await self._session.handle(PositionsLeft(self._now(), left))
        reason = "the books have not been compared with the exchange yet"
        await self._session.handle(EntriesHalted(self._now(), reason, BOOKS))
        for order in list(self._session.engine.portfolio.orders.values()):
            self._lanes.restore(order)
        self._reader.ask("the run begins")

    async def _end(self) -> bool:
        """Let what is under way come to rest, then save."""
        deadline = asyncio.get_running_loop().time() + _LAST_ANSWERS_S
        if self._lanes is not None:
            await self._consume(
                until=lambda: self._is_at_rest() or asyncio.get_running_loop().time() > deadline, is_ending=True
            )
        try:
            async with asyncio.timeout(_SAVE_S):
                return await self.save()
        except TimeoutError:
            return False

    def _is_at_rest(self) -> bool:
        """Nothing is on its way, and all that is open has its stop: the word of a fill may come after the answer."""
        portfolio = self._session.engine.portfolio
        return not (
            (self._lanes is not None and self._lanes.busy)
            or not self._queue.empty()
            or any(order.type is OrderType.MARKET for order in portfolio.orders.values())
            or any(holding.uncovered_since is not None for holding in portfolio.holdings.values())
        )

    # -- what comes in ---------------------------------------------------------------------------------------------

    async def _read_feed(self) -> None:
        async for item in self._source.read():
            await self._queue.put(item)

    async def _read_updates(self) -> None:
        """The broker's events, asked for again with backoff where the stream of them breaks."""
        wait = _FIRST_WAIT_S
        while True:
            cause = "the stream of its events has ended"
            try:
                async for event in self._broker.hooks.slt_read_updates():
                    wait = _FIRST_WAIT_S
                    await self._queue.put(event)
            except (SltError, OSError, TimeoutError) as error:
                cause = f"{type(error).__name__}: {error}"
            await self._queue.put(BrokerLink(self._now(), is_up=False, reason=cause))
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            if self._queue.empty():
                self._queue.put_nowait(_Beat)

    # -- what is done about it -------------------------------------------------------------------------------------

    async def _consume(self, *, until: Callable[[], bool], is_ending: bool = False) -> None:
        while not until():
            item = await self._queue.get()
            if self._mark is not None:
                self._mark.beat()
            if not (is_ending and isinstance(item, Wave)):
                await self._take(item)
            self._queue.task_done()

    async def _take(self, item: Any) -> None:
        session = self._session
        if isinstance(item, Wave):
            await self._take_wave(item)
        elif item is _Beat:
            await self._take_beat()
        elif isinstance(item, PricePoint):
            self._clock.note(item.time)
            self._priced[item.symbol] = item.time
            await self._take_price(item)
        elif isinstance(item, Arrivals | Warmed):
            await self._universe.take(item, self._now())
        else:
            if isinstance(item, SymbolChange):
                self._clock.note(item.time)
            elif isinstance(item, BrokerLink) and session.vitals is not None:
                session.vitals.link = item
            await session.handle(item)
            if isinstance(item, SymbolChange):
                await self._universe.hear(item)
        if session.holds != session.watched:
            session.watched = session.holds
            self._source.watch(session.watched)

    async def _take_price(self, point: PricePoint) -> None:
        if self._lanes is None:
            await self._session.move_price(point)
        elif point.symbol in self._session.engine.portfolio.holdings:
            await self._session.handle(point)

    async def _take_beat(self) -> None:
        now = self._now()
        if not now:
            return
        await self._session.apply_halts(now)
        self._store_bars()
        if self._wants_tick(now):
            self._pace = self._clock.pace
            await self._session.handle(Tick(now, is_gap=False, pace=self._pace))

    def _store_bars(self) -> None:
        """Put the bars of the last waves down, when the orders that they led to are out."""
        waves, self._unstored = self._unstored, []
        if self._assembly.settings.run.store_bars:
            for wave in waves:
                restated = map(restated_to_store, wave.restated)
                self._assembly.writer.put([*bars_to_store(wave.bars), *restated])

    def _wants_tick(self, now: int) -> bool:
        """Whether time has to be told: a position without a price for a second, or an order that may be overdue.

        Also that the exchange's clock runs at another pace than it was told to, which only a simulated one's does.
        """
        portfolio = self._session.engine.portfolio
        if not _ALIKE < (self._clock.pace + 1.0) / (self._pace + 1.0) < 1 / _ALIKE:
            return True
        if any(order.type is OrderType.MARKET for order in portfolio.orders.values()):
            return True
        return any(
            holding.uncovered_since is not None or now - self._priced.get(symbol, 0) >= _PRICE_MS
            for symbol, holding in portfolio.holdings.items()
        )

    async def _take_wave(self, wave: Wave) -> None:
        """The bars of a minute: decide, put the bars down for warm starts, and save when it is time."""
        session, wave = self._session, self._receive(wave)
        bars = wave.bars
        if not len(bars):
            self._unstored.append(wave)  # for what it restates
            return
        closed = int(bars.close_time[-1])
        await session.apply_halts(closed)
        moment = closed if wave.time - closed <= _LATE_WAVE_MS else wave.time
        block = session.compute(bars)
        for row in range(len(bars)):
            block = await session.close_bar(block, row, moment)
        self._rows, self._time, self._bars_until = self._rows + len(bars), closed, closed
        self._unstored.append(wave)
        self._universe.note(bars)
        self._on_progress(self._progress())
        if asyncio.get_running_loop().time() >= self._save_due:
            await self.save()

    def _now(self) -> int:
        return max(self._clock.now(), self._time)

    def _feed_silence(self) -> str:
        if not self._wave_clock and not self._is_connected():
            return "no bar has come from the feed yet"
        silent = self._clock.now() - (self._wave_clock or self._begun_clock)
        if silent <= _SILENT_BARS * self._assembly.market.interval_ms:
            return ""
        return f"no bar has come from the feed for {_SILENT_BARS:g} bars"

    def _is_connected(self) -> bool:
        """Whether every connection of a pipeline is up; its first bar is then at most a bar away."""
        if not isinstance(self._source, FeedPipeline):
            return False
        status = self._source.status()
        return bool(status.connections) and status.is_up

    def _progress(self) -> Progress:
        portfolio = self._session.engine.portfolio
        return Progress(
            time=self._time,
            rows=self._rows,
            total_rows=None,
            symbols=len(self._session.dense.symbols),
            trades=portfolio.trades,
            open_positions=len(portfolio.holdings),
            equity=portfolio.equity,
        )


def _spare_collector() -> None:
    """Take what the start has made out of the garbage collector's sight: looking through it would cost 0.1 s a time."""
    gc.collect()
    gc.freeze()


def _make_pipeline(assembly: Assembly) -> MarketStream:
    settings, feed = assembly.settings, assembly.plugins.feed
    recorder = make_recorder(settings.feed, feed.name, _wall_ms())
    return FeedPipeline(feed.hooks, assembly.market, settings.feed, wall_ms=_wall_ms, recorder=recorder)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
