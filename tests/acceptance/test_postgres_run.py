"""Real runs with a real PostgreSQL, killed at random moments: what is left equals a run that nobody touched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sysconfig
import tempfile
from pathlib import Path

import pytest
from attrs import evolve

from slt.storage.contract import Query
from slt.types import Decision, EquityPoint, ModelVersion, OpenPosition, OrderIntent, Run, Sample, Trade
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the embedded server and SIGKILL are POSIX")

SLT = Path(sysconfig.get_path("scripts")) / "slt"
KINDS = (Trade, OpenPosition, OrderIntent, Decision, Sample, ModelVersion, EquityPoint)
CONFIG = """
[run]
name = "{name}"
mode = "{mode}"
folder = "{folder}/runs"
block_bars = 120
snapshot_seconds = 0.1
[plugins]
feed = "synthetic"
broker = "paper"
storage = "postgres"
features = ["ict"]
strategies = ["ict_smc", "ema_cross"]
{model}
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[feeds.synthetic]
days = {days}
planted_edge = 1.0
[features.ict]
warmup_candles = 300
[learning]
fit_every_trades = 30
[gate]
min_samples = 40
[storages.postgres]
embedded_folder = "{folder}/data"
"""


class Site:
    """A folder with a database, and slt processes that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "data")))

    def configure(self, name: str, mode: str, *, days: int, with_model: bool) -> Path:
        path = self.folder / f"{name}.toml"
        model = 'model = "xgboost"' if with_model else ""
        path.write_text(CONFIG.format(name=name, mode=mode, folder=self.folder, days=days, model=model))
        return path

    async def start(self, config: Path) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLT_")}
        environment.pop("DATABASE_URL", None)
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            SLT, "run", "--config", config, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe
        )

    async def finish(self, config: Path) -> str:
        """Run to the end; returns what was printed."""
        process = await self.start(config)
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def time_whole(self, config: Path) -> tuple[str, float]:
        """Run to the end; returns what was printed, and the seconds it took once it had begun."""
        process = await self.start(config)
        reading = asyncio.create_task(process.stdout.read())
        await self.wait_for_begin(process)
        began = asyncio.get_running_loop().time()
        await process.stderr.read()
        out = await reading
        assert await process.wait() == 0
        return out.decode(), asyncio.get_running_loop().time() - began

    async def wait_for_begin(self, process: asyncio.subprocess.Process) -> str:
        """Read what a process says until its run has begun; returns ``started`` or ``resumed``."""
        said = b""
        while line := await process.stderr.readline():
            said += line
            if found := re.match(rb'.*"run (started|resumed)"', line):
                return found[1].decode()
        pytest.fail(f"it ended before it began: {said.decode()}")

    async def kill_at_random(self, config: Path, longest_seconds: float, rng: random.Random) -> str:
        """Start, and kill some time after the run has begun; returns ``started``, ``resumed``, or ``finished``."""
        process = await self.start(config)
        word = await self.wait_for_begin(process)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), rng.uniform(0.05, longest_seconds))
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        if json.loads((self.folder / "runs" / f"{config.stem}-001" / "state.json").read_text())["status"] == "finished":
            word = "finished"  # even where the kill met a process that was on its way out
        # Kills in a row would have the crash guard wait; an operator who knows why removes its file just so.
        for file in (self.folder / "runs").glob("*.starts.json"):
            file.unlink()
        return word

    async def write_from_another_future(self, source: str, run_id: str) -> None:
        """Add what a killed life might have stored and its successor never will: ids that do not come again."""
        trades = await self.storage.slt_read_records(Query(Trade, run_id=source))
        decisions = await self.storage.slt_read_records(Query(Decision, run_id=source))
        strays = [evolve(one, id=f"{run_id}-999999", run_id=run_id) for one in (trades[-1], decisions[-1])]
        await self.storage.slt_write_records(strays)

    async def rows(self, run_id: str) -> dict[str, list[object]]:
        """Every row of a run by kind, in order, without the run's name."""
        found = {}
        for kind in KINDS:
            records = await self.storage.slt_read_records(Query(kind, run_id=run_id))
            found[kind.__name__] = sorted(repr(record).replace(run_id, "RUN") for record in records)
        return found


@pytest.fixture
async def site():
    # Not below pytest's own folder, which is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="slt-run-"))
    site = Site(folder)
    await site.storage.slt_open_storage()
    yield site
    await site.storage.slt_close_storage()
    server = EmbeddedServer(folder / "data")
    assert server.pid() is None, "the last client to close stops the server"
    shutil.rmtree(folder)


@pytest.mark.parametrize(("mode", "days", "with_model", "kills"), [("backtest", 3, True, 4), ("paper", 2, False, 5)])
async def test_run_killed_again_and_again_leaves_what_an_untouched_run_leaves(site, mode, days, with_model, kills):
    whole, seconds = await site.time_whole(site.configure("whole", mode, days=days, with_model=with_model))
    config, rng = site.configure("killed", mode, days=days, with_model=with_model), random.Random(20240101)
    longest = 0.6 * seconds / kills
    words = [await site.kill_at_random(config, longest, rng)]
    await site.write_from_another_future("whole-001", "killed-001")
    while len(words) < kills and "finished" not in words:
        words.append(await site.kill_at_random(config, longest, rng))
    assert words[0] == "started"
    assert words[1:].count("resumed") >= 2, f"the run is too short to be killed and resumed: {words}"
    killed = await site.finish(config) if "finished" not in words else ""
    left, expected = await site.rows("killed-001"), await site.rows("whole-001")
    assert len(expected["Trade"]) > 30
    assert {kind: len(rows) for kind, rows in left.items()} == {kind: len(rows) for kind, rows in expected.items()}
    assert left == expected
    runs = {run.id: run for run in await site.storage.slt_read_records(Query(Run))}
    assert runs.keys() == {"whole-001", "killed-001"}
    assert runs["killed-001"].status == "finished"
    summary = runs["killed-001"].summary
    assert summary["trade_hash"] == runs["whole-001"].summary["trade_hash"]
    assert summary["trades"] == len(left["Trade"])
    report = (site.folder / "runs" / "killed-001" / "report.html").read_text(encoding="utf-8")
    assert f"All {len(left['Trade'])} closed trades." in report
    if killed:
        assert summary["trade_hash"] in killed
    assert summary["trade_hash"] in whole
