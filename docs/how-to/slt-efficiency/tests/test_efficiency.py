"""What every feature set must do, and what this one computes."""

from __future__ import annotations

import pytest

from slt.testing import FeatureConformance
from slt.testing.markets import random_walk
from slt_efficiency import Efficiency, EfficiencyConfig


class TestConformance(FeatureConformance):
    @pytest.fixture
    def make_features(self):
        return lambda: Efficiency(EfficiencyConfig(lookback_bars=20))


def test_efficiency_stays_within_its_bounds_and_is_known_after_the_warm_up():
    features = Efficiency(EfficiencyConfig(lookback_bars=20))
    bars = random_walk(200, symbols=1, seed=1)
    features.slt_start_features(bars.symbols, bars.interval_ms)
    block = features.slt_update_features(bars)
    assert not block.ready[:20].any()
    assert block.ready[20:].all()
    assert (abs(block.value("efficiency")[20:]) <= 1.0).all()
