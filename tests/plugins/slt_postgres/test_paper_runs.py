"""Whole paper runs whose PostgreSQL is away at the start, in the middle or at the end; two that share an account."""

from __future__ import annotations

import asyncio
import os

import pytest

from slt.config import read_config
from slt.errors import ConfigError, StoppedError, StorageError
from slt.run import execution
from slt.run.execution import Observer, execute
from slt.storage.contract import Query
from slt.types import Decision, EquityPoint, OrderIntent, Run, Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

from .conftest import url
from .proxy import Proxy

CONFIG = """
[run]
name = "{name}"
mode = "paper"
folder = "{folder}"
{run}
[plugins]
feed = "synthetic"
storage = "{storage}"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 1
[storages.postgres]
url_env = "WIRE_URL"
connect_timeout_seconds = 1.0
"""
KINDS = (Trade, OrderIntent, Decision, EquityPoint)


class Paper:
    """Runs configurations, and does something at certain bars."""

    def __init__(self, folder):
        self.folder = folder
        self.bars = 0
        self.assembly = None

    def settings(self, name="t", run="", storage="postgres", folder="runs"):
        path = self.folder / f"{name}.toml"
        text = CONFIG.format(name=name, folder=self.folder / folder, run=run, storage=storage)
        path.write_text(text if storage == "postgres" else text.partition("[storages")[0])
        return read_config(path, {})

    async def run(self, settings, *, at=None, stop_after=None, started=None):
        self.bars = 0
        tasks = []

        def keep(assembly):
            self.assembly = assembly
            if started is not None:
                started()

        def count(progress):
            self.bars += 1
            if at is not None and self.bars in at:
                tasks.append(asyncio.ensure_future(at[self.bars]()))

        stopping = lambda: stop_after is not None and self.bars >= stop_after  # noqa: E731 - shorter here
        observer = Observer(started=keep, progressed=count, stopping=stopping)
        try:
            return await execute(settings, observer)
        finally:
            await asyncio.gather(*tasks)


@pytest.fixture
def paper(tmp_path):
    return Paper(tmp_path)


@pytest.fixture
async def wire(server, database, monkeypatch):
    proxy = await Proxy(server.folder / ".s.PGSQL.5432").start()
    monkeypatch.setenv("WIRE_URL", proxy.url(database))
    yield proxy
    proxy.flow()
    await proxy.stop()


@pytest.fixture
def rows(server, database):
    async def rows(run_id):
        """Every row of a run by kind, without the run's name, read on another way."""
        os.environ["READING_URL"] = url(server, database)
        storage = PostgresStorage(PostgresStorageConfig(url_env="READING_URL"))
        await storage.slt_open_storage()
        found = {}
        for kind in KINDS:
            records = await storage.slt_read_records(Query(kind, run_id=run_id))
            found[kind.__name__] = sorted(repr(record).replace(run_id, "RUN") for record in records)
        found["Run"] = [run.status for run in await storage.slt_read_records(Query(Run, id=run_id))]
        await storage.slt_close_storage()
        return found

    return rows


async def untouched(paper, rows):
    outcome = await paper.run(paper.settings("whole"))
    assert outcome.problems == ()
    found = await rows("whole-001")
    assert len(found["Trade"]) == outcome.summary.trades > 5
    return found


async def test_run_whose_database_comes_and_goes_leaves_what_an_untouched_run_leaves(wire, paper, rows):
    expected = await untouched(paper, rows)
    await wire.stop()
    outcome = await paper.run(paper.settings(), at={400: wire.start, 700: wire.stop, 1000: wire.start})
    assert outcome.problems == ()
    run_id = paper.assembly.folder.run_id
    assert run_id not in {"t-001", "t-002"}, "with the database unknown, the number comes from the clock"
    assert await rows(run_id) == expected
    assert not (paper.assembly.folder.path / "refused.jsonl").exists()


async def test_run_that_ends_without_its_database_is_resumed_and_ends_with_it(wire, paper, rows, monkeypatch):
    monkeypatch.setattr(execution, "_LAST_FLUSH_S", 1.0)
    expected = await untouched(paper, rows)
    settings = paper.settings()
    with pytest.raises(StorageError, match=r"run t-001 is at its end, but \d+ records wait in its journal: .*refused"):
        await paper.run(settings, at={900: wire.stop})
    await wire.start()
    monkeypatch.setattr(execution, "_LAST_FLUSH_S", 60.0)
    outcome = await paper.run(settings)
    assert outcome.problems == ()
    assert await rows("t-001") == expected


async def test_run_left_for_another_has_its_journal_brought_by_the_next(wire, paper, rows):
    await paper.run(paper.settings("whole"))
    settings = paper.settings()
    with pytest.raises(StoppedError):
        await paper.run(settings, at={300: wire.stop}, stop_after=900)
    await wire.start()
    other = paper.settings(run="equity_every_minutes = 30")
    await paper.run(other)
    assert paper.assembly.folder.run_id == "t-002"
    left = await rows("t-001")
    whole = await rows("whole-001")
    assert left["Run"] == ["stopped"]
    assert 0 < len(left["Decision"]) < len(whole["Decision"])
    assert set(left["Decision"]) <= set(whole["Decision"])


async def test_entries_halt_without_the_database_where_config_wants_it(wire, paper):
    settings = paper.settings(run="halt_entries_without_storage = true\nspeed = 40000.0")
    await paper.run(settings, at={200: wire.stop, 1100: wire.start})
    details = [d for d in await read(paper, Decision) if d.outcome == "halted"]
    assert details
    assert "run.halt_entries_without_storage is on" in details[0].detail
    assert all((d.time - paper.assembly.market.start) // 60_000 >= 200 for d in details)


async def read(paper, kind):
    storage = PostgresStorage(PostgresStorageConfig(url_env="WIRE_URL"))
    await storage.slt_open_storage()
    try:
        return await storage.slt_read_records(Query(kind, run_id=paper.assembly.folder.run_id))
    finally:
        await storage.slt_close_storage()


async def test_second_instance_of_an_account_waits_until_the_first_has_ended(wire, tmp_path):
    one, other = Paper(tmp_path), Paper(tmp_path)
    alone = "one_instance = true\nspeed = 20000.0"
    began, events = asyncio.Event(), []

    async def first():
        await one.run(one.settings(run=alone, folder="here"), at={50: note})
        events.append("first ended")

    async def note():
        began.set()

    async def second():
        await began.wait()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: asyncio.run(there()))
        events.append("second ended")

    async def there():
        async def noted():
            events.append("second began")

        await other.run(other.settings(run=alone, folder="there"), at={1: noted})

    await asyncio.gather(first(), second())
    assert events == ["first ended", "second began", "second ended"]


async def test_one_instance_with_a_storage_that_keeps_no_locks_is_refused(paper):
    settings = paper.settings(run="one_instance = true", storage="memory")
    with pytest.raises(ConfigError, match=r"run\.one_instance: the storage `memory` keeps no locks"):
        await paper.run(settings)


async def test_run_with_a_wrong_url_does_not_start(paper, monkeypatch):
    monkeypatch.setenv("WIRE_URL", "postgres//slt:hidden-word@db")
    with pytest.raises(ConfigError, match="WIRE_URL: found no scheme"):
        await paper.run(paper.settings())
