"""What an exchange with many users sets on a book: slices, margin type and leverage per symbol, forced closes."""

from __future__ import annotations

import json

import pytest

from slt.errors import BrokerError
from slt.types import Fill, FillCause, OrderRole, OrderStatus, OrderType


def fills(events):
    return [(event.client_id, event.quantity, event.price) for event in events if isinstance(event, Fill)]


# -- slices ------------------------------------------------------------------------------------------------------------


def test_sliced_market_order_fills_a_part_at_each_point(make_desk):
    desk = make_desk(fill_slices=3)
    desk.to(100.0, gap=True)
    desk.market(1, 1.0)
    found = [fills(desk.to(price)) for price in (100.0, 101.0, 102.0, 103.0, 104.0)]

    assert found == [[("c1", 0.333, 100.0)], [("c1", 0.333, 101.0)], [("c1", 0.333, 102.0)], [("c1", 0.001, 103.0)], []]
    assert desk.book.position("AUSDT").quantity == 1.0
    assert desk.book.reserved == 0.0


def test_sliced_limit_order_fills_only_while_the_price_is_there(make_desk):
    desk = make_desk(fill_slices=2)
    desk.to(100.0, gap=True)
    desk.limit(1, 95.0, 1.0)
    found = [fills(desk.to(price)) for price in (94.0, 96.0, 95.0)]

    assert [part[0][1] if part else 0.0 for part in found] == [0.5, 0.5, 0.0]
    assert desk.book.position("AUSDT").quantity == 1.0


def test_sliced_stop_goes_on_at_market_after_its_first_part(make_desk):
    desk = make_desk(fill_slices=2)
    desk.open(1, 1.0)
    desk.to(100.0)
    desk.stop(-1, 95.0, 1.0)

    first = fills(desk.to(94.0))
    second = fills(desk.to(97.0))

    assert (first, second) == ([("c2", 0.5, 95.0)], [("c2", 0.5, 97.0)])
    assert desk.book.positions() == ()


def test_order_too_small_for_slices_fills_in_full(make_desk):
    desk = make_desk(fill_slices=3)
    desk.to(100.0, gap=True)
    desk.market(1, 0.1)
    desk.to(100.0)
    desk.close(-1, 0.002)

    assert ("c2", 0.002, 100.0) in fills(desk.to(100.0))


def test_cancelled_rest_of_a_sliced_order_frees_what_it_bound(make_desk):
    desk = make_desk(fill_slices=2)
    desk.to(100.0, gap=True)
    desk.limit(1, 95.0, 1.0)
    desk.to(95.0)
    bound = desk.book.reserved
    (update,) = desk.book.cancel("AUSDT", "c1", desk.time)

    assert bound == pytest.approx(0.5 * 95 / 10 + 0.5 * 95 * 0.0005)
    assert (update.status, desk.book.reserved) == (OrderStatus.CANCELLED, 0.0)


def test_snapshot_in_the_middle_of_slices_goes_on_alike(make_desk):
    desk, other = make_desk(fill_slices=3), make_desk(fill_slices=3)
    desk.to(100.0, gap=True)
    desk.market(1, 1.0)
    desk.to(100.0)
    other.book.restore(json.loads(json.dumps(desk.book.snapshot())))
    other.time = desk.time

    assert fills(desk.to(101.0)) == fills(other.to(101.0)) != []
    assert json.dumps(desk.book.snapshot()) == json.dumps(other.book.snapshot())


# -- margin type and leverage ------------------------------------------------------------------------------------------


def test_margin_type_is_each_symbols_own(make_desk):
    desk = make_desk(1_000.0, margin_type="cross")
    desk.book.set_margin_type("AUSDT", "isolated")
    for symbol in ("AUSDT", "BUSDT"):
        desk.to(100.0, gap=True, symbol=symbol)
        desk.market(1, 10.0, symbol=symbol)
        desk.to(100.0, symbol=symbol)

    assert (desk.book.margin_type("AUSDT"), desk.book.margin_type("BUSDT")) == ("isolated", "cross")
    isolated, cross = (desk.book.position(symbol) for symbol in ("AUSDT", "BUSDT"))
    assert isolated.liquidation_price == pytest.approx(90.909, abs=0.01)
    assert cross.liquidation_price < 20
    assert desk.book.cross_wallet == pytest.approx(desk.book.wallet - 100.0)


def test_loss_of_a_cross_position_never_touches_isolated_margin(make_desk):
    desk = make_desk(300.0, margin_type="cross")
    desk.book.set_margin_type("AUSDT", "isolated")
    for symbol in ("AUSDT", "BUSDT"):
        desk.to(100.0, gap=True, symbol=symbol)
        desk.market(1, 10.0, symbol=symbol)
        desk.to(100.0, symbol=symbol)

    (fill,) = desk.to(50.0, gap=True, symbol="BUSDT")

    assert fill.cause == FillCause.LIQUIDATION
    assert desk.book.position("AUSDT").margin == pytest.approx(100.0)
    assert desk.book.wallet == pytest.approx(100.0)


def test_margin_type_is_fixed_by_positions_and_orders(desk):
    desk.open(1)
    desk.limit(1, 50.0, symbol="BUSDT", time=desk.time)

    for symbol in ("AUSDT", "BUSDT"):
        with pytest.raises(BrokerError, match=f"{symbol}: the margin type is fixed"):
            desk.book.set_margin_type(symbol, "cross")


def test_leverage_that_was_set_holds_for_orders_that_name_none(desk):
    desk.to(100.0, gap=True)
    desk.book.set_leverage("AUSDT", 4)
    desk.market(1, 1.0, leverage=0)
    desk.to(100.0)

    assert (desk.book.leverage("AUSDT"), desk.book.position("AUSDT").margin) == (4, 25.0)


# -- forced closes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [FillCause.AUTO_DELEVERAGING, FillCause.ORDER])
def test_forced_close_takes_a_share_at_the_last_price_without_a_fee(desk, cause):
    desk.open(1, 1.0)
    (fill,) = desk.book.force_close("AUSDT", desk.time, cause, 0.25)

    assert (fill.quantity, fill.price, fill.fee, fill.cause, fill.side) == (0.25, 100.0, 0.0, cause, -1)
    assert desk.book.position("AUSDT").quantity == 0.75


def test_forced_liquidation_asks_its_fee(desk):
    desk.open(-1, 1.0)
    (fill,) = desk.book.force_close("AUSDT", desk.time, FillCause.LIQUIDATION)

    assert (fill.side, fill.fee) == (1, pytest.approx(100 * 0.015))
    assert desk.book.positions() == ()


def test_forced_close_of_nothing_does_nothing(desk):
    desk.to(100.0, gap=True)

    assert desk.book.force_close("AUSDT", desk.time, FillCause.LIQUIDATION) == []
    assert desk.book.position("AUSDT") is None


def test_price_counts_as_now_for_as_long_as_it_is_set_to(make_desk):
    for life, is_filled in ((1_000, False), (60_000, True)):
        desk = make_desk(price_life_ms=life)
        desk.to(100.0, gap=True)
        desk.time += 60_000
        found = desk.submit(1, OrderType.LIMIT, 1.0, OrderRole.ENTRY, price=101.0)
        assert bool(fills(found)) is is_filled
