"""What waits, what is replaced, and what is never lost."""

from __future__ import annotations

import asyncio

import pytest

from slt.feed.intake import Intake, StreamState
from slt.feed.outlet import Outlet
from slt.feed.queues import QUEUES, TICK, FrameQueue, Waiting, make_queues
from slt.types import PricePoint, SymbolChange


def drained(queue):
    return [(item.order, item.frame) for item in iter(lambda: queue.get_nowait() if queue.qsize() else None, None)]


def test_make_queues_share_all_slots():
    assert [q.maxsize for q in make_queues(10_000)] == [3334, 3333, 3333]
    assert len(make_queues(30)) == QUEUES == 3


async def test_queue_unclosed_update_replaces_the_one_of_its_stream():
    queue = FrameQueue(10)
    for stream, frame in (("a", b"a1"), ("b", b"b1"), ("a", b"a2"), ("a", b"a3")):
        assert queue.offer(stream, 1, frame)
    assert drained(queue) == [(TICK, b"a3"), (TICK, b"b1")]
    assert queue.replaced == 2


async def test_queue_update_stays_behind_what_counts_of_its_stream():
    queue = FrameQueue(10)
    queue.offer("a", 1, b"a1")
    queue.put_nowait(Waiting(0, 2, b"closed", "a"))
    queue.offer("a", 3, b"a2")
    assert drained(queue) == [(TICK, b"a1"), (0, b"closed"), (TICK, b"a2")]


async def test_queue_full_refuses_updates_but_replaces_those_inside():
    queue = FrameQueue(2)
    queue.offer("a", 1, b"a1")
    queue.put_nowait(Waiting(0, 1, b"closed", "b"))
    assert not queue.offer("b", 2, b"b1")
    assert queue.offer("a", 2, b"a2")
    assert drained(queue) == [(TICK, b"a2"), (0, b"closed")]


async def test_queue_full_makes_the_reader_wait():
    queue = FrameQueue(1)
    queue.put_nowait(Waiting(0, 1, b"x", "a"))
    waiting = asyncio.create_task(queue.put(Waiting(1, 1, b"y", "a")))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert queue.get_nowait().order == 0
    await waiting
    assert queue.get_nowait().order == 1


@pytest.mark.parametrize(
    ("frames", "counted"),
    [
        ([(b"u1", b"1", False), (b"u2", b"1", False), (b"c", b"1", True)], [b"u1", b"c"]),
        ([(b"c", b"1", True), (b"u", b"2", False), (b"v", b"2", False)], [b"c", b"u"]),
        ([(b"u1", b"1", False), (b"u2", b"1", False), (b"v", b"2", False)], [b"u1", b"u2", b"v"]),
        ([(b"u1", b"1", False), (b"v", b"2", False)], [b"u1", b"u1", b"v"]),
        ([(b"c", b"1", True), (b"c", b"1", True), (b"u", b"1", False), (b"v", b"2", False)], [b"c", b"c", b"v"]),
        ([(b"u1", b"1", False), (b"c2", b"2", True)], [b"u1", b"u1", b"c2"]),
        ([(b"news", b"", True), (b"more", b"", False)], [b"news", b"more"]),
    ],
    ids=["usual", "first of a bar", "never closed", "never closed, one frame", "straggler", "close lost", "no bar"],
)
def test_intake_keeps_what_counts(frames, counted):
    state = StreamState("a", "A", 0)
    assert [kept for frame in frames for kept in state.sort(*frame)] == counted


def test_intake_drops_what_nobody_planned():
    intake = Intake(lambda frame: (frame.decode(), b"", True), [("a", "A")])
    assert intake.sort(b"a") == (b"a",)
    assert intake.sort(b"z") == ()


async def test_outlet_price_is_replaced_until_something_else_follows():
    outlet = Outlet()
    change = SymbolChange(1, "A", "TRADING", is_tradable=True)
    for price in (1.0, 2.0):
        outlet.price(PricePoint(1, "A", price))
    outlet.put(change)
    outlet.price(PricePoint(2, "A", 3.0))
    outlet.price(PricePoint(2, "B", 4.0))
    found = []
    async for item in outlet.read():
        found.append(item if item is change else (item.symbol, item.price))
        if len(found) == 4:
            break
    assert found == [("A", 2.0), change, ("A", 3.0), ("B", 4.0)]


async def test_outlet_holds_writers_back_until_it_is_read():
    outlet = Outlet()
    for _ in range(6):
        outlet.put(SymbolChange(1, "A", "TRADING", is_tradable=True))
    waiting = asyncio.create_task(outlet.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    reading = outlet.read()
    for _ in range(2):
        await anext(reading)
    await asyncio.wait_for(waiting, 1)
    await reading.aclose()
