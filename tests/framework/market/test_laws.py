"""Laws of the simulated market under random orders and prices."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.errors import BrokerError
from slt.market import Book, MarketSettings
from slt.rules import generic_rules
from slt.types import (
    Fill,
    FillCause,
    FundingPayment,
    FundingRates,
    LeverageBracket,
    Order,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PricePoint,
)

SYMBOLS = ("AUSDT", "BUSDT")
START = 1_000.0
LADDER = (LeverageBracket(0, 5_000, 50, 0.01, 0), LeverageBracket(5_000, 1e7, 20, 0.025, 75))
RULES = {
    s: evolve(generic_rules(s, 50.0), brackets=LADDER, slippage=0.001, taker_fee=0.0005, maker_fee=-0.0001)
    for s in SYMBOLS
}
FUNDING = {
    s: FundingRates(np.arange(1, 60, dtype=np.int64) * 300_000, np.tile([0.001, -0.002, 0.01], 20)[:59])
    for s in SYMBOLS
}


@frozen
class Step:
    symbol: str
    action: str
    side: int
    move: float
    quantity: float
    level: float
    leverage: int
    reduce_only: bool


ACTIONS = {"move": 50, "gap": 6, "market": 12, "exit": 8, "limit": 8, "stop": 7, "target": 7, "cancel": 2}


def make_plan(seed: int, length: int) -> list[Step]:
    """A random walk with random orders; a seed reaches fills and liquidations far sooner than drawing every number."""
    draw = random.Random(seed)
    return [
        Step(
            symbol=draw.choice(SYMBOLS),
            action=action,
            side=draw.choice([1, -1]),
            move=draw.gauss(0.0, draw.choice([0.003, 0.02, 0.02, 0.2])),
            quantity=draw.choice([0.5, 1.0, 3.0, 10.0, 40.0, 200.0]),
            level=draw.gauss(0.0, 0.03),
            leverage=draw.choice([0, 1, 5, 20, 50]),
            reduce_only=draw.random() < 0.5,
        )
        for action in draw.choices(list(ACTIONS), list(ACTIONS.values()), k=length)
    ]


steps = st.builds(make_plan, st.integers(0, 2**32), st.integers(1, 200))


def new_book(margin_type: str) -> Book:
    return Book(RULES, START, MarketSettings(margin_type=margin_type), FUNDING)


class Player:
    """Plays steps on a book and keeps what it said."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.time = 0
        self.count = 0
        self.prices = dict.fromkeys(SYMBOLS, 50.0)
        self.events: list[object] = []
        self.orders: dict[str, Order] = {}

    def play(self, step: Step) -> None:
        if step.action in {"move", "gap"}:
            self.time += 60_000
            price = self.prices[step.symbol] = min(max(self.prices[step.symbol] * (1 + step.move), 0.5), 5_000.0)
            point = PricePoint(self.time, step.symbol, price, step.action == "gap")
            while found := self.book.advance(point):
                self.events += found
        elif step.action == "cancel":
            for client_id in list(self.orders)[-3:]:
                self.events += self.book.cancel(step.symbol, client_id, self.time)
        else:
            order = self.order(step)
            self.orders[order.client_id] = order
            self.events += self.book.submit(order)

    def order(self, step: Step) -> Order:
        self.count += 1
        kinds = {"limit": OrderType.LIMIT, "stop": OrderType.STOP_MARKET, "target": OrderType.TAKE_PROFIT_MARKET}
        kind = kinds.get(step.action, OrderType.MARKET)
        level = round(self.prices[step.symbol] * (1 + step.level), 3)
        reduce_only = step.reduce_only or step.action == "exit"
        return Order(
            client_id=f"c{self.count}",
            position_id="p",
            symbol=step.symbol,
            side=OrderSide(step.side),
            type=kind,
            role=OrderRole.EXIT if reduce_only else OrderRole.ENTRY,
            quantity=step.quantity,
            time=self.time,
            price=level if kind is OrderType.LIMIT else None,
            stop_price=level if kind in {OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET} else None,
            reduce_only=reduce_only,
            leverage=0 if reduce_only else step.leverage,
            level=level if step.action == "exit" else None,
        )


