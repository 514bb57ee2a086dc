"""Journals that other runs have left: brought to the storage they were meant for, and to no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slt.run.leftovers import bring_leftovers, remember_storage, storage_mark
from slt.storage.journal import Journal
from slt.testing.storage import make_record
from slt.types import Trade
from slt_postgres.storage import PostgresStorageConfig

HERE = "postgresql://me:one@db.internal:5432/trades"


class Storage:
    def __init__(self):
        self.records = []

    async def slt_write_records(self, records):
        self.records += records


def loaded(name="postgres", config=None):
    return SimpleNamespace(name=name, config=config or PostgresStorageConfig())


@pytest.fixture
def left(tmp_path):
    """The folder of a run that left a record."""
    folder = tmp_path / "other-001"
    journal = Journal(folder / "journal")
    journal.open()
    journal.append([make_record(Trade, 1)])
    journal.close()
    return folder


def waiting(folder):
    journal = Journal(folder / "journal")
    journal.open()
    return list(journal.replay())


@pytest.mark.parametrize("is_marked", [True, False])
async def test_journal_meant_for_this_storage_is_brought_to_it(left, tmp_path, monkeypatch, is_marked):
    monkeypatch.setenv("DATABASE_URL", HERE)
    if is_marked:  # else another version left it
        remember_storage(left, loaded())
    storage = Storage()
    await bring_leftovers(tmp_path, tmp_path / "own-001", storage, storage_mark(loaded()))
    assert storage.records == [make_record(Trade, 1)]
    assert waiting(left) == []


async def test_journal_meant_for_another_storage_waits_for_its_own_run(left, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", HERE)
    remember_storage(left, loaded())
    monkeypatch.setenv("DATABASE_URL", HERE.replace("/trades", "/paper"))
    storage = Storage()
    await bring_leftovers(tmp_path, tmp_path / "own-001", storage, storage_mark(loaded()))
    assert storage.records == []
    assert waiting(left) == [make_record(Trade, 1)]


def test_mark_is_of_the_place_and_holds_no_secret(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", HERE)
    mark = storage_mark(loaded())
    assert len(mark) == 32
    monkeypatch.setenv("DATABASE_URL", HERE.replace("me:one", "you:two"))
    assert storage_mark(loaded()) == mark, "another password is no other place"
    assert storage_mark(loaded(config=PostgresStorageConfig(pool_max_connections=9))) == mark
    others = [HERE.replace("db.", "other."), HERE.replace("5432", "5433"), HERE.replace("trades", "paper"), ""]
    marks = {mark, storage_mark(loaded("memory"))}
    for url in others:
        monkeypatch.setenv("DATABASE_URL", url)
        marks.add(storage_mark(loaded()))
    marks.add(storage_mark(loaded(config=PostgresStorageConfig(embedded_folder="elsewhere"))))
    assert len(marks) == len(others) + 3
    assert storage_mark(loaded(config=SimpleNamespace())) == storage_mark(loaded(config=SimpleNamespace()))
