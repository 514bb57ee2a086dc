"""``slt doctor``: everything that a run needs, looked at before it is needed, and what to do about what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from slt.audit.admission import uncertified
from slt.errors import ConfigError, PluginError, PluginNotFoundError, SltError
from slt.loader import build_plugins, read_whole_config
from slt.log.filters import SECRET_NAMES, SecretFilter
from slt.run.assembly import secret_names
from slt.run.dense import Dense
from slt.run.folders import check_root
from slt.run.health_server import check_health_config
from slt.run.services import running_services
from slt.storage.contract import Query
from slt.types import Check, MarketInfo, Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.config import Settings
    from slt.loader import Loaded, Plugins
    from slt.types import ConnectionPlan

__all__ = ["examine"]

_FEED_S = 90.0
_STORAGE_S = 60.0
_BROKER_S = 30.0
_NOTIFIER_S = 5.0
_FEATURES_S = 300.0
_PUSH_S = 10.0
_LISTEN_S = 2.0
_STREAMS = 50
_LOW_DISK = 2 * 10**9
_NO_DISK = 2 * 10**8
_SLOW_STORAGE_MS = 250.0
_REPORT = "report it to the plugin's author"
_NOWHERE = MarketInfo((), 60_000, 0, None, "unknown")


async def examine(path: Path, tell: Callable[[Check], None]) -> None:
    """Look at a configuration and at everything it names; trade nothing, change nothing.

    Kernels of feature sets are compiled where that has not been done, and kept for the run.

    Services that the configuration chooses run meanwhile, as they would beside a run.

    Args:
        path: The config file.
        tell: Takes every check as soon as it is done, in order.
    """
    tell = _discreet(tell, ())
    settings = _configuration(path, tell)
    plugins = _plugins(settings, tell) if settings is not None else None
    if settings is None or plugins is None:
        return
    tell = _discreet(tell, secret_names(plugins))
    _certificates(settings, plugins, tell)
    for check in _disk(Path(settings.run.folder)):
        tell(check)
    _health(settings, tell)
    with contextlib.ExitStack() as stack:
        try:
            await asyncio.to_thread(stack.enter_context, running_services(settings))
        except (SltError, OSError) as error:
            _tell_error("services", error, tell)
            return
        await _outside(plugins, tell)
        notices = settings.notices
        if notices.in_backtest if settings.run.mode == "backtest" else notices.kinds:
            for notifier in plugins.notifiers:
                await _look(f"notifier {notifier.name}", _NOTIFIER_S, _notifier(notifier), tell)


def _discreet(tell: Callable[[Check], None], names: tuple[str, ...]) -> Callable[[Check], None]:
    """Show no secret, whoever wrote it into a check."""
    hide = SecretFilter(os.environ, (*SECRET_NAMES, *names))
    return lambda check: tell(evolve(check, found=hide.text(check.found), advice=hide.text(check.advice)))


async def _outside(plugins: Plugins, tell: Callable[[Check], None]) -> None:
    """Whatever may lie on another machine."""
    await _look(f"storage {plugins.storage.name}", _STORAGE_S, _storage(plugins.storage), tell)
    if plugins.cache is not None:
        await _look(f"cache {plugins.cache.name}", _STORAGE_S, _cache(plugins.cache), tell)
    market = _NOWHERE
    feed = plugins.feed

    async def describe() -> list[Check]:
        nonlocal market
        market = await asyncio.to_thread(feed.hooks.slt_describe_market)
        count = len(market.symbols)
        return [Check(f"feed {feed.name}", "ok", f"{count} symbol{'s' * (count != 1)}: {market.description}")]

    await _look(f"feed {feed.name}", _FEED_S, describe(), tell)
    if feed.implements("slt_plan_connections") and market.symbols:
        await _look(f"feed {feed.name}", _FEED_S, _streams(feed, market), tell)
    if plugins.features and market.symbols:
        await _look("features", _FEATURES_S, asyncio.to_thread(_features, plugins, market), tell)
    await _look(f"broker {plugins.broker.name}", _BROKER_S, _broker(plugins.broker, market), tell)


async def _look(name: str, seconds: float, work: Awaitable[list[Check]], tell: Callable[[Check], None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            checks = await work
    except TimeoutError:
        checks = [Check(name, "problem", f"did not answer within {seconds:g} s", "check address and network")]
    except (SltError, OSError) as error:
        _tell_error(name, error, tell)
        return
    except Exception as error:  # noqa: BLE001 # a plugin may break in any way; the others are looked at all the same
        found = " ".join(f"{type(error).__name__}: {error}".split())
        checks = [Check(name, "problem", found, _REPORT)]
    for check in checks:
        tell(check)


def _tell_error(name: str, error: Exception, tell: Callable[[Check], None]) -> None:
    """What was found stands before the first semicolon of a message, what to do behind it."""
    lines = error.problems if isinstance(error, ConfigError) else str(error).splitlines()
    is_broken = isinstance(error, PluginError) and not isinstance(error, PluginNotFoundError)
    usual = _REPORT if is_broken else "put it right, and run `slt doctor` again"
    for line in lines or [type(error).__name__]:
        found, _, advice = line.partition("; ")
        tell(Check(name, "problem", found, advice or usual))


def _configuration(path: Path, tell: Callable[[Check], None]) -> Settings | None:
    try:
        settings = read_whole_config(path)
    except SltError as error:
        _tell_error("configuration", error, tell)
        return None
    tell(Check("configuration", "ok", f"{path}: mode {settings.run.mode}, run {settings.run.name}"))
    return settings


def _plugins(settings: Settings, tell: Callable[[Check], None]) -> Plugins | None:
    try:
        plugins = build_plugins(settings)
    except SltError as error:
        _tell_error("plugins", error, tell)
        return None
    tell(Check("plugins", "ok", f"{len(settings.chosen())} chosen, all of them load"))
    return plugins


def _certificates(settings: Settings, plugins: Plugins, tell: Callable[[Check], None]) -> None:
    try:
        missing = uncertified((*plugins.features, *plugins.strategies), Path(settings.run.certificates))
    except (SltError, OSError) as error:
        _tell_error("certificates", error, tell)
        return
    if not missing:
        tell(Check("certificates", "ok", "features and strategies are certified for the code as it is"))
        return
    is_bad = settings.run.mode == "live" and not settings.run.allow_uncertified
    advice = f"run `slt audit --config {settings.path}`"
    tell(Check("certificates", "problem" if is_bad else "warning", f"none for {', '.join(missing)}", advice))


def _disk(root: Path) -> list[Check]:
    try:
        check_root(root)
        free = shutil.disk_usage(root).free
    except (ConfigError, OSError) as error:
        found, _, advice = str(error).partition("; ")
        return [Check("disk", "problem", found, advice or "choose another folder in run.folder")]
    text = f"`{root}` can be written, {free / 1e9:.1f} GB free"
    if free >= _LOW_DISK:
        return [Check("disk", "ok", text)]
    return [Check("disk", "problem" if free < _NO_DISK else "warning", text, "make room, or choose another run.folder")]


def _health(settings: Settings, tell: Callable[[Check], None]) -> None:
    if settings.run.mode == "backtest" or not settings.health.port:
        return
    try:
        check_health_config(settings.health)
    except ConfigError as error:
        _tell_error("health", error, tell)
    else:
        tell(Check("health", "ok", f"to be served on {settings.health.host}, port {settings.health.port}"))


async def _storage(storage: Loaded[Any]) -> list[Check]:
    name = f"storage {storage.name}"
    try:
        text = await storage.hooks.slt_open_storage()
        begin = time.perf_counter()
        await storage.hooks.slt_read_records(query=Query(Run, limit=1))
        took = (time.perf_counter() - begin) * 1000
    finally:
        await storage.hooks.slt_close_storage()
    if took > _SLOW_STORAGE_MS:
        return [Check(name, "warning", f"{text}, but a query took {took:.0f} ms", "move it nearer, or give it more")]
    return [Check(name, "ok", f"{text}; a query took {took:.1f} ms")]


async def _cache(cache: Loaded[Any]) -> list[Check]:
    name = f"cache {cache.name}"
    try:
        text = await cache.hooks.slt_open_cache()
        await cache.hooks.slt_get_entries(keys=("slt:doctor",))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 # a run goes on without its cache, whatever is wrong with it
        found = f"does not answer ({type(error).__name__})"
        return [Check(name, "warning", found, "start it, or check its address; a run goes on without it")]
    finally:
        await cache.hooks.slt_close_cache()
    return [Check(name, "ok", text)]


async def _notifier(notifier: Loaded[Any]) -> list[Check]:
    try:
        await notifier.hooks.slt_open_notifier()
    finally:
        await notifier.hooks.slt_close_notifier()
    return [Check(f"notifier {notifier.name}", "ok", "has what it needs; nothing was sent")]


async def _broker(broker: Loaded[Any], market: MarketInfo) -> list[Check]:
    name = f"broker {broker.name}"
    if broker.implements("slt_diagnose_broker"):
        checks = await broker.hooks.slt_diagnose_broker(market=market)
        return [Check(f"{name}: {c.name}", c.verdict, c.found, c.advice) for c in checks]
    try:
        rules = await broker.hooks.slt_open_broker(market=market, wallet=1.0)
    finally:
        await broker.hooks.slt_close_broker()
    missing = [symbol for symbol in market.symbols if symbol not in rules]
    if missing:
        return [Check(name, "problem", f"no trading rules for {', '.join(missing)}", "leave these symbols out")]
    return [Check(name, "ok", f"rules of {len(rules)} symbol{'s' * (len(rules) != 1)}; orders are simulated")]


def _features(plugins: Plugins, market: MarketInfo) -> list[Check]:
    """Prepare the feature sets as a run does; what this compiles is kept, and the run only loads it."""
    begin = time.perf_counter()
    Dense(plugins, market.symbols, market.interval_ms).start()
    names = ", ".join(plugin.name for plugin in plugins.features)
    return [Check("features", "ok", f"{names} prepared in {time.perf_counter() - begin:.1f} s")]


async def _streams(feed: Loaded[Any], market: MarketInfo) -> list[Check]:
    """Whether every address of the feed really pushes: some take subscriptions and stay silent."""
    plans: dict[str, ConnectionPlan] = {}
    for plan in feed.hooks.slt_plan_connections(symbols=market.symbols):
        plans.setdefault(plan.url, plan)
    return list(await asyncio.gather(*(_stream(feed, plan) for plan in plans.values())))


async def _stream(feed: Loaded[Any], plan: ConnectionPlan) -> Check:
    name = f"feed {feed.name}: stream {plan.name}"
    streams = plan.streams[:_STREAMS]
    heard: set[str] = set()
    frames = 0
    begin = time.perf_counter()
    try:
        async with connect(plan.url, open_timeout=_PUSH_S, close_timeout=1.0, max_size=2**24) as socket:
            for text in feed.hooks.slt_subscribe_streams(streams=streams, is_wanted=True, first_id=1):
                await socket.send(text)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PUSH_S) as limit:
                    while len(heard) < len(streams):
                        stream, *_ = feed.hooks.slt_route_frame(frame=_bytes(await socket.recv()))
                        if stream and not heard:
                            limit.reschedule(asyncio.get_running_loop().time() + _LISTEN_S)
                        frames += bool(stream)
                        heard |= {stream} - {""}
    except (WebSocketException, OSError, TimeoutError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        return Check(name, "problem", f"no connection ({cause})", "check the feed's stream address and the network")
    seconds = time.perf_counter() - begin
    if not frames:
        advice = "the address takes connections and does not serve these streams: check the feed's stream address"
        return Check(name, "problem", f"connected, but nothing was pushed in {seconds:.0f} s", advice)
    return Check(name, "ok", f"pushes: {frames} frames of {len(heard)} of {len(streams)} streams in {seconds:.1f} s")


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
