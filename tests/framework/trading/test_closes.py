from __future__ import annotations

import pytest
from attrs import evolve

from slt.config import RiskConfig
from slt.events import CancelOrder, EntriesHalted, ReadAccount, RunEnding, Tick
from slt.types import (
    ExitMark,
    ExitOrder,
    FillCause,
    FundingPayment,
    OpenPosition,
    OrderIntent,
    OrderRole,
    OrderStatus,
    OrderType,
    PricePoint,
)


def once(answer):
    """An exit that answers once and then never again."""
    given = []

    def check(position, point, outlook):
        if given:
            return None
        given.append(1)
        return answer

    return check


def test_first_fill_rests_stop_and_target_reduce_only_with_the_quantity(bench):
    desk = bench()
    stop, target = desk.enter()
    assert (stop.type, stop.stop_price, stop.quantity, stop.reduce_only, stop.side) == (
        OrderType.STOP_MARKET,
        98.0,
        10.0,
        True,
        -1,
    )
    assert (target.type, target.stop_price) == (OrderType.TAKE_PROFIT_MARKET, 103.0)
    assert desk.portfolio.holdings["AAAUSDT"].position.stop_resting


def test_partial_entry_fills_average_the_price_and_resize_the_protection(bench, look):
    desk = bench()
    (entry,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    first = look.orders(desk.fill(entry, 100.0, quantity=4.0))
    assert [o.quantity for o in first] == [4.0, 4.0]
    for _ in range(3):
        assert look.orders(desk.fill(entry, 101.0, quantity=2.0)) == [], "the first ones are still on their way"
    position = desk.portfolio.holdings["AAAUSDT"].position
    assert position.entry_price == pytest.approx(100.6)
    assert not desk.portfolio.entries
    for old in first:
        commands = desk.accept(old)
        (new,) = look.orders(commands)
        assert new.quantity == 10.0
        assert look.cancels(commands) == []
        assert look.cancels(desk.accept(new)) == [old.client_id], "replaced first, then cancelled"
    assert desk.portfolio.holdings["AAAUSDT"].uncovered_since is None


def test_entry_that_fills_on_after_a_part_was_closed_is_told_at_the_mean_of_its_fills(bench, look):
    desk = bench()
    (entry,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    stop, _ = look.orders(desk.fill(entry, 100.0, quantity=5.0))
    desk.fill(stop, 98.0, quantity=4.0)
    desk.fill(entry, 102.0, quantity=5.0)
    desk.fill(stop, 99.0, quantity=6.0)
    (trade,) = desk.trades()
    assert (trade.entry_price, trade.exit_price) == (pytest.approx(101.0), pytest.approx(98.6))
    assert trade.gross_pnl == pytest.approx(trade.quantity * (trade.exit_price - trade.entry_price))
    assert trade.r_multiple == pytest.approx(trade.net_pnl / (10.0 * 3.0))


def test_stop_stays_at_the_floor_from_a_fill_that_gapped_towards_it(bench):
    desk = bench(risk=RiskConfig(min_stop_fraction=0.003))
    stop, _ = desk.enter(stop=99.0, price=99.1)
    assert stop.stop_price == pytest.approx(98.81, abs=0.011)


def test_stop_fill_closes_the_trade_and_cancels_the_target(bench, look):
    desk = bench()
    stop, target = desk.enter(fee=0.5)
    commands = desk.fill(stop, 97.9, fee=0.6, slippage=0.4)
    (trade,) = desk.trades()
    assert trade.exit == "stop"
    assert trade.gross_pnl == pytest.approx(-21.0)
    assert trade.fees == pytest.approx(1.1)
    assert trade.net_pnl == pytest.approx(-22.1)
    assert trade.r_multiple == pytest.approx(-22.1 / 20)
    assert not trade.won
    assert look.cancels(commands) == [target.client_id]
    assert desk.portfolio.wallet == pytest.approx(10_000 - 22.1)
    assert [n.kind for n in look.notices(desk.commands)] == ["open", "close"]


def test_the_same_fill_twice_is_booked_once(bench):
    desk = bench()
    stop, _ = desk.enter()
    desk.fill(stop, 98.0)
    desk.trade_id -= 1
    desk.fill(stop, 98.0)
    assert len(desk.trades()) == 1


def test_exit_closes_at_market_with_its_level_and_name(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder(trigger_price=100.5)))])
    stop, target = desk.enter()
    (close,) = look.orders(desk.price(100.6))
    assert (close.type, close.role, close.reduce_only, close.level, close.reason) == (
        OrderType.MARKET,
        OrderRole.EXIT,
        True,
        100.5,
        "quick",
    )
    commands = desk.fill(close, 100.5)
    assert desk.trades()[0].exit == "quick"
    assert set(look.cancels(commands)) == {stop.client_id, target.client_id}


