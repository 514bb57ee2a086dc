"""Soak: a live run of 200 symbols against the local exchange through an accelerated day: memory, tasks, sockets.

    python benchmarks/soak.py                          # 24 h of market at 240 x, some six minutes
    python benchmarks/soak.py --hours 48 --speed 400   # two days: is it flat after the first?
    python benchmarks/soak.py --hours 2 --symbols 20   # a smoke test

The run trades (a coin-tossing strategy beside the ICT features) with PostgreSQL behind it. Once an hour of market time
the resident memory, open files, sockets, threads and tasks of the run's own process are written down. At the end it is
looked at once more while the market stands still (connections kept for the next order have closed by then), and stopped
as an operator stops it: it must leave nothing behind, no child and no connection at the exchange.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import psutil
from chaos_plugins import install

from slt.storage.contract import Query
from slt.types import Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

SLT = Path(sysconfig.get_path("scripts")) / "slt"
_HOUR_MS = 3_600_000
_WARMUP_HOURS = 1
"""The features warm up for an hour; the day begins behind it, with the first hour in which it trades."""
_DAY_HOURS = 24
_SPAN_HOURS = 6
_FLAT = 1.05
"""How much more than over the last hours of the first day may be resident over the last hours of all."""
_KEPT_S = 20.0
_MOST_SOCKETS = 40
"""The streams, and what the exchange's client keeps open for requests: orders of a minute go side by side, and reading
the account now and then uses each of these connections again before it is closed as idle."""
_SANDBOX = """
[services.sandbox]
port = 0
source = "synthetic"
speed = {speed}
clock = "market"
history_days = 0
wait_for_clients = 2
[feeds.synthetic]
symbols = {symbols}
days = 3
annual_volatility = 1.5
"""
_RUN = """
[run]
name = "soak"
mode = "live"
confirm_live = true
allow_uncertified = true
folder = "{folder}/runs"
reconcile_minutes = 0.1
session_minutes = {session_minutes}
warm_days = 0
[plugins]
feed = "binance"
broker = "binance"
storage = "postgres"
features = ["ict", "steady"]
strategies = ["coin", "ict_smc"]
model = "xgboost"
sizer = "kelly"
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
[features.ict]
warmup_candles = 12
[features.steady]
census_file = "{census}"
census_types = {types}
[strategies.coin]
chance = 0.01
[risk]
max_positions = 10
max_daily_loss = 1.0
stop_ack_seconds = 600
[health]
port = 0
[storages.postgres]
embedded_folder = "{folder}/data"
"""


class Soak:
    """One run, watched."""

    def __init__(self, folder, options):
        self._folder = folder
        self._options = options
        self._plugins = install(folder / "plugins")
        self._log = (folder / "run.log").open("ab")
        self.rows = []
        self.at_rest = None
        self.problems = []

    async def run(self):
        symbols = [f"SYN{i}USDT" for i in range(1, self._options.symbols + 1)]
        sandbox = await self._start("sandbox", _SANDBOX.format(speed=self._options.speed, symbols=json.dumps(symbols)))
        try:
            line = await asyncio.wait_for(sandbox.stdout.readline(), 120)
            found = re.search(rb"on (http://\S+) and (ws://\S+):", line)
            assert found, f"the exchange did not start: {line!r}"
            url, stream = found[1].decode(), found[2].decode()
            text = _RUN.format(
                folder=self._folder,
                url=url,
                stream=stream,
                symbols=json.dumps(symbols),
                census=self._folder / "census.jsonl",
                types=str(self._options.types).lower(),
                session_minutes=max(0.05, 60 / self._options.speed),
            )
            process = await self._start("run", text)
            try:
                async with aiohttp.ClientSession() as http:
                    await self._watch(process, http, url)
                    await self._rest(process, http, url)
                    await self._stop(process, http, url)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        finally:
            sandbox.kill()
            await sandbox.wait()

    async def _start(self, command, text):
        path = self._folder / f"{command}.toml"
        path.write_text(text)
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k not in {"REDIS_URL", "DATABASE_URL"}
        }
        return await asyncio.create_subprocess_exec(
            SLT,
            command,
            "--config",
            str(path),
            cwd=self._folder,
            env={
                **kept,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(self._plugins), os.environ.get("PYTHONPATH")))),
                "SANDBOX_API_KEY": "key-of-the-soak",
                "SANDBOX_API_SECRET": "secret-of-the-soak",
            },
            stdout=asyncio.subprocess.PIPE if command == "sandbox" else self._log,
            stderr=self._log,
        )

    async def _state(self, http, url):
        async with http.get(f"{url}/sandbox/state") as answer:
            return await answer.json()

    async def _watch(self, process, http, url):
        """Note the process's figures at every full hour of market time."""
        state = await self._state(http, url)
        begin, seen = state["time"], 0
        watched = psutil.Process(process.pid)
        while seen < self._options.hours + _WARMUP_HOURS:
            await asyncio.sleep(0.2)
            if process.returncode is not None:
                self.problems.append(f"the run ended by itself with exit code {process.returncode}")
                return
            state = await self._state(http, url)
            hour = (state["time"] - begin) // _HOUR_MS
            if hour > seen:
                seen = hour
                self.rows.append(self._figures(watched, hour, state))
                self._tell(self.rows[-1])

    def _figures(self, watched, hour, state):
        with watched.oneshot():
            cpu = watched.cpu_times()
            connections = [c for c in watched.net_connections() if c.status == psutil.CONN_ESTABLISHED]
            return {
                "hour": hour,
                "rss": watched.memory_info().rss / 2**20,
                "files": watched.num_fds(),
                "sockets": len(connections),
                "peers": _peers(connections),
                "threads": watched.num_threads(),
                "children": len(watched.children(recursive=True)),
                "cpu": cpu.user + cpu.system,
                **self._census(),
                "clients": len(state["clients"]),
                "frames": state["frames"],
                "orders": state["accounts"][0]["orders"],
                "positions": len(state["accounts"][0]["positions"]),
            }

    def _census(self):
        """What the run told of itself from inside, last."""
        path = self._folder / "census.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return {"tasks": [], "blocks": 0} | (json.loads(lines[-1]) if lines else {})

    @staticmethod
    def _tell(row):
        if row["hour"] == 1:
            print(
                f"{'hour':>4}{'RSS MiB':>9}{'heap':>7}{'used':>7}{'blocks':>9}{'tasks':>7}{'files':>7}{'sockets':>9}"
                f"{'threads':>9}{'CPU s':>8}"
                f"{'frames':>10}{'positions':>11}"
            )
        print(
            f"{row['hour']:>4}{row['rss']:>9.1f}{row.get('heap', 0):>7.1f}{row.get('used', 0):>7.1f}{row['blocks']:>9}"
            f"{len(row['tasks']):>7}{row['files']:>7}{row['sockets']:>9}"
            f"{row['threads']:>9}{row['cpu']:>8.1f}{row['frames']:>10}{row['positions']:>11}  {row['peers']}",
            flush=True,
        )

    async def _rest(self, process, http, url):
        """The figures once nothing has happened for longer than a connection is kept for the next request."""
        if process.returncode is not None:
            return
        async with http.post(f"{url}/sandbox/market", json={"paused": True}) as answer:
            await answer.read()
        await asyncio.sleep(_KEPT_S)
        row = self._figures(psutil.Process(process.pid), self._options.hours, await self._state(http, url))
        print("  at rest:", end="")
        self._tell(row)
        if row["sockets"] > _MOST_SOCKETS:
            self.problems.append(f"sockets: {row['sockets']} at rest at the end, allowed are {_MOST_SOCKETS}")
        self.at_rest = row

    async def _stop(self, process, http, url):
        if process.returncode is not None:
            return
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(process.wait(), 25)
        except TimeoutError:
            self.problems.append("the run did not stop within 25 s")
            return
        if code != 5:
            self.problems.append(f"the stopped run ended with exit code {code}, not 5")
        await asyncio.sleep(1.5)
        state = await self._state(http, url)
        if state["clients"]:
            self.problems.append(f"connections left at the exchange: {state['clients']}")
        # The database server is no child of the run's: it is left to whoever else uses it.
        left = [child for child in children if child.is_running() and "postgres" not in child.name()]
        if left:
            self.problems.append(f"child processes left: {left}")

    def judge(self):
        """Compare the end with the first hour."""
        if len(self.rows) < _WARMUP_HOURS + 2:
            self.problems.append("too short to be judged")
            return
        first, last = self.rows[_WARMUP_HOURS], self.rows[-1]
        ratio = last["rss"] / first["rss"]
        print(f"\nRSS at the end / after the first hour: {ratio:.3f} (allowed 1.1), {last['rss']:.0f} MiB at the end")
        if ratio > 1.1:
            self.problems.append(f"RSS has grown {ratio:.3f} times since the first hour")
        if last["rss"] > 350 and self._options.symbols <= 200:
            self.problems.append(f"RSS is {last['rss']:.0f} MiB, allowed are 350")
        if len(self.rows) > _WARMUP_HOURS + _DAY_HOURS + 2 * _SPAN_HOURS:
            day, end = (
                statistics.median(row["rss"] for row in self.rows[end - _SPAN_HOURS : end])
                for end in (_WARMUP_HOURS + _DAY_HOURS, len(self.rows))
            )
            print(f"RSS over the last {_SPAN_HOURS} h / of the first day: {end / day:.3f} (allowed {_FLAT})")
            if end > _FLAT * day:
                self.problems.append(f"RSS is not flat after a day: {day:.0f} MiB then, {end:.0f} MiB at the end")
        if "types" in last:
            more = Counter(last["types"])
            more.subtract(first["types"])
            print("objects more: " + ", ".join(f"{name} {n:+}" for name, n in more.most_common(25)))
        lasting = Counter(_steady((self.at_rest or last)["tasks"]))
        lasting.subtract(_steady(first["tasks"]))
        grown = {name: n for name, n in lasting.items() if n > 0}
        if grown:
            self.problems.append(f"tasks more than after the first hour: {grown}")


def _peers(connections):
    """Sockets by the port at their other end, the most first."""
    return dict(Counter(c.raddr.port for c in connections).most_common())


def _steady(tasks):
    """Tasks that are there all the time; those of orders under way come and go."""
    return [name for name in tasks if not name.startswith(("Lanes.", "Writer.put", "to_thread"))]


async def carry_out(options):
    folder = Path(tempfile.mkdtemp(prefix="slt-soak-"))
    os.environ.pop("DATABASE_URL", None)
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "data")))
    await storage.slt_open_storage()
    soak, began = Soak(folder, options), time.monotonic()
    try:
        await soak.run()
        trades = await storage.slt_read_records(Query(Trade))
    finally:
        await storage.slt_close_storage()
    soak.judge()
    seconds = time.monotonic() - began
    print(f"{options.symbols} symbols, {len(soak.rows)} h of market in {seconds:.0f} s, {len(trades)} trades")
    for problem in soak.problems:
        print(f"WRONG: {problem}")
    if soak.problems:
        print(f"logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return not soak.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--types", action="store_true", help="tell which types of objects have become more")
    parser.add_argument("--speed", type=float, default=240.0, help="market seconds per second")
    sys.exit(0 if asyncio.run(carry_out(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
