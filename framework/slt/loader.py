"""Finding, importing, building and binding plugins.

pluggy's own entry-point loading imports every plugin of a group, lets one broken package stop the start, and passes
over duplicates in silence. This loader imports only what the config names, says exactly what is wrong, and hands the
kernel each plugin's hooks as plain callables that take any subset of the arguments.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs
import pluggy
from attrs import define, field, frozen

from slt._binding import answerable, bind_hooks, in_one_line, misfits, traced
from slt._markers import PROJECT_NAME
from slt.config.reading import chosen_plugins, plugin_tables, read_config, read_tables
from slt.config.structuring import nearest, structure, unsupported_options
from slt.errors import ConfigError, PluginError, PluginLoadError, PluginNotFoundError, SltError
from slt.hookspecs import (
    KINDS,
    BrokerSpecs,
    CacheSpecs,
    ExitSpecs,
    FeatureSpecs,
    FeedSpecs,
    ModelSpecs,
    NotifierSpecs,
    ServiceSpecs,
    SizerSpecs,
    StorageSpecs,
    StrategySpecs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slt.config.reading import Settings

__all__ = [
    "Installed",
    "Loaded",
    "Plugins",
    "build_again",
    "build_plugins",
    "build_service",
    "find_plugins",
    "import_plugin",
    "read_whole_config",
]

T = TypeVar("T")
_CAUGHT = frozenset(
    {
        "slt_route_frame",
        "slt_decode_frame",
        "slt_update_features",
        "slt_propose_trades",
        "slt_size_position",
        "slt_check_exit",
        "slt_fit_model",
        "slt_load_model",
        "slt_open_notifier",
        "slt_send_notice",
        "slt_close_notifier",
    }
)
"""Hooks whose errors are caught, and told with the plugin's name, where they are called; the others end the run."""


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

    def implements(self, hook: str) -> bool:
        """Whether the plugin has a hook that it might leave out; only then may the kernel call it."""
        return getattr(self.hooks, hook) is not None


@frozen(eq=False)
class Plugins:
    """Every plugin of a run. Order is the order in config.toml, which is the order of calls.

    `sources` are the feeds that services play, each named by its service's option ``source``; the run asks none.
    """

    feed: Loaded[FeedSpecs]
    broker: Loaded[BrokerSpecs]
    storage: Loaded[StorageSpecs]
    cache: Loaded[CacheSpecs] | None
    features: tuple[Loaded[FeatureSpecs], ...]
    strategies: tuple[Loaded[StrategySpecs], ...]
    model: Loaded[ModelSpecs] | None
    sizer: Loaded[SizerSpecs]
    exits: tuple[Loaded[ExitSpecs], ...]
    notifiers: tuple[Loaded[NotifierSpecs], ...]
    services: tuple[Loaded[ServiceSpecs], ...] = ()
    sources: tuple[Loaded[FeedSpecs], ...] = ()


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
        offers = " and ".join(sorted(f"{i.distribution} {i.version} ({i.target})" for i in points))
        raise PluginLoadError(f"{kind}:{name} is offered by two distributions, {offers}; uninstall one of them")
    installed, point = next(iter(points.items()))
    try:
        cls = point.load()
    except (Exception, SystemExit) as error:
        raise PluginLoadError(f"{installed} cannot be imported: {in_one_line(error)}") from error
    if not isinstance(cls, type):
        raise PluginLoadError(f"{installed} is not a class but of type {type(cls).__name__}")
    config_class = getattr(cls, "config_class", None)
    if not attrs.has(config_class or object):
        raise PluginLoadError(f"{installed} has no `config_class` that is an attrs class")
    for problem in unsupported_options(cast("type", config_class)):
        raise PluginLoadError(f"{installed}: {problem}")
    return installed, cls


