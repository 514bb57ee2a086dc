"""From frames to waves: connections, queues, workers and the cut of each minute."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from attrs import asdict, evolve

from slt.feed.connections import Connection
from slt.feed.intake import Intake
from slt.feed.membership import Membership
from slt.feed.outlet import Outlet
from slt.feed.queues import QUEUES, TICK, FrameQueue, Waiting, make_queues
from slt.feed.status import ConnectionStatus, FeedStatus
from slt.feed.waves import Waves
from slt.lifecycle import Loops
from slt.log import get_logger
from slt.types import Kline, PricePoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from slt.config import FeedConfig
    from slt.feed.connections import Take
    from slt.feed.intake import StreamState
    from slt.feed.liveness import Liveness
    from slt.feed.recorder import Recorder
    from slt.hookspecs import FeedSpecs
    from slt.lifecycle import LoopMark
    from slt.types import ConnectionPlan, MarketInfo, SymbolChange, Wave

__all__ = ["FeedPipeline"]

_CUT_POLL_S = 0.05
_IDLE_POLL_S = 0.25
_CLOCK_WARNING_MS = 2_000
_WORK_S = 1.0
_WORKER_SECONDS = 60.0
"""A worker takes milliseconds for a frame; one that waits so long for its reader stands as still as the reader."""
_log = get_logger("lifecycle")


class FeedPipeline:
    """Receives a live feed's frames and gives waves of bars, prices of watched symbols, and symbol changes.

    Args:
        hooks: The feed's hooks; it must have all four of a live feed.
        market: What `slt_describe_market` told; `symbols` are the columns of every wave.
        config: Section ``[feed]``.
        wall_ms: The exchange's clock as well as it is known, ms UTC: stamps frames and times deadlines.
        recorder: Takes every frame; None records nothing.
        seconds: A steady clock in seconds, for liveness and pacing.
    """

    def __init__(
        self,
        hooks: FeedSpecs,
        market: MarketInfo,
        config: FeedConfig,
        *,
        wall_ms: Callable[[], int],
        recorder: Recorder | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hooks = hooks
        self._market = market
        self._config = config
        self._wall_ms = wall_ms
        self._recorder = recorder
        self._seconds = seconds
        self._counters = {"decode_errors": 0}
        self.frames = 0
        deadline_ms = round(config.deadline_seconds * 1000)
        self._waves = Waves(market.symbols, market.interval_ms, deadline_ms, self._counters)
        self._queues = make_queues(config.queue_slots)
        self._marks, self._cutter = _declare(Loops(seconds))
        self._outlet = Outlet()
        self._connections: list[Connection] = []
        self._group: asyncio.TaskGroup | None = None
        self._intake = Intake(hooks.slt_route_frame, (), QUEUES)
        self._members = Membership(hooks.slt_plan_connections, self._intake, self._connections, self._connect)
        self._watched: frozenset[str] = frozenset()
        self._time = 0
        self._event_time = 0
        self._lag = math.inf
        self._lag_ms: int | None = None
        self._order = 0
        self._next = 0
        self._done: dict[int, tuple[int, list[Kline | SymbolChange]]] = {}

    async def run(self) -> None:
        """Connect, receive, watch and reconnect until cancelled.

        Raises:
            ExceptionGroup: A hook broke its contract; never for the network, nor for a disk that cannot be recorded on.
        """
        plans = self._hooks.slt_plan_connections(symbols=self._market.symbols)
        streams = [pair for plan in plans for pair in zip(plan.streams, plan.symbols, strict=True)]
        self._intake.add(streams)
        self.watch(self._watched)
        if self._recorder is not None:
            self._recorder.begin(self._about)
        async with asyncio.TaskGroup() as group:
            self._group = group
            if self._recorder is not None:
                group.create_task(self._recorder.run())
            for queue, mark in zip(self._queues, self._marks, strict=True):
                group.create_task(self._work(queue, mark))
            if self._config.clock == "receive":
                group.create_task(self._cut_in_time())
            for plan in plans:
                self._connect(plan)

    def _connect(self, plan: ConnectionPlan) -> None:
        number = self._recorder.connection(plan.name) if self._recorder is not None else 0
        take = partial(self._make_take, number)
        connection = Connection(
            plan, self._config, self._hooks.slt_subscribe_streams, take, self._seconds, self._gather
        )
        self._connections.append(connection)
        if self._group is not None:
            self._group.create_task(connection.run())

    def read(self) -> AsyncGenerator[Wave | PricePoint | SymbolChange]:
        """Yield what the feed says, in order, for as long as `run` runs; for one reader.

        A reader that falls behind holds the queues back, and they the sockets; nothing that counts is lost. Price
        points of one symbol are replaced by newer ones while they wait. All times are on one clock (``feed.clock``);
        a price point may be a few ms older than the wave before it.
        """
        return self._outlet.read()

    def watch(self, symbols: Iterable[str]) -> None:
        """Say whose unclosed bars are wanted as price points from now on: symbols with a position or an entry."""
        self._watched = frozenset(symbols)
        for state in self._intake.streams.values():
            state.is_watched = state.symbol in self._watched

    def follow(self, symbols: tuple[str, ...]) -> None:
        """Follow these symbols from now on: the new ones among them are the last columns of the waves to come."""
        new = frozenset(symbols) - frozenset(self._market.symbols)
        self._market = evolve(self._market, symbols=symbols)
        self._waves.join(symbols)
        streams = self._members.add(symbols, new)
        if self._recorder is not None:
            self._recorder.tell(self._stamp(), {"joined": [s for s in symbols if s in new], "streams": streams})
            self._recorder.begin(self._about)
        self.watch(self._watched)

    def change(self, change: SymbolChange) -> None:
        """Take what another source than the frames says of a symbol; what is known already is passed over."""
        if self._members.is_news(change):
            now = self._stamp()
            if self._recorder is not None:
                self._recorder.tell(now, {"change": asdict(change)})
            self._change(now, change)

    def supervise(self, loops: Loops) -> None:
        """Name the workers, and what cuts in time, among a run's supervised loops; to be called before `run`."""
        self._marks, self._cutter = _declare(loops)

    def status(self) -> FeedStatus:
        """How the feed is doing now."""
        now = self._seconds()
        return FeedStatus(
            connections=tuple(_status_of(connection, now) for connection in self._connections),
            queued=(self._queues[0].qsize(), self._queues[1].qsize(), self._queues[2].qsize()),
            event_time=self._event_time,
            lag_ms=self._lag_ms,
            counters={
                "frames": self.frames,
                **self._counters,
                "replaced": sum(queue.replaced for queue in self._queues),
            },
        )

    @property
    def _about(self) -> dict[str, object]:
        return {
            "symbols": self._market.symbols,
            "interval_ms": self._market.interval_ms,
            "streams": [(state.name, state.symbol) for state in self._intake.streams.values()],
            "deadline_ms": self._waves.deadline_ms,
            "clock": self._config.clock,
        }

    def _stamp(self) -> int:
        """The receive clock; never falls."""
        now = self._wall_ms()
        self._time = now if now > self._time else self._time  # noqa: FURB136 # half the time of max(), for every frame
        return self._time

    def _make_take(self, connection: int, liveness: Liveness) -> Take:
        """The producer's whole work on a frame of one connection: stamp, record, sort, queue."""
        streams, route = self._intake.streams, self._hooks.slt_route_frame
        wall_ms, seconds, queues, heard = self._wall_ms, self._seconds, self._queues, liveness.heard
        record = self._recorder.add if self._recorder is not None else None

        def take(frame: bytes) -> Awaitable[None] | None:
            now = wall_ms()
            if now < self._time:
                now = self._time
            else:
                self._time = now
            self.frames += 1
            if record is not None:
                record(connection, now, frame)
            try:
                name, bar, is_final = route(frame)
            except Exception as error:  # noqa: BLE001 # by contract: counted, logged, dropped
                self._malformed(frame, error)
                return None
            state = streams.get(name)
            if state is None:
                self._control(name, frame)
                return None
            liveness.last = seconds()
            if name in heard:
                heard[name] = liveness.last
            if bar == state.bar and bar and not is_final:
                state.last = frame
                if state.is_watched:
                    queues[state.queue].offer(name, now, frame)
                return None
            return self._queue(state, now, state.sort(frame, bar, is_final))

        return take

    def _gather(self) -> float:
        """Nothing is collected while a wave waits for its bars, nor where the exchange's time is not that of day."""
        minute = self._waves.minute
        if self._config.clock == "events" or not minute or self._time >= minute:
            return 0.0
        return self._config.gather_ms / 1000

    def _queue(self, state: StreamState, now: int, frames: tuple[bytes, ...]) -> Awaitable[None] | None:
        """Queue what counts; where there is no room the reader waits."""
        queue, items = self._queues[state.queue], []
        for frame in frames:
            items.append(Waiting(self._order, now, frame, state.name))
            self._order += 1
        while items and not queue.full():
            queue.put_nowait(items.pop(0))
        return _put_all(queue, items) if items else None

    def _control(self, name: str, frame: bytes) -> None:
        """An answer to a control frame, or a stream that nobody planned: only what it says is of interest."""
        if name:
            self._counters["foreign"] += 1
            return
        self._decode(frame)

    async def _work(self, queue: FrameQueue, mark: LoopMark) -> None:
        while True:
            mark.rest()
            item = await queue.get()
            mark.beat()
            updates = self._decode(item.frame)
            if item.order == TICK:
                self._price(item.time, updates)
            else:
                self._done[item.order] = (item.time, updates)
                self._apply()
            await self._outlet.room()

    def _decode(self, frame: bytes) -> list[Kline | SymbolChange]:
        try:
            return self._hooks.slt_decode_frame(frame)
        except Exception as error:  # noqa: BLE001 # by contract: counted, logged, dropped
            self._malformed(frame, error)
            return []

    def _malformed(self, frame: bytes, error: Exception) -> None:
        self._counters["decode_errors"] += 1
        _log.warning("a frame cannot be read", found=str(error)[:200], frame=frame[:120].decode(errors="replace"))

    def _apply(self) -> None:
        """Apply what counts in the order in which it came, whichever worker was first."""
        while (ready := self._done.pop(self._next, None)) is not None:
            self._next += 1
            now, updates = ready
            for update in updates:
                if isinstance(update, Kline):
                    self._event_time = max(self._event_time, update.event_time)
                    self._lag = min(self._lag, now - update.event_time)
                    self._waves.take(now if self._config.clock == "receive" else self._event_time, update)
                else:
                    self._change(now, update)
            self._price(now, updates)
            self._hand_on()

    def _change(self, now: int, change: SymbolChange) -> None:
        self._waves.change(now if self._config.clock == "receive" else self._event_time, change)
        self._hand_on()
        self._outlet.put(change)
        self._members.note(change)

    def _price(self, now: int, updates: list[Kline | SymbolChange]) -> None:
        for update in updates:
            if isinstance(update, Kline) and update.symbol in self._watched:
                when = now if self._config.clock == "receive" else max(self._event_time, update.event_time)
                self._outlet.price(PricePoint(when, update.symbol, update.close))

    def _hand_on(self) -> None:
        waves = self._waves.drain()
        if waves:
            self._members.leave()
        for wave in waves:
            self._outlet.put(wave)
        if waves and self._lag != math.inf:
            self._lag_ms, self._lag = int(self._lag), math.inf
            if self._config.clock == "receive" and abs(self._lag_ms) > _CLOCK_WARNING_MS:
                _log.warning(
                    "this clock and the exchange's differ, so waves are cut too early or too late; set it by NTP",
                    ahead_s=round(self._lag_ms / 1000),
                )

    async def _cut_in_time(self) -> None:
        """Cut at the deadline also where no frame comes; never before every frame up to it has been applied."""
        while True:
            await asyncio.sleep(_CUT_POLL_S if self._wall_ms() >= self._waves.minute else _IDLE_POLL_S)
            self._cutter.beat()
            if self._next == self._order and self._waves.deadline:
                self._waves.advance(self._stamp())
                self._hand_on()


def _declare(loops: Loops) -> tuple[tuple[LoopMark, ...], LoopMark]:
    names = [*(f"feed worker {number}" for number in range(1, QUEUES + 1)), "feed cut"]
    marks = [loops.declare(name, interval_seconds=_WORK_S, deadline_seconds=_WORKER_SECONDS) for name in names]
    for mark in marks:
        mark.rest()  # until it runs
    return tuple(marks[:-1]), marks[-1]


async def _put_all(queue: FrameQueue, items: list[Waiting]) -> None:
    for item in items:
        await queue.put(item)


def _status_of(connection: Connection, now: float) -> ConnectionStatus:
    last = connection.liveness.last
    return ConnectionStatus(
        name=connection.plan.name,
        is_up=connection.is_up,
        age_seconds=max(0.0, now - last) if last else None,
        reconnects=dict(connection.causes),
        silent_symbols=connection.silent_symbols(now),
    )
