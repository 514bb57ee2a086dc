"""Parity: one market through a back-test, a paper run and a live run against the local exchange gives the same trades.

    python benchmarks/parity.py                 # 240 bars of 4 symbols, a minute or two
    python benchmarks/parity.py --seed 11 --symbols 6
    python benchmarks/parity.py --bars 40       # a smoke test

Latency and slippage are 0: after each price the exchange waits until the run has dealt with all that it was told, and
its books are the exchange's. What it decided at a bar's close fills at the next open, as in a back-test with
``path = "ohlc"`` and ``level_fills = false``; a close by an exit fills at the price that it was decided at.

Then the same again with latency (``--latency``): the exchange plays on without waiting, closes its bars late and fills
at once. Every difference from the back-test is listed with its cause, from what both runs wrote down; see
`parity_causes`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import aiohttp
import chaos_plugins
from parity_causes import Account, compare, explain

from slt.storage.contract import Query
from slt.types import Decision, OrderIntent, Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

SLT = Path(sysconfig.get_path("scripts")) / "slt"
_MINUTE_MS = 60_000
_SYNTHETIC = """
[feeds.synthetic]
symbols = {symbols}
days = 1
seed = {seed}
annual_volatility = 1.5
"""
_SANDBOX = """
[services.sandbox]
port = 0
source = "synthetic"
speed = {speed}
clock = "market"
history_days = 0
wait_for_clients = 2
stepped = {stepped}
stepped_prices = {stepped}
close_delay_min_seconds = {delay}
close_delay_max_seconds = {delay}
"""
_RUN = """
[run]
name = "{mode}"
mode = "{mode}"
folder = "{folder}/runs"
confirm_live = true
allow_uncertified = true
warm_days = 0
[plugins]
feed = "{feed}"
broker = "{broker}"
storage = "postgres"
features = ["{features}"]
strategies = ["coin"]
sizer = "fixed_risk"
exits = ["time_stop"]
[features.{features}]
{options}
[strategies.coin]
chance = 0.15
seed = {seed}
[exits.time_stop]
max_hours = 0.175
[risk]
max_positions = 3
max_daily_loss = 1.0
cooldown_minutes = 0
max_cost_share = 1.0
stop_ack_seconds = 60
[health]
port = 0
[storages.postgres]
embedded_folder = "{folder}/data"
"""
_PAPER = """
[brokers.paper]
path = "ohlc"
slippage_fraction = 0.0
level_fills = false
"""
_LIVE = """
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
slippage_fraction = 0.0
"""
_PATIENCE_S = 60.0
"""Longest wait for the run, or the exchange, to come to what it must come to."""
_CLOSE = 1e-9


class Parity:
    """Plays one market three ways."""

    def __init__(self, folder, storage, options):
        self._folder = folder
        self._storage = storage
        self._options = options
        self._plugins = chaos_plugins.install(folder / "plugins")
        _install_probe(self._plugins)
        self._symbols = json.dumps([f"SYN{i}USDT" for i in range(1, options.symbols + 1)])
        self.end = 0

    async def offline(self, mode):
        """A back-test or a paper run."""
        text = self._run_text(mode, mode, feed="synthetic", broker="paper", features="steady", options="")
        process = await self._start("run", mode, text + _PAPER + self._market())
        assert await process.wait() == 0, f"the {mode} run failed; see {self._folder}/{mode}.log"
        return await self._read(f"{mode}-001")

    async def live(self, name, *, has_latency):
        """A live run against the exchange."""
        text = _SANDBOX.format(
            speed=self._options.speed if has_latency else 0.0,
            stepped=str(not has_latency).lower(),
            delay=1.0 if has_latency else 0.0,
        )
        sandbox = await self._start("sandbox", f"{name}-exchange", text + self._market(), is_piped=True)
        process = None
        try:
            line = await asyncio.wait_for(sandbox.stdout.readline(), _PATIENCE_S)
            found = re.search(rb"on (http://\S+) and (ws://\S+):", line)
            assert found, f"the exchange did not start: {line!r}"
            url, stream = found[1].decode(), found[2].decode()
            probe = self._folder / f"{name}.sock"
            options = f'socket_file = "{probe}"'
            run = self._run_text(name, "live", feed="binance", broker="binance", features="watched", options=options)
            run += _LIVE.format(url=url, stream=stream, symbols=self._symbols)
            process = await self._start("run", name, run)
            async with aiohttp.ClientSession() as http:
                play = _Play(process, http, url, probe)
                self.end = await (play.through if has_latency else play.by_steps)(self._options.bars)
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), _PATIENCE_S)
            assert code == 5, f"the stopped run ended with exit code {code}"
        finally:
            for one in (process, sandbox):
                if one is not None and one.returncode is None:
                    one.kill()
                    await one.wait()
        return await self._read(f"{name}-001")

    def _run_text(self, name, mode, **parts):
        text = _RUN.format(mode=mode, folder=self._folder, seed=self._options.seed, **parts)
        return text.replace(f'name = "{mode}"', f'name = "{name}"')

    def _market(self):
        return _SYNTHETIC.format(symbols=self._symbols, seed=self._options.seed)

    async def _start(self, command, name, text, *, is_piped=False):
        path = self._folder / f"{name}.toml"
        await asyncio.to_thread(path.write_text, text)
        hidden = {"REDIS_URL", "DATABASE_URL"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k not in hidden}
        paths = os.pathsep.join(filter(None, (str(self._plugins), kept.get("PYTHONPATH", ""))))
        log = os.open(self._folder / f"{name}.log", os.O_WRONLY | os.O_CREAT)
        try:
            return await asyncio.create_subprocess_exec(
                SLT,
                command,
                "--config",
                str(path),
                cwd=self._folder,
                env={**kept, "PYTHONPATH": paths, "SANDBOX_API_KEY": "p", "SANDBOX_API_SECRET": "p"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if is_piped else log,
                stderr=log,
            )
        finally:
            os.close(log)

    async def _read(self, run_id):
        kinds = [
            await self._storage.slt_read_records(Query(kind, run_id=run_id)) for kind in (Trade, OrderIntent, Decision)
        ]
        return Account(*kinds)


class _Play:
    """Lets the exchange's market go on, and follows the run beside it."""

    def __init__(self, process, http, url, probe):
        self._process = process
        self._http = http
        self._url = url
        self._probe = probe

    async def by_steps(self, bars):
        """Play price by price, each only once the run and the exchange agree; returns the market's time at the end."""
        while True:
            now = await self._until(
                self._is_settled, "the run does not come to rest, or its books are not the exchange's"
            )
            if now["rows"] >= bars:
                return now["time"]
            async with self._http.post(f"{self._url}/sandbox/market", json={"step": 1}) as answer:
                answer.raise_for_status()

    async def through(self, bars):
        """Play without waiting for anybody, then stop; returns the market's time at the end."""

        async def has_played(now):
            return now["rows"] >= bars

        await self._until(has_played, "the market stands still", patience_s=600.0)
        async with self._http.post(f"{self._url}/sandbox/market", json={"paused": True}) as answer:
            end = (await answer.json())["time"]
        await self._until(self._agrees, "the run's books are not the exchange's")
        return end

    async def _is_settled(self, now):
        return now["is_waiting"] and await self._agrees(now)

    async def _agrees(self, now):
        """Whether the run has dealt with every frame sent, waits for no answer, and holds what the exchange says."""
        if not self._probe.exists():
            return False
        reader, writer = await asyncio.open_unix_connection(str(self._probe))
        stand = json.loads(await reader.read())
        writer.close()
        account = now["accounts"][0]
        held = stand["positions"]
        return (
            stand["is_at_rest"]
            and stand["frames"] == sum(client["sent"] for client in now["clients"])
            and stand["orders"] == account["orders"]
            and held.keys() == account["positions"].keys()
            and all(abs(held[symbol] - quantity) < _CLOSE for symbol, quantity in account["positions"].items())
        )

    async def _until(self, is_so, complaint, patience_s=_PATIENCE_S):
        """The exchange's state, as soon as something is so of it."""
        limit = time.monotonic() + patience_s
        while True:
            assert self._process.returncode is None, "the live run ended by itself"
            async with self._http.get(f"{self._url}/sandbox/state") as answer:
                now = await answer.json()
            if await is_so(now):
                return now
            assert time.monotonic() < limit, f"{complaint}: {now}"
            await asyncio.sleep(0.005)


