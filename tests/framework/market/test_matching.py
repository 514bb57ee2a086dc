from __future__ import annotations

import pytest

from slt.errors import BrokerError
from slt.types import Fill, OrderRole, OrderStatus, OrderType, OrderUpdate, PricePoint


def kinds(events):
    return [(e.client_id, e.price) if isinstance(e, Fill) else (e.client_id, str(e.status)) for e in events]


def test_market_order_fills_at_the_next_point_not_at_the_last(desk):
    desk.to(100.0, gap=True)
    (accepted,) = desk.market(1)

    assert accepted == OrderUpdate(desk.time, "c1", "AUSDT", OrderStatus.ACCEPTED)
    (fill,) = desk.to(101.0, gap=True)
    assert (fill.price, fill.quantity, fill.side, fill.is_maker) == (101.0, 1.0, 1, False)
    assert fill.fee == pytest.approx(101.0 * 0.0005)
    assert fill.time == desk.time


def test_market_order_within_a_bar_fills_at_the_end_of_the_way(desk):
    desk.to(100.0, gap=True)
    desk.market(1)

    (fill,) = desk.to(103.0)

    assert fill.price == 103.0


def test_market_order_answering_a_fill_waits_for_the_next_point(desk):
    desk.open(1)
    desk.stop(-1, 98.0, 0.4)
    point = PricePoint(desk.time + 60_000, "AUSDT", 97.0)
    (stopped,) = desk.book.advance(point)
    desk.time = point.time
    desk.close(-1, 0.6)

    assert stopped.price == 98.0
    assert desk.book.advance(point) == []
    assert kinds(desk.to(96.0)) == [("c3", 96.0)]


def test_market_order_at_an_unchanged_price_fills_when_the_point_is_given_anew(desk):
    desk.open(1)
    desk.close(-1)

    (fill,) = desk.to(100.0, time=desk.time)

    assert fill.client_id == "c2"
    assert desk.book.positions() == ()


def test_market_order_before_any_price_fills_at_the_first(desk):
    desk.market(1)

    (fill,) = desk.to(100.0)

    assert fill.price == 100.0


def test_slippage_goes_against_the_taker_and_is_reported(make_desk):
    desk = make_desk(slippage=0.001)

    bought = desk.open(1, 2.0)
    desk.target(-1, 110.0, 2.0)
    (sold,) = desk.to(111.0)

    assert bought.price == pytest.approx(100.1)
    assert bought.slippage == pytest.approx(0.2)
    assert sold.price == pytest.approx(110.0 * 0.999)
    assert sold.slippage == pytest.approx(0.22)


def test_resting_limit_fills_at_its_price_as_maker_without_slippage(make_desk):
    desk = make_desk(slippage=0.001)
    desk.to(100.0, gap=True)
    (accepted,) = desk.limit(1, 99.0)

    (fill,) = desk.to(98.0)

    assert accepted.status is OrderStatus.ACCEPTED
    assert (fill.price, fill.is_maker, fill.slippage) == (99.0, True, 0.0)
    assert fill.fee == pytest.approx(99.0 * 0.0002)


def test_limit_touched_exactly_fills_in_full(desk):
    desk.to(100.0, gap=True)
    desk.limit(1, 99.0, 3.0)

    (fill,) = desk.to(99.0)

    assert fill.quantity == 3.0


def test_limit_passed_by_a_gap_fills_at_the_better_price(desk):
    desk.to(100.0, gap=True)
    desk.limit(1, 99.0)

    (fill,) = desk.to(97.0, gap=True)

    assert (fill.price, fill.is_maker) == (97.0, True)


@pytest.mark.parametrize(("side", "price"), [(1, 100.0), (1, 103.0), (-1, 100.0), (-1, 97.0)])
def test_marketable_limit_fills_at_once_at_the_last_price_as_taker(make_desk, side, price):
    desk = make_desk(slippage=0.001)
    desk.to(100.0, gap=True)

    accepted, fill = desk.limit(side, price)

    assert accepted.status is OrderStatus.ACCEPTED
    assert (fill.price, fill.is_maker, fill.slippage) == (100.0, False, 0.0)
    assert fill.fee == pytest.approx(100.0 * 0.0005)


def test_marketable_limit_on_a_price_nobody_followed_waits_for_the_next(desk):
    desk.to(100.0, gap=True)

    events = desk.limit(1, 103.0, time=desk.time + 3_600_000)

    assert kinds(events) == [("c1", "accepted")]
    assert kinds(desk.to(102.0, time=desk.time + 3_660_000)) == [("c1", 102.0)]


