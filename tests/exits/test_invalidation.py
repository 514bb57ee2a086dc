from __future__ import annotations

import math

import pytest

from slt.testing.markets import make_outlook, make_point, make_position
from slt.types import ExitOrder
from slt_exits.invalidation import Invalidation, InvalidationConfig

SIDES = pytest.mark.parametrize("side", [1, -1])
NAN = float("nan")


def ask(position, price, outlook, **options):
    plugin = Invalidation(InvalidationConfig(**options))
    return plugin.slt_check_exit(position=position, point=make_point(price), outlook=outlook)


def wide(side, **changes):
    return make_position(side, risk=5.0, **changes)


@SIDES
def test_invalidation_more_than_2_percent_against_the_entry_closes(side):
    level = 100.0 * (1 - side * 0.02)
    doubt = make_outlook(confidence=0.69)
    assert ask(wide(side), level, doubt) is None
    assert ask(wide(side), math.nextafter(level, -side * math.inf), doubt) == ExitOrder(1.0, level)


@SIDES
@pytest.mark.parametrize(("confidence", "fires"), [(0.699, True), (0.70, False), (NAN, False)])
def test_invalidation_by_price_needs_confidence_below_70_percent(side, confidence, fires):
    assert (ask(wide(side), 100.0 - side * 3, make_outlook(confidence)) is not None) is fires


@SIDES
def test_invalidation_by_price_in_favour_does_nothing(side):
    assert ask(wide(side), 100.0 + side * 3, make_outlook(0.1)) is None


@SIDES
@pytest.mark.parametrize(
    ("at_entry", "now", "fires"),
    [(1, -1, True), (0, -1, True), (1, 0, False), (1, 1, False), (-1, -1, False), (NAN, -1, False), (1, NAN, False)],
)
def test_invalidation_by_a_flip_of_the_trend_closes(side, at_entry, now, fires):
    position = make_position(side, entry_outlook=make_outlook(trends={"15m": at_entry}))
    answer = ask(position, position.price_at_gain(0.3), make_outlook(0.75, trends={"15m": now}))
    assert answer == (ExitOrder(1.0, None) if fires else None)


@SIDES
@pytest.mark.parametrize(("confidence", "fires"), [(0.799, True), (0.80, False), (NAN, False)])
def test_invalidation_by_a_flip_needs_confidence_below_80_percent(side, confidence, fires):
    position = make_position(side, entry_outlook=make_outlook())
    outlook = make_outlook(confidence, trends={"15m": -1.0})
    assert (ask(position, 100.0, outlook) is not None) is fires


@SIDES
def test_invalidation_by_a_flip_reads_the_timeframe_chosen(side):
    position = make_position(side, entry_outlook=make_outlook())
    outlook = make_outlook(0.5, trends={"15m": -1.0, "1h": 1.0})
    assert ask(position, 100.0, outlook, trend_timeframe="1h") is None
    assert ask(position, 100.0, outlook, trend_timeframe="15m") is not None


@SIDES
def test_invalidation_without_trends_or_outlooks_does_nothing(side):
    flipped = make_outlook(0.5, trends={"15m": -1.0})
    assert ask(make_position(side), 100.0, flipped) is None
    assert ask(make_position(side, entry_outlook=make_outlook(trends={})), 100.0, flipped) is None
    assert ask(make_position(side, entry_outlook=make_outlook()), 100.0, make_outlook(0.5, trends={})) is None
    assert ask(wide(side, entry_outlook=make_outlook()), 100.0 - side * 4, None) is None


@pytest.mark.parametrize(
    "options",
    [{"adverse_move": 0}, {"adverse_confidence": 2}, {"flip_confidence": -1}, {"trend_timeframe": "4h"}],
)
def test_invalidation_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        InvalidationConfig(**options)
