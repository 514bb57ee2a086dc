from __future__ import annotations

import pytest

from slt.testing.sizers import SizerConformance
from slt_sizers.fixed_risk import FixedRisk, FixedRiskConfig
from slt_sizers.kelly import Kelly, KellyConfig


class TestKelly(SizerConformance):
    @pytest.fixture
    def make_sizer(self):
        return lambda: Kelly(KellyConfig())


class TestFixedRisk(SizerConformance):
    @pytest.fixture
    def make_sizer(self):
        return lambda: FixedRisk(FixedRiskConfig())
