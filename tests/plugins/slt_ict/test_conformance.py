"""`ict` passes the kit that every feature set must pass."""

from __future__ import annotations

import pytest

from slt.testing import FeatureConformance
from slt_ict.features import IctFeatures, IctFeaturesConfig


class TestIctOnMinutes(FeatureConformance):
    @pytest.fixture
    def make_features(self):
        return lambda: IctFeatures(IctFeaturesConfig())


class TestIctOnFiveMinutes(FeatureConformance):
    interval_ms = 300_000

    @pytest.fixture
    def make_features(self):
        return lambda: IctFeatures(IctFeaturesConfig())
