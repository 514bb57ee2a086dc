"""The exchange itself, without a socket."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slt.errors import BrokerError
from slt.types import FundingRates
from slt_sandbox.errors import ApiError
from slt_sandbox.orders import Amendment, parse_amendment, parse_order
from slt_sandbox.params import Params


def refused(call, *args, **kwargs):
    with pytest.raises(ApiError) as caught:
        call(*args, **kwargs)
    return caught.value.code


# -- orders ------------------------------------------------------------------------------------------------------------


def test_market_order_fills_at_once_at_the_last_price(floor):
    order = floor.order("BUY", "1", newClientOrderId="e")

    assert (order.status, order.average, order.executed) == ("FILLED", 100.0, 1.0)
    assert floor.words() == [
        ("order", "e", "NEW", "NEW"),
        ("lite", "e", "1"),
        ("account", "ORDER"),
        ("order", "e", "TRADE", "FILLED"),
    ]
    assert floor.account.book.wallet == pytest.approx(10_000 - 0.05)


def test_market_order_of_next_point_waits_for_the_next_price(new_floor):
    floor = new_floor(market_fill="next_point").to(100.0, gap=True)
    order = floor.order("BUY", "1")
    status = order.status
    floor.to(101.0, gap=True)

    assert (status, order.status, order.average) == ("NEW", "FILLED", 101.0)


def test_events_of_one_moment_come_as_one_batch(floor):
    floor.order("BUY", "1")

    assert len(floor.batches) == 1
    json.dumps(floor.batches[0])


def test_limit_order_rests_and_fills_as_maker_when_the_price_touches_it(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95")
    floor.to(96.0).to(94.0)

    assert (order.status, order.average) == ("FILLED", 95.0)
    (trade,) = floor.account.trades
    assert (trade.is_maker, trade.fee) == (True, pytest.approx(95 * 0.0002))


def test_limit_order_past_the_market_fills_at_once_as_taker(floor):
    order = floor.order("BUY", "1", "LIMIT", price="101")

    assert (order.status, order.average, floor.account.trades[0].is_maker) == ("FILLED", 100.0, False)


def test_immediate_or_cancel_order_that_cannot_fill_expires(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95", timeInForce="IOC")

    assert order.status == "EXPIRED"
    assert floor.events[-1]["o"]["er"] == "2"
    assert floor.account.open_orders == {}


def test_good_till_date_order_expires_when_its_time_comes(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95", timeInForce="GTD", goodTillDate=floor.time + 700_000)
    floor.to(100.0, after=600_000)
    early = order.status
    floor.to(100.0, after=200_000)

    assert (early, order.status) == ("NEW", "EXPIRED")


def test_order_in_slices_fills_a_part_at_each_price(new_floor):
    floor = new_floor(fill_slices=3).to(100.0, gap=True)
    order = floor.order("BUY", "1", newClientOrderId="e")
    states = [(order.status, order.executed)]
    for _ in range(3):
        floor.to(100.0)
        states.append((order.status, order.executed))

    assert states == [
        ("PARTIALLY_FILLED", 0.333),
        ("PARTIALLY_FILLED", 0.666),
        ("PARTIALLY_FILLED", 0.999),
        ("FILLED", 1.0),
    ]
    assert floor.account.quantity("BTCUSDT") == 1.0
    assert sum(trade.quantity for trade in floor.account.trades) == pytest.approx(1.0)


def test_partly_filled_limit_order_is_cancelled_with_what_it_has(new_floor):
    floor = new_floor(fill_slices=2).to(100.0, gap=True)
    order = floor.order("BUY", "1", "LIMIT", price="95")
    floor.to(94.0)
    floor.desk.cancel("BTCUSDT", order.order_id, "")

    assert (order.status, order.executed, floor.account.quantity("BTCUSDT")) == ("CANCELED", 0.5, 0.5)
    assert floor.account.book.reserved == 0.0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NONEUSDT"}, -1121),
        ({"kind": "STOP_MARKET"}, -4120),
        ({"kind": "ODD"}, -1116),
        ({"side": "HOLD"}, -1117),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "101"}, -4005),
        ({"quantity": "0.01"}, -4164),
        ({"quantity": "abc"}, -1100),
        ({"price": "100"}, -1106),
        ({"kind": "LIMIT", "price": "99.95"}, -1111),
        ({"kind": "LIMIT", "price": "0"}, -4001),
        ({"kind": "LIMIT", "price": "200000"}, -4002),
        ({"kind": "LIMIT", "price": "120"}, -4016),
        ({"kind": "LIMIT", "price": "80", "side": "SELL"}, -4024),
        ({"kind": "LIMIT"}, -1102),
        ({"kind": "LIMIT", "price": "101", "timeInForce": "GTX"}, -5022),
        ({"kind": "LIMIT", "price": "99", "timeInForce": "FOK"}, -5021),
        ({"kind": "LIMIT", "price": "99", "timeInForce": "ODD"}, -1115),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"kind": "LIMIT", "price": "99", "timeInForce": "GTD", "goodTillDate": 1_800_000_600_000}, -5040),
        ({"selfTradePreventionMode": "ODD"}, -5039),
        ({"kind": "LIMIT", "priceMatch": "ODD"}, -5037),
        ({"kind": "LIMIT", "priceMatch": "OPPONENT_10"}, -5037),
        ({"priceMatch": "QUEUE"}, -5038),
        ({"kind": "LIMIT", "price": "99", "priceMatch": "QUEUE"}, -1106),
        ({"side": "SELL", "reduceOnly": "true"}, -2022),
        ({"closePosition": "true"}, -4136),
    ],
)
def test_order_that_breaks_a_rule_is_refused_with_its_code(floor, changes, code):
    changed = {"side": "BUY", "quantity": "1", **changes}

    assert refused(floor.order, **changed) == code
    assert floor.events == []
    assert floor.account.orders == {}


def test_order_beyond_the_margin_is_refused(floor):
    floor.account.book.set_leverage("BTCUSDT", 1)

    assert refused(floor.order, "BUY", "100") == -2019
    (entry,) = floor.kinds("refused")
    assert (entry.detail["code"], entry.symbol) == (-2019, "BTCUSDT")


def test_order_over_the_bracket_of_its_leverage_is_refused(new_floor):
    floor = new_floor(wallet=1e6).to(100.0, gap=True)
    floor.account.book.set_leverage("BTCUSDT", 50)

    assert refused(floor.order, "BUY", "600", "LIMIT", price="99") == -2027


def test_client_id_is_unique_among_open_orders_only(floor):
    floor.order("BUY", "1", "LIMIT", price="95", newClientOrderId="same")
    second = refused(floor.order, "BUY", "1", newClientOrderId="same")
    floor.desk.cancel("BTCUSDT", 0, "same")
    third = floor.order("BUY", "1", newClientOrderId="same")

    assert second == -4116
    assert floor.desk.find("BTCUSDT", 0, "same") is third


def test_cancelling_what_is_gone_is_refused(floor):
    order = floor.order("BUY", "1")

    assert refused(floor.desk.cancel, "BTCUSDT", order.order_id, "") == -2011
    assert refused(floor.desk.cancel, "ETHUSDT", order.order_id, "") == -2011


def test_amended_order_works_at_its_new_price(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95", newClientOrderId="e")
    floor.words()
    floor.desk.amend("BTCUSDT", order.order_id, "", Amendment(quantity=Decimal(2), price=Decimal(97)))
    floor.exchange.flush()
    told = floor.words()
    floor.to(96.0)

    assert told == [("order", "e", "AMENDMENT", "NEW")]
    assert (order.status, order.average, order.executed) == ("FILLED", 97.0, 2.0)
    assert (
        refused(floor.desk.amend, "BTCUSDT", order.order_id, "", Amendment(quantity=Decimal(2), price=Decimal(97)))
        == -2013
    )


@pytest.mark.parametrize(
    ("mode", "side", "price"),
    [
        ("OPPONENT", "BUY", "100.1"),
        ("OPPONENT", "SELL", "99.9"),
        ("OPPONENT_5", "BUY", "100.5"),
        ("QUEUE", "BUY", "99.9"),
        ("QUEUE", "SELL", "100.1"),
        ("QUEUE_20", "BUY", "98"),
    ],
)
def test_price_match_takes_the_price_of_its_level(floor, mode, side, price):
    order = floor.order(side, "1", "LIMIT", priceMatch=mode)

    assert (f"{order.price.normalize():f}", order.price_match) == (price, mode)
    assert order.status == ("FILLED" if mode.startswith("OPPONENT") else "NEW")
    assert {e["o"]["pm"] for e in floor.events if e["e"] == "ORDER_TRADE_UPDATE"} == {mode}


def test_price_match_of_a_conditional_order_is_settled_when_it_triggers(floor):
    floor.order("BUY", "1")
    algo = floor.algo("SELL", "STOP", quantity="1", triggerPrice="98", priceMatch="QUEUE_5", reduceOnly="true")
    before = algo.price
    floor.to(97.0)

    assert (before, float(algo.price), algo.order.status, algo.order.price_match) == (0, 98.5, "NEW", "QUEUE_5")


def test_price_match_without_a_price_finds_no_level(new_floor):
    assert refused(new_floor().order, "BUY", "1", "LIMIT", priceMatch="QUEUE") == -5041


def test_market_order_where_a_tick_is_wider_than_percent_price_fills_at_the_mark(new_floor, new_rules):
    rules = {"BTCUSDT": new_rules("BTCUSDT", tick_size=Decimal(20), min_price=Decimal(0))}
    order = new_floor(rules=rules).to(100.0, gap=True).order("BUY", "1")

    assert (order.status, order.average) == ("FILLED", 100.0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": "1"}, -5027),
        ({"quantity": "0.01"}, -5029),
        ({"price": "120"}, -4016),
        ({"reduceOnly": "true"}, -5047),
        ({"price": "95.05"}, -1111),
    ],
)
def test_amendment_that_breaks_a_rule_is_refused_with_its_code(floor, change, code):
    order = floor.order("BUY", "1", "LIMIT", price="95")
    wanted = parse_amendment(Params({"quantity": "1", "price": "95", **change}))

    assert refused(floor.desk.amend, "BTCUSDT", order.order_id, "", wanted) == code
    assert (order.status, order.quantity, order.price) == ("NEW", 1, 95)


def test_amendment_while_the_symbol_does_not_trade_is_refused(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95")
    floor.exchange.set_status("BTCUSDT", "HALT")

    wanted = Amendment(quantity=Decimal(2), price=Decimal(95))
    assert refused(floor.desk.amend, "BTCUSDT", order.order_id, "", wanted) == -5024


def test_amendment_of_a_post_only_order_that_would_take_cancels_it(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95", timeInForce="GTX")
    floor.desk.amend("BTCUSDT", order.order_id, "", Amendment(quantity=Decimal(1), price=Decimal(101)))

    assert order.status == "CANCELED"
    assert floor.account.open_orders == {}


def test_amendment_is_matched_named_and_gives_up_self_trade_prevention(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95")
    wanted = parse_amendment(Params({"quantity": "1", "priceMatch": "QUEUE", "modifyId": "77"}))
    floor.desk.amend("BTCUSDT", order.order_id, "", wanted)
    floor.exchange.flush()

    told = floor.events[-1]["o"]
    assert (told["x"], told["p"], told["pm"], told["M"], told["V"]) == ("AMENDMENT", "99.9", "QUEUE", 77, "NONE")


def test_amendment_that_cannot_be_paid_leaves_the_order_as_it_was(floor):
    floor.account.book.set_leverage("BTCUSDT", 1)
    order = floor.order("BUY", "10", "LIMIT", price="95")
    code = refused(floor.desk.amend, "BTCUSDT", order.order_id, "", Amendment(quantity=Decimal(200), price=Decimal(95)))
    floor.to(94.0)

    assert code == -2019
    assert (order.status, order.executed, order.average) == ("FILLED", 10.0, 95.0)


def test_symbol_that_does_not_trade_takes_no_entry(floor):
    floor.order("BUY", "1")
    floor.exchange.set_status("BTCUSDT", "HALT")

    assert refused(floor.order, "BUY", "1") == -4140
    assert floor.order("SELL", "1", reduceOnly="true").status == "FILLED"


def test_countdown_cancels_the_orders_of_its_symbol(floor):
    order = floor.order("BUY", "1", "LIMIT", price="95")
    floor.account.countdowns["BTCUSDT"] = floor.time + 30_000
    floor.to(100.0)

    assert order.status == "CANCELED"


# -- conditional orders ------------------------------------------------------------------------------------------------


def test_stop_becomes_an_order_of_its_own_at_its_level(floor):
    floor.order("BUY", "1")
    stop = floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice="95", reduceOnly="true", clientAlgoId="s")
    floor.words()
    floor.to(94.0)

    assert floor.words() == [
        ("order", "s", "NEW", "NEW"),
        ("algo", "s", "TRIGGERED"),
        ("lite", "s", "1"),
        ("account", "ORDER"),
        ("order", "s", "TRADE", "FILLED"),
        ("algo", "s", "FINISHED"),
    ]
    assert stop.order.average == 95.0
    assert stop.order.order_id != stop.algo_id
    assert floor.account.quantity("BTCUSDT") == 0.0


def test_stop_larger_than_the_position_shrinks_and_the_rest_expires(floor):
    floor.order("BUY", "1")
    stop = floor.algo("SELL", "STOP_MARKET", quantity="3", triggerPrice="95", reduceOnly="true")
    floor.to(94.0)

    assert (stop.order.status, stop.order.executed, stop.status) == ("EXPIRED", 1.0, "FINISHED")


def test_reduce_only_stop_without_a_position_is_rejected_when_it_triggers(floor):
    stop = floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice="95", reduceOnly="true")
    floor.to(94.0)

    assert (stop.status, stop.reason, stop.order) == ("REJECTED", "ReduceOnly Order is rejected.", None)
    assert floor.events[-1]["o"]["rm"] == "ReduceOnly Order is rejected."


def test_stop_that_closes_the_position_takes_whatever_is_held(floor):
    floor.order("BUY", "1")
    stop = floor.algo("SELL", "STOP_MARKET", closePosition="true", triggerPrice="95")
    floor.order("BUY", "2")
    floor.to(94.0)

    assert (stop.order.executed, stop.order.average, stop.status) == (3.0, 95.0, "FINISHED")
    assert stop.order.close_position


def test_take_profit_with_a_price_rests_as_a_limit_order(floor):
    floor.order("BUY", "1")
    algo = floor.algo("SELL", "TAKE_PROFIT", quantity="1", triggerPrice="105", price="106", reduceOnly="true")
    floor.to(105.5)
    triggered = (algo.status, algo.order.status, algo.order.type)
    floor.to(107.0)

    assert triggered == ("TRIGGERED", "NEW", "LIMIT")
    assert (algo.status, algo.order.average) == ("FINISHED", 106.0)


@pytest.mark.parametrize(
    ("side", "entry", "path", "filled"),
    [("SELL", "BUY", (110.0, 105.0, 100.0), 110 * 0.95), ("BUY", "SELL", (90.0, 92.0, 100.0), 90 * 1.05)],
)
def test_trailing_stop_follows_the_best_price(floor, side, entry, path, filled):
    floor.order(entry, "1")
    algo = floor.algo(side, "TRAILING_STOP_MARKET", quantity="1", callbackRate="5", reduceOnly="true")
    for price in path:
        floor.to(price)

    assert algo.status == "FINISHED"
    assert algo.order.average == pytest.approx(filled)


def test_trailing_stop_waits_for_its_activation(floor):
    floor.order("BUY", "1")
    algo = floor.algo(
        "SELL", "TRAILING_STOP_MARKET", quantity="1", callbackRate="1", activatePrice="110", reduceOnly="true"
    )
    floor.to(105.0).to(100.0)
    waiting = (algo.status, algo.is_active)
    floor.to(111.0).to(105.0)

    assert waiting == ("NEW", False)
    assert algo.order.average == pytest.approx(111 * 0.99)
    assert [event["o"]["ia"] for event in floor.events if event["e"] == "ALGO_UPDATE"] == [False, True, True, True]


def test_conditional_order_past_its_trigger_is_refused(floor):
    assert refused(floor.algo, "SELL", "STOP_MARKET", quantity="1", triggerPrice="105") == -2021
    assert refused(floor.algo, "BUY", "STOP", quantity="1", triggerPrice="95", price="96") == -2021
    assert refused(floor.algo, "BUY", "TAKE_PROFIT_MARKET", closePosition="true", triggerPrice="105") == -2021


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"kind": "STOP", "closePosition": "true"}, -4136),
        ({"closePosition": "true", "quantity": "1"}, -4137),
        ({"kind": "LIMIT"}, -1116),
        ({"kind": "TRAILING_STOP_MARKET", "quantity": "1", "callbackRate": "11"}, -1130),
        ({"quantity": "1", "triggerPrice": "95.05"}, -1111),
        ({"quantity": "1"}, -1102),
    ],
)
def test_conditional_order_that_breaks_a_rule_is_refused(floor, given, code):
    changed = {"side": "SELL", "kind": "STOP_MARKET", "triggerPrice": "95", **given}
    if given == {"quantity": "1"}:
        del changed["triggerPrice"]

    assert refused(floor.algo, **changed) == code


def test_conditional_orders_are_limited_for_the_account(new_floor):
    floor = new_floor(max_algo_orders=2).to(100.0, gap=True)
    for level in ("95", "94"):
        floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice=level)

    assert refused(floor.algo, "SELL", "STOP_MARKET", quantity="1", triggerPrice="93") == -4045


def test_stop_until_the_position_is_gone_expires_with_it(floor):
    floor.order("BUY", "1")
    stop = floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice="95", reduceOnly="true", timeInForce="GTE_GTC")
    floor.order("SELL", "1", reduceOnly="true")

    assert stop.status == "EXPIRED"
    assert floor.account.book.open_orders("BTCUSDT") == ()


# -- money -------------------------------------------------------------------------------------------------------------


def test_funding_is_paid_and_told(new_floor):
    due = new_floor().time + 120_000
    rates = FundingRates(np.array([due], dtype=np.int64), np.array([0.001]))
    floor = new_floor(funding={"BTCUSDT": rates}).to(100.0, gap=True)
    floor.order("BUY", "1")
    floor.words()
    floor.to(100.0).to(100.0)

    assert floor.events[0]["a"]["S"] == "BTCUSDT"
    assert [row["bc"] for row in floor.events[0]["a"]["B"]] == ["-0.1"]
    assert floor.words() == [("account", "FUNDING_FEE")]
    assert [(row.kind, row.amount) for row in floor.account.income] == [
        ("COMMISSION", pytest.approx(-0.05)),
        ("FUNDING_FEE", pytest.approx(-0.1)),
    ]


def test_liquidation_closes_the_position_and_shows_on_the_market(floor):
    shown = []
    floor.exchange.subscribe_market(shown.append)
    floor.account.book.set_margin_type("BTCUSDT", "isolated")
    floor.account.book.set_leverage("BTCUSDT", 20)
    floor.order("BUY", "10")
    floor.words()
    floor.to(90.0)

    update = [event["o"] for event in floor.events if event["e"] == "ORDER_TRADE_UPDATE"][-1]
    assert (update["x"], update["X"], update["c"][:10]) == ("CALCULATED", "FILLED", "autoclose-")
    assert [(one["e"], one["o"]["s"], one["o"]["S"]) for one in shown] == [("forceOrder", "BTCUSDT", "SELL")]
    assert floor.account.quantity("BTCUSDT") == 0.0


def test_margin_call_comes_once_before_the_liquidation(floor):
    floor.account.book.set_margin_type("BTCUSDT", "isolated")
    floor.account.book.set_leverage("BTCUSDT", 20)
    floor.order("BUY", "10")
    floor.to(96.15).to(96.14)

    calls = [event for event in floor.events if event["e"] == "MARGIN_CALL"]
    assert [(one["p"][0]["s"], one["p"][0]["mt"]) for one in calls] == [("BTCUSDT", "ISOLATED")]


def test_isolated_and_cross_positions_live_side_by_side(floor):
    floor.account.book.set_margin_type("BTCUSDT", "isolated")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        floor.account.book.set_leverage(symbol, 10)
        floor.order("BUY", "100", symbol=symbol)
    floor.to(85.0)

    assert floor.account.quantity("BTCUSDT") == 0.0
    assert floor.account.quantity("ETHUSDT") == 100.0
    assert floor.account.book.margin_type("ETHUSDT") == "cross"


def test_forced_liquidation_and_deleveraging_name_themselves(floor):
    floor.order("BUY", "2")
    floor.exchange.force_adl(floor.key, "BTCUSDT", 0.5)
    left = floor.account.quantity("BTCUSDT")
    floor.exchange.force_liquidation(floor.key, "BTCUSDT")

    names = [order.client_id for order in floor.account.orders.values()][1:]
    assert left == 1.0
    assert names[0] == "adl_autoclose"
    assert names[1].startswith("autoclose-")
    assert [entry.detail["cause"] for entry in floor.kinds("fill")] == ["order", "auto_deleveraging", "liquidation"]


def test_delisting_settles_positions_and_expires_orders(floor):
    told = []
    floor.exchange.subscribe_market(told.append)
    floor.order("BUY", "1")
    order = floor.order("BUY", "1", "LIMIT", price="95")
    stop = floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice="90", reduceOnly="true")
    floor.exchange.delist("BTCUSDT")

    assert (order.status, order.expiry, stop.status) == ("EXPIRED", 7, "EXPIRED")
    assert floor.account.quantity("BTCUSDT") == 0.0
    assert list(floor.account.orders.values())[-1].client_id.startswith("settlement_autoclose-")
    assert [payload["cs"] for payload in told] == ["SETTLING", "CLOSE"]
    assert refused(floor.order, "BUY", "1") == -4141


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_ledger_tells_how_long_a_position_had_no_stop(floor):
    floor.order("BUY", "1")
    floor.time += 700
    floor.algo("SELL", "STOP_MARKET", quantity="0.5", triggerPrice="95", reduceOnly="true")
    floor.time += 300
    floor.algo("SELL", "STOP_MARKET", quantity="0.5", triggerPrice="94", reduceOnly="true")
    floor.to(93.0)

    assert [(entry.kind, entry.detail.get("naked_ms")) for entry in floor.kinds("naked", "covered")] == [
        ("naked", None),
        ("covered", 1_000),
    ]
    assert [entry.kind for entry in floor.kinds("opened", "closed")] == ["opened", "closed"]


def test_ledger_is_numbered_and_filtered(floor):
    floor.order("BUY", "1", newClientOrderId="e")

    assert [entry.sequence for entry in floor.exchange.ledger] == list(range(1, len(floor.exchange.ledger) + 1))
    (fill,) = floor.exchange.ledger.of("fill", account=floor.key, symbol="BTCUSDT")
    assert (fill.detail["client_id"], fill.detail["position"]) == ("e", 1.0)
    assert list(floor.exchange.ledger.of("fill", symbol="ETHUSDT")) == []


# -- listening and keys ------------------------------------------------------------------------------------------------


def test_listen_key_is_kept_and_ends(floor):
    keys, exchange = floor.exchange.listen_keys, floor.exchange
    key = keys.start(floor.key, floor.time)
    floor.time += 3_000_000
    kept = keys.keep(floor.key, floor.time)
    floor.to(100.0, after=3_000_000)
    alive = keys.account_of(key, floor.time)
    floor.to(100.0, after=3_600_001)

    assert key == kept
    assert alive == floor.key
    assert keys.account_of(key, floor.time) is None
    assert floor.events[-1] == {"e": "listenKeyExpired", "E": floor.time, "listenKey": key}
    with pytest.raises(BrokerError):
        exchange.subscribe(key, print)
    assert keys.start(floor.key, floor.time) != key


def test_subscription_ends_when_it_is_ended(floor):
    seen = []
    end = floor.exchange.subscribe(floor.key, seen.append)
    floor.order("BUY", "1")
    end()
    floor.order("BUY", "1")

    assert len(seen) == 1


def test_account_opened_late_knows_the_prices(floor):
    floor.exchange.add_account("late", "secret", 500.0)

    assert floor.exchange.trading("late").account.book.equity == 500.0
    assert refused(_buy, floor.exchange, "late") == -2019


def _buy(exchange, key):
    params = Params({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "100"})
    return exchange.trading(key).place(parse_order(params, exchange.clock()))


# -- laws --------------------------------------------------------------------------------------------------------------

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.integers(900, 1100)),
        st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(50, 900)),
        st.tuples(st.sampled_from(["LIMIT_BUY", "LIMIT_SELL"]), st.integers(900, 1100)),
        st.tuples(st.sampled_from(["STOP_BUY", "STOP_SELL"]), st.integers(900, 1100)),
    ),
    max_size=40,
)


def _play(floor, moves):
    for word, number in moves:
        try:
            if word == "price":
                floor.to(number / 10)
            elif word.startswith("LIMIT"):
                floor.order(word[6:], "1", "LIMIT", price=str(number / 10))
            elif word.startswith("STOP"):
                floor.algo(word[5:], "STOP_MARKET", quantity="1", triggerPrice=str(number / 10), reduceOnly="true")
            else:
                floor.order(word, str(number / 100))
        except ApiError:
            continue


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES, slices=st.integers(1, 3))
def test_law_books_of_the_exchange_agree_with_what_it_told(new_floor, moves, slices):
    floor = new_floor(fill_slices=slices).to(100.0, gap=True)
    _play(floor, moves)
    told = [event["o"] for event in floor.events if event["e"] == "ORDER_TRADE_UPDATE"]
    fills = [one for one in told if one["x"] in {"TRADE", "CALCULATED"}]
    signed = sum((1 if one["S"] == "BUY" else -1) * float(one["l"]) for one in fills)
    money = sum(float(one["rp"]) - float(one["n"]) for one in fills)

    assert signed == pytest.approx(floor.account.quantity("BTCUSDT"), abs=1e-9)
    assert 10_000 + money == pytest.approx(floor.account.book.wallet, abs=1e-6)
    assert len({one["t"] for one in fills}) == len(fills)
    for order in floor.account.orders.values():
        parts = sum(float(one["l"]) for one in fills if one["i"] == order.order_id)
        assert parts == pytest.approx(order.executed)
        assert (order.status == "FILLED") == (order.left == pytest.approx(0.0, abs=1e-12))
    working = {one.client_id for one in floor.account.book.open_orders("BTCUSDT")}
    waiting = {f"a{algo_id}" for algo_id in floor.account.open_algos}
    assert working == {one.book_id for one in floor.account.open_orders.values()} | waiting


def test_listen_keys_and_switches_run_by_the_clients_clock(new_floor):
    wall = [0]
    floor = new_floor(wall=lambda: wall[0]).to(100.0, gap=True)
    key = floor.exchange.listen_keys.start(floor.key, 0)
    floor.account.countdowns["BTCUSDT"] = 1_000
    order = floor.order("BUY", "1", "LIMIT", price="95")
    floor.to(100.0, after=86_400_000)
    alive = (floor.exchange.listen_keys.account_of(key, 0), order.status)
    wall[0] = 3_600_001
    floor.to(100.0)

    assert alive == (floor.key, "NEW")
    assert order.status == "CANCELED"
    assert floor.events[-2]["e"] == "listenKeyExpired"
