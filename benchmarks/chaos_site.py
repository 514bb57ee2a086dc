"""Real processes of a scenario: the local exchange, the run, and whoever kills it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sysconfig
import time
from pathlib import Path

import aiohttp
from attrs import define, field
from chaos_scenarios import SPEED
from chaos_watch import DatabaseWire, FolderWatch

from slt.storage.contract import Query
from slt.types import OpenPosition

SLT = Path(sysconfig.get_path("scripts")) / "slt"
START = "2024-01-01"
STOP_ACK_S, MAX_HOURS = 60.0, 1 / 15
"""What the run promises: a stop within a minute (two seconds of wall time), no position older than four minutes."""
READY_BARS = 2
_START_S, _STOP_S, _SETTLE_S, _MOMENT_S = 90.0, 30.0, 60.0, 15.0
_POLL_S, _CLOCK_S = 0.02, 0.5
_STARTS, _TRY_AGAIN = 5, 1
"""Starts that a supervisor tries, and the exit code after which it does."""
_ENDINGS = 3
_MOST_RUNS = 5
"""Of one scenario that loses its folder."""

_SANDBOX = """
[services.sandbox]
port = 0
source = "synthetic"
speed = {speed}
seed = {seed}
clock = "market"
history_days = 0
wait_for_clients = 2
fill_slices = {slices}
faults = {rules}
[feeds.synthetic]
symbols = {symbols}
start = "{start}"
days = 1
seed = {seed}
annual_volatility = 3.0
"""
_RUN = """
[run]
name = "c{seed}"
mode = "live"
confirm_live = true
allow_uncertified = true
folder = "{folder}/runs"
snapshot_seconds = 1.0
reconcile_minutes = 0.05
session_minutes = 0.04
equity_every_minutes = 60
warm_days = 1
[plugins]
feed = "binance"
broker = "binance"
storage = "postgres"
features = ["steady"]
strategies = ["coin"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit"]
[feed]
clock = "events"
silence_seconds = 4
symbol_silence_seconds = 3
resubscribe_minutes = 0.1
backoff_ceiling_seconds = 2
connect_seconds = 3
ping_seconds = 3
[feeds.binance]
rest_url = "{url}"
stream_url = "{stream}"
symbols = {symbols}
[brokers.binance]
rest_url = "{url}"
stream_url = "{stream}"
api_key_env = "SANDBOX_API_KEY"
api_secret_env = "SANDBOX_API_SECRET"
request_timeout_seconds = 3
event_timeout_seconds = 2
longest_backoff_seconds = 2
longest_pause_seconds = 3
firewall_pause_seconds = 1
recv_window_ms = 300
[features.steady]
bars = {ready}
[strategies.coin]
seed = {seed}
chance = 0.6
[exits.time_stop]
max_hours = {hours}
[risk]
max_positions = 3
max_daily_loss = 1.0
cooldown_minutes = 0
max_cost_share = 1.0
stop_ack_seconds = {stop_ack}
[health]
port = 0
[storages.postgres]
embedded_folder = "{data}"
"""


@define
class Life:
    """One life of the run's process, in market time.

    Attributes:
        since: When it was ready, ms UTC.
        until: When it ended, ms UTC.
        how: What ended it: ``killed`` (and at which moment), ``stopped``, or its own end.
    """

    since: int
    until: int = 0
    how: str = ""


@define
class Play:
    """What was seen of a scenario.

    Attributes:
        ledger: The exchange's own account, as it wrote it.
        lives: The lives of the run.
        positions: What the exchange holds at the end: symbol to signed quantity.
        problems: What the harness itself found wrong.
        kills: Moments that were met.
        missed: Moments that did not come.
        recovery: Wall seconds from each restart until the run was ready.
        failed_starts: Starts that ended before the run had begun, because the exchange did not answer, and were tried
            again.
        seconds: Wall seconds of it all.
        clock: Pairs of `time.monotonic` and market time, ms UTC.
    """

    ledger: list = field(factory=list)
    lives: list = field(factory=list)
    positions: dict = field(factory=dict)
    problems: list = field(factory=list)
    kills: list = field(factory=list)
    missed: list = field(factory=list)
    recovery: list = field(factory=list)
    failed_starts: int = 0
    seconds: float = 0.0
    clock: list = field(factory=list)


class Desk:
    """The exchange's control desk."""

    def __init__(self, url, http):
        self._url, self._http = url, http

    async def get(self, path):
        async with self._http.get(f"{self._url}/sandbox/{path}") as answer:
            return await answer.json()

    async def post(self, path, value):
        async with self._http.post(f"{self._url}/sandbox/{path}", json=value) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def pause(self, is_paused):
        return await self.post("market", {"paused": is_paused})

    async def now(self):
        return (await self.get("state"))["time"]

    async def keep_time(self, pairs):
        """Note both clocks now and then, until cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                pairs.append((time.monotonic(), await self.now()))
            await asyncio.sleep(_CLOCK_S)


async def read_rows(storage, kind, seed):
    """What all runs of a scenario have stored of a kind."""
    found = [await storage.slt_read_records(Query(kind, run_id=f"c{seed}-{run:03d}")) for run in range(1, _MOST_RUNS)]
    return [row for rows in found for row in rows]


class Site:
    """Plays one scenario.

    Attributes:
        loses_folder: Whether each kill takes the run's folder with it, as on a machine without a disk of its own.

    Args:
        scenario: The scenario.
        folder: A folder of its own.
        plugins: Folder with the distribution of `chaos_plugins`.
        data: Data folder of the database server, which runs.
        socket: Path of its Unix socket.
        storage: Reads the database.
    """

    loses_folder = False

    def __init__(self, scenario, folder, plugins, data, socket, storage):
        self.scenario = scenario
        self.folder = folder
        self.play = Play()
        self._plugins = plugins
        self._data = data
        self._wire = DatabaseWire(socket)
        self._storage = storage
        self._process = None
        self._said = []
        self._reading = None
        self._runs = 1

    async def run(self):
        """Play the scenario to its end."""
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._wire.start()
        sandbox = await self._start_sandbox()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
                self._desk = Desk(self._url, http)
                keeping = asyncio.create_task(self._desk.keep_time(self.play.clock))
                try:
                    await self._live()
                except (TimeoutError, aiohttp.ClientError, OSError, AssertionError) as error:
                    self.play.problems.append(f"harness: {type(error).__name__}: {error}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    self.play.ledger = await self._desk.get("ledger")
                keeping.cancel()
        finally:
            for process in (self._process, sandbox):
                if process is not None and process.returncode is None:
                    process.kill()
                    await process.wait()
            await self._wire.close()
        self.play.seconds = time.monotonic() - began
        return self.play

    # -- processes -------------------------------------------------------------------------------------------------

    async def _spawn(self, *arguments, error, variables=None):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k != "REDIS_URL"}
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self._plugins), os.environ.get("PYTHONPATH")))),
            "SANDBOX_API_KEY": f"key{self.scenario.seed}",
            "SANDBOX_API_SECRET": f"secret{self.scenario.seed}",
            **self._variables(),
        }
        return await asyncio.create_subprocess_exec(
            SLT,
            *map(str, arguments),
            cwd=self.folder,
            env={**kept, **own, **(variables or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=error,
        )

    def _variables(self):
        return {"DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self._wire.port}/postgres"}

    async def _start_sandbox(self):
        scenario, path = self.scenario, self.folder / "sandbox.toml"
        path.write_text(self._sandbox_text(scenario))
        with (self.folder / "sandbox.log").open("wb") as log:
            process = await self._spawn("sandbox", "--config", path, error=log)
        line = await asyncio.wait_for(process.stdout.readline(), _START_S)
        found = re.search(rb"on (http://\S+) and (ws://\S+):", line)
        assert found, f"the exchange did not start: {line!r} {(self.folder / 'sandbox.log').read_text()}"
        self._url, stream = found[1].decode(), found[2].decode()
        self._config = self.folder / "run.toml"
        self._config.write_text(self._run_text(scenario, stream))
        return process

    def _sandbox_text(self, scenario):
        return _SANDBOX.format(
            speed=SPEED,
            seed=scenario.seed,
            slices=scenario.slices,
            rules=json.dumps(scenario.rules),
            symbols=json.dumps(scenario.listed),
            start=START,
        )

    def _run_text(self, scenario, stream):
        return _RUN.format(
            seed=scenario.seed,
            folder=self.folder,
            url=self._url,
            stream=stream,
            symbols=json.dumps(scenario.symbols),
            ready=READY_BARS,
            hours=MAX_HOURS,
            stop_ack=STOP_ACK_S,
            data=self._data,
        )

    async def _start(self):
        """Start the run and wait until it says that it has begun; returns the wall seconds it took.

        A start that fails because the exchange does not answer just then is tried again, as any supervisor does.
        """
        began = time.monotonic()
        for _ in range(_STARTS):
            if await self._try_start():
                self.play.lives.append(Life(await self._desk.now()))
                return time.monotonic() - began
            if await self._process.wait() != _TRY_AGAIN:
                break
            self.play.failed_starts += 1
        return time.monotonic() - began

    async def _try_start(self):
        for file in (self.folder / "runs").glob("*.starts.json"):
            # Kills in a row would have the crash guard wait; an operator who knows why removes its file just so.
            file.unlink()
        self._process = await self._spawn("run", "--config", self._config, error=asyncio.subprocess.PIPE)
        begun = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process, begun))
        return await asyncio.wait_for(begun, _START_S)

    async def _read(self, process, begun):
        with (self.folder / "run.log").open("ab") as log:
            while line := await process.stderr.readline():
                log.write(line)
                self._said = [*self._said[-200:], line.decode(errors="replace").rstrip()]
                if not begun.done() and (found := re.search(rb'"run (started|resumed)"', line)):
                    begun.set_result(found[1].decode())
        if not begun.done():
            begun.set_result("")

    async def _kill(self, how):
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading
        self._end_life(await self._desk.now(), how)

    def _end_life(self, now, how):
        if self.play.lives and not self.play.lives[-1].until:
            self.play.lives[-1].until, self.play.lives[-1].how = now, how

    # -- the course of things --------------------------------------------------------------------------------------

    async def _live(self):
        await self._start()
        for moment in self.scenario.kills:
            if not await self._is_alive():
                return
            met = await self._meet(moment)
            (self.play.kills if met else self.play.missed).append(moment.name)
            if not met:
                continue
            if self.scenario.is_paused:
                await self._desk.pause(True)
            await self._kill(f"killed at {moment.name}")
            if self.loses_folder:
                shutil.rmtree(self.folder / "runs")
                self._runs += 1
            await asyncio.sleep(0.3)
            if self.scenario.is_paused:
                starting = asyncio.create_task(self._start())
                await asyncio.sleep(1.0)
                await self._desk.pause(False)
                self.play.recovery.append(await starting)
            else:
                self.play.recovery.append(await self._start())
        await self._until_end()
        await self._stop()

    async def _meet(self, moment):
        """Wait for the moment; returns False where it does not come."""
        try:
            async with asyncio.timeout(_MOMENT_S):
                await getattr(self, f"_meet_{moment.kind}")(moment)
        except TimeoutError:
            return False
        return self._process.returncode is None

    async def _meet_time(self, moment):
        await asyncio.sleep(moment.count)

    async def _meet_fault(self, moment):
        name = moment.word.partition(" ")[0]
        seen = (await self._desk.get("state"))["ledger"]
        await self._desk.post("faults", moment.word)
        await self._poll(lambda e: e["kind"] == "fault" and e["detail"]["name"] == name, seen, 1)

    async def _meet_ledger(self, moment):
        seen = (await self._desk.get("state"))["ledger"]
        await self._poll(lambda e: e["kind"] == moment.word, seen, moment.count)

    async def _poll(self, is_it, seen, count):
        while count > 0:
            for entry in await self._desk.get(f"ledger?since={seen}"):
                seen, count = entry["sequence"], count - is_it(entry)
            await asyncio.sleep(_POLL_S)

    async def _meet_journal(self, moment):
        await self._watch("journal", moment, is_written=True)

    async def _meet_session(self, moment):
        await self._watch("session", moment, is_written=True)

    async def _meet_snapshot(self, moment):
        await self._watch("session", moment, is_written=False)

    async def _watch(self, name, moment, *, is_written):
        folder = self.folder / "runs" / f"c{self.scenario.seed}-{self._runs:03d}" / name
        while not folder.exists():  # noqa: ASYNC110 # another process makes it
            await asyncio.sleep(_POLL_S)
        watch = FolderWatch(folder, is_written=is_written)
        try:
            await watch.reach(moment.count)
        finally:
            watch.close()

    async def _meet_database(self, moment):
        await self._wire.reach(self._wire.count + moment.count)

    async def _is_alive(self):
        if self._process.returncode is None:
            return True
        await self._reading
        self._end_life(await self._desk.now(), f"ended by itself: {self._process.returncode}")
        code = self._process.returncode
        told = next((line for line in reversed(self._said) if line.startswith("slt:")), "")
        self.play.problems.append(f"the run ended by itself with exit code {code}: {told[:300]}")
        return False

    async def _until_end(self):
        """Wait until the market has come to the scenario's end, or the run to its own."""
        state = await self._desk.get("state")
        end = max(state["time"] + 120_000, self._begin(state) + self.scenario.minutes * 60_000)
        while (await self._desk.now()) < end:
            if not await self._is_alive():
                return
            await asyncio.sleep(0.2)

    @staticmethod
    def _begin(state):
        return state["time"] - state["time"] % 86_400_000

    async def _stop(self):
        """Let the market wait, the books agree, and end the run as an operator does.

        The last close may be under way at that very moment. The next start learns what became of it, so the run is
        started and stopped once more where the books differ: a fill is lost only if it is lost then.
        """
        if not await self._is_alive():
            return
        await self._desk.pause(True)
        for attempt in range(_ENDINGS):
            if attempt:
                await self._start()
                if not await self._is_alive():
                    return
            await self._end_run()
            self.play.positions = await self._held()
            if self.play.problems or await self._stored() == self.play.positions:
                return

    async def _end_run(self):
        settled = time.monotonic() + _SETTLE_S
        while time.monotonic() < settled:
            await asyncio.sleep(0.4)
            if await self._stored() == await self._held() and await self._is_quiet():
                break
        self._process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self.play.problems.append(f"the run did not stop within {_STOP_S:g} s")
            return
        await self._reading
        self._end_life(await self._desk.now(), "stopped")
        if code != 5:
            told = next((line for line in reversed(self._said) if line.startswith("slt:")), "")
            self.play.problems.append(f"the stopped run ended with exit code {code}, not 5: {told[:300]}")

    async def _is_quiet(self):
        seen = (await self._desk.get("state"))["ledger"]
        await asyncio.sleep(0.4)
        return (await self._desk.get("state"))["ledger"] == seen

    async def _held(self):
        account = (await self._desk.get("state"))["accounts"][0]
        return {s: round(q, 9) for s, q in account["positions"].items()}

    async def _stored(self):
        rows = await read_rows(self._storage, OpenPosition, self.scenario.seed)
        return {r.symbol: round(r.side * r.quantity, 9) for r in rows if r.is_open}
