"""One whole run, from configuration to report."""

from __future__ import annotations

import asyncio
import contextlib
import random
from functools import partial
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from slt.errors import SltError, StoppedError, StorageError
from slt.lifecycle import LifecycleManager
from slt.loader import build_plugins
from slt.log import get_logger
from slt.notify import Deliveries, Outbox
from slt.report import CandleRecorder, ReportData, choose_interval, write_report
from slt.run.assembly import Assembly, assembled
from slt.run.diary import Diary
from slt.run.fitting import FitWorker
from slt.run.health_server import check_health_config
from slt.run.heap import share_heaps
from slt.run.interim import InterimKeeper
from slt.run.leftovers import bring_leftovers, remember_storage, storage_mark
from slt.run.live import play_live
from slt.run.live_session import LiveSession
from slt.run.modes import check_mode
from slt.run.replay import replay
from slt.run.session import Session
from slt.run.standby import trading_alone
from slt.run.starting import Starting
from slt.run.storage_watch import StorageWatch
from slt.run.streaming import stream
from slt.run.supervision import Upkeep, guarded, listening, register_stop, until_forced
from slt.statistics import check_accounting, summarise
from slt.storage.contract import Query
from slt.types import FitReport, Trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from slt.config import Settings
    from slt.loader import Plugins
    from slt.run.player import Progress
    from slt.statistics import Summary
    from slt.types import FitRequest, MarketInfo

__all__ = ["Observer", "Outcome", "execute"]

_CATCH_UP_TIMEOUT_S = 10.0
_LAST_FLUSH_S = 60.0
_DRAIN_TIMEOUT_S = 20.0
_STOP_DRAIN_S = 2.0
"""A stop does not wait long for slow channels: what is left is in the snapshot, and told after the resume."""
_STOP_FLUSH_S = 2.0
"""A stop waits so long for the storage: what it has not taken then is in the journal, and written after the resume."""
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
    if settings.run.mode != "backtest":
        share_heaps()
        check_health_config(settings.health)
    plugins = build_plugins(settings)
    check_mode(settings, plugins)
    lifecycle, starting = LifecycleManager(), Starting(settings)
    with listening(lifecycle):
        async with starting.shown(), guarded(settings, lifecycle, starting):
            work = _execute(settings, plugins, observer, lifecycle, starting, is_fresh=is_fresh, skip=skip)
            return await until_forced(lifecycle, work)


async def _execute(
    settings: Settings,
    plugins: Plugins,
    observer: Observer,
    lifecycle: LifecycleManager,
    starting: Starting,
    *,
    is_fresh: bool,
    skip: bool,
) -> Outcome:
    try:
        async with assembled(settings, plugins, lifecycle, starting, is_fresh=is_fresh) as assembly:
            observer.started(assembly)
            return await _run(assembly, observer, lifecycle, starting, skip=skip)
    except* SltError as group:
        raise _first(group) from None


async def _run(
    assembly: Assembly, observer: Observer, lifecycle: LifecycleManager, starting: Starting, *, skip: bool
) -> Outcome:
    def stopping() -> bool:
        return observer.stopping() or lifecycle.stop_requested

    async with (
        _services(assembly, lifecycle, starting) as (session, upkeep),
        trading_alone(assembly, session, lifecycle),
    ):

        def progressed(progress: Progress) -> None:
            upkeep.note(progress)
            observer.progressed(progress)

        interim = InterimKeeper(assembly, session)
        await interim.begin()
        if assembly.settings.run.mode != "backtest":
            session.on_records = interim.note
        try:
            if assembly.settings.run.mode == "backtest":
                await replay(assembly, session, stopping=stopping, on_progress=progressed, skip=skip)
            elif isinstance(session, LiveSession):
                await stream(assembly, session, stopping=stopping, on_progress=progressed)
            else:
                await play_live(assembly, session, stopping=stopping, on_progress=progressed)
        except StoppedError:
            lifecycle.request_stop("the run is saved")
            interim.stop()
            raise
        return await _finish(assembly, session, upkeep)


