"""Putting a run together from its configuration."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from slt.config import KERNEL_SECTIONS, render_section
from slt.errors import ConfigError
from slt.loader import build_plugins
from slt.run.dense import Dense
from slt.run.folders import RunFolder, open_folder
from slt.run.supervision import register_stop
from slt.storage.contract import Query
from slt.storage.journal import Journal
from slt.storage.writer import Writer
from slt.trading.core import EngineSetup
from slt.trading.engine import Engine
from slt.types import MarketInfo, Run, SymbolRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from slt.config import Settings
    from slt.lifecycle import LifecycleManager
    from slt.loader import Loaded, Plugins

__all__ = ["Assembly", "assembled", "effective_config", "secret_names"]

_OPEN_TIMEOUT_S = 300.0


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
        storage_text: The storage in one line.
    """

    settings: Settings
    plugins: Plugins
    folder: RunFolder
    market: MarketInfo
    rules: dict[str, SymbolRules]
    dense: Dense
    engine: Engine
    writer: Writer
    storage_text: str

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
    """The whole configuration as TOML: kernel sections, then every chosen plugin with every option. Holds no secret."""
    sections = {"locks": settings.locks, **{n: getattr(settings, n) for n in KERNEL_SECTIONS if n != "locks"}}
    parts = [render_section(name, sections[name], comments=comments) for name in KERNEL_SECTIONS]
    for loaded in _every(plugins):
        header = f"{loaded.installed.kind}.{loaded.installed.name}"
        parts.append(render_section(header, loaded.config, comments=comments))
    return "\n".join(parts)


def secret_names(plugins: Plugins) -> tuple[str, ...]:
    """Environment variables that hold secrets: what the chosen plugins' options ending in ``_env`` name."""
    options = (attrs.asdict(loaded.config, recurse=False) for loaded in _every(plugins))
    return tuple(v for table in options for k, v in table.items() if k.endswith("_env") and isinstance(v, str) and v)


def _every(plugins: Plugins) -> list[Loaded[Any]]:
    singles: list[Loaded[Any]] = [
        plugins.feed,
        plugins.broker,
        plugins.storage,
        plugins.sizer,
        *([plugins.model] if plugins.model else []),
    ]
    return [*singles, *plugins.features, *plugins.strategies, *plugins.exits, *plugins.notifiers]


@asynccontextmanager
async def assembled(settings: Settings, lifecycle: LifecycleManager, *, is_fresh: bool) -> AsyncIterator[Assembly]:
    """Build the plugins, ask feed, broker and storage what they have, and make the engine; closes them at the end.

    Args:
        settings: The configuration.
        lifecycle: Stops broker and storage, after everything that others registered to stop before them.
        is_fresh: Start a new run even where one could be resumed.

    Raises:
        ConfigError: Something in the configuration does not fit the market.
        PluginError: A plugin is missing or broken.
        StorageError: The database cannot be used.
    """
    plugins = build_plugins(settings)
    market = await asyncio.to_thread(plugins.feed.hooks.slt_describe_market)
    dense = Dense(plugins, market.symbols, market.interval_ms)
    await asyncio.to_thread(dense.start)
    try:
        register_stop(lifecycle, "broker", plugins.broker.hooks.slt_close_broker)
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            opening = plugins.broker.hooks.slt_open_broker(market=market, wallet=settings.account.initial_equity)
            rules = dict(await opening)
        missing = [s for s in market.symbols if s not in rules]
        if missing:
            raise ConfigError(f"brokers.{plugins.broker.name}: no trading rules for {', '.join(missing)}")
        register_stop(lifecycle, "storage", plugins.storage.hooks.slt_close_storage)
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            storage_text = await plugins.storage.hooks.slt_open_storage()
        stored = [r.id for r in await plugins.storage.hooks.slt_read_records(query=Query(Run))]
        config = effective_config(settings, plugins)
        folder = open_folder(Path(settings.run.folder), settings.run.name, config, stored, is_fresh=is_fresh)
        engine = Engine(_engine_setup(settings, plugins, market, rules, dense, folder.run_id))
        is_paced = settings.run.mode != "backtest"
        journal = Journal(folder.path / "journal", sync="always") if is_paced else None
        writer = Writer(plugins.storage.hooks, journal)
        yield Assembly(settings, plugins, folder, market, rules, dense, engine, writer, storage_text)
    finally:
        await lifecycle.stop()


def _engine_setup(
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
    )
