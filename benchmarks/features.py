"""Speed and memory of the feature set `ict`: one table.

Run it from the repository: ``python benchmarks/features.py`` (about a minute). Each figure comes from its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAY = 1_440
MINUTE_MS = 60_000
START = 1_746_316_800_000


def day_of_bars(rng, symbols, day, price):
    """One day of 1m bars of a random walk; `price` is carried from day to day."""
    import numpy as np

    from slt.types import Bars, BarState

    shape = (DAY, symbols)
    close = price * np.exp(np.cumsum(rng.normal(0, 6e-4, shape), axis=0))
    open_ = np.vstack([price, close[:-1]])
    wick = np.abs(rng.normal(0, 3e-4, (2, *shape)))
    high = np.maximum(open_, close) * (1 + wick[0])
    low = np.minimum(open_, close) * (1 - wick[1])
    volume = np.exp(rng.normal(3, 1, shape))
    times = START + (day * DAY + 1 + np.arange(DAY, dtype=np.int64)) * MINUTE_MS
    names = tuple(f"S{i:03d}USDT" for i in range(symbols))
    state = np.full(shape, BarState.TRADED, dtype=np.uint8)
    bars = Bars(names, MINUTE_MS, times, open_, high, low, close, volume, volume * rng.random(shape), state)
    return bars, close[-1]


def start(symbols):
    from slt_ict.features import IctFeatures, IctFeaturesConfig

    features = IctFeatures(IctFeaturesConfig())
    begin = time.perf_counter()
    features.slt_start_features(tuple(f"S{i:03d}USDT" for i in range(symbols)), MINUTE_MS)
    return features, time.perf_counter() - begin


def measure_batch(symbols, days):
    """Symbol-bars per second in day blocks, once warm; the making of the bars is not counted."""
    import numpy as np

    features, _ = start(symbols)
    rng, price = np.random.default_rng(1), np.full(symbols, 100.0)
    times = []
    for day in range(days):
        bars, price = day_of_bars(rng, symbols, day, price)
        begin = time.perf_counter()
        features.slt_update_features(bars)
        times.append(time.perf_counter() - begin)
    warm = times[8:]
    return {"median": DAY * symbols / float(np.median(warm)), "slowest": DAY * symbols / max(warm)}


def measure_live(symbols, days):
    """Milliseconds for one minute of all symbols, by what that minute closes, after `days` of history."""
    import numpy as np

    features, _ = start(symbols)
    rng, price = np.random.default_rng(2), np.full(symbols, 100.0)
    for day in range(days):
        bars, price = day_of_bars(rng, symbols, day, price)
        features.slt_update_features(bars)
    steps = {"none": [], "5m": [], "1h": []}
    for day in range(days, days + 3):
        bars, price = day_of_bars(rng, symbols, day, price)
        for row in range(DAY):
            block = bars.rows(row, row + 1)
            end = int(block.close_time[0])
            begin = time.perf_counter()
            features.slt_update_features(block)
            kind = "1h" if end % 3_600_000 == 0 else "5m" if end % 300_000 == 0 else "none"
            steps[kind].append((time.perf_counter() - begin) * 1_000)
    return {kind: [float(np.median(t)), float(np.percentile(t, 99))] for kind, t in steps.items()}


def measure_memory(symbols, days):
    """Peak resident memory in MB: after the imports, and after all days as day blocks that are dropped again."""
    import numpy as np

    features, _ = start(symbols)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    rng, price = np.random.default_rng(3), np.full(symbols, 100.0)
    for day in range(days):
        bars, price = day_of_bars(rng, symbols, day, price)
        features.slt_update_features(bars)
    return {"imports": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024}


def measure_compile():
    """Seconds until the kernel is ready."""
    return {"seconds": start(1)[1]}


MEASURES = {
    "batch": measure_batch,
    "live": measure_live,
    "memory": measure_memory,
    "compile": measure_compile,
}


def ask(measure, *arguments, cache=None):
    """Take one measure in a process of its own."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    command = [sys.executable, __file__, "--measure", measure, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benchmark `{measure}` failed:\n{done.stderr}")
    return json.loads(done.stdout)


def describe_machine():
    import numba
    import numpy as np

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
        f"numba {numba.__version__}, numpy {np.__version__}"
    )


def print_table():
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as cache:
        cold = ask("compile", cache=cache)["seconds"]
        warm = ask("compile", cache=cache)["seconds"]
    rows = [
        ("kernel ready, first use (compiles)", f"{cold:.1f} s", "<= 20 s"),
        ("kernel ready, later (from the cache)", f"{warm:.2f} s", ""),
    ]
    for symbols, days in ((8, 60), (200, 20)):
        speed = ask("batch", symbols, days)
        text = f"{speed['median'] / 1e6:.1f} M/s (slowest day {speed['slowest'] / 1e6:.1f})"
        rows.append((f"batch, {symbols} symbols, 1m, day blocks, one core", text, ">= 4.0 M symbol-bars/s"))
    for kind, (median, p99) in ask("live", 200, 10).items():
        what = {"none": "no candle", "5m": "a 5m candle", "1h": "1h, 15m and 5m candles"}[kind]
        rows.append((f"live step, 200 symbols, closing {what}", f"{median:.3f} ms, p99 {p99:.3f} ms", "<= 1 ms"))
    memory = ask("memory", 200, 30)
    text = f"{memory['peak']:.0f} MB ({memory['imports']:.0f} MB of it imports and kernel)"
    rows.append(("peak memory, 200 symbols x 30 days", text, "<= 700 MB with the engine"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print(machine)
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=MEASURES, help="take one measure and print it as JSON")
    parser.add_argument("arguments", nargs="*", type=int)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](*options.arguments)))
    else:
        print_table()


if __name__ == "__main__":
    main()
