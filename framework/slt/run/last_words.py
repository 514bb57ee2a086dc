"""One alert from a process whose event loop stands still, just before its watchdog ends it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from slt.loader import import_plugin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.hookspecs import NotifierSpecs
    from slt.loader import Loaded
    from slt.types import Notice

__all__ = ["tell_last"]


def tell_last(notifiers: Iterable[Loaded[NotifierSpecs]], notice: Notice, seconds: float) -> list[str]:
    """Send a notice through every channel at once, past the outbox, whose loop stands still. Blocks; in any thread.

    Channels of their own are opened in a loop of their own, so that nothing of the stuck one is touched.

    Args:
        notifiers: The channels.
        notice: What to tell.
        seconds: Longest time for all of it.

    Returns:
        Names of the channels that took it.
    """
    return asyncio.run(_tell_all(list(notifiers), notice, seconds))


async def _tell_all(notifiers: list[Loaded[NotifierSpecs]], notice: Notice, seconds: float) -> list[str]:
    told = await asyncio.gather(*(_tell(loaded, notice, seconds) for loaded in notifiers))
    return [loaded.name for loaded, is_told in zip(notifiers, told, strict=True) if is_told]


async def _tell(loaded: Loaded[NotifierSpecs], notice: Notice, seconds: float) -> bool:
    # Whatever goes wrong here, the process ends next; the dump on disk says why it had to.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            _, cls = import_plugin(loaded.installed.kind, loaded.installed.name)
            notifier: Any = cls(loaded.config)
            if hasattr(notifier, "slt_open_notifier"):
                await notifier.slt_open_notifier()
            try:
                await notifier.slt_send_notice(notice)
            finally:
                if hasattr(notifier, "slt_close_notifier"):
                    await notifier.slt_close_notifier()
            return True
    return False
