"""Parity: one market through a back-test, a paper run and a live run against the local exchange gives the same trades.

    python benchmarks/parity.py                 # 240 bars of 4 symbols, some three minutes
    python benchmarks/parity.py --bars 40       # a smoke test

Latency and slippage are 0: the exchange waits after each bar until the run has decided, and what it decided at the
close fills at the next open, as in a back-test with ``path = "ohlc"`` and ``level_fills = false``. Within a bar the
exchange plays on: a close by an exit fills at the price that it was decided at, and its time may be any until the next
price; such times are compared by the price they belong to. Then the same again with latency (``--latency``): the
exchange plays on without waiting, closes its bars late and fills at once, and every difference is listed with its
cause.
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
from chaos_plugins import install

from slt.storage.contract import Query
from slt.types import OrderIntent, Trade
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
features = ["steady"]
strategies = ["coin"]
sizer = "fixed_risk"
exits = ["time_stop"]
[features.steady]
{steady}
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
FIELDS = ("side", "entry_time", "exit_time", "entry_price", "exit_price", "quantity", "fees", "net_pnl", "exit")
_CLOSE = 1e-6


class Parity:
    """Plays one market three ways."""

    def __init__(self, folder, storage, options):
        self._folder = folder
        self._storage = storage
        self._options = options
        self._plugins = install(folder / "plugins")
        self._symbols = json.dumps([f"SYN{i}USDT" for i in range(1, options.symbols + 1)])
        self.end = 0

    async def offline(self, mode):
        """A back-test or a paper run; its trades."""
        text = _RUN.format(
            mode=mode, folder=self._folder, feed="synthetic", broker="paper", steady="", seed=self._options.seed
        )
        process = await self._start("run", mode, text + _PAPER + self._market())
        assert await process.wait() == 0, f"the {mode} run failed; see {self._folder}/{mode}.log"
        return await self._trades(f"{mode}-001")

    async def live(self, name, *, has_latency):
        """A live run against the exchange; its trades."""
        options = self._options
        text = _SANDBOX.format(
            speed=options.speed,
            stepped=str(not has_latency).lower(),
            delay=1.0 if has_latency else 0.0,
        )
        sandbox = await self._start("sandbox", f"{name}-exchange", text + self._market(), is_piped=True)
        process = None
        try:
            line = await asyncio.wait_for(sandbox.stdout.readline(), 60)
            found = re.search(rb"on (http://\S+) and (ws://\S+):", line)
            assert found, f"the exchange did not start: {line!r}"
            url, stream = found[1].decode(), found[2].decode()
            progress = self._folder / f"{name}.progress"
            run = _RUN.format(
                mode="live",
                folder=self._folder,
                feed="binance",
                broker="binance",
                steady=f'progress_file = "{progress}"',
                seed=options.seed,
            ).replace('name = "live"', f'name = "{name}"')
            run += _LIVE.format(url=url, stream=stream, symbols=self._symbols)
            process = await self._start("run", name, run)
            async with aiohttp.ClientSession() as http:
                await self._play(process, http, url, progress, has_latency=has_latency)
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), 60)
            assert code == 5, f"the stopped run ended with exit code {code}"
        finally:
            for one in (process, sandbox):
                if one is not None and one.returncode is None:
                    one.kill()
                    await one.wait()
        return await self._trades(f"{name}-001")

    async def _play(self, process, http, url, progress, *, has_latency):
        """Let the market go on bar by bar, each only once the run has said all it has to say to the one before."""

        async def post(value):
            async with http.post(f"{url}/sandbox/market", json=value) as answer:
                return await answer.json()

        async def state():
            async with http.get(f"{url}/sandbox/state") as answer:
                return await answer.json()

        for bar in range(1, self._options.bars + 1):
            limit = time.monotonic() + 60
            while (now := await state())["rows"] < bar:
                assert process.returncode is None, "the live run ended by itself"
                assert time.monotonic() < limit, "the market stands still"
                await asyncio.sleep(0.02)
            if has_latency:
                continue
            closed = now["time"] // _MINUTE_MS * _MINUTE_MS
            while not progress.exists() or int(progress.read_text() or 0) < closed:
                assert process.returncode is None, "the live run ended by itself"
                assert time.monotonic() < limit, "the run does not see the bar"
                await asyncio.sleep(0.01)
            seen = -1
            while seen != now["ledger"]:
                seen = now["ledger"]
                await asyncio.sleep(self._options.pause)
                now = await state()
            if bar < self._options.bars:
                await post({"step": 1})
        await post({"paused": True})
        await asyncio.sleep(1.0)
        self.end = (await state())["time"] // _MINUTE_MS * _MINUTE_MS

    def _market(self):
        return _SYNTHETIC.format(symbols=self._symbols, seed=self._options.seed)

    async def _start(self, command, name, text, *, is_piped=False):
        path = self._folder / f"{name}.toml"
        await asyncio.to_thread(path.write_text, text)
        hidden = {"REDIS_URL", "DATABASE_URL"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k not in hidden}
        log = os.open(self._folder / f"{name}.log", os.O_WRONLY | os.O_CREAT)
        try:
            return await asyncio.create_subprocess_exec(
                SLT,
                command,
                "--config",
                str(path),
                cwd=self._folder,
                env={**kept, "PYTHONPATH": str(self._plugins), "SANDBOX_API_KEY": "p", "SANDBOX_API_SECRET": "p"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if is_piped else log,
                stderr=log,
            )
        finally:
            os.close(log)

    async def _trades(self, run_id):
        trades = await self._storage.slt_read_records(Query(Trade, run_id=run_id))
        self.intents = await self._storage.slt_read_records(Query(OrderIntent, run_id=run_id))
        return {(t.symbol, t.entry_time // _MINUTE_MS): t for t in trades if t.exit != "end_of_data"}


def compare(one, other):
    """What differs between two sets of trades: a line for each."""
    lines = []
    for key in sorted(one.keys() | other.keys(), key=lambda k: (k[1], k[0])):
        a, b = one.get(key), other.get(key)
        if a is None or b is None:
            t = a or b
            lines.append(f"{t.symbol} entered {t.entry_time}: only {'before' if a else 'after'}")
            continue
        differing = [f for f in FIELDS if not _same(getattr(a, f), getattr(b, f)) and not _is_one_price(f, a, b)]
        if differing:
            told = ", ".join(f"{f} {getattr(a, f)} / {getattr(b, f)}" for f in differing)
            lines.append(f"{a.symbol} entered {a.entry_time}: {told}")
    return lines


def _same(a, b):
    return abs(a - b) <= _CLOSE * max(1.0, abs(a)) if isinstance(a, float) else a == b


def _is_one_price(name, a, b):
    """Whether two times of an exit belong to one price: prices come every third of a minute."""
    if name != "exit_time" or a.exit in {"stop", "target"}:
        return False
    return a.exit_time // (_MINUTE_MS // 3) == b.exit_time // (_MINUTE_MS // 3)


def explain(offline, live):
    """Every difference that latency made, and why."""
    causes = {}
    for key in sorted(offline.keys() | live.keys(), key=lambda k: (k[1], k[0])):
        for cause in _causes(key, offline, live):
            causes.setdefault(cause, []).append(key)
    return causes


def _causes(key, offline, live):
    a, b = offline.get(key), live.get(key)
    if a is None or b is None:
        return [_cause_of_absence(key, live if a is None else offline, offline if a is None else live)]
    found = []
    if not _same(a.entry_price, b.entry_price):
        found.append("entered at the last price when the order came, not at the open of the next bar")
    if a.exit != b.exit or a.exit_time // _MINUTE_MS != b.exit_time // _MINUTE_MS:
        found.append("left otherwise: stop and target stand off the price of entry decided on, and met another price")
    elif not _same(a.exit_price, b.exit_price):
        found.append("left at the price when the order came, not at the next one")
    if not _same(a.quantity, b.quantity):
        found.append("another size: the equity was another, after other results or at other prices")
    if found or not compare({key: a}, {key: b}):
        return found
    if _same(a.exit_price, b.exit_price) and a.entry_time != b.entry_time:
        return ["the same prices, later: the fill bears the time at which the order came"]
    return [f"UNEXPLAINED: {compare({key: a}, {key: b})}"]


def _cause_of_absence(key, has, lacks):
    """A trade that only one side has: a position was in the way, or no slot was free."""
    symbol, minute = key
    for (other, _), t in lacks.items():
        if other == symbol and t.entry_time // _MINUTE_MS <= minute <= t.exit_time // _MINUTE_MS:
            return "not entered: the position before was still open, or was open longer"
    open_then = sum(1 for t in lacks.values() if t.entry_time // _MINUTE_MS <= minute <= t.exit_time // _MINUTE_MS)
    if open_then >= 3:
        return "not entered: all slots were taken by other positions"
    return f"UNEXPLAINED: {symbol} at {has[key].entry_time}"


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
    known = {k: t for k, t in backtest.items() if t.exit_time < parity.end}
    again = {k: t for k, t in paper.items() if t.exit_time < parity.end}
    print(f"{options.bars} bars of {options.symbols} symbols: trades closed in a back-test {len(known)}, ", end="")
    print(f"in a paper run {len(again)}, live {len(live)}")
    differences = {"back-test / paper": compare(known, again), "back-test / live": compare(known, live)}
    for name, lines in differences.items():
        print(f"{name:<20} differences {len(lines)}")
        for line in lines[:20]:
            print(f"    {line}")
    is_well = bool(known) and not any(differences.values())
    if options.latency:
        late = await parity.live("late", has_latency=True)
        known = {k: t for k, t in backtest.items() if t.exit_time < parity.end}
        same = sum(1 for k in known.keys() & late.keys() if not compare({k: known[k]}, {k: late[k]}))
        print(f"with latency: trades {len(late)} of {len(known)}, equal {same}; the others by cause:")
        for cause, keys in explain(known, late).items():
            print(f"    {len(keys):>4}  {cause}")
            is_well = is_well and not cause.startswith("UNEXPLAINED")
    return is_well


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=240)
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, default=120.0, help="market seconds per second between two stops")
    parser.add_argument("--pause", type=float, default=0.06, help="seconds of silence after which a bar is over")
    parser.add_argument("--latency", action="store_true", help="also with latency, differences listed")
    sys.exit(0 if asyncio.run(carry_out(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
