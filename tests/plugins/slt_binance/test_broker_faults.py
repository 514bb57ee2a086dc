"""Orders and account when things go wrong, against the local exchange: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest
from aiohttp import web
from venue import SandboxVenue

from slt.errors import BrokerError
from slt.rules import GENERIC_BRACKETS
from slt.testing.broker import make_hooks
from slt.testing.live_broker import LiveDesk
from slt.types import (
    MINUTE_MS,
    BrokerAlert,
    BrokerLink,
    Fill,
    FillCause,
    MarketInfo,
    OrderRole,
    OrderStatus,
    OrderType,
    OrderUpdate,
    SymbolRules,
)
from slt_binance.faults import ExchangeError

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PRICE = 100.0


def rules(symbol):
    return SymbolRules(
        symbol,
        Decimal("0.01"),
        Decimal("0.001"),
        Decimal(5),
        GENERIC_BRACKETS,
        min_price=Decimal("0.01"),
        min_quantity=Decimal("0.001"),
        market_step_size=Decimal("0.001"),
        market_min_quantity=Decimal("0.001"),
    )


MARKET = MarketInfo(SYMBOLS, MINUTE_MS, 0, None, "the local exchange", rules={s: rules(s) for s in SYMBOLS})


class Desk(LiveDesk):
    """A desk at an open broker, with its venue."""

    def __init__(self, venue, hooks, found):
        super().__init__(hooks, "BTCUSDT", found, 8.0)
        self.venue = venue

    def links(self):
        return [u.is_up for u in self.pushed if isinstance(u, BrokerLink)]

    async def up(self, times=1):
        await self.until(lambda: self.links().count(True) >= times, "the link")

    async def entered(self, side=1, quantity=1.0):
        order = await self.enter(side, quantity)
        await self.filled(order)
        return order

    def trade_ids(self):
        return Counter((u.symbol, u.trade_id) for u in self.pushed if isinstance(u, Fill))


@pytest.fixture
async def venue():
    made = SandboxVenue({s: rules(s) for s in SYMBOLS}, "BTCUSDT")
    made.options = {"recv_window_ms": 300, "event_timeout_seconds": 0.6, "longest_backoff_seconds": 0.3}
    await made.start()
    for symbol in SYMBOLS:
        await made.move(PRICE, symbol)
    yield made
    await made.stop()


@pytest.fixture
async def open_desk(venue):
    desks = []

    async def opened():
        hooks = make_hooks(venue.broker)
        desk = Desk(venue, hooks, dict(await hooks.slt_open_broker(market=MARKET, wallet=1.0)))
        reading = asyncio.create_task(desk.collect())
        desks.append((hooks, reading))
        await desk.up()
        return desk

    yield opened
    for hooks, reading in desks:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await hooks.slt_close_broker()


@pytest.fixture
async def desk(open_desk):
    return await open_desk()


def once(method, path, answer):
    """A fault that strikes the first matching request."""
    left = [1]

    async def strike(request, seen_method, seen_path):
        if left[0] and (seen_method, seen_path) == (method, path):
            left[0] -= 1
            return answer(request) if callable(answer) else answer
        return None

    return strike


def lose_answer(path):
    """Carry out the first POST on a path, then break the connection before its answer."""
    left = [1]

    async def strike(request, response):
        if left[0] and request.method == "POST" and request.path == path:
            left[0] -= 1
            request.transport.abort()
        return response

    return strike


def json(status, code, text):
    return web.json_response({"code": code, "msg": text}, status=status)


@pytest.mark.parametrize("path", ["/fapi/v1/order", "/fapi/v1/algoOrder"])
async def test_submit_answer_lost_after_acceptance_is_found_by_asking(desk, venue, path):
    await desk.entered()
    venue.after = lose_answer(path)
    if path.endswith("algoOrder"):
        order = desk.order(-1, OrderType.STOP_MARKET, 1.0, OrderRole.STOP, stop_price=90.0)
    else:
        order = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
    with pytest.raises(ExchangeError):
        await desk.submit(order)
    known = await desk.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id)
    assert known[0].status is OrderStatus.ACCEPTED
    assert venue.count("POST", path) == (1 if path.endswith("algoOrder") else 2)
    again = await desk.submit(order)
    assert again[0].status is OrderStatus.ACCEPTED
    assert venue.count("POST", path) == (1 if path.endswith("algoOrder") else 2)


async def test_submit_lost_before_acceptance_is_told_never_arrived_only_when_it_cannot_arrive_any_more(desk, venue):
    def vanish(request):
        request.transport.abort()
        return web.Response()

    venue.before = once("POST", "/fapi/v1/order", vanish)
    order = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
    with pytest.raises(BrokerError):
        await desk.submit(order)
    begin = asyncio.get_running_loop().time()
    assert await desk.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id) == []
    assert asyncio.get_running_loop().time() - begin > 1.0
    assert venue.count("GET", "/fapi/v1/order") >= 2
    assert (await desk.account()).positions == ()


async def test_query_after_a_restart_waits_for_what_an_earlier_process_may_have_sent(desk, venue, open_desk):
    """A process dies with an order on its way; the next one asks for it before it has arrived."""
    order = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
    again = await open_desk()

    async def arrive():
        await asyncio.sleep(0.5)
        await desk.submit(order)

    arriving = asyncio.create_task(arrive())
    known = await again.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id)
    await arriving
    assert known[0].status is OrderStatus.ACCEPTED
    assert await again.hooks.slt_query_order(symbol="BTCUSDT", client_id="never") == []


async def test_query_finds_an_order_that_arrives_while_it_is_asked_for(desk, venue):
    async def delay(request, method, path):
        if (method, path) == ("POST", "/fapi/v1/order"):
            await asyncio.sleep(0.5)

    order = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
    venue.before = delay
    submitting = asyncio.create_task(desk.submit(order))
    await asyncio.sleep(0.1)
    submitting.cancel()
    await asyncio.gather(submitting, return_exceptions=True)
    known = await desk.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id)
    held = (await desk.account()).positions
    assert bool(known) == bool(held), "told as never arrived, and the position is there"
    assert venue.count("POST", "/fapi/v1/order") == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-2019, "margin does not suffice"),
        (-2021, "trigger at once"),
        (-2022, "no position left that it could reduce"),
        (-4164, "below the smallest"),
        (-1008, "overloaded"),
        (-4140, "forbids opening"),
        (-1111, "please report it"),
        (-2015, "IP list"),
    ],
)
async def test_submit_refused_says_why_and_what_to_do(desk, venue, code, words, monkeypatch):
    monkeypatch.setattr("slt_binance.client._FIRST_WAIT_S", 0.001)

    async def refuse(request, method, path):
        status = 503 if code == -1008 else 400
        return json(status, code, "Refused.") if (method, path) == ("POST", "/fapi/v1/order") else None

    venue.before = refuse
    (update,) = await desk.submit(desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY))
    assert update.status is OrderStatus.REJECTED
    assert words in update.reason
    assert f"code {code}" in update.reason
    assert venue.count("POST", "/fapi/v1/order") == (5 if code == -1008 else 1)


async def test_submit_duplicate_id_is_asked_for(desk, venue):
    order = desk.order(1, OrderType.LIMIT, 1.0, OrderRole.ENTRY, price=90.0)
    await desk.submit(order)
    venue.before = once("POST", "/fapi/v1/order", json(400, -4116, "ClientOrderId is duplicated."))
    hooks = make_hooks(venue.broker)
    await hooks.slt_open_broker(market=MARKET, wallet=1.0)
    try:
        (known,) = await hooks.slt_submit_order(order=order)
    finally:
        await hooks.slt_close_broker()
    assert known.status is OrderStatus.ACCEPTED
    assert len((await desk.account()).orders) == 1


async def test_submit_banned_sends_nothing_and_is_refused_at_once(desk, venue):
    until = venue.clock() + 600_000
    venue.before = once("POST", "/fapi/v1/order", json(418, -1003, f"Way too many; IP banned until {until}."))
    for _ in range(3):
        (update,) = await desk.submit(desk.order(-1, OrderType.MARKET, 1.0, OrderRole.EXIT))
        assert update.status is OrderStatus.REJECTED
        assert "asked to pause" in update.reason
    assert venue.count("POST", "/fapi/v1/order") == 1


async def test_submit_unknown_symbol_and_off_the_grid_are_not_sent(desk, venue):
    odd = desk.order(1, OrderType.MARKET, 1.00005, OrderRole.ENTRY)
    assert "no multiple of 0.001" in (await desk.submit(odd))[0].reason
    desk.symbol = "XRPUSDT"
    other = desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY)
    assert "none of the symbols" in (await desk.submit(other))[0].reason
    assert venue.count("POST", "/fapi/v1/order") == 0


async def test_leverage_is_set_once_when_it_differs_and_never_for_exits(desk, venue):
    await desk.entered()
    await desk.entered()
    stop = desk.order(-1, OrderType.STOP_MARKET, 1.0, OrderRole.STOP, stop_price=90.0)
    await desk.submit(stop)
    assert venue.count("POST", "/fapi/v1/leverage") == 1
    assert venue.account.book.leverage("BTCUSDT") == 5


async def test_margin_type_is_set_before_the_first_entry_and_never_again(desk, venue):
    assert venue.account.book.margin_type("BTCUSDT") == "cross"
    await desk.entered()
    assert venue.account.book.margin_type("BTCUSDT") == "isolated"
    await desk.entered()
    assert venue.count("POST", "/fapi/v1/marginType") == 1
    assert venue.account.book.margin_type("ETHUSDT") == "cross", "nobody entered there"


async def test_margin_type_refused_refuses_the_entry_and_tries_again_with_the_next(desk, venue):
    venue.before = once("POST", "/fapi/v1/marginType", json(400, -4168, "Unable to adjust to isolated-margin mode."))
    (update,) = await desk.submit(desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY))
    assert update.status is OrderStatus.REJECTED
    assert "margin type isolated could not be set" in update.reason
    assert "multi-assets mode" in update.reason
    assert venue.count("POST", "/fapi/v1/order") == 0
    await desk.entered()
    assert venue.count("POST", "/fapi/v1/marginType") == 2


async def test_leverage_refused_refuses_the_entry(desk, venue):
    venue.before = once("POST", "/fapi/v1/leverage", json(400, -4028, "Leverage 5 is not valid."))
    (update,) = await desk.submit(desk.order(1, OrderType.MARKET, 1.0, OrderRole.ENTRY))
    assert update.status is OrderStatus.REJECTED
    assert "leverage 5 could not be set" in update.reason
    assert venue.count("POST", "/fapi/v1/order") == 0


async def test_stream_cut_with_fills_meanwhile_tells_them_before_the_link_is_up(desk, venue):
    entry = await desk.entered()
    stop, target = await desk.protect(95.0, 105.0)
    holding = asyncio.Event()

    async def hold(request, method, path):
        if (method, path) == ("POST", "/fapi/v1/listenKey"):
            await holding.wait()

    venue.before = hold
    venue.cut()
    await desk.until(lambda: desk.links()[-1] is False, "the link's end")
    await venue.move(94.0)
    holding.set()
    await desk.up(2)
    (fill,) = desk.fills(stop)
    assert fill.quantity == 1.0
    place = desk.pushed.index(fill)
    assert [u.is_up for u in desk.pushed[place:] if isinstance(u, BrokerLink)] == [True]
    assert set(desk.trade_ids().values()) == {1}
    assert len(desk.fills(entry)) == 1
    assert (await desk.account()).positions == ()
    await desk.hooks.slt_cancel_order(symbol="BTCUSDT", client_id=target.client_id, time=desk.time)


async def test_fill_told_by_the_answer_alone_is_pushed_after_the_reconnect_too(desk, venue):
    desk.symbol = "ETHUSDT"
    holding = asyncio.Event()

    async def hold(request, method, path):
        if (method, path) == ("POST", "/fapi/v1/listenKey"):
            await holding.wait()

    venue.before = hold
    venue.cut()
    await desk.until(lambda: desk.links()[-1] is False, "the link's end")
    order = desk.order(1, OrderType.MARKET, 0.3, OrderRole.ENTRY)
    await desk.submit(order)
    asked = await desk.hooks.slt_query_order(symbol="ETHUSDT", client_id=order.client_id)
    (known,) = [update for update in asked if isinstance(update, Fill)]
    holding.set()
    await desk.up(2)
    assert desk.fills(order) == [known]
    venue.cut()
    await desk.up(3)
    assert desk.fills(order) == [known]


async def test_stream_cut_with_a_liquidation_meanwhile_tells_it(desk, venue):
    await desk.entered()
    venue.before = once("POST", "/fapi/v1/listenKey", json(500, -1000, "down"))
    venue.cut()
    venue.exchange.force_liquidation("key-at-the-local-exchange", "BTCUSDT")
    await desk.up(2)
    forced = [u for u in desk.pushed if isinstance(u, Fill) and u.cause is FillCause.LIQUIDATION]
    assert [f.quantity for f in forced] == [1.0]
    assert forced[0].side == -1


@pytest.mark.parametrize(
    ("act", "cause"), [("liquidation", FillCause.LIQUIDATION), ("adl", FillCause.AUTO_DELEVERAGING)]
)
async def test_forced_closes_come_with_their_cause(desk, venue, act, cause):
    await desk.entered()
    getattr(venue.exchange, f"force_{act}")("key-at-the-local-exchange", "BTCUSDT")
    await desk.until(lambda: any(isinstance(u, Fill) and u.cause is cause for u in desk.pushed), "the forced close")
    assert set(desk.trade_ids().values()) == {1}
    assert (await desk.account()).positions == ()


@pytest.mark.parametrize(
    ("act", "cause"), [("liquidation", FillCause.LIQUIDATION), ("adl", FillCause.AUTO_DELEVERAGING)]
)
async def test_forced_close_between_two_processes_is_told_with_the_orders_of_the_first(
    desk, venue, open_desk, act, cause
):
    entry = await desk.entered()
    stop, target = await desk.protect(95.0, 105.0)
    getattr(venue.exchange, f"force_{act}")("key-at-the-local-exchange", "BTCUSDT")
    again = await open_desk()
    told = []
    for order in (entry, stop, target):
        told += await again.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id)
    fills = {u.trade_id: u for u in told if isinstance(u, Fill)}
    forced = [f for f in fills.values() if f.cause is cause]
    assert [(f.side, f.quantity, f.price) for f in forced] == [(-1, 1.0, PRICE)]
    assert len(fills) == 2


async def test_fills_between_two_processes_come_in_the_order_in_which_they_happened(desk, venue, open_desk):
    """Whichever order is asked for first tells all that happened in its symbol, not its own part of it alone."""
    entry = await desk.entered()
    stop, target = await desk.protect(95.0, 105.0)
    await desk.hooks.slt_submit_order(order=(more := desk.order(1, OrderType.MARKET, 0.5, OrderRole.ENTRY)))
    await venue.move(PRICE)
    await venue.move(106.0)
    again = await open_desk()
    for order in (target, stop, entry):
        told = await again.hooks.slt_query_order(symbol="BTCUSDT", client_id=order.client_id)
        ours = [u.client_id for u in told if isinstance(u, Fill)]
        assert ours == [entry.client_id, more.client_id, target.client_id]


async def test_delisting_settles_and_ends_resting_orders(desk, venue):
    await desk.entered()
    stop, target = await desk.protect(95.0, 105.0)
    venue.exchange.delist("BTCUSDT")
    await desk.until(lambda: len([u for u in desk.pushed if isinstance(u, Fill)]) == 2, "the settlement")
    assert [u.cause for u in desk.pushed if isinstance(u, Fill)][1] is FillCause.SETTLEMENT
    for order in (stop, target):
        assert (await desk.ended(order)).status in {OrderStatus.EXPIRED, OrderStatus.CANCELLED}


async def test_listen_key_expired_is_made_anew_and_nothing_is_lost(desk, venue):
    await desk.entered()
    stop, _ = await desk.protect(95.0, 105.0)
    for key, api_key in venue.exchange.listen_keys.expire(1 << 62):
        venue.exchange.expire_listen_key(key, api_key)
    await venue.move(94.0)
    await desk.up(2)
    assert len(desk.fills(stop)) == 1
    assert any("listen key" in u.reason for u in desk.pushed if isinstance(u, BrokerLink))


async def test_silent_stream_is_noticed_by_the_next_order_and_opened_anew(desk, venue):
    """The socket stays open, answers pings, and says nothing."""

    async def swallow(events):
        return []

    venue.reorder = swallow
    order = await desk.enter()
    await desk.until(lambda: desk.links()[-1] is False, "the end of the silent link")
    venue.reorder = None
    await desk.up(2)
    assert len(desk.fills(order)) == 1
    assert "silent" in next(u.reason for u in desk.pushed if isinstance(u, BrokerLink) and not u.is_up)


async def test_events_reversed_and_repeated_change_nothing(desk, venue):
    async def disorder(events):
        return [*reversed(events), *events]

    venue.reorder = disorder
    await desk.entered()
    stop, target = await desk.protect(95.0, 105.0)
    await venue.move(94.0)
    await desk.filled(stop)
    await desk.hooks.slt_cancel_order(symbol="BTCUSDT", client_id=target.client_id, time=desk.time)
    await desk.ended(target)
    assert set(desk.trade_ids().values()) == {1}


async def test_trade_told_by_trade_lite_only_is_fetched_with_its_commission(desk, venue):
    async def lite_only(events):
        return [e for e in events if e["e"] != "ORDER_TRADE_UPDATE" or e["o"]["x"] != "TRADE"]

    venue.reorder = lite_only
    order = await desk.enter()
    (fill,) = await desk.filled(order)
    assert fill.fee == pytest.approx(PRICE * 0.0005)


async def test_malformed_frame_reopens_the_stream(desk, venue, monkeypatch):
    order = await desk.entered()

    async def rubbish(events):
        return [{"e": "ORDER_TRADE_UPDATE", "E": 1, "o": {"s": "BTCUSDT"}}]

    venue.reorder = rubbish
    leave = await desk.leave()
    await desk.until(lambda: desk.links()[-1] is False, "the link's end")
    venue.reorder = None
    await desk.up(2)
    assert len(desk.fills(leave)) == 1
    assert len(desk.fills(order)) == 1


async def test_cancel_of_a_stop_that_has_filled_tells_its_fill(desk, venue):
    await desk.entered()
    stop, _ = await desk.protect(95.0, 105.0)
    await venue.move(94.0)
    known = await desk.hooks.slt_cancel_order(symbol="BTCUSDT", client_id=stop.client_id, time=desk.time)
    assert [u.quantity for u in known if isinstance(u, Fill)] == [1.0]
    assert known[-1] == next(u for u in known if isinstance(u, Fill))


async def test_cancel_answer_lost_is_repeated_and_done_once(desk, venue):
    await desk.entered()
    stop, _ = await desk.protect(95.0, 105.0)
    left = [1]

    async def lose(request, response):
        if left[0] and request.method == "DELETE":
            left[0] = 0
            request.transport.abort()
        return response

    venue.after = lose
    known = await desk.hooks.slt_cancel_order(symbol="BTCUSDT", client_id=stop.client_id, time=desk.time)
    assert OrderStatus.CANCELLED in {u.status for u in known if isinstance(u, OrderUpdate)}
    assert stop.client_id not in {o.client_id for o in (await desk.account()).orders}


async def test_listen_key_is_kept_alive(venue, open_desk):
    venue.options |= {"keepalive_minutes": 0.2 / 60}
    desk = await open_desk()
    await asyncio.sleep(0.7)
    assert venue.count("PUT", "/fapi/v1/listenKey") >= 2
    assert desk.links() == [True]


async def test_listen_key_that_cannot_be_kept_is_made_anew(venue, open_desk):
    venue.options |= {"keepalive_minutes": 0.2 / 60}
    venue.before = once("PUT", "/fapi/v1/listenKey", json(400, -1125, "This listenKey does not exist."))
    desk = await open_desk()
    await desk.up(2)
    assert venue.count("POST", "/fapi/v1/listenKey") == 2


async def test_planned_reconnect_loses_nothing(venue, open_desk):
    venue.options |= {"reconnect_hours": 1.5 / 3600}
    desk = await open_desk()
    order = await desk.entered()
    await desk.up(2)
    leave = await desk.leave()
    await desk.filled(leave)
    assert set(desk.trade_ids().values()) == {1}
    assert len(desk.fills(order)) == 1


async def test_modes_switched_by_hand_are_told(desk, venue):
    venue.exchange.trading("key-at-the-local-exchange").account.emit(
        {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ai": {"j": True}}
    )
    venue.exchange.flush()
    await desk.until(lambda: any(isinstance(u, BrokerAlert) for u in desk.pushed), "the alert")


async def test_snapshot_is_empty_and_closing_twice_is_fine(desk):
    assert desk.hooks.slt_snapshot_broker() == {}
    desk.hooks.slt_restore_broker(state={})
    await desk.hooks.slt_close_broker()
    await desk.hooks.slt_close_broker()
    with pytest.raises(BrokerError, match="not open"):
        await desk.hooks.slt_read_account()
