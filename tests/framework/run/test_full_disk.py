"""The disk is full and the database cannot be reached: positions stay protected and are closed, nothing is entered.

The disk is a small file system of its own, filled to the last byte; the database is an address where nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, live, recording, settings_of

from slt.config import read_config
from slt.run import lanes, live_session, saving, streaming
from slt.storage.journal import Journal
from slt.storage.writer import Writer
from slt.types import OrderRole

SIZE_MIB = 24
ROWS_AFTER = 150


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, and a way to fill it and to empty it again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    ballast = folder / "ballast"

    def fill(is_full):
        ballast.unlink(missing_ok=True)
        if is_full:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            assert shutil.disk_usage(folder).free == 0

    yield folder, fill
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lanes, "_DURABLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(lanes, "_KNOWN_TIMEOUT_S", 0.02)
    monkeypatch.setattr(live_session, "_DISK_S", 0.3)
    monkeypatch.setattr(saving, "_RECORDS_S", 0.1)
    monkeypatch.setattr(streaming, "_SAVE_AGAIN_S", 1.0)


def nowhere(folder, monkeypatch, **options):
    """Settings of a run whose database is an address where nobody listens."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    settings_of(folder, **options)
    path = folder / "config.toml"
    path.write_text(path.read_text().replace('storage = "memory"', 'storage = "postgres"'))
    return read_config(path, {})


async def test_full_disk_and_no_database_enter_nothing_and_leave_no_position_unmanaged(tmp_path, monkeypatch, disk):
    folder, fill = disk
    market, bars, rules = await recording(settings_of(tmp_path))
    exchange = Exchange(rules)
    stream = Stream(bars[:4], exchange)
    marks = {}

    async def on_row(row):
        held = {p.symbol for p in exchange.book.positions()}
        if held and not marks:
            fill(True)
            marks.update(row=row, sent=len(exchange.sent), held=held)

    def stopping(life):
        if not marks or stream.rows < marks["row"] + ROWS_AFTER:
            return stream.is_done
        return not {p.symbol for p in exchange.book.positions()}

    stream.on_row = on_row
    settings = nowhere(folder, monkeypatch)
    life = await live(monkeypatch, settings, stream, exchange, market=market, stop_when=stopping)
    sent = exchange.sent[marks["sent"] :]
    assert {order.role for order in sent} >= {OrderRole.EXIT}
    assert [order for order in sent if order.role is OrderRole.ENTRY] == []
    assert exchange.longest_naked == 0
    assert marks["held"] <= {trade.symbol for trade in life.trades}, "what was held then is closed"
    assert exchange.book.positions() == ()
    assert "No space left on device" in life.engine.halts["session log"]


async def test_journal_that_refuses_without_a_database_holds_nothing_up_and_entries_come_back_with_it(
    tmp_path, monkeypatch
):
    """The session log still works, so a new part of it is due again and again: it must not wait for the journal."""
    market, bars, rules = await recording(settings_of(tmp_path))
    exchange = Exchange(rules)
    stream = Stream(bars[:6], exchange)
    append, marks = Journal.append, {}

    def refuse(self, records):
        if marks and "healed" not in marks:
            raise OSError(5, "Input/output error")
        return append(self, records)

    async def on_row(row):
        held = {p.symbol for p in exchange.book.positions()}
        if held and not marks:
            marks.update(row=row, sent=len(exchange.sent), held=held)
        elif marks and "healed" not in marks and row >= marks["row"] + ROWS_AFTER and not held:
            marks["halted"] = dict(stream.driver._session.engine.halts)
            marks["healed"] = len(exchange.sent)
            async with asyncio.timeout(60):
                while stream.driver._session.halts["orders"]():  # noqa: ASYNC110 # nobody announces it
                    await asyncio.sleep(0.01)

    def stopping(life):
        return stream.is_done or any(
            order.role is OrderRole.ENTRY for order in exchange.sent[marks.get("healed", 9**9) :]
        )

    monkeypatch.setattr(Journal, "append", refuse)
    monkeypatch.setattr(Writer, "_retry_delay", lambda _: 0.01)
    stream.on_row = on_row
    settings = nowhere(tmp_path, monkeypatch, run="session_minutes = 0.001")
    life = await live(monkeypatch, settings, stream, exchange, market=market, stop_when=stopping)
    meanwhile = exchange.sent[marks["sent"] : marks["healed"]]
    assert [order for order in meanwhile if order.role is OrderRole.ENTRY] == []
    assert {order.role for order in meanwhile} >= {OrderRole.EXIT}
    assert exchange.longest_naked == 0
    assert "(journal: Input/output error" in marks["halted"]["orders"]
    assert any(order.role is OrderRole.ENTRY for order in exchange.sent[marks["healed"] :])
    assert "orders" not in life.engine.halts


async def test_paper_run_goes_on_while_nothing_can_be_written(tmp_path, monkeypatch, disk):
    folder, fill = disk
    market, bars, _ = await recording(settings_of(tmp_path, "paper"))
    stream = Stream(bars[:3])

    async def on_row(row):
        if row == 100:
            fill(True)

    stream.on_row = on_row
    life = await live(monkeypatch, nowhere(folder, monkeypatch, mode="paper"), stream, market=market)
    last = int(bars[2].close_time[-1])
    assert life.driver._time == last
    halted = stream.first + 100
    assert all(trade.entry_time <= int(bars[0].close_time[halted]) for trade in life.trades)
