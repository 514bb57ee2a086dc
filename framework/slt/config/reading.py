"""Reading config.toml: file, environment, locks; every problem at once."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from slt.config.sections import (
    KERNEL_SECTIONS,
    AccountConfig,
    CacheConfig,
    FeedConfig,
    GateConfig,
    HealthConfig,
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

__all__ = ["SINGLE_KINDS", "Settings", "chosen_plugins", "plugin_tables", "read_config", "read_tables"]

SINGLE_KINDS = {
    "feeds": "feed",
    "brokers": "broker",
    "storages": "storage",
    "caches": "cache",
    "models": "model",
    "sizers": "sizer",
}
"""Kinds of which a run has one, with the option of ``[plugins]`` that names it."""
_MANY_KINDS = ("features", "strategies", "exits", "notifiers", "services")
_IN_ORDER = (
    "feeds",
    "brokers",
    "storages",
    "caches",
    "features",
    "strategies",
    "models",
    "sizers",
    "exits",
    "notifiers",
    "services",
)
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
        feed: Section ``[feed]``.
        risk: Section ``[risk]``.
        learning: Section ``[learning]``.
        gate: Section ``[gate]``.
        locks: Section ``[locks]``; whether signals are relaxed is told by `is_relaxed`.
        notices: Section ``[notices]``.
        log: Section ``[log]``.
        cache: Section ``[cache]``.
        health: Section ``[health]``.
        options: Tables of the plugins' options, by ``(kind, name)``.
        origins: Environment variables that set an option, by the option's dotted path.
    """

    path: Path
    run: RunConfig
    account: AccountConfig
    plugins: PluginChoice
    feed: FeedConfig
    risk: RiskConfig
    learning: LearningConfig
    gate: GateConfig
    locks: LocksConfig
    notices: NoticesConfig
    log: LogConfig
    cache: CacheConfig
    health: HealthConfig
    options: dict[tuple[str, str], dict[str, Any]]
    origins: dict[str, str] = field(factory=dict)

    @property
    def is_relaxed(self) -> bool:
        """Whether strategies use their lower signal tiers: as the lock says, else in every mode but live."""
        lock = self.locks.relaxed_signal_mode
        return self.run.mode != "live" if lock is None else lock

    def located(self, problem: str) -> str:
        """A problem that opens with an option's dotted path, with the file or variable that has to be changed."""
        return _located(self.path, self.origins, problem)

    def chosen(self) -> list[tuple[str, str]]:
        """``(kind, name)`` of every chosen plugin, kinds in a fixed order, names in config order."""
        table = {name: getattr(self.plugins, name) for name in (*SINGLE_KINDS.values(), *_MANY_KINDS)}
        return chosen_plugins({"plugins": table})


