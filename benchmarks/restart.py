"""Restart to ready, and take-over by a warm standby: real processes against the local exchange.

    python benchmarks/restart.py                             # 8 and 200 symbols, some twelve minutes
    python benchmarks/restart.py --symbols 8 --repeats 2     # a smoke test
    python benchmarks/restart.py --steps                     # also where the time of one more start goes

Restart: a live run with the features `ict` (default warm-up, from candle files) trades until positions are open, and
goes on until an hour of market lies in its session log; then it is killed with SIGKILL, or stopped cleanly, and started
again, in turn. The clock runs from the start of the process to the first 200 of ``/readyz``: books agree, exits and
stops are managed, features are restored from the snapshot, the embedded PostgreSQL is attached (after a clean stop it
has to be started too). At that moment the run must know every position that the exchange has, each with a stop there.
The market goes on at `--speed` meanwhile, so that a restart misses minutes: the run is ready, and its entries wait
under the gap rule, symbol by symbol.

Take-over: two instances of one database and one account, at the speed of real time, with folders of their own (the
newcomer is warm: feed connected, features ready; it goes on with the open positions that the database tells of) or in
one folder (the newcomer goes on with the books of the other). The holder is killed with SIGKILL once the other stands
by; the clock runs until the standby's ``/readyz`` answers 200.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from chaos_plugins import install

from slt.types import BarState
from slt_synthetic.feed import SyntheticFeed, SyntheticFeedConfig

SLT = [str(Path(sysconfig.get_path("scripts")) / "slt")]
PROBE = [sys.executable, str(Path(__file__).parent / "restart_probe.py")]
HISTORY_DAYS = 8
ALLOWED_S = {8: 5.0, 200: 10.0}
TAKEOVER_S = 5.0
_MINUTE_MS = 60_000
_POLL_S = 0.01
_PATIENCE_S = 300.0
_BETWEEN_S = 20.0
"""Between two restarts: each reads account and orders, and more than a few a minute use up the exchange's budget."""
_SANDBOX = """
[services.sandbox]
port = 0
source = "synthetic"
speed = {speed}
clock = "market"
check_timestamp = false
history_days = {history}
wait_for_clients = 2
[feeds.synthetic]
symbols = {symbols}
days = {days}
"""
_RUN = """
[run]
name = "restart"
mode = "live"
confirm_live = true
allow_uncertified = true
folder = "{runs}"
reconcile_minutes = 0.5
warm_data = "{candles}"
[plugins]
feed = "binance"
broker = "binance"
storage = "postgres"
features = ["ict"]
strategies = ["coin", "ict_smc"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[feed]
clock = "events"
[feeds.binance]
rest_url = "{url}"
stream_url = "{stream}"
symbols = {symbols}
[brokers.binance]
rest_url = "{url}"
stream_url = "{stream}"
api_key_env = "SANDBOX_API_KEY"
api_secret_env = "SANDBOX_API_SECRET"
[strategies.coin]
chance = 1.0
stop_fraction = 0.04
target_fraction = 0.08
[risk]
max_positions = 5
max_cost_share = 1.0
stop_ack_seconds = 60
[health]
port = {port}
[storages.postgres]
embedded_folder = "{data}"
"""


