"""Operations under failure: a week of ``slt run`` in live mode while everything it leans on is killed and paused.

    python benchmarks/chaos_ops.py --json week.json            # seven days, 50 kills, 50 clean stops, 20 pairs
    python benchmarks/chaos_ops.py --json week.json            # again: goes on with the days that are not in the file
    python benchmarks/chaos_ops.py --part 3 --keep             # one day alone, its logs kept
    python benchmarks/chaos_ops.py --show week.json            # only the table

Each day is real processes: the exchange (``slt sandbox``), PostgreSQL, Valkey, a server that speaks Telegram's API and
one that speaks Discord's, and ``slt run``, which trades with a coin-tossing strategy. All but the exchange are killed,
paused and restarted at random, from the seed. Now and then two instances are started at once: one has to wait, and to
take over when the other ends. The exchange's ledger, the database and what the channels took must agree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from chaos_plugins import install
from chaos_watch import HostWatch
from ops_judge import OPS_INVARIANTS, OpsJudge
from ops_report import show
from ops_servers import Servers, remove
from ops_site import OpsSite
from ops_week import draw

from slt_postgres.storage import PostgresStorage, PostgresStorageConfig

_LONGEST_S = 600.0


class Week:
    """Plays parts side by side and adds them up."""

    def __init__(self, folder, options):
        self._folder, self._options = folder, options
        self._plugins = install(folder / "plugins")
        self._host = HostWatch(folder)
        self._ends = time.monotonic() + options.minutes_at_most * 60
        self.results = _earlier(options)

    async def play(self, parts):
        waiting = iter([part for part in parts if str(part.number) not in self.results])
        watching = asyncio.create_task(self._host.run())

        async def work():
            for part in waiting:
                if time.monotonic() < self._ends:
                    await self._one(part)

        await asyncio.gather(*(work() for _ in range(self._options.jobs)))
        watching.cancel()

    async def _one(self, part):
        folder = self._folder / f"p{part.number}"
        servers = await asyncio.to_thread(Servers, folder, part.seed)
        variable = f"CHAOS_OPS_DATABASE_{part.number}"
        os.environ[variable] = servers.postgres.url
        storage = PostgresStorage(PostgresStorageConfig(url_env=variable))
        try:
            await servers.start()
            await storage.slt_open_storage()
            row = await self._judged(part, folder, servers, storage)
            await storage.slt_close_storage()
        finally:
            await asyncio.to_thread(servers.end)
        self.results[str(part.number)] = row
        self._tell(part, row)
        self._save()
        if not row["wrong"] and not self._options.keep:
            remove(folder)

    def _save(self):
        if self._options.json:
            found = {"options": _drawn_from(self._options), "parts": self.results}
            Path(self._options.json).write_text(json.dumps(found))

    async def _judged(self, part, folder, servers, storage):
        site = OpsSite(part, folder, self._plugins, servers, storage)
        try:
            play = await asyncio.wait_for(site.run(), _LONGEST_S)
        except Exception as error:  # noqa: BLE001 # a part that breaks the harness must not end the others
            traceback.print_exc()
            play = site.play
            play.problems.append(f"harness: {type(error).__name__}: {error}")
        files = {name: one.file for name, one in servers.channels.items()}
        judge = OpsJudge(part, play, storage, self._host.stalls, files)
        verdict = await judge.judge()
        if verdict.wrong or self._options.keep:
            judge.write_down(folder)
        return {
            "seconds": play.seconds,
            "wrong": verdict.wrong,
            "counts": dict(verdict.counts),
            "kills": play.kill_count,
            "codes": play.codes,
            "pairs": play.pairs,
            "waited": play.waited,
            "took": play.took,
            "outages": play.outages,
            "lags": sorted(play.lags),
        }

    def _tell(self, part, row):
        counts, word = row["counts"], "WRONG" if row["wrong"] else "ok"
        told = f"{counts['trades']} trades, {row['kills']} kills, {len(row['codes'])} stops, {row['pairs']} pairs"
        print(f"part {part.number} {row['seconds']:6.1f} s  {told:<46} {word}", flush=True)
        for invariant, text in row["wrong"][:8]:
            print(f"     {invariant}: {text}")
        if row["wrong"]:
            given = _drawn_from(self._options)
            words = " ".join(f"--{name} {value:g}" for name, value in given.items())
            print(f"     alone: python benchmarks/chaos_ops.py {words} --part {part.number} --keep", flush=True)


def _drawn_from(options):
    """What a week is drawn from."""
    return {
        name: getattr(options, name)
        for name in ("seed", "parts", "minutes", "speed", "kills", "stops", "pairs", "outages")
    }


def _earlier(options):
    """Parts that an earlier call has finished, where they are of the same week."""
    path = Path(options.json) if options.json else None
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text())
    return found["parts"] if found["options"] == _drawn_from(options) else {}


async def carry_out(options):
    folder, began = Path(tempfile.mkdtemp(prefix="slt-week-")), time.monotonic()
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    parts = draw(options.seed, options)
    week = Week(folder, options)
    await week.play([part for part in parts if options.part in (None, part.number)])
    is_well = show(week.results, options, time.monotonic() - began, OPS_INVARIANTS)
    if is_well and not options.keep:
        remove(folder)
    else:
        print(f"logs are in {folder}")
    return is_well


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the week")
    parser.add_argument("--parts", type=int, default=7, help="parts, each a day of the market")
    parser.add_argument("--minutes", type=int, default=1440, help="length of a part in market time")
    parser.add_argument("--speed", type=float, default=1000.0, help="market seconds per second")
    parser.add_argument("--kills", type=int, default=50, help="times that slt is killed, in all parts together")
    parser.add_argument("--stops", type=int, default=50, help="times that it is stopped, besides the end of each part")
    parser.add_argument("--pairs", type=int, default=20, help="of these ends, how many have a standby to take over")
    parser.add_argument("--outages", type=int, default=4, help="outages of each service in each part")
    parser.add_argument("--jobs", type=int, default=2, help="parts side by side")
    parser.add_argument("--part", type=int, help="only this part")
    parser.add_argument("--minutes-at-most", type=float, default=30.0, help="no part begins after so many, wall time")
    parser.add_argument("--keep", action="store_true", help="keep the logs of all parts")
    parser.add_argument("--json", help="write the findings to this file after each part; parts in it are not repeated")
    parser.add_argument("--show", metavar="FILE", help="only the table, of findings written before")
    options = parser.parse_args()
    if options.show:
        found = json.loads(Path(options.show).read_text())
        options = parser.parse_args([], argparse.Namespace(**vars(options) | found["options"]))
        sys.exit(0 if show(found["parts"], options, 0.0, OPS_INVARIANTS) else 1)
    sys.exit(0 if asyncio.run(carry_out(options)) else 1)


if __name__ == "__main__":
    main()
