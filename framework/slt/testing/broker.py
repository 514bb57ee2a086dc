"""The conformance kit of brokers: subclass `BrokerConformance`, give it the broker in one method, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import asyncio
import inspect
import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pluggy
import pytest

from slt._markers import PROJECT_NAME
from slt.hookspecs import BrokerSpecs
from slt.testing.broker_desk import KIT_START, BrokerDesk
from slt.testing.laws import assert_described
from slt.types import (
    MINUTE_MS,
    Fill,
    FundingPayment,
    FundingRates,
    LeverageBracket,
    MarketInfo,
    OrderRole,
    OrderStatus,
    OrderType,
    OrderUpdate,
    SymbolRules,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = ["BrokerConformance", "make_hooks"]

_BRACKETS = (
    LeverageBracket(floor=0.0, cap=50_000.0, max_leverage=20, maintenance_rate=0.01, cum=0.0),
    LeverageBracket(floor=50_000.0, cap=500_000.0, max_leverage=10, maintenance_rate=0.025, cum=750.0),
)
_FUNDING_MS = KIT_START + 60 * MINUTE_MS
_WALLET = 10_000.0
_LIVE = ("slt_read_updates", "slt_read_account")
_OPTIONAL = frozenset({*_LIVE, "slt_diagnose_broker"})


class BrokerConformance:
    """What every broker must do, as numbered cards B01 to B20.

    Override `make_broker`. Cards that move prices are for simulated brokers; a broker with an exchange behind it sets
    ``is_simulated = False`` and they skip.

    Attributes:
        is_simulated: The broker fills orders in `slt_advance_price`.
        symbol: Symbol that the cards trade; `make_market` names it.
        price: A price of it that the cards start from, where the broker is simulated.
    """

    is_simulated = True
    symbol = "BTCUSDT"
    price = 100.0
    wallet: ClassVar[float] = _WALLET

    def make_broker(self) -> object:
        """A new broker, not open; each one with an account of its own."""
        raise NotImplementedError("give the broker: `def make_broker(self): return MyBroker(MyBrokerConfig())`")

    def make_market(self) -> MarketInfo:
        """The market the broker is opened with: rules for its two symbols, one funding settlement after an hour."""
        symbols = (self.symbol, "ETHUSDT")
        funding = FundingRates(np.array([_FUNDING_MS], dtype=np.int64), np.array([0.0001], dtype=np.float64))
        return MarketInfo(
            symbols=symbols,
            interval_ms=MINUTE_MS,
            start=KIT_START,
            end=None,
            description="the conformance kit's market",
            is_synthetic=True,
            rules={symbol: _rules(symbol) for symbol in symbols},
            funding={self.symbol: funding},
        )

    def test_b01_class_is_described(self) -> None:
        """Docstring, config class and every option are there for people to read."""
        assert_described(self.make_broker())

    def test_b02_hooks_are_complete_and_fit(self) -> None:
        """Every hook of the contract is implemented with arguments that exist, and async where the contract is."""
        broker = self.make_broker()
        if not self.is_simulated:
            assert all(hasattr(broker, name) for name in _LIVE), f"a live broker has the hooks {', '.join(_LIVE)}"
        manager = _manager(broker)
        manager.check_pending()
        for name, spec in inspect.getmembers(BrokerSpecs, inspect.isfunction):
            if not name.startswith("slt_") or (name in _OPTIONAL and not hasattr(broker, name)):
                continue
            assert hasattr(broker, name), f"hook {name} is missing"
            is_async = inspect.iscoroutinefunction(getattr(broker, name))
            assert is_async == inspect.iscoroutinefunction(spec), f"{name} must be as async as its specification"

    def test_b03_open_tells_the_rules_of_every_symbol(self) -> None:
        """Rules under the right name, with brackets, and fees that a cost estimate can use."""

        async def scenario(desk: BrokerDesk) -> None:
            for symbol in self.make_market().symbols:
                rules = desk.rules.get(symbol)
                assert isinstance(rules, SymbolRules), f"no rules for {symbol}"
                assert rules.symbol == symbol, f"rules under a wrong name: {rules.symbol}"
                assert rules.brackets, f"{symbol} has no leverage brackets"
                assert rules.brackets[0].max_leverage >= 1
                assert -0.01 < rules.maker_fee < 0.01, f"the fee is a fraction of the notional, found {rules.maker_fee}"
                assert 0 <= rules.taker_fee < 0.01, f"the fee is a fraction of the notional, found {rules.taker_fee}"
                assert 0 <= rules.slippage < 0.1, f"slippage is a fraction of the price, found {rules.slippage}"

        self._play(scenario)

    def test_b04_submit_answers_for_the_order_sent(self) -> None:
        """What is known at once names the order and its symbol, acceptance or rejection first."""

        async def scenario(desk: BrokerDesk) -> None:
            order = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
            events = await desk.submit(order)
            assert all((e.client_id, e.symbol) == (order.client_id, order.symbol) for e in events)
            if events:
                assert isinstance(events[0], OrderUpdate)
                assert events[0].status in {OrderStatus.ACCEPTED, OrderStatus.REJECTED}

        self._play(scenario)

    def test_b05_same_client_id_is_not_sent_twice(self) -> None:
        """A second submit of one order fills nothing more."""

        async def scenario(desk: BrokerDesk) -> None:
            order = await desk.enter()
            await desk.submit(order)
            if self.is_simulated:
                fills = [e for e in desk.to(self.price) if isinstance(e, Fill)]
                assert [f.client_id for f in fills] == [order.client_id], "one order filled more than once"
                await desk.submit(order)
                assert desk.to(self.price) == []

        self._play(scenario)

    def test_b06_query_tells_the_order_so_far(self) -> None:
        """Nothing of an order never sent; of a sent one, what was told before, oldest first."""

        async def scenario(desk: BrokerDesk) -> None:
            assert await desk.hooks.slt_query_order(symbol=self.symbol, client_id="kit-never") == []
            order = await desk.enter()
            if self.is_simulated:
                desk.to(self.price)
                assert await desk.hooks.slt_query_order(symbol=self.symbol, client_id=order.client_id) == desk.told

        self._play(scenario)

    def test_b07_cancelling_what_is_gone_is_no_error(self) -> None:
        """An order never seen, one cancelled before, one filled."""

        async def scenario(desk: BrokerDesk) -> None:
            cancel = desk.hooks.slt_cancel_order
            await cancel(symbol=self.symbol, client_id="kit-never", time=desk.time)
            order = await desk.enter()
            desk.to(self.price)
            await cancel(symbol=self.symbol, client_id=order.client_id, time=desk.time)
            await cancel(symbol=self.symbol, client_id=order.client_id, time=desk.time)

        self._play(scenario)

    def test_b08_prices_are_nothing_to_a_real_broker(self) -> None:
        """A broker with an exchange behind it answers an empty list to every price."""
        if self.is_simulated:
            pytest.skip("a simulated broker")

        async def scenario(desk: BrokerDesk) -> None:
            assert desk.hooks.slt_advance_price(point=desk.point(self.price)) == []

        self._play(scenario)

    def test_b09_market_entry_fills_at_the_next_price_with_its_costs(self) -> None:
        """Not at the price of the decision; fee as a fraction of the notional; slippage against the taker."""

        async def scenario(desk: BrokerDesk) -> None:
            order = await desk.enter(1, 2.0)
            (fill,) = desk.to(self.price * 1.01, gap=True)
            rules = desk.rules[self.symbol]
            assert isinstance(fill, Fill)
            assert (fill.client_id, fill.side, fill.quantity, fill.time) == (order.client_id, 1, 2.0, desk.time)
            assert fill.price == pytest.approx(self.price * 1.01 * (1 + rules.slippage))
            assert fill.fee == pytest.approx(fill.price * 2.0 * rules.taker_fee)
            assert fill.slippage == pytest.approx(2.0 * self.price * 1.01 * rules.slippage)
            assert not fill.is_maker

        self._simulate(scenario)

    @pytest.mark.parametrize("side", [1, -1])
    def test_b10_stop_and_target_fill_at_their_levels(self, side: int) -> None:
        """Not before the price is there, then at the level, slippage apart; what was cancelled is gone."""

        async def scenario(desk: BrokerDesk) -> None:
            slippage = desk.rules[self.symbol].slippage
            for level in (self.price * (1 - 0.02 * side), self.price * (1 + 0.02 * side)):
                desk.to(self.price, gap=True)
                await desk.enter(side)
                desk.to(self.price)
                stop, target = await desk.protect(
                    self.price * (1 - 0.02 * side), self.price * (1 + 0.02 * side), side=-side
                )
                assert desk.to(self.price + (level - self.price) * 0.9) == []
                (fill,) = desk.to(self.price + (level - self.price) * 1.5)
                expected, other = (stop, target) if (level - self.price) * side < 0 else (target, stop)
                assert fill.client_id == expected.client_id
                assert fill.price == pytest.approx(level * (1 - side * slippage))
                await desk.hooks.slt_cancel_order(symbol=self.symbol, client_id=other.client_id, time=desk.time)
                assert desk.to(self.price * (1 + 0.05 * side)) == []
                assert desk.to(self.price * (1 - 0.05 * side)) == []

        self._simulate(scenario)

    def test_b11_level_passed_by_a_gap_fills_at_the_gap_price(self) -> None:
        """A stop does not fill at a price that never traded."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter()
            desk.to(self.price)
            await desk.protect(self.price * 0.98, self.price * 1.02)
            (fill,) = desk.to(self.price * 0.96, gap=True)
            assert fill.price == pytest.approx(self.price * 0.96 * (1 - desk.rules[self.symbol].slippage))

        self._simulate(scenario)

    def test_b12_exit_decided_at_a_level_fills_there(self) -> None:
        """A market order with a level fills where the price crosses it, and in the order of the way."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter(1, 2.0)
            desk.to(self.price)
            stop, _ = await desk.protect(self.price * 0.98, self.price * 1.02)
            leave = await desk.leave(level=self.price * 0.99)
            fills = desk.to(self.price * 0.97)
            keep = 1 - desk.rules[self.symbol].slippage
            assert [f.client_id for f in fills] == [leave.client_id, stop.client_id]
            assert [f.price for f in fills] == pytest.approx([self.price * 0.99 * keep, self.price * 0.98 * keep])

        self._simulate(scenario)

    def test_b13_each_fill_can_be_answered_before_the_price_goes_on(self) -> None:
        """One call ends at the first fill on the way; an order given then meets the rest of the same way."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter(1, 2.0)
            desk.to(self.price)
            first = desk.order(-1, OrderType.TAKE_PROFIT_MARKET, 1.0, OrderRole.TARGET, stop_price=self.price * 1.01)
            second = desk.order(-1, OrderType.TAKE_PROFIT_MARKET, 1.0, OrderRole.TARGET, stop_price=self.price * 1.02)
            await desk.submit(first)
            point = desk.point(self.price * 1.03)
            (fill,) = desk.hooks.slt_advance_price(point=point)
            assert fill.client_id == first.client_id
            await desk.submit(second)
            (fill,) = desk.hooks.slt_advance_price(point=point)
            assert fill.client_id == second.client_id
            assert desk.hooks.slt_advance_price(point=point) == []

        self._simulate(scenario)

    def test_b14_reduce_only_never_turns_a_position(self) -> None:
        """A closing order larger than the position closes it; what is left of it, and one without a position, ends."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter()
            desk.to(self.price)
            stop, target = await desk.protect(self.price * 0.98, self.price * 0.99, quantity=3.0)
            assert any(
                e.client_id == target.client_id and e.status is OrderStatus.REJECTED for e in _updates(desk.told)
            )
            late = desk.order(-1, OrderType.STOP_MARKET, 1.0, OrderRole.STOP, stop_price=self.price * 0.97)
            await desk.submit(late)
            events = desk.to(self.price * 0.96)
            assert [(f.client_id, f.quantity) for f in events if isinstance(f, Fill)] == [(stop.client_id, 1.0)]
            ended = {u.client_id for u in _updates(events) if u.status is OrderStatus.EXPIRED}
            assert ended == {stop.client_id, late.client_id}
            assert desk.to(self.price * 0.9) == []

        self._simulate(scenario)

    def test_b15_bad_orders_are_rejected_with_a_reason(self) -> None:
        """Off the step, far too large, or a trigger already passed: REJECTED, saying why, and nothing fills."""

        async def scenario(desk: BrokerDesk) -> None:
            bad = [
                desk.order(1, OrderType.MARKET, 1.00005, OrderRole.ENTRY),
                desk.order(1, OrderType.MARKET, 1e6, OrderRole.ENTRY),
                desk.order(-1, OrderType.STOP_MARKET, 1.0, OrderRole.STOP, stop_price=self.price * 1.01),
            ]
            for order in bad:
                (update,) = await desk.submit(order)
                assert isinstance(update, OrderUpdate)
                assert update.status is OrderStatus.REJECTED
                assert update.reason.strip(), "a rejection says why"
            assert desk.to(self.price * 0.98) == []

        self._simulate(scenario)

    def test_b16_cancelled_orders_never_fill(self) -> None:
        """A cancel is confirmed, and the price may then pass the level."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter()
            desk.to(self.price)
            stop, _ = await desk.protect(self.price * 0.98, self.price * 1.02)
            (update,) = await desk.hooks.slt_cancel_order(symbol=self.symbol, client_id=stop.client_id, time=desk.time)
            assert (update.status, update.client_id) == (OrderStatus.CANCELLED, stop.client_id)
            assert desk.to(self.price * 0.97) == []

        self._simulate(scenario)

    def test_b17_trade_ids_are_unique_and_rise(self) -> None:
        """A driver drops a fill whose id it has seen, so every fill needs a new, higher one."""

        async def scenario(desk: BrokerDesk) -> None:
            await self._trade(desk, 20)
            ids = [e.trade_id for e in desk.told if isinstance(e, Fill)]
            assert len(ids) > 10
            assert ids == sorted(set(ids))

        self._simulate(scenario)

    def test_b18_funding_is_settled_once_on_what_was_held(self) -> None:
        """Longs pay a positive rate on their notional; a flat account pays nothing. Skipped where funding is off."""

        async def scenario(desk: BrokerDesk) -> None:
            await desk.enter()
            desk.to(self.price)
            desk.time = _FUNDING_MS - MINUTE_MS
            events = desk.to(self.price)
            if not events:
                pytest.skip("the broker settles no funding")
            (payment,) = events
            assert isinstance(payment, FundingPayment)
            assert (payment.time, payment.symbol, payment.rate) == (_FUNDING_MS, self.symbol, 0.0001)
            assert payment.amount == pytest.approx(self.price * 0.0001)
            assert desk.to(self.price) == []

        self._simulate(scenario)

    def test_b19_same_orders_and_prices_give_the_same_events(self) -> None:
        """Two brokers of one kind tell the same story, byte for byte."""

        async def scenario(desk: BrokerDesk) -> None:
            await self._trade(desk, 30)
            stories.append(pickle.dumps(desk.told))

        stories: list[bytes] = []
        self._simulate(scenario)
        self._simulate(scenario)
        assert stories[0] == stories[1]

    def test_b20_restored_broker_goes_on_as_if_nothing_had_happened(self) -> None:
        """A snapshot, through pickle, into a new broker: the same events follow, and the state given is not kept."""

        async def whole(desk: BrokerDesk) -> None:
            await self._trade(desk, 30)
            stories.append(desk.told)

        async def split(desk: BrokerDesk) -> None:
            await self._trade(desk, 13)
            state = desk.hooks.slt_snapshot_broker()
            assert isinstance(state, dict)
            packed = pickle.dumps(state)
            await desk.hooks.slt_close_broker()
            desk.hooks, _ = await self._open()
            restored = pickle.loads(packed)  # noqa: S301 - made two lines above
            desk.hooks.slt_restore_broker(state=restored)
            await self._trade(desk, 30, first=13)
            assert pickle.dumps(restored) == packed, "the broker went on working in the state it was given"
            stories.append(desk.told)

        stories: list[list[Any]] = []
        self._simulate(whole)
        self._simulate(split)
        assert stories[0] == stories[1]

    async def _trade(self, desk: BrokerDesk, rounds: int, first: int = 0) -> None:
        """A fixed round of entries, protection, exits and prices; the same for the same numbers."""
        for number in range(first, rounds):
            side = 1 if number % 3 else -1
            await desk.enter(side, 1.0 + number % 4)
            desk.to(self.price * (1 + 0.001 * (number % 5)), gap=number % 2 == 0)
            orders = await desk.protect(
                self.price * (1 - side * 0.02), self.price * (1 + side * 0.03), -side, 1.0 + number % 4
            )
            desk.to(self.price * (1 - 0.03 * ((number % 4) - 1)))
            await desk.leave(-side, 1.0 + number % 4)
            desk.to(self.price)
            for order in orders:
                desk.told += await desk.hooks.slt_cancel_order(
                    symbol=self.symbol, client_id=order.client_id, time=desk.time
                )

    def _simulate(self, scenario: Callable[[BrokerDesk], Coroutine[Any, Any, None]]) -> None:
        if not self.is_simulated:
            pytest.skip("a broker with an exchange behind it")
        self._play(scenario)

    def _play(self, scenario: Callable[[BrokerDesk], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            hooks, rules = await self._open()
            desk = BrokerDesk(hooks, self.symbol, rules)
            try:
                if self.is_simulated:
                    assert desk.to(self.price, gap=True) == [], "something happened before the first order"
                await scenario(desk)
            finally:
                await desk.hooks.slt_close_broker()

        asyncio.run(run())

    async def _open(self) -> tuple[Any, dict[str, SymbolRules]]:
        hooks = make_hooks(self.make_broker())
        rules = await hooks.slt_open_broker(market=self.make_market(), wallet=self.wallet)
        return hooks, dict(rules)


def make_hooks(broker: object) -> Any:
    """A broker's hooks, each taking any arguments of the specification, as the kernel calls them."""
    return _Hooks(broker)


class _Hooks:
    """A broker's hooks, each called with the arguments of the specification that it takes."""

    def __init__(self, broker: object) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._broker, name)
        taken = inspect.signature(function).parameters
        return lambda **given: function(**{key: value for key, value in given.items() if key in taken})


def _manager(broker: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(BrokerSpecs)
    manager.register(broker, "brokers:kit")
    return manager


def _updates(events: Sequence[object]) -> list[OrderUpdate]:
    return [event for event in events if isinstance(event, OrderUpdate)]


def _rules(symbol: str) -> SymbolRules:
    return SymbolRules(
        symbol=symbol,
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.001"),
        min_notional=Decimal(5),
        brackets=_BRACKETS,
        min_price=Decimal("0.01"),
        min_quantity=Decimal("0.001"),
        market_step_size=Decimal("0.001"),
        market_min_quantity=Decimal("0.001"),
    )