class Instance:
    """One instance of slt: its configuration, and its process while there is one."""

    def __init__(self, folder, runs, port, text, environment):
        folder.mkdir(parents=True)
        self.folder, self.runs, self.port = folder, runs, port
        self.config = folder / "run.toml"
        self.config.write_text(text)
        self._environment = environment
        self._log = (folder / "output.log").open("ab")
        self.process, self.begun, self.cpu, self.said = None, 0.0, 0.0, None

    async def start(self, command=SLT, **more):
        # The crash guard would rightly hold up a run that is killed over and over.
        for file in self.runs.glob("*.starts.json"):
            file.unlink()
        self.begun = time.time()
        self.process = await asyncio.create_subprocess_exec(
            *command,
            "run",
            "--config",
            str(self.config),
            cwd=self.folder,
            env={**self._environment, **more},
            stdout=self._log,
            stderr=self._log,
        )

    async def end(self, sign):
        """End the process, and wait until it is gone; returns how long that took."""
        begun = time.time()
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(sign)
            await asyncio.wait_for(self.process.wait(), 60)
        self.process = None
        return time.time() - begun

    async def ready(self, http, since):
        """Wait for a 200 of /readyz; returns the seconds since then and what it said."""
        while True:
            if self.process.returncode is not None:
                raise RuntimeError(f"the run ended with exit code {self.process.returncode}, see {self.folder}")
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with http.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                    if answer.status == 200:
                        seconds = time.time() - since
                        self.cpu = sum(psutil.Process(self.process.pid).cpu_times()[:2])
                        return seconds, await answer.json()
                    self.said = (await answer.json()).get("waits")
            if time.time() - since > _PATIENCE_S:
                raise RuntimeError(f"not ready for {_PATIENCE_S:.0f} s, it waits for {self.said}, see {self.folder}")
            await asyncio.sleep(_POLL_S)

    async def waits(self, http):
        """What /readyz says, whatever its status; nothing where nobody answers."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with http.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                return await answer.json()
        return None

    def health(self):
        files = sorted(self.runs.glob("restart-*/health.json"))
        return json.loads(files[-1].read_text()) if files else {}


class Site:
    """An exchange, the candles before it, and the instances that trade there."""

    def __init__(self, symbols, speed):
        self.folder = Path(tempfile.mkdtemp(prefix="slt-restart-"))
        self.symbols = [f"SYN{i}USDT" for i in range(1, symbols + 1)]
        self.speed = speed
        self.instances = []
        self._plugins = install(self.folder / "plugins")
        self._sandbox = None
        self.url = self._stream = ""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k not in {"REDIS_URL", "DATABASE_URL"}
        }
        self.environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self._plugins), os.environ.get("PYTHONPATH")))),
            "SANDBOX_API_KEY": "key-of-the-restart",
            "SANDBOX_API_SECRET": "secret-of-the-restart",
        }

    async def __aenter__(self):
        await asyncio.to_thread(self._write_candles)
        config = self.folder / "sandbox.toml"
        options = {"speed": self.speed, "history": HISTORY_DAYS, "days": HISTORY_DAYS + 3}
        config.write_text(_SANDBOX.format(symbols=json.dumps(self.symbols), **options))
        self._sandbox = await asyncio.create_subprocess_exec(
            *SLT,
            "sandbox",
            "--config",
            str(config),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / "sandbox.log").open("ab"),
        )
        line = await asyncio.wait_for(self._sandbox.stdout.readline(), 120)
        found = re.search(rb"on (http://\S+) and (ws://\S+):", line)
        if not found:
            raise RuntimeError(f"the exchange did not start: {line!r}, see {self.folder}")
        self.url, self._stream = found[1].decode(), found[2].decode()
        return self

    async def __aexit__(self, kind, *_):
        for instance in self.instances:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                await instance.end(signal.SIGTERM)
        self._sandbox.kill()
        await self._sandbox.wait()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def instance(self, name, *, runs=None):
        """An instance with a folder of its own, or with another's."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = self.folder / name
        runs = runs or folder / "runs"
        text = _RUN.format(
            runs=runs,
            candles=self.folder / "candles",
            url=self.url,
            stream=self._stream,
            symbols=json.dumps(self.symbols),
            port=port,
            data=self.folder / "data",
        )
        self.instances.append(Instance(folder, runs, port, text, self.environment))
        return self.instances[-1]

    async def account(self, http):
        """Symbols with a position at the exchange, and those with a stop there."""
        kinds = "algo,algo_cancelled,algo_triggered,algo_finished"
        async with http.get(f"{self.url}/sandbox/ledger?kinds={kinds}") as answer:
            entries = await answer.json()
        resting = {}
        for entry in entries:
            if entry["kind"] != "algo":
                resting.pop(entry["detail"]["algo_id"], None)
            elif entry["detail"]["type"] == "STOP_MARKET":
                resting[entry["detail"]["algo_id"]] = entry["symbol"]
        async with http.get(f"{self.url}/sandbox/state") as answer:
            state = await answer.json()
        return sorted(state["accounts"][0]["positions"]), set(resting.values())

    def _write_candles(self):
        """The days before the market, a file for each symbol."""
        folder = self.folder / "candles"
        folder.mkdir()
        feed = SyntheticFeed(SyntheticFeedConfig(symbols=tuple(self.symbols), days=HISTORY_DAYS + 3))
        about = feed.slt_describe_market()
        parts = []
        for bars in feed.slt_read_bars(start=about.start, rows=1440):
            if bars.close_time[0] > about.start + HISTORY_DAYS * 86_400_000:
                break
            parts.append(bars)
        for column, symbol in enumerate(self.symbols):
            found = {name: [] for name in ("open", "high", "low", "close", "volume", "taker_buy_volume")}
            times = []
            for bars in parts:
                rows = np.flatnonzero(bars.state[:, column] == BarState.TRADED)
                times.append(bars.close_time[rows] - _MINUTE_MS)
                for name, values in found.items():
                    values.append(getattr(bars, name)[rows, column])
            table = {"open_time": np.concatenate(times)} | {n: np.concatenate(v) for n, v in found.items()}
            pq.write_table(pa.table(table), folder / f"{symbol}-1m.parquet")


