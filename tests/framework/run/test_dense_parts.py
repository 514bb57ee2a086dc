"""Symbols that join or begin anew: parts give what one whole would have given."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from slt.config import read_config
from slt.loader import build_plugins
from slt.run.dense import Dense
from slt.types import VIEW_NAMES, Bars

CONFIG = """
[run]
mode = "backtest"
[plugins]
feed = "synthetic"
features = ["ict"]
strategies = ["ict_smc", "ema_cross"]
sizer = "fixed_risk"
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 2
"""
NAMES = ("side", "stop", "target", *VIEW_NAMES)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "config.toml"
    path.write_text(CONFIG)
    settings = read_config(path, {})
    plugins = build_plugins(settings)
    market = plugins.feed.hooks.slt_describe_market()
    return settings, market, Bars.concatenate(list(plugins.feed.hooks.slt_read_bars(start=market.start, rows=720)))


def dense_of(settings, symbols, interval):
    dense = Dense(build_plugins(settings), symbols, interval)
    dense.start()
    return dense


def assert_same(one, other, first=0):
    for name in ("values", "context", "fresh", "ready"):
        np.testing.assert_array_equal(getattr(one.features, name)[first:], getattr(other.features, name))
    for mine, theirs in zip(one.views, other.views, strict=True):
        for name in NAMES:
            np.testing.assert_array_equal(getattr(mine.signals, name)[first:], getattr(theirs.signals, name))
        words = [[block.reasons[code] if code >= 0 else "" for code in block.reason.ravel()]
                 for block in (mine.signals.rows(first, len(one.bars)), theirs.signals)]  # fmt: skip
        assert words[0] == words[1]


def test_symbol_that_joins_with_its_past_has_what_one_there_from_the_start_has(known):
    settings, market, bars = known
    whole = dense_of(settings, bars.symbols, market.interval_ms).compute(bars)
    dense = dense_of(settings, bars.symbols[:2], market.interval_ms)
    at = 1_440
    dense.compute(bars.rows(0, at).columns([0, 1]))
    dense.put_in(dense.make_part(bars.symbols[2:], [bars.rows(0, at).columns([2])]))
    assert dense.symbols == bars.symbols
    assert_same(whole, dense.compute(bars.rows(at, len(bars))), at)


def test_symbol_that_begins_anew_out_of_a_corrected_past_is_as_if_it_had_never_been_wrong(known):
    settings, market, bars = known
    whole = dense_of(settings, bars.symbols, market.interval_ms).compute(bars)
    at, wrong = 1_440, bars.rows(0, 1_440).columns([0, 1, 2])
    wrong.close[1_400, 1] *= 1.01
    wrong.high[1_400, 1] *= 1.02
    dense = dense_of(settings, bars.symbols, market.interval_ms)
    dense.compute(wrong)
    dense.put_in(dense.make_part((bars.symbols[1],), ()))
    dense.put_in(dense.make_part((bars.symbols[1],), [bars.rows(0, at).columns([1])]))
    assert len(dense._parts) == 2, "a part whose symbols all have another is dropped"
    assert_same(whole, dense.compute(bars.rows(at, len(bars))), at)


def test_symbol_without_a_past_proposes_nothing_and_leaves_the_others_alone(known):
    settings, market, bars = known
    dense = dense_of(settings, bars.symbols, market.interval_ms)
    whole = dense_of(settings, bars.symbols, market.interval_ms).compute(bars)
    at = 1_440
    dense.compute(bars.rows(0, at))
    dense.put_in(dense.make_part((bars.symbols[0],), ()))
    found = dense.compute(bars.rows(at, at + 5))
    assert np.isnan(found.features.values[:, 0]).all()
    assert not found.features.ready[:, 0].any()
    np.testing.assert_array_equal(found.features.values[:, 1:], whole.features.values[at : at + 5, 1:])


def test_snapshot_of_parts_comes_back_in_a_fresh_process(known):
    settings, market, bars = known
    dense = dense_of(settings, bars.symbols[:2], market.interval_ms)
    at = 1_440
    dense.compute(bars.rows(0, at).columns([0, 1]))
    dense.put_in(dense.make_part(bars.symbols[2:], [bars.rows(0, at).columns([2])]))
    state = pickle.loads(pickle.dumps(dense.snapshot()))
    other = dense_of(settings, bars.symbols, market.interval_ms)
    other.restore(state)
    assert other.symbols == bars.symbols
    rest = bars.rows(at, len(bars))
    assert_same(dense.compute(rest), other.compute(rest))


def test_many_parts_are_to_be_made_anew_together(known):
    settings, market, _ = known
    dense = dense_of(settings, tuple(f"S{i}USDT" for i in range(12)), market.interval_ms)
    for place in range(6):
        dense.put_in(dense.make_part((f"S{place}USDT",), ()))
    assert dense.scattered == ()
    dense.put_in(dense.make_part(("NEWUSDT",), ()))
    assert set(dense.scattered) == {*(f"S{place}USDT" for place in range(6)), "NEWUSDT"}
