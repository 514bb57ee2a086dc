"""Speed of the feature set `ict` against the library `smartmoneyconcepts`, in one run: ratios of CPU time.

    python benchmarks/smc_speed.py                       about two minutes
    python benchmarks/smc_speed.py --candles 20000       the library on fewer candles

The library does its eight functions on one frame of candles, with the swing length of `ict` (5). `ict` is given the
same candles as 1m bars, in blocks of a day, and computes its three timeframes and twelve features from them. A candle
of the library stands against a 1m bar of `ict`, and against five of them (one 5m candle).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time

import numpy as np
import pandas as pd
from features import DAY, MINUTE_MS, START, day_of_bars, describe_machine, start
from replay import table

with contextlib.redirect_stdout(io.StringIO()):  # it prints a plea for stars when it is imported
    from smartmoneyconcepts import smc

SWING_LENGTH = 5
WINDOW = 500
SYMBOLS = 200
LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)


def frame_of(bars):
    columns = {name: getattr(bars, name)[:, 0] for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.to_datetime(bars.close_time - MINUTE_MS, unit="ms"))


def run_library(frame):
    swings = smc.swing_highs_lows(frame, swing_length=SWING_LENGTH)
    smc.fvg(frame)
    smc.bos_choch(frame, swings)
    smc.ob(frame, swings)
    smc.liquidity(frame, swings)
    smc.previous_high_low(frame)
    smc.sessions(frame, "London")
    smc.retracements(frame, swings)


def time_library(frame):
    begin = time.process_time()
    run_library(frame)
    return time.process_time() - begin


def time_ict(candles):
    """Seconds for one symbol and so many 1m bars in day blocks; the making of the bars is not counted."""
    features, _ = start(1)
    rng, price, spent = np.random.default_rng(1), np.full(1, 100.0), 0.0
    for day in range(-(-candles // DAY)):
        bars, price = day_of_bars(rng, 1, day, price)
        bars = bars.rows(0, min(DAY, candles - day * DAY))
        begin = time.process_time()
        features.slt_update_features(bars)
        spent += time.process_time() - begin
    return spent


def walk(candles):
    from slt.types import Bars

    rng, price, blocks = np.random.default_rng(1), np.full(1, 100.0), []
    for day in range(-(-candles // DAY)):
        bars, price = day_of_bars(rng, 1, day, price)
        blocks.append(bars)
    return Bars.concatenate(blocks).rows(0, candles)


def time_live_steps(days=8):
    """Median seconds for one minute of 200 symbols that closes a 1h, a 15m and a 5m candle."""
    features, _ = start(SYMBOLS)
    rng, price, steps = np.random.default_rng(2), np.full(SYMBOLS, 100.0), []
    for day in range(days):
        bars, price = day_of_bars(rng, SYMBOLS, day, price)
        if day < days - 2:
            features.slt_update_features(bars)
            continue
        for row in range(DAY):
            block = bars.rows(row, row + 1)
            begin = time.process_time()
            features.slt_update_features(block)
            if int(block.close_time[0]) % 3_600_000 == 0:
                steps.append(time.process_time() - begin)
    return float(np.median(steps))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candles", type=int, default=100_000)
    options = parser.parse_args()
    print(describe_machine())
    candles = walk(options.candles)
    assert candles.close_time[0] == START + MINUTE_MS
    run_library(frame_of(candles.rows(0, 1_000)))
    theirs = time_library(frame_of(candles)) / options.candles
    ours = float(np.median([time_ict(options.candles) for _ in range(3)])) / options.candles
    windows = [frame_of(candles.rows(i * WINDOW, (i + 1) * WINDOW)) for i in range(10)]
    window = float(np.median([time_library(frame) for frame in windows]))
    step = time_live_steps()
    rows = [
        ("smartmoneyconcepts, eight functions, per candle", f"{theirs * 1e6:.1f} µs", ""),
        ("ict, three timeframes, per 1m candle", f"{ours * 1e6:.3f} µs", ""),
        ("  times faster per 1m candle", f"{theirs / ours:,.0f}", ">= 1,000"),
        ("  times faster per 5m candle", f"{theirs / ours / 5:,.0f}", ">= 150"),
        (f"smartmoneyconcepts, one window of {WINDOW} candles anew", f"{window * 1e3:.1f} ms", ""),
        (f"ict, live step of {SYMBOLS} symbols closing 1h, 15m and 5m", f"{step * 1e3:.3f} ms", ""),
        (f"  times faster than {SYMBOLS} windows", f"{SYMBOLS * window / step:,.0f}", ">= 5,000"),
    ]
    table(["what", "found", "bar"], [list(row) for row in rows])
    print("\ncost per candle by length")
    costs = {length: time_ict(length) / length for length in LENGTHS}
    least = min(costs.values())
    flat = [[f"{n:,}", f"{cost * 1e9:.1f} ns", f"{cost / least:.2f}"] for n, cost in costs.items()]
    table(["1m candles", "per candle", "of the least"], flat)


if __name__ == "__main__":
    main()
