"""The conformance kit of feature sets: subclass `FeatureConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from slt.hookspecs import FeatureSpecs
from slt.testing.laws import assert_described, assert_same, copy_bars, cut_points, postpone
from slt.testing.markets import random_walk
from slt.types import Bars, BarState, FeatureBlock, Parity

__all__ = ["FeatureConformance"]

MakeFeatures = Callable[[], FeatureSpecs]

_ARRAYS = ("values", "context", "fresh", "ready")


class FeatureConformance:
    """What every feature set must do. A subclass gives the fixture `make_features`; nothing else is needed.

    ``make_features()`` makes a plugin instance without any state. The market is three random walks with gaps and
    minutes without trades, long enough for the declared warm-up.

    Attributes:
        interval_ms: Base interval of the market.
        extra_rows: Bars beyond the warm-up.
        cuts: Number of different cuttings into blocks that are tried.
        float_tolerance: Largest absolute difference between cuttings; 0 = bit for bit, at most 1e-6.
    """

    interval_ms: int = 60_000
    extra_rows: int = 1_500
    cuts: int = 3
    float_tolerance: float = 0.0

    @pytest.fixture
    def make_features(self) -> MakeFeatures:
        """How to make a feature set; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_features`: a function that makes a feature set without state")

    def market(self, make_features: MakeFeatures, *, seed: int = 7) -> Bars:
        """A market with gaps and empty minutes, as long as warm-up and `extra_rows`; override it for a special one."""
        warmup = make_features().slt_describe_features()[2]
        rows = warmup + self.extra_rows
        return random_walk(rows, seed=seed, interval_ms=self.interval_ms, gaps=3, empties=0.002)

    def test_f01_describes_itself(self, make_features: MakeFeatures) -> None:
        """F01: documented class; unique names; each mirrored column has its partner in the context; stable answer."""
        plugin = make_features()
        assert_described(plugin)
        columns, context_names, warmup, definition = plugin.slt_describe_features()
        names = [column.name for column in columns] + list(context_names)
        assert columns, "a feature set needs at least one column for the model"
        assert len(set(names)) == len(names), f"a name is used twice: {sorted(names)}"
        for column in columns:
            mirrored = column.parity is Parity.MIRRORED
            assert not mirrored or column.mirror in context_names, (
                f"column `{column.name}` mirrors into `{column.mirror}`, which is no context column"
            )
        assert warmup >= 0, f"warmup_bars is {warmup}"
        assert definition, "the definition string is empty; it enters the schema hash"
        assert make_features().slt_describe_features() == (columns, context_names, warmup, definition)

    def test_f02_shapes_and_types_are_as_described(self, make_features: MakeFeatures) -> None:
        """F02: every block has the shapes and dtypes of `FeatureBlock` and the names that were described."""
        bars = self.market(make_features).rows(0, 200)
        block = _run(make_features, bars, [(0, 200)])
        columns, context_names, _, _ = make_features().slt_describe_features()
        assert block.columns == columns
        assert block.context_names == context_names
        shape = bars.state.shape
        assert block.values.shape == (*shape, len(columns))
        assert block.context.shape == (*shape, len(context_names))
        assert block.fresh.shape == block.ready.shape == shape
        dtypes = [getattr(block, name).dtype for name in _ARRAYS]
        assert dtypes == [np.float32, np.float64, np.bool_, np.bool_], f"dtypes of {_ARRAYS} are {dtypes}"

    def test_f03_any_cut_gives_the_same(self, make_features: MakeFeatures) -> None:
        """F03: chunk invariance. The market in random blocks, single bars among them, gives what one block gives."""
        bars = self.market(make_features)
        whole = _run(make_features, bars, [(0, len(bars))])
        rng = np.random.default_rng(11)
        for _ in range(self.cuts):
            spans = cut_points(len(bars), 12, rng)
            last = len(bars)
            singles = [(i, i + 1) for i in range(last - 40, last)]
            spans = [(a, min(b, last - 40)) for a, b in spans if a < last - 40] + singles
            self._compare("chunk invariance", whole, _run(make_features, bars, spans))

    def test_f04_row_depends_on_no_later_row(self, make_features: MakeFeatures) -> None:
        """F04: causality. Values on a prefix are those of the whole, and another future changes nothing before it."""
        bars = self.market(make_features)
        whole = _run(make_features, bars, [(0, len(bars))])
        cut = len(bars) - self.extra_rows // 2
        self._compare("prefix", whole.rows(0, cut), _run(make_features, bars.rows(0, cut), [(0, cut)]))
        other = self.market(make_features, seed=8).rows(cut, len(bars))
        changed = _run(make_features, Bars.concatenate([bars.rows(0, cut), other]), [(0, len(bars))])
        self._compare("another future", whole.rows(0, cut), changed.rows(0, cut))

    def test_f05_snapshot_goes_on_where_it_was_taken(self, make_features: MakeFeatures) -> None:
        """F05: snapshot, restore into a new instance: the rest is the same; the snapshot is no living reference."""
        bars = self.market(make_features)
        cut = len(bars) - self.extra_rows // 2
        first = _started(make_features, bars)
        first.slt_update_features(bars=bars.rows(0, cut))
        state = first.slt_snapshot_features()
        frozen = pickle.dumps(state)
        expected = first.slt_update_features(bars=bars.rows(cut, len(bars)))
        assert pickle.dumps(state) == frozen, "the snapshot changed while the features went on: give copies"
        for attempt in ("first restore", "second restore of the same state"):
            second = _started(make_features, bars)
            second.slt_restore_features(state=state)
            self._compare(attempt, expected, second.slt_update_features(bars=bars.rows(cut, len(bars))))

    def test_f06_symbols_do_not_know_each_other(self, make_features: MakeFeatures) -> None:
        """F06: a symbol's features are the same alone and among others, in any column."""
        bars = self.market(make_features)
        whole = _run(make_features, bars, [(0, len(bars))])
        for picked in ([1], [2, 0]):
            part = bars.columns(picked)
            alone = _run(make_features, part, [(0, len(bars))])
            self._compare("symbols alone", _pick(whole, picked), alone)

    def test_f07_late_bar_gives_the_same(self, make_features: MakeFeatures) -> None:
        """F07: a bar delivered in the next block counts as if it had been in time, for its symbol and the others."""
        bars = self.market(make_features)
        whole = _run(make_features, bars, [(0, len(bars))])
        row = int(np.flatnonzero((bars.state[: len(bars) - 50] == BarState.TRADED).all(axis=1))[-1])
        plugin = _started(make_features, bars)
        before, after = (plugin.slt_update_features(bars=part) for part in postpone(bars, row, 0))
        end = len(bars)
        self._compare("late symbol", _pick(whole.rows(row, end), [0]), _pick(after, [0]))
        self._compare("punctual symbols", _pick(whole.rows(0, row + 1), [1, 2]), _pick(before, [1, 2]))
        others = _pick(after, [1, 2])
        self._compare("punctual symbols", _pick(whole.rows(row + 1, end), [1, 2]), others.rows(1, end - row))

    def test_f08_input_is_not_changed(self, make_features: MakeFeatures) -> None:
        """F08: the bars belong to the kernel; they are read-only and stay as they are."""
        bars = copy_bars(self.market(make_features).rows(0, 500))
        for field in attrs.fields(Bars):
            array = getattr(bars, field.name)
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        plugin = _started(make_features, bars)
        block = plugin.slt_update_features(bars=bars)
        kept = {name: getattr(block, name).copy() for name in _ARRAYS}
        plugin.slt_update_features(bars=self.market(make_features).rows(500, 600))
        for name in _ARRAYS:
            assert_same(f"`{name}` of an earlier block after the next update", kept[name], getattr(block, name))

    def test_f09_warm_up_is_as_declared(self, make_features: MakeFeatures) -> None:
        """F09: unready and unknown before it is warm, ready by the declared number of bars, if nothing is missing."""
        warmup = make_features().slt_describe_features()[2]
        bars = random_walk(warmup + self.extra_rows, seed=5, interval_ms=self.interval_ms)
        block = _run(make_features, bars, [(0, len(bars))])
        assert block.ready[warmup:].all(), f"not ready {warmup} bars after the start, as declared"
        first = int(np.argmax(block.ready[:, 0]))
        assert np.isnan(block.values[:first]).all(), "values before the first ready row must be NaN"
        dead = [name for i, name in enumerate(block.names) if np.isnan(block.values[warmup:, :, i]).all()]
        assert not dead, f"columns that are never known after the warm-up: {dead}"

    def test_f10_no_infinity_and_no_dead_column(self, make_features: MakeFeatures) -> None:
        """F10: values are finite or NaN, and no column of the model is constant."""
        bars = self.market(make_features)
        block = _run(make_features, bars, [(0, len(bars))])
        assert not np.isinf(block.values).any(), "a value is infinite"
        assert not np.isinf(block.context).any(), "a context value is infinite"
        for i, name in enumerate(block.names):
            known = block.values[:, :, i][~np.isnan(block.values[:, :, i])]
            assert known.size == 0 or known.min() < known.max(), f"column `{name}` is constant"

    def test_f11_values_are_held_between_fresh_rows(self, make_features: MakeFeatures) -> None:
        """F11: where a row present is not fresh, its values are those of the symbol's row before."""
        bars = self.market(make_features)
        block = _run(make_features, bars, [(0, len(bars))])
        for symbol in range(len(bars.symbols)):
            rows = np.flatnonzero(bars.state[:, symbol] == BarState.TRADED)
            steady = np.diff(bars.close_time[rows]) == bars.interval_ms
            held = np.flatnonzero(~block.fresh[rows[1:], symbol] & steady)
            before, after = (block.values[rows[held + i], symbol] for i in (0, 1))
            assert_same(f"values of {bars.symbols[symbol]} between fresh rows", before, after)

    def test_f12_absent_bars_are_not_fresh(self, make_features: MakeFeatures) -> None:
        """F12: a bar that is not there computes nothing."""
        bars = self.market(make_features)
        block = _run(make_features, bars, [(0, len(bars))])
        assert not block.fresh[bars.state == BarState.ABSENT].any(), "an absent bar is marked fresh"

    def _compare(self, law: str, expected: FeatureBlock, actual: FeatureBlock) -> None:
        assert self.float_tolerance <= 1e-6, "float_tolerance may be at most 1e-6"
        for i, name in enumerate(expected.names):
            assert_same(
                f"{law}: `{name}` [row, symbol]",
                expected.values[:, :, i],
                actual.values[:, :, i],
                tolerance=self.float_tolerance,
            )
        for name in expected.context_names:
            scale = np.nanmax(np.abs(expected.context_of(name)), initial=1.0)
            assert_same(
                f"{law}: context `{name}` [row, symbol]",
                expected.context_of(name),
                actual.context_of(name),
                tolerance=self.float_tolerance * scale,
            )
        assert_same(f"{law}: `fresh` [row, symbol]", expected.fresh, actual.fresh)
        assert_same(f"{law}: `ready` [row, symbol]", expected.ready, actual.ready)


def _started(make_features: MakeFeatures, bars: Bars) -> FeatureSpecs:
    plugin = make_features()
    plugin.slt_start_features(symbols=bars.symbols, interval_ms=bars.interval_ms)
    return plugin


def _run(make_features: MakeFeatures, bars: Bars, spans: list[tuple[int, int]]) -> FeatureBlock:
    plugin = _started(make_features, bars)
    blocks = [plugin.slt_update_features(bars=bars.rows(start, stop)) for start, stop in spans]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in _ARRAYS}
    return FeatureBlock(columns=blocks[0].columns, context_names=blocks[0].context_names, **arrays)


def _pick(block: FeatureBlock, indices: list[int]) -> FeatureBlock:
    arrays: dict[str, Any] = {name: getattr(block, name)[:, indices] for name in _ARRAYS}
    return FeatureBlock(columns=block.columns, context_names=block.context_names, **arrays)
