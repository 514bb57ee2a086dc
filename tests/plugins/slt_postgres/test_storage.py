"""The postgres storage against a real server."""

from __future__ import annotations

import asyncio
import math
import os

import asyncpg
import pytest

from slt.errors import ConfigError, RecordRefusedError, StorageError
from slt.storage.contract import Query
from slt.storage.writer import Writer
from slt.testing.storage import RECORD_KINDS, StorageConformance, canonical, make_record
from slt.types import Decision, EquityPoint, Notice, Sample, Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig
from slt_postgres.tables import TABLES


class TestPostgresStorage(StorageConformance):
    @pytest.fixture
    def make_storage(self, make_storage):
        return make_storage


def trades(*numbers):
    return [make_record(Trade, number) for number in numbers]


async def test_open_describes_version_and_place_without_user(make_storage, server, database):
    storage = make_storage()
    text = await storage.slt_open_storage()
    await storage.slt_close_storage()

    assert text.startswith("PostgreSQL 1")
    assert text.endswith(f" at {server.folder}/{database}")


@pytest.mark.parametrize("count", [3, 99, 100, 1000])
async def test_write_small_and_bulk_batches_give_the_same(storage, count):
    batch = [make_record(Sample, number, p_win=None, features=bytes([number % 256])) for number in range(count)]
    await storage.slt_write_records(batch)
    await storage.slt_write_records([make_record(Sample, 1, confidence=math.nan), *batch[2:]])

    found = await storage.slt_read_records(Query(Sample))

    expected = [batch[0], make_record(Sample, 1, confidence=math.nan), *batch[2:]]
    assert [canonical(one) for one in found] == [canonical(one) for one in expected]


@pytest.mark.parametrize("count", [2, 500])
async def test_write_failing_in_its_last_table_stores_nothing(storage, count):
    batch = [make_record(kind, number) for number in range(count) for kind in (Trade, Decision)]
    too_large = make_record(EquityPoint, 1, open_positions=2**63)

    with pytest.raises(RecordRefusedError, match="value out of int64 range"):
        await storage.slt_write_records([*batch, too_large])

    assert await storage.slt_read_records(Query(Trade)) == []
    assert await storage.slt_read_records(Query(Decision)) == []
    await storage.slt_write_records(batch)
    assert len(await storage.slt_read_records(Query(Trade))) == count


async def test_write_text_that_postgres_refuses_comes_back_exactly(storage):
    nasty = "a\0b\ud800\ue000c"
    records = [
        make_record(Trade, 1, reason=nasty, partial_exits=(nasty, "")),
        make_record(Decision, 1, detail=nasty, numbers={nasty: math.inf}),
        make_record(Notice, 1, fields=((nasty, nasty), ("", "x"))),
    ]
    await storage.slt_write_records(records)

    for record in records:
        assert await storage.slt_read_records(Query(type(record), id=record.id)) == [record]


async def test_read_by_id_with_nasty_text_finds_it(storage):
    record = make_record(Trade, 1, id="a\0\ud800", symbol="\0")
    await storage.slt_write_records([record])

    assert await storage.slt_read_records(Query(Trade, id="a\0\ud800", symbol="\0")) == [record]


async def test_columns_fit_the_fields_of_every_record(storage, sql):
    wanted = {"str": "text", "int": "bigint", "float": "double precision", "bool": "boolean", "bytes": "bytea"}
    for kind in RECORD_KINDS:
        rows = await sql(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_name = $1 AND table_schema = 'public' ORDER BY ordinal_position",
            TABLES[kind].name,
        )
        found = {row["column_name"]: (row["data_type"], row["is_nullable"] == "YES") for row in rows}
        expected = {}
        for name, hint in TABLES[kind].hints.items():
            text = hint.__name__ if isinstance(hint, type) and hint.__name__ in wanted else str(hint)
            plain = text.removesuffix(" | None")
            containers = {"tuple[str, ...]": "ARRAY"}
            expected[name] = (wanted.get(plain, containers.get(plain, "jsonb")), text.endswith("| None"))
        assert found == expected
        assert list(found) == list(expected)


