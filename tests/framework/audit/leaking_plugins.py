"""Plugins that break a law on purpose, each as it happens by mistake, and the laws that must say so.

The first group has seen the future: in a back-test such a column is a money machine. The second is not itself between
batch and stream, restarts, processes, symbols or markets.
"""

# ruff: noqa: PD011 - `values` is a field of the block here, not of a pandas frame
from __future__ import annotations

import random
from datetime import datetime
from typing import ClassVar

import numpy as np
import pandas as pd
from audit_bases import NAN, BarFeatures, PlainConfig, PlainFeatures, TableFeatures, held, windows
from honest_plugins import BarBreakout, DayVwap, Rsi

from slt import hookimpl
from slt.authoring import BarStrategy, DataFrameStrategy, Signal
from slt.types import BarState, Column, Parity, StrategyBlock

LEAKS = {}
"""Plugin class to the laws it must break."""


def breaks(*laws):
    def note(cls):
        LEAKS[cls] = laws
        return cls

    return note


def shifted(x, rows):
    """`rows` > 0: the value so many rows earlier; < 0: later; NaN beyond the table."""
    return pd.DataFrame(x).shift(rows).to_numpy()


def change(t, rows=1):
    return t["close"] / shifted(t["close"], rows) - 1


# Look-ahead ------------------------------------------------------------------------------------------


@breaks("prefix", "chunks", "leaks")
class NextBarShift(TableFeatures):
    """The return of the next bar, by a shift in the wrong direction."""

    def compute(self, t):
        return (1e3 * shifted(change(t), -1),)


@breaks("prefix", "chunks", "leaks")
class CentredWindow(TableFeatures):
    """Distance to a mean that is centred on its bar."""

    def compute(self, t):
        close = pd.DataFrame(t["close"])
        return ((close / close.rolling(21, center=True, min_periods=5).mean() - 1).to_numpy() * 1e3,)


@breaks("prefix", "chunks")
class WholeSampleScaler(TableFeatures):
    """A return scaled by mean and deviation of the whole sample."""

    def compute(self, t):
        x = np.nan_to_num(change(t, 5))
        return ((x - x.mean()) / x.std(),)


@breaks("prefix", "chunks")
class MinMaxScaler(TableFeatures):
    """Where the close lies between the lowest and the highest of the whole sample."""

    def compute(self, t):
        return ((t["close"] - t["low"].min()) / (t["high"].max() - t["low"].min()),)


@breaks("prefix", "chunks", "leaks")
class SwingAtItsOwnBar(TableFeatures):
    """Swing highs and lows at the bar they are on, five bars before anybody can know."""

    def compute(self, t):
        high, low = pd.DataFrame(t["high"]), pd.DataFrame(t["low"])
        is_high = high == high.rolling(11, center=True, min_periods=1).max()
        is_low = low == low.rolling(11, center=True, min_periods=1).min()
        return ((is_high.astype(float) - is_low.astype(float)).to_numpy(),)


@breaks("prefix", "chunks", "leaks")
class OrderBlockErasedLater(TableFeatures):
    """Bullish order blocks, those that were broken within 30 bars taken out of history."""

    def compute(self, t):
        strong = (t["close"] - t["open"]) > 1.5 * pd.DataFrame(t["high"] - t["low"]).rolling(20).mean().to_numpy()
        ahead = pd.DataFrame(t["low"][::-1]).rolling(30, min_periods=1).min().to_numpy()[::-1]
        return ((strong & (ahead >= t["low"])).astype(float),)


