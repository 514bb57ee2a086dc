"""Which plugins an audit is about, with which options, and on which candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from slt.audit.subject import AUDITED_KINDS, PluginFaultError, Subject
from slt.candles import Wanted, check_files, interval_name, read_blocks
from slt.config import Settings, structure
from slt.errors import ConfigError, DataError
from slt.loader import find_plugins, import_plugin
from slt.testing.markets import random_walk
from slt.types import Bars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slt.audit.laws import Lab
    from slt.candles import CandleFile

__all__ = ["choose_subjects", "read_market"]

_MOST_SYMBOLS = 3
_TRIAL_ROWS = 50


def choose_subjects(
    plugin: str | None, settings: Settings | None, feature_sets: Sequence[str], interval_ms: int
) -> list[Subject]:
    """The plugins to audit.

    Args:
        plugin: ``KIND:NAME``; None = every feature set and strategy that the configuration chooses.
        settings: Where options come from, and the feature sets of strategies; None = defaults.
        feature_sets: Names of the feature sets that a strategy is shown; empty = those of the configuration, and
            without one none, or the first of its own distribution that lets it work.
        interval_ms: Base interval.

    Raises:
        ConfigError: There is nothing to audit, another kind was named, or options are wrong.
        PluginError: A plugin is not installed or broken.
    """
    if plugin is None:
        if settings is None:
            raise ConfigError("nothing to audit: name a plugin, such as `features:ict`, or a configuration (--config)")
        chosen = [(kind, name) for kind, name in settings.chosen() if kind in AUDITED_KINDS]
    else:
        kind, _, name = plugin.partition(":")
        if kind not in AUDITED_KINDS or not name:
            allowed = " or ".join(f"{k}:NAME" for k in AUDITED_KINDS)
            raise ConfigError(f"found `{plugin}`, an audit needs {allowed}")
        chosen = [(kind, name)]
    subjects = [_subject(kind, name, settings, feature_sets, interval_ms) for kind, name in chosen]
    for subject in subjects:
        _start(subject)
    return subjects


def _start(subject: Subject) -> None:
    """A set that refuses its options or the interval says so itself, before any law is asked."""
    try:
        for each in (subject, *subject.feature_sets):
            each.started(("AAAUSDT",))
    except PluginFaultError as fault:
        if isinstance(fault.__cause__, ConfigError):
            raise fault.__cause__ from None
        raise


def _subject(kind: str, name: str, settings: Settings | None, feature_sets: Sequence[str], interval_ms: int) -> Subject:
    installed, cls = import_plugin(kind, name)
    subject = Subject(
        kind=kind,
        name=name,
        cls=cls,
        config=_configured(kind, name, cls, settings),
        interval_ms=interval_ms,
        distribution=installed.distribution,
        version=installed.version,
    )
    if kind != "strategies":
        return subject
    names = list(feature_sets) or list(settings.plugins.features if settings else ())
    if names:
        return attrs.evolve(subject, feature_sets=_feature_sets(names, settings, interval_ms))
    return subject if settings else _with_what_it_needs(subject)


def _feature_sets(names: Sequence[str], settings: Settings | None, interval_ms: int) -> tuple[Subject, ...]:
    return tuple(_subject("features", name, settings, (), interval_ms) for name in names)


def _with_what_it_needs(subject: Subject) -> Subject:
    """The strategy with no feature set, or with the first of its own distribution that lets it work."""
    problem = _trial(subject)
    if problem is None:
        return subject
    for installed in find_plugins("features"):
        if installed.distribution == subject.distribution:
            fed = attrs.evolve(subject, feature_sets=_feature_sets([installed.name], None, subject.interval_ms))
            if _trial(fed) is None:
                return fed
    raise ConfigError(f"{subject}: {problem}; if it reads features, name their sets with --features or --config")


def _trial(subject: Subject) -> PluginFaultError | None:
    try:
        subject.run(subject.market(random_walk(_TRIAL_ROWS, interval_ms=subject.interval_ms)))
    except PluginFaultError as fault:
        return fault
    return None


def _configured(kind: str, name: str, cls: Any, settings: Settings | None) -> Any:
    """The options as a run would have them; without a configuration those of a back-test by default."""
    table = dict(settings.options.get((kind, name), {})) if settings else {}
    fields = {f.name for f in attrs.fields(cls.config_class)}
    if "relaxed" in fields and "relaxed" not in table:
        table["relaxed"] = settings.is_relaxed if settings else True
    problems: list[str] = []
    config = structure(table, cls.config_class, f"{kind}.{name}", problems)
    if problems:
        raise ConfigError(*(settings.located(p) if settings else f"{p}; give options with --config" for p in problems))
    return config


def read_market(patterns: Sequence[str], lab: Lab) -> tuple[Bars, tuple[str, ...]]:
    """The last bars of the user's candles, as many as the laws need, of at most three symbols.

    Args:
        patterns: Files, folders or globs.
        lab: Tells the interval and how many bars are needed.

    Returns:
        The bars, and the files they came from.

    Raises:
        DataError: A file is wrong, no file has the interval, or there are too few bars.
    """
    interval_ms = lab.subject.interval_ms
    every, problems = check_files(patterns)
    if problems:
        raise DataError(*problems)
    files = [f for f in every if f.interval_ms == interval_ms]
    if not files:
        found = ", ".join(sorted({interval_name(f.interval_ms) for f in every})) or "no candles"
        raise DataError(f"--data: found {found}, the audit is for {interval_name(interval_ms)}; choose with --interval")
    symbols = tuple(sorted({f.symbol for f in files}))[:_MOST_SYMBOLS]
    files = [f for f in files if f.symbol in symbols]
    bars = _last_bars(files, symbols, lab.warmup + lab.extra_rows, interval_ms)
    least = lab.warmup + 300
    if len(bars) < least:
        raise DataError(f"--data: found {len(bars)} bars, {lab.subject} needs {least} (warm-up {lab.warmup})")
    return bars, tuple(dict.fromkeys(str(f.path) for f in files))


def _last_bars(files: list[CandleFile], symbols: tuple[str, ...], rows: int, interval_ms: int) -> Bars:
    # Where the symbols' spans differ, the last bars that all of them have.
    ends = [max(f.last for f in files if f.symbol == symbol) for symbol in symbols]
    end = min(ends) + interval_ms
    wanted = Wanted(symbols=frozenset(symbols), interval_ms=interval_ms, end=end)
    inside = [f for f in files if f.first < end]
    return Bars.concatenate(list(read_blocks(inside, symbols, wanted, end - rows * interval_ms, 1440)))
