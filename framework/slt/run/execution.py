"""One whole run, from configuration to report."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from slt.errors import SltError, StoppedError
from slt.log import get_logger
from slt.notify import Outbox
from slt.report import CandleRecorder, ReportData, choose_interval, write_report
from slt.run.assembly import Assembly, assembled
from slt.run.fitting import FitWorker
from slt.run.live import play_live
from slt.run.replay import replay
from slt.run.session import Session
from slt.statistics import check_accounting, summarise
from slt.storage.contract import Query
from slt.types import Trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from slt.config import Settings
    from slt.run.player import Progress
    from slt.statistics import Summary
    from slt.types import MarketInfo

__all__ = ["Observer", "Outcome", "execute"]

_DRAIN_TIMEOUT_S = 20.0
_OPEN_SPAN_MS = 30 * 86_400_000
_log = get_logger("lifecycle")


@frozen(eq=False)
class Observer:
    """Who watches a run.

    Attributes:
        started: Told once, when everything is open: run id, market, storage, and whether the run was resumed.
        progressed: Told after every block.
        stopping: Asked after every block; True stops the run with its state saved.
    """

    started: Callable[[Assembly], None]
    progressed: Callable[[Progress], None]
    stopping: Callable[[], bool]


@frozen(eq=False)
class Outcome:
    """What a finished run leaves.

    Attributes:
        summary: Its figures.
        report: The HTML report; None when it could not be written (the reason is in `problems`).
        problems: What a person should know, one line each: broken plugins, books that do not agree.
        faults: What plugins broke, one line each; entries had been halted since.
    """

    summary: Summary
    report: Path | None
    problems: tuple[str, ...]
    faults: tuple[str, ...]


async def execute(settings: Settings, observer: Observer, *, is_fresh: bool = False, skip: bool = True) -> Outcome:
    """Run a configuration to its end.

    Args:
        settings: The configuration.
        observer: Who watches.
        is_fresh: Start a new run even where an unfinished one could be resumed.
        skip: See `slt.run.replay.replay`.

    Raises:
        SltError: By kind; a `StoppedError` for a run that was stopped and can be resumed.
    """
    try:
        async with assembled(settings, is_fresh=is_fresh) as assembly:
            observer.started(assembly)
            return await _run(assembly, observer, skip=skip)
    except* SltError as group:
        raise _first(group) from None


async def _run(assembly: Assembly, observer: Observer, *, skip: bool) -> Outcome:
    async with _session(assembly) as session:
        assembly.writer.put([assembly.run_record("running")])
        try:
            if assembly.settings.run.mode == "backtest":
                await replay(assembly, session, stopping=observer.stopping, on_progress=observer.progressed, skip=skip)
            else:
                await play_live(assembly, session, stopping=observer.stopping, on_progress=observer.progressed)
        except StoppedError:
            assembly.writer.put([assembly.run_record("stopped")])
            await assembly.writer.flush()
            raise
        return await _finish(assembly, session)


@contextlib.asynccontextmanager
async def _session(assembly: Assembly) -> AsyncIterator[Session]:
    """A session with its tasks: storage writer, outbox, fits. All of them end with it."""
    settings, plugins = assembly.settings, assembly.plugins
    worker = _fit_worker(assembly)
    outbox = _outbox(assembly)
    for damage in await assembly.writer.open():
        _log.error("journal damaged", detail=damage)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        if worker is not None:
            await worker.start()
            stack.push_async_callback(worker.stop)
        writing = tasks.create_task(assembly.writer.run())
        if outbox is not None:
            await outbox.open()
            tasks.create_task(outbox.run())
        session = Session(
            assembly.engine,
            assembly.dense,
            plugins.broker.hooks,
            assembly.writer,
            outbox=outbox,
            fit=worker.fit if worker is not None else None,
            tasks=tasks,
            candles=_candle_recorder(assembly.market),
            path=getattr(plugins.broker.config, "path", "ohlc"),
            is_durable=settings.run.mode != "backtest",
        )
        try:
            yield session
        finally:
            session.cancel_fits()
            assembly.writer.stop()
            await writing
            if outbox is not None:
                await outbox.drain(_DRAIN_TIMEOUT_S)
                await outbox.close()


def _candle_recorder(market: MarketInfo) -> CandleRecorder:
    span = (market.end if market.end is not None else market.start + _OPEN_SPAN_MS) - market.start
    return CandleRecorder(market.symbols, choose_interval(span, market.interval_ms))


def _fit_worker(assembly: Assembly) -> FitWorker | None:
    model, settings = assembly.plugins.model, assembly.settings
    if model is None or settings.locks.disable_model_training:
        return None
    return FitWorker(
        model.installed.target,
        model.config,
        settings.gate,
        timeout_seconds=settings.learning.fit_timeout_seconds,
        memory_mb=settings.learning.fit_memory_mb,
    )


def _outbox(assembly: Assembly) -> Outbox | None:
    settings = assembly.settings
    is_backtest = settings.run.mode == "backtest"
    kinds = settings.notices.in_backtest if is_backtest else settings.notices.kinds
    if not assembly.plugins.notifiers or not kinds:
        return None
    channels = {n.name: n.hooks for n in assembly.plugins.notifiers}
    rng = random.Random(settings.run.seed)  # noqa: S311 # spreads retries, guards no secret
    return Outbox(channels, settings.notices, is_backtest=is_backtest, rng=rng)


async def _finish(assembly: Assembly, session: Session) -> Outcome:
    """Summary, report, and the check that storage and books agree."""
    results, market = session.results, assembly.market
    portfolio = assembly.engine.portfolio
    run = assembly.run_record("finished")
    summary = summarise(
        run,
        results.trades,
        results.models,
        results.equity,
        initial_equity=portfolio.initial_equity,
        final_equity=portfolio.equity,
        market=market.description,
        is_synthetic=market.is_synthetic,
        decisions=results.gates,
    )
    run = attrs.evolve(run, summary=attrs.asdict(summary))
    assembly.writer.put([run])
    await assembly.writer.flush()
    problems = [*await _check_books(assembly, summary), *assembly.engine.faults]
    report: Path | None = assembly.folder.report
    try:
        data = ReportData(run, summary, results.trades, results.equity, results.models, session.candles.candles())
        await asyncio.to_thread(write_report, assembly.folder.report, data)
    except SltError as error:
        problems.append(str(error))
        report = None
    assembly.folder.finish()
    return Outcome(summary, report, tuple(problems), tuple(assembly.engine.faults))


async def _check_books(assembly: Assembly, summary: Summary) -> list[str]:
    """Trades in the storage = trades in the summary, and the money adds up."""
    problems = []
    query = Query(Trade, run_id=assembly.folder.run_id)
    stored = await assembly.plugins.storage.hooks.slt_read_records(query=query)
    if len(stored) != summary.trades:
        problems.append(f"the storage holds {len(stored)} trades of this run, the summary {summary.trades}")
    accounting = check_accounting(summary)
    if not accounting.closes:
        problems.append(f"the books do not close: final equity is off by {accounting.difference:.6f} USDT")
    return problems


def _first(group: BaseExceptionGroup[SltError]) -> SltError:
    """The error to show of a group: the first that is none of a task ending with the others."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
