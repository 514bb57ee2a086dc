"""The conformance kit of brokers with an exchange behind them, run against a venue that the test gives."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from slt.testing.broker import BrokerConformance, make_hooks
from slt.testing.broker_desk import BrokerDesk
from slt.types import (
    AccountState,
    BrokerLink,
    ExchangePosition,
    Fill,
    FillCause,
    OrderRole,
    OrderStatus,
    OrderType,
    OrderUpdate,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from slt.types import Order

__all__ = ["LiveBrokerConformance", "LiveDesk", "Venue"]


class Venue(Protocol):
    """An exchange for one test, with an account of its own in one-way mode and nothing on it."""

    @property
    def broker(self) -> object:
        """A new broker with the account, not open."""
        ...

    async def move(self, price: float) -> None:
        """Let the kit's symbol trade at a price."""
        ...


class LiveDesk(BrokerDesk):
    """A live broker at work: what it pushes is collected while a card goes on.

    Attributes:
        pushed: Everything that `slt_read_updates` gave, in order.
    """

    def __init__(self, hooks: Any, symbol: str, rules: dict[str, Any], patience_seconds: float) -> None:
        super().__init__(hooks, symbol, rules)
        self.pushed: list[Any] = []
        self._patience = patience_seconds
        self._changed = asyncio.Condition()

    async def collect(self) -> None:
        """Read what the broker pushes, until cancelled."""
        async with contextlib.aclosing(self.hooks.slt_read_updates()) as updates:
            async for update in updates:
                async with self._changed:
                    self.pushed.append(update)
                    self._changed.notify_all()

    async def until(self, is_done: Callable[[], bool], what: str) -> None:
        """Wait for something that pushed updates bring about.

        Raises:
            AssertionError: It did not come within the kit's patience.
        """
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(is_done)
        except TimeoutError:
            raise AssertionError(f"{what} was not pushed within {self._patience:g} s; pushed: {self.pushed}") from None

    async def filled(self, order: Order) -> list[Fill]:
        """Wait until an order is filled; gives its fills as pushed."""
        await self.until(lambda: sum(f.quantity for f in self.fills(order)) >= order.quantity - 1e-9, "the fill")
        return self.fills(order)

    async def ended(self, order: Order) -> OrderUpdate:
        """Wait until an order has ended without being filled; gives the update that says so."""
        await self.until(lambda: bool(self.endings(order)), "the order's end")
        return self.endings(order)[0]

    def fills(self, order: Order) -> list[Fill]:
        """Fills of an order as pushed."""
        return [u for u in self.pushed if isinstance(u, Fill) and u.client_id == order.client_id]

    def endings(self, order: Order) -> list[OrderUpdate]:
        """Updates that ended an order, as pushed."""
        updates = [u for u in self.pushed if isinstance(u, OrderUpdate) and u.client_id == order.client_id]
        return [u for u in updates if u.status is not OrderStatus.ACCEPTED]

    async def account(self) -> AccountState:
        """Read the account."""
        state = await self.hooks.slt_read_account()
        assert isinstance(state, AccountState)
        return state


