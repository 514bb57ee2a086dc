"""Warm-up and gaps as a run tells them: which symbols' features are ready, which wait, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.run.warmth import Warmth
from slt.types import Bars, BarState

MINUTE = 60_000
START = 1_704_067_200_000
SYMBOLS = ("AAAUSDT", "BBBUSDT")
TRADED, ABSENT = int(BarState.TRADED), int(BarState.ABSENT)
STATES = st.sampled_from([TRADED, ABSENT])


def made(**more):
    return Warmth(SYMBOLS, MINUTE, 100, **({"is_needed": True} | more))


def bars_of(first, states):
    """Bars from the minute `first` on; a row of `states` has one state for each symbol."""
    times = START + MINUTE * np.arange(first + 1, first + 1 + len(states), dtype=np.int64)
    bars = Bars.absent(SYMBOLS, MINUTE, times)
    bars.state[:] = np.array(states, np.uint8).reshape(len(states), 2)
    return bars


def all_traded(first, rows):
    return bars_of(first, [[TRADED, TRADED]] * rows)


def flags(rows, one, other):
    return np.tile(np.array([one, other]), (rows, 1))


def test_reason_before_any_bar_says_that_none_has_come():
    warmth = made()
    assert warmth.reason == "the features warm up: no bar has come yet, they need 100"
    assert warmth.waiting() == dict.fromkeys(SYMBOLS, "no bar has come yet")
    assert warmth.health() == (50.0, warmth.reason)


def test_reason_while_warming_up_counts_bars():
    warmth = made()
    warmth.note(all_traded(0, 12), flags(12, one=False, other=False))
    assert warmth.reason == "the features warm up: 12 bars without a gap so far, they need 100"
    assert warmth.count == 0


def test_first_symbol_that_is_ready_ends_the_warm_up_and_the_other_waits():
    warmth = made()
    warmth.note(all_traded(0, 12), flags(12, one=True, other=False))
    assert (warmth.reason, warmth.count, warmth.symbols) == ("", 1, 2)
    told = "its features are not ready: its bars have no gap since 2024-01-01 00:00 UTC"
    assert warmth.waiting() == {"BBBUSDT": told}
    assert warmth.health() == (75.0, f"ready for 1 of 2 symbols; BBBUSDT: {told}")


def test_gap_makes_symbols_wait_but_is_no_warm_up():
    warmth = made()
    warmth.note(all_traded(0, 12), flags(12, one=True, other=True))
    assert warmth.health() == (100.0, "ready for every symbol (2)")
    warmth.note(all_traded(13, 2), flags(2, one=False, other=False))
    assert warmth.reason == ""
    assert set(warmth.waiting()) == set(SYMBOLS)
    assert "no gap since 2024-01-01 00:13 UTC" in warmth.waiting()["AAAUSDT"]


def test_absent_bar_leaves_what_was_known():
    warmth = made()
    warmth.note(all_traded(0, 3), flags(3, one=True, other=True))
    warmth.note(bars_of(3, [[TRADED, ABSENT]]), flags(1, one=True, other=False))
    assert warmth.count == 2
    warmth.note(bars_of(4, [[TRADED, TRADED]]), flags(1, one=True, other=False))
    assert list(warmth.waiting()) == ["BBBUSDT"]
    assert "no gap since 2024-01-01 00:04 UTC" in warmth.waiting()["BBBUSDT"]


@given(
    st.lists(
        st.tuples(st.sampled_from([TRADED, ABSENT]), st.sampled_from([TRADED, ABSENT]), st.booleans()), min_size=1
    ),
    st.integers(0, 40),
)
def test_any_cut_of_the_bars_comes_to_the_same(rows, cut):
    states, ready = [row[:2] for row in rows], np.array([[row[2], not row[2]] for row in rows])
    bars = bars_of(0, states)
    whole, parts = made(), made()
    whole.note(bars, ready)
    parts.note(bars.rows(0, min(cut, len(bars))), ready[:cut])
    parts.note(bars.rows(min(cut, len(bars)), len(bars)), ready[cut:])
    assert parts.waiting() == whole.waiting()
    assert parts.count == whole.count


def test_snapshot_brings_everything_back():
    warmth, other = made(), made()
    warmth.note(all_traded(0, 12), flags(12, one=True, other=False))
    other.restore(warmth.snapshot())
    assert (other.waiting(), other.reason) == (warmth.waiting(), "")
    other.note(all_traded(12, 1), flags(1, one=True, other=True))
    assert other.count == 2
    assert warmth.count == 1


def test_symbols_that_begin_anew_wait_again_and_new_ones_come_last():
    warmth = made()
    warmth.note(all_traded(0, 12), flags(12, one=True, other=True))
    warmth.begin_anew(("BBBUSDT", "CCCUSDT"))
    assert warmth.waiting() == dict.fromkeys(("BBBUSDT", "CCCUSDT"), "no bar has come yet")
    assert (warmth.count, warmth.symbols, warmth.reason) == (1, 3, "")


@pytest.mark.parametrize("rows", [0, 5])
def test_without_feature_sets_nothing_waits(rows):
    warmth = made(is_needed=False)
    warmth.note(all_traded(0, rows), flags(rows, one=False, other=False))
    assert (warmth.reason, warmth.waiting(), warmth.count) == ("", {}, 2)
    assert warmth.health() == (100.0, "none chosen")
