"""Records in PostgreSQL through asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import ConfigError, SltError, StorageError
from slt_postgres.address import Address, explain, read_url
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.schema import known_migrations, migrate
from slt_postgres.tables import TABLES, Table
from slt_postgres.values import encode_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from slt.storage.contract import Query
    from slt.types import Record

__all__ = ["PostgresStorage", "PostgresStorageConfig"]

_COPY_FROM_ROWS = 100
"""Rows of one type from which COPY into a staging table beats single upserts (measured: benchmarks/storage.py)."""

_COUNT_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> $1
"""

_NOWHERE = Address(target={}, place="", source="")

# The last one is what a connection says that the server cut while the driver had not yet noticed.
_DRIVER_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, asyncpg.InternalClientError)


@frozen(kw_only=True)
class PostgresStorageConfig:
    """Options of the postgres storage.

    Attributes:
        url_env: Environment variable with the database URL; where it is unset or empty, the embedded server is used.
        embedded_folder: Data folder of the embedded server, made when missing; relative to the working directory.
        pool_min_connections: Connections kept open.
        pool_max_connections: Most connections open at a time.
        connect_timeout_seconds: Longest wait for a connection.
        statement_timeout_seconds: Longest time one statement may take before the server gives it up.
        start_timeout_seconds: Longest start of the embedded server, crash recovery included.
    """

    url_env: str = field(default="DATABASE_URL", validator=validators.min_len(1))
    embedded_folder: str = field(default="./data/postgres", validator=validators.min_len(1))
    pool_min_connections: int = field(default=1, validator=validators.ge(1))
    pool_max_connections: int = field(default=4, validator=validators.ge(1))
    connect_timeout_seconds: float = field(default=10.0, validator=validators.gt(0))
    statement_timeout_seconds: float = field(default=60.0, validator=validators.gt(0))
    start_timeout_seconds: float = field(default=60.0, validator=validators.gt(0))