class Ledger:
    """Wallet and positions worked out again from the events alone."""

    def __init__(self) -> None:
        self.wallet = START
        self.quantity = dict.fromkeys(SYMBOLS, 0.0)
        self.entry = dict.fromkeys(SYMBOLS, 0.0)

    def note(self, event: object) -> None:
        if isinstance(event, FundingPayment):
            self.wallet -= event.amount
        elif isinstance(event, Fill):
            held, signed = self.quantity[event.symbol], event.side * event.quantity
            closing = min(abs(held), event.quantity) if held * signed < 0 else 0.0
            realised = (1 if held > 0 else -1) * closing * (event.price - self.entry[event.symbol])
            self.wallet += realised - event.fee
            kept, opening = abs(held) - closing, event.quantity - closing
            self.quantity[event.symbol] = round(held + signed, 9)
            if opening:
                value = kept * self.entry[event.symbol] + opening * event.price
                self.entry[event.symbol] = value / (kept + opening)


@pytest.mark.parametrize("margin_type", ["isolated", "cross"])
@settings(max_examples=150, deadline=None)
@given(plan=steps)
def test_wallet_is_start_plus_realised_less_fees_and_funding(margin_type, plan):
    player, ledger = Player(new_book(margin_type)), Ledger()
    for step in plan:
        before = len(player.events)
        player.play(step)
        for event in player.events[before:]:
            ledger.note(event)
        assert player.book.wallet == pytest.approx(ledger.wallet, abs=1e-6)
        held = {p.symbol: p.side * p.quantity for p in player.book.positions()}
        assert held == {s: q for s, q in ledger.quantity.items() if q}
        for position in player.book.positions():
            assert position.entry_price == pytest.approx(ledger.entry[position.symbol])


@settings(max_examples=200, deadline=None)
@given(plan=steps)
def test_isolated_account_never_owes_and_never_lends_margin(plan):
    player = Player(new_book("isolated"))
    for step in plan:
        player.play(step)
        margins = [p.margin for p in player.book.positions()]
        assert all(margin >= -1e-9 for margin in margins)
        assert player.book.wallet - sum(margins) >= -1e-6
        assert player.book.available >= 0.0
        assert player.book.margin_in_use >= -1e-9


@settings(max_examples=150, deadline=None)
@given(plan=steps)
def test_cross_account_never_owes_once_prices_have_arrived(plan):
    player = Player(new_book("cross"))
    for step in plan:
        player.play(step)
        # A position of another symbol is looked at when its own price comes next; until then it may be under water.
        if len(player.book.positions()) < 2:
            assert player.book.equity >= -1e-6


@settings(max_examples=150, deadline=None)
@given(plan=steps)
def test_isolated_liquidation_loses_the_margin_at_most(plan):
    player = Player(new_book("isolated"))
    for step in plan:
        positions = {p.symbol: p for p in player.book.positions()}
        before = len(player.events)
        player.play(step)
        funded = sum(e.amount for e in player.events[before:] if isinstance(e, FundingPayment))
        fills = [e for e in player.events[before:] if isinstance(e, Fill)]
        if fills and fills[0].cause is FillCause.LIQUIDATION and fills[0].symbol in positions:
            fill, position = fills[0], positions[fills[0].symbol]
            loss = position.side * position.quantity * (position.entry_price - fill.price) + fill.fee
            assert loss <= position.margin - funded + 1e-9
            assert fill.quantity == position.quantity


@pytest.mark.parametrize("margin_type", ["isolated", "cross"])
@settings(max_examples=100, deadline=None)
@given(plan=steps)
def test_reduce_only_never_grows_or_turns_a_position(margin_type, plan):
    player, held = Player(new_book(margin_type)), dict.fromkeys(SYMBOLS, 0.0)
    for step in plan:
        before = len(player.events)
        player.play(step)
        for event in player.events[before:]:
            if not isinstance(event, Fill):
                continue
            after = round(held[event.symbol] + event.side * event.quantity, 9)
            order = player.orders.get(event.client_id)
            if order is None or order.reduce_only:
                assert abs(after) < abs(held[event.symbol])
                assert after * held[event.symbol] >= 0
            held[event.symbol] = after