def _install_probe(folder):
    """Make a distribution of `parity_probe` in a folder that is on PYTHONPATH."""
    info = folder / "slt_parity-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slt-parity\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[slt.features]\nwatched = slt_parity:Watched\n")
    shutil.copyfile(Path(__file__).with_name("parity_probe.py"), folder / "slt_parity.py")


async def carry_out(options):
    folder = Path(tempfile.mkdtemp(prefix="slt-parity-"))
    os.environ.pop("DATABASE_URL", None)
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "data")))
    await storage.slt_open_storage()
    is_well = False
    try:
        is_well = await _compare_all(Parity(folder, storage, options), options)
    finally:
        await storage.slt_close_storage()
        if is_well:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs are in {folder}")
    return is_well


async def _compare_all(parity, options):
    backtest, paper = await parity.offline("backtest"), await parity.offline("paper")
    live = await parity.live("live", has_latency=False)
    known, again = backtest.until(parity.end), paper.until(parity.end)
    print(
        f"{options.bars} bars of {options.symbols} symbols, seed {options.seed}: trades closed in a back-test ", end=""
    )
    print(f"{len(known.trades)}, in a paper run {len(again.trades)}, live {len(live.trades)}")
    differences = {"back-test / paper": compare(known, again), "back-test / live": compare(known, live)}
    for name, lines in differences.items():
        print(f"{name:<20} differences {len(lines)}")
        for line in lines:
            print(f"    {line}")
    is_well = bool(known.trades) and not any(differences.values())
    if options.latency:
        late = await parity.live("late", has_latency=True)
        is_well = _tell_latency(backtest, paper, late, parity.end) and is_well
    return is_well


def _tell_latency(backtest, paper, late, end):
    """Print every difference that latency made, and its cause; whether each has one."""
    is_well = True
    for name, offline in (("back-test", backtest), ("paper", paper)):
        known = offline.until(end)
        found = explain(known, late.until(end))
        same = sum(1 for key in known.trades.keys() & late.trades.keys() if key not in found)
        unknown = sum(cause.is_unknown for causes in found.values() for cause in causes)
        print(f"{name} / live with latency: trades {len(known.trades)} / {len(late.until(end).trades)}, ", end="")
        print(f"equal {same}, differing {len(found)}, without a known cause {unknown}")
        is_well = is_well and not unknown
        if name == "paper":
            continue
        for (symbol, closed), causes in found.items():
            print(f"    {symbol} decided {closed}: {'; '.join(cause.text for cause in causes)}")
        kinds = [cause.kind for causes in found.values() for cause in causes]
        for kind in sorted(set(kinds), key=kinds.count, reverse=True):
            print(f"    {kinds.count(kind):>4}  {kind}")
    return is_well


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=240)
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, default=120.0, help="market seconds per second, with latency")
    parser.add_argument("--latency", action="store_true", help="also with latency, differences listed")
    sys.exit(0 if asyncio.run(carry_out(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
