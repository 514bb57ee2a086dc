from __future__ import annotations

import pickle

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from slt.trading.samples import SampleStore
from slt.types import Sample

WIDTH = 3
KNOWN = Sample(
    id="r-000001",
    run_id="r",
    strategy="s",
    schema_hash="h",
    source="trade",
    time=1_000,
    symbol="AAAUSDT",
    side=1,
    features=np.array([0.25, np.nan, -1.0], dtype="<f4").tobytes(),
    entry_price=1.0,
    stop=0.9,
    target=1.1,
    cost_rate=0.001,
    model_version=4,
    confidence=0.5,
    p_win=0.75,
    barrier="stop",
    barrier_r=-1.0,
    resolved_time=2_000,
    traded_r=-0.5,
)

samples = st.builds(
    evolve,
    st.just(KNOWN),
    time=st.integers(0, 50),
    resolved_time=st.integers(0, 100),
    barrier_r=st.floats(-5, 5),
    traded_r=st.none() | st.floats(-5, 5),
    p_win=st.none() | st.floats(0, 1),
    model_version=st.integers(0, 3),
    features=st.tuples(*[st.floats(width=32)] * WIDTH).map(lambda x: np.array(x, dtype="<f4").tobytes()),
)


def read_row(sample_id, row):
    def number(name):
        return None if np.isnan(row[name]) else float(row[name])

    return (
        sample_id,
        int(row["time"]),
        int(row["resolved_time"]),
        float(row["barrier_r"]),
        number("traded_r"),
        number("p_win"),
        int(row["model_version"]),
        row["x"].astype("<f4").tobytes(),
    )


def told(sample):
    return (
        sample.id,
        sample.time,
        sample.resolved_time,
        sample.barrier_r,
        sample.traded_r,
        sample.p_win,
        sample.model_version,
        sample.features,
    )


@given(
    added=st.lists(st.tuples(samples, st.booleans()), max_size=60),
    limit=st.integers(1, 12),
    since=st.integers(0, 50),
    until=st.integers(0, 100),
)
def test_store_gives_what_a_list_of_the_last_samples_gives_through_any_snapshots(added, limit, since, until):
    store, kept = SampleStore(WIDTH, limit), []
    for number, (drawn, is_saved) in enumerate(added):
        sample = evolve(drawn, id=f"r-{number:06d}")
        store.add(sample)
        kept.append(sample)
        if is_saved:
            store = pickle.loads(pickle.dumps(store))
    kept = kept[-limit:]
    ids, rows = store.select(since, until)
    wanted = [told(s) for s in kept if s.time >= since and s.resolved_time <= until]
    assert [read_row(sample_id, row) for sample_id, row in zip(ids, rows, strict=True)] == wanted
    assert len(store) == len(kept)


def test_store_at_its_limit_takes_no_more_memory():
    store = SampleStore(WIDTH, 1_000)
    sizes = set()
    for number in range(10_000):
        store.add(evolve(KNOWN, id=f"r-{number:06d}"))
        if number >= 2_000:
            sizes.add(store._rows.nbytes)
        assert len(store._ids) <= 1_250
    assert len(sizes) == 1
    assert len(pickle.dumps(store)) < 1_250 * 100


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resolved_time": None}, "not resolved"),
        ({"barrier_r": None}, "not resolved"),
        ({"features": b"\0" * 8}, "another schema"),
    ],
)
def test_sample_that_cannot_be_fitted_on_is_refused(change, word):
    store = SampleStore(WIDTH, 10)
    with pytest.raises(ValueError, match=word):
        store.add(evolve(KNOWN, **change))
    assert len(store) == 0
