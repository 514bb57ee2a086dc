"""Finding, importing, building and binding plugins.

pluggy's own entry-point loading imports every plugin of a group, lets one broken package stop the start, and passes
over duplicates in silence. This loader imports only what the config names, says exactly what is wrong, and hands the
kernel each plugin's hooks as plain callables that take any subset of the arguments.
"""

from __future__ import annotations

import inspect
import os
import sys
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs
import pluggy
from attrs import frozen

from slt._markers import PROJECT_NAME
from slt.config.structuring import nearest, structure
from slt.errors import ConfigError, PluginLoadError, PluginNotFoundError
from slt.hookspecs import (
    KINDS,
    BrokerSpecs,
    ExitSpecs,
    FeatureSpecs,
    FeedSpecs,
    ModelSpecs,
    NotifierSpecs,
    SizerSpecs,
    StorageSpecs,
    StrategySpecs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.config.reading import Settings

__all__ = ["Installed", "Loaded", "Plugins", "build_plugins", "find_plugins", "import_plugin"]

T = TypeVar("T")


async def _nothing(*_: object, **__: object) -> None:
    """Stand-in for an optional asynchronous hook."""


_OPTIONAL: dict[str, Callable[..., Any]] = {
    "slt_snapshot_strategy": dict,
    "slt_restore_strategy": lambda *_, **__: None,
    "slt_open_notifier": _nothing,
    "slt_close_notifier": _nothing,
}


@frozen
class Installed:
    """A plugin as its entry point describes it; nothing of it has been imported.

    Attributes:
        kind: One of `slt.hookspecs.KINDS`.
        name: The word in config.toml.
        target: ``module:class``.
        distribution: Distribution that brings it.
        version: That distribution's version.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name} ({self.target} from {self.distribution} {self.version})"


@frozen(eq=False)
class Loaded(Generic[T]):
    """A built plugin.

    Attributes:
        installed: Where it came from.
        hooks: Its hooks, bound to the instance, each taking every argument of the specification.
        config: Its options.
    """

    installed: Installed
    hooks: T
    config: Any

    @property
    def name(self) -> str:
        """The word in config.toml."""
        return self.installed.name


@frozen(eq=False)
class Plugins:
    """Every plugin of a run. Order is the order in config.toml, which is the order of calls."""

    feed: Loaded[FeedSpecs]
    broker: Loaded[BrokerSpecs]
    storage: Loaded[StorageSpecs]
    features: tuple[Loaded[FeatureSpecs], ...]
    strategies: tuple[Loaded[StrategySpecs], ...]
    model: Loaded[ModelSpecs] | None
    sizer: Loaded[SizerSpecs]
    exits: tuple[Loaded[ExitSpecs], ...]
    notifiers: tuple[Loaded[NotifierSpecs], ...]


def find_plugins(kind: str | None = None) -> list[Installed]:
    """Every installed plugin, of one kind or all, sorted; imports none of them."""
    kinds = KINDS if kind is None else (kind,)
    found = [_describe(k, point) for k in kinds for point in entry_points(group=f"slt.{k}")]
    return sorted(set(found), key=lambda i: (list(KINDS).index(i.kind), i.name, i.distribution))


def import_plugin(kind: str, name: str) -> tuple[Installed, type]:
    """Import one plugin's class.

    Raises:
        PluginNotFoundError: No distribution offers the name; the message has the nearest one.
        PluginLoadError: Two distributions offer it, or its import fails, or the object is no plugin class.
    """
    points = {_describe(kind, p): p for p in entry_points(group=f"slt.{kind}", name=name)}
    if not points:
        names = sorted({i.name for i in find_plugins(kind)})
        raise PluginNotFoundError(
            f"no {kind} plugin `{name}` is installed{nearest(name, names)} (installed: {', '.join(names) or 'none'})"
        )
    if len(points) > 1:
        offers = " and ".join(f"{i.distribution} {i.version} ({i.target})" for i in points)
        raise PluginLoadError(f"{kind}:{name} is offered by two distributions, {offers}; uninstall one of them")
    installed, point = next(iter(points.items()))
    try:
        cls = point.load()
    except Exception as error:
        raise PluginLoadError(f"{installed} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(cls, type):
        raise PluginLoadError(f"{installed} is {type(cls).__name__}, not a class")
    if not attrs.has(getattr(cls, "config_class", None) or object):
        raise PluginLoadError(f"{installed} has no `config_class` that is an attrs class")
    return installed, cls


def build_plugins(settings: Settings) -> Plugins:
    """Import, configure and bind every plugin that the config chooses.

    Raises:
        PluginNotFoundError: A chosen plugin is not installed.
        PluginLoadError: A chosen plugin is broken or does not fit its kind.
        ConfigError: With every problem of every plugin's options, and tables for plugins that are not chosen.
    """
    manager = pluggy.PluginManager(PROJECT_NAME)
    for spec in KINDS.values():
        manager.add_hookspecs(spec)
    classes = {(kind, name): import_plugin(kind, name) for kind, name in settings.chosen()}
    problems = list(_unused_tables(settings, classes))
    configs = {key: _configure(settings, key, cls, problems) for key, (_, cls) in classes.items()}
    if problems:
        raise ConfigError(*(f"{settings.path.name}: {p}" for p in problems))
    made: dict[str, list[Loaded[Any]]] = {kind: [] for kind in KINDS}
    for key, (installed, cls) in classes.items():
        made[key[0]].append(_build(manager, installed, cls, configs[key]))
    return Plugins(
        feed=made["feeds"][0],
        broker=made["brokers"][0],
        storage=made["storages"][0],
        features=tuple(made["features"]),
        strategies=tuple(made["strategies"]),
        model=made["models"][0] if made["models"] else None,
        sizer=made["sizers"][0],
        exits=tuple(made["exits"]),
        notifiers=tuple(made["notifiers"]),
    )


def _describe(kind: str, point: EntryPoint) -> Installed:
    dist = point.dist
    return Installed(
        kind, point.name, point.value, dist.name if dist else "unknown", dist.version if dist else "unknown"
    )


def _unused_tables(settings: Settings, chosen: Iterable[tuple[str, str]]) -> Iterable[str]:
    chosen = set(chosen)
    for kind, name in settings.options:
        if (kind, name) not in chosen:
            near = nearest(name, [n for k, n in chosen if k == kind])
            yield f"{kind}.{name}: options for a plugin that [plugins] does not choose{near}; choose it or remove them"


def _configure(settings: Settings, key: tuple[str, str], cls: Any, problems: list[str]) -> Any:
    table = dict(settings.options.get(key, {}))
    names = {f.name for f in attrs.fields(cls.config_class)}
    if "relaxed" in names and "relaxed" not in table:
        table["relaxed"] = settings.locks.relaxed_signal_mode
    return structure(table, cls.config_class, ".".join(key), problems)


def _build(manager: pluggy.PluginManager, installed: Installed, cls: type, config: Any) -> Loaded[Any]:
    try:
        instance = cls(config)
        manager.register(instance, name=f"{installed.kind}:{installed.name}")
        manager.check_pending()
    except Exception as error:
        raise PluginLoadError(f"{installed} cannot be used: {type(error).__name__}: {error}") from error
    return Loaded(installed, _bind(manager, instance, installed), config)


def _bind(manager: pluggy.PluginManager, instance: object, installed: Installed) -> Any:
    implemented = {
        caller.name: impl
        for caller in manager.get_hookcallers(instance) or ()
        for impl in caller.get_hookimpls()
        if impl.plugin is instance
    }
    hooks = {}
    for name, spec in _specs(installed.kind).items():
        if name in implemented:
            impl = implemented.pop(name)
            hooks[name] = _adapt(impl.function, impl.argnames, spec)
        elif name in _OPTIONAL:
            hooks[name] = _OPTIONAL[name]
        else:
            raise PluginLoadError(f"{installed} implements no `{name}`, which every plugin of its kind must")
    if implemented:
        foreign = ", ".join(sorted(implemented))
        raise PluginLoadError(f"{installed} implements hooks of another kind: {foreign}")
    if os.environ.get("SLT_TRACE_HOOKS") == "1":
        hooks = {name: partial(_traced, f"{installed.kind}:{installed.name}", name, f) for name, f in hooks.items()}
    return cast("Any", SimpleNamespace(**hooks))


def _specs(kind: str) -> dict[str, tuple[str, ...]]:
    contract = KINDS[kind]
    names = [n for n in vars(contract) if n.startswith("slt_")]
    return {n: tuple(inspect.signature(getattr(contract, n)).parameters)[1:] for n in names}


def _adapt(function: Callable[..., Any], accepted: tuple[str, ...], spec: tuple[str, ...]) -> Callable[..., Any]:
    """`function` as one that takes every argument of the specification, by position or name."""
    if tuple(accepted) == spec:
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(spec, args, strict=False), **kwargs)
        return function(**{name: given[name] for name in accepted})

    return call


def _traced(plugin: str, hook: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    given = ", ".join([*(repr(a) for a in args), *(f"{k}={v!r}" for k, v in kwargs.items())])
    sys.stderr.write(f"{plugin} {hook}({given[:500]}) -> {result!r:.500}\n")
    return result
