"""Chaos: ``slt run`` in live mode against the local exchange while everything goes wrong, judged by the exchange.

    python benchmarks/chaos.py                      # 500 scenarios, seeds 1 to 500
    python benchmarks/chaos.py --scenarios 9        # a smoke test
    python benchmarks/chaos.py --seed 137 --keep    # one scenario alone, its logs kept

Each scenario is real processes: the exchange (``slt sandbox``) plays a made-up market at 30 x, ``slt run`` trades it
with a coin-tossing strategy and a real PostgreSQL. A third of the scenarios draws 2 to 5 of the exchange's faults, a
third kills ``slt`` with SIGKILL at chosen moments of an order's life and starts it again, a third does both. Times of
the promises are the run's configured ones (`chaos_site.STOP_ACK_S`, `MAX_HOURS`), in market time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from chaos_judge import INVARIANTS, Judge
from chaos_plugins import install
from chaos_scenarios import MOMENTS, draw
from chaos_site import Site
from chaos_watch import HostWatch

from slt.errors import StorageError
from slt_postgres.embedded import EmbeddedServer
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig
from slt_sandbox.fault_rules import CATALOGUE

_LONGEST_S = 300.0


class Chaos:
    """Plays scenarios side by side and adds them up."""

    def __init__(self, folder, storage, socket, options):
        self._folder = folder
        self._storage = storage
        self._socket = socket
        self._options = options
        self._plugins = install(folder / "plugins")
        self._host = HostWatch(folder)
        self.results = {}
        self.skipped = 0
        self._deadline = time.monotonic() + options.minutes * 60

    async def play(self, seeds):
        waiting = iter(seeds)
        watching = asyncio.create_task(self._host.run())

        async def work():
            for seed in waiting:
                if time.monotonic() > self._deadline:
                    self.skipped += 1
                    continue
                await self._one(seed)

        await asyncio.gather(*(work() for _ in range(self._options.jobs)))
        watching.cancel()

    async def _one(self, seed):
        scenario, folder = draw(seed, self._options.market_minutes), self._folder / f"s{seed}"
        site = Site(scenario, folder, self._plugins, self._folder / "data", self._socket, self._storage)
        site.loses_folder = self._options.lose_folder
        try:
            play = await asyncio.wait_for(site.run(), _LONGEST_S)
        except TimeoutError:
            play = site.play
            play.problems.append(f"harness: the scenario did not end within {_LONGEST_S:g} s")
        except Exception as error:  # noqa: BLE001 # one scenario that breaks the harness must not end the others
            play = site.play
            play.problems.append(f"harness: {type(error).__name__}: {error}")
        judge = Judge(scenario, play, self._storage, self._host.stalls)
        try:
            verdict = await judge.judge()
        except StorageError as error:
            # Without the database nothing can be judged: the scenario does not count, and is told as not played.
            print(f"seed {seed:>4} is void: {error}", flush=True)
            self.skipped += 1
            await asyncio.to_thread(EmbeddedServer(self._folder / "data").ensure_running)
            return
        self.results[seed] = _row(scenario, play, verdict)
        self._save()
        self._tell(seed, scenario, play, verdict)
        if verdict.wrong or self._options.keep:
            judge.write_down(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _save(self):
        if self._options.json:
            Path(self._options.json).write_text(json.dumps(self.results))

    def _tell(self, seed, scenario, play, verdict):
        counts = verdict.counts
        told = f"fills {counts['fill']}, trades {counts['trades']}, kills {len(play.kills)}"
        verdict_text = "ok" if not verdict.wrong else "WRONG"
        print(f"seed {seed:>4} {scenario.family:<6} {play.seconds:5.1f} s  {told:<34} {verdict_text}", flush=True)
        for invariant, text in verdict.wrong[:6]:
            print(f"     {invariant}: {text}")
        if verdict.wrong:
            print(f"     faults: {'; '.join(scenario.rules) or 'none'}")
            print(f"     kills: {'; '.join(play.kills) or 'none'}")
            print(f"     alone: python benchmarks/chaos.py --seed {seed} --keep", flush=True)


def _row(scenario, play, verdict):
    """A scenario's result as plain values."""
    return {
        "family": scenario.family,
        "kills": play.kills,
        "missed": play.missed,
        "recovery": play.recovery,
        "failed_starts": play.failed_starts,
        "wrong": verdict.wrong,
        "counts": verdict.counts,
        "faults": verdict.faults,
    }


