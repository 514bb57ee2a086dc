"""What every exit must do, and what this one does."""

from __future__ import annotations

import pytest

from slt.testing import ExitConformance
from slt.testing.markets import make_point, make_position
from slt.types import ExitOrder
from slt_break_even import BreakEven, BreakEvenConfig


class TestConformance(ExitConformance):
    @pytest.fixture
    def make_exit(self):
        return lambda: BreakEven(BreakEvenConfig())


@pytest.mark.parametrize(
    ("peak", "price", "answer"),
    [
        (0.6, 100.2, None),
        (0.6, 99.9, ExitOrder(trigger_price=100.0)),
        (0.4, 99.9, None),
    ],
)
def test_gain_that_was_good_enough_is_not_given_back(peak, price, answer):
    position = make_position(entry=100.0, risk=1.0, peak_gain=peak)
    assert BreakEven(BreakEvenConfig()).slt_check_exit(position, make_point(price), None) == answer
