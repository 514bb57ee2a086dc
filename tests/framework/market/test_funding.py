from __future__ import annotations

import numpy as np
import pytest

from slt.errors import DataError
from slt.types import Fill, FundingPayment, FundingRates

HOUR = 3_600_000


def rates(*pairs: tuple[int, float]) -> dict[str, FundingRates]:
    times, values = zip(*pairs, strict=True)
    return {"AUSDT": FundingRates(np.array(times, dtype=np.int64), np.array(values, dtype=np.float64))}


@pytest.mark.parametrize(("side", "amount"), [(1, 0.02), (-1, -0.02)])
def test_funding_is_paid_by_longs_at_the_last_price(make_desk, side, amount):
    desk = make_desk(funding=rates((HOUR, 0.0001)))
    desk.open(side, 2.0)
    desk.to(100.0)
    before, margin = desk.book.wallet, desk.book.positions()[0].margin

    (payment,) = desk.to(104.0, time=HOUR)

    assert payment == FundingPayment(HOUR, "AUSDT", 0.0001, pytest.approx(amount))
    assert desk.book.wallet == pytest.approx(before - amount)
    assert desk.book.positions()[0].margin == pytest.approx(margin - amount)


def test_funding_belongs_to_the_position_held_before_the_price(make_desk):
    desk = make_desk(funding=rates((HOUR, 0.0001), (2 * HOUR, 0.0001)))
    desk.to(100.0, gap=True)
    desk.market(1)

    (entry,) = desk.to(100.0, time=HOUR, gap=True)
    assert isinstance(entry, Fill)
    desk.close(-1)
    payment, closed = desk.to(95.0, time=2 * HOUR, gap=True)

    assert isinstance(payment, FundingPayment)
    assert payment.amount == pytest.approx(0.01)
    assert isinstance(closed, Fill)


def test_funding_of_several_settlements_comes_together_and_once(make_desk):
    desk = make_desk(funding=rates((HOUR, 0.0001), (2 * HOUR + 7, -0.0002), (3 * HOUR, 0.0001)))
    desk.open(1)

    payments = desk.to(101.0, time=2 * HOUR + 60_000, gap=True)

    assert [(p.time, p.rate) for p in payments] == [(HOUR, 0.0001), (2 * HOUR + 7, -0.0002)]
    assert desk.to(100.0) == []


def test_funding_is_not_due_before_its_time(make_desk):
    desk = make_desk(funding=rates((HOUR + 5, 0.0001)))
    desk.open(1)

    assert desk.to(100.0, time=HOUR) == []
    assert len(desk.to(100.0, time=HOUR + 60_000)) == 1


def test_funding_that_passed_while_flat_is_not_paid_later(make_desk):
    desk = make_desk(funding=rates((HOUR, 0.0001)))
    desk.time = 2 * HOUR
    desk.open(1)

    assert desk.to(101.0) == []


def test_funding_can_cause_a_liquidation(make_desk):
    desk = make_desk(funding=rates((HOUR, 0.01)))
    desk.open(1, 2.0, leverage=50)
    assert desk.to(99.5) == []

    payment, liquidated = desk.to(100.0, time=HOUR)

    assert payment.amount == pytest.approx(1.99)
    assert liquidated.price == 99.5
    assert desk.book.positions() == ()


def test_funding_takes_no_more_than_the_isolated_margin(make_desk):
    desk = make_desk(funding=rates((HOUR, 0.5)))
    desk.open(1, leverage=10)

    payment, liquidated = desk.to(100.0, time=HOUR)

    assert payment.amount == pytest.approx(10.0)
    assert (liquidated.price, liquidated.fee) == (100.0, 0.0)
    assert desk.book.wallet == pytest.approx(10_000 - 0.05 - 10.0)


def test_funding_takes_no_more_than_the_cross_account_has(make_desk):
    desk = make_desk(100.0, margin_type="cross", funding=rates((HOUR, 2.0)))
    desk.open(1, leverage=10)

    payment, liquidated = desk.to(100.0, time=HOUR)

    assert payment.amount == pytest.approx(100.0 - 0.05)
    assert liquidated.symbol == "AUSDT"
    assert desk.book.equity == pytest.approx(0.0, abs=1e-9)


def test_funding_of_an_unknown_symbol_is_left_alone(make_desk):
    other = FundingRates(np.array([HOUR]), np.array([0.1]))

    assert make_desk(funding={"ZUSDT": other}).book.positions() == ()


@pytest.mark.parametrize(
    ("times", "values"), [([1, 2], [0.1, float("nan")]), ([2, 2], [0.1, 0.1]), ([3, 2], [0.1, 0.1])]
)
def test_funding_that_cannot_be_true_is_refused(make_desk, times, values):
    with pytest.raises(DataError, match="funding of AUSDT: allowed are finite rates at rising times"):
        make_desk(funding={"AUSDT": FundingRates(np.array(times), np.array(values))})
