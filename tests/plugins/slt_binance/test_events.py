"""The user stream's words in slt's: whatever the order of events, each fill once and under its intent's name."""

from __future__ import annotations

import itertools
import json
import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_events import T0, account_event, algo_event, order_event, trade_event, trade_lite

from slt.rules import GENERIC_BRACKETS
from slt.types import (
    BrokerAlert,
    Fill,
    FillCause,
    FundingPayment,
    Order,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    SymbolRules,
)
from slt_binance.events import Events
from slt_binance.symbol_settings import SymbolSettings
from slt_binance.tracking import Tracker
from slt_binance.words import FeeTable

VECTORS = Path(__file__).parents[4] / "shared/vectors/JKorf+Binance.Net/Binance.Net.UnitTests/Subscriptions/UsdFutures"
RULES = SymbolRules(
    "BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal(5), GENERIC_BRACKETS, taker_fee=0.0004, maker_fee=0.0002
)


class Desk:
    def __init__(self):
        self.tracker = Tracker()
        self.settings = SymbolSettings("isolated")
        self.events = Events(self.tracker, FeeTable("USDT", {"BTCUSDT": RULES}), self.settings)
        self.now = 0.0

    def send(self, name, kind=OrderType.MARKET, side=1, stop_price=None):
        role = OrderRole.STOP if stop_price else OrderRole.ENTRY
        order = Order(
            name,
            "pos",
            "BTCUSDT",
            OrderSide(side),
            kind,
            role,
            0.002,
            T0,
            stop_price=stop_price,
            reduce_only=bool(stop_price),
        )
        return self.tracker.add(order)

    def stop(self, name="stop-1", price=49_000.0):
        return self.send(name, OrderType.STOP_MARKET, -1, price)

    def hear(self, *events):
        return [update for event in events for update in self.events.translate(event, self.now)]


@pytest.fixture
def desk():
    return Desk()


def short(updates):
    return [(u.client_id, u.trade_id if isinstance(u, Fill) else str(u.status)) for u in updates]


def test_order_life_is_accepted_filled_in_parts_each_once(desk):
    desk.send("e-1")
    updates = desk.hear(
        order_event("e-1", 5, "NEW", "NEW"),
        trade_event("e-1", 5, 100, "50000.0", "0.001", status="PARTIALLY_FILLED"),
        trade_event("e-1", 5, 101, "50000.5", "0.001"),
        trade_event("e-1", 5, 101, "50000.5", "0.001"),
    )
    assert short(updates) == [("e-1", "accepted"), ("e-1", 100), ("e-1", 101)]
    fill = updates[1]
    assert (fill.time, fill.symbol, fill.side, fill.quantity, fill.price, fill.fee) == (
        T0,
        "BTCUSDT",
        1,
        0.001,
        5e4,
        0.05,
    )
    assert fill.cause is FillCause.ORDER
    assert not fill.is_maker
    assert desk.tracker.get("e-1").is_finished


def test_fill_before_its_acceptance_is_told_after_it(desk):
    desk.send("e-1")
    updates = desk.hear(trade_event("e-1", 5, 100, "50000.0", "0.002"), order_event("e-1", 5, "NEW", "NEW"))
    assert short(updates) == [("e-1", "accepted"), ("e-1", 100)]


@pytest.mark.parametrize(
    ("execution", "status", "er", "expected", "words"),
    [
        ("CANCELED", "CANCELED", "0", OrderStatus.CANCELLED, ""),
        ("EXPIRED", "EXPIRED", "4", OrderStatus.EXPIRED, "the position is gone"),
        ("EXPIRED", "EXPIRED", "9", OrderStatus.EXPIRED, "too little to trade against"),
        ("EXPIRED", "EXPIRED_IN_MATCH", "1", OrderStatus.EXPIRED, "self-trade"),
        ("REJECTED", "REJECTED", "0", OrderStatus.REJECTED, ""),
    ],
)
def test_end_of_an_order_is_told_once_with_its_reason(desk, execution, status, er, expected, words):
    desk.send("e-1")
    event = order_event("e-1", 5, execution, status, er=er)
    (update,) = desk.hear(event, event)
    assert update.status is expected
    assert words in update.reason


def test_orders_of_strangers_keep_their_own_name(desk):
    desk.send("mine")
    updates = desk.hear(trade_event("web_abc", 9, 200, "1.0", "0.5", s="ETHUSDT"))
    assert short(updates) == [("web_abc", "accepted"), ("web_abc", 200)]


CHILD = [
    algo_event("stop-1", "NEW"),
    algo_event("stop-1", "TRIGGERING"),
    algo_event("stop-1", "TRIGGERED", ai="900", act="MARKET"),
    order_event("stop-1", 900, "NEW", "NEW", S="SELL", ot="STOP_MARKET"),
    trade_event("stop-1", 900, 300, "48990.0", "0.002", S="SELL", ot="STOP_MARKET"),
    algo_event("stop-1", "FINISHED", ai="900", ap="48990.0", aq="0.002", act="MARKET"),
]


