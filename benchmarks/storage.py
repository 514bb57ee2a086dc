"""What storing costs: the engine's side, the journal, batches, a bulk load, each hot query with and without its index.

``python benchmarks/storage.py`` takes a minute, on a private server in a temporary folder; ``--trades 1000000`` more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import asyncpg
from attrs import evolve

from slt.storage.contract import Query
from slt.storage.journal import SYNC_POLICIES, Journal
from slt.storage.writer import Writer
from slt.testing.storage import make_record
from slt.types import Decision, Trade
from slt_postgres.storage import PostgresStorage, PostgresStorageConfig
from slt_postgres.tables import TABLES

DAY = 86_400_000
START = 1_700_000_000_000

SECONDARY = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'trades' AND indexname <> 'trades_pkey'"
INDEX_SIZES = """
SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes WHERE relname = 'trades' ORDER BY 1
"""
RUN_STATISTICS = """
SELECT symbol, count(*), avg(won::int), sum(net_pnl), avg(r_multiple), sum(fees), sum(funding)
FROM trades WHERE run_id = 'demo-007' GROUP BY symbol
"""
ONE_DAY = f"SELECT * FROM trades WHERE entry_time BETWEEN {START} AND {START + DAY}"
RATES = "SELECT run_id, won, count(*), sum(net_pnl) FROM trades GROUP BY run_id, won"
WORST_LOSERS = "SELECT * FROM trades WHERE run_id = 'demo-007' AND NOT won ORDER BY net_pnl LIMIT 10"
BEST_WINNERS = "SELECT * FROM trades WHERE run_id = 'demo-007' AND won ORDER BY net_pnl DESC, id DESC LIMIT 10"
NEWEST = Query(Trade, newest_first=True, limit=100)
HOT_QUERIES = (
    ("ten worst losers of a run", "trades_by_won", WORST_LOSERS),
    ("ten best winners of a run", "trades_by_won", BEST_WINNERS),
    ("win rate, profit factor of all runs", "trades_by_won", RATES),
    ("entered in one day", "trades_by_entry_time", ONE_DAY),
    ("newest 100 of all runs", "trades_by_exit_time", NEWEST),
    ("newest 100 of a symbol", "trades_by_symbol", evolve(NEWEST, symbol="SYM07USDT")),
    ("ten best", "trades_by_net_pnl", "SELECT * FROM trades ORDER BY net_pnl DESC LIMIT 10"),
    ("statistics of a run", "trades_stats", RUN_STATISTICS),
    ("newest 100 of a run", "trades_stats", evolve(NEWEST, run_id="demo-007")),
)


def trades(first, count, dice):
    made = []
    for number in range(first, first + count):
        net = dice.gauss(0, 10)
        entry = START + number * 60_000
        made.append(
            make_record(
                Trade,
                number,
                run_id=f"demo-{number % 20:03d}",
                symbol=f"SYM{dice.randrange(40):02d}USDT",
                entry_time=entry,
                exit_time=entry + dice.randrange(7_200_000),
                net_pnl=net,
                r_multiple=net / 10,
                won=net > 0,
            )
        )
    return made


def decisions(first, count):
    numbers = {"confidence": 0.71, "cost": 0.12, "risk": 10.5, "margin": 52.25, "reward_to_risk": 1.5}
    return [make_record(Decision, number, numbers=numbers) for number in range(first, first + count)]


def show(title, head, rows):
    print(f"\n{title}")
    table = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def per_second(count, seconds):
    return f"{count / seconds:,.0f}"


async def measure_put():
    writer = Writer(PostgresStorage(PostgresStorageConfig()), None)
    batch = trades(0, 3, random.Random(1))
    began = time.perf_counter()
    for _ in range(100_000):
        writer.put(batch)
    seconds = time.perf_counter() - began
    show("Engine's side", ["what", "microseconds"], [["Writer.put of 3 records", f"{seconds / 100_000 * 1e6:.2f}"]])


def measure_journal(folder):
    rows = []
    batch = trades(0, 50, random.Random(1))
    for policy in SYNC_POLICIES:
        journal = Journal(folder / policy, sync=policy)
        journal.open()
        began = time.perf_counter()
        for _ in range(200):
            journal.append(batch)
        appended = time.perf_counter() - began
        began = time.perf_counter()
        count = sum(1 for _ in journal.replay())
        rows.append([policy, per_second(200 * 50, appended), per_second(count, time.perf_counter() - began)])
        journal.close()
    show("Journal, trades in batches of 50", ["fsync", "appended/s", "replayed/s"], rows)


async def measure_batches(storage):
    rows = []
    dice = random.Random(2)
    first = 10_000_000
    for size, times in ((1, 50), (10, 50), (100, 30), (1000, 10), (10_000, 3)):
        row = [f"{size:,}"]
        for kind in (Trade, Decision):
            spans = []
            for _ in range(times):
                batch = trades(first, size, dice) if kind is Trade else decisions(first, size)
                first += size
                began = time.perf_counter()
                await storage.slt_write_records(batch)
                spans.append(time.perf_counter() - began)
            row += [per_second(size, statistics.median(spans)), f"{statistics.median(spans) * 1000:.1f}"]
        rows.append(row)
    show("Batches (median)", ["records", "trades/s", "ms", "decisions/s", "ms"], rows)


async def measure_bulk(storage, folder, count):
    dice = random.Random(3)
    rows = []
    for name, journal, share in (("memory", None, count), ("journal", Journal(folder / "bulk"), count // 10)):
        batches = [trades(start, 10_000, dice) for start in range(0, share, 10_000)]
        writer = Writer(storage, journal)
        await writer.open()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(writer.run())
            for batch in batches:
                await writer.wait_for_room()
                writer.put(batch)
            await writer.flush()
            writer.stop()
        seconds = time.perf_counter() - began
        rows.append([name, f"{share:,}", f"{seconds:.1f}", per_second(share, seconds)])
    head = ["behind", "trades", "seconds", "trades/s"]
    show("Bulk of trades through the writer, six indices on (the second replaces rows of the first)", head, rows)


async def measure_queries(folder):
    rows = []
    connection = await asyncpg.connect(host=str(folder / "postgres"), user="postgres", database="postgres")
    await connection.execute("VACUUM ANALYZE trades")
    for name, index, asked in HOT_QUERIES:
        sql, parameters = (asked, []) if isinstance(asked, str) else TABLES[Trade].select(asked)
        used, quick, pages = await timed(connection, sql, parameters)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"DROP INDEX {index}")
        other, slow, more_pages = await timed(connection, sql, parameters)
        await transaction.rollback()
        gain = f"{slow / quick:.0f}×"
        rows.append([name, index, f"{quick:.2f}", f"{slow:.2f}", gain, pages, more_pages, used, other])
    sizes = await connection.fetch(INDEX_SIZES)
    await connection.close()
    head = ["query", "index", "ms with", "ms without", "gain", "pages with", "without", "plan with", "plan without"]
    show("Hot queries (median of 5; pages = 8 kB blocks touched)", head, rows)
    show("Size of the indices", ["index", "MiB"], [[name, f"{size / 2**20:.0f}"] for name, size in sizes])


async def measure_index_cost(folder):
    """What the six indices cost a write: 10,000 new trades in batches of 100, with them and without."""
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "postgres")))
    await storage.slt_open_storage()
    connection = await asyncpg.connect(host=str(folder / "postgres"), user="postgres", database="postgres")
    definitions = await connection.fetch(SECONDARY)
    rows, first = [], 20_000_000
    for name in ("six", "none"):
        batches = [trades(first + start, 100, random.Random(4)) for start in range(0, 10_000, 100)]
        first += 10_000
        spans = []
        for batch in batches:
            began = time.perf_counter()
            await storage.slt_write_records(batch)
            spans.append(time.perf_counter() - began)
        rows.append([name, f"{statistics.median(spans) * 1000:.1f}", f"{min(spans) * 1000:.1f}"])
        if name == "six":
            for index, _ in definitions:
                await connection.execute(f"DROP INDEX {index}")
    for _, definition in definitions:
        await connection.execute(definition)
    await connection.close()
    await storage.slt_close_storage()
    show("Writing 100 new trades, a hundred times", ["indices", "ms (median)", "ms (least)"], rows)


async def timed(connection, sql, parameters):
    """Names of the scans in the plan, median execution time in ms, and blocks touched."""
    spans = []
    for _ in range(5):
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *parameters)
        plan = json.loads(text)[0]
        spans.append(plan["Execution Time"])
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return scans(plan["Plan"]), statistics.median(spans), f"{pages:,}"


def scans(plan):
    inner = ", ".join(filter(None, (scans(part) for part in plan.get("Plans", []))))
    name = f"{plan['Node Type']} {plan.get('Index Name', '')}".strip() if "Scan" in plan["Node Type"] else ""
    return ", ".join(filter(None, (name, inner)))


async def measure_reading(storage, count):
    began = time.perf_counter()
    found = await storage.slt_read_records(Query(Trade, limit=min(count, 100_000)))
    seconds = time.perf_counter() - began
    show(
        "Reading records back",
        ["trades", "seconds", "trades/s"],
        [[f"{len(found):,}", f"{seconds:.2f}", per_second(len(found), seconds)]],
    )


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=100_000, help="trades that the hot queries meet")
    count = max(parser.parse_args().trades, 10_000)
    os.environ.pop("DATABASE_URL", None)
    folder = Path(tempfile.mkdtemp(prefix="slt-bench-"))
    storage = PostgresStorage(PostgresStorageConfig(embedded_folder=str(folder / "postgres")))
    try:
        began = time.perf_counter()
        print(await storage.slt_open_storage())
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        print(f"first start {time.perf_counter() - began:.1f} s; {machine}")
        await measure_put()
        measure_journal(folder)
        await measure_bulk(storage, folder, count)
        await measure_queries(folder)
        await measure_index_cost(folder)
        await measure_reading(storage, count)
        await measure_batches(storage)
    finally:
        await storage.slt_close_storage()
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
