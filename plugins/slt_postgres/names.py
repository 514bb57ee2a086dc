"""Looking up the names of hosts, in a way that can be given up at any moment.

The driver leaves that to the event loop, and not every loop takes it well when it is cancelled meanwhile: the answer of
the name service then arrives where nobody waits for it. A name is therefore looked up here first, and one that nobody
knows never gets as far as the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_name", "look_up"]


def is_name(host: str) -> bool:
    """Whether a host has to be looked up: it is neither a socket's folder nor an IP address, and not empty."""
    if not host or host.startswith("/"):
        return False
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return True
    return False


async def look_up(names: Iterable[str]) -> None:
    """Make sure that the name service knows one of these names; no names are no question.

    Raises:
        OSError: What it says of the last one, where it knows none: `socket.gaierror`.
        ValueError: A name that it cannot be asked for.
    """
    failure: Exception | None = None
    for name in names:
        try:
            await _answer(name)
        except OSError as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure


async def _answer(name: str) -> None:
    """Ask in a thread that nothing waits for, the end of the process neither: a name service may take half a minute."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()

    def tell(failure: Exception | None) -> None:
        if answered.done():
            return
        if failure is None:
            answered.set_result(None)
        else:
            answered.set_exception(failure)

    def ask() -> None:
        failure: Exception | None = None
        try:
            socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, failure)

    threading.Thread(target=ask, name="slt-postgres-name", daemon=True).start()
    await answered
