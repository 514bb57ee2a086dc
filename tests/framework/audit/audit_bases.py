"""Two ways in which strangers write feature sets: bar by bar, or on a whole table at once."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
from attrs import frozen

from slt import hookimpl
from slt.types import BarState, Column, FeatureBlock

NAN = float("nan")
FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


@frozen
class PlainConfig:
    """Options of the plugins of this folder: none."""


class PlainFeatures:
    """What both ways share: names, warm-up, readiness."""

    config_class = PlainConfig
    columns: ClassVar = (Column("x"),)
    context_names: ClassVar = ()
    warm: ClassVar = 50
    definition: ClassVar = "1"

    def __init__(self, config):
        self.config = config
        self.symbols = ()

    @hookimpl
    def slt_describe_features(self):
        return self.columns, self.context_names, self.warm, f"{type(self).__name__}/{self.definition}"

    @hookimpl
    def slt_start_features(self, symbols, interval_ms):
        self.symbols = symbols
        self.interval_ms = interval_ms
        self.start()

    def start(self):
        """Lay out empty state."""

    def empty(self, bars):
        shape = bars.state.shape
        return FeatureBlock(
            columns=self.columns,
            context_names=self.context_names,
            values=np.full((*shape, len(self.columns)), np.nan, dtype=np.float32),
            context=np.full((*shape, len(self.context_names)), np.nan),
            fresh=np.zeros(shape, dtype=bool),
            ready=np.zeros(shape, dtype=bool),
        )


class BarFeatures(PlainFeatures):
    """One symbol's traded bars one after the other: `step(memory, time, o, h, l, c, v, taker)` answers the columns."""

    def start(self):
        self.memory = {}

    def step(self, m, time, o, h, low, c, v, taker):
        raise NotImplementedError

    @hookimpl
    def slt_update_features(self, bars):
        block = self.empty(bars)
        prices = np.stack([getattr(bars, name) for name in FIELDS], axis=-1)
        width = len(self.columns)
        for j, symbol in enumerate(bars.symbols):
            m = self.memory.setdefault(symbol, {"bars": 0, "answer": None})
            begin = 0
            for row in np.flatnonzero(bars.state[:, j] == BarState.TRADED).tolist():
                self.hold(block, begin, row, j, m)
                answer = self.step(m, int(bars.close_time[row]), *prices[row, j].tolist())
                m["bars"] += 1
                if answer is not None:
                    block.fresh[row, j] = True
                    if m["bars"] >= self.warm:
                        m["answer"] = answer
                begin = row
            self.hold(block, begin, len(bars), j, m)
        assert block.values.shape[2] == width
        return block

    def hold(self, block, begin, end, j, m):
        if m["answer"] is not None and begin < end:
            block.values[begin:end, j] = m["answer"][: len(self.columns)]
            block.context[begin:end, j] = m["answer"][len(self.columns) :]
            block.ready[begin:end, j] = True

    @hookimpl
    def slt_snapshot_features(self):
        return {"memory": copy.deepcopy(self.memory)}

    @hookimpl
    def slt_restore_features(self, state):
        self.memory = copy.deepcopy(state["memory"])


class TableFeatures(PlainFeatures):
    """One symbol's traded bars so far as columns ``[n, 1]``: `compute(t)` answers as many for each column.

    What has been seen is kept whole, so that a causal `compute` gives the same for any cut.
    """

    def start(self):
        self.past = {}

    def compute(self, t):
        raise NotImplementedError

    @hookimpl
    def slt_update_features(self, bars):
        block = self.empty(bars)
        for j, symbol in enumerate(bars.symbols):
            rows = np.flatnonzero(bars.state[:, j] == BarState.TRADED)
            t = {name: getattr(bars, name)[rows, j : j + 1] for name in FIELDS}
            t["time"] = bars.close_time[rows][:, np.newaxis]
            past = self.past.get(symbol)
            if past is not None:
                t = {name: np.concatenate([past[name], t[name]]) for name in t}
            self.past[symbol] = self.kept(t)
            if len(t["time"]):
                self.fill(block, j, rows, t)
        return block

    def kept(self, t):
        return {name: array.copy() for name, array in t.items()}

    def fill(self, block, j, rows, t):
        with np.errstate(all="ignore"):
            answers = np.hstack([np.asarray(a, dtype=float) for a in self.compute(t)])
        answers[: self.warm - 1] = np.nan
        count = len(answers) - len(rows) + np.searchsorted(rows, np.arange(len(block.fresh)), side="right")
        at = np.maximum(count - 1, 0)
        width = len(self.columns)
        block.ready[:, j] = count >= self.warm
        block.fresh[rows, j] = True
        block.values[:, j] = np.where(block.ready[:, j : j + 1], answers[at, :width], np.nan)
        block.context[:, j] = np.where(block.ready[:, j : j + 1], answers[at, width:], np.nan)

    @hookimpl
    def slt_snapshot_features(self):
        return {"past": copy.deepcopy(self.past)}

    @hookimpl
    def slt_restore_features(self, state):
        self.past = copy.deepcopy(state["past"])


def windows(x, length):
    """``[n, 1, length]``: the last `length` rows up to each row; NaN before the first."""
    padded = np.vstack([np.full((length - 1, x.shape[1]), np.nan), x])
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)


def held(table):
    """Each missing value replaced by the last known one of its column."""
    rows = np.where(np.isnan(table), 0, np.arange(len(table))[:, np.newaxis])
    return np.take_along_axis(table, np.maximum.accumulate(rows, axis=0), axis=0)
