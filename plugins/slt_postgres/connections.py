"""A bounded number of connections to one database, none of which outlives a doubt about it.

A connection whose last use ended in anything but an ordinary answer is dropped, and with it every idle one: the next
use connects anew, resolves the host's name again and finds the server that has taken over. Each new connection looks at
the schema's version first, for the same reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from slt.errors import ConfigError, RecordRefusedError, SltError, StorageError
from slt_postgres.address import Address, explain
from slt_postgres.names import look_up
from slt_postgres.schema import bring_up_to_date, known_migrations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["DRIVER_ERRORS", "Connections", "transaction"]

# The last one is what a connection says that the server cut while the driver had not yet noticed.
DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, asyncpg.InternalClientError)
"""Everything that asyncpg raises."""

_REFUSED_CLASSES = ("22", "23", "54")
"""SQLSTATE classes that a record brings about by itself: data exception, integrity violation, limit exceeded."""


class Connections:
    """Connections to one address, opened when needed and kept.

    Args:
        address: Where the database is.
        client_name: What the server shows as the application's name.
        most: Most connections at a time.
        connect_seconds: Longest wait for a connection.
        statement_seconds: Longest time one statement may take before the server gives it up.
    """

    def __init__(
        self, address: Address, client_name: str, *, most: int, connect_seconds: float, statement_seconds: float
    ) -> None:
        self.address = address
        self._client_name = client_name
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._free: list[asyncpg.Connection] = []
        self._places = asyncio.Semaphore(most)

    async def connect(self) -> Any:
        """A new connection, its schema not looked at; the caller closes it.

        Raises:
            ConfigError: The URL, the user, the password or the database's name is wrong, or TLS is missing.
            StorageError: The server is away or refuses.
        """
        milliseconds = round(self._statement_seconds * 1000)
        settings = {"application_name": self._client_name, "statement_timeout": str(milliseconds)}
        try:
            async with asyncio.timeout(self._connect_seconds):
                await look_up(self.address.names)
                return await asyncpg.connect(
                    **self.address.target,
                    ssl=self.address.sslmode,
                    timeout=cast("Any", self._connect_seconds),  # its annotation says int, fractions work
                    # Later than the server's own timeout: this one is for a server that says nothing any more.
                    command_timeout=self._statement_seconds + 5,
                    server_settings=settings,
                )
        except (asyncpg.ClientConfigurationError, ValueError):
            raise ConfigError(f"{self.address.source}: the driver cannot read this database URL") from None
        except DRIVER_ERRORS as error:
            # Without its cause: a traceback of the driver may show the URL.
            raise explain(error, self.address) from None

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[Any]:
        """A connection; whatever the driver raises meanwhile becomes an error of slt, and the connection is dropped.

        Raises:
            RecordRefusedError: The server refuses what it was given for what it is.
            StorageError: The server is away, or refuses for another reason.
        """
        await self._take_place()
        connection = None
        is_sound = False
        try:
            connection = self._take_free() or await self._prepared()
            yield connection
            is_sound = not connection.is_in_transaction()
        except DRIVER_ERRORS as error:
            if is_refusal(error):
                is_sound = connection is not None and not connection.is_in_transaction()
                raise RecordRefusedError(str(explain(error, self.address))) from error
            raise explain(error, self.address) from error
        finally:
            self._places.release()
            self._give_back(connection, is_sound=is_sound)

    async def close(self) -> None:
        """Close what is idle; what is in use closes with its use."""
        free, self._free = self._free, []
        for connection in free:
            try:
                await connection.close(timeout=2.0)
            except DRIVER_ERRORS:
                connection.terminate()

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise StorageError(
                f"PostgreSQL at {self.address.place}: every connection of slt has been busy for "
                f"{self._connect_seconds:g} s; raise storages.postgres.pool_max_connections"
            ) from None

    def _take_free(self) -> Any:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _prepared(self) -> Any:
        connection = await self.connect()
        try:
            await bring_up_to_date(connection, known_migrations())
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _give_back(self, connection: Any, *, is_sound: bool) -> None:
        if connection is not None and is_sound and not connection.is_closed():
            self._free.append(connection)
            return
        if connection is not None:
            connection.terminate()
        while self._free:
            self._free.pop().terminate()


@contextlib.asynccontextmanager
async def transaction(connection: Any) -> AsyncIterator[None]:
    """A transaction that does not wait for a server which has stopped to answer: the connection is dropped instead."""
    await connection.execute("BEGIN")
    try:
        yield
        await connection.execute("COMMIT")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, SltError):
        # The server, or the driver before it, has answered; whether the rollback arrives does not matter any more.
        with contextlib.suppress(*DRIVER_ERRORS):
            await connection.execute("ROLLBACK", timeout=5.0)
        raise
    except BaseException:
        connection.terminate()
        raise


def is_refusal(error: BaseException) -> bool:
    """Whether the server, or the driver before it, refuses a value for what it is and would for ever."""
    if isinstance(error, asyncpg.DataError):
        return True
    state = getattr(error, "sqlstate", None)
    return isinstance(error, asyncpg.PostgresError) and isinstance(state, str) and state[:2] in _REFUSED_CLASSES
