from __future__ import annotations

import pytest

from slt.types import Fill, FillCause, OrderStatus


@pytest.mark.parametrize(("side", "level"), [(1, 100 * 0.9 / 0.99), (-1, 100 * 1.1 / 1.01)])
def test_isolated_liquidation_closes_all_at_the_liquidation_price(make_desk, side, level):
    desk = make_desk(liquidation_fee_fraction=0.0)
    desk.open(side, 2.0, leverage=10)
    assert desk.book.positions()[0].liquidation_price == pytest.approx(level)
    assert desk.to(level + side * 0.01) == []

    (fill,) = desk.to(level - side * 0.01)

    assert fill.cause is FillCause.LIQUIDATION
    assert (fill.side, fill.quantity, fill.slippage) == (-side, 2.0, 0.0)
    assert fill.price == pytest.approx(level)
    assert fill.client_id.startswith("autoclose-")
    assert desk.book.query(fill.client_id) == [fill]
    assert desk.book.positions() == ()
    assert desk.book.wallet == pytest.approx(10_000 - 0.1 - 2 * abs(100 - level))


def test_isolated_liquidation_fee_takes_no_more_than_is_left(make_desk):
    desk = make_desk(liquidation_fee_fraction=0.05)
    desk.open(1, 2.0, leverage=10)

    (fill,) = desk.to(90.0)

    assert fill.price == pytest.approx(100 * 0.9 / 0.99)
    assert desk.book.wallet == pytest.approx(10_000 - 0.1 - 20.0)
    assert fill.fee == pytest.approx(20.0 - 2 * (100 - fill.price))


@pytest.mark.parametrize("side", [1, -1])
def test_gap_beyond_the_bankruptcy_price_loses_the_margin_and_no_more(desk, side):
    desk.open(side, 2.0, leverage=10)

    (fill,) = desk.to(100 - side * 30, gap=True)

    assert fill.price == pytest.approx(100 - side * 10)
    assert fill.fee == 0.0
    assert desk.book.wallet == pytest.approx(10_000 - 0.1 - 20.0)


def test_gap_between_liquidation_and_bankruptcy_fills_at_the_gap_price(make_desk):
    desk = make_desk(liquidation_fee_fraction=0.0)
    desk.open(1, 2.0, leverage=10)

    (fill,) = desk.to(90.5, gap=True)

    assert fill.price == 90.5


def test_gap_past_stop_and_liquidation_liquidates(desk):
    desk.open(1, leverage=10)
    desk.stop(-1, 95.0)

    liquidated, expired = desk.to(80.0, gap=True)

    assert liquidated.cause is FillCause.LIQUIDATION
    assert (expired.client_id, expired.status) == ("c2", OrderStatus.EXPIRED)


def test_stop_before_the_liquidation_price_saves_the_rest(desk):
    desk.open(1, leverage=10)
    desk.stop(-1, 95.0)

    (fill,) = desk.to(80.0)

    assert (fill.client_id, fill.price, fill.cause) == ("c2", 95.0, FillCause.ORDER)


def test_stop_behind_the_liquidation_price_comes_too_late(desk):
    desk.open(1, leverage=10)
    desk.stop(-1, 90.2)

    liquidated, expired = desk.to(80.0)

    assert liquidated.price == pytest.approx(100 * 0.9 / 0.99)
    assert expired.status is OrderStatus.EXPIRED


def test_slippage_never_takes_more_than_the_margin(make_desk):
    desk = make_desk(slippage=0.05)
    desk.to(100.0, gap=True)
    desk.limit(1, 100.0, leverage=20)
    desk.stop(-1, 96.2)

    (fill,) = desk.to(96.0)

    assert fill.cause is FillCause.ORDER
    assert fill.price == pytest.approx(95.0)
    assert desk.book.wallet == pytest.approx(10_000 - 0.05 - 5.0 - fill.fee)


def test_orders_that_rest_outlive_a_liquidation(desk):
    desk.open(1, leverage=10)
    desk.target(-1, 110.0)

    desk.to(80.0)

    assert [order.client_id for order in desk.book.open_orders("AUSDT")] == ["c2"]
    assert [e.status for e in desk.to(111.0)] == [OrderStatus.EXPIRED]


def test_isolated_position_never_touches_the_margin_of_another(desk):
    desk.open(1, 2.0, leverage=10)
    desk.to(50.0, symbol="BUSDT", gap=True)
    desk.market(1, 10.0, symbol="BUSDT", leverage=5)
    desk.to(50.0, symbol="BUSDT")
    before = next(p for p in desk.book.positions() if p.symbol == "BUSDT")

    desk.to(10.0, gap=True)

    assert desk.book.positions() == (before,)
    assert before.margin == pytest.approx(100.0)


def test_cross_position_is_backed_by_the_wallet(make_desk):
    desk = make_desk(1_000.0, margin_type="cross", liquidation_fee_fraction=0.0)
    desk.open(1, 20.0, leverage=10)
    wallet = 1_000 - 1.0
    level = (wallet - 2_000) / (20 * (0.01 - 1))

    assert desk.book.positions()[0].liquidation_price == pytest.approx(level)
    assert desk.to(level + 0.01) == []
    (fill,) = desk.to(level - 0.01)

    assert fill.price == pytest.approx(level)
    assert desk.book.wallet == pytest.approx(wallet - 20 * (100 - level))


def test_cross_liquidation_counts_the_other_positions(make_desk):
    desk = make_desk(1_000.0, margin_type="cross")
    desk.open(1, 20.0, leverage=10)
    desk.to(100.0, symbol="BUSDT", gap=True)
    desk.market(-1, 10.0, symbol="BUSDT", leverage=10)
    desk.to(100.0, symbol="BUSDT")
    alone = desk.book.positions()[0].liquidation_price

    desk.to(120.0, symbol="BUSDT")
    with_loss = desk.book.positions()[0].liquidation_price

    assert with_loss > alone
    wallet = 1_000 - 1.0 - 0.5
    expected = (wallet - 10 * 120 * 0.01 - 200 - 2_000) / (20 * (0.01 - 1))
    assert with_loss == pytest.approx(expected)
    (fill,) = desk.to(with_loss - 0.01)
    assert (fill.symbol, fill.cause) == ("AUSDT", FillCause.LIQUIDATION)


def test_cross_gap_leaves_no_debt(make_desk):
    desk = make_desk(1_000.0, margin_type="cross")
    desk.open(1, 90.0, leverage=10)

    (fill,) = desk.to(50.0, gap=True)

    assert fill.cause is FillCause.LIQUIDATION
    assert desk.book.wallet == pytest.approx(0.0, abs=1e-9)
    assert desk.book.equity >= -1e-9


def test_account_views_add_up(desk):
    desk.open(1, 2.0, leverage=10)
    desk.to(105.0)
    book = desk.book

    assert book.equity == pytest.approx(book.wallet + 10.0)
    assert book.margin_in_use == pytest.approx(20.0)
    assert book.available == pytest.approx(book.wallet - 20.0)
    (position,) = book.positions()
    assert position.unrealised == pytest.approx(10.0)
    assert isinstance(desk.market(-1, 2.0)[0].time, int)
    assert [type(e) for e in desk.to(105.0)] == [Fill]
