"""Whole replay runs: speed of engine, features and predictions, with and without PostgreSQL; results of the real sets.

    python benchmarks/replay.py                      # the synthetic main job
    python benchmarks/replay.py --data ../shared/data --set a --set b --set c
    python benchmarks/replay.py --storage postgres   # one storage only

Sets: (a) eight majors, 1m, May 2025; (b) four with taker volume, 1m, February 2023; (c) BTC and SOL, 5m, November 2023
to June 2025. A run is taken `--repeat` times and the median is printed. "bars/s" are symbol-minutes (symbol-bars for c)
per second of the whole run, without start-up and without waiting for fits; "µs/position" is the time spent on moving
prices of open positions, per open position and bar.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from slt.config import read_config
from slt.run.execution import Observer, execute
from slt.run.session import Session

PIPELINE = """
[run]
name = "bench"
folder = "{folder}/runs"
[plugins]
feed = "{feed}"
broker = "paper"
storage = "{storage}"
features = ["ict"]
strategies = ["ict_smc"]
model = "xgboost"
sizer = "kelly"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
"""
POSTGRES = """
[storages.postgres]
embedded_folder = "{folder}/postgres"
"""
RECORDED = """
[feeds.replay]
files = [{files}]
start = "{start}"
end = "{end}"
[brokers.paper]
exchange_info = "{data}/raw/exchangeinfo/fapi-exchangeInfo-testnet-2025-12-24.json"
leverage_brackets = "{data}/raw/leverage/binance_leverage_tiers.json"
"""
SETS = {
    "a": (["BTC", "ETH", "SOL", "XRP", "BNB", "LTC", "SUI", "ETC"], "1m", "2025-05-04", "2025-06-03"),
    "b": (["ALGO", "AVAX", "LINK", "NEAR"], "1m", "2023-02-01", "2023-03-01"),
    "c": (["BTC", "SOL"], "5m", "2023-11-01", "2025-07-01"),
}


class Clock:
    """Time spent inside chosen methods of the session."""

    def __init__(self):
        self.moving = self.waiting = 0.0
        self.positions = 0
        self._originals = (Session.move_through_bar, Session._take_fits)

    def __enter__(self):
        move, take = self._originals

        async def moved(session, block, row):
            self.positions += len(session.engine.portfolio.holdings)
            began = time.perf_counter()
            await move(session, block, row)
            self.moving += time.perf_counter() - began

        async def taken(session, block, row, now):
            began = time.perf_counter()
            block = await take(session, block, row, now)
            self.waiting += time.perf_counter() - began
            return block

        Session.move_through_bar, Session._take_fits = moved, taken
        return self

    def __exit__(self, *_):
        Session.move_through_bar, Session._take_fits = self._originals


def config_text(name, data, storage, folder):
    feed = "synthetic" if name == "synthetic" else "replay"
    text = PIPELINE.format(folder=folder, feed=feed, storage=storage)
    if storage == "postgres":
        text += POSTGRES.format(folder=folder)
    if feed == "replay":
        symbols, interval, start, end = SETS[name]
        files = ", ".join(f'"{data}/{s}USDT-{interval}-futures.parquet"' for s in symbols)
        text += RECORDED.format(files=files, start=start, end=end, data=data)
    return text


def run_once(name, data, storage):
    with tempfile.TemporaryDirectory() as folder, Clock() as clock:
        path = Path(folder) / "config.toml"
        path.write_text(config_text(name, data, storage, folder))
        marks = {}

        def started(assembly):
            marks["began"] = time.perf_counter()

        def progressed(progress):
            marks["ended"] = time.perf_counter()
            marks["bars"] = progress.rows * progress.symbols

        observer = Observer(started=started, progressed=progressed, stopping=lambda: False)
        outcome = asyncio.run(execute(read_config(path, {}), observer))
        flushed = time.perf_counter()
    spent = marks["ended"] - marks["began"] - clock.waiting
    return {
        "summary": outcome.summary,
        "problems": outcome.problems,
        "rate": marks["bars"] / spent,
        "bars": marks["bars"],
        "spent": spent,
        "waiting": clock.waiting,
        "position": 1e6 * clock.moving / max(1, clock.positions),
        "positions": clock.positions,
        "tail": flushed - marks["ended"],
    }


def table(heads, rows):
    widths = [max(len(str(r[i])) for r in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        print("  ".join(str(c).rjust(w) for c, w in zip(row, widths, strict=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the recorded candles")
    parser.add_argument("--set", action="append", choices=[*SETS, "synthetic"], dest="sets")
    parser.add_argument("--storage", action="append", choices=["memory", "postgres"], dest="storages")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f}\n")
    speed, results = [], []
    for name in args.sets or ["synthetic"]:
        base = None
        for storage in args.storages or ["memory", "postgres"]:
            runs = [run_once(name, args.data, storage) for _ in range(args.repeat)]
            rate = statistics.median(r["rate"] for r in runs)
            base = base or rate
            last = runs[-1]
            position = statistics.median(r["position"] for r in runs)
            summary = last["summary"]
            speed.append(
                [
                    name,
                    storage,
                    last["bars"],
                    f"{statistics.median(r['spent'] for r in runs):.2f}",
                    f"{statistics.median(r['waiting'] for r in runs):.2f}",
                    f"{rate:,.0f}",
                    f"{rate / base:.0%}",
                    last["positions"],
                    f"{position:.1f}",
                    summary.trades,
                ]
            )
        exits = ", ".join(f"{g.key} {g.trades}" for g in summary.by_exit)
        promoted = sum(m.promoted for m in summary.models)
        results.append(
            [
                name,
                summary.trades,
                f"{summary.win_rate:.1%}" if summary.trades else "",
                f"{summary.net_pnl:+.2f}",
                f"{summary.expectancy_r:+.3f}" if summary.trades else "",
                f"{summary.max_drawdown_relative.fraction:.2%}",
                len(summary.models),
                promoted,
                summary.trade_hash[:12],
                exits,
            ]
        )
    heads = [
        "set",
        "storage",
        "bars",
        "s",
        "s waiting for fits",
        "bars/s",
        "of memory",
        "position-bars",
        "µs/position",
        "trades",
    ]
    table(heads, speed)
    print()
    heads = ["set", "trades", "won", "net USDT", "mean R", "drawdown", "fits", "promoted", "trade hash", "exits"]
    table(heads, results)


if __name__ == "__main__":
    main()
