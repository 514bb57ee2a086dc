"""How much the database holds, and deleting what has grown too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_postgres.tables import TABLES

if TYPE_CHECKING:
    from slt_postgres.tables import Table

__all__ = ["describe_tables", "prune_table"]

_ROWS_AT_ONCE = 5000
"""Rows in one delete: some tens of milliseconds, so that the writer beside it hardly waits."""

_SIZES = """
SELECT relname, greatest(reltuples, 0)::bigint, pg_total_relation_size(oid) FROM pg_class
WHERE relname = ANY($1) AND relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname
"""


async def describe_tables(connection: Any) -> list[tuple[str, str]]:
    """Name of each table, and its rows (counted up to a hundred thousand, else estimated) and size in words."""
    found = []
    for name, estimate, size in await connection.fetch(_SIZES, [table.name for table in TABLES.values()]):
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT 100001) AS part"  # noqa: S608 - own names
        counted = await connection.fetchval(sql)
        rows = f"{counted:,}" if counted <= 100_000 else f"about {max(estimate, counted):,}"
        found.append((name, f"{rows} rows, {size / 2**20:,.1f} MiB"))
    return found


async def prune_table(connection: Any, table: Table, before: int) -> int:
    """Delete some of the rows whose time is before `before`, ms UTC, the oldest of the heap first.

    Returns:
        How many were deleted; fewer than some thousands = none is left.
    """
    status: str = await connection.execute(table.prune, before, _ROWS_AT_ONCE)
    return int(status.rpartition(" ")[2])
