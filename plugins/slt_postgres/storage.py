"""Records in PostgreSQL through asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import SltError, StorageError
from slt.storage.contract import counts
from slt_postgres.address import Address, explain, read_url
from slt_postgres.connections import DRIVER_ERRORS, Connections, transaction
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.locks import NamedLock
from slt_postgres.schema import known_migrations, migrate, missing_migrations, schema_version
from slt_postgres.tables import TABLES, Table
from slt_postgres.values import encode_text
from slt_postgres.volume import describe_tables, prune_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from slt.storage.contract import Query
    from slt.types import Record

__all__ = ["PostgresStorage", "PostgresStorageConfig"]

_COPY_FROM_ROWS = 100
"""Rows of one type from which COPY into a staging table beats single upserts (measured: benchmarks/storage.py)."""

_DAY_MS = 86_400_000

_COUNT_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> $1
"""


@frozen(kw_only=True)
class PostgresStorageConfig:
    """Options of the postgres storage.

    Attributes:
        url_env: Environment variable with the database URL; where it is unset or empty, the embedded server is used.
        embedded_folder: Data folder of the embedded server, made when missing; relative to the working directory.
        pool_max_connections: Most connections open at a time; the instance lock has one more of its own.
        connect_timeout_seconds: Longest wait for a connection.
        statement_timeout_seconds: Longest time one statement may take before the server gives it up.
        start_timeout_seconds: Longest start of the embedded server, crash recovery included.
        keep_decisions_days: Age in days at which decisions are deleted in paper and live runs; 0 = never.
        keep_bars_days: Age in days at which stored bars are deleted in paper and live runs; 0 = never.
    """

    url_env: str = field(default="DATABASE_URL", validator=validators.min_len(1))
    embedded_folder: str = field(default="./data/postgres", validator=validators.min_len(1))
    pool_max_connections: int = field(default=4, validator=validators.ge(1))
    connect_timeout_seconds: float = field(default=10.0, validator=validators.gt(0))
    statement_timeout_seconds: float = field(default=60.0, validator=validators.gt(0))
    start_timeout_seconds: float = field(default=60.0, validator=validators.gt(0))
    keep_decisions_days: int = field(default=0, validator=validators.ge(0))
    keep_bars_days: int = field(default=0, validator=validators.ge(0))


