"""The driver of a live feed, with a live broker in this process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from slt.run.proving import prove_session
from streaming_kit import Exchange, Stream, facts, live, recorded, recording, settings_of


@pytest.fixture
async def market(tmp_path):
    return await recording(settings_of(tmp_path, "paper"))


async def test_live_paper_and_backtest_make_the_same_trades(tmp_path, monkeypatch, market):
    about, bars, rules = market
    folders = [tmp_path / name for name in ("live", "paper", "recording", "backtest")]
    for folder in folders:
        folder.mkdir()
    exchange = Exchange(rules)
    real = await live(monkeypatch, settings_of(folders[0]), Stream(bars, exchange), exchange, market=about)
    paper = await live(monkeypatch, settings_of(folders[1], "paper"), Stream(bars), market=about)
    played = await recorded(settings_of(folders[2], "paper"))
    tested = await recorded(settings_of(folders[3], "backtest"))
    assert len(tested) > 5
    ended = [t for t in tested if t.exit != "end_of_data"]
    assert facts(real.trades) == facts(ended)
    assert facts(paper.trades) == facts(ended)
    assert facts(played) == facts(tested)
    assert exchange.longest_naked == 0
    assert real.engine.halts == {}
    assert real.engine.portfolio.wallet == pytest.approx(exchange.book.wallet)


async def test_session_of_every_kind_comes_out_byte_equal(tmp_path, monkeypatch, market):
    about, bars, rules = market
    for mode in ("live", "paper"):
        folder = tmp_path / mode
        folder.mkdir()
        settings = settings_of(folder, mode)
        exchange = Exchange(rules) if mode == "live" else None
        stream = Stream(bars[:3], exchange)
        life = await live(monkeypatch, settings, stream, exchange, market=about)
        proof = await asyncio.to_thread(prove_session, life.session_folder)
        assert proof.difference is None
        assert proof.events > 700
        assert proof.commands > 100
        assert proof.parts == 2, "the second begins with the snapshot of the stop"
