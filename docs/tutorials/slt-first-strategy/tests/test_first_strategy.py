"""What every strategy must do, and what this one does."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from slt.testing import StrategyConformance
from slt.testing.markets import blank_features, random_walk
from slt_first_strategy import Breakout, BreakoutConfig


class TestConformance(StrategyConformance):
    """The kit: causal, the same in any blocks, restored from a snapshot, symbols apart."""

    @pytest.fixture
    def make_strategy(self):
        return lambda: Breakout(BreakoutConfig(lookback_bars=60))


def test_breakout_is_listed():
    (point,) = entry_points(group="slt.strategies", name="breakout")
    assert point.dist.name == "slt-first-strategy"
    assert point.load() is Breakout


def test_close_above_the_range_proposes_a_long():
    bars = random_walk(61, symbols=1, seed=1)
    top = bars.high[:60].max()
    bars.close[60, 0] = bars.high[60, 0] = 1.001 * top
    block = Breakout(BreakoutConfig(lookback_bars=60)).slt_propose_trades(bars, blank_features(bars))
    assert block.side[:60].tolist() == [[0]] * 60
    assert block.side[60, 0] == 1
    assert block.stop[60, 0] == pytest.approx(0.992 * bars.close[60, 0])
    assert block.target[60, 0] == pytest.approx(1.012 * bars.close[60, 0])
    assert block.reasons[block.reason[60, 0]] == "new high"
    assert block.confidence_long[60, 0] == 0.75


def test_bar_itself_is_no_part_of_its_range():
    bars = random_walk(61, symbols=1, seed=1)
    low = bars.low[:60].min()
    bars.close[60, 0] = bars.low[60, 0] = 0.999 * low
    block = Breakout(BreakoutConfig(lookback_bars=60)).slt_propose_trades(bars, blank_features(bars))
    assert block.side[60, 0] == -1