class PostgresStorage:
    """Keep records in PostgreSQL: the server named by DATABASE_URL, or a private one in the data folder.

    The embedded server survives a killed slt and is found again at the next start; a clean close stops it when nobody
    else uses it, and a write that finds it dead starts it again.
    """

    config_class = PostgresStorageConfig

    def __init__(self, config: PostgresStorageConfig) -> None:
        self.config = config
        self._server: EmbeddedServer | None = None
        self._connections: Connections | None = None
        self._client_name = ""
        self._locks: dict[str, NamedLock] = {}

    @hookimpl
    async def slt_open_storage(self) -> str:
        """Find or start the server, bring the schema up to date, and say where it is.

        Raises:
            ConfigError: The URL is malformed or wrong, or the embedded server cannot run here.
            StorageError: The server cannot be reached, refuses, or has a newer schema.
        """
        try:
            await self._reach()
            return await self._describe()
        except BaseException:
            await self.slt_close_storage()
            raise

    @hookimpl
    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """Store the records in one transaction, replacing those of the same type and id.

        Raises:
            RecordRefusedError: A value among them does not fit the database and never will; nothing is stored.
            StorageError: The database refused or is away; then nothing of the batch is stored.
        """
        batches = _by_table(records)
        async with self._connection() as connection, transaction(connection):
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
        async with self._connection() as connection, transaction(connection):
            for table in TABLES.values():
                if table.forget is not None:
                    await connection.execute(table.forget, encode_text(run_id), since)

    @hookimpl
    async def slt_prune_records(self, now: int) -> int:
        """Delete decisions and bars that are older than their options say, some thousands at a time.

        Returns:
            How many were deleted; 0 = nothing is left to delete for now.

        Raises:
            StorageError: The database refused or is away.
        """
        deleted = 0
        for name, days in (("Decision", self.config.keep_decisions_days), ("StoredBar", self.config.keep_bars_days)):
            if days:
                table = next(one for one in TABLES.values() if one.kind.__name__ == name)
                async with self._connection() as connection:
                    deleted += await prune_table(connection, table, now - days * _DAY_MS)
        return deleted

    @hookimpl
    async def slt_migrate_storage(self, is_dry_run: bool) -> list[str]:
        """Apply the migrations that the database lacks, under a lock; a dry run takes all of it back in the end.

        Raises:
            ConfigError: As `slt_open_storage`.
            StorageError: The server is away or refuses, or has a newer schema.
        """
        async with self._bare() as connection:
            done = await migrate(connection, known_migrations(), is_dry_run=is_dry_run)
        return [f"{one.version:04d} {one.name}" for one in done]

    @hookimpl
    async def slt_describe_storage(self) -> list[tuple[str, str]]:
        """Where the database is, its schema's version, and how many rows and bytes each table has.

        Raises:
            ConfigError: As `slt_open_storage`.
            StorageError: The server is away, or has a newer schema.
        """
        async with self._bare() as connection:
            place = self._place(connection)
            version = await schema_version(connection)
            missing = await missing_migrations(connection, known_migrations())
            tables = await describe_tables(connection) if version else []
        waiting = ", ".join(f"{one.version:04d} {one.name}" for one in missing)
        known = known_migrations()[-1].version
        schema = f"{version} of {known}" + (f"; missing: {waiting}" if waiting else "")
        return [("database", place), ("schema version", schema), *tables]

    @hookimpl
    async def slt_hold_lock(self, name: str) -> bool:
        """Take an advisory lock on a connection of its own, or make sure that it is still held.

        Returns:
            Whether it is held; False: another process has it.

        Raises:
            StorageError: The database is away, or the storage is not open.
        """
        connections = self._opened()
        await self._revive(connections)
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = NamedLock(name, connections)
        return await lock.hold()

    @hookimpl
    async def slt_watch_lock(self, name: str) -> None:
        """Wait until the lock is lost; returns at once where it is not held."""
        if (lock := self._locks.get(name)) is not None:
            await lock.watch()

    @hookimpl
    async def slt_release_lock(self, name: str) -> None:
        """Give the lock up; giving up what is not held is no error."""
        if (lock := self._locks.pop(name, None)) is not None:
            await lock.release()

    @hookimpl
    async def slt_close_storage(self) -> None:
        """Close the connections; stop the embedded server when nobody else is connected to it."""
        for name in list(self._locks):
            await self.slt_release_lock(name)
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()
        server, self._server = self._server, None
        if server is not None and connections is not None:
            async with server.locked():
                if await self._is_last_client(server, connections):
                    await asyncio.to_thread(server.stop)

    async def _reach(self, *, is_bare: bool = False) -> None:
        """Find or start the server; `is_bare` leaves the schema as it is."""
        self._client_name = f"slt-{os.getpid()}-{secrets.token_hex(4)}"
        url = os.environ.get(self.config.url_env, "").strip()
        if url:
            self._connections = self._connections_to(read_url(url, self.config.url_env, os.environ))
            return
        server = EmbeddedServer(_resolved(self.config.embedded_folder), self.config.start_timeout_seconds)
        async with server.locked():
            address = await self._attach(server)
            self._server, self._connections = server, self._connections_to(address)
            if not is_bare:
                # Connected before the lock is given back: whoever closes last sees this client and lets the server be.
                async with self._connections.lend():
                    pass

    def _connections_to(self, address: Address) -> Connections:
        config = self.config
        return Connections(
            address,
            self._client_name,
            most=config.pool_max_connections,
            connect_seconds=config.connect_timeout_seconds,
            statement_seconds=config.statement_timeout_seconds,
        )

    @staticmethod
    async def _attach(server: EmbeddedServer) -> Address:
        socket_folder = await asyncio.to_thread(server.ensure_running)
        target = {"host": str(socket_folder), "port": 5432, "user": "postgres", "database": "postgres"}
        return Address(target, f"{server.folder} (embedded)", "storages.postgres.embedded_folder")

    async def _describe(self) -> str:
        async with self._connection() as connection:
            return self._place(connection)

    def _place(self, connection: Any) -> str:
        version = connection.get_server_version()
        address = self._opened().address
        kind = "embedded PostgreSQL" if self._server else "PostgreSQL"
        place = f"in {self.config.embedded_folder}" if self._server else f"at {address.place}"
        secured = " with TLS required" if address.sslmode == "require" else ""
        return f"{kind} {version.major}.{version.minor} {place}{secured}"

    def _opened(self) -> Connections:
        if self._connections is None:
            raise StorageError("the postgres storage is not open; call slt_open_storage first")
        return self._connections

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connections = self._opened()
        await self._revive(connections)
        async with connections.lend() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _bare(self) -> AsyncIterator[Any]:
        """A connection to a storage that is not open, its schema as it is; closes everything behind it."""
        try:
            await self._reach(is_bare=True)
            connections = self._opened()
            connection = await connections.connect()
            try:
                yield connection
            except DRIVER_ERRORS as error:
                raise explain(error, connections.address) from error
            finally:
                connection.terminate()
        finally:
            await self.slt_close_storage()

    async def _revive(self, connections: Connections) -> None:
        """Start the embedded server again if it has died."""
        server = self._server
        if server is not None and server.pid() is None:
            async with server.locked():
                connections.address = await self._attach(server)

    async def _is_last_client(self, server: EmbeddedServer, connections: Connections) -> bool:
        if server.pid() is None:
            return False
        try:
            connection = await connections.connect()
        except SltError:
            return False
        try:
            others: int = await connection.fetchval(_COUNT_OTHERS, self._client_name)
        except DRIVER_ERRORS:
            return False
        finally:
            connection.terminate()
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
    """The records by table, of each id only the one that counts."""
    latest: dict[type, dict[str, Record]] = {}
    for record in records:
        found, name = latest.setdefault(type(record), {}), getattr(record, "id", "")
        if name not in found or counts(record, found[name]):
            found[name] = record
    return {_table_of(kind): list(by_id.values()) for kind, by_id in latest.items()}


async def _upsert(connection: Any, table: Table, records: list[Record]) -> None:  # asyncpg is untyped
    rows = table.rows(records)
    if len(rows) < _COPY_FROM_ROWS:
        await connection.executemany(table.upsert, rows)
        return
    await connection.execute(table.create_staging)
    await connection.copy_records_to_table(table.staging, records=rows, columns=table.columns)
    await connection.execute(table.merge_staging)