def test_limit_on_a_price_nobody_followed_is_not_filled_by_the_old_price(desk):
    desk.to(80.0, gap=True)
    desk.limit(1, 90.0, time=desk.time + 3_600_000)

    assert desk.to(100.0, time=desk.time + 3_660_000) == []
    assert kinds(desk.to(89.0)) == [("c1", 90.0)]


@pytest.mark.parametrize("side", [1, -1])
def test_stop_and_target_fill_at_their_levels(desk, side):
    desk.open(side)
    desk.stop(-side, 100.0 - side * 2)
    desk.target(-side, 100.0 + side * 3)

    assert desk.to(100.0 - side * 1.9) == []
    assert desk.to(100.0 + side * 2.9) == []
    assert kinds(desk.to(100.0 + side * 5)) == [("c3", 100.0 + side * 3)]


@pytest.mark.parametrize("side", [1, -1])
def test_stop_passed_by_a_gap_fills_at_the_gap_price(desk, side):
    desk.open(side)
    desk.stop(-side, 100.0 - side * 2)

    assert kinds(desk.to(100.0 - side * 4, gap=True)) == [("c2", 100.0 - side * 4)]


def test_target_passed_by_a_gap_fills_at_the_better_price(desk):
    desk.open(1)
    desk.target(-1, 103.0)

    assert kinds(desk.to(105.0, gap=True)) == [("c2", 105.0)]


def test_levels_fill_in_the_order_of_the_way(desk):
    desk.open(1, 3.0)
    desk.stop(-1, 96.0)
    desk.stop(-1, 98.0)
    desk.stop(-1, 97.0)

    assert kinds(desk.to(95.0)) == [("c3", 98.0), ("c4", 97.0), ("c2", 96.0)]


def test_advance_stops_after_each_fill_so_that_orders_can_be_answered(desk):
    desk.open(1)
    desk.target(-1, 102.0, 0.5)
    point = PricePoint(desk.time + 60_000, "AUSDT", 105.0)
    desk.time = point.time

    assert kinds(desk.book.advance(point)) == [("c2", 102.0)]
    desk.target(-1, 104.0, 0.5)
    assert kinds(desk.book.advance(point)) == [("c3", 104.0)]
    assert desk.book.advance(point) == []


def test_new_order_behind_the_price_under_way_is_refused(desk):
    desk.open(1)
    desk.target(-1, 102.0, 0.5)
    point = PricePoint(desk.time + 60_000, "AUSDT", 105.0)
    desk.book.advance(point)
    desk.time = point.time

    (refused,) = desk.target(-1, 101.0, 0.5)

    assert refused.status is OrderStatus.REJECTED
    assert "(TRIGGER, -2021)" in refused.reason


@pytest.mark.parametrize("gap", [True, False])
def test_at_one_price_stop_goes_before_exit_before_target(desk, gap):
    desk.open(1, 3.0)
    desk.target(-1, 105.0)
    desk.close(-1, level=105.0)
    desk.stop(1, 105.0, role=OrderRole.STOP, reduce_only=False, leverage=10)

    assert [name for name, _ in kinds(desk.to(106.0 if gap else 105.0, gap=gap))] == ["c4", "c3", "c2"]


def test_at_one_level_and_rank_the_older_goes_first(desk):
    desk.open(1, 2.0)
    desk.stop(-1, 98.0)
    desk.stop(-1, 98.0)

    assert [name for name, _ in kinds(desk.to(97.0))] == ["c2", "c3"]


def test_nothing_happens_while_levels_are_not_reached(desk):
    desk.open(1)
    desk.stop(-1, 98.0)
    desk.target(-1, 103.0)

    for price in (99.0, 102.9, 98.1, 100.0):
        assert desk.to(price) == []
    assert len(desk.book.open_orders("AUSDT")) == 2


def test_exit_with_a_level_fills_there_when_the_price_crosses_it(desk):
    desk.open(1)
    desk.close(-1, level=98.5)

    assert kinds(desk.to(97.0)) == [("c2", 98.5)]


def test_exit_with_a_level_yields_to_a_stop_met_earlier(desk):
    desk.open(1)
    desk.stop(-1, 99.0)
    desk.close(-1, level=98.5)

    assert kinds(desk.to(97.0)) == [("c2", 99.0), ("c3", "expired")]


def test_exit_with_a_level_goes_before_a_stop_met_later(desk):
    desk.open(1)
    desk.stop(-1, 98.0)
    desk.close(-1, level=98.5)

    assert kinds(desk.to(97.0)) == [("c3", 98.5), ("c2", "expired")]


