"""From a plugin's methods to the hooks the kernel calls: what does not fit is refused, the rest is bound."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slt.config.structuring import nearest
from slt.errors import PluginError, SltError
from slt.hookspecs import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pluggy

__all__ = ["answerable", "bind_hooks", "in_one_line", "misfits", "traced"]

_EXPECTED = (SltError, OSError, TimeoutError)
"""What a plugin may raise by its contract: the kernel knows what to do, or the words are good as they are."""


async def _nothing(*_: object, **__: object) -> None:
    """Stand-in for an optional asynchronous hook."""


_OPTIONAL: dict[str, Callable[..., Any] | None] = {
    "slt_review_market": None,
    "slt_plan_connections": None,
    "slt_subscribe_streams": None,
    "slt_route_frame": None,
    "slt_decode_frame": None,
    "slt_add_symbols": None,
    "slt_read_updates": None,
    "slt_read_account": None,
    "slt_diagnose_broker": None,
    "slt_describe_model": lambda *_, **__: {},
    "slt_snapshot_strategy": dict,
    "slt_restore_strategy": lambda *_, **__: None,
    "slt_forget_records": _nothing,
    "slt_prune_records": None,
    "slt_migrate_storage": None,
    "slt_describe_storage": None,
    "slt_hold_lock": None,
    "slt_watch_lock": None,
    "slt_release_lock": None,
    "slt_open_notifier": _nothing,
    "slt_close_notifier": _nothing,
}
"""Hooks that a plugin may leave out, with what stands in for them; None: the kernel asks before it calls."""


def misfits(manager: pluggy.PluginManager, kind: str, instance: object) -> Iterator[str]:
    """What keeps an object from being a plugin of its kind, in words that go on from its name.

    Hooks that are missing, misspelt, of another kind, wrappers, asynchronous where they must not be or the other way
    round, and arguments that the hook does not have: pluggy refuses only some of these, and tells its author less.
    """
    specs = _specs(kind)
    marked = {}
    for attribute in dir(type(instance)):
        options = manager.parse_hookimpl_opts(instance, attribute)
        if options is not None:
            marked[options.get("specname") or attribute] = (options, getattr(instance, attribute))
    for name, (options, function) in marked.items():
        if name not in specs:
            kinds = [k for k in KINDS if name in _specs(k)]
            known = f"which is a hook of {', '.join(kinds)}" if kinds else f"which is no hook{nearest(name, specs)}"
            yield f"implements `{name}`, {known} (hooks: {', '.join(specs)})"
        elif options.get("wrapper") or options.get("hookwrapper"):
            yield f"implements `{name}` as a wrapper; a plugin answers for itself alone"
        else:
            yield from _wrong_signature(function, name, getattr(KINDS[kind], name), specs[name])
    for name in specs:
        if name not in marked and name not in _OPTIONAL:
            unmarked = "; it has a method of that name: mark it with @hookimpl" if hasattr(instance, name) else ""
            yield f"implements no `{name}`, which every plugin of its kind must{unmarked}"


def bind_hooks(manager: pluggy.PluginManager, kind: str, instance: object) -> dict[str, Callable[..., Any] | None]:
    """Every hook of a kind, bound to a registered object; each takes all arguments of the specification.

    None stands for an optional hook that the object leaves out and nothing can stand in for.
    """
    implemented = {
        caller.name: impl.function
        for caller in manager.get_hookcallers(instance) or ()
        for impl in caller.get_hookimpls()
        if impl.plugin is instance
    }
    return {
        name: _adapt(implemented[name], spec, getattr(KINDS[kind], name)) if name in implemented else _OPTIONAL[name]
        for name, spec in _specs(kind).items()
    }


def answerable(plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose unforeseen errors become a `PluginError` that names plugin and hook."""

    @contextmanager
    def naming() -> Iterator[None]:
        try:
            yield
        except _EXPECTED:
            raise
        except Exception as error:
            raise PluginError(f"{plugin} raised in {hook}: {in_one_line(error)}") from error

    async def wait(result: Any) -> Any:
        with naming():
            return await result

    def follow(result: Iterator[Any]) -> Iterator[Any]:
        with naming():
            yield from result

    def call(*args: Any, **kwargs: Any) -> Any:
        with naming():
            result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            return wait(result)
        return follow(result) if isinstance(result, Iterator) else result

    return call


def traced(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which also tells stderr what it was given and what came of it."""

    def tell(args: tuple[Any, ...], kwargs: dict[str, Any], outcome: str) -> None:
        given = ", ".join([*(repr(a) for a in args), *(f"{k}={v!r}" for k, v in kwargs.items())])
        sys.stderr.write(f"{what}({' '.join(given.split())[:500]}) {' '.join(outcome.split())[:500]}\n")

    async def wait(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with telling(args, kwargs):
            awaited = await result
        tell(args, kwargs, f"-> {awaited!r}")
        return awaited

    @contextmanager
    def telling(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            tell(args, kwargs, f"raised {in_one_line(error)}")
            raise

    def call(*args: Any, **kwargs: Any) -> Any:
        with telling(args, kwargs):
            result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            return wait(result, args, kwargs)
        tell(args, kwargs, f"-> {result!r}")
        return result

    return call


def in_one_line(error: BaseException) -> str:
    """An error's type and text, without line breaks."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _specs(kind: str) -> dict[str, tuple[str, ...]]:
    contract = KINDS[kind]
    names = [n for n in vars(contract) if n.startswith("slt_")]
    return {n: tuple(inspect.signature(getattr(contract, n)).parameters)[1:] for n in names}


def _wrong_signature(
    function: Callable[..., Any], name: str, contract: Callable[..., Any], spec: tuple[str, ...]
) -> Iterator[str]:
    for parameter in inspect.signature(function).parameters.values():
        is_needed = parameter.default is parameter.empty and parameter.kind not in {
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        }
        if is_needed and parameter.name not in spec:
            near, allowed = nearest(parameter.name, spec), ", ".join(spec) or "none"
            yield f"takes an unknown argument `{parameter.name}` in `{name}`{near} (arguments: {allowed})"
    is_async = inspect.iscoroutinefunction(contract)
    if inspect.iscoroutinefunction(function) is not is_async:
        words = ("a plain `def`", "`async def`")
        yield f"has `{name}` as {words[not is_async]}, it must be {words[is_async]}"


def _adapt(function: Callable[..., Any], spec: tuple[str, ...], contract: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one that takes every argument of the specification, by position or name, with its defaults."""
    parameters = inspect.signature(function).parameters
    declared = inspect.signature(contract).parameters.values()
    defaults = {p.name: p.default for p in declared if p.default is not p.empty}
    if tuple(parameters) == spec and not defaults:
        return function
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    accepted = [name for name in spec if takes_all or name in parameters]

    def call(*args: Any, **kwargs: Any) -> Any:
        given = defaults | dict(zip(spec, args, strict=False), **kwargs)
        return function(**{name: given[name] for name in accepted})

    return call
