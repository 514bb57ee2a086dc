"""The conformance kit of strategies: subclass `StrategyConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from slt.hookspecs import StrategySpecs
from slt.testing.laws import assert_described, assert_same, copy_bars, cut_points, postpone
from slt.testing.markets import blank_features, pick_symbols, random_walk
from slt.types import VIEW_NAMES, Bars, BarState, FeatureBlock, StrategyBlock

__all__ = ["StrategyConformance"]

MakeStrategy = Callable[[], StrategySpecs]
Market = tuple[Bars, FeatureBlock]


class StrategyConformance:
    """What every strategy must do. A subclass gives the fixture `make_strategy`, and `features_for` if it reads any.

    ``make_strategy()`` makes a plugin instance without any state. The market is three random walks with gaps and
    minutes without trades.

    Attributes:
        interval_ms: Base interval of the market.
        rows: Length of the market in bars; enough for the strategy to be warm for half of it.
        volatility: Standard deviation of a bar's log return.
        cuts: Number of different cuttings into blocks that are tried.
        float_tolerance: Largest relative difference between cuttings; 0 = bit for bit, at most 1e-6.
    """

    interval_ms: int = 60_000
    rows: int = 2_000
    volatility: float = 0.0015
    cuts: int = 3
    float_tolerance: float = 0.0

    @pytest.fixture
    def make_strategy(self) -> MakeStrategy:
        """How to make a strategy; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_strategy`: a function that makes a strategy without state")

    def features_for(self, bars: Bars) -> FeatureBlock:
        """Features beside these bars, none by default. Row t must depend on the bars up to t alone."""
        return blank_features(bars)

    @pytest.fixture
    def market(self) -> Market:
        """The bars and features of most cards."""
        bars = random_walk(
            self.rows, seed=3, interval_ms=self.interval_ms, volatility=self.volatility, gaps=3, empties=0.002
        )
        return bars, self.features_for(bars)

    def test_s01_describes_itself(self, make_strategy: MakeStrategy) -> None:
        """S01: documented class and options."""
        assert_described(make_strategy())

    def test_s02_shapes_and_types_are_as_specified(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S02: every block has the shapes and dtypes of `StrategyBlock`."""
        block = _run(make_strategy, market, [(0, self.rows)])
        dtypes = {"side": np.int8, "stop": np.float64, "target": np.float64, "reason": np.int16}
        for name, dtype in {**dtypes, **dict.fromkeys(VIEW_NAMES, np.float32)}.items():
            array = getattr(block, name)
            assert array.shape == market[0].state.shape, f"`{name}` has shape {array.shape}"
            assert array.dtype == dtype, f"`{name}` has dtype {array.dtype}, {np.dtype(dtype)} is needed"

    def test_s03_proposals_are_sound(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S03: there are some; each has a side, a reason, a stop on the losing and a target on the winning side."""
        bars = market[0]
        block = _run(make_strategy, market, [(0, self.rows)])
        assert np.isin(block.side, (-1, 0, 1)).all(), f"sides must be -1, 0 or +1, not {np.unique(block.side)}"
        at = block.side != 0
        assert at.any(), "no proposal on the whole market: nothing was tested; give a market that moves the strategy"
        side, close = block.side[at], bars.close[at]
        assert (bars.state[at] == BarState.TRADED).all(), "a proposal stands on a bar that did not trade"
        assert (side * (close - block.stop[at]) > 0).all(), "a stop is not on the losing side of the close"
        assert (side * (block.target[at] - close) > 0).all(), "a target is not on the winning side of the close"
        assert (np.minimum(block.stop[at], block.target[at]) > 0).all(), "a stop or target is not above 0"
        reasons = block.reason[at]
        assert ((reasons >= 0) & (reasons < len(block.reasons))).all(), "a reason is no index into `reasons`"
        assert all(block.reasons), f"a reason is empty: {block.reasons}"

    def test_s04_no_proposal_leaves_no_numbers(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S04: where there is no proposal, stop and target are NaN and the reason is -1."""
        block = _run(make_strategy, market, [(0, self.rows)])
        none = block.side == 0
        assert np.isnan(block.stop[none]).all(), "a stop stands where there is no proposal"
        assert np.isnan(block.target[none]).all(), "a target stands where there is no proposal"
        assert (block.reason[none] == -1).all(), "a reason stands where there is no proposal"

    def test_s05_views_are_probabilities_or_unknown(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S05: every view lies in [0, 1] or is NaN."""
        block = _run(make_strategy, market, [(0, self.rows)])
        for name in VIEW_NAMES:
            view = getattr(block, name)
            known = view[~np.isnan(view)]
            assert ((known >= 0) & (known <= 1)).all(), f"`{name}` leaves [0, 1]: {known.min()} to {known.max()}"

    def test_s06_any_cut_gives_the_same(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S06: chunk invariance. The market in random blocks, single bars among them, gives what one block gives."""
        whole = _run(make_strategy, market, [(0, self.rows)])
        rng = np.random.default_rng(12)
        for _ in range(self.cuts):
            tail = self.rows - 40
            spans = [(a, min(b, tail)) for a, b in cut_points(self.rows, 12, rng) if a < tail]
            spans += [(i, i + 1) for i in range(tail, self.rows)]
            self._compare("chunk invariance", whole, _run(make_strategy, market, spans), market[0])

    def test_s07_row_depends_on_no_later_row(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S07: causality. Answers on a prefix are those of the whole, and another future changes nothing before it."""
        bars, features = market
        whole = _run(make_strategy, market, [(0, self.rows)])
        cut = self.rows * 2 // 3
        prefix = _run(make_strategy, (bars.rows(0, cut), features.rows(0, cut)), [(0, cut)])
        self._compare("prefix", whole.rows(0, cut), prefix, bars)
        other = random_walk(self.rows, seed=4, interval_ms=self.interval_ms, volatility=self.volatility)
        changed = Bars.concatenate([bars.rows(0, cut), other.rows(cut, self.rows)])
        later = _run(make_strategy, (changed, self.features_for(changed)), [(0, self.rows)])
        self._compare("another future", whole.rows(0, cut), later.rows(0, cut), bars)

    def test_s08_snapshot_goes_on_where_it_was_taken(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S08: snapshot, restore into a new instance: the rest is the same. Without the hooks: no state at all."""
        bars, features = market
        cut = self.rows // 2
        first = make_strategy()
        first.slt_propose_trades(bars=bars.rows(0, cut), features=features.rows(0, cut))
        rest = (bars.rows(cut, self.rows), features.rows(cut, self.rows))
        stateful = hasattr(first, "slt_snapshot_strategy")
        state = first.slt_snapshot_strategy() if stateful else {}
        frozen = pickle.dumps(state)
        expected = first.slt_propose_trades(bars=rest[0], features=rest[1])
        assert pickle.dumps(state) == frozen, "the snapshot changed while the strategy went on: give copies"
        for attempt in ("first restore", "second restore of the same state"):
            second = make_strategy()
            if stateful:
                second.slt_restore_strategy(state=state)
            actual = second.slt_propose_trades(bars=rest[0], features=rest[1])
            self._compare(attempt, expected, actual, rest[0])

    def test_s09_symbols_do_not_know_each_other(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S09: the answer for a symbol is the same alone and among others, in any column."""
        bars, features = market
        whole = _run(make_strategy, market, [(0, self.rows)])
        for picked in ([1], [2, 0]):
            part = (bars.columns(picked), pick_symbols(features, picked))
            alone = _run(make_strategy, part, [(0, self.rows)])
            self._compare("symbols alone", _pick(whole, picked), alone, part[0])

    def test_s10_late_bar_gives_the_same(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S10: a bar delivered in the next block counts as if it had been in time, for its symbol and the others."""
        bars, features = market
        whole = _run(make_strategy, market, [(0, self.rows)])
        row = int(np.flatnonzero((bars.state[: self.rows - 50] == BarState.TRADED).all(axis=1))[-1])
        plugin = make_strategy()
        early, late = postpone(bars, row, 0)
        before = plugin.slt_propose_trades(bars=early, features=features.rows(0, row + 1))
        after = plugin.slt_propose_trades(bars=late, features=features.rows(row, self.rows))
        tail = whole.rows(row, self.rows)
        self._compare("late symbol", _pick(tail, [0]), _pick(after, [0]), late.columns([0]))
        self._compare("punctual symbols", _pick(whole.rows(0, row + 1), [1, 2]), _pick(before, [1, 2]), early)
        end = self.rows - row
        self._compare("punctual symbols", _pick(tail, [1, 2]).rows(1, end), _pick(after, [1, 2]).rows(1, end), late)

    def test_s11_input_is_not_changed(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S11: bars and features belong to the kernel; they are read-only and stay as they are."""
        bars = copy_bars(market[0])
        features = pick_symbols(market[1], list(range(len(bars.symbols))))
        for block in (bars, features):
            for field in attrs.fields(type(block)):
                array = getattr(block, field.name)
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)
        make_strategy().slt_propose_trades(bars=bars, features=features)

    def test_s12_nothing_known_proposes_nothing(self, make_strategy: MakeStrategy, market: Market) -> None:
        """S12: on a block of absent bars there is no proposal."""
        bars, features = market
        silent = Bars.absent(bars.symbols, bars.interval_ms, bars.close_time)
        block = make_strategy().slt_propose_trades(bars=silent, features=features)
        assert not block.side.any(), "a proposal stands on an absent bar"

    def _compare(self, law: str, expected: StrategyBlock, actual: StrategyBlock, bars: Bars) -> None:
        assert self.float_tolerance <= 1e-6, "float_tolerance may be at most 1e-6"
        assert_same(f"{law}: `side` [row, symbol]", expected.side, actual.side)
        at = expected.side != 0
        words, others = ([block.reasons[i] for i in block.reason[at]] for block in (expected, actual))
        assert words == others, f"{law}: reasons differ"
        for name in ("stop", "target"):
            scale = float(np.nanmax(bars.close, initial=1.0))
            arrays = getattr(expected, name), getattr(actual, name)
            assert_same(f"{law}: `{name}` [row, symbol]", *arrays, tolerance=self.float_tolerance * scale)
        for name in VIEW_NAMES:
            arrays = getattr(expected, name), getattr(actual, name)
            assert_same(f"{law}: `{name}` [row, symbol]", *arrays, tolerance=self.float_tolerance)


_ARRAYS = ("side", "stop", "target", "reason", *VIEW_NAMES)


def _run(make_strategy: MakeStrategy, market: Market, spans: list[tuple[int, int]]) -> StrategyBlock:
    plugin = make_strategy()
    bars, features = market
    blocks = [plugin.slt_propose_trades(bars=bars.rows(a, b), features=features.rows(a, b)) for a, b in spans]
    return _join(blocks) if len(blocks) > 1 else blocks[0]


def _join(blocks: list[StrategyBlock]) -> StrategyBlock:
    """Blocks one after the other; each block's reasons are its own, so that the codes are moved to a common list."""
    words = sorted({word for block in blocks for word in block.reasons})
    moved = []
    for block in blocks:
        codes = np.array([words.index(word) for word in block.reasons] + [-1], dtype=np.int16)
        moved.append(attrs.evolve(block, reason=codes[block.reason], reasons=tuple(words)))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(b, name) for b in moved]) for name in _ARRAYS}
    return StrategyBlock(reasons=tuple(words), **arrays)


def _pick(block: StrategyBlock, indices: list[int]) -> StrategyBlock:
    return attrs.evolve(block, **{name: getattr(block, name)[:, indices] for name in _ARRAYS})
