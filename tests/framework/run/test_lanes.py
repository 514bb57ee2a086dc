"""Lanes: what waits for what, and what becomes of an answer that does not come."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from slt.errors import BrokerError
from slt.events import CancelOrder, QueryOrder, SubmitOrder
from slt.run.lanes import Lanes
from slt.types import Order, OrderRole, OrderSide, OrderStatus, OrderType, OrderUpdate

SYMBOL = "AAAUSDT"


def order(number=1, role=OrderRole.ENTRY, symbol=SYMBOL):
    return Order(f"t-001-{number:06d}", "p", symbol, OrderSide.BUY, OrderType.MARKET, role, 1.0, 1000)


def accepted(client_id, symbol=SYMBOL):
    return OrderUpdate(1, client_id, symbol, OrderStatus.ACCEPTED)


class Broker:
    """Does what it is told: `answers` by client id is a list of what each call of it gives or raises."""

    def __init__(self):
        self.calls, self.submits, self.queries, self.cancels, self.gates = [], {}, {}, {}, {}

    async def _give(self, kind, client_id, symbol=SYMBOL):
        self.calls.append((kind, client_id))
        if client_id in self.gates:
            await self.gates[client_id].wait()
        waiting = getattr(self, {"submit": "submits", "query": "queries", "cancel": "cancels"}[kind])
        given = waiting.get(client_id, [])
        answer = given.pop(0) if given else [accepted(client_id, symbol)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def submit(self, order):
        return await self._give("submit", order.client_id, order.symbol)

    async def cancel(self, symbol, client_id, time):
        return await self._give("cancel", client_id)

    async def query(self, symbol, client_id):
        return await self._give("query", client_id)

    def hooks(self):
        return SimpleNamespace(slt_submit_order=self.submit, slt_cancel_order=self.cancel, slt_query_order=self.query)


class Bench:
    """Lanes of a broker, what they delivered, and how long they slept."""

    def __init__(self, tasks):
        self.broker, self.told, self.slept, self.disk = Broker(), [], [], asyncio.Event()
        self.disk.set()
        self.lanes = Lanes(
            self.broker.hooks(), tasks, deliver=self.deliver, durable=self.durable, now=lambda: 7, sleep=self.sleep
        )

    async def deliver(self, event):
        self.told.append(event)

    async def durable(self, position):
        await self.disk.wait()

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def rest(self):
        assert await self.lanes.idle(5.0)
        return self.told


@pytest.fixture
async def bench():
    async with asyncio.TaskGroup() as tasks:
        made = Bench(tasks)
        yield made
        made.lanes.stop()


async def test_order_waits_for_the_disk_and_its_answer_is_an_event(bench):
    bench.disk.clear()
    bench.lanes.send(SubmitOrder(order()), 5)
    await asyncio.sleep(0.01)
    assert bench.broker.calls == []
    assert bench.lanes.busy == 1
    bench.disk.set()
    assert await bench.rest() == [accepted(order().client_id)]


async def test_disk_that_refuses_gives_entries_up_and_protects_all_the_same(bench, monkeypatch):
    monkeypatch.setattr("slt.run.lanes._DURABLE_TIMEOUT_S", 0.01)
    bench.disk.clear()
    bench.lanes.send(SubmitOrder(order(1)), 5)
    bench.lanes.send(SubmitOrder(order(2, OrderRole.STOP)), 5)
    told = await bench.rest()
    assert {(u.client_id[-1], u.status) for u in told} == {("1", OrderStatus.REJECTED), ("2", OrderStatus.ACCEPTED)}
    assert bench.broker.calls == [("submit", "t-001-000002")]


async def test_disk_that_refuses_is_told_until_it_takes_again_and_keeps_nothing_waiting_twice(bench, monkeypatch):
    monkeypatch.setattr("slt.run.lanes._DURABLE_TIMEOUT_S", 0.01)
    bench.disk.clear()
    bench.lanes.send(SubmitOrder(order(1, OrderRole.EXIT)), 5)
    await bench.rest()
    assert "neither to the journal nor to the database" in bench.lanes.problem
    monkeypatch.setattr("slt.run.lanes._DURABLE_TIMEOUT_S", 3600.0)
    bench.lanes.send(SubmitOrder(order(2, OrderRole.STOP)), 6)
    bench.lanes.send(SubmitOrder(order(3, symbol="BBBUSDT")), 6)
    told = {update.client_id[-1]: update.status for update in await bench.rest()}
    assert told == {"1": OrderStatus.ACCEPTED, "2": OrderStatus.ACCEPTED, "3": OrderStatus.REJECTED}
    bench.disk.set()
    async with asyncio.timeout(5):
        while bench.lanes.problem:  # noqa: ASYNC110 # nobody announces it
            await asyncio.sleep(0)


async def test_close_waits_for_no_stop_and_a_symbol_for_no_other(bench):
    stuck = order(1, OrderRole.STOP)
    bench.broker.gates[stuck.client_id] = gate = asyncio.Event()
    for one in (stuck, order(2, OrderRole.EXIT), order(3, OrderRole.STOP, "BBBUSDT"), order(4, OrderRole.STOP)):
        bench.lanes.send(SubmitOrder(one), 0)
    await asyncio.sleep(0.01)
    assert [client_id[-1] for _, client_id in bench.broker.calls] == ["1", "2", "3"]
    gate.set()
    assert len(await bench.rest()) == 4
    assert bench.broker.calls[-1] == ("submit", "t-001-000004")


async def test_cancel_and_question_come_after_the_order_that_they_are_about(bench):
    bench.broker.gates[order().client_id] = gate = asyncio.Event()
    bench.lanes.send(SubmitOrder(order()), 0)
    bench.lanes.send(CancelOrder(1, SYMBOL, order().client_id), 0)
    bench.lanes.send(QueryOrder(1, SYMBOL, order().client_id), 0)
    await asyncio.sleep(0.01)
    gate.set()
    await bench.rest()
    assert [kind for kind, _ in bench.broker.calls] == ["submit", "cancel", "query"]


async def test_question_that_waits_already_is_not_put_again_unless_something_comes_between(bench):
    one, other = order(), order(number=2)
    bench.broker.gates[one.client_id] = gate = asyncio.Event()
    bench.lanes.send(SubmitOrder(one), 0)
    for time in (1, 2, 3):
        bench.lanes.send(QueryOrder(time, SYMBOL, one.client_id), 0)
        bench.lanes.restore(other) if time == 1 else bench.lanes.send(QueryOrder(time, SYMBOL, other.client_id), 0)
    bench.lanes.send(CancelOrder(4, SYMBOL, one.client_id), 0)
    bench.lanes.send(QueryOrder(5, SYMBOL, one.client_id), 0)
    gate.set()
    await bench.rest()
    assert [call for call in bench.broker.calls if call[1] == one.client_id] == [
        ("submit", one.client_id),
        ("query", one.client_id),
        ("query", one.client_id),
        ("cancel", one.client_id),
        ("query", one.client_id),
    ]


@pytest.mark.parametrize("error", [BrokerError("503"), TimeoutError(), ConnectionResetError()])
async def test_unknown_outcome_is_asked_for_until_answered_and_never_sent_again(bench, error):
    client_id = order().client_id
    bench.broker.submits[client_id] = [error]
    bench.broker.queries[client_id] = [error] * 12
    bench.lanes.send(SubmitOrder(order()), 0)
    assert await bench.rest() == [accepted(client_id)]
    kinds = [kind for kind, _ in bench.broker.calls]
    assert (kinds.count("submit"), kinds.count("query")) == (1, 13)
    assert bench.slept == sorted(bench.slept)
    assert max(bench.slept) == 30.0


async def test_order_that_the_broker_never_saw_is_rejected_after_some_questions(bench):
    client_id = order().client_id
    bench.broker.submits[client_id] = [TimeoutError()]
    bench.broker.queries[client_id] = [[], [], []]
    bench.lanes.send(SubmitOrder(order()), 0)
    (update,) = await bench.rest()
    assert (update.status, update.reason) == (OrderStatus.REJECTED, "it never arrived")
    assert [kind for kind, _ in bench.broker.calls].count("query") == 3


async def test_restored_orders_are_asked_for_and_sent_only_where_they_protect(bench):
    entry, stop, known = order(1), order(2, OrderRole.STOP), order(3, OrderRole.TARGET)
    for one in (entry, stop):
        bench.broker.queries[one.client_id] = [[]]
    for one in (entry, stop, known):
        bench.lanes.restore(one)
    told = {update.client_id[-1]: update for update in await bench.rest()}
    assert told["1"].status is OrderStatus.REJECTED
    assert told["2"].status is told["3"].status is OrderStatus.ACCEPTED
    assert [call for call in bench.broker.calls if call[0] == "submit"] == [("submit", stop.client_id)]


async def test_question_about_an_order_that_nobody_knows_is_answered_as_rejected(bench):
    bench.broker.queries["x"] = [[], [], []]
    bench.lanes.send(QueryOrder(1, SYMBOL, "x"), 0)
    (update,) = await bench.rest()
    assert (update.client_id, update.status) == ("x", OrderStatus.REJECTED)


async def test_cancel_is_repeated_and_given_up_after_a_while(bench):
    bench.broker.cancels["x"] = [TimeoutError()] * 20
    bench.lanes.send(CancelOrder(1, SYMBOL, "x"), 0)
    assert await bench.rest() == []
    assert len(bench.broker.calls) == 8
