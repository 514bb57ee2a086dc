"""Putting a run together from its configuration."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from slt.audit.admission import check_certificates
from slt.config import (
    KERNEL_SECTIONS,
    CacheConfig,
    FeedConfig,
    HealthConfig,
    LocksConfig,
    LogConfig,
    NoticesConfig,
    render_section,
)
from slt.errors import ConfigError, StorageError
from slt.log import get_logger
from slt.run.dense import Dense
from slt.run.folders import RunFolder, UnderWayError, check_root, open_folder, symbols_before
from slt.run.standby import wait_for_folder, wants_lock
from slt.run.starting import OPEN_SECONDS, opening
from slt.run.supervision import register_stop
from slt.storage.contract import Query
from slt.storage.journal import Journal
from slt.storage.link import StorageLink
from slt.storage.reader import Reader, make_reader
from slt.storage.refused import RefusedRecords
from slt.storage.writer import Writer
from slt.trading.core import EngineSetup
from slt.trading.engine import Engine
from slt.types import MarketInfo, Run, SymbolRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from slt.config import Settings
    from slt.lifecycle import LifecycleManager
    from slt.loader import Loaded, Plugins
    from slt.run.starting import Starting

__all__ = ["Assembly", "assembled", "effective_config", "secret_names"]

_log = get_logger("lifecycle")


@frozen(eq=False)
class Assembly:
    """The parts of a run, opened and ready.

    Attributes:
        settings: The configuration.
        plugins: The chosen plugins.
        folder: The run's folder.
        market: What the feed tells.
        rules: What the broker tells.
        dense: Features, strategies, predictions.
        engine: The engine.
        writer: Write-behind to the storage; its task is the driver's.
        reader: Asks the storage through the cache, which the writer tells of what it writes; None in a back-test.
        storage: The storage plugin's hooks, which open it when it is there.
        storage_text: The storage in one line.
        is_storage_whole: Whether the storage has the run from its beginning; one in memory has not after a restart.
    """

    settings: Settings
    plugins: Plugins
    folder: RunFolder
    market: MarketInfo
    rules: dict[str, SymbolRules]
    dense: Dense
    engine: Engine
    writer: Writer
    reader: Reader | None
    storage: StorageLink
    storage_text: str
    is_storage_whole: bool

    def run_record(self, status: str, summary: dict[str, object] | None = None) -> Run:
        """The run as a storage keeps it."""
        return Run(
            id=self.folder.run_id,
            mode=self.settings.run.mode,
            started=self.market.start,
            config=effective_config(self.settings, self.plugins),
            status=status,
            summary=summary or {},
        )


def effective_config(settings: Settings, plugins: Plugins, *, comments: bool = False) -> str:
    """The whole configuration as TOML: kernel sections, then every chosen plugin with every option. Holds no secret.

    An option that was left open stays open (a comment): what it comes to may depend on mode and locks.
    """
    parts = [render_section(name, getattr(settings, name), comments=comments) for name in KERNEL_SECTIONS]
    for loaded in _every(plugins):
        kind, name = loaded.installed.kind, loaded.installed.name
        given = settings.options.get((kind, name), {})
        options = attrs.evolve(loaded.config, relaxed=None) if _is_open(loaded.config, given) else loaded.config
        parts.append(render_section(f"{kind}.{name}", options, comments=comments))
    return "\n".join(parts)


def _is_open(options: Any, given: Mapping[str, Any]) -> bool:
    """Whether `relaxed` follows the lock RELAXED_SIGNAL_MODE and may be left out."""
    fields = attrs.fields_dict(type(options))
    return "relaxed" in fields and "relaxed" not in given and fields["relaxed"].default is None


def _identity(settings: Settings, plugins: Plugins) -> str:
    """What of a configuration decides the results: all but pace, locks, log, cache, health and what people get.

    So an unfinished run can go on with a lock on or with another log, and its champion goes on predicting.
    """
    run = attrs.evolve(
        settings.run,
        speed=0.0,
        snapshot_seconds=0.0,
        certificates="certificates",
        halt_entries_without_storage=False,
        one_instance=None,
        allow_uncertified=False,
        confirm_live=False,
        strangers="ignore",
        reconcile_minutes=5.0,
        session_minutes=60.0,
        session_days=7.0,
        store_bars=True,
        warm_days=8.0,
        warm_data="",
    )
    quiet = attrs.evolve(
        settings,
        run=run,
        plugins=attrs.evolve(settings.plugins, notifiers=(), cache=None, services=()),
        locks=LocksConfig(relaxed_signal_mode=settings.is_relaxed),
        notices=NoticesConfig(),
        log=LogConfig(),
        cache=CacheConfig(),
        health=HealthConfig(),
        feed=FeedConfig(),
    )
    return effective_config(quiet, attrs.evolve(plugins, notifiers=(), cache=None, services=(), sources=()))


def secret_names(plugins: Plugins) -> tuple[str, ...]:
    """Environment variables that hold secrets: what the chosen plugins' options ending in ``_env`` name."""
    options = (attrs.asdict(loaded.config, recurse=False) for loaded in _every(plugins))
    return tuple(v for table in options for k, v in table.items() if k.endswith("_env") and isinstance(v, str) and v)


