"""The engine under live conditions: late answers, lost answers, fills in any order, an account that differs."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from slt.config import RiskConfig
from slt.events import AccountRead, EntriesHalted, PluginFailed, PositionsLeft, QueryOrder, ReadAccount, Tick
from slt.types import (
    AccountState,
    BrokerAlert,
    BrokerLink,
    ExchangeOrder,
    ExchangePosition,
    ExitOrder,
    Fill,
    OpenPosition,
    OrderRole,
    OrderStatus,
    OrderUpdate,
    SymbolChange,
)

AAA = "AAAUSDT"


def beat(desk, time):
    return desk.give(Tick(time, is_gap=False))


def asked(commands):
    return [c.client_id for c in commands if isinstance(c, QueryOrder)]


def reads(commands):
    return [c for c in commands if isinstance(c, ReadAccount)]


def account(desk, *positions, orders=None, wallet=None, time=None):
    """An account with these positions (symbol, side, quantity, price); orders as in the books unless given."""
    if orders is None:
        orders = [
            ExchangeOrder(o.client_id, o.symbol, o.side, str(o.type), o.quantity, 0.0, o.stop_price, True, o.time)
            for o in desk.portfolio.orders.values()
        ]
    balance = desk.portfolio.wallet if wallet is None else wallet
    held = tuple(ExchangePosition(s, side, quantity, price) for s, side, quantity, price in positions)
    at = desk.engine._core.clock + 1000 if time is None else time
    return desk.give(AccountRead(at, AccountState(at, balance, balance, held, tuple(orders))))


def entry_order(desk, look):
    (order,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    return order


# -- never naked ---------------------------------------------------------------------------------------------------


def test_stop_without_acknowledgement_closes_the_position_after_the_configured_time(bench, look):
    desk = bench(risk=RiskConfig(stop_ack_seconds=5.0))
    filled = look.start + 2 * look.minute
    desk.fill(entry_order(desk, look), 100.0, time=filled)
    assert look.orders(beat(desk, filled + 4999)) == []
    commands = beat(desk, filled + 5000)
    (close,) = look.orders(commands)
    assert (close.role, close.reason, close.quantity) == (OrderRole.EXIT, "unprotected", 10.0)
    assert "not acknowledged after 5 s" in look.notices(commands)[0].title
    assert look.orders(beat(desk, filled + 6000)) == [], "once"


def test_stop_whose_word_is_late_is_asked_for_once_before_the_position_is_closed(bench, look):
    desk = bench(risk=RiskConfig(stop_ack_seconds=5.0))
    filled = look.start + 2 * look.minute
    stop, _ = look.orders(desk.fill(entry_order(desk, look), 100.0, time=filled))
    assert [asked(beat(desk, filled + after)) for after in (2000, 2500, 3000)] == [[], [stop.client_id], []]
    desk.accept(stop, time=filled + 3100)
    assert look.orders(beat(desk, filled + 6000)) == []


def test_stop_at_an_exchange_that_plays_faster_has_two_seconds_of_this_machine(bench, look):
    desk = bench(risk=RiskConfig(stop_ack_seconds=5.0))
    filled = look.start + 2 * look.minute
    desk.fill(entry_order(desk, look), 100.0, time=filled)
    assert look.orders(desk.give(Tick(filled + 199_000, is_gap=False, pace=100.0))) == []
    (close,) = look.orders(desk.give(Tick(filled + 200_000, is_gap=False, pace=100.0)))
    assert close.reason == "unprotected"


@pytest.mark.parametrize("pace", [0.0, 0.9, 1.0, 2.5])
def test_stop_at_a_clock_that_is_only_unsteady_has_the_configured_time(bench, look, pace):
    desk = bench(risk=RiskConfig(stop_ack_seconds=5.0))
    filled = look.start + 2 * look.minute
    desk.fill(entry_order(desk, look), 100.0, time=filled)
    assert look.orders(desk.give(Tick(filled + 4999, is_gap=False, pace=pace))) == []
    assert len(look.orders(desk.give(Tick(filled + 5000, is_gap=False, pace=pace)))) == 1


def test_stop_acknowledged_in_time_keeps_the_position(bench, look):
    desk = bench()
    filled = look.start + 2 * look.minute
    stop, _ = look.orders(desk.fill(entry_order(desk, look), 100.0, time=filled))
    desk.accept(stop, time=filled + 4000)
    assert look.orders(beat(desk, filled + 60_000)) == []


def test_clock_of_the_cover_starts_when_a_late_fill_is_heard_of(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    beat(desk, look.start + 9 * look.minute)
    desk.fill(order, 100.0, time=look.start + 2 * look.minute)
    assert look.orders(beat(desk, look.start + 9 * look.minute + 4999)) == []
    assert len(look.orders(beat(desk, look.start + 9 * look.minute + 5000))) == 1


def test_part_that_the_stop_does_not_cover_is_uncovered(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    filled = look.start + 2 * look.minute
    stop, target = look.orders(desk.fill(order, 100.0, quantity=4.0, time=filled))
    desk.accept(target, time=filled)
    desk.accept(stop, time=filled)
    (larger, _) = look.orders(desk.fill(order, 100.0, quantity=6.0, time=filled + 1000))
    assert larger.quantity == 10.0
    assert desk.portfolio.holdings[AAA].position.stop_resting, "the first one rests still"
    (close,) = look.orders(beat(desk, filled + 6000))
    assert close.reason == "unprotected"


def test_replacement_that_is_refused_leaves_the_larger_stop_in_force(bench, look):
    desk = bench(exits=[("half", _once(ExitOrder(fraction=0.5)))])
    stop, _ = desk.enter()
    (close,) = look.orders(desk.price(101.0))
    smaller, _ = look.orders(desk.fill(close, 101.0))
    commands = desk.reject(smaller)
    assert look.orders(commands) == []
    holding = desk.portfolio.holdings[AAA]
    assert holding.stop.client_id == stop.client_id
    assert holding.uncovered_since is None
    desk.fill(stop, 98.0, quantity=5.0)
    assert desk.trades()[0].exit == "stop"


def test_replacement_that_is_refused_where_the_old_stop_is_too_small_closes(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    stop, target = look.orders(desk.fill(order, 100.0, quantity=4.0))
    desk.accept(stop)
    desk.accept(target)
    larger, _ = look.orders(desk.fill(order, 100.0, quantity=6.0))
    (close,) = look.orders(desk.reject(larger))
    assert (close.reason, close.quantity) == ("unprotected", 10.0)


def test_acknowledgement_that_comes_twice_changes_nothing(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    assert look.orders(desk.accept(stop)) == []


# -- fills in any order --------------------------------------------------------------------------------------------


def test_fill_with_a_lower_trade_id_that_comes_late_is_booked(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    late = Fill(look.start + 2 * look.minute, order.client_id, AAA, 1, 4.0, 100.0, 0.0, 7)
    desk.give(evolve(late, quantity=6.0, trade_id=9, time=late.time + 50))
    desk.give(late)
    desk.give(late)
    position = desk.portfolio.holdings[AAA].position
    assert position.quantity == 10.0
    assert position.entry_time == late.time, "the clock counts from the first execution, not the first message"


def test_memory_of_fills_is_bounded(bench, look):
    desk = bench()
    desk.enter()
    for number in range(2000):
        desk.give(Fill(look.start, "someone", "BBBUSDT", 1, 1.0, 1.0, 0.0, number))
    assert len(desk.portfolio.seen_fills["BBBUSDT"]) <= 600


def test_late_fill_of_an_entry_given_up_is_protected_closed_and_a_trade_of_its_own(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    desk.reject(order)
    assert desk.portfolio.entries == {}
    commands = desk.fill(order, 100.0, quantity=3.0)
    stop, target, close = look.orders(commands)
    assert [o.role for o in (stop, target, close)] == [OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT]
    assert (close.quantity, close.reason) == (3.0, "late_fill")
    desk.fill(close, 99.0)
    (trade,) = desk.trades()
    assert (trade.exit, trade.quantity, trade.net_pnl) == ("late_fill", 3.0, pytest.approx(-3.0))
    assert trade.id != order.position_id


def test_fill_of_an_entry_whose_rest_was_cancelled_still_adds_to_its_position(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    stop, target = look.orders(desk.fill(order, 100.0, quantity=4.0))
    desk.accept(stop)
    desk.accept(target)
    desk.reject(order, status=OrderStatus.CANCELLED)
    larger, _ = look.orders(desk.fill(order, 102.0, quantity=1.0))
    assert larger.quantity == 5.0
    assert desk.portfolio.holdings[AAA].position.entry_price == pytest.approx(100.4)


def test_late_fill_of_a_cancelled_stop_closes_under_its_own_name(bench, look):
    desk = bench(exits=[("half", _once(ExitOrder(fraction=0.5)))])
    stop, _ = desk.enter()
    (close,) = look.orders(desk.price(101.0))
    for order in look.orders(desk.fill(close, 101.0)):
        desk.accept(order)
    assert stop.client_id not in desk.portfolio.orders
    desk.fill(stop, 98.0, quantity=5.0)
    assert desk.trades()[0].exit == "stop"


def test_strangers_fill_on_our_side_is_told_and_never_booked(bench, look):
    desk = bench()
    desk.enter()
    commands = desk.give(Fill(look.start + 3 * look.minute, "web_x", AAA, 1, 5.0, 100.0, 0.1, 99))
    assert desk.portfolio.holdings[AAA].position.quantity == 10.0
    assert look.notices(commands)[0].kind == "alert"
    assert len(reads(commands)) == 1


def test_funding_that_comes_twice_is_paid_once(bench, look):
    from slt.types import FundingPayment

    desk = bench()
    desk.enter()
    payment = FundingPayment(look.start + 3 * look.minute, AAA, 0.0001, 2.0)
    desk.give(payment)
    desk.give(payment)
    assert desk.portfolio.wallet == pytest.approx(9998.0)


# -- never stuck ---------------------------------------------------------------------------------------------------


def test_order_at_market_without_an_answer_is_asked_for_again_and_again(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    assert asked(beat(desk, order.time + 9_999)) == []
    assert asked(beat(desk, order.time + 10_000)) == [order.client_id]
    assert asked(beat(desk, order.time + 11_000)) == []
    assert asked(beat(desk, order.time + 20_000)) == [order.client_id]


def test_beat_of_the_clock_withdraws_no_entry(bench, look):
    desk = bench()
    order = entry_order(desk, look)
    assert look.cancels(beat(desk, order.time + 1000)) == []
    assert look.cancels(desk.give(Tick(order.time + 60_000))) == [order.client_id]


def test_refused_close_reads_the_account_and_a_flat_exchange_closes_the_books(bench, look):
    desk = bench(exits=[("quick", _once(ExitOrder()))])
    desk.enter()
    (close,) = look.orders(desk.price(101.0))
    commands = desk.reject(close)
    assert len(reads(commands)) == 1
    for _ in range(2):
        commands = account(desk)
        assert close.client_id in asked(commands), "the orders are asked before the account is believed"
        assert desk.trades() == []
    account(desk)
    (trade,) = desk.trades()
    assert (trade.exit, trade.quantity) == ("reconciled", 10.0)
    assert desk.portfolio.holdings == {}


def test_position_that_an_exchange_with_an_earlier_clock_does_not_have_ends_no_earlier_than_it_began(bench, look):
    desk = bench()
    desk.enter()
    entered = desk.portfolio.holdings["AAAUSDT"].position.entry_time
    for _ in range(3):
        account(desk, time=entered - 86_400_000)
    (trade,) = desk.trades()
    assert trade.exit == "reconciled"
    assert trade.exit_time == trade.entry_time == entered


def test_missing_fill_found_by_asking_closes_the_trade_as_it_was(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    commands = account(desk, orders=[])
    assert stop.client_id in asked(commands)
    desk.fill(stop, 97.5, fee=0.3)
    account(desk, orders=[])
    (trade,) = desk.trades()
    assert (trade.exit, trade.exit_price, trade.fees) == ("stop", 97.5, 0.3)
    assert desk.engine.halts == {}


# -- books ---------------------------------------------------------------------------------------------------------


def test_books_that_differ_halt_entries_until_they_agree(bench, look):
    desk = bench()
    desk.enter()
    account(desk, (AAA, 1, 4.0, 100.0))
    assert "do not agree on AAAUSDT" in desk.engine.halts["books"]
    desk.close(desk.block(start=look.start + 5 * look.minute, proposals=[(0, 1, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "halted"
    account(desk, (AAA, 1, 10.0, 100.0))
    assert desk.engine.halts == {}


def test_part_that_the_exchange_has_no_more_is_booked_as_closed(bench, look):
    desk = bench()
    desk.enter()
    for _ in range(3):
        account(desk, (AAA, 1, 4.0, 100.0))
    position = desk.portfolio.holdings[AAA].position
    assert position.quantity == pytest.approx(4.0)
    assert desk.engine.halts == {}
    (larger, _) = [o for o in desk.portfolio.orders.values() if o.quantity == pytest.approx(4.0)]
    assert larger.reduce_only


def test_our_order_without_a_position_is_cancelled_and_a_strangers_is_not(bench, look):
    desk = bench()
    ours = ExchangeOrder("t-000-000123", AAA, -1, "STOP_MARKET", 1.0, 0.0, 90.0, True, look.start)
    commands = account(desk, orders=[ours, evolve(ours, client_id="web_1")])
    assert look.cancels(commands) == ["t-000-000123"]


def test_stop_of_a_position_that_an_earlier_run_left_stays_as_long_as_the_position(bench, look):
    desk = bench()
    stop = ExchangeOrder("t-000-000123", AAA, -1, "STOP_MARKET", 2.0, 0.0, 90.0, True, look.start)
    entry = evolve(stop, client_id="t-000-000124", type="LIMIT", stop_price=None, reduce_only=False)
    other_side = evolve(stop, client_id="t-000-000125", side=1)
    for _ in range(4):
        commands = account(desk, (AAA, 1, 2.0, 100.0), orders=[stop, entry, other_side])
        assert look.cancels(commands) == ["t-000-000124", "t-000-000125"]
    assert look.cancels(account(desk, orders=[stop])) == ["t-000-000123"]


@pytest.mark.parametrize("strangers", ["adopt", "flatten"])
def test_stop_that_an_earlier_run_left_goes_once_the_position_is_taken_over(bench, look, strangers):
    desk = bench(strangers=strangers)
    stop = ExchangeOrder("t-000-000123", AAA, -1, "STOP_MARKET", 2.0, 0.0, 90.0, True, look.start)
    for _ in range(3):
        commands = account(desk, (AAA, 1, 2.0, 100.0), orders=[stop])
        assert look.cancels(commands) == []
    assert AAA in desk.portfolio.holdings
    assert look.cancels(account(desk, (AAA, 1, 2.0, 100.0), orders=[stop])) == []  # the new stop may not rest yet
    for order in look.orders(commands):
        if order.role is not OrderRole.EXIT:
            desk.accept(order)
    assert "t-000-000123" in look.cancels(account(desk, (AAA, 1, 2.0, 100.0), orders=[stop]))


def left_open(bench, look):
    """What an earlier run has stored of a position of 10 at 100."""
    desk = bench()
    desk.enter()
    return next(r for r in reversed(look.records(desk.commands)) if isinstance(r, OpenPosition))


def test_position_of_an_earlier_run_goes_on_with_its_entry_time_stop_and_money(bench, look):
    record = left_open(bench, look)
    desk = bench()
    desk.give(PositionsLeft(look.start, (evolve(record, quantity=4.0), record)))
    stop, target = look.orders(account(desk, (AAA, 1, 10.0, 100.0), wallet=9_000.0))
    assert (stop.stop_price, stop.quantity, target.stop_price) == (98.0, 10.0, 103.0)
    holding = desk.portfolio.holdings[AAA]
    assert (holding.position.id, holding.position.entry_time) == (record.id, record.entry_time)
    for order in (stop, target):
        desk.accept(order)
    desk.fill(target, 103.0)
    (trade,) = desk.trades()
    assert (trade.id, trade.entry_time, trade.net_pnl, trade.exit) == (record.id, record.entry_time, 30.0, "target")


def test_what_the_entry_of_an_earlier_run_still_fills_makes_its_position_larger(bench, look):
    desk = bench()
    desk.give(PositionsLeft(look.start, (left_open(bench, look),)))
    for order in look.orders(account(desk, (AAA, 1, 10.0, 100.0))):
        desk.accept(order)
    for _ in range(3):
        commands = account(desk, (AAA, 1, 12.0, 100.5))
    assert {order.quantity for order in look.orders(commands)} == {12.0}
    position = desk.portfolio.holdings[AAA].position
    assert (position.quantity, position.entry_price) == (12.0, pytest.approx(100.5))
    assert desk.engine._core.gates.state.strangers == {}


def test_fills_that_the_account_had_in_when_it_told_of_the_position_change_nothing(bench, look):
    desk = bench()
    desk.give(PositionsLeft(look.start, (left_open(bench, look),)))
    for order in look.orders(account(desk, (AAA, 1, 10.0, 100.0))):
        desk.accept(order)
    holding = desk.portfolio.holdings[AAA]
    assert holding.resumed_time is not None
    for number, side in enumerate((1, -1)):
        past = Fill(holding.resumed_time, f"t-000-{number}", AAA, side, 3.0, 100.0, 0.1, 900 + number)
        assert desk.give(past) == []
    assert (holding.position.quantity, holding.fees) == (10.0, 0.0)
    later = Fill(holding.resumed_time + 1, "t-000-9", AAA, -1, 3.0, 101.0, 0.1, 909)
    desk.give(later)
    assert holding.position.quantity == 7.0


def test_position_that_another_run_went_on_with_is_taken_over_as_that_one_left_it(bench, look):
    desk = bench()
    stop, target = desk.enter()
    before = desk.portfolio.wallet
    (ours,) = desk.portfolio.holdings.values()
    record = next(r for r in reversed(look.records(desk.commands)) if isinstance(r, OpenPosition))
    state = record.state | {"quantity": 6.0, "stop": 99.0, "exits_done": ["partial"]}
    theirs = evolve(record, run_id="t-002", quantity=6.0, state=state)
    commands = desk.give(PositionsLeft(look.start, (theirs,)))
    assert [n.title for n in look.notices(commands)] == [
        "AAAUSDT: run t-002 went on with this position while this run was down"
    ]
    assert desk.portfolio.holdings == {}
    assert desk.portfolio.orders == {}
    assert desk.trades() == []
    again = [o for o in look.orders(account(desk, (AAA, 1, 6.0, 100.0), wallet=before)) if o.reduce_only]
    assert [(o.stop_price, o.quantity) for o in again] == [(99.0, 6.0), (103.0, 6.0)]
    assert {o.client_id for o in again}.isdisjoint({stop.client_id, target.client_id})
    holding = desk.portfolio.holdings[AAA]
    assert holding is not ours
    assert (holding.position.id, holding.position.exits_done) == (record.id, {"partial"})
    assert desk.engine.halts == {}


def test_older_word_of_another_run_changes_nothing(bench, look):
    desk = bench()
    desk.enter()
    record = next(r for r in reversed(look.records(desk.commands)) if isinstance(r, OpenPosition))
    assert record.told_time == desk.engine._core.clock
    theirs = evolve(record, run_id="t-002", told_time=record.told_time - 1, is_open=False, quantity=0.0)
    assert desk.give(PositionsLeft(look.start, (theirs,))) == []
    assert desk.portfolio.holdings[AAA].position.quantity == 10.0


def test_position_that_another_run_has_closed_is_forgotten_without_a_trade(bench, look):
    desk = bench()
    desk.enter(fee=3.0)
    record = next(r for r in reversed(look.records(desk.commands)) if isinstance(r, OpenPosition))
    desk.give(PositionsLeft(look.start, (evolve(record, run_id="t-002", is_open=False, quantity=0.0),)))
    account(desk, wallet=10_050.0)
    assert desk.portfolio.holdings == {}
    assert desk.trades() == []
    assert desk.engine.halts == {}
    assert desk.portfolio.left == {}
    assert (desk.portfolio.wallet, desk.portfolio.initial_equity) == (10_050.0, 10_050.0)


def test_entry_whose_position_another_run_has_is_let_go_and_its_late_fill_closes_nothing(bench, look):
    desk = bench()
    (entry,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    record = left_open(bench, look)
    assert record.id == entry.position_id
    desk.give(PositionsLeft(look.start, (evolve(record, run_id="t-002"),)))
    assert desk.portfolio.entries == {}
    assert desk.fill(entry, 100.0) == []
    stop, target = look.orders(account(desk, (AAA, 1, 10.0, 100.0)))
    assert (stop.stop_price, target.stop_price) == (98.0, 103.0)
    assert desk.portfolio.holdings[AAA].position.quantity == 10.0


def test_own_position_that_the_storage_knows_under_another_number_stays(bench, look):
    desk = bench()
    desk.enter()
    record = next(r for r in reversed(look.records(desk.commands)) if isinstance(r, OpenPosition))
    desk.give(PositionsLeft(look.start, (evolve(record, id="t-002-000001", run_id="t-002"),)))
    assert desk.portfolio.holdings[AAA].position.id == record.id
    assert look.orders(account(desk, (AAA, 1, 10.0, 100.0))) == []


@pytest.mark.parametrize(
    "found", [(AAA, -1, 10.0, 100.0), (AAA, 1, 10.0, 100.2), (AAA, 1, 12.0, 103.0)], ids=["side", "price", "far"]
)
def test_position_unlike_the_one_of_the_earlier_run_is_a_stranger(bench, look, found):
    desk = bench()
    desk.give(PositionsLeft(look.start, (left_open(bench, look),)))
    for _ in range(3):
        account(desk, found)
    assert desk.portfolio.holdings == {}
    assert desk.engine._core.gates.state.strangers == {AAA: found[1] * found[2]}


@pytest.mark.parametrize("state", [{"side": 1}, {"entry_outlook": {"mood": 1.0}}], ids=["too little", "unknown"])
def test_position_stored_in_an_unknown_form_is_a_stranger(bench, look, state):
    record = left_open(bench, look)
    desk = bench()
    known = record.state if "entry_outlook" in state else {}
    desk.give(PositionsLeft(look.start, (evolve(record, state=known | state),)))
    for _ in range(3):
        account(desk, (AAA, 1, 10.0, 100.0))
    assert desk.portfolio.holdings == {}


def test_stranger_is_left_alone_and_its_symbol_not_entered(bench, look):
    desk = bench()
    for _ in range(3):
        account(desk, (AAA, -1, 2.0, 100.0))
    assert desk.engine.halts == {}
    desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "position"
    assert "-2 of this symbol that is not slt's" in desk.decisions()[-1].detail
    account(desk)
    desk.close(desk.block(start=look.start + look.minute, proposals=[(0, 0, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "entered"


def test_adopted_stranger_is_protected_and_managed(bench, look):
    desk = bench(strangers="adopt")
    for _ in range(3):
        commands = account(desk, (AAA, -1, 2.0, 100.0))
    stop, target = look.orders(commands)
    assert (stop.side, stop.quantity, stop.stop_price) == (1, 2.0, pytest.approx(101.2))
    assert target.stop_price == pytest.approx(97.6)
    for order in (stop, target):
        desk.accept(order)
    account(desk, (AAA, -1, 2.0, 100.0))
    assert desk.engine.halts == {}
    desk.fill(target, 97.6)
    assert (desk.trades()[0].reason, desk.trades()[0].exit) == ("adopted", "target")


def test_flattened_stranger_is_closed_at_once(bench, look):
    desk = bench(strangers="flatten")
    for _ in range(3):
        commands = account(desk, (AAA, 1, 2.0, 100.0))
    close = look.orders(commands)[-1]
    assert (close.role, close.side, close.quantity, close.reason) == (OrderRole.EXIT, -1, 2.0, "stranger")


def test_wallet_is_the_exchanges_and_the_books_still_close(bench, look):
    desk = bench()
    stop, _ = desk.enter(fee=1.0)
    account(desk, (AAA, 1, 10.0, 100.0), wallet=500.0)
    portfolio = desk.portfolio
    assert portfolio.wallet == 500.0
    desk.fill(stop, 98.0)
    assert portfolio.wallet == pytest.approx(480.0)
    assert portfolio.initial_equity + math.fsum(t.net_pnl for t in desk.trades()) == pytest.approx(480.0)


# -- halts ---------------------------------------------------------------------------------------------------------


def test_each_source_of_a_halt_takes_back_its_own(bench, look):
    desk = bench()
    desk.give(BrokerLink(look.start, is_up=False, reason="no route"))
    desk.give(EntriesHalted(look.start, "the feed is silent", source="feed"))
    desk.give(EntriesHalted(look.start, "", source="feed"))
    assert list(desk.engine.halts) == ["link"]
    commands = desk.give(BrokerLink(look.start, is_up=True, reason=""))
    assert list(desk.engine.halts) == ["books"]
    assert len(reads(commands)) == 1
    account(desk)
    assert desk.engine.halts == {}
    desk.give(PluginFailed(look.start, "x broke"))
    desk.give(EntriesHalted(look.start, "", source="feed"))
    desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].detail == "entries are halted: x broke"


def test_symbol_that_is_not_tradable_is_not_entered_and_its_position_stays(bench, look):
    desk = bench()
    desk.enter()
    commands = desk.give(SymbolChange(look.start, AAA, "SETTLING", is_tradable=False))
    assert "AAAUSDT is SETTLING" in look.notices(commands)[0].title
    desk.give(SymbolChange(look.start, "BBBUSDT", "BREAK", is_tradable=False))
    desk.close(desk.block(start=look.start + 5 * look.minute, proposals=[(0, 1, 1, 98.0, 103.0)]))
    assert (desk.decisions()[-1].outcome, "is BREAK" in desk.decisions()[-1].detail) == ("rules", True)
    desk.give(SymbolChange(look.start, "BBBUSDT", "TRADING", is_tradable=True))
    desk.close(desk.block(start=look.start + 6 * look.minute, proposals=[(0, 1, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "entered"
    assert AAA in desk.portfolio.holdings


def test_alert_of_the_broker_is_told(bench, look):
    (notice,) = look.notices(bench().give(BrokerAlert(look.start, "margin call")))
    assert notice.fields[0] == ("Detail", "margin call")


def test_update_of_an_order_that_works_no_longer_changes_nothing(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    desk.fill(stop, 98.0)
    commands = desk.give(OrderUpdate(look.start, stop.client_id, AAA, OrderStatus.ACCEPTED))
    assert [r for r in look.records(commands) if isinstance(r, OpenPosition)] == []
    assert commands == []


def _once(answer):
    given = []

    def check(position, point, outlook):
        if not given:
            given.append(1)
            return answer
        return None

    return check
