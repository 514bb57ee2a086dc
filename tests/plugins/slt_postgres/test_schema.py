"""Migrations: once, in order, one process at a time, never backwards."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import pytest

from slt.errors import StorageError
from slt.storage.contract import Query
from slt.testing.storage import make_record
from slt.types import Trade
from slt_postgres.schema import Migration, known_migrations, migrate
from slt_postgres.tables import TABLES


async def _migrate(*migrations):
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        return await migrate(connection, migrations)
    finally:
        await connection.close()


def test_known_migrations_are_numbered_without_a_gap():
    found = known_migrations()

    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert found[0].name == "initial"


async def test_open_fresh_database_applies_every_migration_once(make_storage, sql):
    for _ in range(2):
        storage = make_storage()
        await storage.slt_open_storage()
        await storage.slt_close_storage()

    rows = await sql("SELECT version, name FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(migration.version, migration.name) for migration in known_migrations()]


async def test_open_by_several_at_once_migrates_once(make_storage, sql):
    storages = [make_storage() for _ in range(4)]
    await asyncio.gather(*(storage.slt_open_storage() for storage in storages))
    await asyncio.gather(*(storage.slt_close_storage() for storage in storages))

    assert await sql("SELECT count(*) FROM schema_migrations") == [(len(known_migrations()),)]


async def test_open_newer_schema_is_refused_with_what_to_do(make_storage, sql):
    storage = make_storage()
    await storage.slt_open_storage()
    await storage.slt_close_storage()
    await sql("INSERT INTO schema_migrations (version, name) VALUES (999, 'from the future')")

    with pytest.raises(StorageError, match=r"schema version 999, this slt knows versions up to .*: upgrade with pip"):
        await make_storage().slt_open_storage()


async def test_migrate_later_step_is_applied_to_what_is_there(sql):
    first = Migration(1, "one", "CREATE TABLE a (x int)")
    second = Migration(2, "two", "ALTER TABLE a ADD y int; INSERT INTO a VALUES (1, 2)")
    assert await _migrate(first) == [first]

    assert await _migrate(first, second) == [second]

    assert await sql("SELECT x, y FROM a") == [(1, 2)]


@pytest.mark.parametrize("damage", ["DROP TABLE schema_migrations", "DELETE FROM schema_migrations"])
async def test_lost_record_of_the_schema_is_named_and_no_row_is_touched(make_storage, sql, damage):
    storage = make_storage()
    await storage.slt_open_storage()
    await storage.slt_write_records([make_record(Trade, 1)])
    await storage.slt_close_storage()
    await sql(damage)

    with pytest.raises(StorageError, match=r"record of its schema \(schema_migrations\) is damaged: step 1 is missing"):
        await make_storage().slt_open_storage()

    assert await sql("SELECT count(*) FROM trades") == [(1,)]


async def test_migrate_broken_step_leaves_nothing_of_any(sql):
    first = Migration(1, "one", "CREATE TABLE a (x int)")
    broken = Migration(2, "two", "CREATE TABLE b (x int); SELECT no_such_function()")

    with pytest.raises(asyncpg.UndefinedFunctionError):
        await _migrate(first, broken)

    assert await sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_database_of_the_first_version_is_brought_up_with_its_trades(make_storage, sql):
    known = known_migrations()
    await _migrate(known[0])
    row, table, storage = make_record(Trade, 7), TABLES[Trade], make_storage()
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.executemany(table.upsert, table.rows([row]))
    await connection.close()

    await storage.slt_open_storage()

    assert await sql("SELECT max(version) FROM schema_migrations") == [(len(known),)]
    assert await storage.slt_read_records(Query(Trade)) == [row]
    definition = await sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'trades_by_won'")
    assert definition[0][0].endswith("(run_id, won, net_pnl, id)")
    await storage.slt_close_storage()
