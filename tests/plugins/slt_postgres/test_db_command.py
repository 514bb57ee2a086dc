"""``slt db`` on a real server, and retention."""

from __future__ import annotations

import pytest

from slt.cli import main
from slt.errors import StorageError
from slt.storage.contract import Query
from slt.testing.storage import make_record
from slt.types import Decision, StoredBar, Trade
from slt_postgres.schema import Migration, known_migrations
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

CONFIG = """
[plugins]
feed = "synthetic"
storage = "{storage}"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
"""
ALL = [f"{one.version:04d} {one.name}" for one in known_migrations()]
DAY = 86_400_000


@pytest.fixture
def slt(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def slt(*arguments, storage="postgres"):
        (tmp_path / "config.toml").write_text(CONFIG.format(storage=storage))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["db", *arguments, "--config", "config.toml"])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return slt


def test_migrate_dry_run_then_migrate_then_nothing_to_do(slt, database):
    code, out, err = slt("migrate", "--dry-run")
    assert (code, out.splitlines()) == (0, [f"would be applied: {step}" for step in ALL]), err
    assert "schema version\t0 of" in slt("status")[1]
    assert slt("migrate")[1].splitlines() == [f"applied: {step}" for step in ALL]
    assert slt("migrate")[1] == "nothing to do: the schema is up to date\n"


def test_status_names_place_version_rows_and_what_is_missing(slt, database, monkeypatch):
    slt("migrate")
    code, out, _ = slt("status")
    lines = dict(line.split("\t") for line in out.splitlines()[1:])
    newest = len(ALL)
    assert code == 0
    assert database in lines["database"]
    assert lines["schema version"] == f"{newest} of {newest}"
    assert lines["trades"].startswith("0 rows, ")
    later = (*known_migrations(), Migration(newest + 1, "later", "SELECT 1"))
    monkeypatch.setattr("slt_postgres.storage.known_migrations", lambda: later)
    assert f"schema version\t{newest} of {newest + 1}; missing: {newest + 1:04d} later" in slt("status")[1]


def test_migrate_broken_step_changes_nothing_and_is_one_line(slt, database, monkeypatch):
    slt("migrate")
    broken = Migration(len(ALL) + 1, "broken", "CREATE TABLE left_behind (x int); SELECT no_such_function()")
    monkeypatch.setattr("slt_postgres.storage.known_migrations", lambda: (*known_migrations(), broken))
    for arguments in (["migrate", "--dry-run"], ["migrate"]):
        code, _, err = slt(*arguments)
        assert code == 1
        assert "function no_such_function() does not exist" in err
        assert err.count("\n") == 1
    monkeypatch.undo()


def test_newer_schema_is_refused(slt, database, monkeypatch):
    slt("migrate")
    first = known_migrations()[:1]
    monkeypatch.setattr("slt_postgres.storage.known_migrations", lambda: first)
    for command in ("migrate", "status"):
        code, _, err = slt(command)
        assert code == 1
        assert f"the database has schema version {len(ALL)}, this slt knows versions up to 1" in err


def test_storage_without_a_database_says_so(slt):
    for command in ("migrate", "status"):
        code, _, err = slt(command, storage="memory")
        assert (code, err) == (2, "slt: plugins.storage: `memory` keeps no database; choose another, e.g. postgres\n")


def test_database_that_is_away_is_one_line(slt, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://slt:hidden-word@127.0.0.1:1/slt")
    code, _, err = slt("status")
    assert code == 1
    assert "refused the connection; start the server or correct DATABASE_URL" in err
    assert "hidden-word" not in err


async def test_prune_deletes_old_decisions_and_bars_and_never_a_trade(make_storage):
    storage = make_storage(keep_decisions_days=2, keep_bars_days=5)
    await storage.slt_open_storage()
    kinds = (Decision, StoredBar, Trade)
    fields = ("time", "close_time", "exit_time")
    for kind, field in zip(kinds, fields, strict=True):
        await storage.slt_write_records([make_record(kind, day, **{field: day * DAY}) for day in range(10)])
    assert await storage.slt_prune_records(9 * DAY) == 7 + 4
    assert await storage.slt_prune_records(9 * DAY) == 0
    assert [r.time // DAY for r in await storage.slt_read_records(Query(Decision))] == [7, 8, 9]
    assert [r.close_time // DAY for r in await storage.slt_read_records(Query(StoredBar))] == [4, 5, 6, 7, 8, 9]
    assert len(await storage.slt_read_records(Query(Trade))) == 10
    await storage.slt_close_storage()


async def test_prune_deletes_a_bounded_number_at_a_time(make_storage, monkeypatch):
    monkeypatch.setattr("slt_postgres.volume._ROWS_AT_ONCE", 40)
    storage = make_storage(keep_decisions_days=1)
    await storage.slt_open_storage()
    await storage.slt_write_records([make_record(Decision, number, time=number) for number in range(100)])
    assert [await storage.slt_prune_records(3 * DAY) for _ in range(4)] == [40, 40, 20, 0]
    await storage.slt_close_storage()


async def test_prune_is_off_by_default(storage):
    await storage.slt_write_records([make_record(Decision, 1, time=0)])
    assert await storage.slt_prune_records(10_000 * DAY) == 0
    assert len(await storage.slt_read_records(Query(Decision))) == 1


async def test_prune_of_a_storage_that_is_not_open_says_so():
    with pytest.raises(StorageError, match="is not open"):
        await PostgresStorage(PostgresStorageConfig(keep_bars_days=1)).slt_prune_records(0)
