"""The figures of a run that has not ended."""

from __future__ import annotations

import json

import attrs
import pytest

from slt.statistics import (
    InterimAccount,
    OpenResult,
    check_accounting,
    dump_account,
    load_account,
    load_summary,
    summarise_interim,
)
from slt.trading.portfolio import Portfolio
from slt.types import EquityPoint, ModelVersion, Run, Trade

HOUR = 3_600_000
RUN = Run("t-1", "live", HOUR, "", "stopped")
OPEN = OpenResult("p", "BTCUSDT", -1, "s", 8 * HOUR, 100.0, 2.0, 98.0, 103.0, 94.0, 20.0, -0.5, 4.0)


def make_trade(number, exit_time, net):
    values = {f.name: 1.0 for f in attrs.fields(Trade)} | {
        "id": f"t-1-{number}",
        "run_id": "t-1",
        "symbol": "BTCUSDT",
        "side": 1,
        "strategy": "s",
        "reason": "r",
        "entry_time": exit_time - HOUR,
        "exit_time": exit_time,
        "gross_pnl": net + 0.3,
        "fees": 0.2,
        "funding": 0.1,
        "net_pnl": net,
        "exit": "stop",
        "partial_exits": (),
        "model_version": 0,
        "p_win": None,
        "won": net > 0,
    }
    return Trade(**values)


def make_point(time, equity):
    return EquityPoint(f"t-1-{time}", "t-1", time, equity, equity, 0.0, 0)


def make_account(**changes):
    values = {"time": 10 * HOUR, "initial_equity": 1000.0, "equity": 1008.5, "trades": 2, "positions": (OPEN,)}
    return InterimAccount(**(values | changes))


TRADES = [make_trade(2, 7 * HOUR, -5.0), make_trade(1, 4 * HOUR, 10.0), make_trade(3, 11 * HOUR, 77.0)]


def test_interim_summary_counts_the_trades_of_the_account_and_proves_its_equity():
    figures = summarise_interim(RUN, make_account(), TRADES, [], [make_point(9 * HOUR, 990.0)])
    summary = figures.summary
    assert [t.id for t in figures.trades] == ["t-1-1", "t-1-2"]
    assert (summary.trades, summary.open_pnl, summary.final_equity, summary.end) == (2, 3.5, 1008.5, 10 * HOUR)
    assert check_accounting(summary).closes
    assert [p.equity for p in figures.equity] == [990.0, 1008.5]
    assert figures.equity[-1].wallet == 1004.5
    assert summary.max_drawdown.amount == pytest.approx(10.0)
    assert summary.exposure == pytest.approx(4 / 9)
    assert (summary.interim.status, summary.interim.time, summary.interim.positions) == ("stopped", 10 * HOUR, (OPEN,))


def test_interim_summary_of_a_storage_that_lacks_a_trade_does_not_close():
    summary = summarise_interim(RUN, make_account(), TRADES[:1], [], []).summary
    assert check_accounting(summary).difference == pytest.approx(10.0)


def test_interim_curve_has_a_deposit_from_its_start_and_so_no_fall():
    points = [make_point(hour * HOUR, 10_000.0 if hour < 3 else 1000.0 if hour < 6 else 1500.0) for hour in range(9)]
    account = make_account(
        initial_equity=1500.0,
        equity=1500.0,
        trades=0,
        positions=(),
        steps=((0, 10_000.0), (3 * HOUR, 1000.0), (6 * HOUR, 1500.0)),
    )
    figures = summarise_interim(RUN, account, [], [], points)
    assert {p.equity for p in figures.equity} == {p.wallet for p in figures.equity} == {1500.0}
    assert figures.summary.max_drawdown.amount == 0.0


def test_interim_summary_leaves_out_what_came_after_the_account():
    model = ModelVersion("m", "t-1", "s", 1, "h", 11 * HOUR, 12 * HOUR, 50, True, "better", {}, b"")
    figures = summarise_interim(RUN, make_account(), TRADES, [model], [make_point(11 * HOUR, 1.0)])
    assert figures.summary.models == ()
    assert [p.time for p in figures.equity] == [10 * HOUR]


def test_interim_account_through_json_is_the_same():
    account = make_account(steps=((5, 1.5),), decisions={"cost": 3}, market="a market", is_synthetic=True)
    stored = json.loads(json.dumps(dump_account(account), allow_nan=False))
    assert load_account(stored) == account
    assert load_account({}) is None
    summary = summarise_interim(RUN, account, TRADES, [], []).summary
    assert load_summary(json.loads(json.dumps(attrs.asdict(summary)))) == summary


def test_portfolio_notes_the_initial_equity_of_a_point_only_where_money_came_or_went():
    portfolio = Portfolio("t-1", 1000.0, 100)
    for time, initial in [(1, 1000.0), (2, 1000.000_000_1), (3, 1250.0), (4, 1250.0), (5, 1000.0)]:
        portfolio.initial_equity = initial
        portfolio.note_point(time)
    assert portfolio.steps == [(1, 1000.0), (3, 1250.0), (5, 1000.0)]
