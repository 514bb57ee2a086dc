from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.authoring import Bar, BarStrategy, DataFrameStrategy, Signal
from slt.errors import PluginError
from slt.testing.markets import blank_features, random_features, random_walk
from slt.testing.strategies import StrategyConformance
from slt.types import VIEW_NAMES, BarState


@frozen(kw_only=True)
class BreakoutConfig:
    """Options of `Breakout`.

    Attributes:
        bars: Length of the channel, in bars.
    """

    bars: int = field(default=30)


class Breakout(BarStrategy):
    """Buys a new high and sells a new low of the last bars."""

    config_class = BreakoutConfig

    def on_bar(self, symbol, bar, features):
        closes = self.memory(symbol).setdefault("closes", [])
        full = len(closes) == self.config.bars
        side = (full and bar.close > max(closes)) - (full and bar.close < min(closes))
        closes.append(bar.close)
        del closes[: -self.config.bars]
        views = {"rebound_long": 0.25 if features["tilt"] > 0 else 0.5}
        if side:
            stop, target = bar.close * (1 - 0.01 * side), bar.close * (1 + 0.02 * side)
            return Signal(side, stop, target, "new high" if side > 0 else "new low", confidence=0.75, views=views)
        return Signal(views=views) if full else None


@frozen(kw_only=True)
class BreakoutFrameConfig(BreakoutConfig):
    """Options of `BreakoutFrame`.

    Attributes:
        bars: Length of the channel, in bars.
    """


class BreakoutFrame(DataFrameStrategy):
    """The same on a frame, with a mean whose rounding depends on where the frame begins."""

    config_class = BreakoutFrameConfig
    lookback_bars = 40

    def on_frame(self, symbol, frame):
        past = frame["close"].shift(1).rolling(self.config.bars)
        frame["side"] = (frame["close"] > past.max()).astype(int) - (frame["close"] < past.min()).astype(int)
        frame["stop"] = frame["close"] * (1 - 0.01 * frame["side"])
        frame["target"] = frame["close"] * (1 + 0.02 * frame["side"])
        frame["reason"] = np.where(frame["side"] > 0, "new high", "new low")
        mean, deviation = frame["close"].rolling(20).mean(), frame["close"].rolling(20).std()
        frame["confidence_long"] = ((frame["close"] - mean) / deviation).clip(-3, 3) / 6 + 0.5
        frame["continuation_long"] = (frame["close"].ewm(span=50).mean() / frame["close"]).clip(0, 1)
        return frame


def features_for(bars):
    return random_features(bars, ("tilt",), ("level",), seed=2)


class TestBarStrategy(StrategyConformance):
    rows = 500
    cuts = 1

    @pytest.fixture
    def make_strategy(self):
        return lambda: Breakout(BreakoutConfig())

    def features_for(self, bars):
        return features_for(bars)


class TestDataFrameStrategy(StrategyConformance):
    rows = 500
    cuts = 1

    @pytest.fixture
    def make_strategy(self):
        return lambda: BreakoutFrame(BreakoutFrameConfig())


MARKET = random_walk(300, 2, seed=5, volatility=0.002, gaps=2, empties=0.02)
BLANK = blank_features(MARKET)
TILTED = features_for(MARKET)


@settings(max_examples=8, deadline=None)
@given(cuts=st.sets(st.integers(1, 299), max_size=10))
@pytest.mark.parametrize(
    ("make", "features"),
    [
        (lambda: Breakout(BreakoutConfig(bars=5)), TILTED),
        (lambda: BreakoutFrame(BreakoutFrameConfig(bars=5)), BLANK),
    ],
    ids=["bar", "frame"],
)
def test_author_bases_any_cut_gives_the_same(make, features, cuts):
    whole = make().slt_propose_trades(MARKET, features)
    strategy = make()
    for a, b in pairwise([0, *sorted(cuts), len(MARKET)]):
        block = strategy.slt_propose_trades(MARKET.rows(a, b), features.rows(a, b))
        for name in ("side", "stop", "target", *VIEW_NAMES):
            np.testing.assert_array_equal(getattr(block, name), getattr(whole, name)[a:b])
        strategy_after = make()
        strategy_after.slt_restore_strategy(strategy.slt_snapshot_strategy())
        strategy = strategy_after