def test_first_exit_in_config_order_wins_and_later_ones_are_not_asked(bench, look):
    asked = []

    def second(position, point, outlook):
        asked.append(1)

    desk = bench(exits=[("first", once(ExitOrder())), ("second", second)])
    desk.enter()
    (close,) = look.orders(desk.price(100.1))
    assert close.reason == "first"
    assert asked == []


def test_no_exit_is_asked_while_a_full_close_is_under_way(bench, look):
    desk = bench(exits=[("always", lambda position, point, outlook: ExitOrder())])
    desk.enter()
    assert len(look.orders(desk.price(100.1))) == 1
    assert look.orders(desk.price(100.2)) == []


def test_partial_exit_halves_once_and_resizes_stop_and_target(bench, look):
    desk = bench(exits=[("half", once(ExitOrder(fraction=0.5)))])
    stop, target = desk.enter()
    (close,) = look.orders(desk.price(101.0))
    assert close.quantity == 5.0
    commands = desk.fill(close, 101.0)
    assert [o.quantity for o in look.orders(commands)] == [5.0, 5.0]
    assert look.cancels(commands) == []
    for new, old in zip(look.orders(commands), (stop, target), strict=True):
        assert look.cancels(desk.accept(new)) == [old.client_id]
    assert desk.portfolio.holdings["AAAUSDT"].position.exits_done == {"half"}
    new_stop = look.orders(commands)[0]
    desk.fill(new_stop, 98.0)
    (trade,) = desk.trades()
    assert trade.partial_exits == ("half",)
    assert trade.exit == "stop"
    assert trade.gross_pnl == pytest.approx(5 * 1.0 - 5 * 2.0)
    assert trade.quantity == 10.0


def test_mark_is_remembered_and_stored_and_the_next_exits_are_asked(bench, look):
    desk = bench(exits=[("arm", lambda p, point, o: ExitMark("armed")), ("go", once(ExitOrder()))])
    desk.enter()
    commands = desk.price(100.1)
    assert desk.portfolio.holdings["AAAUSDT"].position.marks == {"armed"}
    stored = [r for r in look.records(commands) if isinstance(r, OpenPosition)]
    assert stored[-1].state["marks"] == ["armed"]
    assert len(look.orders(commands)) == 1


def test_exit_that_raises_is_dropped_others_go_on_and_entries_halt(bench, look):
    def broken(position, point, outlook):
        raise KeyError("x")

    desk = bench(exits=[("bad", broken), ("good", once(ExitOrder()))])
    desk.enter()
    commands = desk.price(100.1)
    assert [o.reason for o in look.orders(commands)] == ["good"]
    assert desk.engine.faults == ["exit `bad` raised KeyError: 'x'"]
    assert "A plugin failed" in look.notices(commands)[0].title


def test_lost_stop_closes_the_position(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    commands = desk.reject(stop, status=OrderStatus.EXPIRED)
    (close,) = look.orders(commands)
    assert close.reason == "unprotected"
    assert look.notices(commands)[0].kind == "alert"


def test_failed_close_is_tried_again_with_growing_waits_and_an_alert(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    desk.enter()
    time = look.start + 10 * look.minute
    (close,) = look.orders(desk.price(100.1, time=time))
    waits = []
    for _ in range(5):
        desk.reject(close, time=time)
        wait = 0
        while not (again := look.orders(desk.give(Tick(time + wait)))):
            wait += 500
            assert wait <= 60_000
        waits.append(wait)
        time += wait
        (close,) = again
        assert close.reason == "quick"
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000]
    assert sum("closing failed 3 times" in n.title for n in look.notices(desk.commands)) == 1


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("autoclose-1700000000000", FillCause.LIQUIDATION),
        ("adl_autoclose", FillCause.AUTO_DELEVERAGING),
        ("settlement_autoclose-7", FillCause.SETTLEMENT),
    ],
)
def test_forced_close_is_the_exit_of_its_trade_and_its_orders_go(bench, look, name, cause):
    desk = bench()
    stop, target = desk.enter()
    commands = desk.fill(evolve(stop, client_id=name), 60.0, cause=cause)
    assert desk.trades()[0].exit == str(cause)
    cancelled = {c.client_id for c in commands if isinstance(c, CancelOrder)}
    assert cancelled == {stop.client_id, target.client_id}