@settings(max_examples=100, deadline=None)
@given(plan=steps)
def test_every_order_ends_once_and_fills_no_more_than_it_asked(plan):
    player = Player(new_book("isolated"))
    for step in plan:
        player.play(step)
    working = {o.client_id for s in SYMBOLS for o in player.book.open_orders(s)}
    trade_ids = [e.trade_id for e in player.events if isinstance(e, Fill)]
    assert trade_ids == sorted(set(trade_ids))
    for client_id, order in player.orders.items():
        mine = [e for e in player.events if getattr(e, "client_id", None) == client_id]
        assert mine == player.book.query(client_id)
        filled = sum(e.quantity for e in mine if isinstance(e, Fill))
        ends = [e for e in mine if isinstance(e, OrderUpdate) and e.status is not OrderStatus.ACCEPTED]
        assert filled <= order.quantity
        assert isinstance(mine[0], OrderUpdate)
        is_over = filled == order.quantity or bool(ends)
        assert is_over != (client_id in working)
        assert len(ends) <= 1
        assert not (ends and filled == order.quantity)


@pytest.mark.parametrize("margin_type", ["isolated", "cross"])
@settings(max_examples=100, deadline=None)
@given(plan=steps, data=st.data())
def test_snapshot_anywhere_goes_on_with_the_same_events(margin_type, plan, data):
    whole = Player(new_book(margin_type))
    for step in plan:
        whole.play(step)
    split = Player(new_book(margin_type))
    cuts = data.draw(st.sets(st.integers(0, len(plan) - 1), max_size=4))
    for index, step in enumerate(plan):
        if index in cuts:
            state = pickle.loads(pickle.dumps(split.book.snapshot()))
            split.book = new_book(margin_type)
            split.book.restore(state)
            assert split.book.snapshot() == state or "nan" in repr(state)
        split.play(step)

    assert split.events == whole.events
    assert split.book.wallet == whole.book.wallet
    assert split.book.positions() == whole.book.positions()
    assert repr(split.book.snapshot()) == repr(whole.book.snapshot())


def test_snapshot_between_two_fills_of_one_point_goes_on_with_the_way():
    player = Player(new_book("isolated"))
    player.play(Step("AUSDT", "gap", 1, 0.0, 1.0, 0.0, 5, False))
    player.play(Step("AUSDT", "market", 1, 0.0, 1.0, 0.0, 5, False))
    player.play(Step("AUSDT", "move", 1, 0.0, 1.0, 0.0, 5, False))
    for level in (-0.02, -0.04):
        player.play(Step("AUSDT", "stop", -1, 0.0, 0.5, level, 0, True))
    point = PricePoint(player.time + 60_000, "AUSDT", 45.0)
    (first,) = player.book.advance(point)
    again = new_book("isolated")

    again.restore(player.book.snapshot())
    (second,) = again.advance(point)

    assert (first.price, second.price) == (pytest.approx(49 * 0.999), pytest.approx(48 * 0.999))
    assert again.advance(point) == []


def test_snapshot_in_the_middle_of_a_way_keeps_market_orders_waiting():
    player = Player(new_book("isolated"))
    for action in ("gap", "market", "move"):
        player.play(Step("AUSDT", action, 1, 0.0, 1.0, 0.0, 5, False))
    player.play(Step("AUSDT", "stop", -1, 0.0, 0.5, -0.02, 0, True))
    point = PricePoint(player.time + 60_000, "AUSDT", 45.0)
    player.book.advance(point)
    player.time = point.time
    player.play(Step("AUSDT", "market", -1, 0.0, 0.5, 0.0, 0, True))
    again = new_book("isolated")

    again.restore(player.book.snapshot())

    assert again.advance(point) == []
    assert [e.price for e in again.advance(evolve(point, time=point.time + 1, price=44.0))] == [44.0 * 0.999]


def test_restore_of_a_symbol_without_rules_says_so():
    state = new_book("isolated").snapshot()

    with pytest.raises(BrokerError, match=r"AUSDT: the book has no rules for this symbol; known are \['BUSDT'\]"):
        Book({"BUSDT": RULES["BUSDT"]}, START).restore(state)


def test_restore_keeps_nothing_of_the_state_given():
    player = Player(new_book("isolated"))
    player.play(Step("AUSDT", "gap", 1, 0.0, 1.0, 0.0, 5, False))
    player.play(Step("AUSDT", "limit", 1, 0.0, 1.0, -0.05, 5, False))
    state = player.book.snapshot()
    before = repr(state)
    other = new_book("isolated")
    other.restore(state)

    other.cancel("AUSDT", "c1", 5)
    other.advance(PricePoint(600_000, "AUSDT", 40.0))

    assert repr(state) == before