class LiveBrokerConformance(BrokerConformance):
    """What every broker with an exchange behind it must do, as cards L01 to L10; B01 to B08 of `BrokerConformance` too.

    Override `open_venue`: an exchange that the test can move, with the symbols and rules of `make_market`, trading at
    `price`. The kit's entries are of 1 or 2 base units with a leverage of 5.

    Attributes:
        patience_seconds: Longest wait for something that must be pushed.
    """

    is_simulated = False
    patience_seconds = 10.0

    def open_venue(self) -> AbstractAsyncContextManager[Venue]:
        """An exchange for one card."""
        raise NotImplementedError("give the exchange: `@asynccontextmanager async def open_venue(self): yield ...`")

    def make_broker(self) -> object:
        """A broker that is not opened, for the cards about the class itself."""
        raise NotImplementedError("give the broker: `def make_broker(self): return MyBroker(MyBrokerConfig())`")

    def test_l01_first_update_is_the_link(self) -> None:
        """Nothing is pushed before the broker says that events flow."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            del venue
            assert isinstance(desk.pushed[0], BrokerLink)
            assert desk.pushed[0].is_up

        self._trade_live(scenario)

    @pytest.mark.parametrize("side", [1, -1])
    def test_l02_entry_fills_once_everywhere(self, side: int) -> None:
        """Pushed once, the same when asked for, with a fee and an id; the account holds what was filled."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            order = await desk.enter(side, 2.0)
            await venue.move(self.price)
            fills = await desk.filled(order)
            assert sum(f.quantity for f in fills) == pytest.approx(2.0)
            assert all(f.side == side and f.symbol == self.symbol and f.fee > 0 for f in fills)
            assert all(f.cause is FillCause.ORDER for f in fills)
            known = await desk.hooks.slt_query_order(symbol=self.symbol, client_id=order.client_id)
            assert [u for u in known if isinstance(u, Fill)] == fills
            assert isinstance(known[0], OrderUpdate)
            assert known[0].status is OrderStatus.ACCEPTED
            (position,) = (await desk.account()).positions
            assert isinstance(position, ExchangePosition)
            assert (position.symbol, position.side) == (self.symbol, side)
            assert position.quantity == pytest.approx(2.0)

        self._trade_live(scenario)

    def test_l03_stop_and_target_rest_at_the_exchange(self) -> None:
        """Both are taken, and the account lists them: ours by name, reduce-only, with their levels."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            stop, target = await self._protected(desk, venue)
            found = {order.client_id: order for order in (await desk.account()).orders}
            for order in (stop, target):
                assert order.client_id in found, f"the account does not list the {order.role}"
                listed = found[order.client_id]
                assert listed.reduce_only
                assert (listed.side, listed.quantity, listed.stop_price) == (-1, 1.0, order.stop_price)

        self._trade_live(scenario)

    @pytest.mark.parametrize("level", [0.98, 1.02])
    def test_l04_stop_and_target_fill_under_their_own_names(self, level: float) -> None:
        """When the price gets there, the intent is filled, and the position is gone."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            orders = await self._protected(desk, venue)
            await venue.move(self.price * (0.97 if level < 1 else 1.03))
            expected = orders[0] if level < 1 else orders[1]
            fills = await desk.filled(expected)
            assert sum(f.quantity for f in fills) == pytest.approx(1.0)
            assert all(f.side == -1 for f in fills)
            assert (await desk.account()).positions == ()

        self._trade_live(scenario)

    def test_l05_cancelled_orders_are_gone(self) -> None:
        """A stop and a resting limit order, each confirmed; cancelling again is no error."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            stop, target = await self._protected(desk, venue)
            rest = desk.order(1, OrderType.LIMIT, 1.0, OrderRole.ENTRY, price=self.price * 0.9)
            await desk.submit(rest)
            assert rest.client_id in {o.client_id for o in (await desk.account()).orders}
            for order in (stop, rest):
                known = await desk.hooks.slt_cancel_order(symbol=self.symbol, client_id=order.client_id, time=desk.time)
                assert OrderStatus.CANCELLED in {u.status for u in known if isinstance(u, OrderUpdate)}
                await desk.hooks.slt_cancel_order(symbol=self.symbol, client_id=order.client_id, time=desk.time)
            assert [o.client_id for o in (await desk.account()).orders] == [target.client_id]

        self._trade_live(scenario)

    def test_l06_reduce_only_without_a_position_is_refused(self) -> None:
        """REJECTED or EXPIRED, saying why; nothing is opened."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            order = desk.order(-1, OrderType.MARKET, 1.0, OrderRole.EXIT)
            told = [u for u in await desk.submit(order) if isinstance(u, OrderUpdate)]
            await venue.move(self.price)
            ended = next((u for u in told if u.status is not OrderStatus.ACCEPTED), None) or await desk.ended(order)
            assert ended.status in {OrderStatus.REJECTED, OrderStatus.EXPIRED}
            assert ended.reason.strip(), "a refusal says why"
            assert (await desk.account()).positions == ()

        self._trade_live(scenario)

    def test_l07_trigger_already_passed_is_refused(self) -> None:
        """A long's stop above the price would close at once: REJECTED, saying why."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            await desk.filled(await self._entered(desk, venue))
            late = desk.order(-1, OrderType.STOP_MARKET, 1.0, OrderRole.STOP, stop_price=self.price * 1.05)
            (update,) = await desk.submit(late)
            assert isinstance(update, OrderUpdate)
            assert update.status is OrderStatus.REJECTED
            assert update.reason.strip(), "a refusal says why"

        self._trade_live(scenario)

    def test_l08_same_client_id_is_filled_once(self) -> None:
        """However often it is submitted."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            order = await desk.enter()
            await venue.move(self.price)
            await desk.filled(order)
            for _ in range(3):
                await desk.submit(order)
                await venue.move(self.price)
            (position,) = (await desk.account()).positions
            assert position.quantity == pytest.approx(1.0)

        self._trade_live(scenario)

    def test_l09_exit_closes_and_costs_show_in_the_wallet(self) -> None:
        """Entry and exit at one price: the wallet has lost the fees, and the account is flat."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            before = (await desk.account()).wallet
            entry = await self._entered(desk, venue)
            paid = sum(f.fee for f in await desk.filled(entry))
            leave = await desk.leave()
            await venue.move(self.price)
            fills = await desk.filled(leave)
            gained = sum(f.price * f.quantity for f in fills) - sum(f.price * f.quantity for f in desk.fills(entry))
            state = await desk.account()
            assert state.positions == ()
            assert state.wallet == pytest.approx(before + gained - paid - sum(f.fee for f in fills), abs=1e-6)

        self._trade_live(scenario)

    def test_l10_second_broker_knows_the_orders_of_the_first(self) -> None:
        """A restart: a new broker with the same account is told of position, stop and target, and can cancel them."""

        async def scenario(desk: LiveDesk, venue: Venue) -> None:
            orders = await self._protected(desk, venue)
            await desk.hooks.slt_close_broker()
            again = make_hooks(venue.broker)
            await again.slt_open_broker(market=self.make_market(), wallet=self.wallet)
            try:
                state = await again.slt_read_account()
                assert {o.client_id for o in state.orders} == {o.client_id for o in orders}
                assert len(state.positions) == 1
                for order in orders:
                    known = await again.slt_query_order(symbol=self.symbol, client_id=order.client_id)
                    assert [u.status for u in known if isinstance(u, OrderUpdate)] == [OrderStatus.ACCEPTED]
                    await again.slt_cancel_order(symbol=self.symbol, client_id=order.client_id, time=desk.time)
                assert (await again.slt_read_account()).orders == ()
            finally:
                await again.slt_close_broker()

        self._trade_live(scenario)

    async def _entered(self, desk: LiveDesk, venue: Venue) -> Order:
        order = await desk.enter()
        await venue.move(self.price)
        return order

    async def _protected(self, desk: LiveDesk, venue: Venue) -> tuple[Order, Order]:
        await desk.filled(await self._entered(desk, venue))
        orders = await desk.protect(self.price * 0.98, self.price * 1.02)
        told = [u for u in desk.told if isinstance(u, OrderUpdate) and u.status is not OrderStatus.ACCEPTED]
        assert told == [], "stop and target must be taken"
        return orders

    def _trade_live(self, scenario: Callable[[LiveDesk, Venue], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            async with self._at_work() as (desk, venue):
                reading = asyncio.create_task(desk.collect())
                try:
                    await desk.until(lambda: bool(desk.pushed), "the link")
                    await scenario(desk, venue)
                finally:
                    reading.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await reading

        asyncio.run(run())

    def _play(self, scenario: Callable[[BrokerDesk], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            async with self._at_work() as (desk, _):
                await scenario(desk)

        asyncio.run(run())

    @contextlib.asynccontextmanager
    async def _at_work(self) -> AsyncIterator[tuple[LiveDesk, Venue]]:
        async with self.open_venue() as venue:
            await venue.move(self.price)
            hooks = make_hooks(venue.broker)
            rules = await hooks.slt_open_broker(market=self.make_market(), wallet=self.wallet)
            desk = LiveDesk(hooks, self.symbol, dict(rules), self.patience_seconds)
            try:
                yield desk, venue
            finally:
                await hooks.slt_close_broker()
