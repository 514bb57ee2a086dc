"""Accounting laws: whatever happens, the money adds up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.types import FundingPayment

actions = st.lists(
    st.tuples(
        st.sampled_from(["stop", "target", "exit", "fund"]),
        st.integers(0, 1),
        st.sampled_from([1, -1]),
        st.floats(90.0, 110.0),
        st.floats(-0.5, 2.0),
    ),
    min_size=1,
    max_size=25,
)


@given(actions)
@settings(max_examples=60, deadline=None)
def test_wallet_is_initial_equity_plus_gross_less_fees_and_funding(bench, look, steps):
    desk = bench()
    time = look.start
    funded = 0.0
    for kind, column, side, price, fee in steps:
        time += 3_600_000
        symbol = desk.symbols[column]
        if symbol not in desk.portfolio.holdings:
            block = desk.block(
                proposals=[(0, column, side, 100 - 2 * side, 100 + 3 * side)], start=time, fresh=False, price=100.0
            )
            entries = look.orders(desk.close(block))
            if not entries:
                continue
            desk.fill(entries[0], 100.0, time=time + 120_000, fee=fee)
        holding = desk.portfolio.holdings[symbol]
        if kind == "fund":
            desk.give(FundingPayment(time + 180_000, symbol, 0.0001, fee))
            funded += fee
            continue
        order = desk.portfolio.orders[(holding.target if kind == "target" else holding.stop).client_id]
        part = 0.5 if kind == "exit" else 1.0
        desk.fill(order, price, quantity=holding.position.quantity * part, time=time + 180_000, fee=fee)
    portfolio = desk.portfolio
    closed = math.fsum(t.gross_pnl - t.fees - t.funding for t in desk.trades())
    still = math.fsum(h.gross - h.fees - h.funding for h in portfolio.holdings.values())
    assert portfolio.wallet == pytest.approx(10_000 + closed + still, abs=1e-6)
    assert portfolio.equity == pytest.approx(
        portfolio.wallet + math.fsum(h.unrealised for h in portfolio.holdings.values()), abs=1e-9
    )
    for trade in desk.trades():
        assert trade.net_pnl == pytest.approx(trade.gross_pnl - trade.fees - trade.funding, abs=1e-9)
        assert trade.won == (trade.net_pnl > 0)
        assert trade.gross_pnl == pytest.approx(
            trade.side * trade.quantity * (trade.exit_price - trade.entry_price), abs=1e-6
        )


@given(st.lists(st.floats(90.0, 112.0), min_size=2, max_size=30), st.integers(0, 29))
@settings(max_examples=40, deadline=None)
def test_snapshot_anywhere_goes_on_with_the_same_commands(bench, look, prices, cut):
    import pickle

    from slt.types import ExitOrder

    def take_profit(position, point, outlook):
        return ExitOrder() if position.gain(point.price) > 0.9 else None

    def play(interrupted):
        desk = bench(exits=[("take", take_profit)])
        desk.enter()
        desk.close(desk.block(start=look.start + 5 * look.minute))
        for i, price in enumerate(prices):
            if interrupted and i == cut % len(prices):
                state = pickle.loads(pickle.dumps(desk.engine.snapshot()))
                fresh = bench(exits=[("take", take_profit)])
                fresh.engine.restore(state)
                fresh.commands, fresh.trade_id = desk.commands, desk.trade_id
                desk = fresh
            time = look.start + (6 + i) * look.minute
            for order in look.orders(desk.price(price, time=time)):
                desk.fill(order, price, time=time)
        return [repr(c) for c in desk.commands], desk.portfolio.wallet

    assert play(interrupted=True) == play(interrupted=False)
