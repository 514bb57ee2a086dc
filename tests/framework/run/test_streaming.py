"""The driver of a live feed, with a live broker in this process."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, facts, live, recorded, recording, settings_of

from slt.cli.replay import replay
from slt.errors import SltError
from slt.run.dense import Dense
from slt.run.proving import prove_session
from slt.run.session_log import EntryKind, SessionLog, load_part, read_entries


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


async def trade(
    tmp_path, monkeypatch, market, *, name="live", faults=(), rows=3, exchange=None, skip=frozenset(), **more
):
    """A live run over the first blocks; returns it with its exchange."""
    about, bars, rules = market
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    exchange = exchange or Exchange(rules)
    exchange.faults.submit.extend(faults)
    stream = Stream(bars[:rows], exchange, skip)
    settings = more.pop("settings", None) or settings_of(folder)
    return await live(monkeypatch, settings, stream, exchange, market=about, **more), exchange


def agree(life, exchange):
    """The books are the exchange's, and every position has a stop of its size."""
    portfolio = life.engine.portfolio
    held = {p.symbol: p.side * p.quantity for p in exchange.book.positions()}
    ours = {s: h.position.side * h.position.quantity for s, h in portfolio.holdings.items()}
    assert ours == pytest.approx(held)
    assert portfolio.wallet == pytest.approx(exchange.book.wallet)
    for symbol, quantity in held.items():
        stops = [o for o in exchange.book.open_orders(symbol) if o.role == "stop"]
        assert [o.quantity for o in stops] == [pytest.approx(abs(quantity))]
    return True


@pytest.mark.parametrize(
    "faults", [["lost"] * 40, ["silent"] * 40, ["lost", "silent"] * 20], ids=["answers lost", "answers late", "both"]
)
async def test_lost_answers_change_no_trade_and_send_nothing_twice(tmp_path, monkeypatch, market, faults):
    plain, _ = await trade(tmp_path, monkeypatch, market, name="plain")
    life, exchange = await trade(tmp_path, monkeypatch, market, faults=faults)
    assert len(plain.trades) > 3
    assert facts(life.trades) == facts(plain.trades)
    assert len({order.client_id for order in exchange.sent}) == len(exchange.sent)
    assert agree(life, exchange)


async def test_entry_that_never_arrived_is_no_position_and_is_not_sent_again(tmp_path, monkeypatch, market):
    life, exchange = await trade(tmp_path, monkeypatch, market, faults=[("unsent", "entry")])
    first = next(r for r in life.assembly.engine.portfolio.retired_entries)
    assert first not in {order.client_id for order in exchange.sent}
    assert agree(life, exchange)


async def test_stop_that_never_arrived_closes_the_position_unprotected(tmp_path, monkeypatch, market):
    life, exchange = await trade(tmp_path, monkeypatch, market, faults=[("unsent", "stop")])
    assert life.trades[0].exit == "unprotected"
    assert agree(life, exchange)


async def test_close_that_never_arrived_is_tried_again(tmp_path, monkeypatch, market):
    life, exchange = await trade(tmp_path, monkeypatch, market, faults=[("unsent", "exit")] * 2)
    plain, _ = await trade(tmp_path, monkeypatch, market, name="plain")
    assert [t.exit for t in life.trades][:1] == [t.exit for t in plain.trades][:1]
    assert agree(life, exchange)


async def test_position_that_a_person_closed_is_booked_as_closed(tmp_path, monkeypatch, market):
    about, bars, rules = market
    exchange = Exchange(rules)
    stream = Stream(bars[:3], exchange)
    closed = []

    async def meddle(row):
        positions = exchange.book.positions()
        if positions and not closed:
            symbol = positions[0].symbol
            closed.append(symbol)
            for order in list(exchange.book.open_orders(symbol)):
                exchange.book.cancel(symbol, order.client_id, exchange.time)
            slot = exchange.book._slots[symbol]
            exchange.book._account.trade(symbol, slot, -slot.quantity, slot.last, 0.0)
            stream.driver._reader.ask("the test")

    stream.on_row = meddle
    life = await live(monkeypatch, settings_of(tmp_path), stream, exchange, market=about)
    assert life.trades[0].exit == "reconciled"
    assert agree(life, exchange)


