"""A run with empty books on an account where an earlier run of its name has left positions open."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from attrs import evolve

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, facts, live, recording, settings_of

from slt.run.proving import prove_session
from slt.storage.contract import Query
from slt.types import OpenPosition, Trade

ROWS = 3


@pytest.fixture
async def market(tmp_path):
    return await recording(settings_of(tmp_path, "paper"))


async def stored(storage, kind):
    await storage.slt_open_storage()
    return await storage.slt_read_records(Query(kind))


async def lives(tmp_path, monkeypatch, market, change=None):
    """What trades without a break, and a life that is stopped in a position with one in another folder after it."""
    about, bars, rules = market
    for name in ("plain", "first", "second"):
        (tmp_path / name).mkdir()
    plain = await live(
        monkeypatch,
        settings_of(tmp_path / "plain"),
        Stream(bars[:ROWS], exchange := Exchange(rules)),
        exchange,
        market=about,
    )
    trade = next(t for t in plain.trades if t.exit_time - t.entry_time >= 10 * 60_000)
    row = (trade.entry_time - about.start) // 60_000 + 3
    exchange = Exchange(rules)
    stream = Stream(bars[:ROWS], exchange)
    first = await live(
        monkeypatch,
        settings_of(tmp_path / "first"),
        stream,
        exchange,
        market=about,
        stop_when=lambda _: stream.rows >= row,
    )
    assert exchange.book.positions()
    left = first.assembly.plugins.storage
    if change is not None:
        await change(left.hooks)
    second = await live(
        monkeypatch,
        settings_of(tmp_path / "second"),
        Stream(bars[:ROWS], exchange, first=stream.rows),
        exchange,
        market=about,
        storage=left,
        is_fresh=True,
    )
    return plain, first, second, exchange, left


async def test_position_goes_on_in_another_folder_with_its_true_entry_and_its_exit(tmp_path, monkeypatch, market):
    plain, first, second, exchange, storage = await lives(tmp_path, monkeypatch, market)
    assert first.assembly.folder.run_id != second.assembly.folder.run_id
    held = {p.id for p in await stored(storage.hooks, OpenPosition) if p.run_id == second.assembly.folder.run_id}
    trades = [t for t in await stored(storage.hooks, Trade) if t.id.startswith(first.assembly.folder.run_id)]
    resumed = [t for t in trades if t.run_id == second.assembly.folder.run_id]
    assert resumed
    assert {t.id for t in resumed} <= held
    assert len({t.id for t in trades}) == len(trades), "no trade twice"
    wanted = {(fact[0], fact[2]): fact for fact in facts(plain.trades)}
    for fact in facts(resumed):
        assert fact == wanted[fact[0], fact[2]]
    portfolio = second.engine.portfolio
    assert portfolio.wallet == pytest.approx(exchange.book.wallet)
    assert second.engine._core.gates.state.strangers == {}
    ours = {s: h.position.side * h.position.quantity for s, h in portfolio.holdings.items()}
    assert ours == pytest.approx({p.symbol: p.side * p.quantity for p in exchange.book.positions()})
    proof = await asyncio.to_thread(prove_session, second.session_folder)
    assert proof.difference is None


@pytest.mark.parametrize(
    "change",
    [
        {"side": -1},
        {"entry_price": 1.01},
        {"run_id": "another-001"},
        {"is_open": False},
    ],
    ids=["other side", "other price", "other name", "closed"],
)
async def test_position_that_is_not_the_stored_one_is_a_stranger(tmp_path, monkeypatch, market, change):
    async def spoil(hooks):
        rows = [row for row in await stored(hooks, OpenPosition) if row.is_open]
        assert rows
        for row in rows:
            state = dict(row.state)
            state["side"] *= change.get("side", 1)
            state["entry_price"] *= change.get("entry_price", 1.0)
            is_open, run_id = change.get("is_open", True), change.get("run_id", row.run_id)
            await hooks.slt_write_records([evolve(row, state=state, is_open=is_open, run_id=run_id)])

    _, first, second, _, storage = await lives(tmp_path, monkeypatch, market, spoil)
    own = second.assembly.folder.run_id
    trades = [t for t in await stored(storage.hooks, Trade) if t.run_id == own]
    assert not [t for t in trades if t.id.startswith(first.assembly.folder.run_id)]


async def test_what_the_entry_filled_after_the_last_word_stored_belongs_to_the_position(tmp_path, monkeypatch, market):
    halves = {}

    async def halve(hooks):
        for row in [row for row in await stored(hooks, OpenPosition) if row.is_open]:
            halves[row.id] = row.quantity / 2
            state = row.state | {"quantity": row.quantity / 2, "initial_quantity": row.quantity / 2}
            await hooks.slt_write_records([evolve(row, quantity=row.quantity / 2, state=state)])

    _, _, second, exchange, storage = await lives(tmp_path, monkeypatch, market, halve)
    trades = {t.id: t for t in await stored(storage.hooks, Trade) if t.run_id == second.assembly.folder.run_id}
    assert halves
    for position_id, half in halves.items():
        assert trades[position_id].quantity == pytest.approx(2 * half)
    assert second.engine.portfolio.wallet == pytest.approx(exchange.book.wallet)
    assert second.engine._core.gates.state.strangers == {}


async def test_instance_that_comes_back_goes_on_from_where_the_other_one_left(tmp_path, monkeypatch, market):
    """One machine, then another, then the first again with the folder that it had: books of a time that is past."""
    about, bars, rules = market
    folders = {name: tmp_path / name for name in ("plain", "first", "second")}
    for folder in folders.values():
        folder.mkdir()
    settings = {name: settings_of(folder) for name, folder in folders.items()}
    plain = await live(
        monkeypatch, settings["plain"], Stream(bars[:ROWS], exchange := Exchange(rules)), exchange, market=about
    )
    trade = next(t for t in plain.trades if t.exit_time - t.entry_time >= 16 * 60_000)
    row, exchange, storage, done, ran = (trade.entry_time - about.start) // 60_000 + 3, Exchange(rules), None, 0, []
    for name, until in (("first", row), ("second", row + 5), ("first", row + 10), ("second", None)):
        stream = Stream(bars[:ROWS], exchange, first=done)
        stop_when = None if until is None else lambda _, stream=stream, until=until: stream.rows >= until
        life = await live(
            monkeypatch, settings[name], stream, exchange, market=about, stop_when=stop_when, storage=storage
        )
        storage, done = life.assembly.plugins.storage, stream.rows
        ran.append(life)
        assert life.engine._core.gates.state.strangers == {}
        ours = {s: h.position.side * h.position.quantity for s, h in life.engine.portfolio.holdings.items()}
        assert ours == pytest.approx({p.symbol: p.side * p.quantity for p in exchange.book.positions()})
    assert [life.assembly.folder.is_resumed for life in ran] == [False, False, True, True]
    assert ran[0].assembly.folder.run_id == ran[2].assembly.folder.run_id != ran[1].assembly.folder.run_id
    trades = await stored(storage.hooks, Trade)
    wanted = {(fact[0], fact[2]): fact for fact in facts(plain.trades)}
    assert (trade.symbol, trade.entry_time) in {(t.symbol, t.entry_time) for t in trades}
    for fact in facts(trades):
        if fact[2] <= trade.entry_time:
            assert fact == wanted[fact[0], fact[2]]
    assert not [t for t in trades if t.exit in {"unprotected", "reconciled", "unknown"}]
    rows = await stored(storage.hooks, OpenPosition)
    assert {p.id for p in rows if not p.is_open} == {t.id for t in trades}
    assert {p.id for p in rows if p.is_open} == {h.position.id for h in ran[3].engine.portfolio.holdings.values()}
    assert all(p.told_time >= p.entry_time for p in rows)
    assert ran[3].engine.portfolio.wallet == pytest.approx(exchange.book.wallet)
    proof = await asyncio.to_thread(prove_session, ran[3].session_folder)
    assert proof.difference is None