def _every(plugins: Plugins) -> list[Loaded[Any]]:
    singles: list[Loaded[Any]] = [
        plugins.feed,
        plugins.broker,
        plugins.storage,
        *([plugins.cache] if plugins.cache else []),
        plugins.sizer,
        *([plugins.model] if plugins.model else []),
    ]
    several: list[tuple[Loaded[Any], ...]] = [
        plugins.features,
        plugins.strategies,
        plugins.exits,
        plugins.notifiers,
        plugins.services,
        plugins.sources,
    ]
    return [*singles, *(loaded for group in several for loaded in group)]


@asynccontextmanager
async def assembled(
    settings: Settings, plugins: Plugins, lifecycle: LifecycleManager, starting: Starting, *, is_fresh: bool
) -> AsyncIterator[Assembly]:
    """Ask feed, broker and storage what they have, and make the engine; closes everything at the end.

    Args:
        settings: The configuration.
        plugins: Its plugins.
        lifecycle: Stops broker and storage, after everything that others registered to stop before them.
        starting: Is told what the start waits for.
        is_fresh: Start a new run even where one could be resumed.

    Raises:
        ConfigError: Something in the configuration does not fit the market.
        PluginError: A plugin is broken.
        StorageError: The database cannot be used.
    """
    root = Path(settings.run.folder)
    check_root(root)
    check_certificates(plugins, settings)
    config, identity = effective_config(settings, plugins), _identity(settings, plugins)
    is_live = plugins.feed.implements("slt_plan_connections")
    before = symbols_before(root, settings.run.name, identity) if is_live and not is_fresh else ()
    market = await asyncio.to_thread(plugins.feed.hooks.slt_describe_market, resumed=before)
    if before:
        market = attrs.evolve(market, symbols=before, is_resumed=True)
    dense = Dense(plugins, market.symbols, market.interval_ms)
    await asyncio.to_thread(dense.start)
    async with AsyncExitStack() as held, AsyncExitStack() as ended:
        ended.push_async_callback(lifecycle.stop)
        register_stop(lifecycle, "broker", plugins.broker.hooks.slt_close_broker)
        async with opening(plugins.broker.installed, lifecycle):
            asked = plugins.broker.hooks.slt_open_broker(market=market, wallet=settings.account.initial_equity)
            rules = dict(await asked)
        missing = [s for s in market.symbols if s not in rules]
        if missing and market.is_resumed:
            _log.warning("symbols of this run are not at the exchange any more", symbols=", ".join(missing))
        elif missing:
            raise ConfigError(f"brokers.{plugins.broker.name}: no trading rules for {', '.join(missing)}")
        is_paced = settings.run.mode != "backtest"
        storage = StorageLink(plugins.storage.hooks, open_seconds=OPEN_SECONDS)
        register_stop(lifecycle, "storage", storage.slt_close_storage)
        folder, stored = await _take_folder(
            settings, plugins.storage, storage, (lifecycle, starting), (config, identity), is_fresh=is_fresh
        )
        held.callback(folder.release)
        engine = Engine(engine_setup(settings, plugins, market, rules, dense, folder.run_id))
        journal = Journal(folder.path / "journal", sync="always") if is_paced else None
        reader = await _open_reader(settings, plugins, lifecycle, storage) if is_paced else None
        writer = Writer(
            storage,
            journal,
            refused=RefusedRecords(folder.path / "refused.jsonl"),
            on_written=reader.wrote if reader is not None else None,
            on_forgotten=reader.forgot if reader is not None else None,
        )
        yield Assembly(
            settings=settings,
            plugins=plugins,
            folder=folder,
            market=market,
            rules=rules,
            dense=dense,
            engine=engine,
            writer=writer,
            reader=reader,
            storage=storage,
            storage_text=storage.text,
            is_storage_whole=stored is None or not folder.is_resumed or folder.run_id in stored,
        )