@pytest.mark.parametrize("child_name", ["stop-1", "adm_xyz"])
def test_triggered_stop_gives_one_fill_under_its_intent_in_any_order(child_name):
    """All 720 orders of events, whether the triggered order carries our name or one of the exchange's own."""
    for order in itertools.permutations(range(len(CHILD))):
        desk = Desk()
        desk.stop()
        updates = []
        for index in order:
            event = json.loads(json.dumps(CHILD[index]))
            if event["e"] == "ORDER_TRADE_UPDATE":
                event["o"]["c"] = child_name
            updates += desk.hear(event)
        assert sorted(short(updates), key=str) == sorted([("stop-1", "accepted"), ("stop-1", 300)], key=str), order
        assert desk.events.overdue_orders(math.inf) == []


def test_triggered_order_under_another_name_waits_then_is_asked_for(desk):
    desk.stop()
    assert desk.hear(trade_event("adm_xyz", 900, 300, "48990.0", "0.002", S="SELL")) == []
    assert desk.events.is_waiting
    assert desk.events.overdue_orders(0.5) == []
    assert desk.events.overdue_orders(1.5) == [("BTCUSDT", 900, -1)]
    desk.tracker.link("BTCUSDT", 900, "stop-1")
    (accepted, fill) = desk.events.release("BTCUSDT", 900, 1.5)
    assert (accepted.client_id, fill.client_id) == ("stop-1", "stop-1")
    assert fill.slippage == pytest.approx(10.0 * 0.002)


def test_order_of_nobody_is_told_under_its_own_name_after_the_wait(desk):
    desk.stop()
    assert desk.hear(trade_event("web_1", 901, 300, "48990.0", "0.002", S="SELL")) == []
    assert short(desk.events.release("BTCUSDT", 901, 2.0)) == [("web_1", "accepted"), ("web_1", 300)]


def test_stop_whose_order_came_to_nothing_is_told_as_ended(desk):
    desk.stop()
    updates = desk.hear(algo_event("stop-1", "NEW"), algo_event("stop-1", "FINISHED", ai="900", aq="0.000"))
    assert short(updates) == [("stop-1", "accepted"), ("stop-1", "expired")]


def test_stop_refused_at_its_trigger_tells_why(desk):
    desk.stop()
    (update,) = desk.hear(algo_event("stop-1", "REJECTED", rm="ReduceOnly Order is rejected."))
    assert (update.status, update.reason) == (OrderStatus.REJECTED, "ReduceOnly Order is rejected.")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("autoclose-1234567890", FillCause.LIQUIDATION),
        ("adl_autoclose", FillCause.AUTO_DELEVERAGING),
        ("settlement_autoclose-1", FillCause.SETTLEMENT),
    ],
)
def test_forced_close_is_a_fill_with_its_cause_and_never_waits(desk, name, cause):
    desk.stop()
    event = trade_event(name, 950, 400, "45000", "0.002", S="SELL", x="CALCULATED", X="FILLED")
    for part in ("n", "N"):
        del event["o"][part]
    (fill,) = [u for u in desk.hear(event) if isinstance(u, Fill)]
    assert (fill.client_id, fill.cause, fill.side, fill.fee) == (name, cause, -1, 0.0)


def test_forced_close_without_a_trade_id_is_asked_for(desk):
    event = trade_event("autoclose-1", 950, 0, "45000", "0.002", S="SELL", x="CALCULATED", X="FILLED")
    assert [u for u in desk.hear(event) if isinstance(u, Fill)] == []
    assert desk.events.overdue_trades(0.0) == [("BTCUSDT", -950)]


def test_trade_lite_is_the_same_fill_before_and_after(desk):
    desk.send("e-1")
    full, lite = trade_event("e-1", 5, 100, "50000.0", "0.002"), trade_lite("e-1", 5, 100, "50000.0", "0.002")
    fills = [u for u in desk.hear(lite, full, lite) if isinstance(u, Fill)]
    assert [f.trade_id for f in fills] == [100]
    assert not desk.events.is_waiting
    assert desk.events.overdue_trades(math.inf) == []


def test_trade_lite_alone_is_asked_for_after_a_second(desk):
    desk.send("e-1")
    desk.hear(trade_lite("e-1", 5, 100, "50000.0", "0.002"))
    assert desk.events.overdue_trades(0.5) == []
    assert desk.events.overdue_trades(1.0) == [("BTCUSDT", 100)]
    assert desk.events.overdue_trades(9.0) == []


@pytest.mark.parametrize(
    ("asset", "is_maker", "fee"), [("BNB", False, 0.04), ("BNB", True, 0.02), ("USDT", True, 0.05)]
)
def test_fee_in_another_currency_is_estimated(desk, asset, is_maker, fee):
    desk.send("e-1")
    updates = desk.hear(trade_event("e-1", 5, 100, "50000.0", "0.002", N=asset, m=is_maker))
    assert updates[-1].fee == pytest.approx(fee)