def read_whole_config(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """`read_config`, but a refusal also tells what is wrong with the chosen plugins and their options.

    Args:
        path: A TOML file.
        environment: Overrides and locks; None = this process's environment.

    Raises:
        ConfigError: With every problem of the file, or of what it names.
    """
    try:
        return read_config(path, environment)
    except ConfigError as error:
        try:
            tables = read_tables(path, environment)
        except ConfigError:
            raise error from None
        checked = _check_plugins(chosen_plugins(tables), plugin_tables(tables), is_relaxed=True)
        more = [*map(str, checked.broken), *(f"{path.name}: {line}" for line in checked.problems)]
        raise ConfigError(*error.problems, *more) from None


def build_plugins(settings: Settings) -> Plugins:
    """Import, configure and bind every plugin that the config chooses.

    Raises:
        PluginNotFoundError: A chosen plugin is not installed.
        PluginLoadError: A chosen plugin is broken or does not fit its kind.
        ConfigError: With every problem of every plugin's options, and tables for plugins that are not chosen.
    """
    checked = _check_plugins(settings.chosen(), settings.options, is_relaxed=settings.is_relaxed)
    checked.raise_if_any(settings)
    made: dict[str, list[Loaded[Any]]] = {kind: [] for kind in (*KINDS, "sources")}
    for key, loaded in _build_all(checked).items():
        made["sources" if key in checked.sources else key[0]].append(loaded)
    return Plugins(
        feed=made["feeds"][0],
        broker=made["brokers"][0],
        storage=made["storages"][0],
        cache=made["caches"][0] if made["caches"] else None,
        features=tuple(made["features"]),
        strategies=tuple(made["strategies"]),
        model=made["models"][0] if made["models"] else None,
        sizer=made["sizers"][0],
        exits=tuple(made["exits"]),
        notifiers=tuple(made["notifiers"]),
        services=tuple(made["services"]),
        sources=tuple(made["sources"]),
    )


def build_again(loaded: Loaded[T]) -> Loaded[T]:
    """Another instance of a plugin, with the options of the one that there is.

    Raises:
        PluginLoadError: It is not what it was when the run began.
    """
    kind = loaded.installed.kind
    installed, cls = import_plugin(kind, loaded.installed.name)
    manager = pluggy.PluginManager(PROJECT_NAME)
    for spec in KINDS.values():
        manager.add_hookspecs(spec)
    return _build(manager, installed, cls, loaded.config)


def build_service(
    name: str, options: Mapping[tuple[str, str], dict[str, Any]]
) -> tuple[Loaded[ServiceSpecs], Loaded[FeedSpecs] | None]:
    """Build one service and the feed it plays, whatever else the config chooses.

    Args:
        name: The service.
        options: Tables of plugins' options, by ``(kind, name)``; of no other plugin than these two are any looked at.

    Returns:
        The service, and the feed that its option ``source`` names; None where it names none.

    Raises:
        PluginNotFoundError: One of them is not installed.
        PluginLoadError: One of them is broken or does not fit its kind.
        ConfigError: With every problem of their options.
    """
    key = ("services", name)
    its = {k: table for k, table in options.items() if k == key or k[0] == "feeds"}
    checked = _check_plugins([key], its, is_relaxed=True, is_whole=False)
    if checked.broken:
        raise checked.broken[0]
    if checked.problems:
        raise ConfigError(*checked.problems)
    made = _build_all(checked)
    return made[key], next((made[source] for source in checked.sources), None)


def _build_all(checked: _Checked) -> dict[tuple[str, str], Loaded[Any]]:
    manager = pluggy.PluginManager(PROJECT_NAME)
    for spec in KINDS.values():
        manager.add_hookspecs(spec)
    return {
        key: _build(manager, installed, cls, checked.configs[key]) for key, (installed, cls) in checked.classes.items()
    }


@define
class _Checked:
    """The chosen plugins' classes and options, and everything that is wrong with them."""

    classes: dict[tuple[str, str], tuple[Installed, type]] = field(factory=dict)
    configs: dict[tuple[str, str], Any] = field(factory=dict)
    broken: list[PluginError] = field(factory=list)
    problems: list[str] = field(factory=list)
    sources: set[tuple[str, str]] = field(factory=set)

    def raise_if_any(self, settings: Settings) -> None:
        located = [settings.located(p) for p in self.problems]
        if self.broken:
            first = self.broken[0]
            raise type(first)("\n".join([*map(str, self.broken), *located])) from first.__cause__
        if located:
            raise ConfigError(*located)


def _check_plugins(
    chosen: Iterable[tuple[str, str]],
    options: Mapping[tuple[str, str], dict[str, Any]],
    *,
    is_relaxed: bool,
    is_whole: bool = True,
) -> _Checked:
    checked, chosen = _Checked(), list(chosen)

    def check(keys: list[tuple[str, str]], problems: list[str]) -> None:
        for key in keys:
            try:
                checked.classes[key] = import_plugin(*key)
            except PluginError as error:
                checked.broken.append(error)
                continue
            table = dict(options.get(key, {}))
            checked.configs[key] = _configure(table, key, checked.classes[key][1], problems, is_relaxed=is_relaxed)

    found: list[str] = []
    check(chosen, found)
    sources = [
        ("feeds", s) for k, config in checked.configs.items() if k[0] == "services" and (s := _source_of(config))
    ]
    checked.sources = set(sources) - set(chosen)
    check(list(dict.fromkeys(s for s in sources if s in checked.sources)), found)
    if is_whole:
        checked.problems.extend(_unused_tables(options, [*chosen, *sources]))
    checked.problems.extend(found)
    return checked


def _source_of(config: Any) -> str:
    """The feed that a service plays; empty where it plays none, or its options are wrong."""
    source = getattr(config, "source", "")
    return source if isinstance(source, str) else ""


def _describe(kind: str, point: EntryPoint) -> Installed:
    dist = point.dist
    return Installed(
        kind, point.name, point.value, dist.name if dist else "unknown", dist.version if dist else "unknown"
    )


def _unused_tables(options: Iterable[tuple[str, str]], chosen: Sequence[tuple[str, str]]) -> Iterable[str]:
    for kind, name in options:
        if (kind, name) not in chosen:
            near = nearest(name, [n for k, n in chosen if k == kind])
            yield f"{kind}.{name}: options for a plugin that [plugins] does not choose{near}; choose it or remove them"


def _configure(table: dict[str, Any], key: tuple[str, str], cls: Any, problems: list[str], *, is_relaxed: bool) -> Any:
    names = {f.name for f in attrs.fields(cls.config_class)}
    if "relaxed" in names and "relaxed" not in table:
        table["relaxed"] = is_relaxed
    return structure(table, cls.config_class, ".".join(key), problems)


def _build(manager: pluggy.PluginManager, installed: Installed, cls: type, config: Any) -> Loaded[Any]:
    try:
        instance = cls(config)
    except SltError:
        raise
    except Exception as error:
        raise PluginLoadError(f"{installed} cannot be made: {in_one_line(error)}") from error
    problem = next(misfits(manager, installed.kind, instance), None)
    if problem is not None:
        raise PluginLoadError(f"{installed} {problem}")
    try:
        manager.register(instance, name=f"{installed.kind}:{installed.name}")
        manager.check_pending()
    except Exception as error:
        raise PluginLoadError(f"{installed} cannot be used: {in_one_line(error)}") from error
    bound = bind_hooks(manager, installed.kind, instance)
    hooks = {name: hook for name, hook in bound.items() if hook is not None}
    hooks = {n: hook if n in _CAUGHT else answerable(str(installed), n, hook) for n, hook in hooks.items()}
    if os.environ.get("SLT_TRACE_HOOKS") == "1":
        hooks = {name: traced(f"{installed.kind}:{installed.name} {name}", hook) for name, hook in hooks.items()}
    return Loaded(installed, cast("Any", SimpleNamespace(**(bound | hooks))), config)
