from __future__ import annotations

import pytest

from slt.testing.exits import ExitConformance
from slt_exits.conviction_drop import ConvictionDrop, ConvictionDropConfig
from slt_exits.deep_loss import DeepLoss, DeepLossConfig
from slt_exits.invalidation import Invalidation, InvalidationConfig
from slt_exits.partial_profit import PartialProfit, PartialProfitConfig
from slt_exits.time_stop import TimeStop, TimeStopConfig
from slt_exits.total_loss import TotalLoss, TotalLossConfig
from slt_exits.trailing_profit import TrailingProfit, TrailingProfitConfig


class TestTotalLoss(ExitConformance):
    @pytest.fixture
    def make_exit(self):
        return lambda: TotalLoss(TotalLossConfig())


class TestTimeStop(ExitConformance):
    @pytest.fixture
    def make_exit(self):
        return lambda: TimeStop(TimeStopConfig())


class TestPartialProfit(ExitConformance):
    @pytest.fixture(params=["risk", "margin"])
    def make_exit(self, request):
        gain = 0.6 if request.param == "risk" else 0.02
        return lambda: PartialProfit(PartialProfitConfig(basis=request.param, min_gain=gain))


class TestTrailingProfit(ExitConformance):
    @pytest.fixture(params=["risk", "margin"])
    def make_exit(self, request):
        if request.param == "risk":
            return lambda: TrailingProfit(TrailingProfitConfig())
        return lambda: TrailingProfit(TrailingProfitConfig(basis="margin", arm_gain=0.01, min_give_back=0.003))


class TestConvictionDrop(ExitConformance):
    @pytest.fixture
    def make_exit(self):
        return lambda: ConvictionDrop(ConvictionDropConfig())


class TestDeepLoss(ExitConformance):
    @pytest.fixture(params=["risk", "margin"])
    def make_exit(self, request):
        loss = 0.5 if request.param == "risk" else 0.03
        return lambda: DeepLoss(DeepLossConfig(basis=request.param, max_loss=loss))


class TestInvalidation(ExitConformance):
    @pytest.fixture
    def make_exit(self):
        return lambda: Invalidation(InvalidationConfig())
