"""When a minute is cut, what goes out with it, and what becomes of every irregular bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slt.feed.waves import Waves
from slt.types import BarState, SymbolChange

SYMBOLS = ("AAA", "BBB", "CCC")
MINUTE = 60_000
START = 1_700_000_040_000
AT = [START + i * MINUTE for i in range(12)]
"""Close time of bar number i."""


@pytest.fixture
def waves():
    return Waves(SYMBOLS, MINUTE, 3_000)


def feed(waves, *timed):
    for time, kline in timed:
        waves.take(time, kline)
    return waves.drain()


def closes(words, minute, symbols=SYMBOLS, at=1_000):
    return [(AT[minute] + at, words.kline(s, minute)) for s in symbols]


def test_wave_all_symbols_in_is_cut_at_the_last_receipt(waves, words):
    timed = [(AT[1] + 500 + i * 100, words.kline(s, 1)) for i, s in enumerate(SYMBOLS)]
    (wave,) = feed(waves, *timed)
    assert wave.time == AT[1] + 700
    assert wave.bars.close_time.tolist() == [AT[1]]
    assert (wave.bars.state == BarState.TRADED).all()
    assert wave.bars.close[0].tolist() == [100.0] * 3
    assert wave.bars.volume[0].tolist() == [6.0] * 3


def test_wave_without_a_symbol_is_cut_at_its_deadline_with_a_gap(waves, words):
    assert feed(waves, *closes(words, 1, ("AAA", "BBB"))) == []
    waves.advance(AT[1] + 3_000)
    assert waves.drain() == []
    waves.advance(AT[1] + 3_001)
    (wave,) = waves.drain()
    assert wave.time == AT[1] + 3_000
    assert wave.bars.state.tolist() == [[1, 1, 0]]
    assert waves.counters["missing"] == 1
    assert waves.counters["waves_at_deadline"] == 1


def test_wave_deadline_is_found_by_the_next_frame_as_by_the_clock(words):
    by_clock, by_frame = (Waves(SYMBOLS, MINUTE, 3_000) for _ in range(2))
    feed(by_clock, *closes(words, 1, ("AAA",)))
    feed(by_frame, *closes(words, 1, ("AAA",)))
    by_clock.advance(AT[1] + 3_777)
    one = by_clock.drain() + feed(by_clock, (AT[1] + 9_000, words.kline("BBB", 1)))
    other = feed(by_frame, (AT[1] + 9_000, words.kline("BBB", 1)))
    assert [w.time for w in one] == [w.time for w in other] == [AT[1] + 3_000]
    assert one[0].bars.state.tobytes() == other[0].bars.state.tobytes()


def test_late_bar_joins_the_next_wave_as_an_earlier_row(waves, words):
    feed(waves, *closes(words, 1, ("AAA", "BBB")))
    late = words.kline("CCC", 1, close=105.0)
    waves_now = feed(waves, (AT[1] + 20_000, late), *closes(words, 2))
    assert [w.bars.close_time.tolist() for w in waves_now] == [[AT[1]], [AT[1], AT[2]]]
    assert waves_now[1].bars.state.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert waves_now[1].bars.close[0, 2] == 105.0
    assert waves.counters["late"] == 1


def test_bar_after_a_later_one_went_out_is_handed_on_and_not_given(waves, words, table):
    feed(waves, *closes(words, 1))
    out = feed(waves, *closes(words, 2, ("AAA", "BBB")))
    out += feed(waves, *closes(words, 3))
    stray = words.kline("CCC", 2)
    out += feed(waves, (AT[3] + 5_000, stray), *closes(words, 4))
    assert waves.counters["out_of_order"] == 1
    assert out[-1].restated == (stray,)
    assert ("CCC", AT[2]) not in table(out)


def test_missing_minute_with_adjacent_trade_ids_is_empty(waves, words):
    feed(waves, *closes(words, 1))
    feed(waves, *closes(words, 2, ("AAA", "BBB")))
    out = feed(waves, (AT[3] + 900, words.kline("CCC", 3, first=20, last=29)), *closes(words, 3, ("AAA", "BBB")))
    last = out[-1].bars
    assert last.close_time.tolist() == [AT[2], AT[3]]
    assert last.state[:, 2].tolist() == [BarState.EMPTY, BarState.TRADED]
    assert np.isnan(last.close[0, 2])
    assert last.volume[0, 2] == 0.0
    assert waves.counters["empty"] == 1


def test_missing_minute_with_trade_ids_apart_stays_a_gap(waves, words, table):
    feed(waves, *closes(words, 1))
    out = feed(waves, *closes(words, 2, ("AAA", "BBB")))
    out += feed(waves, (AT[3] + 900, words.kline("CCC", 3)), *closes(words, 3, ("AAA", "BBB")))
    assert ("CCC", AT[2]) not in table(out)
    assert waves.counters["empty"] == 0


def test_first_event_of_the_next_bar_proves_a_quiet_minute_before_the_deadline(waves, words):
    feed(waves, *closes(words, 1))
    assert feed(waves, *closes(words, 2, ("AAA", "BBB"))) == []
    (wave,) = feed(waves, (AT[2] + 2_200, words.kline("CCC", 3, closed=False, first=20, last=20)))
    assert wave.time == AT[2] + 2_200
    assert wave.bars.state.tolist() == [[1, 1, 2]]


def test_bar_that_says_it_had_no_trade_is_empty(waves, words):
    silent = words.kline("CCC", 1, first=-1, last=-1, volume=0.0, taker_buy_volume=0.0)
    (wave,) = feed(waves, *closes(words, 1, ("AAA", "BBB")), (AT[1] + 2_000, silent))
    assert wave.bars.state.tolist() == [[1, 1, 2]]


def test_never_closed_bar_is_recovered_where_the_next_goes_on_from_it(waves, words):
    feed(waves, *closes(words, 1))
    state = words.kline("CCC", 2, closed=False, close=103.0)
    out = feed(waves, *closes(words, 2, ("AAA", "BBB")), (AT[2] + 2_000, state))
    assert out == []
    (wave,) = feed(waves, (AT[2] + 2_001, words.kline("CCC", 3, closed=False, first=30, last=30)))
    assert wave.bars.state.tolist() == [[1, 1, 1]]
    assert wave.bars.close[0, 2] == 103.0
    assert waves.counters["recovered"] == 1


def test_never_closed_bar_that_lacks_trades_is_not_taken(waves, words, table):
    feed(waves, *closes(words, 1))
    state = words.kline("CCC", 2, closed=False, last=27)
    next_one = words.kline("CCC", 3, closed=False, first=30, last=30)
    out = feed(waves, *closes(words, 2, ("AAA", "BBB")), (AT[2] + 2_000, state), (AT[2] + 2_001, next_one))
    waves.advance(AT[2] + 10_000)
    out += waves.drain()
    assert ("CCC", AT[2]) not in table(out)
    assert waves.counters["recovered"] == 0


def test_duplicate_changes_nothing(waves, words, table):
    out = feed(waves, *(pair for pair in closes(words, 1) for _ in range(2)))
    out += feed(waves, *closes(words, 1, at=5_000))
    assert len(out) == 1
    assert len(table(out)) == 3
    assert waves.counters["duplicate"] == 6
    assert waves.counters["bars"] == 3


def test_restated_bar_before_the_cut_counts_by_its_later_event_time(words):
    old, new = words.kline("AAA", 1, close=101.0, delay=100), words.kline("AAA", 1, close=107.0, delay=400)
    for order in ((old, new), (new, old)):
        waves = Waves(SYMBOLS, MINUTE, 3_000)
        out = feed(waves, *((AT[1] + 900, k) for k in order), *closes(words, 1, ("BBB", "CCC")))
        assert out[0].bars.close[0, 0] == 107.0
        assert waves.counters["restated"] == 1


def test_restated_bar_after_the_cut_stands_and_is_handed_on(waves, words, table):
    out = feed(waves, *closes(words, 1))
    new = words.kline("AAA", 1, close=107.0, delay=2_000)
    out += feed(waves, (AT[1] + 2_500, new), *closes(words, 2))
    assert waves.counters["restated_late"] == 1
    assert out[1].restated == (new,)
    assert out[0].bars.close[0, 0] == 100.0
    assert len(table(out)) == 6


def test_bar_that_the_next_does_not_go_on_from_is_counted_once(waves, words):
    feed(waves, *closes(words, 1))
    for delay in (100, 200):
        feed(waves, (AT[1] + 2_000, words.kline("AAA", 2, closed=False, first=25, last=26, delay=delay)))
    feed(waves, (AT[2] + 200, words.kline("AAA", 2, first=25, last=29)))
    assert waves.counters["unconfirmed"] == 1


def test_bars_that_go_on_from_each_other_are_not_counted(waves, words):
    feed(waves, *closes(words, 1), *closes(words, 2), *closes(words, 3))
    assert waves.counters["unconfirmed"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"close": float("nan")},
        {"low": 0.0},
        {"high": 99.0},
        {"low": 100.5},
        {"volume": -1.0},
        {"volume": float("inf")},
        {"close_time": START + 1},
        {"interval_ms": 1},
        {"close_time": START + 600 * MINUTE},
    ],
)
def test_bar_that_cannot_be_true_is_dropped(waves, words, change):
    from attrs import evolve

    feed(waves, (AT[1] + 100, evolve(words.kline("AAA", 1), **change)))
    assert waves.counters["malformed"] == 1
    assert waves.counters["bars"] == 0


def test_unknown_symbol_is_counted_and_dropped(waves, words):
    feed(waves, (AT[1], words.kline("ZZZ", 1)))
    assert waves.counters["foreign"] == 1


def test_outage_gives_a_wave_for_every_minute(waves, words):
    feed(waves, *closes(words, 1))
    out = feed(waves, (AT[5] + 500, words.kline("AAA", 5)))
    assert [w.bars.close_time.tolist() for w in out] == [[AT[i]] for i in (2, 3, 4)]
    assert [w.time for w in out] == [AT[i] + 3_000 for i in (2, 3, 4)]
    assert not any(w.bars.state.any() for w in out)


def test_symbol_that_is_not_traded_is_not_waited_for(waves, words):
    feed(waves, *closes(words, 1))
    feed(waves, *closes(words, 2, ("AAA", "BBB")))
    waves.change(AT[2] + 1_500, SymbolChange(AT[2], "CCC", "SETTLING", is_tradable=False))
    (wave,) = waves.drain()
    assert wave.time == AT[2] + 1_500
    (wave,) = feed(waves, *closes(words, 3, ("AAA", "BBB")))
    assert wave.time == AT[3] + 1_000
    assert waves.counters["missing"] == 0


def test_symbol_that_stays_away_is_waited_for_three_times(waves, words):
    feed(waves, *closes(words, 1))
    times = []
    for minute in range(2, 7):
        times += [w.time - w.bars.close_time[-1] for w in feed(waves, *closes(words, minute, ("AAA", "BBB")))]
    assert times == [3_000, 3_000, 3_000, 1_000, 1_000]
    out = feed(waves, (AT[6] + 2_000, words.kline("CCC", 6)), *closes(words, 7, ("AAA", "BBB")))
    assert out == [], "a symbol that spoke is waited for again"


def test_first_wave_is_one_whose_deadline_has_not_passed(waves, words):
    out = feed(waves, (AT[4] + 10, words.kline("AAA", 1)))
    assert out == []
    (wave,) = feed(waves, *closes(words, 4))
    assert wave.bars.close_time.tolist() == [AT[1], AT[4]]


def test_flush_cuts_what_is_left(waves, words, table):
    out = feed(waves, *closes(words, 1), *closes(words, 2, ("AAA",)))
    waves.flush(AT[2] + 1_100)
    out += waves.drain()
    assert set(table(out)) == {(s, AT[1]) for s in SYMBOLS} | {("AAA", AT[2])}


@st.composite
def arrivals(draw):
    """Three minutes of three symbols: bars, unclosed states, duplicates; some minutes without trades or never closed.

    Each comes within its minute's deadline, in any order.
    """
    updates = []
    for symbol in SYMBOLS:
        next_id = 10
        for minute in (1, 2, 3):
            kind = draw(st.sampled_from(["closed", "closed", "doubled", "empty", "unclosed"]))
            if kind == "empty" and minute > 1:
                continue
            trades = draw(st.integers(1, 5))
            bar = {"first": next_id, "last": next_id + trades - 1, "close": draw(st.sampled_from([99.0, 100.0, 104.0]))}
            next_id += trades
            updates.append((symbol, minute, bar, kind))
    plan = []
    for symbol, minute, bar, kind in updates:
        plan.append((minute, symbol, bar, False))
        if kind != "unclosed":
            plan += [(minute, symbol, bar, True)] * (2 if kind == "doubled" else 1)
    return plan


@given(plan=arrivals(), data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_within_the_deadline_gives_the_same_bars(plan, data, words, table):
    def bars(order):
        waves = Waves(SYMBOLS, MINUTE, 3_000)
        for minute in (1, 2, 3):
            batch = [p for p in order if p[0] == minute]
            for offset, (_, symbol, bar, closed) in enumerate(batch):
                waves.take(AT[minute] + 1_000 + offset, words.kline(symbol, minute, closed=closed, **bar))
            waves.advance(AT[minute] + 3_001)
        for symbol in SYMBOLS:
            last = max(bar["last"] for _, s, bar, _ in plan if s == symbol)
            waves.take(AT[4] - 30_000, words.kline(symbol, 4, closed=False, first=last + 1, last=last + 1))
        waves.advance(AT[4] + 3_001)
        return table(waves.drain())

    assert bars(data.draw(st.permutations(plan))) == bars(plan)


@given(plan=arrivals())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_update_twice_gives_the_same_waves(plan, words):
    def run(times):
        waves = Waves(SYMBOLS, MINUTE, 3_000)
        for offset, (minute, symbol, bar, closed) in enumerate(sorted(plan, key=lambda p: p[0])):
            for _ in range(times):
                waves.take(AT[minute] + 1_000 + offset, words.kline(symbol, minute, closed=closed, **bar))
        waves.flush(AT[5])
        return [(w.bars.close_time.tobytes(), w.bars.state.tobytes(), w.bars.close.tobytes()) for w in waves.drain()]

    assert run(2) == run(1)
