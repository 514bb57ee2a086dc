"""A writer with a journal and a real server, and between them a wire that is cut, stalled, slowed and redirected."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import asyncpg
import pytest
from attrs import evolve

from slt.errors import ConfigError, RecordRefusedError, StorageError
from slt.run.instance_lock import InstanceLock
from slt.storage.contract import Query
from slt.storage.journal import Journal
from slt.storage.link import StorageLink
from slt.storage.refused import RefusedRecords
from slt.storage.writer import Writer, WriterOptions
from slt.testing.storage import make_record
from slt.types import Decision, Trade
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.schema import known_migrations
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

from .conftest import execute
from .proxy import Proxy

QUICK = {"connect_timeout_seconds": 0.5, "statement_timeout_seconds": 2.0}


class Run:
    """What a run does to its storage: puts trades, each in two versions, one after the other."""

    def __init__(self, writer):
        self.writer = writer
        self.count = 0

    def trade(self, some=1):
        for _ in range(some):
            record = make_record(Trade, self.count)
            self.writer.put([record, make_record(Decision, self.count)])
            self.writer.put([evolve(record, net_pnl=float(self.count))])
            self.count += 1

    @property
    def expected(self):
        return [make_record(Trade, number, net_pnl=float(number)) for number in range(self.count)]


@pytest.fixture
async def wire(server, database, monkeypatch):
    proxy = await Proxy(server.folder / ".s.PGSQL.5432").start()
    monkeypatch.setenv("DATABASE_URL", proxy.url(database))
    yield proxy
    proxy.flow()
    await proxy.stop()


@contextlib.asynccontextmanager
async def trading(folder, *, options=None, **config):
    """A run over a storage that need not be there."""
    storage = PostgresStorage(PostgresStorageConfig(**(QUICK | config)))
    journal = Journal(folder / "journal", sync="always")
    quick = WriterOptions(retry_first_seconds=0.02, retry_most_seconds=0.2, write_timeout_seconds=3.0)
    refused = RefusedRecords(folder / "refused.jsonl")
    writer = Writer(StorageLink(storage), journal, options or quick, refused=refused)
    await writer.open()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        yield Run(writer)
        writer.stop()
    await storage.slt_close_storage()


async def fails(writer, least=2):
    """Wait until some tries have failed."""
    goal = writer.failures + least
    while writer.failures < goal:  # noqa: ASYNC110 - a count, and no event
        await asyncio.sleep(0.01)
    assert writer.is_away


async def stored(server, database, kind=Trade):
    """What is in the database, read on another way."""
    storage = PostgresStorage(PostgresStorageConfig(url_env="READING_URL"))
    os.environ["READING_URL"] = f"postgresql://postgres@/{database}?host={server.folder}"
    try:
        await storage.slt_open_storage()
        return await storage.slt_read_records(Query(kind))
    finally:
        await storage.slt_close_storage()
        del os.environ["READING_URL"]


@pytest.fixture
def check(server, database):
    async def check(run):
        assert await stored(server, database) == run.expected
        assert len(await stored(server, database, Decision)) == run.count
        assert run.writer.refused == 0

    return check


async def test_away_at_the_start_everything_is_stored_once_it_is_there(wire, tmp_path, check):
    await wire.stop()
    async with trading(tmp_path) as run:
        run.trade(20)
        await fails(run.writer)
        assert "refused the connection" in run.writer.last_error
        await run.writer.durable(run.writer.put(()))
        await wire.start()
        run.trade(20)
        await run.writer.flush()
    await check(run)


async def test_cut_again_and_again_nothing_is_lost_or_doubled(wire, tmp_path, check):
    async with trading(tmp_path) as run:
        for moment in range(15):
            before = wire.accepted
            run.trade(7)
            async with asyncio.timeout(20):
                while wire.accepted == before:  # noqa: ASYNC110 - the proxy counts, and tells nobody
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.002 * moment)
            wire.cut()
        await run.writer.flush()
    assert run.writer.failures > 0
    await check(run)


async def test_away_for_long_waits_in_the_journal_with_a_bounded_memory(wire, tmp_path, check):
    options = WriterOptions(retry_first_seconds=0.01, retry_most_seconds=0.05, queue_records=50, batch_records=40)
    async with trading(tmp_path, options=options) as run:
        run.trade(3)
        await run.writer.flush()
        await wire.stop()
        for _ in range(20):
            run.trade(25)
            await run.writer.durable(run.writer.put(()))
        await fails(run.writer)
        assert len(run.writer._queue) <= 50
        await wire.start()
        await run.writer.flush()
    await check(run)


async def test_killed_in_an_outage_the_next_life_stores_the_journal_first(wire, tmp_path, server, database):
    await wire.stop()
    async with trading(tmp_path) as first:
        first.trade(10)
        await first.writer.durable(first.writer.put(()))
    await wire.start()
    async with trading(tmp_path) as second:
        second.count = 10
        second.trade(5)
        await second.writer.flush()
    assert await stored(server, database) == second.expected


async def test_stalled_wire_is_left_and_another_connection_made(wire, tmp_path, check):
    async with trading(tmp_path, statement_timeout_seconds=0.5) as run:
        run.trade(3)
        await run.writer.flush()
        before = wire.accepted
        wire.stall()
        run.trade(3)
        await fails(run.writer)
        wire.cut()
        wire.flow()
        run.trade(3)
        await run.writer.flush()
    assert wire.accepted > before
    await check(run)


async def test_write_given_up_on_a_stalled_wire_ends_at_once(wire, tmp_path):
    storage = PostgresStorage(PostgresStorageConfig(statement_timeout_seconds=60.0))
    await storage.slt_open_storage()
    wire.stall()
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await storage.slt_write_records([make_record(Trade, 1)])
    began = loop.time()
    wire.flow()
    await storage.slt_write_records([make_record(Trade, 2)])
    assert loop.time() - began < 30
    assert await storage.slt_read_records(Query(Trade)) == [make_record(Trade, 2)]
    await storage.slt_close_storage()


async def test_slow_wire_gets_everything_through_in_the_end(wire, tmp_path, check):
    options = WriterOptions(retry_first_seconds=0.01, retry_most_seconds=0.05, write_timeout_seconds=0.2)
    async with trading(tmp_path, options=options, connect_timeout_seconds=10.0) as run:
        run.trade(5)
        await run.writer.flush()
        wire.delay_seconds = 0.15
        run.trade(200)
        await fails(run.writer, least=1)
        await run.writer.flush()
    await check(run)


async def test_slow_statement_is_given_up_by_the_server_and_repeated(wire, tmp_path, sql, check):
    async with trading(tmp_path, statement_timeout_seconds=0.3) as run:
        run.trade(1)
        await run.writer.flush()
        await sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$"
        )
        await sql("CREATE TRIGGER slow BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION slow()")
        run.trade(4)
        await fails(run.writer)
        assert "took too long and cancelled the statement" in run.writer.last_error
        await sql("DROP TRIGGER slow ON trades")
        await run.writer.flush()
    await check(run)


async def test_read_only_database_waits_and_is_written_to_when_it_may_be(wire, tmp_path, database, server, check):
    async with trading(tmp_path) as run:
        run.trade(2)
        await run.writer.flush()
        await execute(server, "postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        wire.cut()
        run.trade(2)
        await fails(run.writer)
        assert "read-only" in run.writer.last_error
        await execute(server, "postgres", f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await run.writer.flush()
    await check(run)


async def test_connection_limit_reached_waits_for_a_place(wire, tmp_path, database, server, check):
    await execute(server, "postgres", "CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    await execute(server, "postgres", f"ALTER DATABASE {database} OWNER TO few")
    await execute(server, database, "GRANT ALL ON SCHEMA public TO few")
    os.environ["DATABASE_URL"] = wire.url(database, user="few")
    try:
        holder = await asyncpg.connect(host=str(server.folder), user="few", database=database)
        async with trading(tmp_path) as run:
            run.trade(3)
            await fails(run.writer)
            assert "has no connection left" in run.writer.last_error
            await holder.close()
            await run.writer.flush()
        await check(run)
    finally:
        await execute(server, "postgres", f"ALTER DATABASE {database} OWNER TO postgres")
        await execute(server, database, "DROP OWNED BY few CASCADE")
        await execute(server, "postgres", "DROP ROLE few")


async def test_fail_over_to_another_server_goes_on_there(wire, tmp_path, server, database):
    other = f"{database}_standby"
    await execute(server, "postgres", f"CREATE DATABASE {other}")
    second = EmbeddedServer(server.folder)
    try:
        async with trading(tmp_path) as run:
            run.trade(5)
            await run.writer.flush()
            # The standby that took over is empty: the schema is made there before anything is written.
            link = Redirect(second.folder / ".s.PGSQL.5432", database, other)
            wire.target = await link.start(tmp_path)
            wire.cut()
            run.trade(5)
            await run.writer.flush()
            await link.stop()
        assert await stored(server, database) == run.expected[:5]
        assert await stored(server, other) == run.expected[5:]
    finally:
        await execute(server, "postgres", f"DROP DATABASE {other} WITH (FORCE)")


class Redirect:
    """Leads connections that ask for one database to another one of the same server: a second server, in effect."""

    def __init__(self, target, database, other):
        self.target, self.names = str(target), (database.encode() + b"\0", other.encode() + b"\0")

    async def start(self, folder):
        path = folder / "standby"
        self.server = await asyncio.start_unix_server(self.serve, path)
        return str(path)

    async def stop(self):
        self.server.close()

    async def serve(self, reader, writer):
        there_reader, there = await asyncio.open_unix_connection(self.target)
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(self.pump(reader, there, *self.names)),
                    asyncio.ensure_future(self.pump(there_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()
            there.close()

    async def pump(self, reader, writer, name=b"", other=b""):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if name and b"database\0" + name in data:
                    data = data.replace(b"database\0" + name, b"database\0" + other)
                    data = (int.from_bytes(data[:4], "big") + len(other) - len(name)).to_bytes(4, "big") + data[4:]
                writer.write(data)
                await writer.drain()


async def test_newer_schema_is_refused_and_everything_waits_in_the_journal(wire, tmp_path, sql, check):
    async with trading(tmp_path) as run:
        run.trade(2)
        await run.writer.flush()
        await sql("INSERT INTO schema_migrations (version, name) VALUES (999, 'from the future')")
        wire.cut()
        run.trade(2)
        await fails(run.writer)
        assert "the database has schema version 999, this slt knows versions up to" in run.writer.last_error
        await sql("DELETE FROM schema_migrations WHERE version = 999")
        await run.writer.flush()
    await check(run)


async def test_older_schema_is_migrated_when_the_connection_is_made_again(wire, tmp_path, sql, check):
    async with trading(tmp_path) as run:
        run.trade(2)
        await run.writer.flush()
        await sql("DROP INDEX decisions_by_time, stored_bars_by_close_time")
        await sql("DELETE FROM schema_migrations WHERE version >= 2")
        wire.cut()
        run.trade(2)
        await run.writer.flush()
    assert await sql("SELECT max(version), count(*) FROM schema_migrations") == [(len(known_migrations()),) * 2]
    await check(run)


async def test_server_killed_and_started_again_loses_nothing(data, tmp_path, monkeypatch):
    server = EmbeddedServer(data)
    server.ensure_running()
    proxy = await Proxy(data / ".s.PGSQL.5432").start()
    monkeypatch.setenv("DATABASE_URL", proxy.url())
    async with trading(tmp_path) as run:
        for _ in range(2):
            run.trade(30)
            await asyncio.sleep(0.05)
            os.kill(server.pid(), signal.SIGKILL)
            run.trade(30)
            await fails(run.writer)
            await asyncio.to_thread(server.ensure_running)
        await run.writer.flush()
    assert await stored(server, "postgres") == run.expected
    await proxy.stop()
    server.stop()


async def test_record_that_postgres_refuses_for_ever_is_set_aside(wire, tmp_path, server, database):
    async with trading(tmp_path) as run:
        run.trade(10)
        run.writer.put([make_record(Trade, 999, leverage=2**70)])
        run.trade(10)
        await run.writer.flush()
        assert (run.writer.refused, run.writer.failures) == (1, 0)
    assert await stored(server, database) == run.expected
    (line,) = (tmp_path / "refused.jsonl").read_text().splitlines()
    assert "Trade-000999" in line
    assert "value out of int64 range" in line


async def test_refusal_by_the_server_itself_leaves_the_connection_usable(wire, sql):
    storage = PostgresStorage(PostgresStorageConfig(**QUICK))
    await storage.slt_open_storage()
    await sql("ALTER TABLE trades ADD CHECK (leverage < 100)")
    accepted = wire.accepted
    with pytest.raises(RecordRefusedError, match="violates check constraint"):
        await storage.slt_write_records([make_record(Trade, 1), make_record(Trade, 2, leverage=100)])
    await storage.slt_write_records([make_record(Trade, 1)])
    assert await storage.slt_read_records(Query(Trade)) == [make_record(Trade, 1)]
    assert wire.accepted == accepted
    await storage.slt_close_storage()


async def test_user_that_is_shut_out_under_a_run_is_an_outage_and_everything_is_stored_once(
    server, wire, tmp_path, database, monkeypatch, check
):
    await execute(server, "postgres", "CREATE ROLE trader SUPERUSER LOGIN")
    try:
        monkeypatch.setenv("DATABASE_URL", wire.url(database, user="trader"))
        async with trading(tmp_path) as run:
            run.trade(10)
            await run.writer.flush()
            lock = InstanceLock(run.writer._storage, "account", ask_seconds=0.02)
            assert await lock.confirm()
            await execute(server, "postgres", "ALTER ROLE trader NOLOGIN")
            wire.cut()
            run.trade(10)
            await fails(run.writer)
            assert "refused the user or the password" in run.writer.last_error
            assert not await lock.confirm()
            assert "refused the user or the password" in lock.reason
            with pytest.raises(StorageError):
                await run.writer._storage.slt_read_records(query=Query(Trade))
            await execute(server, "postgres", "ALTER ROLE trader LOGIN")
            await run.writer.flush()
            assert await lock.confirm()
        await check(run)
    finally:
        await execute(server, database, "REASSIGN OWNED BY trader TO postgres")
        await execute(server, "postgres", "DROP ROLE trader")


async def test_password_that_is_wrong_is_no_outage(server, wire, database, monkeypatch):
    await execute(server, "postgres", "CREATE ROLE nobody NOLOGIN")
    try:
        monkeypatch.setenv("DATABASE_URL", wire.url(database, user="nobody"))
        with pytest.raises(ConfigError, match="refused the user or the password; correct DATABASE_URL"):
            await StorageLink(PostgresStorage(PostgresStorageConfig(**QUICK))).open()
    finally:
        await execute(server, "postgres", "DROP ROLE nobody")


async def test_pool_is_bounded_and_says_so_when_everything_is_busy(wire, sql):
    storage = PostgresStorage(PostgresStorageConfig(pool_max_connections=2, connect_timeout_seconds=0.3))
    await storage.slt_open_storage()
    blocker = await asyncpg.connect(os.environ["DATABASE_URL"])
    await blocker.execute("BEGIN; LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
    before = wire.accepted
    writes = [asyncio.ensure_future(storage.slt_write_records([make_record(Trade, n)])) for n in range(3)]
    done, _ = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    assert wire.accepted - before <= 1
    with pytest.raises(StorageError, match=r"every connection of slt has been busy for 0\.3 s"):
        await done.pop()
    await blocker.close()
    await asyncio.wait(writes)
    assert len(await storage.slt_read_records(Query(Trade))) == 2
    await storage.slt_close_storage()
