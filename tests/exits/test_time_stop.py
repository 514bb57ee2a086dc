from __future__ import annotations

import pytest

from slt.testing.markets import START, make_outlook, make_position
from slt.types import ExitOrder, PricePoint
from slt_exits.time_stop import TimeStop, TimeStopConfig

EXIT = TimeStop(TimeStopConfig())
TWO_HOURS = 2 * 3_600_000


def ask(position, age_ms, price=100.0, outlook=None, plugin=EXIT):
    point = PricePoint(position.entry_time + age_ms, position.symbol, price)
    return plugin.slt_check_exit(position=position, point=point, outlook=outlook)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("gain", [-0.9, 0.0, 1.4])
def test_time_stop_at_two_hours_closes_in_profit_or_loss(side, gain):
    position = make_position(side)
    price = position.price_at_gain(gain)
    assert ask(position, TWO_HOURS - 1, price) is None
    assert ask(position, TWO_HOURS, price) == ExitOrder(1.0, None)
    assert ask(position, TWO_HOURS, price, make_outlook(1.0, 1.0, 1.0, p_win=1.0)) == ExitOrder()


def test_time_stop_counts_from_the_stored_first_fill():
    position = make_position(entry_time=START - TWO_HOURS)
    assert EXIT.slt_check_exit(position=position, point=PricePoint(START, "AAAUSDT", 100.0), outlook=None) is not None


def test_time_stop_with_own_limit_uses_it():
    plugin = TimeStop(TimeStopConfig(max_hours=0.5))
    assert ask(make_position(), 1_799_999, plugin=plugin) is None
    assert ask(make_position(), 1_800_000, plugin=plugin) is not None


def test_time_stop_config_without_time_is_refused():
    with pytest.raises(ValueError, match="max_hours"):
        TimeStopConfig(max_hours=0)
