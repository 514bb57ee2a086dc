"""Money moved to an isolated position and back."""

from __future__ import annotations

import pytest

from slt.errors import BrokerError


def test_margin_put_behind_a_position_moves_its_liquidation_away_and_leaves_the_wallet(make_desk):
    desk = make_desk()
    desk.to(100.0, gap=True)
    desk.market(1, 1.0)
    desk.to(100.0)
    book = desk.book
    before, wallet, available = book.position("AUSDT"), book.wallet, book.available
    book.move_margin("AUSDT", 2.0)
    after = book.position("AUSDT")

    assert (after.margin, book.wallet) == (pytest.approx(before.margin + 2.0), wallet)
    assert (book.available, book.cross_wallet) == (pytest.approx(available - 2.0), pytest.approx(wallet - after.margin))
    assert after.liquidation_price < before.liquidation_price
    # The price of the old liquidation is passed now, the new one is not.
    desk.to(before.liquidation_price - 0.01)
    assert book.position("AUSDT") is not None
    book.move_margin("AUSDT", -1.0)
    assert book.position("AUSDT").margin == pytest.approx(before.margin + 1.0)
    desk.to(after.liquidation_price - 1.5)
    assert book.position("AUSDT") is None


def test_margin_of_no_position_or_a_cross_one_cannot_be_moved(make_desk):
    desk = make_desk()
    desk.to(100.0, gap=True)
    with pytest.raises(BrokerError, match="only an isolated position has a margin of its own"):
        desk.book.move_margin("AUSDT", 1.0)
    desk.book.set_margin_type("AUSDT", "cross")
    desk.market(1, 1.0)
    desk.to(100.0)
    with pytest.raises(BrokerError, match="only an isolated position"):
        desk.book.move_margin("AUSDT", 1.0)