async def positions_open(site, http, least):
    begun = time.time()
    while time.time() - begun < _PATIENCE_S:
        positions, _ = await site.account(http)
        if len(positions) >= least:
            return
        await asyncio.sleep(0.5)
    raise RuntimeError(f"no positions within {_PATIENCE_S:.0f} s, see {site.folder}")


async def restarts(symbols, options):
    """Measure restarts; returns the problems found."""
    problems = []
    async with Site(symbols, options.speed) as site, aiohttp.ClientSession() as http:
        run = site.instance("first")
        if options.steps:
            seconds = await _steps(site, run, http)
        else:
            await run.start()
            seconds, _ = await run.ready(http, run.begun)
        print(f"\n{symbols} symbols: first start, {HISTORY_DAYS} days of candles read: {seconds:.2f} s", flush=True)
        await positions_open(site, http, 3)
        await asyncio.sleep(options.log_minutes * 60 / options.speed)
        print(f"{'way':<12}{'seconds':>9}{'CPU s':>8}{'positions':>11}{'wait for features':>19}  load", flush=True)
        found = {"SIGKILL": [], "clean stop": []}
        for _ in range(options.repeats):
            for way, sign in (("SIGKILL", signal.SIGKILL), ("clean stop", signal.SIGTERM)):
                await run.end(sign)
                await run.start()
                seconds, said = await run.ready(http, run.begun)
                positions, stopped = await site.account(http)
                problems += [f"{symbols} symbols, {way}: no stop for {one}" for one in set(positions) - stopped]
                await asyncio.sleep(_BETWEEN_S)
                waiting = len(run.health()["features"]["waiting"])
                found[way].append(seconds)
                count = len(positions)
                load = os.getloadavg()[0]
                print(f"{way:<12}{seconds:>9.2f}{run.cpu:>8.2f}{count:>11}{waiting:>19}  {load:.1f}", flush=True)
                if said["waits"]:
                    problems.append(f"ready, and yet it waits: {said['waits']}")
        if options.steps:
            await run.end(signal.SIGKILL)
            await _steps(site, run, http)
        allowed = ALLOWED_S.get(symbols, ALLOWED_S[200])
        for way, times in found.items():
            print(f"{way}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s (allowed {allowed:g} s)")
            if max(times) > allowed:
                problems.append(f"{symbols} symbols, {way}: {max(times):.2f} s")
    return problems