@breaks("prefix", "chunks", "leaks")
class ResampleLabelledLeft(TableFeatures):
    """15m candles that carry the label of their first minute."""

    def compute(self, t):
        last = pd.Series(t["close"][:, 0]).groupby((t["time"][:, 0] - 1) // 900_000).transform("last")
        return ((last.to_numpy()[:, np.newaxis] / t["close"] - 1) * 1e3,)


@breaks("prefix", "chunks", "leaks")
class HigherTimeframeBeforeItsClose(TableFeatures):
    """The trend of the running hour, known from its first minute on."""

    def compute(self, t):
        hour = pd.Series((t["time"][:, 0] - 1) // 3_600_000)
        first = pd.Series(t["open"][:, 0]).groupby(hour).transform("first")
        last = pd.Series(t["close"][:, 0]).groupby(hour).transform("last")
        return (np.sign(last - first).to_numpy()[:, np.newaxis],)


@breaks("prefix", "chunks", "leaks")
class FillBackward(TableFeatures):
    """Returns of each fifth bar, the bars before filled with it."""

    def compute(self, t):
        x = np.where(np.arange(len(t["close"]))[:, np.newaxis] % 5 == 0, change(t, 5), np.nan)
        return (1e3 * pd.DataFrame(x).bfill().to_numpy(),)


@breaks("prefix", "chunks")
class GlobalTolerance(TableFeatures):
    """Equal highs, within one per cent of the range of the whole frame."""

    def compute(self, t):
        tolerance = 0.01 * (t["high"].max() - t["low"].min())
        past = windows(shifted(t["high"], 1), 40)
        return ((np.abs(past - t["high"][:, :, np.newaxis]) < tolerance).sum(axis=-1) / 40.0,)


@breaks("prefix", "chunks", "leaks")
class TargetInFeatures(TableFeatures):
    """One honest column, and the label that a notebook left among the features."""

    columns = (Column("momentum"), Column("target"))

    def compute(self, t):
        return 1e3 * change(t, 5), np.sign(np.nan_to_num(shifted(change(t, 5), -5)))


@breaks("prefix", "chunks", "leaks")
class SmoothedBothWays(TableFeatures):
    """A filter run forward and backward, so that it has no delay."""

    def compute(self, t):
        x = pd.DataFrame(t["close"])
        there = x.ewm(span=10).mean()
        back = there[::-1].ewm(span=10).mean()[::-1]
        return ((x / back - 1).to_numpy() * 1e3,)


@breaks("leaks", "prefix")
class LeakInTheContext(TableFeatures):
    """Honest columns, but the price level of the context is the high of the next ten bars."""

    context_names = ("resistance",)

    def compute(self, t):
        ahead = pd.DataFrame(t["high"][::-1]).rolling(10, min_periods=1).max().to_numpy()[::-1]
        return 1e3 * change(t, 5), shifted(ahead, -1)


@breaks("leaks", "prefix")
class ReadyWhenItWillPay(TableFeatures):
    """An honest column that is only `ready` where the next bars rise."""

    def fill(self, block, j, rows, t):
        super().fill(block, j, rows, t)
        ahead = shifted(change(t, 5), -5)[-len(rows) :, 0] if len(rows) else []
        block.ready[rows, j] &= np.asarray(ahead) > 0

    def compute(self, t):
        return (1e3 * change(t, 5),)


@breaks("chunks")
class RemembersAnEarlierRun(BarFeatures):
    """A cache of the class, filled in the first run, which tells later runs what comes next."""

    seen: ClassVar = {}

    def step(self, m, time, o, h, low, c, v, taker):
        self.seen[m.get("open_of_all", o), m.get("time", 0), m["bars"]] = c
        m.setdefault("open_of_all", o)
        m["time"] = time
        after = self.seen.get((m["open_of_all"], time, m["bars"] + 1))
        return (0.0 if after is None else 1e3 * (after / c - 1),)


@breaks("prefix", "chunks", "leaks")
class StrategyShift(DataFrameStrategy):
    """Buys where the next close is higher."""

    config_class = PlainConfig
    lookback_bars = 100

    def on_frame(self, symbol, frame):
        up = frame["close"].shift(-1) > frame["close"] * 1.001
        frame["side"] = up.astype(int)
        frame["stop"], frame["target"] = frame["close"] * 0.99, frame["close"] * 1.02
        return frame


class ArrayStrategy:
    """Views straight from a block's arrays: `rate(bars)` answers ``[t, s]`` in [0, 1]."""

    config_class = PlainConfig

    def __init__(self, config):
        self.config = config

    def rate(self, bars):
        raise NotImplementedError

    @hookimpl
    def slt_propose_trades(self, bars, features):
        block = StrategyBlock.quiet(bars.state.shape, ("view",))
        with np.errstate(all="ignore"):
            block.confidence_long[:] = np.clip(self.rate(bars), 0, 1)
        return block


@breaks("prefix", "chunks")
class ViewOfTheBlocksEnd(ArrayStrategy):
    """Confidence by where the close lies against the last close of the block."""

    def rate(self, bars):
        close = held(bars.close)
        return 0.5 + 20 * (close[-1:] / close - 1)


@breaks("prefix", "chunks")
class RankInTheBlock(ArrayStrategy):
    """Confidence by the rank of a bar's volume within its block."""

    def rate(self, bars):
        return pd.DataFrame(bars.volume).rank(pct=True).to_numpy()


# Not the same in blocks, after restarts, elsewhere --------------------------------------------------


@breaks("chunks")
class OneBarTooManyAtTheStart(TableFeatures):
    """A mean over 20 bars that keeps one bar too few from one block to the next."""

    def kept(self, t):
        return {name: array[-19:].copy() for name, array in t.items()}

    def fill(self, block, j, rows, t):
        self.warm = 1
        super().fill(block, j, rows, t)

    def compute(self, t):
        return ((t["close"] / pd.DataFrame(t["close"]).rolling(21, min_periods=1).mean().to_numpy() - 1) * 1e3,)


@breaks("chunks")
class FirstBarOfABlockIsNew(TableFeatures):
    """A return that knows no bar before its block."""

    def kept(self, t):
        return {name: array[:0].copy() for name, array in t.items()}

    def compute(self, t):
        return (np.nan_to_num(1e3 * change(t)),)


@breaks("chunks")
class MeanOfTheBlock(ArrayStrategy):
    """Confidence against the mean volume of the block at hand."""

    def rate(self, bars):
        return bars.volume / np.nanmean(bars.volume, axis=0) / 3


@breaks("chunks", "inputs")
class OneBufferForAll(Rsi):
    """Gives the same array again and again and writes on in it."""

    def start(self):
        super().start()
        self.buffer = None

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        rows = len(bars)
        if self.buffer is None or len(self.buffer) < rows:
            self.buffer = np.full((max(rows, 4096), *block.values.shape[1:]), np.nan, dtype=np.float32)
        self.buffer[:rows] = block.values
        object.__setattr__(block, "values", self.buffer[:rows])
        return block


@breaks("snapshots", "restart")
class ForgetsItsState(Rsi):
    """A snapshot that holds nothing."""

    @hookimpl
    def slt_snapshot_features(self):
        return {}

    @hookimpl
    def slt_restore_features(self, state):
        pass


@breaks("snapshots")
class LivingSnapshot(Rsi):
    """A snapshot that goes on changing."""

    @hookimpl
    def slt_snapshot_features(self):
        return {"memory": self.memory}


@breaks("snapshots")
class HalfASnapshot(Rsi):
    """A snapshot without the last close of each symbol."""

    @hookimpl
    def slt_snapshot_features(self):
        return {"memory": {s: {k: v for k, v in m.items() if k != "close"} for s, m in self.memory.items()}}


@breaks("snapshots", "restart")
class UnpicklableSnapshot(Rsi):
    """A snapshot with a function in it."""

    @hookimpl
    def slt_snapshot_features(self):
        return {"memory": self.memory, "key": lambda x: x}


@breaks("chunks", "determinism")
class Unseeded(Rsi):
    """Noise without a seed."""

    def step(self, *args):
        answer = super().step(*args)
        return (answer[0] + random.gauss(0, 1e-3),)


@breaks("determinism")
class HashOfTheName(Rsi):
    """Columns in the order of a set of texts."""

    columns = (Column("a"), Column("b"), Column("c"), Column("d"))

    def step(self, m, *args):
        rsi = super().step(m, *args)[0]
        found = {"alpha": rsi, "beta": rsi * rsi, "gamma": rsi / 2, "delta": -rsi}
        return tuple(found[name] for name in set(found))


@breaks("determinism")
class LocalMidnight(DayVwap):
    """A day's mean price that begins at midnight of the machine."""

    def step(self, m, time, *args):
        local = datetime.fromtimestamp(time / 1000)  # noqa: DTZ006 - the fault on purpose
        return super().step(m, local.toordinal() * 86_400_000 + 1, *args)


@breaks("inputs")
class ScalesItsInput(Rsi):
    """Divides the given closes by the first, in place."""

    @hookimpl
    def slt_update_features(self, bars):
        np.divide(bars.close, 2.0, out=bars.close)
        return super().slt_update_features(bars)


@breaks("inputs")
class FillsFeaturesInPlace(BarBreakout):
    """Marks every row of the features as ready."""

    @hookimpl
    def slt_propose_trades(self, bars, features):
        features.ready[:] = False
        return super().slt_propose_trades(bars, features)


@breaks("symbols")
class LastValueAcrossSymbols(BarFeatures):
    """A cache of the last close that all symbols share."""

    def step(self, m, time, o, h, low, c, v, taker):
        before = self.memory.get("last", {}).get("close", c)
        self.memory["last"] = {"close": c, "bars": 0, "answer": None}
        return (np.sign(c - before),)


@breaks("symbols")
class RankAmongSymbols(PlainFeatures):
    """Rank of a bar's volume among the symbols, not declared."""

    @hookimpl
    def slt_update_features(self, bars):
        block = self.empty(bars)
        rank = pd.DataFrame(bars.volume).rank(axis=1, pct=True).to_numpy()
        block.values[:, :, 0] = rank
        block.fresh[:] = block.ready[:] = bars.state == BarState.TRADED
        return block

    @hookimpl
    def slt_snapshot_features(self):
        return {}

    @hookimpl
    def slt_restore_features(self, state):
        pass


@breaks("symbols")
class SharedMemoryStrategy(BarStrategy):
    """Highest close so far, of whatever symbol came before."""

    config_class = PlainConfig

    def on_bar(self, symbol, bar, features):
        m = self.memory("all")
        m["high"] = max(m.get("high", 0.0), bar.close)
        return Signal(views={"confidence_long": bar.close / m["high"]})


@breaks("late_bars")
class RowsForTime(PlainFeatures):
    """A return over the last two rows of the table, whether or not the symbol was there."""

    warm = 2

    def start(self):
        self.last = None

    @hookimpl
    def slt_update_features(self, bars):
        close = bars.close if self.last is None else np.vstack([self.last, bars.close])
        with np.errstate(all="ignore"):
            x = (1e3 * change({"close": close}))[-len(bars) :]
        self.last = close[-1:].copy()
        block = self.empty(bars)
        block.values[:, :, 0] = x
        block.fresh[:] = block.ready[:] = ~np.isnan(x)
        return block

    @hookimpl
    def slt_snapshot_features(self):
        return {"last": self.last}

    @hookimpl
    def slt_restore_features(self, state):
        self.last = state["last"]


# Not what they declare ------------------------------------------------------------------------------


@breaks("coupling")
class WarmUpTooShort(Rsi):
    """Says it is warm after 30 bars, long before the average has forgotten its start."""

    warm = 30


@breaks("warmup")
class ReadyLate(Rsi):
    """Declares a warm-up of 250 bars and needs 300."""

    @hookimpl
    def slt_describe_features(self):
        columns, context, _, definition = super().slt_describe_features()
        return columns, context, 250, definition


@breaks("coupling")
class SumSinceTheStart(BarFeatures):
    """Signed volume summed since the first bar ever seen."""

    warm = 100

    def step(self, m, time, o, h, low, c, v, taker):
        m["sum"] = m.get("sum", 0.0) + v * ((c > o) - (c < o))
        return (np.tanh(m["sum"] / 5_000),)


@breaks("scale")
class PriceUnits(BarFeatures):
    """A moving distance in dollars."""

    def step(self, m, time, o, h, low, c, v, taker):
        m["mean"] = m["mean"] + 0.3 * (c - m["mean"]) if "mean" in m else c
        return (c - m["mean"],)


@breaks("parity")
class NotOdd(Rsi):
    """RSI from 0 to 1, declared odd."""

    def step(self, *args):
        return (0.5 + super().step(*args)[0] / 2,)


@breaks("parity")
class NotEven(Rsi):
    """A direction, declared even."""

    columns = (Column("rsi", Parity.EVEN),)


@breaks("parity")
class WrongMirror(BarFeatures):
    """Distance to the running high, which is said to become its own negative."""

    columns = (Column("to_high", Parity.MIRRORED, "wrong"),)
    context_names = ("wrong",)

    def step(self, m, time, o, h, low, c, v, taker):
        m["high"] = max(m.get("high", h) * 0.99999, h)
        return (c / m["high"] - 1) * 1e3, (1 - c / m["high"]) * 1e3


@breaks("missing_taker")
class ZeroForUnknown(BarFeatures):
    """Order flow that takes a missing taker volume for nought."""

    def step(self, m, time, o, h, low, c, v, taker):
        return ((2 * np.nan_to_num(taker) - v) / v,)


@breaks("missing_taker")
class LastKnownFlow(BarFeatures):
    """Order flow that goes on with the last one it heard of."""

    def step(self, m, time, o, h, low, c, v, taker):
        if not np.isnan(taker):
            m["flow"] = (2 * taker - v) / v
        return (m.get("flow", NAN),)


@breaks("missing_bars")
class InventsBars(Rsi):
    """Marks absent bars as fresh."""

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        block.fresh[:] |= block.ready
        return block


@breaks("missing_bars")
class ZeroWhereNothingIsKnown(Rsi):
    """A number where a symbol never traded."""

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        block.values[:] = np.nan_to_num(block.values)
        return block


@breaks("contract")
class Infinite(BarFeatures):
    """Divides by a range that can be nought."""

    def step(self, m, time, o, h, low, c, v, taker):
        return (np.float64(v) / (h - low) * c / 1e4,)


@breaks("contract")
class DoubleValues(Rsi):
    """Gives float64."""

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        object.__setattr__(block, "values", block.values.astype(np.float64))
        return block


@breaks("contract", "chunks", "prefix", "leaks")
class WrongShape(Rsi):
    """Forgets the symbols."""

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        object.__setattr__(block, "values", block.values[:, 0])
        return block


@breaks("chunks")
class RaisesOnShortBlocks(Rsi):
    """Cannot do with a single bar."""

    @hookimpl
    def slt_update_features(self, bars):
        if len(bars) == 1:
            raise IndexError("index -2 is out of bounds")
        return super().slt_update_features(bars)


@breaks("contract")
class ToleranceTooWide(Rsi):
    """Declares more than rounding can do."""

    float_tolerance = 0.01
