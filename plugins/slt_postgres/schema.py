"""The schema's numbered migrations, forward only: ``migrations/NNNN_name.sql``, each applied once."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from attrs import frozen

from slt.errors import StorageError

__all__ = ["Migration", "known_migrations", "migrate"]

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


async def migrate(connection: Any, migrations: tuple[Migration, ...]) -> list[Migration]:
    """Apply what is missing, all of it or nothing, while no other process does.

    Args:
        connection: To the database, outside a transaction.
        migrations: All that this version knows, in order.

    Returns:
        Those applied now.

    Raises:
        StorageError: The schema is newer than this version knows.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_BOOKKEEPING)
        current = int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations") or 0)
        newest = migrations[-1].version
        if current > newest:
            raise StorageError(
                f"the database has schema version {current}, this slt knows versions up to {newest}: "
                "upgrade with pip install -U selflearningtrader, or use another database"
            )
        missing = [migration for migration in migrations if migration.version > current]
        for migration in missing:
            await connection.execute(migration.sql)
            record = "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)"
            await connection.execute(record, migration.version, migration.name)
    return missing