async def test_trades_have_the_six_indices(storage, sql):
    rows = await sql("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'trades'")
    columns = {row["indexname"]: row["indexdef"].split("btree ")[1] for row in rows}

    assert columns.pop("trades_pkey") == "(id)"
    assert columns == {
        "trades_by_won": "(run_id, won, net_pnl, id)",
        "trades_by_entry_time": "(entry_time)",
        "trades_by_exit_time": "(exit_time, id)",
        "trades_by_symbol": "(symbol, exit_time, id)",
        "trades_by_net_pnl": "(net_pnl)",
        "trades_stats": "(run_id, exit_time, id) INCLUDE (symbol, won, net_pnl, r_multiple, fees, funding)",
    }


async def test_queries_are_answered_from_an_index_in_order(storage):
    await storage.slt_write_records([make_record(kind, number) for number in range(10) for kind in (Trade, Decision)])
    expected = {
        Query(Trade, run_id="demo-001", newest_first=True, limit=100): "trades_stats",
        Query(Trade, newest_first=True, limit=100): "trades_by_exit_time",
        Query(Trade, symbol="BTCUSDT", since=60_000): "trades_by_symbol",
        Query(Decision, symbol="BTCUSDT", newest_first=True, limit=10): "decisions_by_symbol",
        Query(Decision, run_id="demo-001", since=60_000, until=120_000): "decisions_by_run",
    }
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    # On few rows the planner would rather sort; the question is whether an index can give the order at all.
    await connection.execute("SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off")
    for query, index in expected.items():
        text, parameters = TABLES[query.kind].select(query)
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}", *parameters))
        assert f"using {index}" in plan
        assert "Sort" not in plan
    await connection.close()


async def test_read_of_thousands_does_not_hold_up_the_loop(storage):
    await storage.slt_write_records(trades(*range(5000)))
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    task = asyncio.create_task(beat())
    found = await storage.slt_read_records(Query(Trade))
    task.cancel()

    assert found == trades(*range(5000))
    assert beats >= 3


async def test_write_after_all_connections_were_cut_works_again(storage, sql):
    await storage.slt_write_records(trades(1))
    await sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    failures = 0
    for _ in range(5):
        try:
            await storage.slt_write_records(trades(2))
            break
        except StorageError:
            failures += 1

    assert failures <= 1
    assert await storage.slt_read_records(Query(Trade)) == trades(1, 2)