@contextlib.asynccontextmanager
async def _services(
    assembly: Assembly, lifecycle: LifecycleManager, starting: Starting
) -> AsyncIterator[tuple[Session, Upkeep]]:
    """A session and the tasks that serve it: storage writer, outbox, fits, upkeep. All of them end with it."""
    settings, plugins = assembly.settings, assembly.plugins
    names = [notifier.name for notifier in plugins.notifiers]
    deliveries = Deliveries(assembly.folder.path / "delivered.jsonl", settings.notices.remember, names)
    outbox = _outbox(assembly, deliveries)
    upkeep = Upkeep(assembly, outbox, starting)
    worker = _fit_worker(assembly)
    async with asyncio.TaskGroup() as tasks:
        has_end = not plugins.feed.implements("slt_plan_connections")
        session = (Session if has_end else LiveSession)(
            assembly.engine,
            assembly.dense,
            plugins.broker.hooks,
            assembly.writer,
            outbox=outbox,
            fit=worker.fit if worker is not None else _refuse_fit,
            tasks=tasks,
            candles=_candle_recorder(assembly.market) if has_end else None,
            path=getattr(plugins.broker.config, "path", "ohlc"),
            is_durable=settings.run.mode != "backtest",
        )
        services: list[asyncio.Task[None]] = []
        try:
            if settings.run.mode != "backtest":
                session.diary, session.vitals = Diary(), upkeep.vitals
                upkeep.vitals.wait("start", "the run is not under way yet")
                upkeep.vitals.sources = session.halts
                register_stop(lifecycle, "upkeep", upkeep.stop)
                register_stop(lifecycle, "figures", upkeep.vitals.refresh)
                services += upkeep.start(tasks)
            if worker is not None:
                register_stop(lifecycle, "fits", partial(_stop_fits, session, worker))
                worker.supervise(upkeep.vitals.loops)
                await worker.start()
            if outbox is not None:
                register_stop(lifecycle, "outbox", partial(_stop_outbox, outbox, deliveries))
                await outbox.open()
                services.append(tasks.create_task(outbox.run()))
            services.append(await _start_writer(assembly, lifecycle, tasks))
            if settings.run.mode != "backtest":
                services += _watch_storage(assembly, session, upkeep, tasks)
            yield session, upkeep
        finally:
            await lifecycle.stop()
            session.cancel_fits()
            for service in services:
                service.cancel()


def _watch_storage(
    assembly: Assembly, session: Session, upkeep: Upkeep, tasks: asyncio.TaskGroup
) -> list[asyncio.Task[None]]:
    watch = StorageWatch(
        assembly.writer,
        assembly.storage,
        assembly.folder.run_id,
        loops=upkeep.vitals.loops,
        tell=lambda notice: session.tell((notice,)),
        event_time=lambda: session.time or assembly.market.start,
        is_halting=assembly.settings.run.halt_entries_without_storage,
    )
    session.halts["storage"] = watch.halt_reason
    remember_storage(assembly.folder.path, assembly.plugins.storage)
    mark = storage_mark(assembly.plugins.storage)
    leftovers = bring_leftovers(assembly.folder.path.parent, assembly.folder.path, assembly.storage, mark)
    return [tasks.create_task(work) for work in (watch.watch(), watch.prune(), leftovers)]


async def _stop_fits(session: Session, worker: FitWorker) -> None:
    session.cancel_fits()
    await worker.stop()


async def _stop_outbox(outbox: Outbox, deliveries: Deliveries) -> None:
    try:
        await outbox.drain(_STOP_DRAIN_S)
    finally:
        await outbox.close()
        deliveries.close()


