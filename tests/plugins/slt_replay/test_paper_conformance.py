"""The paper broker passes the kit of brokers in every way it can be set up."""

from __future__ import annotations

from slt.testing import BrokerConformance
from slt_replay.paper import PaperBroker, PaperBrokerConfig


class TestPaperBroker(BrokerConformance):
    def make_broker(self):
        return PaperBroker(PaperBrokerConfig())


class TestPaperBrokerCross(BrokerConformance):
    def make_broker(self):
        return PaperBroker(PaperBrokerConfig(margin_type="cross", slippage_fraction=0.0))


class TestPaperBrokerWithoutFunding(BrokerConformance):
    def make_broker(self):
        return PaperBroker(PaperBrokerConfig(funding=False, taker_fee_fraction=0.0, path="ohlc"))
