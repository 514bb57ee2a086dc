"""The kit of brokers finds what is wrong with a broker that is wrong in one way."""

from __future__ import annotations

import pytest
from attrs import evolve

from slt import hookimpl
from slt.testing import BrokerConformance
from slt.types import Fill, OrderStatus, OrderUpdate
from slt_replay.paper import PaperBroker, PaperBrokerConfig


class SendsTwice(PaperBroker):
    @hookimpl
    async def slt_submit_order(self, order):
        if self.book.query(order.client_id):
            order = evolve(order, client_id=f"{order.client_id}-again")
        return self.book.submit(order)


class FillsGapsAtTheLevel(PaperBroker):
    @hookimpl
    def slt_advance_price(self, point):
        return self.book.advance(evolve(point, is_gap=False))


class ForgetsItsState(PaperBroker):
    @hookimpl
    def slt_restore_broker(self, state):
        pass


class WorksInTheStateGiven(PaperBroker):
    @hookimpl
    def slt_restore_broker(self, state):
        self.book.restore(state)
        state["wallet"] = 0.0


class NeverArrives(PaperBroker):
    @hookimpl
    def slt_advance_price(self, point):
        return self.book.advance(point) or [OrderUpdate(point.time, "x", point.symbol, OrderStatus.ACCEPTED)]


class TellsAllAtOnce(PaperBroker):
    @hookimpl
    def slt_advance_price(self, point):
        events = []
        while found := self.book.advance(point):
            events += found
        return events


class RepeatsTradeIds(PaperBroker):
    @hookimpl
    def slt_advance_price(self, point):
        return [evolve(e, trade_id=1) if isinstance(e, Fill) else e for e in self.book.advance(point)]


class RejectsWithoutAReason(PaperBroker):
    @hookimpl
    async def slt_submit_order(self, order):
        return [evolve(e, reason="") if isinstance(e, OrderUpdate) else e for e in self.book.submit(order)]


class IgnoresCancels(PaperBroker):
    @hookimpl
    async def slt_cancel_order(self, symbol, client_id, time):
        return [OrderUpdate(time, client_id, symbol, OrderStatus.CANCELLED)]


class IsNotAsync(PaperBroker):
    @hookimpl
    def slt_query_order(self, client_id):
        return self.book.query(client_id)


@pytest.mark.parametrize(
    ("kind", "card"),
    [
        (SendsTwice, "test_b05_same_client_id_is_not_sent_twice"),
        (FillsGapsAtTheLevel, "test_b11_level_passed_by_a_gap_fills_at_the_gap_price"),
        (ForgetsItsState, "test_b20_restored_broker_goes_on_as_if_nothing_had_happened"),
        (WorksInTheStateGiven, "test_b20_restored_broker_goes_on_as_if_nothing_had_happened"),
        (NeverArrives, "test_b09_market_entry_fills_at_the_next_price_with_its_costs"),
        (RepeatsTradeIds, "test_b17_trade_ids_are_unique_and_rise"),
        (RejectsWithoutAReason, "test_b15_bad_orders_are_rejected_with_a_reason"),
        (IgnoresCancels, "test_b16_cancelled_orders_never_fill"),
        (IsNotAsync, "test_b02_hooks_are_complete_and_fit"),
    ],
)
def test_kit_finds_the_fault(kind, card):
    class Kit(BrokerConformance):
        def make_broker(self):
            return kind(PaperBrokerConfig())

    with pytest.raises(AssertionError):
        getattr(Kit(), card)()


def test_kit_finds_a_broker_that_does_not_stop_at_the_first_fill():
    class Kit(BrokerConformance):
        def make_broker(self):
            return TellsAllAtOnce(PaperBrokerConfig())

    with pytest.raises((AssertionError, ValueError)):
        Kit().test_b13_each_fill_can_be_answered_before_the_price_goes_on()


def test_kit_without_a_broker_says_what_to_give():
    with pytest.raises(NotImplementedError, match="def make_broker"):
        BrokerConformance().test_b04_submit_answers_for_the_order_sent()
