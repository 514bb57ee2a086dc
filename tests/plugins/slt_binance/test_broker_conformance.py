"""The broker passes the kit of live brokers against the local exchange."""

from __future__ import annotations

import pytest
from venue import SandboxVenue, opened

from slt.testing import LiveBrokerConformance
from slt_binance.broker import BinanceBroker, BinanceBrokerConfig


class TestBinanceBroker(LiveBrokerConformance):
    def make_broker(self):
        return BinanceBroker(BinanceBrokerConfig())

    def open_venue(self):
        return opened(SandboxVenue(self.make_market().rules, self.symbol))


class TestBinanceBrokerCross(TestBinanceBroker):
    def open_venue(self):
        venue = SandboxVenue(self.make_market().rules, self.symbol, default_margin_type="isolated")
        venue.options |= {"margin_type": "cross", "trigger_price": "mark"}
        return opened(venue)


class TestBinanceBrokerFilledLater(TestBinanceBroker):
    def open_venue(self):
        return opened(SandboxVenue(self.make_market().rules, self.symbol, market_fill="next_point"))


@pytest.mark.parametrize("kind", [TestBinanceBroker])
def test_kit_runs_every_card(kind):
    cards = [name for name in dir(kind) if name.startswith(("test_b", "test_l"))]
    assert len(cards) == 30
