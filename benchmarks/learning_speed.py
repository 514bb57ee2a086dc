"""How long a fit takes from a warm worker, what it does to the event loop, and how long predictions take.

Run: ``python benchmarks/learning_speed.py`` (about a minute), ``--quick`` leaves out the 50,000 samples.
The samples are made up (`slt.testing.model.planted_samples`), with an edge, so that the trees have something to split.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from statistics import median

import numpy as np

from slt.config.sections import GateConfig
from slt.run.fitting import FitWorker
from slt.testing.model import planted_samples
from slt.types import FitRequest
from slt_xgboost.model import XgboostModel, XgboostModelConfig

TARGETS = {500: 1.0, 5_000: 3.0, 50_000: 20.0}
PREDICT_TARGETS_MS = {400: 2.0, 5_000: 10.0}
TICK_SECONDS = 0.005


def make_request(rows: int) -> FitRequest:
    return FitRequest("bench", "bench", 1, "hash", 0, 0, planted_samples(rows, 1), seed=1)


async def loop_lag_ms(seconds: float) -> list[float]:
    """Lateness of a timer, as trading would feel it."""
    lags = []
    end = time.perf_counter() + seconds
    while (due := time.perf_counter() + TICK_SECONDS) < end:
        await asyncio.sleep(TICK_SECONDS)
        lags.append((time.perf_counter() - due) * 1e3)
    return lags


def p99(values: list[float]) -> float:
    return float(np.quantile(values, 0.99))


async def time_fits(sizes: list[int]) -> None:
    worker = FitWorker(
        "slt_xgboost.model:XgboostModel", XgboostModelConfig(), GateConfig(), timeout_seconds=300, memory_mb=4096
    )
    try:
        begun = time.perf_counter()
        await worker.fit(make_request(50))
        print(f"cold start of the worker, plugin imported: {time.perf_counter() - begun:.2f} s\n")
        print("| samples | fit, scored by the gate (s) | at most | verdict |\n|---|---|---|---|")
        for rows in sizes:
            request = make_request(rows)
            took = []
            for _ in range(3 if rows < 50_000 else 1):
                begun = time.perf_counter()
                report = await worker.fit(request)
                took.append(time.perf_counter() - begun)
            print(f"| {rows:,} | {min(took):.2f} | {TARGETS[rows]:g} | {report.verdict[:60]} |")
        quiet = await loop_lag_ms(3.0)
        fit = asyncio.create_task(worker.fit(make_request(5_000)))
        busy = []
        while not fit.done():
            busy += await loop_lag_ms(0.25)
        await fit
        print(f"\nevent loop, p99 lateness of a 5 ms timer: {p99(quiet):.2f} ms idle, {p99(busy):.2f} ms during a fit")
    finally:
        await worker.stop()


def time_predictions() -> None:
    model = XgboostModel(XgboostModelConfig())
    predictor = model.slt_load_model(model.slt_fit_model(planted_samples(5_000, 2), seed=1))
    print("\n| rows predicted | median (ms) | at most |\n|---|---|---|")
    for rows, target in PREDICT_TARGETS_MS.items():
        x = planted_samples(rows, 3).x
        took = []
        for _ in range(50):
            begun = time.perf_counter()
            predictor.predict(x)
            took.append((time.perf_counter() - begun) * 1e3)
        print(f"| {rows:,} | {median(took):.2f} | {target:g} |")


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    sizes = [rows for rows in TARGETS if rows < 50_000 or "--quick" not in sys.argv]
    asyncio.run(time_fits(sizes))
    time_predictions()


if __name__ == "__main__":
    main()
