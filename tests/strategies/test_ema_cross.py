from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from slt.errors import PluginError
from slt.testing.markets import blank_features, random_walk, with_state
from slt.testing.strategies import StrategyConformance
from slt.types import BarState
from slt_strategies.ema_cross import EmaCross, EmaCrossConfig

SMALL = EmaCrossConfig(fast_bars=5, slow_bars=20, atr_bars=10, stop_atr=3.0, min_stop_fraction=0.001)


class TestEmaCross(StrategyConformance):
    @pytest.fixture
    def make_strategy(self):
        return lambda: EmaCross(EmaCrossConfig())


class TestFastEmaCross(StrategyConformance):
    @pytest.fixture
    def make_strategy(self):
        return lambda: EmaCross(SMALL)


def propose(bars, config=SMALL):
    return EmaCross(config).slt_propose_trades(bars, blank_features(bars))


def ema(values, span):
    out = [values[0]]
    for value in values[1:]:
        out.append(out[-1] + 2 / (span + 1) * (value - out[-1]))
    return np.array(out)


def test_ema_cross_enters_where_the_averages_cross_and_nowhere_else():
    bars = random_walk(400, 1, seed=6, volatility=0.002)
    block = propose(bars)
    close = bars.close[:, 0]
    above = ema(close, 5) > ema(close, 20)
    crossed = np.diff(above.astype(int), prepend=int(above[0]))
    crossed[:20] = 0
    assert crossed.any()
    np.testing.assert_array_equal(block.side[:, 0], crossed)
    assert [block.reasons[i] for i in block.reason[block.side > 0]] == ["cross up"] * int((crossed > 0).sum())
    assert [block.reasons[i] for i in block.reason[block.side < 0]] == ["cross down"] * int((crossed < 0).sum())


def test_ema_cross_stop_and_target_follow_the_average_true_range():
    bars = random_walk(400, 1, seed=6, volatility=0.002)
    block = propose(bars)
    high, low, close = (getattr(bars, name)[:, 0] for name in ("high", "low", "close"))
    before = np.concatenate([[close[0]], close[:-1]])
    true_range = np.maximum(high, before) - np.minimum(low, before)
    atr = ema(true_range, 10)
    at = np.flatnonzero(block.side[:, 0])
    side = block.side[at, 0]
    np.testing.assert_allclose(block.stop[at, 0], close[at] - side * 3.0 * atr[at])
    np.testing.assert_allclose(block.target[at, 0], close[at] + side * 4.5 * atr[at])


def test_ema_cross_stop_keeps_its_least_distance():
    bars = random_walk(400, 1, seed=6, volatility=0.00001)
    block = propose(bars, evolve(SMALL, min_stop_fraction=0.006))
    at = np.flatnonzero(block.side[:, 0])
    assert at.size
    np.testing.assert_allclose(np.abs(block.stop[at, 0] / bars.close[at, 0] - 1), 0.006)


def test_ema_cross_views_by_their_formulas():
    bars = random_walk(100, 1, seed=6, volatility=0.002)
    block = propose(bars)
    close, high, low = (getattr(bars, name)[:, 0] for name in ("close", "high", "low"))
    before = np.concatenate([[close[0]], close[:-1]])
    atr = ema(np.maximum(high, before) - np.minimum(low, before), 10)
    for name, distance in (("confidence", close - ema(close, 20)), ("continuation", ema(close, 5) - ema(close, 20))):
        x = distance / atr
        expected = 0.5 + 0.5 * x / (1 + np.abs(x))
        assert np.isnan(block.view(name, 1)[:19, 0]).all()
        np.testing.assert_allclose(block.view(name, 1)[19:, 0], expected[19:], rtol=1e-5)
        np.testing.assert_allclose(block.view(name, -1)[19:, 0], 1 - expected[19:], rtol=1e-5, atol=1e-7)
    assert np.isnan(block.rebound_long).all()


def test_ema_cross_after_a_gap_starts_afresh():
    bars = random_walk(200, 1, seed=6, volatility=0.002)
    state = bars.state.copy()
    state[100] = BarState.ABSENT
    gapped = propose(with_state(bars, state))
    alone = propose(bars.rows(101, 200))
    np.testing.assert_array_equal(gapped.side[101:], alone.side)
    np.testing.assert_array_equal(gapped.confidence_long[101:], alone.confidence_long)


def test_ema_cross_over_minutes_without_trades_goes_on():
    bars = random_walk(200, 1, seed=6, volatility=0.002)
    state = bars.state.copy()
    state[100] = BarState.EMPTY
    block = propose(with_state(bars, state))
    assert not np.isnan(block.confidence_long[101, 0])
    assert block.confidence_long[100, 0] == block.confidence_long[99, 0]


def test_ema_cross_with_other_symbols_in_one_run_is_a_plugin_error():
    strategy = EmaCross(SMALL)
    bars = random_walk(5, 2)
    strategy.slt_propose_trades(bars, blank_features(bars))
    with pytest.raises(PluginError, match="symbols changed from AAAUSDT, BBBUSDT to AAAUSDT"):
        strategy.slt_propose_trades(bars.columns([0]), blank_features(bars.columns([0])))


@pytest.mark.parametrize(
    "options",
    [
        {"fast_bars": 0},
        {"slow_bars": 60},
        {"atr_bars": 0},
        {"stop_atr": 0},
        {"min_stop_fraction": 0.5},
        {"target_r": 0},
    ],
)
def test_ema_cross_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EmaCrossConfig(**options)