def test_funding_counts_in_wallet_trade_and_costs(bench):
    desk = bench()
    stop, _ = desk.enter()
    desk.give(FundingPayment(1_700_006_600_000, "AAAUSDT", 0.0001, 0.75))
    assert desk.portfolio.wallet == pytest.approx(10_000 - 0.75)
    assert desk.portfolio.holdings["AAAUSDT"].position.costs_paid == pytest.approx(0.75)
    desk.fill(stop, 98.0)
    (trade,) = desk.trades()
    assert trade.funding == pytest.approx(0.75)
    assert trade.net_pnl == pytest.approx(-20.75)


def test_margin_guard_closes_the_worst_loser_and_waits(bench, look):
    risk = RiskConfig(margin_guard_threshold=0.05, max_margin_in_use=0.5)
    desk = bench(risk=risk)
    desk.enter(column=0)
    desk.enter(column=1, start=look.start + look.minute)
    desk.price(99.5)
    desk.price(98.5, symbol="BBBUSDT")
    (close,) = look.orders(desk.close(desk.block(start=look.start + 5 * look.minute, fresh=False)))
    assert (close.symbol, close.reason) == ("BBBUSDT", "margin_guard")
    assert look.orders(desk.close(desk.block(start=look.start + 6 * look.minute, fresh=False))) == []
    (second,) = look.orders(desk.close(desk.block(start=look.start + 7 * look.minute, fresh=False)))
    assert second.symbol == "AAAUSDT"


