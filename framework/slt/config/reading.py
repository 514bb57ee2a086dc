"""Reading config.toml: file, environment, locks; every problem at once."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from slt.config.sections import (
    KERNEL_SECTIONS,
    AccountConfig,
    GateConfig,
    LearningConfig,
    LocksConfig,
    LogConfig,
    NoticesConfig,
    PluginChoice,
    RiskConfig,
    RunConfig,
)
from slt.config.structuring import nearest, structure
from slt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["SINGLE_KINDS", "Settings", "chosen_plugins", "read_config", "read_tables"]

SINGLE_KINDS = {"feeds": "feed", "brokers": "broker", "storages": "storage", "models": "model", "sizers": "sizer"}
"""Kinds of which a run has one, with the option of ``[plugins]`` that names it."""
_MANY_KINDS = ("features", "strategies", "exits", "notifiers")
_LOCKS = ("disable_model_training", "disable_websocket", "disable_rest_fallback", "relaxed_signal_mode")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


@frozen
class Settings:
    """A whole configuration, checked but for the plugins' own options.

    Attributes:
        path: The file it came from.
        run: Section ``[run]``.
        account: Section ``[account]``.
        plugins: Section ``[plugins]``.
        risk: Section ``[risk]``.
        learning: Section ``[learning]``.
        gate: Section ``[gate]``.
        locks: Section ``[locks]``, `relaxed_signal_mode` resolved.
        notices: Section ``[notices]``.
        log: Section ``[log]``.
        options: Tables of the plugins' options, by ``(kind, name)``.
    """

    path: Path
    run: RunConfig
    account: AccountConfig
    plugins: PluginChoice
    risk: RiskConfig
    learning: LearningConfig
    gate: GateConfig
    locks: LocksConfig
    notices: NoticesConfig
    log: LogConfig
    options: dict[tuple[str, str], dict[str, Any]]

    def chosen(self) -> list[tuple[str, str]]:
        """``(kind, name)`` of every chosen plugin, kinds in a fixed order, names in config order."""
        table = {name: getattr(self.plugins, name) for name in (*SINGLE_KINDS.values(), *_MANY_KINDS)}
        return chosen_plugins({"plugins": table})


def read_tables(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The tables of a config file with the environment's overrides applied, not yet checked.

    Args:
        path: A TOML file.
        environment: ``SLT_<SECTION>__<KEY>`` variables override; None = this process's environment.

    Raises:
        ConfigError: The file is missing, unreadable or not TOML.
    """
    environment = os.environ if environment is None else environment
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file `{path}` does not exist; name one with --config") from None
    except OSError as error:
        raise ConfigError(f"config file `{path}` cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file `{path}` is not valid TOML: {error}") from None
    for name in sorted(environment):
        if name.startswith("SLT_") and "__" in name:
            _override(tables, name, environment[name])
    for lock in _LOCKS:
        if lock.upper() in environment:
            tables.setdefault("locks", {})[lock] = _switch(lock.upper(), environment[lock.upper()])
    return tables


def chosen_plugins(tables: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``(kind, name)`` of the plugins that a config's tables choose; entries of a wrong type are passed over."""
    plugins = tables.get("plugins", {})
    chosen: list[tuple[str, str]] = []
    for kind in ("feeds", "brokers", "storages", "features", "strategies", "models", "sizers", "exits", "notifiers"):
        value = plugins.get(SINGLE_KINDS.get(kind, kind))
        names = [value] if isinstance(value, str) else value or ()
        chosen.extend((kind, name) for name in names if isinstance(name, str))
    return chosen


def read_config(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check the kernel's sections of a config file; the loader checks the plugins' options.

    Args:
        path: A TOML file.
        environment: Overrides and locks; None = this process's environment.

    Raises:
        ConfigError: With every problem of the file.
    """
    tables = read_tables(path, environment)
    problems: list[str] = []
    sections: dict[str, Any] = {}
    for name, cls in KERNEL_SECTIONS.items():
        table = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name}: found `{table!r}`, allowed is a table [{name}]")
            continue
        sections[name] = structure(table, cls, name, problems)
    options = _plugin_tables(tables, problems)
    choice = sections.get("plugins")
    if isinstance(choice, PluginChoice):
        problems.extend(_doubled(choice))
    if problems:
        raise ConfigError(*(f"{path.name}: {p}" for p in problems))
    settings = Settings(path=path, options=options, **sections)
    return _with_mode(settings)


def _with_mode(settings: Settings) -> Settings:
    locks, mode = settings.locks, settings.run.mode
    if locks.disable_websocket and mode == "live":
        raise ConfigError(
            f"{settings.path.name}: run.mode: found `live` while DISABLE_WEBSOCKET is on, which allows recorded feeds "
            "only; choose backtest or paper, or switch the lock off"
        )
    if locks.relaxed_signal_mode is None:
        locks = evolve(locks, relaxed_signal_mode=mode != "live")
    return evolve(settings, locks=locks)


def _doubled(choice: PluginChoice) -> Iterable[str]:
    for kind in _MANY_KINDS:
        names = getattr(choice, kind)
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield f"plugins.{kind}: `{name}` is named twice; each plugin can be chosen once"


def _plugin_tables(tables: dict[str, Any], problems: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    kinds = (*SINGLE_KINDS, *_MANY_KINDS)
    options = {}
    for section, table in tables.items():
        if section in KERNEL_SECTIONS:
            continue
        if section not in kinds:
            allowed = (*KERNEL_SECTIONS, *kinds)
            problems.append(f"{section}: unknown section{nearest(section, allowed)} (sections: {', '.join(allowed)})")
            continue
        for name, values in table.items() if isinstance(table, dict) else ():
            if isinstance(values, dict):
                options[section, name] = values
            else:
                problems.append(f"{section}.{name}: options belong in a table [{section}.<plugin>]")
    return options


def _override(tables: dict[str, Any], name: str, text: str) -> None:
    *sections, key = name.removeprefix("SLT_").lower().split("__")
    table = tables
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"environment variable `{name}`: `{section}` is an option, not a table")
    try:
        table[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = text


def _switch(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ConfigError(f"environment variable `{name}`: found `{text}`, allowed is 1/true/yes/on or 0/false/no/off")
    return word in _TRUE
