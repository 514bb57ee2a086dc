"""The disk of a real server is full: a small file system of its own, filled to the last byte and freed again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import asyncpg
import pytest

from slt.config import read_config
from slt.run import supervision
from slt.storage.contract import Query
from slt.types import Decision, Trade
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

from .test_adversity import fails, trading
from .test_paper_runs import KINDS, Paper

SIZE_MIB = 128


@pytest.fixture
def disk(monkeypatch):
    """A file system of 128 MiB."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("WIRE_URL", raising=False)
    # Not below pytest's own folder: the server may run as another user, who cannot walk through that.
    folder = Path(tempfile.mkdtemp(prefix="slt-pg-"))
    folder.chmod(0o755)
    options = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=755", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("a file system of its own cannot be mounted here")
    yield folder
    EmbeddedServer(folder / "data").stop()
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
def full(disk):
    """Take all the space there is; called with False, give it back."""
    ballast = disk / "ballast"

    def full(is_full):
        ballast.unlink(missing_ok=True)
        if not is_full:
            return
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        assert shutil.disk_usage(disk).free == 0

    return full


async def stored(folder, *kinds):
    """What a server keeps, by kind."""
    storage = PostgresStorage(PostgresStorageConfig(url_env="NO_URL", embedded_folder=str(folder)))
    await storage.slt_open_storage()
    try:
        return {kind: await storage.slt_read_records(Query(kind)) for kind in kinds}
    finally:
        await storage.slt_close_storage()


async def assert_stored_once(folder, run):
    """Every record of a run is there, none twice, none refused."""
    found = await stored(folder, Trade, Decision)
    assert found[Trade] == run.expected
    assert len(found[Decision]) == run.count
    assert run.writer.refused == 0


async def until(condition):
    async with asyncio.timeout(90):
        while not condition():  # noqa: ASYNC110 - figures that nobody announces
            await asyncio.sleep(0.01)


async def test_full_disk_is_waited_out_in_the_journal_and_everything_is_stored_once(disk, full, copy_data, tmp_path):
    data = copy_data(disk / "data")
    async with trading(tmp_path, embedded_folder=str(data), connect_timeout_seconds=10.0) as run:
        run.trade(20)
        await run.writer.flush()
        full(is_full=True)
        run.trade(1000)
        await until(lambda: "has no space left on its disk" in run.writer.last_error)
        run.trade(100)
        await run.writer.durable(run.writer.put(()))
        await fails(run.writer)
        assert run.writer.pending > 0
        full(is_full=False)
        run.trade(20)
        await run.writer.flush()
    await assert_stored_once(data, run)


async def test_server_that_cannot_write_its_log_ahead_is_started_again_and_everything_is_stored_once(
    disk, full, copy_data, tmp_path
):
    data = copy_data(disk / "data")
    async with trading(tmp_path, embedded_folder=str(data), connect_timeout_seconds=10.0) as run:
        run.trade(20)
        await run.writer.flush()
        full(is_full=True)
        await panic(data)
        run.trade(50)
        await fails(run.writer)
        assert run.writer.pending > 0
        full(is_full=False)
        run.trade(20)
        await run.writer.flush()
    await assert_stored_once(data, run)
    log = (data / "server.log").read_text(errors="replace")
    assert "was not properly shut down; automatic recovery in progress" in log


async def panic(data):
    """Have a server on a full disk begin another segment of its write-ahead log: it panics and cuts everybody."""
    asker, witness = [await asyncpg.connect(host=str(data), user="postgres", database="postgres") for _ in range(2)]
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await begin_segments(asker)
    with pytest.raises((asyncpg.CrashShutdownError, asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)):
        await until_cut(witness)
    for connection in (asker, witness):
        connection.terminate()


async def begin_segments(connection):
    for _ in range(100):
        await connection.execute("SELECT pg_switch_wal()")
        await connection.execute("CREATE TABLE IF NOT EXISTS ballast (number int)")
        await connection.execute("DROP TABLE ballast")


async def until_cut(connection):
    for _ in range(1000):
        await connection.execute("SELECT 1")
        await asyncio.sleep(0.02)


async def test_server_killed_on_a_full_disk_serves_again_and_loses_nothing(disk, full, copy_data, tmp_path):
    data = copy_data(disk / "data")
    async with trading(tmp_path, embedded_folder=str(data), connect_timeout_seconds=10.0) as run:
        run.trade(20)
        await run.writer.flush()
        full(is_full=True)
        os.kill(EmbeddedServer(data).pid(), signal.SIGKILL)
        run.trade(50)
        await fails(run.writer)
        full(is_full=False)
        run.trade(20)
        await run.writer.flush()
    found = await stored(data, Trade)
    assert found[Trade] == run.expected


async def test_paper_run_goes_on_over_a_full_disk_in_yellow_and_leaves_what_an_untouched_run_leaves(
    disk, full, copy_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervision, "_HEALTH_SECONDS", 0.05)
    data, paper, seen = copy_data(disk / "data"), Paper(tmp_path), {}
    table = f'[storages.postgres]\nembedded_folder = "{data}"\n'

    def settings(name, run=""):
        paper.settings(name, run)
        path = tmp_path / f"{name}.toml"
        path.write_text(path.read_text().replace("[storages.postgres]\n", table))
        return read_config(path, {})

    async def fill():
        full(is_full=True)
        writer, bars = paper.assembly.writer, paper.bars
        await until(lambda: "has no space left" in writer.last_error and writer.is_away)
        await until(lambda: paper.bars > bars + 50)
        health = paper.assembly.folder.path / "health.json"
        await until(lambda: "has no space left" in health.read_text())
        seen["health"] = json.loads(health.read_text())
        seen["bars"] = paper.bars
        full(is_full=False)

    assert (await paper.run(settings("whole"))).problems == ()
    outcome = await paper.run(settings("t", "speed = 3000.0"), at={200: fill})
    assert outcome.problems == ()
    assert seen["bars"] < paper.bars, "the disk was full in the middle of the run"
    database = next(part for part in seen["health"]["parts"] if part["name"] == "database")
    assert (seen["health"]["status"], database["score"]) == ("yellow", 60.0)
    assert database["detail"].startswith("away, ")
    found = await stored(data, *KINDS)
    for kind in KINDS:
        of = {run: [r for r in found[kind] if r.run_id == run] for run in ("whole-001", "t-001")}
        texts = {run: sorted(repr(r).replace(run, "RUN") for r in rows) for run, rows in of.items()}
        assert texts["t-001"] == texts["whole-001"]
        assert texts["t-001"]
