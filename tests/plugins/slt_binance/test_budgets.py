"""Budgets count as the exchange does, and stop before it would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slt_binance.budgets import Budgets

LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 10},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 30},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 1},
    {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": 5, "limit": 1},
]
NOW = 1_700_000_040_000


def budgets():
    made = Budgets()
    made.set_limits(LIMITS)
    return made


def test_wait_before_limits_are_known_is_none():
    assert Budgets().wait_ms(NOW, 10_000, 10_000, is_urgent=False) == 0


def test_wait_ordinary_calls_stop_at_four_fifths_urgent_ones_later():
    made = budgets()
    made.answered(NOW, 0, 0, {"x-mbx-used-weight-1m": "80"})
    assert made.wait_ms(NOW, 1, 0, is_urgent=False) == 60_000 - NOW % 60_000
    assert made.wait_ms(NOW, 15, 0, is_urgent=True) == 0
    assert made.wait_ms(NOW, 16, 0, is_urgent=True) > 0


def test_wait_ends_with_the_window_of_the_exchanges_clock():
    made = budgets()
    made.answered(NOW, 0, 0, {"x-mbx-order-count-10s": "10", "x-mbx-order-count-1m": "10"})
    wait = made.wait_ms(NOW + 1_234, 0, 1, is_urgent=True)
    assert (NOW + 1_234 + wait) % 10_000 == 0
    assert made.wait_ms(NOW + 1_234 + wait, 0, 1, is_urgent=True) == 0


def test_calls_under_way_count():
    made = budgets()
    for _ in range(8):
        assert made.wait_ms(NOW, 0, 1, is_urgent=False) == 0
        made.sent(0, 1)
    assert made.wait_ms(NOW, 0, 1, is_urgent=False) > 0


def test_answer_without_counts_is_counted_by_its_cost():
    made = budgets()
    made.sent(30, 0)
    made.answered(NOW, 30, 0, {})
    assert made.used()["x-mbx-used-weight-1m"] == (30, 100)


def test_block_holds_back_everything_until_it_ends():
    made = budgets()
    made.block(NOW + 5_000)
    made.block(NOW + 1_000)
    assert made.wait_ms(NOW, 0, 0, is_urgent=True) == 5_000
    assert made.wait_ms(NOW + 5_000, 1, 1, is_urgent=False) == 0


def test_blocked_orders_wait_for_the_next_window_or_as_long_as_told_reads_go_on():
    made = budgets()
    made.block_orders(NOW + 1, None)
    assert made.wait_ms(NOW + 1, 0, 1, is_urgent=True) == 10_000 - (NOW + 1) % 10_000
    made.block_orders(NOW, 42_000)
    assert made.wait_ms(NOW, 0, 1, is_urgent=True) == 42_000
    assert made.wait_ms(NOW, 5, 0, is_urgent=False) == 0


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 40), st.booleans()), max_size=300))
def test_law_the_exchange_never_counts_above_its_limit(calls):
    """An exchange that counts by the minute of its own clock never sees more than the limit."""
    made, now, counted = budgets(), NOW, {}
    for pause, weight, is_urgent in calls:
        now += pause
        now += made.wait_ms(now, weight, 0, is_urgent=is_urgent)
        made.sent(weight, 0)
        minute = now // 60_000
        counted[minute] = counted.get(minute, 0) + weight
        made.answered(now, weight, 0, {"x-mbx-used-weight-1m": str(counted[minute])})
    assert all(weight <= 95 for weight in counted.values())