@pytest.mark.parametrize("level", [95.0, 104.0])
def test_exit_with_a_level_off_the_way_fills_at_the_end_of_it(desk, level):
    desk.open(1)
    desk.close(-1, level=level)

    assert kinds(desk.to(97.0)) == [("c2", 97.0)]


def test_exit_with_a_level_fills_at_the_gap_price(desk):
    desk.open(1)
    desk.close(-1, level=98.5)

    assert kinds(desk.to(97.0, gap=True)) == [("c2", 97.0)]


def test_exit_with_a_level_answering_a_fill_still_meets_it_on_the_same_way(desk):
    desk.open(1)
    desk.stop(-1, 99.0, 0.5)
    point = PricePoint(desk.time + 60_000, "AUSDT", 97.0)
    desk.book.advance(point)
    desk.time = point.time
    desk.close(-1, 0.5, level=98.0)

    assert kinds(desk.book.advance(point)) == [("c3", 98.0)]


def test_reduce_only_shrinks_to_the_position_and_the_rest_expires(desk):
    desk.open(1)
    desk.stop(-1, 98.0, 5.0)

    fill, update = desk.to(97.0)

    assert fill.quantity == 1.0
    assert (update.status, update.reason) == (OrderStatus.EXPIRED, "reduce-only: shrunk to the position")
    assert desk.book.positions() == ()


def test_reduce_only_without_a_position_expires_when_triggered(desk):
    desk.to(100.0, gap=True)
    desk.stop(-1, 98.0)

    (update,) = desk.to(97.0)

    assert (update.client_id, update.status) == ("c1", OrderStatus.EXPIRED)
    assert "(-2022)" in update.reason
    assert desk.book.open_orders("AUSDT") == ()


@pytest.mark.parametrize("kind", ["market", "limit"])
def test_reduce_only_without_a_position_is_refused_at_market_and_limit(desk, kind):
    desk.to(100.0, gap=True)

    (update,) = desk.close(-1) if kind == "market" else desk.limit(-1, 101.0, reduce_only=True)

    assert update.status is OrderStatus.REJECTED
    assert "(-2022)" in update.reason


def test_reduce_only_on_the_side_of_the_position_expires(desk):
    desk.open(1)
    desk.stop(1, 102.0)

    (update,) = desk.to(103.0)

    assert update.status is OrderStatus.EXPIRED
    assert desk.book.positions()[0].quantity == 1.0


def test_partial_close_keeps_entry_price_and_frees_margin(desk):
    desk.open(1, 2.0)
    desk.target(-1, 110.0, 0.5)

    desk.to(110.0)

    (position,) = desk.book.positions()
    assert (position.quantity, position.entry_price) == (1.5, 100.0)
    assert position.margin == pytest.approx(15.0)
    assert desk.book.wallet == pytest.approx(10_000 + 5.0 - 200 * 0.0005 - 55 * 0.0005)


def test_quantities_carry_no_float_noise(desk):
    desk.open(1, 0.3)
    for _ in range(3):
        desk.close(-1, 0.1)
        desk.to(100.0)

    assert desk.book.positions() == ()


def test_opposite_order_turns_the_position_round(desk):
    desk.open(1)
    desk.market(-1, 3.0)

    (fill,) = desk.to(110.0)

    (position,) = desk.book.positions()
    assert (fill.quantity, position.side, position.quantity, position.entry_price) == (3.0, -1, 2.0, 110.0)
    assert position.margin == pytest.approx(22.0)


def test_adding_to_a_position_averages_the_entry(desk):
    desk.open(1)
    desk.market(1, 3.0)

    desk.to(104.0)

    (position,) = desk.book.positions()
    assert (position.quantity, position.entry_price) == (4.0, 103.0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 0.0005}, "-4004"),
        ({"quantity": 1.0005}, "-4023"),
        ({"quantity": 0.01}, "-4164"),
        ({"leverage": 51}, "-4028"),
        ({"quantity": 600.0, "leverage": 50}, "-2027"),
        ({"quantity": 1_100.0}, "-2019"),
        ({"client_id": "no spaces"}, "-4015"),
        ({"symbol": "ZUSDT"}, "-1121"),
    ],
)
def test_bad_entry_is_rejected_with_the_exchange_code(desk, changes, code):
    desk.to(100.0, gap=True)

    (update,) = desk.market(1, **changes)

    assert update.status is OrderStatus.REJECTED
    assert f"{code})" in update.reason
    assert desk.to(100.0) == []


def test_limit_off_the_tick_is_rejected(desk):
    desk.to(100.0, gap=True)

    (update,) = desk.limit(1, 99.005)

    assert "off the grid (PRICE_FILTER, -4014)" in update.reason