def test_halted_entries_leave_positions_managed_and_can_resume(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    desk.enter()
    desk.give(EntriesHalted(look.start + 3 * look.minute, "connection lost"))
    desk.close(desk.block(proposals=[(0, 1, 1, 98.0, 103.0)], start=look.start + 4 * look.minute, fresh=False))
    assert desk.decisions()[-1].outcome == "halted"
    assert len(look.orders(desk.price(100.1))) == 1
    desk.give(EntriesHalted(look.start + 6 * look.minute, ""))
    desk.close(desk.block(proposals=[(0, 1, 1, 98.0, 103.0)], start=look.start + 7 * look.minute, fresh=False))
    assert desk.decisions()[-1].outcome == "entered"


def test_end_of_data_closes_positions_and_cancels_entries(bench, look):
    desk = bench()
    desk.enter()
    (waiting,) = look.orders(
        desk.close(desk.block(proposals=[(0, 1, 1, 98.0, 103.0)], start=look.start + 4 * look.minute, fresh=False))
    )
    commands = desk.give(RunEnding(look.start + 5 * look.minute))
    assert look.cancels(commands) == [waiting.client_id]
    assert [o.reason for o in look.orders(commands)] == ["end_of_data"]


def test_time_runs_exits_through_a_data_gap(bench, look):
    def two_hours(position, point, outlook):
        return ExitOrder() if point.time - position.entry_time >= 7_200_000 else None

    desk = bench(exits=[("time", two_hours)])
    desk.enter()
    entered = look.start + 2 * look.minute
    assert look.orders(desk.give(Tick(entered + 7_199_999))) == []
    assert len(look.orders(desk.give(Tick(entered + 7_200_000)))) == 1


def test_stop_filled_in_parts_keeps_its_name_and_the_books(bench):
    desk = bench()
    stop, _ = desk.enter()
    desk.fill(stop, 98.0, quantity=4.0)
    assert desk.portfolio.holdings["AAAUSDT"].position.quantity == 6.0
    desk.fill(stop, 97.9, quantity=6.0)
    (trade,) = desk.trades()
    assert (trade.exit, trade.partial_exits) == ("stop", ("stop",))
    assert trade.gross_pnl == pytest.approx(-20.6)


def enter_in_part(desk, look, *, filled=4.0):
    """An entry of 10 units of which some are filled; stop and target rest for those."""
    (entry,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    for order in look.orders(desk.fill(entry, 100.0, quantity=filled)):
        desk.accept(order)
    return entry


def test_close_cancels_what_is_still_unfilled_of_the_entry(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    entry = enter_in_part(desk, look)
    commands = desk.price(100.5)
    assert look.cancels(commands) == [entry.client_id]
    (close,) = look.orders(commands)
    desk.reject(entry, status=OrderStatus.CANCELLED)
    desk.fill(close, 100.5)
    assert desk.trades()[0].quantity == 4.0
    assert not desk.portfolio.orders
    assert not desk.portfolio.entries


def test_entry_fill_that_overtakes_the_close_is_protected_and_closed_too(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    entry = enter_in_part(desk, look)
    (close,) = look.orders(desk.price(100.5))
    protective = look.orders(desk.fill(entry, 100.0, quantity=6.0))
    assert [(o.role, o.quantity) for o in protective] == [(OrderRole.STOP, 10.0), (OrderRole.TARGET, 10.0)]
    rest = [o for o in look.orders(desk.fill(close, 100.5)) if o.role is OrderRole.EXIT]
    assert [(o.quantity, o.reason) for o in rest] == [(6.0, "quick")]
    desk.fill(rest[0], 100.4)
    (trade,) = desk.trades()
    assert (trade.quantity, trade.exit) == (10.0, "quick")
    assert not desk.portfolio.orders


def test_partial_exit_that_is_rejected_is_decided_again_after_a_wait(bench, look):
    desk = bench(
        exits=[("half", lambda p, point, o: None if "half" in p.exits_done else ExitOrder(fraction=0.5))],
    )
    desk.enter()
    time = look.start + 10 * look.minute
    (close,) = look.orders(desk.price(101.0, time=time))
    desk.reject(close, time=time)
    assert look.orders(desk.price(101.0, time=time + 999)) == []
    (again,) = look.orders(desk.price(101.0, time=time + 1_000))
    assert (again.reason, again.quantity) == ("half", 5.0)
    desk.fill(again, 101.0)
    assert look.orders(desk.price(101.0, time=time + 60_000)) == []


def test_full_close_does_not_wait_for_a_rejected_part(bench, look):
    def all_of_it(position, point, outlook):
        return ExitOrder() if point.price < 99 else None

    desk = bench(exits=[("half", once(ExitOrder(fraction=0.5))), ("all", all_of_it)])
    desk.enter()
    (close,) = look.orders(desk.price(101.0))
    desk.reject(close)
    (full,) = look.orders(desk.price(98.9))
    assert (full.reason, full.quantity) == ("all", 10.0)


def test_close_cancelled_from_outside_is_tried_again(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    desk.enter()
    time = look.start + 10 * look.minute
    (close,) = look.orders(desk.price(100.1, time=time))
    desk.reject(close, time=time, status=OrderStatus.CANCELLED)
    (again,) = look.orders(desk.give(Tick(time + 1_000)))
    assert again.reason == "quick"


def test_target_that_is_refused_alerts_and_leaves_stop_and_exits_in_force(bench, look):
    desk = bench()
    _, target = desk.enter()
    commands = desk.reject(target)
    assert look.orders(commands) == []
    assert "the target does not rest" in look.notices(commands)[0].title


def test_target_that_is_refused_because_the_price_is_past_it_is_taken(bench, look):
    desk = bench()
    (entry,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    stop, target = look.orders(desk.fill(entry, 104.0))
    desk.accept(stop)
    (close,) = look.orders(desk.reject(target))
    assert (close.reason, close.quantity) == ("target", 10.0)


def test_stop_that_somebody_cancels_is_placed_again_a_few_times_and_then_the_position_is_closed(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    for _ in range(3):
        commands = desk.reject(stop, status=OrderStatus.CANCELLED)
        (again,) = look.orders(commands)
        assert (again.role, again.stop_price, again.quantity) == (stop.role, stop.stop_price, stop.quantity)
        assert again.client_id != stop.client_id
        (notice,) = look.notices(commands)
        assert "the protective stop was cancelled, and not by slt; it is placed again" in notice.title
        assert [c for c in commands if isinstance(c, ReadAccount)]
        stop = again
        desk.accept(stop)
        assert desk.portfolio.holdings[stop.symbol].uncovered_since is None
    (close,) = look.orders(desk.reject(stop, status=OrderStatus.CANCELLED))
    assert (close.reason, close.quantity) == ("unprotected", stop.quantity)


def test_target_that_somebody_cancels_is_placed_again_a_few_times(bench, look):
    desk = bench()
    _, target = desk.enter()
    for _ in range(3):
        (again,) = look.orders(desk.reject(target, status=OrderStatus.CANCELLED))
        assert (again.role, again.stop_price, again.quantity) == (target.role, target.stop_price, target.quantity)
        target = again
        desk.accept(target)
    commands = desk.reject(target, status=OrderStatus.CANCELLED)
    assert look.orders(commands) == []
    assert "the target does not rest (cancelled)" in look.notices(commands)[0].title


def test_stop_that_is_cancelled_while_its_successor_is_on_the_way_is_not_missed(bench, look):
    desk = bench()
    stop, target = desk.enter()
    for order in (stop, target):
        desk.accept(order)
    desk.fill(target, 103.0, quantity=4.0)
    desk.fill(target, 103.0, quantity=2.0)
    holding = desk.portfolio.holdings[stop.symbol]
    assert holding.stop.client_id == stop.client_id
    assert look.orders(desk.reject(stop, status=OrderStatus.CANCELLED))[0].quantity == pytest.approx(4.0)


def test_alerts_of_two_symbols_at_one_time_are_both_told(bench, look):
    desk = bench()
    first, _ = desk.enter(column=0)
    second, _ = desk.enter(column=1, start=look.start + look.minute)
    for stop in (first, second):
        desk.reject(stop, status=OrderStatus.EXPIRED)
    alerts = [n for n in look.notices(desk.commands) if "protective stop is gone" in n.title]
    assert len({n.id for n in alerts}) == 2


def test_end_of_data_does_not_close_twice_what_is_closing(bench, look):
    desk = bench(exits=[("quick", once(ExitOrder()))])
    desk.enter()
    (close,) = look.orders(desk.price(100.5))
    assert look.orders(desk.give(RunEnding(look.start + 5 * look.minute))) == []
    desk.fill(close, 100.5)
    assert desk.trades()[0].exit == "quick"


def test_replaced_and_left_over_orders_are_stored_as_cancelled(bench, look):
    desk = bench()
    stop, target = desk.enter()
    desk.fill(stop, 98.0)
    last = {r.id: r for r in look.records(desk.commands) if isinstance(r, OrderIntent)}
    assert last[target.client_id].status == "cancelled"
    assert last[stop.client_id].status == "filled"


def test_level_met_first_on_the_way_wins_over_the_order_in_the_config(bench, look):
    far = ("far", lambda p, point, o: ExitOrder(trigger_price=99.0))
    near = ("near", lambda p, point, o: ExitOrder(trigger_price=99.5))
    desk = bench(exits=[far, near])
    desk.enter()
    (close,) = look.orders(desk.price(98.5))
    assert (close.reason, close.level) == ("near", 99.5)


def test_config_order_decides_at_a_gap_where_there_is_no_way(bench, look):
    far = ("far", lambda p, point, o: ExitOrder(trigger_price=99.0))
    near = ("near", lambda p, point, o: ExitOrder(trigger_price=99.5))
    desk = bench(exits=[far, near])
    desk.enter()
    (close,) = look.orders(desk.give(PricePoint(look.start + 3 * look.minute, "AAAUSDT", 98.5, is_gap=True)))
    assert close.reason == "far"


def test_peak_before_a_partial_close_is_that_of_its_level(bench, look):
    desk = bench(exits=[("half", once(ExitOrder(fraction=0.5, trigger_price=101.0)))])
    desk.enter()
    desk.price(102.0)
    position = desk.portfolio.holdings["AAAUSDT"].position
    assert position.peak_gain == pytest.approx(position.net_gain(101.0))


def test_outlook_is_renewed_at_5m_closes_although_features_are_fresh_each_minute(bench, look):
    desk = bench()
    desk.enter(start=look.start + 4 * look.minute)
    holding = desk.portfolio.holdings["AAAUSDT"]
    for minute in range(5, 16):
        desk.close(desk.block(start=look.start + minute * look.minute))
    assert holding.outlook.time == look.start + 15 * look.minute
    assert holding.outlook.confidence_before == pytest.approx(0.8)