async def _take_folder(
    settings: Settings,
    plugin: Loaded[Any],
    storage: StorageLink,
    start: tuple[LifecycleManager, Starting],
    texts: tuple[str, str],
    *,
    is_fresh: bool,
) -> tuple[RunFolder, list[str] | None]:
    """The run's folder, waited for where another instance has it, and the runs in the storage; None = it is away."""
    root, name = Path(settings.run.folder), settings.run.name
    while True:
        async with opening(plugin.installed, start[0]):
            stored = await _stored_runs(storage, is_patient=settings.run.mode != "backtest")
        try:
            return open_folder(root, name, *texts, stored, is_fresh=is_fresh), stored
        except UnderWayError as error:
            if not wants_lock(settings):
                raise
            await wait_for_folder(error.path, *start)


async def _stored_runs(storage: StorageLink, *, is_patient: bool) -> list[str] | None:
    """Open the storage and ask for the runs in it; None where it is away and the run goes on without it.

    Raises:
        StorageError: It is away, and the run does not go on without it.
    """
    try:
        await storage.open()
        return [r.id for r in await storage.slt_read_records(query=Query(Run))]
    except StorageError as error:
        if not is_patient:
            raise
        _log.warning("the storage is away: the run goes on, records wait in its journal", cause=str(error), safety=True)
        return None


async def _open_reader(
    settings: Settings, plugins: Plugins, lifecycle: LifecycleManager, storage: StorageLink
) -> Reader:
    """Open the cache that config chooses, if any; a back-test asks for no statistics and has none."""
    if plugins.cache is not None:
        async with opening(plugins.cache.installed, lifecycle):
            _log.info("cache opened", cache=await plugins.cache.hooks.slt_open_cache())
    reader = make_reader(settings, plugins, is_writer=True, storage=storage)
    register_stop(lifecycle, "cache", reader.close)
    return reader


def engine_setup(
    settings: Settings,
    plugins: Plugins,
    market: MarketInfo,
    rules: dict[str, SymbolRules],
    dense: Dense,
    run_id: str,
) -> EngineSetup:
    return EngineSetup(
        run_id=run_id,
        symbols=market.symbols,
        interval_ms=market.interval_ms,
        strategies=tuple(s.name for s in plugins.strategies),
        names=dense.names,
        schema_hash=dense.schema_hash,
        rules=rules,
        sizer=plugins.sizer.hooks.slt_size_position,
        sizer_name=plugins.sizer.name,
        exits=[(e.name, e.hooks.slt_check_exit) for e in plugins.exits],
        funding=market.funding,
        account=settings.account,
        risk=settings.risk,
        learning=settings.learning,
        seed=settings.run.seed,
        is_training_locked=settings.locks.disable_model_training or plugins.model is None,
        equity_every_minutes=settings.run.equity_every_minutes,
        summary=(settings.notices.summary_time, settings.notices.time_zone),
        strangers=settings.run.strangers,
    )