async def _steps(site, run, http):
    """A start under the stopwatch; returns the seconds until it was ready."""
    file = site.folder / "steps.jsonl"
    file.unlink(missing_ok=True)
    await run.start(PROBE, PROBE_FILE=str(file), PROBE_BEGUN=str(time.time()))
    seconds, _ = await run.ready(http, run.begun)
    print(f"{'step':<40}{'begins at':>10}{'takes':>8}")
    for line in file.read_text().splitlines():
        step = json.loads(line)
        print(f"{step['step']:<40}{step['at']:>10.2f}{step['took']:>8.2f}")
    print(f"{'ready':<40}{seconds:>10.2f}  it waited last for {run.said}", flush=True)
    return seconds


async def takeovers(symbols, options, *, is_shared):
    """Measure take-overs, between folders of their own or in one folder; returns the problems found."""
    problems, found = [], []
    way = "one folder" if is_shared else "own folders"
    async with Site(symbols, 1.0) as site, aiohttp.ClientSession() as http:
        holder = site.instance("one")
        other = site.instance("two", runs=holder.runs if is_shared else None)
        await holder.start()
        await holder.ready(http, holder.begun)
        await positions_open(site, http, 3)
        for _ in range(options.repeats):
            await other.start()
            warm = await _standing_by(other, http)
            before, _ = await site.account(http)
            begun = time.time()
            await holder.end(signal.SIGKILL)
            seconds, said = await other.ready(http, begun)
            found.append(seconds)
            theirs, stopped = await site.account(http)
            await asyncio.sleep(6.0)
            ours = sorted(position["symbol"] for position in other.health()["positions"])
            print(f"take-over, {way}, {symbols} symbols: {seconds:.2f} s; {warm}; {len(theirs)} positions", flush=True)
            if theirs != before:
                problems.append(f"take-over, {way}: positions before {before}, after {theirs}")
            if theirs != ours:
                problems.append(f"take-over, {way}: positions of the exchange {theirs}, of the run {ours}")
            problems += [f"take-over, {way}: no stop for {one}" for one in set(theirs) - stopped]
            problems += [f"ready, and yet it waits: {said['waits']}"] if said["waits"] else []
            holder, other = other, holder
        middle, worst = statistics.median(found), max(found)
        print(f"take-over, {way}: median {middle:.2f} s, worst {worst:.2f} s (allowed {TAKEOVER_S:g} s)", flush=True)
        if worst > TAKEOVER_S:
            problems.append(f"take-over, {way}, with {symbols} symbols: {worst:.2f} s")
    return problems


async def _standing_by(instance, http):
    """Wait until an instance waits for nothing but the other one; returns what it is like then."""
    begun = time.time()
    while time.time() - begun < _PATIENCE_S:
        said = await instance.waits(http)
        if said is not None and set(said["waits"]) == {"start", "instance"}:
            parts = {part["name"]: part["detail"] for part in said["parts"]}
            features = f"features {parts['features']}" if parts else "waits for the folder"
            return f"standby after {time.time() - instance.begun:.1f} s, {features}"
        await asyncio.sleep(0.1)
    raise RuntimeError(f"no standby within {_PATIENCE_S:.0f} s, see {instance.folder}; it says {said}")


async def carry_out(options):
    problems = []
    for symbols in options.symbols:
        if options.only != "takeovers":
            problems += await restarts(symbols, options)
        if options.only != "restarts":
            problems += await takeovers(symbols, options, is_shared=False)
            problems += await takeovers(symbols, options, is_shared=True)
    for problem in problems:
        print(f"WRONG: {problem}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[8, 200])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--speed", type=float, default=20.0, help="market seconds per second while restarting")
    parser.add_argument("--log-minutes", type=float, default=60.0, help="market minutes before the first restart")
    parser.add_argument("--steps", action="store_true", help="tell where the time of a start goes")
    parser.add_argument("--only", choices=["restarts", "takeovers"], help="measure one of them; default: both")
    sys.exit(0 if asyncio.run(carry_out(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