def read_tables(path: Path | None, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The tables of a config file with the environment's overrides applied, not yet checked.

    Args:
        path: A TOML file; None = no file, so that there are the overrides alone.
        environment: ``SLT_<SECTION>__<KEY>`` variables override; None = this process's environment.

    Raises:
        ConfigError: The file is missing, unreadable or not TOML, or an override cannot be applied.
    """
    tables, _, problems = _read(path, os.environ if environment is None else environment)
    if problems:
        raise ConfigError(*problems)
    return tables


def chosen_plugins(tables: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``(kind, name)`` of the plugins that a config's tables choose; entries of a wrong type are passed over."""
    plugins = tables.get("plugins")
    if not isinstance(plugins, dict):
        return []
    chosen: dict[tuple[str, str], None] = {}
    for kind in _IN_ORDER:
        value = plugins.get(SINGLE_KINDS.get(kind, kind))
        names = value if isinstance(value, list | tuple) else [value]
        chosen.update({(kind, name): None for name in names if isinstance(name, str)})
    return list(chosen)


def plugin_tables(tables: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The tables ``[<kind>.<name>]`` of a config's tables, by ``(kind, name)``; anything else is passed over."""
    return {
        (kind, name): values
        for kind in (*SINGLE_KINDS, *_MANY_KINDS)
        for name, values in _items(tables.get(kind))
        if isinstance(values, dict)
    }


def read_config(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check the kernel's sections of a config file; the loader checks the plugins' options.

    Args:
        path: A TOML file.
        environment: Overrides and locks; None = this process's environment.

    Raises:
        ConfigError: With every problem of the file.
    """
    tables, origins, unusable = _read(path, os.environ if environment is None else environment)
    problems: list[str] = []
    sections: dict[str, Any] = {}
    for name, cls in KERNEL_SECTIONS.items():
        table = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name}: found `{table!r}`, allowed is a table [{name}]")
            continue
        sections[name] = structure(table, cls, name, problems)
    problems.extend(_stray_tables(tables))
    choice = sections.get("plugins")
    if isinstance(choice, PluginChoice):
        problems.extend(_doubled(choice))
    problems.extend(_locked_mode(sections.get("run"), sections.get("locks")))
    if problems or unusable:
        raise ConfigError(*unusable, *(_located(path, origins, p) for p in problems))
    return Settings(path=path, options=plugin_tables(tables), origins=origins, **sections)


def _read(path: Path | None, environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The file's tables with overrides applied, where the overrides came from, and those that cannot be applied."""
    tables = _file_tables(path) if path is not None else {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for name in sorted(environment):
        if name.startswith("SLT_") and "__" in name:
            problems.extend(_override(tables, origins, name, environment[name]))
    for lock in _LOCKS:
        if lock.upper() in environment:
            problems.extend(_set_lock(tables, origins, lock, environment[lock.upper()]))
    return tables, origins, problems


def _file_tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"config file `{path}` does not exist; name one with --config") from None
    except OSError as error:
        raise ConfigError(f"config file `{path}` cannot be read: {error.strerror}; name one with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file `{path}` is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config file `{path}` is not valid TOML: {error}") from None


def _located(path: Path, origins: Mapping[str, str], problem: str) -> str:
    variable = origins.get(problem.partition(": ")[0])
    return f"{path.name}: {problem}" if variable is None else f"environment variable `{variable}`: {problem}"


def _locked_mode(run: Any, locks: Any) -> Iterable[str]:
    if isinstance(run, RunConfig) and isinstance(locks, LocksConfig) and locks.disable_websocket and run.mode == "live":
        yield (
            "run.mode: found `live` while DISABLE_WEBSOCKET is on, which allows recorded feeds only; choose backtest "
            "or paper, or switch the lock off"
        )


def _doubled(choice: PluginChoice) -> Iterable[str]:
    for kind in _MANY_KINDS:
        names = getattr(choice, kind)
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield f"plugins.{kind}: `{name}` is named twice; each plugin can be chosen once"


def _stray_tables(tables: Mapping[str, Any]) -> Iterable[str]:
    """Sections that nobody knows, and options of plugins that stand outside a plugin's table."""
    kinds = (*SINGLE_KINDS, *_MANY_KINDS)
    for section, table in tables.items():
        if section in KERNEL_SECTIONS:
            continue
        if section not in kinds:
            allowed = (*KERNEL_SECTIONS, *kinds)
            yield f"{section}: unknown section{nearest(section, allowed)} (sections: {', '.join(allowed)})"
        elif not isinstance(table, dict):
            yield f"{section}: options belong in a table [{section}.<plugin>]; which plugins run is said in [plugins]"
        for name, values in _items(table) if section in kinds else ():
            if not isinstance(values, dict):
                yield f"{section}.{name}: options belong in a table [{section}.<plugin>]"


def _items(table: Any) -> Iterable[tuple[str, Any]]:
    return table.items() if isinstance(table, dict) else ()


def _override(tables: dict[str, Any], origins: dict[str, str], name: str, text: str) -> Iterable[str]:
    *sections, key = name.removeprefix("SLT_").lower().split("__")
    if not all((*sections, key)):
        yield f"environment variable `{name}`: a part of its name is empty; write SLT_<SECTION>__<KEY>"
        return
    table = tables
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            yield f"environment variable `{name}`: `{section}` is an option, not a table"
            return
    table[key] = _value_of(text)
    origins[".".join((*sections, key))] = name


def _value_of(text: str) -> Any:
    """A variable's text as TOML, or as it is where it is none."""
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text


def _set_lock(tables: dict[str, Any], origins: dict[str, str], lock: str, text: str) -> Iterable[str]:
    name, word = lock.upper(), text.strip().lower()
    locks = tables.setdefault("locks", {})
    if word not in _TRUE | _FALSE:
        yield f"environment variable `{name}`: found `{text}`, allowed is 1/true/yes/on or 0/false/no/off"
    elif isinstance(locks, dict):
        locks[lock] = word in _TRUE
        origins[f"locks.{lock}"] = name
