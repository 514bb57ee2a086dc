"""One embedded server for all tests of the package, and a fresh database in it for each test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path

import asyncpg
import pytest

from slt_postgres.embedded import EmbeddedServer
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def template():
    """A data folder that is never started. Without fsync: power cuts are not tested, and everything is faster."""
    # Not below pytest's own folder: each test session closes that to other users, and the server may run as one.
    folder = Path(tempfile.mkdtemp(prefix="slt-pg-"))
    template = EmbeddedServer(folder / "data")
    template.ensure_running()
    template.stop()
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("\nfsync = off\n")
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(template):
    folder = Path(tempfile.mkdtemp(prefix="slt-pg-"))
    server = EmbeddedServer(_copied(template, folder / "data"))
    server.ensure_running()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def folder():
    """A short empty folder that other users can walk through."""
    folder = Path(tempfile.mkdtemp(prefix="slt-pg-"))
    yield folder
    EmbeddedServer(folder / "data").stop()
    shutil.rmtree(folder)


@pytest.fixture
def data(template, folder):
    """A data folder of the test's own, not running."""
    return _copied(template, folder / "data")


@pytest.fixture
def copy_data(template):
    return lambda place: _copied(template, place)


def _copied(template, place):
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(template), str(place)], check=True)
    return place


@pytest.fixture
def database(server, monkeypatch):
    """The name of a fresh database; DATABASE_URL leads to it."""
    name = f"test_{next(_NUMBERS)}"
    asyncio.run(execute(server, "postgres", f"CREATE DATABASE {name}"))
    monkeypatch.setenv("DATABASE_URL", url(server, name))
    yield name
    asyncio.run(execute(server, "postgres", f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def make_storage(database):
    return lambda **options: PostgresStorage(PostgresStorageConfig(**options))


@pytest.fixture
async def storage(make_storage):
    storage = make_storage()
    await storage.slt_open_storage()
    yield storage
    await storage.slt_close_storage()


@pytest.fixture
def sql(server, database):
    """Run one statement on the test's database, beside the storage."""

    async def run(statement, *parameters):
        return await execute(server, database, statement, *parameters)

    return run


def url(server, database, user="postgres"):
    return f"postgresql://{user}@/{database}?host={server.folder}"


async def execute(server, database, statement, *parameters):
    connection = await asyncpg.connect(host=str(server.folder), user="postgres", database=database)
    try:
        return await connection.fetch(statement, *parameters)
    finally:
        await connection.close()