def test_float_noise_on_an_order_is_no_reason_to_refuse_it(desk):
    desk.open(1, 0.3)

    (accepted,) = desk.stop(-1, 98.0, 0.1 + 0.2)
    events = desk.to(97.0)

    assert accepted.status is OrderStatus.ACCEPTED
    assert [e.quantity for e in events] == [0.3]


def test_margin_check_counts_positions_and_working_entries(desk):
    desk.to(100.0, gap=True)
    desk.limit(1, 90.0, 900.0)
    assert desk.book.margin_in_use == pytest.approx(900 * 90 * (1 / 10 + 0.0005))

    (refused,) = desk.limit(1, 91.0, 300.0)

    assert "margin is insufficient" in refused.reason
    desk.book.cancel("AUSDT", "c1", desk.time)
    assert desk.book.margin_in_use == 0.0
    assert desk.limit(1, 91.0, 300.0)[0].status is OrderStatus.ACCEPTED


def test_margin_is_freed_for_a_closing_order_and_not_asked_of_it(desk):
    desk.open(1, 990.0)

    assert desk.book.available < 100.0
    assert desk.market(-1, 990.0)[0].status is OrderStatus.ACCEPTED


def test_entry_that_cannot_be_paid_at_the_fill_expires(desk):
    desk.to(100.0, gap=True)
    desk.market(1, 990.0)

    (update,) = desk.to(110.0, gap=True)

    assert update.status is OrderStatus.EXPIRED
    assert "(-2019)" in update.reason
    assert desk.book.margin_in_use == 0.0


def test_entry_before_any_price_is_checked_at_the_fill(desk):
    assert desk.market(1, 2_000.0)[0].status is OrderStatus.ACCEPTED

    (update,) = desk.to(100.0, gap=True)

    assert update.status is OrderStatus.EXPIRED


def test_leverage_stays_until_an_order_sets_it(desk):
    desk.open(1, leverage=25)
    desk.market(1, leverage=0)
    desk.to(100.0)

    (position,) = desk.book.positions()
    assert position.leverage == 25
    assert position.margin == pytest.approx(8.0)


def test_leverage_may_not_be_lowered_under_an_isolated_position(desk, make_desk):
    desk.open(1, leverage=25)
    assert "(-4161)" in desk.market(1, leverage=10)[0].reason

    cross = make_desk(margin_type="cross")
    cross.open(1, leverage=25)
    assert cross.market(1, leverage=10)[0].status is OrderStatus.ACCEPTED


def test_default_leverage_is_capped_by_the_first_bracket(make_desk):
    desk = make_desk(default_leverage=125)
    desk.open(1, leverage=0)

    assert desk.book.positions()[0].leverage == 50


def test_same_client_id_is_answered_and_not_sent_again(desk):
    desk.to(100.0, gap=True)
    order = desk.order(1, OrderType.MARKET)
    first = desk.book.submit(order)
    assert desk.book.submit(order) == first
    (fill,) = desk.to(100.0)

    assert desk.book.submit(order) == [*first, fill]
    assert desk.to(100.0) == []
    assert desk.book.positions()[0].quantity == 1.0
    assert desk.book.query("c1") == [*first, fill]
    assert desk.book.query("never") == []


def test_finished_orders_are_forgotten_in_the_end_but_working_ones_never(desk):
    desk.to(100.0, gap=True)
    desk.limit(1, 50.0)
    for _ in range(1_200):
        desk.limit(1, 60.0)
        desk.book.cancel("AUSDT", f"c{desk.count}", desk.time)

    assert desk.book.query("c1")
    assert desk.book.query("c2") == []
    assert desk.book.query("c1201")
    assert len(desk.book.snapshot()["history"]) <= 1_000


def test_cancel_removes_the_order_once(desk):
    desk.open(1)
    desk.stop(-1, 98.0)

    (update,) = desk.book.cancel("AUSDT", "c2", desk.time)

    assert (update.status, update.time) == (OrderStatus.CANCELLED, desk.time)
    assert desk.book.cancel("AUSDT", "c2", desk.time) == []
    assert desk.book.cancel("ZUSDT", "c2", desk.time) == []
    assert desk.to(97.0) == []


def test_trade_ids_rise(desk):
    desk.open(1)
    desk.close(-1)
    (second,) = desk.to(100.0)
    third = desk.open(-1)

    assert 1 < second.trade_id < third.trade_id


def test_advance_without_rules_or_with_an_impossible_price_raises(desk):
    with pytest.raises(BrokerError, match=r"ZUSDT: the book has no rules .* known are \['AUSDT', 'BUSDT'\]"):
        desk.to(1.0, symbol="ZUSDT")
    for price in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BrokerError, match="allowed is above 0"):
            desk.to(price)