def test_both_bases_find_the_same_entries():
    by_bar = Breakout(BreakoutConfig(bars=20)).slt_propose_trades(MARKET, TILTED)
    by_frame = BreakoutFrame(BreakoutFrameConfig(bars=20)).slt_propose_trades(MARKET, BLANK)
    assert by_bar.side.any()
    np.testing.assert_array_equal(by_bar.side, by_frame.side)
    np.testing.assert_allclose(by_bar.stop, by_frame.stop)
    words = ([b.reasons[i] for i in b.reason[b.side != 0]] for b in (by_bar, by_frame))
    assert next(words) == next(words)


def test_bar_strategy_sees_every_traded_bar_once_and_in_order():
    seen = []

    class Watcher(BarStrategy):
        def on_bar(self, symbol, bar, features):
            seen.append((symbol, bar, features.fresh, features.ready))

    Watcher(None).slt_propose_trades(MARKET, TILTED)
    traded = MARKET.state == BarState.TRADED
    assert len(seen) == traded.sum()
    symbol, bar, fresh, ready = seen[100]
    row, column = np.argwhere(traded)[100]
    assert symbol == MARKET.symbols[column]
    prices = [getattr(MARKET, n)[row, column] for n in ("open", "high", "low", "close", "volume", "taker_buy_volume")]
    assert bar == Bar(MARKET.close_time[row], *prices)
    assert (fresh, ready) == (TILTED.fresh[row, column], TILTED.ready[row, column])


def test_feature_row_reads_columns_and_context_by_name():
    rows = []

    class Watcher(BarStrategy):
        def on_bar(self, symbol, bar, features):
            rows.append(features)

    Watcher(None).slt_propose_trades(MARKET, TILTED)
    row, column = np.argwhere(MARKET.state == BarState.TRADED)[-1]
    features = rows[-1]
    assert dict(features) == {"tilt": float(TILTED.value("tilt")[row, column]), "level": TILTED.context[row, column, 0]}
    assert len(features) == 2
    assert "tilt" in features
    assert features.get("nothing", 7.0) == 7.0


def test_signal_views_stand_at_their_bar_alone():
    class Once(BarStrategy):
        def on_bar(self, symbol, bar, features):
            if bar.time == MARKET.close_time[10]:
                return Signal(side=-1, stop=bar.close * 1.1, target=bar.close * 0.9, confidence=0.6)
            return None

    block = Once(None).slt_propose_trades(MARKET, BLANK)
    assert block.reasons == ("signal",)
    assert np.argwhere(~np.isnan(block.confidence_short)).tolist() == [[10, 0], [10, 1]]
    assert np.isnan(block.confidence_long).all()


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (Signal(1, 1e9, 2e9), r"stop 1e\+09, close .* do not fit; a long needs stop < close < target"),
        (Signal(-1, 1.0, 0.5), "a short needs target < close < stop"),
        (Signal(1), "stop nan"),
        (Signal(1, -1.0, 1e9), "all above 0"),
        (Signal(2, 1.0, 1e9), "side is 2"),
        (Signal(views={"confidence_long": 1.5}), "view `confidence_long` is 1.5; 0 to 1 or NaN"),
        (Signal(views={"confidence": 0.5}), "view `confidence` is unknown; there are: confidence_long"),
    ],
)
def test_bar_strategy_impossible_signal_is_a_plugin_error_with_its_place(signal, message):
    class Wrong(BarStrategy):
        def on_bar(self, symbol, bar, features):
            return signal

    with pytest.raises(PluginError, match=message) as caught:
        Wrong(None).slt_propose_trades(MARKET, BLANK)
    assert str(caught.value).startswith(f"Wrong: AAAUSDT at {MARKET.close_time[0]}:")


class Frames(DataFrameStrategy):
    lookback_bars = 10
    answer: ClassVar = staticmethod(lambda frame: None)

    def __init__(self):
        super().__init__(None)
        self.seen = []

    def on_frame(self, symbol, frame):
        self.seen.append((symbol, frame))
        return self.answer(frame)