def show(results, skipped, seconds):
    """The tables."""
    rows = results.values()
    wrong = Counter(name for row in rows for name, _ in row["wrong"])
    totals, faults, kills, missed = Counter(), Counter(), Counter(), Counter()
    families = Counter(row["family"] for row in rows)
    for row in rows:
        longest = max(totals["longest naked ms"], row["counts"].get("longest naked ms", 0))
        totals.update(row["counts"])
        totals["longest naked ms"] = longest
        faults.update(row["faults"])
        kills.update(row["kills"])
        missed.update(row["missed"])
    recovery = sorted(seconds for row in rows for seconds in row["recovery"])
    took = f" in {seconds / 60:.1f} min" if seconds else ""
    print(f"\n{len(results)} scenarios{took}: " + ", ".join(f"{n} {f}" for f, n in families.items()))
    if skipped:
        print(f"NOT PLAYED for lack of time: {skipped}")
    print(
        f"orders {totals['order']}, conditional orders {totals['algo']}, fills {totals['fill']}, positions "
        f"{totals['opened']}, trades stored {totals['trades']}, bars compared {totals['bars']}, orders refused "
        f"{totals['refused']}"
    )
    naked = totals["longest naked ms"] / 1_000
    if totals["standstills"]:
        print(f"times that the machine itself stood still, which is nobody's fault: {totals['standstills']}")
    print(f"spans with too little stop {totals['naked spans']}, the longest {naked:.1f} s of market time")
    failed = sum(row["failed_starts"] for row in rows)
    if recovery:
        median = np.quantile(recovery, 0.5, method="higher")
        print(
            f"restarts {len(recovery)}: ready again after {median:.1f} s (median), {recovery[-1]:.1f} s (longest); ",
            end="",
        )
        print(f"starts that the exchange let fail and that were tried again: {failed}")
    print(f"\n{'invariant':<38}{'violations':>12}")
    for name in INVARIANTS:
        print(f"{name:<38}{wrong[name]:>12}")
    print(f"\n{'SIGKILL at':<38}{'met':>6}{'not met':>9}")
    for name in MOMENTS:
        print(f"{name:<38}{kills[name]:>6}{missed[name]:>9}")
    print(f"\n{'fault':<38}{'struck':>6}")
    for name in CATALOGUE:
        print(f"{name:<38}{faults[name]:>6}")
    failing = sorted(int(seed) for seed, row in results.items() if row["wrong"])
    print(f"\nscenarios with a violation: {len(failing)}" + (f": {failing}" if failing else ""))
    return not failing and not skipped


async def carry_out(options):
    folder = Path(tempfile.mkdtemp(prefix="slt-chaos-"))
    os.environ.pop("DATABASE_URL", None)
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "data")))
    await storage.slt_open_storage()
    began = time.monotonic()
    try:
        server = await asyncio.to_thread(EmbeddedServer(folder / "data").ensure_running)
        socket = server / ".s.PGSQL.5432"
        chaos = Chaos(folder, storage, str(socket), options)
        seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.scenarios)
        await chaos.play(seeds)
    finally:
        await storage.slt_close_storage()
    is_well = show(chaos.results, chaos.skipped, time.monotonic() - began)
    if is_well and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs are in {folder}")
    return is_well


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", type=int, default=500)
    parser.add_argument("--first", type=int, default=1, help="seed of the first scenario")
    parser.add_argument("--jobs", type=int, default=3, help="scenarios side by side")
    parser.add_argument("--seed", type=int, help="only this scenario")
    parser.add_argument("--minutes", type=float, default=120.0, help="no scenario begins after so many")
    parser.add_argument("--market-minutes", type=int, default=7, help="length of a scenario in market time")
    parser.add_argument("--lose-folder", action="store_true", help="each kill takes the run's folder with it")
    parser.add_argument("--keep", action="store_true", help="keep the logs of all scenarios")
    parser.add_argument("--json", help="also write the findings to this file, after each scenario")
    parser.add_argument("--show", nargs="+", metavar="FILE", help="only the tables, of findings written before")
    if files := parser.parse_args().show:
        found = {seed: row for file in files for seed, row in json.loads(Path(file).read_text()).items()}
        sys.exit(0 if show(found, 0, 0.0) else 1)
    sys.exit(0 if asyncio.run(carry_out(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
