"""Symbols that come and go, as the engine sees them."""

from __future__ import annotations

import pytest

from slt.events import CancelOrder, SymbolsJoined, Tick
from slt.rules import generic_rules
from slt.types import OrderRole, SymbolChange

AAA, NEW = "AAAUSDT", "NEWUSDT"
HOUR = 3_600_000


def announced(time, delivery, *, is_tradable=True, status="TRADING"):
    return SymbolChange(time, AAA, status, is_tradable, delivery)


def closes(look, commands):
    return [o.reason for o in look.orders(commands) if o.role is OrderRole.EXIT]


@pytest.mark.parametrize("left", [HOUR, HOUR - 1, 0])
def test_position_is_closed_an_hour_before_the_delivery(bench, look, left):
    desk = bench()
    desk.enter()
    delivery = look.start + 10 * HOUR
    commands = desk.give(announced(look.start, delivery))
    assert closes(look, commands) == []
    assert "to be delivered at" in look.notices(commands)[0].title
    assert closes(look, desk.give(Tick(delivery - HOUR - 1, is_gap=False))) == []
    assert closes(look, desk.give(Tick(delivery - left, is_gap=False))) == ["delivery"]
    assert closes(look, desk.give(Tick(delivery - left + 1, is_gap=False))) == [], "once"


def test_position_is_closed_at_once_where_less_than_an_hour_is_left(bench, look):
    desk = bench()
    desk.enter()
    assert closes(look, desk.give(announced(look.start, look.start + HOUR // 2))) == ["delivery"]


def test_position_in_a_symbol_being_settled_is_closed_at_once(bench, look):
    desk = bench()
    desk.enter()
    commands = desk.give(announced(look.start, look.start + 5 * HOUR, is_tradable=False, status="SETTLING"))
    assert closes(look, commands) == ["delivery"]
    assert desk.give(announced(look.start, look.start + 5 * HOUR, is_tradable=False, status="SETTLING")) == []


def test_delivery_that_is_taken_back_lets_the_symbol_be_entered_again(bench, look):
    desk = bench()
    desk.give(announced(look.start, look.start + 5 * HOUR))
    desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "rules"
    desk.give(announced(look.start, 0))
    desk.close(desk.block(start=look.start + 5 * look.minute, proposals=[(0, 0, 1, 98.0, 103.0)]))
    assert desk.decisions()[-1].outcome == "entered"


def test_entry_under_way_is_withdrawn_when_its_symbol_stops_trading(bench, look):
    desk = bench()
    (order,) = look.orders(desk.close(desk.block(proposals=[(0, 0, 1, 98.0, 103.0)])))
    commands = desk.give(SymbolChange(look.start, AAA, "BREAK", is_tradable=False))
    assert [c.client_id for c in commands if isinstance(c, CancelOrder)] == [order.client_id]


def test_symbols_that_join_are_the_last_columns_and_survive_a_snapshot(bench, look):
    desk = bench()
    before = desk.engine.symbols
    desk.give(SymbolsJoined(look.start, (NEW, before[0]), {NEW: generic_rules(NEW, 100.0)}))
    assert desk.engine.symbols == (*before, NEW)
    other = bench()
    other.engine.restore(desk.engine.snapshot())
    assert other.engine.symbols == (*before, NEW)
