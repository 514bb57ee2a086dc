"""The kit of live brokers finds what is wrong with a broker that is wrong in one way."""

from __future__ import annotations

import pytest
from attrs import evolve
from venue import SandboxVenue, opened

from slt import hookimpl
from slt.testing import LiveBrokerConformance
from slt.types import BrokerLink, Fill, OrderRole, OrderStatus, OrderUpdate
from slt_binance.broker import BinanceBroker, BinanceBrokerConfig


class SaysNothingOfTheLink(BinanceBroker):
    @hookimpl
    async def slt_read_updates(self):
        async for update in super().slt_read_updates():
            if not isinstance(update, BrokerLink):
                yield update


class LosesFills(BinanceBroker):
    @hookimpl
    async def slt_read_updates(self):
        async for update in super().slt_read_updates():
            if not isinstance(update, Fill):
                yield update


class FeesAreLost(BinanceBroker):
    @hookimpl
    async def slt_read_updates(self):
        async for update in super().slt_read_updates():
            yield evolve(update, fee=0.0) if isinstance(update, Fill) else update


class HidesConditionalOrders(BinanceBroker):
    @hookimpl
    async def slt_read_account(self):
        state = await super().slt_read_account()
        return evolve(state, orders=tuple(o for o in state.orders if o.stop_price is None))


class SendsAgain(BinanceBroker):
    @hookimpl
    async def slt_submit_order(self, order):
        self._tracker._orders.clear()
        return await super().slt_submit_order(order)


class NeverCancels(BinanceBroker):
    @hookimpl
    async def slt_cancel_order(self, symbol, client_id):
        return [OrderUpdate(1, client_id, symbol, OrderStatus.CANCELLED)]


class RefusesWithoutAWord(BinanceBroker):
    @hookimpl
    async def slt_submit_order(self, order):
        told = await super().slt_submit_order(order)
        return [evolve(u, reason="") if isinstance(u, OrderUpdate) else u for u in told]


class MayGrowPositions(BinanceBroker):
    @hookimpl
    async def slt_submit_order(self, order):
        return await super().slt_submit_order(evolve(order, reduce_only=False, role=OrderRole.ENTRY))


@pytest.mark.parametrize(
    ("kind", "card", "arguments"),
    [
        (SaysNothingOfTheLink, "test_l01_first_update_is_the_link", ()),
        (LosesFills, "test_l02_entry_fills_once_everywhere", (1,)),
        (FeesAreLost, "test_l02_entry_fills_once_everywhere", (1,)),
        (HidesConditionalOrders, "test_l03_stop_and_target_rest_at_the_exchange", ()),
        (LosesFills, "test_l04_stop_and_target_fill_under_their_own_names", (0.98,)),
        (NeverCancels, "test_l05_cancelled_orders_are_gone", ()),
        (MayGrowPositions, "test_l06_reduce_only_without_a_position_is_refused", ()),
        (RefusesWithoutAWord, "test_l07_trigger_already_passed_is_refused", ()),
        (SendsAgain, "test_l08_same_client_id_is_filled_once", ()),
        (FeesAreLost, "test_l09_exit_closes_and_costs_show_in_the_wallet", ()),
        (NeverCancels, "test_l10_second_broker_knows_the_orders_of_the_first", ()),
    ],
)
def test_kit_finds_the_fault(kind, card, arguments):
    class Kit(LiveBrokerConformance):
        patience_seconds = 0.5

        def make_broker(self):
            return kind(BinanceBrokerConfig())

        def open_venue(self):
            venue = SandboxVenue(self.make_market().rules, self.symbol)
            venue.kind = kind
            return opened(venue)

    with pytest.raises(AssertionError):
        getattr(Kit(), card)(*arguments)


def test_kit_without_an_exchange_says_what_to_give():
    with pytest.raises(NotImplementedError, match="open_venue"):
        LiveBrokerConformance().test_l01_first_update_is_the_link()
    with pytest.raises(NotImplementedError, match="make_broker"):
        LiveBrokerConformance().test_b01_class_is_described()