def test_frame_strategy_frame_holds_bars_and_features_by_close_time():
    strategy = Frames()
    bars, features = MARKET.rows(0, 8), TILTED.rows(0, 8)
    assert not strategy.slt_propose_trades(bars, features).side.any()
    symbol, frame = strategy.seen[0]
    assert symbol == "AAAUSDT"
    rows = bars.state[:, 0] == BarState.TRADED
    expected = pd.DataFrame(
        {
            **{n: getattr(bars, n)[rows, 0] for n in ("open", "high", "low", "close", "volume", "taker_buy_volume")},
            "tilt": features.value("tilt")[rows, 0].astype(float),
            "level": features.context_of("level")[rows, 0],
            "fresh": features.fresh[rows, 0],
            "ready": features.ready[rows, 0],
        },
        index=pd.DatetimeIndex(pd.to_datetime(bars.close_time[rows], unit="ms", utc=True), name="close_time"),
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_frame_strategy_every_row_has_the_bars_it_can_count_on():
    bars = random_walk(95, 1)
    strategy = Frames()
    for row in range(95):
        strategy.slt_propose_trades(bars.rows(row, row + 1), blank_features(bars).rows(row, row + 1))
    lengths = [len(frame) for _, frame in strategy.seen]
    assert all(length >= min(row + 1, 10) for row, length in enumerate(lengths))
    assert max(lengths) < 20
    assert [frame.index[-1].value // 10**6 for _, frame in strategy.seen] == bars.close_time.tolist()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda frame: [1, 2], "Frames.on_frame gave a list; a DataFrame or None is needed"),
        (lambda frame: frame, "must keep the frame's index, row by row, and give a column `side`"),
        (lambda frame: frame.assign(side=0).iloc[1:], "must keep the frame's index"),
        (lambda frame: frame.assign(side=0).reset_index(), "must keep the frame's index"),
        (lambda frame: frame.assign(side=1, stop=1.0), "stop 1, close .* and target nan do not fit"),
        (lambda frame: frame.assign(side=0.5), "side is 0.5"),
        (lambda frame: frame.assign(side=0, rebound_long=2.0), "view `rebound_long` is 2"),
    ],
)
def test_frame_strategy_unusable_answer_is_a_plugin_error(answer, message):
    strategy = Frames()
    strategy.answer = answer
    with pytest.raises(PluginError, match=message):
        strategy.slt_propose_trades(MARKET, BLANK)


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("confidence", "say for which side: `confidence_long` or `confidence_short`"),
        ("confidence_buy", "say for which side: `confidence_long` or `confidence_short`"),
        ("rebound", "say for which side: `rebound_long` or `rebound_short`"),
        ("long_confidence", "did you mean `confidence_long`"),
        ("Continuation_Short", "did you mean `continuation_short`"),
        ("continuation_shrt", "did you mean `continuation_short`"),
        ("reasons", "did you mean `reason`"),
    ],
)
def test_frame_strategy_column_that_is_meant_for_the_answer_is_a_plugin_error(column, meant):
    strategy = Frames()
    strategy.answer = lambda frame: frame.assign(side=0, **{column: 0.5})
    names = "side, stop, target, reason, confidence_long, confidence_short, rebound_long, rebound_short"
    with pytest.raises(
        PluginError, match=re.escape(f"column `{column}`, which is none of an answer's; {meant}; ")
    ) as e:
        strategy.slt_propose_trades(MARKET, BLANK)
    assert names in str(e.value)


def test_frame_strategy_columns_of_the_authors_own_and_features_of_any_name_are_ignored():
    own = dict.fromkeys(("ema", "season", "rebound_count", "stop_distance", "target_r", "sides", 3), 0.5)
    strategy = Frames()
    strategy.answer = lambda frame: pd.concat([frame, pd.DataFrame(own, index=frame.index)], axis=1).assign(side=0)
    features = random_features(MARKET, ("confidence",), ("rebound",), seed=2)
    assert not strategy.slt_propose_trades(MARKET, features).side.any()


def test_frame_strategy_missing_sides_are_no_entries():
    strategy = Frames()
    strategy.answer = lambda frame: frame.assign(side=pd.array([pd.NA] * len(frame), dtype="Int8"))
    assert not strategy.slt_propose_trades(MARKET, BLANK).side.any()


def test_frame_strategy_look_ahead_is_caught_by_the_kit():
    class Peeking(BreakoutFrame):
        def on_frame(self, symbol, frame):
            answer = super().on_frame(symbol, frame)
            answer["confidence_long"] = (frame["close"].shift(-1) > frame["close"]).astype(float)
            return answer

    kit = TestDataFrameStrategy()
    bars = random_walk(500, 3, seed=3, volatility=0.002)
    with pytest.raises(AssertionError, match=r"prefix: `confidence_long`"):
        kit.test_s07_row_depends_on_no_later_row(lambda: Peeking(BreakoutFrameConfig()), (bars, blank_features(bars)))


def test_authoring_imports_pandas_only_when_it_is_needed():
    code = "import sys, slt.authoring; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