def test_funding_of_an_isolated_position_names_it(desk):
    position = {"s": "BTCUSDT", "pa": "0.002", "ep": "50000", "mt": "isolated", "iw": "10"}
    event = account_event("FUNDING_FEE", [{"a": "USDT", "wb": "99", "cw": "99", "bc": "-0.01"}], [position])
    (payment,) = desk.hear(event, event)
    assert isinstance(payment, FundingPayment)
    assert (payment.time, payment.symbol, payment.amount) == (T0, "BTCUSDT", 0.01)


def test_funding_of_a_cross_position_takes_the_symbol_told_or_the_only_one_or_asks(desk):
    balance = [{"a": "USDT", "wb": "99", "cw": "99", "bc": "0.02"}]
    (payment,) = desk.hear(account_event("FUNDING_FEE", balance, [], S="ETHUSDT"))
    assert (payment.symbol, payment.amount) == ("ETHUSDT", -0.02)
    desk.tracker.positions.add("SOLUSDT")
    assert desk.hear(account_event("FUNDING_FEE", balance, []))[0].symbol == "SOLUSDT"
    desk.tracker.positions.add("XRPUSDT")
    assert desk.hear(account_event("FUNDING_FEE", balance, [])) == []
    assert desk.events.take_unnamed_funding() == T0
    assert desk.events.take_unnamed_funding() is None


def test_account_update_keeps_the_symbols_held(desk):
    def held(amount):
        return account_event("ORDER", [], [{"s": "BTCUSDT", "pa": amount, "ep": "1"}])

    assert desk.hear(held("-0.5")) == []
    assert desk.tracker.symbols() == {"BTCUSDT"}
    assert desk.hear(held("0")) == []
    assert desk.tracker.symbols() == set()


def test_margin_call_and_modes_are_told_leverage_is_kept(desk):
    call = {"e": "MARGIN_CALL", "E": 5, "cw": "3", "p": [{"s": "ETHUSDT", "pa": "1.3", "mp": "187", "mm": "1.6"}]}
    (alert,) = desk.hear(call)
    assert isinstance(alert, BrokerAlert)
    assert "ETHUSDT" in alert.text
    assert desk.hear({"e": "ACCOUNT_CONFIG_UPDATE", "E": 5, "T": 5, "ac": {"s": "BTCUSDT", "l": 25}}) == []
    assert desk.settings.leverages == {"BTCUSDT": 25}
    (alert,) = desk.hear({"e": "ACCOUNT_CONFIG_UPDATE", "E": 5, "T": 5, "ai": {"j": True}})
    assert "multi-assets mode was switched on" in alert.text


@pytest.mark.parametrize(("word", "kept"), [("isolated", "ISOLATED"), ("cross", "CROSSED")])
def test_margin_type_switched_by_hand_is_kept(desk, word, kept):
    event = account_event("MARGIN_TYPE_CHANGE", [], [{"s": "BTCUSDT", "pa": "0", "ep": "0", "mt": word}])
    assert desk.hear(event) == []
    assert desk.settings.margin_types == {"BTCUSDT": kept}


@pytest.mark.parametrize(
    "kind", ["GRID_UPDATE", "STRATEGY_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT", "NEW_THING", None]
)
def test_other_events_say_nothing(desk, kind):
    assert desk.hear({"e": kind, "E": 1}) == []


@pytest.mark.skipif(not VECTORS.is_dir(), reason="other people's recorded frames are not beside the repository")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OrderUpdate", 1),
        ("AlgoOrderUpdate", 1),
        ("AccountUpdate", 0),
        ("TradeUpdate", 0),
        ("MarginUpdate", 1),
        ("Leverage", 0),
        ("ConditionalTrigger", 0),
        ("GridUpdate", 0),
        ("StrategyUpdate", 0),
    ],
)
def test_frames_of_other_people_are_read(desk, name, expected):
    text = (VECTORS / f"{name}.txt").read_text()
    frame = json.loads(text[text.index("= ") + 1 :].strip().lstrip("="))
    assert len(desk.hear(frame["data"])) == expected


@given(st.permutations(list(range(12))), st.sets(st.integers(0, 11)))
def test_law_no_fill_is_lost_or_told_twice(order, repeated):
    """Twelve partial fills of three orders, in any order, some of them repeated."""
    desk = Desk()
    for number in range(3):
        desk.send(f"e-{number}")
    events = [
        trade_event(f"e-{i % 3}", 10 + i % 3, 100 + i, "5.0", "0.001", status="PARTIALLY_FILLED") for i in range(12)
    ]
    heard = [events[i] for i in order for _ in range(2 if i in repeated else 1)]
    fills = [u for u in desk.hear(*heard) if isinstance(u, Fill)]
    assert sorted(f.trade_id for f in fills) == list(range(100, 112))
    assert all(f.client_id == f"e-{(f.trade_id - 100) % 3}" for f in fills)