async def _start_writer(
    assembly: Assembly, lifecycle: LifecycleManager, tasks: asyncio.TaskGroup
) -> asyncio.Task[None]:
    """Open the journal, and bring what an earlier life of the run left there to the storage before anything else."""
    writer = assembly.writer
    for damage in await writer.open():
        _log.error("journal damaged", detail=damage)
    writing = tasks.create_task(writer.run())

    async def stop() -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_FLUSH_S):
                    await writer.flush()
            if writer.pending and assembly.settings.run.mode != "backtest":  # which has no journal, and is repeated
                _log.warning("records wait in the journal for the storage", records=writer.pending)
        finally:
            writer.stop()
            await asyncio.wait({writing})

    register_stop(lifecycle, "writer", stop)
    if writer.pending:
        _log.info("bringing the journal of the last run to the storage", records=writer.pending)
        try:
            async with asyncio.timeout(_CATCH_UP_TIMEOUT_S):
                await writer.flush()
        except TimeoutError:
            _log.warning("the storage does not take the journal yet, going on", records=writer.pending)
    return writing


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


async def _refuse_fit(request: FitRequest) -> FitReport:
    """For a fit that was under way when the run was stopped, and whose training has been locked since."""
    return FitReport(request.id, promoted=False, verdict="refused: training is locked by DISABLE_MODEL_TRAINING")


def _outbox(assembly: Assembly, deliveries: Deliveries) -> Outbox | None:
    settings = assembly.settings
    is_backtest = settings.run.mode == "backtest"
    kinds = settings.notices.in_backtest if is_backtest else settings.notices.kinds
    if not assembly.plugins.notifiers or not kinds:
        return None
    channels = {n.name: n.hooks for n in assembly.plugins.notifiers}
    rng = random.Random(settings.run.seed)  # noqa: S311 # spreads retries, guards no secret
    outbox = Outbox(
        channels,
        settings.notices,
        is_backtest=is_backtest,
        rng=rng,
        delivered=deliveries.open(),
        on_delivered=deliveries.add,
        on_queued=deliveries.queue,
    )
    if assembly.plugins.feed.implements("slt_plan_connections"):
        # A recording is played again from the snapshot, and tells the same again.
        for notice, queued in deliveries.waiting:
            outbox.put_back(notice, queued)
    return outbox


async def _finish(assembly: Assembly, session: Session, upkeep: Upkeep) -> Outcome:
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
    await _flush_or_explain(assembly)
    problems = [*await _check_books(assembly, summary), *assembly.engine.faults]
    report: Path | None = assembly.folder.report
    try:
        candles = session.candles.candles() if session.candles is not None else {}
        data = ReportData(run, summary, results.trades, results.equity, results.models, candles)
        await asyncio.to_thread(write_report, assembly.folder.report, data)
    except SltError as error:
        problems.append(str(error))
        report = None
    if left := await session.drain_notices(_DRAIN_TIMEOUT_S):
        _log.warning("notices left undelivered at the end", notices=left)
    assembly.folder.finish()
    upkeep.state = "finished"
    return Outcome(summary, report, tuple(problems), tuple(assembly.engine.faults))


async def _flush_or_explain(assembly: Assembly) -> None:
    """Bring everything to the storage; a paced run whose storage is away at its end is left to be resumed.

    Raises:
        StorageError: It is away.
    """
    writer = assembly.writer
    is_patient = assembly.settings.run.mode != "backtest"
    try:
        async with asyncio.timeout(_LAST_FLUSH_S if is_patient else None):
            await writer.flush()
    except TimeoutError:
        raise StorageError(
            f"run {assembly.folder.run_id} is at its end, but {writer.pending} records wait in its journal: "
            f"{writer.last_error}; the same command brings them to the storage"
        ) from None


async def _check_books(assembly: Assembly, summary: Summary) -> list[str]:
    """Trades in the storage = trades in the summary, and the money adds up."""
    problems = []
    stored = await assembly.storage.slt_read_records(query=Query(Trade, run_id=assembly.folder.run_id))
    if not assembly.is_storage_whole:
        _log.warning("the storage kept nothing over the restart: it lacks the first part of the run")
    elif len(stored) != summary.trades:
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
