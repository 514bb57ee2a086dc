"""Peak memory of a whole run: 200 synthetic symbols, 30 days of 1m bars, features and engine, in a process of its own.

python benchmarks/memory.py [--symbols 200] [--days 30]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
[run]
name = "memory"
folder = "{folder}/runs"
[plugins]
feed = "synthetic"
broker = "paper"
storage = "memory"
features = ["ict"]
strategies = ["ict_smc"]
sizer = "kelly"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[feeds.synthetic]
days = {days}
symbols = [{symbols}]
[log]
learning = "error"
"""
CHILD = """
import asyncio, resource, sys, time
from pathlib import Path
from slt.config import read_config
from slt.run.execution import Observer, execute
seen = []
def progressed(progress):
    seen.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, progress))
observer = Observer(started=lambda a: None, progressed=progressed, stopping=lambda: False)
outcome = asyncio.run(execute(read_config(Path(sys.argv[1]), {}), observer))
bars = seen[-1][2].rows * seen[-1][2].symbols
half = seen[len(seen) // 2][1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{bars} {seen[-1][0] - seen[0][0]:.1f} {half:.0f} {seen[-1][1]:.0f} {peak:.0f} {outcome.summary.trades}")
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        symbols = ", ".join(f'"SYN{i}USDT"' for i in range(1, args.symbols + 1))
        path = Path(folder) / "config.toml"
        path.write_text(CONFIG.format(folder=folder, days=args.days, symbols=symbols))
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    bars, seconds, half, end, peak, trades = done.stdout.split()
    heads = ("symbols", "days", "bars", "s", "MiB half-way", "MiB at the end", "MiB peak", "trades")
    print("  ".join(heads))
    row = (args.symbols, args.days, bars, seconds, half, end, peak, trades)
    print("  ".join(str(cell).rjust(len(head)) for cell, head in zip(row, heads, strict=True)))
    print("MiB are the highest resident size so far (the report, with its charts, comes after the end); limit 700")


if __name__ == "__main__":
    main()
