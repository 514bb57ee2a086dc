"""Named locks that one process at a time can hold: advisory locks of the server, each on a connection of its own.

The lock falls free when its connection ends. A holder that is gone without a word, its machine off, is noticed by the
server through TCP keepalive after about ten seconds; the holder itself asks every second, and so knows before anybody
else can have the lock that it may not have it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from slt.errors import SltError
from slt_postgres.address import explain
from slt_postgres.connections import DRIVER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from slt_postgres.connections import Connections

__all__ = ["NamedLock", "lock_key"]

_ANSWER_SECONDS = 3.0
_KEEPALIVE = "SET tcp_keepalives_idle = 4; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"


class NamedLock:
    """One lock and its connection. `hold` and `watch` may be called by one task each.

    Args:
        name: What is locked.
        connections: Where to connect.
        ask_seconds: Distance of the questions whether the server still answers.
    """

    def __init__(self, name: str, connections: Connections, *, ask_seconds: float = 1.0) -> None:
        self._key = lock_key(name)
        self._connections = connections
        self._ask_seconds = ask_seconds
        self._connection: Any = None
        self._is_held = False
        self._asking = asyncio.Lock()
        self._ended = asyncio.Event()

    async def hold(self) -> bool:
        """Take the lock, or make sure that it is still held.

        Returns:
            Whether this process holds it now; False: another one does.

        Raises:
            StorageError: The database is away; nothing is held.
        """
        async with self._asking:
            if self._connection is None or self._connection.is_closed():
                await self._answered(self._connect())
            await self._answered(self._confirm() if self._is_held else self._try())
            return self._is_held

    async def watch(self) -> None:
        """Wait until the lock is lost: its connection ended, or the server did not answer for a few seconds."""
        connection = self._connection
        while self._is_held and connection is self._connection:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ask_seconds):  # `wait_for` of Python 3.11 may swallow a cancellation
                    await self._ended.wait()
                return
            async with self._asking:
                if self._is_held and connection is self._connection:
                    with contextlib.suppress(SltError):
                        await self._answered(self._confirm())

    async def release(self) -> None:
        """Give the lock up by closing its connection."""
        connection, self._connection, self._is_held = self._connection, None, False
        self._ended.set()
        if connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.close(timeout=2.0)

    async def _answered(self, question: Awaitable[None]) -> None:
        """Ask the server; where it does not answer, the lock counts as lost.

        Raises:
            StorageError: It did not.
        """
        try:
            await question
        except BaseException as error:
            self._drop()
            if isinstance(error, DRIVER_ERRORS):
                raise explain(error, self._connections.address) from error
            raise

    async def _connect(self) -> None:
        self._drop()
        self._connection = await self._connections.connect()
        self._ended = asyncio.Event()
        self._connection.add_termination_listener(self._note_end)
        await self._connection.execute(_KEEPALIVE, timeout=_ANSWER_SECONDS)

    async def _try(self) -> None:
        question = "SELECT pg_try_advisory_lock($1)"
        self._is_held = bool(await self._connection.fetchval(question, self._key, timeout=_ANSWER_SECONDS))

    async def _confirm(self) -> None:
        await self._connection.fetchval("SELECT 1", timeout=_ANSWER_SECONDS)

    def _note_end(self, connection: Any) -> None:
        if connection is self._connection:
            self._is_held = False
            self._ended.set()

    def _drop(self) -> None:
        connection, self._connection, self._is_held = self._connection, None, False
        self._ended.set()
        if connection is not None:
            connection.terminate()


def lock_key(name: str) -> int:
    """The 64-bit number that PostgreSQL knows a name by: the first eight bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(f"slt:{name}".encode()).digest()[:8], "big", signed=True)
