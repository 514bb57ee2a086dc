"""The barrier against a slow, obviously right walk over the bars, and its independence of how the rows are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.trading.barriers import Barriers
from slt.types import Bars, FundingRates, Sample

MINUTE = 60_000
START = 1_700_006_400_000


def make_bars(seed, rows, missing=0.0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, rows)))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.0005, rows))
    high = np.maximum(opened, close) * (1 + rng.exponential(0.001, rows))
    low = np.minimum(opened, close) * (1 - rng.exponential(0.001, rows))
    state = (rng.random(rows) >= missing).astype(np.uint8)
    columns = [np.where(state == 1, x, np.nan)[:, None] for x in (opened, high, low, close)]
    times = START + MINUTE * np.arange(1, rows + 1, dtype=np.int64)
    return Bars(("AAAUSDT",), MINUTE, times, *columns, np.ones((rows, 1)), np.ones((rows, 1)), state[:, None])


def make_sample(name, row, side, stop=0.01, target=0.015):
    return Sample(
        id=name,
        run_id="t",
        strategy="s",
        schema_hash="h",
        source="shadow",
        time=START + MINUTE * (row + 1),
        symbol="AAAUSDT",
        side=side,
        features=b"",
        entry_price=100.0,
        stop=100 * (1 - side * stop),
        target=100 * (1 + side * target),
        cost_rate=0.0014,
        model_version=0,
        confidence=0.5,
        p_win=None,
    )


def slow_outcome(bars, sample, horizon=120, floor=0.003):
    rows = [r for r in range(len(bars)) if bars.close_time[r] > sample.time and bars.state[r, 0] == 1]
    if not rows:
        return None
    side, entry = sample.side, bars.open[rows[0], 0]
    stop = min(sample.stop, entry * (1 - floor)) if side > 0 else max(sample.stop, entry * (1 + floor))
    deadline = bars.close_time[rows[0]] - MINUTE + horizon * MINUTE
    risk = abs(entry - stop) / entry
    for r in rows:
        opened, high, low, close = (x[r, 0] for x in (bars.open, bars.high, bars.low, bars.close))
        if bars.close_time[r] - MINUTE >= deadline:
            code, price = "time", opened
        elif (low <= stop) if side > 0 else (high >= stop):
            code, price = "stop", min(opened, stop) if side > 0 else max(opened, stop)
        elif (high >= sample.target) if side > 0 else (low <= sample.target):
            code, price = "target", max(opened, sample.target) if side > 0 else min(opened, sample.target)
        elif bars.close_time[r] >= deadline:
            code, price = "time", close
        else:
            continue
        return code, (side * (price - entry) / entry - sample.cost_rate) / risk, int(bars.close_time[r])
    return None


@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0, 250), st.sampled_from([1, -1])), min_size=1, max_size=12),
    st.lists(st.integers(1, 299), max_size=6),
    st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=80, deadline=None)
def test_outcome_equals_the_slow_walk_for_any_cut(seed, decisions, cuts, missing):
    bars = make_bars(seed, 300, missing)
    barriers = Barriers(("AAAUSDT",), 120, 0.003, {})
    samples = [make_sample(f"{i:03d}", row, side) for i, (row, side) in enumerate(decisions)]
    found = {}
    edges = [0, *sorted(set(cuts)), 300]
    for start, stop in itertools.pairwise(edges):
        for sample in samples:
            if start <= (sample.time - START) // MINUTE - 1 < stop:
                barriers.follow(sample)
        for resolved in barriers.advance(bars, start, stop):
            found[resolved.id] = (resolved.barrier, resolved.barrier_r, resolved.resolved_time)
    for sample in samples:
        expected = slow_outcome(bars, sample)
        if expected is None:
            assert sample.id not in found
        else:
            code, outcome, time = expected
            assert found[sample.id] == (code, pytest.approx(outcome, abs=1e-12), time)
    assert len(barriers) == len(samples) - len(found)


def test_stop_is_looked_at_before_the_target_within_a_bar():
    bars = make_bars(1, 3)
    bars.high[1], bars.low[1] = 120.0, 80.0
    barriers = Barriers(("AAAUSDT",), 120, 0.003, {})
    barriers.follow(make_sample("a", 0, 1))
    (resolved,) = barriers.advance(bars, 0, 3)
    assert resolved.barrier == "stop"
    assert resolved.barrier_r < -1


def test_funding_between_entry_and_outcome_is_a_cost_of_the_side_that_pays():
    bars = make_bars(2, 200)
    funding = {"AAAUSDT": FundingRates(np.array([START + 2 * MINUTE + 1]), np.array([0.001]))}
    outcomes = {}
    for side in (1, -1):
        for rates in ({}, funding):
            barriers = Barriers(("AAAUSDT",), 120, 0.003, rates)
            barriers.follow(make_sample("a", 0, side, stop=0.5, target=0.9))
            (resolved,) = barriers.advance(bars, 0, 200)
            outcomes[side, bool(rates)] = resolved.barrier_r
    assert outcomes[1, True] - outcomes[1, False] == pytest.approx(-0.001 / 0.5, rel=0.1)
    assert outcomes[-1, True] - outcomes[-1, False] == pytest.approx(0.001 / 0.5, rel=0.1)


@pytest.mark.parametrize(("high", "barrier", "paid"), [(100.0, "time", 0.001), (102.0, "target", 0.0)])
def test_funding_at_the_close_of_the_last_bar_is_paid_only_by_what_was_held_through_it(high, barrier, paid):
    prices = np.full((3, 1), 100.0)
    top = np.array([[100.0], [100.0], [high]])
    times = START + MINUTE * np.arange(1, 4, dtype=np.int64)
    ones = np.ones((3, 1))
    bars = Bars(("AAAUSDT",), MINUTE, times, prices, top, prices, prices, ones, ones, ones.astype(np.uint8))
    funding = {"AAAUSDT": FundingRates(np.array([START + 3 * MINUTE]), np.array([0.001]))}
    outcomes = []
    for rates in ({}, funding):
        barriers = Barriers(("AAAUSDT",), 2, 0.003, rates)
        barriers.follow(make_sample("a", 0, 1))
        (resolved,) = barriers.advance(bars, 0, 3)
        assert resolved.barrier == barrier
        outcomes.append(resolved.barrier_r)
    assert outcomes[0] - outcomes[1] == pytest.approx(paid / 0.01)


def test_snapshot_goes_on_where_it_was():
    import pickle

    bars = make_bars(3, 300)
    samples = [make_sample(f"{i:03d}", i * 7, 1 if i % 2 else -1) for i in range(12)]

    def play(cut):
        barriers = Barriers(("AAAUSDT",), 120, 0.003, {})
        for sample in samples:
            barriers.follow(sample)
        found = barriers.advance(bars, 0, 100)
        if cut:
            state = pickle.loads(pickle.dumps(barriers.snapshot()))
            barriers = Barriers(("AAAUSDT",), 120, 0.003, {})
            barriers.restore(state)
        return found + barriers.advance(bars, 100, 300)

    assert play(cut=True) == play(cut=False)
