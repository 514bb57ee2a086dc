"""A run of two hundred symbols: what its start costs at the exchange, and what an entry adds."""

from __future__ import annotations

from collections import Counter

import pytest
from test_broker_faults import PRICE, rules
from venue import SandboxVenue

from slt.testing.broker import make_hooks
from slt.testing.broker_desk import BrokerDesk
from slt.types import MINUTE_MS, MarketInfo

SYMBOLS = tuple(f"S{number:03d}USDT" for number in range(200))
MOST_CALLS = 25
MOST_WEIGHT = 400
"""Of 2,400 in a minute; with the first reading of the account it is less than a fifth."""


@pytest.fixture
async def venue():
    made = SandboxVenue({symbol: rules(symbol) for symbol in SYMBOLS}, SYMBOLS[0])
    await made.start()
    yield made
    await made.stop()


async def test_start_with_two_hundred_symbols_makes_few_calls_and_sets_nothing(venue):
    hooks = make_hooks(venue.broker)
    market = MarketInfo(SYMBOLS, MINUTE_MS, 0, None, "the local exchange")
    found = await hooks.slt_open_broker(market=market, wallet=0.0)
    try:
        assert set(found) == set(SYMBOLS)
        calls = Counter(method for method, _ in venue.seen)
        assert set(calls) == {"GET"}
        await hooks.slt_read_account()
        assert len(venue.seen) <= MOST_CALLS
        used = venue.exchange.limits.used_weight("127.0.0.1", venue.clock())
        assert used <= MOST_WEIGHT
    finally:
        await hooks.slt_close_broker()


async def test_entry_sets_its_own_symbol_and_no_other(venue):
    for symbol in SYMBOLS[:2]:
        await venue.move(PRICE, symbol)
    hooks = make_hooks(venue.broker)
    market = MarketInfo(SYMBOLS, MINUTE_MS, 0, None, "the local exchange")
    found = await hooks.slt_open_broker(market=market, wallet=0.0)
    try:
        before = len(venue.seen)
        desk = BrokerDesk(hooks, SYMBOLS[1], dict(found))
        await desk.enter()
        assert Counter(venue.seen[before:]) == {
            ("POST", "/fapi/v1/marginType"): 1,
            ("POST", "/fapi/v1/leverage"): 1,
            ("POST", "/fapi/v1/order"): 1,
        }
        kinds = Counter(venue.account.book.margin_type(symbol) for symbol in SYMBOLS)
        assert kinds == {"isolated": 1, "cross": 199}
    finally:
        await hooks.slt_close_broker()
