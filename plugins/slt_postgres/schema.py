"""The schema's numbered migrations, forward only: ``migrations/NNNN_name.sql``, each applied once."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import asyncpg
from attrs import frozen

from slt.errors import StorageError

__all__ = ["Migration", "bring_up_to_date", "known_migrations", "migrate", "missing_migrations", "schema_version"]

_LOCK = 0x736C745F6D696772
"""Key of the advisory lock that lets one process migrate at a time (the letters ``slt_migr``)."""

_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@frozen
class Migration:
    """One step of the schema.

    Attributes:
        version: 1, 2, … without a gap.
        name: What it does, from the file's name.
        sql: The statements.
    """

    version: int
    name: str
    sql: str


def known_migrations() -> tuple[Migration, ...]:
    """Every migration in the package, in order."""
    found = []
    for path in files("slt_postgres").joinpath("migrations").iterdir():
        if path.name.endswith(".sql"):
            version, _, name = path.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(version), name, path.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))


async def schema_version(connection: Any) -> int:
    """Version of the database's schema; 0 = none yet. Writes nothing; call outside a transaction."""
    try:
        return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations"))
    except asyncpg.UndefinedTableError:
        return 0


async def missing_migrations(connection: Any, migrations: tuple[Migration, ...]) -> list[Migration]:
    """What the database lacks of the known migrations; writes nothing.

    Raises:
        StorageError: The schema is newer than this version knows.
    """
    return _missing(await schema_version(connection), migrations)


async def bring_up_to_date(connection: Any, migrations: tuple[Migration, ...]) -> None:
    """Migrate where something is missing; a database that is up to date is not written to and may be read-only."""
    if await missing_migrations(connection, migrations):
        await migrate(connection, migrations)


async def migrate(connection: Any, migrations: tuple[Migration, ...], *, is_dry_run: bool = False) -> list[Migration]:
    """Apply what is missing, all of it or nothing, while no other process does.

    Args:
        connection: To the database, outside a transaction.
        migrations: All that this version knows, in order.
        is_dry_run: Apply it, and take it back in the end: what would fail fails, and nothing is changed.

    Returns:
        Those applied now.

    Raises:
        StorageError: The schema is newer than this version knows, or its record does not fit it.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_BOOKKEEPING)
        missing = _missing(await schema_version(connection), migrations)
        for migration in missing:
            await _apply(connection, migration)
            record = "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)"
            await connection.execute(record, migration.version, migration.name)
    except BaseException:
        if not connection.is_closed():
            await transaction.rollback()
        raise
    if is_dry_run:
        await transaction.rollback()
    else:
        await transaction.commit()
    return missing


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as error:
        raise StorageError(
            f"the database's record of its schema (schema_migrations) is damaged: step {migration.version} is missing "
            f"there, but {error.args[0]}; restore the database from a backup, or use another one"
        ) from error


def _missing(current: int, migrations: tuple[Migration, ...]) -> list[Migration]:
    newest = migrations[-1].version
    if current > newest:
        raise StorageError(
            f"the database has schema version {current}, this slt knows versions up to {newest}: "
            "upgrade with pip install -U selflearningtrader, or use another database"
        )
    return [migration for migration in migrations if migration.version > current]
