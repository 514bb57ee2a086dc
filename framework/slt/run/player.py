"""Playing blocks of candles through a session: what the replay and the live driver share."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from slt._binding import in_one_line
from slt.errors import PluginError, SltError, StorageError
from slt.events import Tick
from slt.log import get_logger
from slt.run.adoption import adopt_past
from slt.run.snapshots import load_snapshot, save_snapshot
from slt.types import MINUTE_MS, BarState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slt.events import Block
    from slt.run.assembly import Assembly
    from slt.run.session import Session
    from slt.types import Bars

__all__ = ["Player", "Progress", "in_order"]

_HOUR_MS = 3_600_000
_TRADED = int(BarState.TRADED)
_FORGET_TIMEOUT_S = 60.0
_log = get_logger("lifecycle")
_ROWS_PER_BREATH = 64
"""Rows after which the event loop gets a turn, so that storage and fits move on."""
_LONG_BLOCK_ROWS = 64
"""Rows from which a block is computed in a thread: the loop, and the watchdog that listens to it, go on meanwhile."""


@frozen
class Progress:
    """How far a run is.

    Attributes:
        time: Event time, ms UTC.
        rows: Rows of bars done.
        total_rows: Rows in all; None when unknown.
        symbols: Number of symbols.
        trades: Closed trades.
        open_positions: Open positions.
        equity: Account equity, quote currency.
    """

    time: int
    rows: int
    total_rows: int | None
    symbols: int
    trades: int
    open_positions: int
    equity: float


def in_order(blocks: Iterator[Bars]) -> Iterator[Bars]:
    """The feed's blocks, checked for the one promise that a wrong back-test would hide: time only moves forward.

    Raises:
        PluginError: It does not.
    """
    last = None
    for bars in blocks:
        times = bars.close_time
        if len(times) and ((last is not None and times[0] <= last) or (np.diff(times) <= 0).any()):
            raise PluginError(f"the feed went back in time at {int(times[0])} ms UTC; its author must act")
        if len(times):
            last = int(times[-1])
            yield bars


class Player:
    """Plays blocks through a session.

    Where the recording has no bar at all for some minutes, time goes on for open positions: a `Tick` for each missing
    bar, at the time it would have closed. Ticks are thus a function of the recording alone, whatever the pace, and a
    back-test gives the same ones as a paced run.

    Args:
        assembly: The run's parts.
        session: Engine and broker.
        skip: Leave out minutes in which nothing can happen.
    """

    def __init__(self, assembly: Assembly, session: Session, *, skip: bool) -> None:
        self._assembly = assembly
        self._session = session
        self._skip = skip
        self._timer_ms = assembly.settings.run.equity_every_minutes * MINUTE_MS
        self._rows = 0
        self._last_prices: dict[str, float] = {}
        self._interval_ms = assembly.market.interval_ms
        self._told = assembly.market.start
        self._saved = -math.inf
        self.time = assembly.market.start

    async def begin(self) -> int:
        """Take the last snapshot back, or make the first, so that a run killed at any moment is found again.

        Returns:
            The time that bars are to be read from, ms UTC.

        Raises:
            SltError: The snapshot is damaged, or does not fit this version.
        """
        if self._assembly.folder.is_resumed:
            self._resume_or_explain()
            await self._forget_the_rest()
            return self.time
        await adopt_past(self._assembly, self._session)
        await self.save()
        return self._assembly.market.start

    def _resume_or_explain(self) -> None:
        try:
            self.resume()
        except SltError:
            raise
        except Exception as error:
            run_id = self._assembly.folder.run_id
            raise SltError(
                f"the snapshot of run {run_id} does not fit this version of slt or of a plugin ({in_one_line(error)}); "
                "begin a new run with --fresh, or resume it with the version that made it"
            ) from error

    def missing_times(self, until: int) -> range:
        """Close times of the bars that the recording does not have between the last one and the one of `until`."""
        return range(self._told + self._interval_ms, until, self._interval_ms)

    async def tick(self, time: int) -> None:
        """Let time pass where a bar is missing."""
        self._told = time
        if self._session.engine.portfolio.holdings:
            await self._session.handle(Tick(time))

    async def play(self, bars: Bars) -> None:
        """Play one block."""
        session = self._session
        is_long = len(bars) >= _LONG_BLOCK_ROWS
        block = await asyncio.to_thread(session.compute, bars) if is_long else session.compute(bars)
        busy = self._busy_rows(block)
        row, handled = 0, 0
        while row < len(bars):
            if self._skip and session.is_idle:
                row = self._next_busy(busy, row, bars)
            else:
                await self._pass_gap(int(bars.close_time[row]))
                await session.move_through_bar(block, row)
            self._told = int(bars.close_time[row])
            block = await session.close_bar(block, row, self._told)
            row += 1
            handled += 1
            if handled % _ROWS_PER_BREATH == 0:
                await asyncio.sleep(0)
        self._note_prices(bars)
        self._rows += len(bars)
        self.time = int(bars.close_time[-1])
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Close what is open at the end of the data."""
        await self._session.end_run(self._last_prices, self.time)
        self._session.cancel_fits()

    def progress(self) -> Progress:
        """How far the run is."""
        portfolio = self._session.engine.portfolio
        return Progress(
            time=self.time,
            rows=self._rows,
            total_rows=self._assembly.market.total_bars,
            symbols=len(self._assembly.market.symbols),
            trades=portfolio.trades,
            open_positions=len(portfolio.holdings),
            equity=portfolio.equity,
        )

    async def save_when_due(self) -> None:
        """Take a snapshot when the last is older than it may be."""
        if asyncio.get_running_loop().time() - self._saved >= self._assembly.settings.run.snapshot_seconds:
            await self.save()

    async def save(self) -> None:
        """Take a snapshot of the whole run between two blocks: everything is of the same bar.

        What was put down before it is made to last first: a resumed run does not say it again.
        """
        session, assembly = self._session, self._assembly
        await assembly.writer.durable(assembly.writer.put(()))
        state = {
            "time": self.time,
            "told": self._told,
            "rows": self._rows,
            "last_prices": self._last_prices,
            "engine": session.engine.snapshot(),
            "dense": session.dense.snapshot(),
            "broker": assembly.plugins.broker.hooks.slt_snapshot_broker(),
            "results": session.results,
            "candles": session.candles,
            "notices": session.waiting_notices(),
        }
        await asyncio.to_thread(save_snapshot, assembly.folder.snapshot, state)
        self._saved = asyncio.get_running_loop().time()

    def resume(self) -> None:
        """Take the snapshot back."""
        session, assembly = self._session, self._assembly
        state = load_snapshot(assembly.folder.snapshot)
        assert state is not None  # noqa: S101 # the folder is resumed only when it has a snapshot
        self.time, self._told = state["time"], state["told"]
        self._rows, self._last_prices = state["rows"], state["last_prices"]
        session.engine.restore(state["engine"])
        session.dense.restore(state["dense"])
        assembly.plugins.broker.hooks.slt_restore_broker(state=state["broker"])
        session.results = state["results"]
        session.candles = state["candles"]
        for plugin in assembly.plugins.strategies:
            session.dense.use_model(plugin.name, *session.engine.champion(plugin.name))
        session.start_pending_fits()
        session.tell(state["notices"])
        self._saved = asyncio.get_running_loop().time()

    async def _forget_the_rest(self) -> None:
        """Have the storage forget what the run put down after the snapshot: that future may not come again."""
        assembly = self._assembly
        run_id, since = assembly.folder.run_id, self._told + 1
        if assembly.settings.run.mode != "backtest":
            assembly.writer.forget(run_id, since)
            return
        try:
            async with asyncio.timeout(_FORGET_TIMEOUT_S):
                await assembly.storage.slt_forget_records(run_id=run_id, since=since)
        except TimeoutError:
            raise StorageError(f"the storage did not forget run {run_id} within {_FORGET_TIMEOUT_S:g} s") from None

    async def _pass_gap(self, until: int) -> None:
        for time in self.missing_times(until):
            if not self._session.engine.portfolio.holdings:
                return
            await self.tick(time)

    def _busy_rows(self, block: Block) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Rows that are played even when nothing is open: proposals, timers, the last row."""
        times = block.bars.close_time
        busy = (times % self._timer_ms == 0) | (times % _HOUR_MS == 0)
        for view in block.views:
            busy |= (view.signals.side != 0).any(axis=1)
        busy[-1] = True
        return np.flatnonzero(busy)

    def _next_busy(self, busy: np.ndarray[Any, np.dtype[np.intp]], row: int, bars: Bars) -> int:
        found = int(busy[np.searchsorted(busy, row)])
        due = self._session.next_fit_time
        if due is not None:
            found = min(found, max(row, int(np.searchsorted(bars.close_time, due))))
        return found

    def _note_prices(self, bars: Bars) -> None:
        for column, symbol in enumerate(bars.symbols):
            traded = np.flatnonzero(bars.state[:, column] == _TRADED)
            if len(traded):
                self._last_prices[symbol] = float(bars.close[traded[-1], column])