async def test_write_cancelled_in_the_middle_stores_nothing_and_leaves_the_pool_usable(make_storage, sql):
    storage = make_storage(pool_max_connections=1)
    await storage.slt_open_storage()
    blocker = await asyncpg.connect(os.environ["DATABASE_URL"])
    await blocker.execute("BEGIN; LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await storage.slt_write_records(trades(1))
    await blocker.execute("ROLLBACK")
    await blocker.close()

    await storage.slt_write_records(trades(2))

    assert await storage.slt_read_records(Query(Trade)) == trades(2)
    await storage.slt_close_storage()


async def test_statement_that_takes_too_long_is_given_up(make_storage):
    storage = make_storage(statement_timeout_seconds=0.2)
    await storage.slt_open_storage()
    blocker = await asyncpg.connect(os.environ["DATABASE_URL"])
    await blocker.execute("BEGIN; LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")

    with pytest.raises(StorageError, match="took too long"):
        await storage.slt_write_records(trades(1))

    await blocker.close()
    await storage.slt_close_storage()


async def test_writer_brings_records_through_a_cut_connection(storage, sql):
    writer = Writer(storage, None)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        for number in range(30):
            writer.put(trades(number))
            await asyncio.sleep(0.005)
            if number == 15:
                await sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        await writer.flush()
        writer.stop()

    assert await storage.slt_read_records(Query(Trade)) == trades(*range(30))


async def test_open_wrong_password_is_named_and_not_shown(server, database, monkeypatch):
    from .conftest import execute

    await execute(server, "postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'")
    rules = server.folder / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all locked scram-sha-256\n{before}")
    await execute(server, "postgres", "SELECT pg_reload_conf()")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://locked:wr0ng-Secret@/{database}?host={server.folder}")
    try:
        with pytest.raises(ConfigError) as caught:
            await _open_until_rules_hold()
    finally:
        rules.write_text(before)
        await execute(server, "postgres", "SELECT pg_reload_conf()")
        await execute(server, "postgres", "DROP ROLE locked")

    assert "refused the user or the password; correct DATABASE_URL" in str(caught.value)
    assert "wr0ng-Secret" not in _whole_chain(caught.value)


async def _open_until_rules_hold():
    """The server reads its changed rules a moment after the reload was asked for."""
    for _ in range(50):
        storage = PostgresStorage(PostgresStorageConfig())
        try:
            await storage.slt_open_storage()
        except StorageError as error:
            if "permission denied" not in str(error):
                raise
        await storage.slt_close_storage()
        await asyncio.sleep(0.1)


async def test_open_unknown_database_says_so(server, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@/nowhere?host={server.folder}")

    with pytest.raises(ConfigError, match="has no such database"):
        await PostgresStorage(PostgresStorageConfig()).slt_open_storage()


async def test_open_refused_connection_says_what_to_do(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://slt:hidden-word@127.0.0.1:{unused_tcp_port}/slt")

    with pytest.raises(StorageError) as caught:
        await PostgresStorage(PostgresStorageConfig()).slt_open_storage()

    expected = f"PostgreSQL at 127.0.0.1:{unused_tcp_port}/slt refused the connection; start the server or correct"
    assert str(caught.value) == f"{expected} DATABASE_URL"
    assert "hidden-word" not in _whole_chain(caught.value)


async def test_open_unknown_host_says_so(monkeypatch):
    monkeypatch.setenv("OTHER_URL", "postgresql://slt:hidden-word@no-such-host.invalid/slt")
    storage = PostgresStorage(PostgresStorageConfig(url_env="OTHER_URL", connect_timeout_seconds=20.0))

    with pytest.raises(StorageError) as caught:
        await storage.slt_open_storage()

    assert "the host is unknown; correct OTHER_URL" in str(caught.value)
    assert "hidden-word" not in _whole_chain(caught.value)


async def test_open_malformed_url_is_a_config_error(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres//slt:hidden-word@db")

    with pytest.raises(ConfigError, match="DATABASE_URL: found no scheme"):
        await PostgresStorage(PostgresStorageConfig()).slt_open_storage()


async def test_open_tls_required_but_absent_says_so(monkeypatch):
    async def refuse_tls(reader, writer):
        await reader.read(8)
        writer.write(b"N")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse_tls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://slt:hidden-word@127.0.0.1:{port}/slt?sslmode=require")
    async with server:
        with pytest.raises(ConfigError, match="offers no TLS"):
            await PostgresStorage(PostgresStorageConfig()).slt_open_storage()


async def test_open_server_that_says_nothing_times_out(monkeypatch):
    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://slt@127.0.0.1:{port}/slt?sslmode=disable")
    storage = PostgresStorage(PostgresStorageConfig(connect_timeout_seconds=0.3))
    async with server:
        with pytest.raises(StorageError, match="gave no answer in time"):
            await storage.slt_open_storage()
        await asyncio.sleep(0.05)


def _whole_chain(error):
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


@pytest.fixture
def unused_tcp_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    "options",
    [
        {"url_env": ""},
        {"embedded_folder": ""},
        {"pool_max_connections": 0},
        {"connect_timeout_seconds": 0.0},
        {"statement_timeout_seconds": -1.0},
        {"start_timeout_seconds": 0.0},
        {"keep_decisions_days": -1},
        {"keep_bars_days": -1},
    ],
)
def test_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PostgresStorageConfig(**options)


def test_config_every_field_is_documented():
    import attrs

    for field in attrs.fields(PostgresStorageConfig):
        assert f"        {field.name}: " in PostgresStorageConfig.__doc__