async def test_event_stream_that_is_down_halts_entries_and_loses_no_fill(tmp_path, monkeypatch, market):
    about, bars, rules = market
    plain, _ = await trade(tmp_path, monkeypatch, market, name="plain")
    exchange = Exchange(rules)
    stream = Stream(bars[:3], exchange)
    opened = (plain.trades[0].entry_time - about.start) // 60_000
    ended = (plain.trades[0].exit_time - about.start) // 60_000

    async def cut(row):
        if row == opened + 1:
            exchange.link(is_up=False, reason="cut")
        elif row == ended + 3:
            exchange.link(is_up=True)

    stream.on_row = cut
    life = await live(monkeypatch, settings_of(tmp_path), stream, exchange, market=about)
    assert facts(plain.trades)[0] in facts(life.trades)
    assert agree(life, exchange)


class Death:
    """What a process that is killed leaves: its folder and the exchange, as they are at that moment."""

    def __init__(self, folder):
        self.folder, self.image, self.row = folder, None, 0

    def strike(self, life_folder, exchange, row):
        passing = shutil.ignore_patterns("*.new", "*.tmp")  # such files vanish while they are copied
        shutil.copytree(life_folder / "runs", self.folder / "runs", ignore=passing)
        self.image, self.row = exchange.image(), row


async def rise(death, monkeypatch, market, *, storage=None, **options):
    """The same command again, after a death."""
    about, bars, rules = market
    exchange = Exchange.from_image(rules, death.image)
    stream = Stream(bars[:3], exchange, first=death.row)
    folder = death.folder.with_name("killed")
    shutil.rmtree(folder / "runs")
    shutil.copytree(death.folder / "runs", folder / "runs")
    settings = settings_of(folder, **options)
    life = await live(monkeypatch, settings, stream, exchange, market=about, storage=storage)
    assert life.assembly.folder.is_resumed
    return life, exchange


