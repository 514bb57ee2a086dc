"""What both drivers share: engine, broker, storage, outbox and fits, and how commands become actions."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from slt.errors import BrokerError, ModelError, SltError
from slt.events import (
    BarsClosed,
    Block,
    CancelOrder,
    Command,
    EntriesHalted,
    Event,
    ModelReady,
    Notify,
    PluginFailed,
    QueryOrder,
    ReadAccount,
    RunEnding,
    StartFit,
    Store,
    SubmitOrder,
    Tick,
    UseModel,
)
from slt.log import get_logger
from slt.market import bar_path
from slt.types import (
    BarState,
    Decision,
    EquityPoint,
    FitReport,
    ModelVersion,
    OrderStatus,
    OrderUpdate,
    PricePoint,
    Trade,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from slt.hookspecs import BrokerSpecs
    from slt.notify import Outbox
    from slt.report import CandleRecorder
    from slt.run.dense import Dense
    from slt.run.diary import Diary
    from slt.run.vitals import Vitals
    from slt.storage.writer import Writer
    from slt.trading.engine import Engine
    from slt.types import Bars, FitRequest, Notice, Record

__all__ = ["Results", "Session"]

_BROKER_TIMEOUT_S = 30.0
_QUESTION_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
"""Waits between two questions after an order whose outcome is unknown."""
_TRADED = int(BarState.TRADED)
_log = get_logger("execution")
_learning_log = get_logger("learning")


@define
class Results:
    """What the summary at the end is made of; part of the snapshot.

    Attributes:
        trades: Closed trades in order.
        equity: Points of the equity curve.
        models: Fitted versions without their artefacts.
        gates: Decisions per outcome; all that a run without an end keeps.
    """

    trades: list[Trade] = field(factory=list)
    equity: list[EquityPoint] = field(factory=list)
    models: list[ModelVersion] = field(factory=list)
    gates: dict[str, int] = field(factory=dict)

    def note(self, record: Any) -> None:
        """Remember what the summary needs of a stored record."""
        kind = type(record)
        if kind is Trade:
            self.trades.append(record)
        elif kind is EquityPoint:
            if self.equity and self.equity[-1].id == record.id:
                self.equity.pop()
            self.equity.append(record)
        elif kind is ModelVersion:
            self.models = [m for m in self.models if m.id != record.id]
            self.models.append(evolve(record, artefact=b""))
            self.models.sort(key=lambda m: m.fitted_time)
        else:
            self.count(record)

    def count(self, record: Any) -> None:
        """Count a record where it is a decision."""
        if type(record) is Decision:
            self.gates[record.outcome] = self.gates.get(record.outcome, 0) + 1


class Session:
    """Carries out the engine's commands and feeds it their consequences.

    Args:
        engine: The engine.
        dense: Features, strategies, predictions.
        broker: Hooks of the broker.
        writer: Where records go.
        outbox: Where notices go; None sends none.
        fit: Carries out one fit; None where no model plugin is chosen.
        tasks: Owner of the tasks that fits run in.
        candles: Keeps candles for the report's charts; None: the run has no end, and `slt report` reads the storage.
        path: Path of prices within a bar: ``adverse`` or ``ohlc``.
        is_durable: Whether a submit waits until its intent is on disk (always in live and paper; a back-test repeats
            from its snapshot instead).

    Attributes:
        diary: Writes down what the commands mean for people; None writes nothing, as in a back-test.
        vitals: Takes what a driver knows about the run's health; None in a back-test.
        halts: Who halts entries from outside the engine, and why now: an empty text = it does not. See `apply_halts`.
        on_records: Told of the event time and the records of an event once its commands are carried out; None = nobody.
        stand_by: Waits until this instance may trade; a live driver awaits it once, warm, before its first order.
            None = it may.
    """

    def __init__(
        self,
        engine: Engine,
        dense: Dense,
        broker: BrokerSpecs,
        writer: Writer,
        *,
        outbox: Outbox | None,
        fit: Callable[[FitRequest], Awaitable[FitReport]] | None,
        tasks: asyncio.TaskGroup,
        candles: CandleRecorder | None,
        path: str,
        is_durable: bool,
    ) -> None:
        self.engine = engine
        self.dense = dense
        self.results = Results()
        self.candles = candles
        self.time = 0
        self.diary: Diary | None = None
        self.vitals: Vitals | None = None
        self.halts: dict[str, Callable[[], str]] = {}
        self.stand_by: Callable[[], Awaitable[None]] | None = None
        self.on_records: Callable[[int, Sequence[Record]], None] | None = None
        self._broker = broker
        self._writer = writer
        self._outbox = outbox
        self._fit = fit
        self._tasks = tasks
        self._path = path
        self._is_durable = is_durable
        self._fits: dict[str, tuple[FitRequest, asyncio.Task[FitReport]]] = {}
        self._is_swapped = False
        self._halted: dict[str, bool] = {}

    @property
    def next_fit_time(self) -> int | None:
        """Event time at which the next fit's result takes effect; None when none is under way."""
        return min((request.effective_time for request, _ in self._fits.values()), default=None)

    @property
    def is_idle(self) -> bool:
        """Nothing open and nothing under way: a minute without a proposal or timer changes nothing."""
        portfolio = self.engine.portfolio
        return not portfolio.holdings and not portfolio.entries

    def compute(self, bars: Bars) -> Block:
        """The dense part of a block; its candles are kept, coarser, for the report."""
        if self.candles is not None:
            self.candles.add(bars)
        return self.dense.compute(bars)

    async def handle(self, event: Event) -> bool:
        """Give an event to the engine and carry out what follows, consequences included.

        Returns:
            Whether any command followed.
        """
        self.time = event.time
        commands = self.decide(event)
        if not commands:
            return False
        events = deque(await self._carry_out(commands))
        while events:
            events.extend(await self._carry_out(self.decide(events.popleft())))
        return True

    def note(self, record: Record) -> None:
        """Remember what is wanted of a record at the end of the run."""
        self.results.note(record)

    def decide(self, event: Event) -> list[Command]:
        """What the engine says to an event; nothing is carried out."""
        return self.engine.handle(event)

    async def close_bar(self, block: Block, row: int, time: int) -> Block:
        """Everything that happens at the close of a row; returns the block, re-predicted after a model swap."""
        due = self.next_fit_time
        if due is not None and time >= due:
            block = await self._take_fits(block, row, time)
        while self.dense.faults:
            await self.handle(PluginFailed(time, self.dense.faults.pop(0)))
        self._is_swapped = False
        await self.handle(BarsClosed(time, block, row))
        return self.dense.predict(block, row + 1) if self._is_swapped else block

    async def move_through_bar(self, block: Block, row: int) -> None:
        """Move the prices of every symbol with a position or an entry along its bar.

        A bar's last price is from just before its close time: what is decided or due at that time finds the next open.
        """
        bars = block.bars
        closed = int(bars.close_time[row])
        opened, step = closed - bars.interval_ms, bars.interval_ms // 3
        paths = self._bar_paths(block, row)
        for index, time in enumerate((opened, opened + step, opened + 2 * step, closed - 1)):
            for symbol, path in paths.items():
                await self.move_price(PricePoint(time, symbol, path[index], is_gap=index == 0))
        if not self.engine.portfolio.holdings.keys() <= paths.keys():
            await self.handle(Tick(closed))

    async def move_price(self, point: PricePoint) -> None:
        """Move one symbol's price, let exits decide on it, and let orders on the way fill."""
        portfolio, symbol = self.engine.portfolio, point.symbol
        while symbol in portfolio.holdings or symbol in portfolio.entries:
            if symbol in portfolio.holdings:
                await self.handle(point)
            events = self.advance_price(point)
            if not events:
                return
            for event in events:
                await self.handle(event)

    def advance_price(self, point: PricePoint) -> list[Any]:
        """Move a simulated broker's price; what that filled is not handled yet."""
        return self._broker.slt_advance_price(point=point)

    async def end_run(self, last_prices: dict[str, float], time: int) -> None:
        """Close what is open at the last prices."""
        await self.handle(RunEnding(time))
        for symbol, price in last_prices.items():
            await self.move_price(PricePoint(time, symbol, price))
        await self.handle(RunEnding(time))

    async def apply_halts(self, time: int) -> None:
        """Halt entries, or let them resume, as those in `halts` say now. To be called between bars.

        Args:
            time: Event time, ms UTC.
        """
        for source, reason_of in self.halts.items():
            reason = reason_of()
            # The first answer is always passed on: a resumed run may remember a halt whose cause has gone.
            if self._halted.get(source) is not bool(reason):
                self._halted[source] = bool(reason)
                await self.handle(EntriesHalted(time, reason, source))

    def start_pending_fits(self) -> None:
        """Carry out again the fits that were under way when the snapshot was taken."""
        for command in self.engine.pending_fits():
            self._start_fit(command.request)

    def waiting_notices(self) -> list[Notice]:
        """Notices that some channel has not confirmed yet; part of the snapshot."""
        return self._outbox.undelivered() if self._outbox is not None else []

    def tell(self, notices: Iterable[Notice]) -> None:
        """Hand notices to the outbox."""
        if self._outbox is not None:
            for notice in notices:
                self._outbox.put(notice)

    async def drain_notices(self, timeout_seconds: float) -> int:
        """Take no more notices and wait until those that wait are delivered; returns how many were not in time."""
        return await self._outbox.drain(timeout_seconds) if self._outbox is not None else 0

    def cancel_fits(self) -> None:
        """Give up the fits under way."""
        for _, task in self._fits.values():
            task.cancel()

    def _bar_paths(self, block: Block, row: int) -> dict[str, tuple[float, float, float, float]]:
        bars, portfolio = block.bars, self.engine.portfolio
        sides = {s: e.proposal.side for s, e in portfolio.entries.items()}
        sides.update({s: h.position.side for s, h in portfolio.holdings.items()})
        paths = {}
        for column, symbol in enumerate(bars.symbols):
            if symbol in sides and bars.state[row, column] == _TRADED:
                prices = (bars.open, bars.high, bars.low, bars.close)
                o, h, low, c = (float(p[row, column]) for p in prices)
                paths[symbol] = bar_path(o, h, low, c, sides[symbol], self._path)
        return paths

    async def _carry_out(self, commands: list[Command]) -> list[Event]:
        """Carry out commands in order, the records first; returns the events that followed at once."""
        events: list[Event] = []
        records = [command.record for command in commands if isinstance(command, Store)]
        for record in records:
            self.note(record)
        if self.diary is not None:
            self.diary.tell(commands)
        position = self._writer.put(records)
        if self._is_durable and any(isinstance(command, SubmitOrder) for command in commands):
            await self.make_durable(position)
        for command in commands:
            if isinstance(command, SubmitOrder | CancelOrder | QueryOrder | ReadAccount):
                events.extend(await self._ask_broker(command, position))
            elif isinstance(command, StartFit):
                self._start_fit(command.request)
            elif isinstance(command, UseModel):
                self.dense.use_model(command.strategy, command.version, command.artefact)
                self._is_swapped = True
            elif isinstance(command, Notify):
                self.tell((command.notice,))
        if self.on_records is not None:
            self.on_records(self.time, records)
        return events

    async def make_durable(self, position: int) -> None:
        """Wait until everything put down up to `position` would survive a crash."""
        await self._writer.durable(position)

    async def _ask_broker(
        self, command: SubmitOrder | CancelOrder | QueryOrder | ReadAccount, position: int
    ) -> Iterable[Any]:
        """Carry out an order; a simulated broker has nothing to be asked for, it has told everything."""
        del position  # for live brokers, whose orders wait for it by themselves
        return await self._order(command) if isinstance(command, SubmitOrder | CancelOrder) else ()

    async def _order(self, command: SubmitOrder | CancelOrder) -> list[Any]:
        """Send or cancel; an unknown outcome is asked for, never sent again blindly."""
        try:
            async with asyncio.timeout(_BROKER_TIMEOUT_S):
                if isinstance(command, SubmitOrder):
                    return await self._broker.slt_submit_order(order=command.order)
                return await self._broker.slt_cancel_order(
                    symbol=command.symbol, client_id=command.client_id, time=command.time
                )
        except (BrokerError, TimeoutError, OSError) as error:
            order = command.order if isinstance(command, SubmitOrder) else command
            _log.warning("order outcome unknown, asking", client_id=order.client_id, cause=type(error).__name__)
        known = await self._ask(order.symbol, order.client_id)
        if known or isinstance(command, CancelOrder):
            return known
        return [OrderUpdate(self.time, order.client_id, order.symbol, OrderStatus.REJECTED, "it never arrived")]

    async def _ask(self, symbol: str, client_id: str) -> list[Any]:
        """Everything the broker knows of an order, asked until it answers.

        Raises:
            BrokerError: It did not answer for minutes; the run ends, its orders rest on the exchange.
        """
        for wait in _QUESTION_WAITS_S:
            try:
                async with asyncio.timeout(_BROKER_TIMEOUT_S):
                    return await self._broker.slt_query_order(symbol=symbol, client_id=client_id)
            except (BrokerError, TimeoutError, OSError) as error:
                _log.warning("broker does not answer", client_id=client_id, cause=type(error).__name__)
                await asyncio.sleep(wait)
        raise BrokerError(f"the broker does not say what became of order {client_id}; look at the account, then resume")

    def _start_fit(self, request: FitRequest) -> None:
        if self._fit is None:
            raise SltError("a fit was asked for, but no model plugin is chosen")
        _learning_log.info("fit started", version=request.version, samples=len(request.samples))
        self._fits[request.id] = (request, self._tasks.create_task(_run_fit(self._fit, request)))

    async def _take_fits(self, block: Block, row: int, time: int) -> Block:
        """Wait for the fits whose result takes effect now, and let it."""
        due = [request for request, task in self._fits.values() if self.is_fit_due(request, task, time)]
        for request in sorted(due, key=lambda r: (r.effective_time, r.id)):
            _, task = self._fits.pop(request.id)
            report = self._loadable(request, await task)
            _learning_log.info("fit judged", version=request.version, verdict=report.verdict)
            await self.handle(ModelReady(time, request, report))
        return self.dense.predict(block, row)

    def is_fit_due(self, request: FitRequest, task: asyncio.Task[FitReport], time: int) -> bool:
        """Whether a fit's result takes effect now; one that is not ready is waited for."""
        del task
        return request.effective_time <= time

    def _loadable(self, request: FitRequest, report: FitReport) -> FitReport:
        """The report, or a refusal where the promoted model cannot be loaded: engine and predictions must agree."""
        if not report.promoted:
            return report
        try:
            self.dense.load_model(report.artefact)
        except ModelError as error:
            _learning_log.error("model refused, the one before stays", version=request.version, cause=str(error))
            return evolve(report, promoted=False, verdict=f"refused: {error}", is_failed=True)
        return report


async def _run_fit(fit: Callable[[FitRequest], Awaitable[FitReport]], request: FitRequest) -> FitReport:
    return await fit(request)
