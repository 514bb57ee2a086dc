"""What a run on a live feed stores of its account while it has not ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, live, recording, settings_of

from slt.statistics import check_accounting, load_account, summarise_interim
from slt.types import EquityPoint, Run, Trade
from slt_memory.storage import MemoryStorage


@pytest.fixture
def written(monkeypatch):
    """What the storage has been given, by class and id."""
    found = {}
    write = MemoryStorage.slt_write_records

    async def spy(self, records):
        for record in records:
            found.setdefault(type(record), {})[record.id] = record
        await write(self, records)

    spy.slt_impl = write.slt_impl
    monkeypatch.setattr(MemoryStorage, "slt_write_records", spy)
    return found


async def test_live_run_that_is_stopped_has_its_true_start_open_result_and_accounts_that_close(
    tmp_path, monkeypatch, written
):
    settings = settings_of(tmp_path, run="equity_every_minutes = 5")
    about, bars, rules = await recording(settings)
    exchange = Exchange(rules, wallet=5000.0)
    stream = Stream(bars, exchange)

    def stopping(life):
        return len(life.progress) > 0 and life.progress[-1].trades >= 3 and life.progress[-1].open_positions > 0

    life = await live(monkeypatch, settings, stream, exchange, market=about, stop_when=stopping)
    (run,) = written[Run].values()
    account = load_account(run.summary)
    assert run.status == "stopped"
    assert account.initial_equity == pytest.approx(5000.0)
    assert account.trades == len(written[Trade]) >= 3
    assert [p.symbol for p in account.positions] == sorted(life.engine.portfolio.holdings)
    points = written[EquityPoint].values()
    summary = summarise_interim(run, account, written[Trade].values(), [], points).summary
    assert check_accounting(summary).closes
    assert summary.final_equity == life.engine.portfolio.equity
    assert summary.open_pnl != 0.0
    assert summary.max_drawdown_relative.fraction < 0.2, "the first point is of before the account was read"


async def test_resumed_run_keeps_its_account_until_there_is_a_newer_one(tmp_path, monkeypatch, written):
    settings = settings_of(tmp_path, run="equity_every_minutes = 5")
    about, bars, rules = await recording(settings)
    exchange = Exchange(rules)
    stream = Stream(bars[:2], exchange)
    await live(monkeypatch, settings, stream, exchange, market=about)
    (before,) = written[Run].values()
    assert load_account(before.summary) is not None

    async def read(self, query):
        return [before] if query.kind is Run else []

    read.slt_impl = MemoryStorage.slt_read_records.slt_impl
    monkeypatch.setattr(MemoryStorage, "slt_read_records", read)
    written.clear()
    again = Stream([], exchange)
    life = await live(monkeypatch, settings, again, exchange, market=about, stop_when=lambda _: True)
    (run,) = written[Run].values()
    assert life.assembly.folder.is_resumed
    assert run.status == "stopped"
    assert load_account(run.summary).time >= load_account(before.summary).time
    assert load_account(run.summary).trades == load_account(before.summary).trades