async def test_killed_between_bars_goes_on_to_the_same_trades_and_byte_equal(tmp_path, monkeypatch, market):
    about, bars, rules = market
    plain, _ = await trade(tmp_path, monkeypatch, market, name="plain")
    held = [(t.entry_time - about.start) // 60_000 + 2 for t in plain.trades[:2]]
    rows = sorted({100, 441, *held, 600})
    exchange = Exchange(rules)
    stream = Stream(bars[:3], exchange)
    deaths = {row: Death(tmp_path / f"death-{row}") for row in rows}

    async def strike(row):
        if row in deaths:
            deaths[row].strike(tmp_path / "killed", exchange, row)

    stream.on_row = strike
    (tmp_path / "killed").mkdir()
    await live(monkeypatch, settings_of(tmp_path / "killed"), stream, exchange, market=about)
    for row, death in deaths.items():
        life, exchange = await rise(death, monkeypatch, market)
        assert facts(life.trades) == facts(plain.trades), f"killed before row {row}"
        assert agree(life, exchange)
        proof = await asyncio.to_thread(prove_session, life.session_folder)
        assert proof.difference is None


async def test_killed_with_a_warm_start_gives_no_bar_to_the_features_twice(tmp_path, monkeypatch, market):
    """The bars behind the last snapshot are in the session log and in the bar store: they are played from the log."""
    about, bars, rules = market
    plain, _ = await trade(tmp_path, monkeypatch, market, name="plain")
    exchange, death = Exchange(rules), Death(tmp_path / "death")
    stream = Stream(bars[:3], exchange)

    async def strike(row):
        if row == 441:
            await stream.driver._assembly.writer.flush()
            death.strike(tmp_path / "killed", exchange, row)

    stream.on_row = strike
    (tmp_path / "killed").mkdir()
    settings = settings_of(tmp_path / "killed", warm_days=1)
    first = await live(monkeypatch, settings, stream, exchange, market=about)
    fed, compute = [], Dense.compute

    def spy(self, bars):
        fed.append(bars.close_time)
        return compute(self, bars)

    monkeypatch.setattr(Dense, "compute", spy)
    storage = first.assembly.plugins.storage
    life, _ = await rise(death, monkeypatch, market, storage=storage, warm_days=1)
    times = np.concatenate(fed)
    assert times[0] <= about.start + 441 * 60_000 < times[-1]
    assert (np.diff(times) > 0).all()
    assert facts(life.trades) == facts(plain.trades)


async def test_stopped_before_an_entry_has_filled_waits_for_the_fill_and_protects_it(tmp_path, monkeypatch, market):
    about, bars, rules = market
    exchange = Exchange(rules)
    stream = Stream(bars[:3], exchange)
    settings = settings_of(tmp_path)
    life = await live(monkeypatch, settings, stream, exchange, market=about, stop_when=lambda _: bool(exchange.sent))
    (position,) = exchange.book.positions()
    roles = {str(order.role) for order in exchange.book.open_orders(position.symbol)}
    assert roles == {"stop", "target"}
    assert agree(life, exchange)


@pytest.mark.parametrize("moment", ["before_submit", "after_submit"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
async def test_killed_in_the_middle_of_an_order_loses_and_doubles_nothing(
    tmp_path, monkeypatch, market, moment, number
):
    about, bars, rules = market
    exchange = Exchange(rules)
    stream = Stream(bars[:3], exchange)
    death, count = Death(tmp_path / "death"), []

    def strike(order):
        count.append(order)
        if len(count) == number:
            death.strike(tmp_path / "killed", exchange, stream.rows + 1)

    setattr(exchange, moment, strike)
    (tmp_path / "killed").mkdir()
    await live(monkeypatch, settings_of(tmp_path / "killed"), stream, exchange, market=about)
    life, exchange = await rise(death, monkeypatch, market)
    assert agree(life, exchange)
    assert len({order.client_id for order in exchange.sent}) == len(exchange.sent)
    assert exchange.longest_naked == 0
    assert life.engine.portfolio.wallet == pytest.approx(
        life.engine.portfolio.initial_equity
        + sum(t.net_pnl for t in life.trades)
        + sum(h.gross - h.fees - h.funding for h in life.engine.portfolio.holdings.values())
    )
    assert life.engine.portfolio.initial_equity == pytest.approx(10_000.0), "every fill is booked, none made up"


async def test_replay_of_a_session_that_was_tampered_with_tells_the_first_difference(tmp_path, monkeypatch, market):
    life, _ = await trade(tmp_path, monkeypatch, market)
    folder = life.session_folder
    entries = list(read_entries(folder, 1))
    commands = [entry for entry in entries if entry.kind is EntryKind.COMMANDS and "submit" in entry.content]
    changed = commands[0].content.replace('"quantity":', '"quantity":1')
    log = SessionLog(tmp_path / "again", keep_seconds=3600.0)
    await log.begin_part(load_part(folder, 1))
    for entry in entries:
        log.write(entry.kind, changed if entry is commands[0] else entry.content)
    log.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "again", folder)
    result = await asyncio.to_thread(CliRunner().invoke, replay, [str(life.assembly.folder.path)])
    assert isinstance(result.exception, SltError)
    assert result.exception.exit_code == 1
    lines = result.output.splitlines()
    assert "first difference, in part 1" in lines[0]
    assert lines[1].startswith("  event:    BarsClosed")
    assert '"quantity":1' in lines[2]
    assert lines[2] != lines[3]


def test_replay_of_what_is_no_session_is_one_line(tmp_path):
    result = CliRunner().invoke(replay, [str(tmp_path)])
    assert "is no session" in str(result.exception)
