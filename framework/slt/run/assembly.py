"""Putting a run together from its configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from slt.config import KERNEL_SECTIONS, render_section
from slt.errors import ConfigError
from slt.loader import build_plugins
from slt.run.dense import Dense
from slt.run.folders import RunFolder, open_folder
from slt.storage.writer import Writer
from slt.trading.core import EngineSetup
from slt.trading.engine import Engine
from slt.types import MarketInfo, Run, SymbolRules

if TYPE_CHECKING:
    from slt.config import Settings
    from slt.loader import Plugins

__all__ = ["Assembly", "assemble", "effective_config"]

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
    singles = [
        plugins.feed,
        plugins.broker,
        plugins.storage,
        plugins.sizer,
        *([plugins.model] if plugins.model else []),
    ]
    for loaded in (*singles, *plugins.features, *plugins.strategies, *plugins.exits, *plugins.notifiers):
        header = f"{loaded.installed.kind}.{loaded.installed.name}"
        parts.append(render_section(header, loaded.config, comments=comments))
    return "\n".join(parts)


async def assemble(settings: Settings, *, is_fresh: bool) -> Assembly:
    """Build the plugins, ask feed, storage and broker what they have, and make the engine.

    Args:
        settings: The configuration.
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
    async with asyncio.timeout(_OPEN_TIMEOUT_S):
        rules = dict(await plugins.broker.hooks.slt_open_broker(market=market, wallet=settings.account.initial_equity))
        missing = [s for s in market.symbols if s not in rules]
        if missing:
            raise ConfigError(f"brokers.{plugins.broker.name}: no trading rules for {', '.join(missing)}")
        storage_text = await plugins.storage.hooks.slt_open_storage()
    folder = open_folder(
        Path(settings.run.folder), settings.run.name, effective_config(settings, plugins), is_fresh=is_fresh
    )
    engine = Engine(_engine_setup(settings, plugins, market, rules, dense, folder.run_id))
    writer = Writer(plugins.storage.hooks, None)
    return Assembly(settings, plugins, folder, market, rules, dense, engine, writer, storage_text)


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