class PostgresStorage:
    """Keep records in PostgreSQL: the server named by DATABASE_URL, or a private one in the data folder.

    The embedded server survives a killed slt and is found again at the next start; a clean close stops it when nobody
    else uses it, and a write that finds it dead starts it again.
    """

    config_class = PostgresStorageConfig

    def __init__(self, config: PostgresStorageConfig) -> None:
        self.config = config
        self._server: EmbeddedServer | None = None
        self._address = _NOWHERE
        self._pool: asyncpg.Pool | None = None
        self._client_name = ""

    @hookimpl
    async def slt_open_storage(self) -> str:
        """Find or start the server, bring the schema up to date, and say where it is.

        Raises:
            ConfigError: The URL is malformed, or the embedded server cannot run here.
            StorageError: The server cannot be reached, refuses, or has a newer schema.
        """
        self._address = _NOWHERE
        self._client_name = f"slt-{os.getpid()}-{secrets.token_hex(4)}"
        url = os.environ.get(self.config.url_env, "").strip()
        try:
            if url:
                self._address = read_url(url, self.config.url_env, os.environ)
                await self._connect()
            else:
                self._server = EmbeddedServer(_resolved(self.config.embedded_folder), self.config.start_timeout_seconds)
                async with self._server.locked():
                    await self._attach(self._server)
                    await self._connect()
            return await self._describe()
        except BaseException:
            await self.slt_close_storage()
            raise

    @hookimpl
    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """Store the records in one transaction, replacing those of the same type and id.

        Raises:
            StorageError: The database refused or is away; then nothing of the batch is stored.
        """
        batches = _by_table(records)
        async with self._connection() as connection, connection.transaction():
            for table, latest in batches.items():
                await _upsert(connection, table, latest)

    @hookimpl
    async def slt_read_records(self, query: Query) -> list[Record]:
        """Records of one type that the query asks for, in its order.

        Raises:
            StorageError: The database refused or is away, or the kind is no record type.
        """
        table = _table_of(query.kind)
        sql, parameters = table.select(query)
        async with self._connection() as connection:
            rows = await connection.fetch(sql, *parameters)
        if len(rows) < 1000:
            return table.records(rows)
        return await asyncio.to_thread(table.records, rows)

    @hookimpl
    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """Delete a run's rows from a time on in every table but those of runs, notices and bars, in one transaction.

        Raises:
            StorageError: The database refused or is away; then nothing is deleted.
        """
        async with self._connection() as connection, connection.transaction():
            for table in TABLES.values():
                if table.forget is not None:
                    await connection.execute(table.forget, encode_text(run_id), since)

    @hookimpl
    async def slt_close_storage(self) -> None:
        """Close the connections; stop the embedded server when nobody else is connected to it."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()
        server, self._server = self._server, None
        if server is not None:
            async with server.locked():
                if await self._is_last_client(server):
                    await asyncio.to_thread(server.stop)

    async def _attach(self, server: EmbeddedServer) -> None:
        socket_folder = await asyncio.to_thread(server.ensure_running)
        target = {"host": str(socket_folder), "port": 5432, "user": "postgres", "database": "postgres"}
        self._address = Address(target, f"{server.folder} (embedded)", "storages.postgres.embedded_folder")

    async def _connect(self) -> None:
        try:
            self._pool = await asyncpg.create_pool(
                min_size=self.config.pool_min_connections,
                max_size=max(self.config.pool_max_connections, self.config.pool_min_connections),
                # An idle connection is what tells other processes that the embedded server is in use.
                max_inactive_connection_lifetime=0,
                **self._connect_options(),
            )
            async with self._pool.acquire(timeout=self.config.connect_timeout_seconds) as connection:
                await migrate(connection, known_migrations())
        except (asyncpg.ClientConfigurationError, ValueError):
            raise ConfigError(f"{self._address.source}: the driver cannot read this database URL") from None
        except _DRIVER_ERRORS as error:
            # Without its cause: a traceback of the driver may show the URL.
            raise explain(error, self._address) from None

    def _connect_options(self) -> dict[str, Any]:
        milliseconds = round(self.config.statement_timeout_seconds * 1000)
        return self._address.target | {
            "ssl": self._address.sslmode,
            "timeout": self.config.connect_timeout_seconds,
            # A little later than the server's own timeout: this one is for a server that says nothing any more.
            "command_timeout": self.config.statement_timeout_seconds + 5,
            "server_settings": {"application_name": self._client_name, "statement_timeout": str(milliseconds)},
        }

    async def _describe(self) -> str:
        async with self._connection() as connection:
            version = connection.get_server_version()
        kind = "embedded PostgreSQL" if self._server else "PostgreSQL"
        place = self.config.embedded_folder if self._server else self._address.place
        secured = " with TLS required" if self._address.sslmode == "require" else ""
        return f"{kind} {version.major}.{version.minor} {'in' if self._server else 'at'} {place}{secured}"

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; whatever the driver raises meanwhile becomes a `StorageError`."""
        pool = self._pool
        if pool is None:
            raise StorageError("the postgres storage is not open; call slt_open_storage first")
        try:
            await self._revive()
            async with pool.acquire(timeout=self.config.connect_timeout_seconds) as connection:
                yield connection
        except _DRIVER_ERRORS as error:
            raise explain(error, self._address) from error

    async def _revive(self) -> None:
        """Start the embedded server again if it has died."""
        server = self._server
        if server is not None and server.pid() is None:
            async with server.locked():
                await self._attach(server)

    async def _is_last_client(self, server: EmbeddedServer) -> bool:
        if server.pid() is None or not self._address.target:
            return False
        try:
            connection = await asyncpg.connect(**self._connect_options())
        except (*_DRIVER_ERRORS, SltError):
            return False
        try:
            others: int = await connection.fetchval(_COUNT_OTHERS, self._client_name)
        finally:
            await connection.close()
        return others == 0


def _resolved(folder: str) -> Path:
    return Path(folder).expanduser().resolve()


def _table_of(kind: type) -> Table:
    try:
        return TABLES[kind]
    except KeyError:
        allowed = ", ".join(one.__name__ for one in TABLES)
        raise StorageError(f"cannot store or read `{kind.__name__}`; allowed are {allowed}") from None


def _by_table(records: Iterable[Record]) -> dict[Table, list[Record]]:
    """The records by table, the last of each id only."""
    latest: dict[type, dict[str, Record]] = {}
    for record in records:
        latest.setdefault(type(record), {})[getattr(record, "id", "")] = record
    return {_table_of(kind): list(by_id.values()) for kind, by_id in latest.items()}


async def _upsert(connection: Any, table: Table, records: list[Record]) -> None:  # asyncpg is untyped
    rows = table.rows(records)
    if len(rows) < _COPY_FROM_ROWS:
        await connection.executemany(table.upsert, rows)
        return
    await connection.execute(table.create_staging)
    await connection.copy_records_to_table(table.staging, records=rows, columns=table.columns)
    await connection.execute(table.merge_staging)
