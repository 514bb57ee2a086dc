"""Whether a run's mode, feed and broker fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slt.config import Settings
    from slt.loader import Plugins

__all__ = ["check_mode"]


def check_mode(settings: Settings, plugins: Plugins, *, is_starting: bool = True) -> None:
    """Refuse what would trade differently from what its mode says.

    Args:
        settings: The configuration.
        plugins: Its plugins.
        is_starting: The run is about to start: live mode needs its confirmation.

    Raises:
        ConfigError: With every problem.
    """
    problems = [*_misfits(settings, plugins)]
    run = settings.run
    if is_starting and run.mode == "live" and not run.confirm_live and not problems:
        problems.append(
            f"run.confirm_live: found `false`; live mode sends real orders through `{plugins.broker.name}`: set "
            "run.confirm_live = true (or SLT_RUN__CONFIRM_LIVE=true) if that is wanted, or choose mode paper"
        )
    if problems:
        raise ConfigError(*map(settings.located, problems))


def _misfits(settings: Settings, plugins: Plugins) -> Iterator[str]:
    mode, feed, broker = settings.run.mode, plugins.feed, plugins.broker
    is_live_feed = feed.implements("slt_plan_connections")
    is_live_broker = broker.implements("slt_read_updates")
    if mode == "live" and not is_live_feed:
        yield (
            f"run.mode: found `live`, but the feed `{feed.name}` plays a recording; choose a feed that connects to an "
            "exchange, such as binance, or mode paper"
        )
    if mode == "live" and not is_live_broker:
        yield (
            f"run.mode: found `live`, but the broker `{broker.name}` only simulates orders; choose a broker that "
            "connects to an exchange, such as binance, or mode paper"
        )
    if mode != "live" and is_live_broker:
        yield (
            f"run.mode: found `{mode}`, but the broker `{broker.name}` sends real orders; choose the broker paper, or "
            "mode live"
        )
    if mode == "backtest" and is_live_feed:
        yield (
            f"run.mode: found `backtest`, but the feed `{feed.name}` has no history; choose a recorded feed, such as "
            "replay, or mode paper"
        )
    if settings.locks.disable_websocket and is_live_feed:
        yield (
            f"plugins.feed: found `{feed.name}`, which connects to an exchange, while DISABLE_WEBSOCKET is on; choose "
            "a recorded feed, or switch the lock off"
        )
