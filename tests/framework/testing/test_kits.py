"""The kits catch what they are there to catch: a broken plugin for each law."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from attrs import define, evolve, frozen

import slt.testing
from slt.testing.exits import ExitConformance
from slt.testing.features import FeatureConformance
from slt.testing.laws import assert_described, assert_same, cut_points
from slt.testing.markets import blank_features, random_walk
from slt.testing.sizers import SizerConformance
from slt.testing.strategies import StrategyConformance
from slt.types import BarState, Column, ExitMark, ExitOrder, FeatureBlock, Parity, Size, Skip, StrategyBlock

NAN = float("nan")


@frozen
class GoodConfig:
    """Options.

    Attributes:
        bars: Look-back in bars.
    """

    bars: int = 3


@frozen
class UndocumentedConfig:
    """Options."""

    bars: int = 3


@define
class ThawedConfig:
    """Options.

    Attributes:
        bars: Look-back in bars.
    """

    bars: int = 3


def plugin_class(name, config_class, doc="Does something."):
    return type(name, (), {"__doc__": doc, "config_class": config_class})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (plugin_class("Good", GoodConfig, None), "needs a docstring"),
        (plugin_class("Good", GoodConfig, "\nText."), "first line of the docstring"),
        (type("Good", (), {"__doc__": "Does."}), "needs a `config_class`"),
        (plugin_class("Good", dict), "must be a frozen attrs class"),
        (plugin_class("Better", GoodConfig), "BetterConfig is the rule"),
        (plugin_class("Thawed", ThawedConfig), "must be frozen"),
        (plugin_class("Undocumented", UndocumentedConfig), "option `bars` is missing"),
    ],
)
def test_assert_described_badly_described_plugin_fails(kind, message):
    assert_described(plugin_class("Good", GoodConfig)())
    with pytest.raises(AssertionError, match=message):
        assert_described(kind())


def test_assert_same_names_the_first_difference():
    a = np.array([[1.0, NAN], [2.0, 3.0]])
    assert_same("x", a, a.copy())
    assert_same("x", a, a + 1e-9, tolerance=1e-8)
    with pytest.raises(AssertionError, match=r"x: 1 of 4 values differ, first at \(1, 0\): .*2\.5.*, expected .*2\.0"):
        assert_same("x", a, np.array([[1.0, NAN], [2.5, 3.0]]))
    with pytest.raises(AssertionError, match="x: 1 of 4 values differ"):
        assert_same("x", a, np.array([[1.0, 0.0], [2.0, 3.0]]), tolerance=1.0)
    with pytest.raises(AssertionError, match="dtype"):
        assert_same("x", a, a.astype(np.float32))
    with pytest.raises(AssertionError, match="shape"):
        assert_same("x", a, a[:1])


def test_cut_points_cover_every_row_once():
    spans = cut_points(50, 7, np.random.default_rng(1))
    assert [row for a, b in spans for row in range(a, b)] == list(range(50))
    assert len(spans) > 3


# Exits -----------------------------------------------------------------------------------------------


class Exit:
    def __init__(self, check):
        self.check = check

    def slt_check_exit(self, position, point, outlook):
        return self.check(position, point, outlook)


def loses(position, point):
    return position.gain(point.price) < -0.5


def mutating(position, point, outlook):
    position.marks.add("seen")
    return ExitOrder() if loses(position, point) else None


class Moody(Exit):
    def __init__(self):
        self.asked = 0

    def slt_check_exit(self, position, point, outlook):
        self.asked += 1
        return ExitOrder() if self.asked % 2 else None


def below(limit):
    """Fires on an unknown confidence, since `not nan >= limit` holds."""
    return lambda position, point, outlook: ExitOrder() if outlook and not outlook.confidence >= limit else None


BROKEN_EXITS = [
    ("test_e02_answers_are_orders_marks_or_none", lambda *_: True, "no answer of an exit"),
    ("test_e02_answers_are_orders_marks_or_none", lambda *_: None, "nothing was tested"),
    ("test_e03_is_pure", mutating, "position was changed"),
    ("test_e04_fraction_is_a_share", lambda *_: ExitOrder(0.0), "fraction 0.0"),
    ("test_e04_fraction_is_a_share", lambda *_: ExitOrder(1.5), "fraction 1.5"),
    ("test_e05_trigger_price_was_on_the_way", lambda p, *_: ExitOrder(1.0, p.target * 3), "never traded"),
    ("test_e05_trigger_price_was_on_the_way", lambda *_: ExitOrder(1.0, NAN), "never traded"),
    ("test_e06_unknown_outlook_is_no_outlook", below(0.0), "with an unknown one"),
    ("test_e08_short_mirrors_long", lambda p, q, o: ExitOrder() if q.price < 99.5 else None, "long: "),
    ("test_e08_short_mirrors_long", lambda p, q, o: ExitOrder(1.0, p.entry_price - 0.01), "AAAUSDT"),
    ("test_e09_mark_is_left_once", lambda *_: ExitMark("again"), "left again"),
    ("test_e09_mark_is_left_once", lambda *_: ExitMark(""), "needs a name"),
]


@pytest.mark.parametrize(("card", "check", "message"), BROKEN_EXITS)
def test_exit_kit_broken_exit_fails_its_card(card, check, message):
    with pytest.raises(AssertionError, match=message):
        getattr(ExitConformance(), card)(lambda: Exit(check))


def test_exit_kit_moody_exit_is_not_pure():
    with pytest.raises(AssertionError, match="asked twice"):
        ExitConformance().test_e03_is_pure(Moody)


@pytest.mark.parametrize("name", ["confidence", "p_win"])
def test_exit_kit_firing_on_an_unknown_value_fails_its_card(name):
    def check(position, point, outlook):
        value = getattr(outlook, name, None)
        return ExitOrder() if value is not None and not value >= 0.0 else None

    with pytest.raises(AssertionError, match=f"{name} = nan alone closes"):
        ExitConformance().test_e07_unknown_value_never_fires(lambda: Exit(check), name)


# Sizers ----------------------------------------------------------------------------------------------


class Sizer:
    def __init__(self, size):
        self.size = size

    def slt_size_position(self, proposal, confidence, p_win, account):
        return self.size(proposal, confidence, p_win, account)


BROKEN_SIZERS = [
    ("test_z02_size_is_positive_and_affordable", lambda p, c, w, a: Size(a.equity * c, a.equity), "notional is"),
    ("test_z02_size_is_positive_and_affordable", lambda *_: Size(1.0, 0.0), "margin is 0.0"),
    (
        "test_z02_size_is_positive_and_affordable",
        lambda p, c, w, a: Size(1e3 * a.leverage, 1.0),
        "exceeds margin times",
    ),
    ("test_z02_size_is_positive_and_affordable", lambda p, c, w, a: Size(2.0, a.equity + 1.0), "above equity"),
    ("test_z02_size_is_positive_and_affordable", lambda *_: Skip("never"), "nothing was tested"),
    ("test_z03_skip_says_why", lambda *_: Skip(" "), "without a reason"),
    ("test_z03_skip_says_why", lambda p, c, w, a: Skip("no", {"confidence": c}), "not finite"),
    ("test_z03_skip_says_why", lambda *_: None, "no answer of a sizer"),
    ("test_z04_no_equity_is_no_size", lambda *_: Size(1.0, 1.0), "without equity"),
    (
        "test_z06_more_equity_is_no_less",
        lambda p, c, w, a: Size(1e6 / a.equity, 1.0) if a.equity else Skip("0"),
        "shrinks",
    ),
    (
        "test_z06_more_equity_is_no_less",
        lambda p, c, w, a: Size(1, 1) if 0 < a.equity < 50 else Skip("rich"),
        "it skips",
    ),
    ("test_z07_short_is_sized_like_long", lambda p, c, w, a: Size(p.side + 2.0, 1.0), "SizerCase"),
    ("test_z07_short_is_sized_like_long", lambda p, c, w, a: Size(1, 1) if p.side > 0 else Skip("no"), "for the other"),
]


@pytest.mark.parametrize(("card", "size", "message"), BROKEN_SIZERS)
def test_sizer_kit_broken_sizer_fails_its_card(card, size, message):
    with pytest.raises(AssertionError, match=message):
        getattr(SizerConformance(), card)(lambda: Sizer(size))


def test_sizer_kit_counting_sizer_is_not_pure():
    calls = []

    def size(*_):
        calls.append(1)
        return Size(float(len(calls)), 1e9)

    with pytest.raises(AssertionError, match="asked twice"):
        SizerConformance().test_z05_is_pure(lambda: Sizer(size))


# Features --------------------------------------------------------------------------------------------


@frozen
class MomentumConfig:
    """Options of `Momentum`.

    Attributes:
        bars: Look-back in bars.
    """

    bars: int = 3


class Momentum:
    """Return over the last bars of a symbol, and its volume; sound, and the base of the broken ones below."""

    config_class = MomentumConfig
    warmup = 3

    def __init__(self, config=None):
        self.config = config or MomentumConfig()

    def slt_describe_features(self):
        return (Column("momentum"),), ("volume",), self.warmup, "momentum 1"

    def slt_start_features(self, symbols, interval_ms):
        self.interval = interval_ms
        self.closes = {s: [] for s in symbols}
        self.time = dict.fromkeys(symbols, 0)
        self.held = dict.fromkeys(symbols, (NAN, NAN, False))

    def slt_update_features(self, bars):
        shape = bars.state.shape
        values, context = np.full((*shape, 1), NAN, np.float32), np.full((*shape, 1), NAN)
        fresh, ready = np.zeros(shape, bool), np.zeros(shape, bool)
        for row in range(shape[0]):
            for i, symbol in enumerate(bars.symbols):
                fresh[row, i] = self.take(bars, row, i)
                values[row, i, 0], context[row, i, 0], ready[row, i] = self.held[symbol]
        return FeatureBlock(
            columns=(Column("momentum"),),
            context_names=("volume",),
            values=values,
            context=context,
            fresh=fresh,
            ready=ready,
        )

    def take(self, bars, row, i):
        symbol = bars.symbols[i]
        if bars.state[row, i] == BarState.ABSENT:
            return False
        closes = self.closes[symbol]
        if bars.close_time[row] - self.time[symbol] > self.interval:
            closes.clear()
        self.time[symbol] = int(bars.close_time[row])
        if bars.state[row, i] == BarState.EMPTY:
            return False
        closes.append(float(bars.close[row, i]))
        del closes[:-4]
        momentum = np.float32(np.log(closes[-1] / closes[0])) if len(closes) == 4 else NAN
        self.held[symbol] = (momentum, float(bars.volume[row, i]), len(closes) == 4)
        return True

    def slt_snapshot_features(self):
        return {
            "closes": {s: list(c) for s, c in self.closes.items()},
            "time": dict(self.time),
            "held": dict(self.held),
        }

    def slt_restore_features(self, state):
        self.closes = {s: list(c) for s, c in state["closes"].items()}
        self.time, self.held = dict(state["time"]), dict(state["held"])


class Small:
    extra_rows = 300


class TestMomentum(Small, FeatureConformance):
    @pytest.fixture
    def make_features(self):
        return lambda: Momentum(MomentumConfig())


def changed(name, function):
    """`Momentum` with one method's answer put through `function`."""

    def method(self, *args, **kwargs):
        return function(self, getattr(Momentum, name)(self, *args, **kwargs))

    return type("Momentum", (Momentum,), {name: method, "__doc__": Momentum.__doc__})


def of_block(**functions):
    def function(_, block):
        return evolve(block, **{name: f(block) for name, f in functions.items()})

    return changed("slt_update_features", function)


class Aliasing(Momentum):
    """Gives its living state as a snapshot."""

    def slt_snapshot_features(self):
        return {"closes": self.closes, "time": self.time, "held": self.held}


class Forgetful(Momentum):
    """Loses its averages in a restore."""

    def slt_restore_features(self, state):
        super().slt_restore_features({**state, "closes": {s: [] for s in state["closes"]}})


class Punctual(Momentum):
    """Drops a bar that comes after a later one of another symbol."""

    newest = 0

    def take(self, bars, row, i):
        late = bars.close_time[row] < self.newest or (i == 0 and bars.close_time[row] == self.newest)
        self.newest = max(self.newest, int(bars.close_time[row]))
        return False if late else super().take(bars, row, i)


class Scribbling(Momentum):
    """Writes into its input."""

    def slt_update_features(self, bars):
        bars.volume[:] = 1.0
        return super().slt_update_features(bars)


class Slow(Momentum):
    """Declares less warm-up than it needs."""

    warmup = 1


BROKEN_FEATURES = [
    (
        "test_f01_describes_itself",
        changed("slt_describe_features", lambda _, d: (d[0], ("momentum",), *d[2:])),
        "used twice",
    ),
    (
        "test_f01_describes_itself",
        changed("slt_describe_features", lambda _, d: ((Column("m", Parity.MIRRORED, "x"),), *d[1:])),
        "no context column",
    ),
    (
        "test_f02_shapes_and_types_are_as_described",
        of_block(values=lambda b: b.values.astype(float)),
        "dtypes",
    ),
    (
        "test_f03_any_cut_gives_the_same",
        of_block(values=lambda b: b.values - b.values[:1]),
        "chunk invariance: `momentum`",
    ),
    (
        "test_f04_row_depends_on_no_later_row",
        of_block(values=lambda b: np.concatenate([b.values[1:], b.values[-1:]])),
        "prefix: `momentum`",
    ),
    (
        "test_f04_row_depends_on_no_later_row",
        of_block(values=lambda b: b.values / np.nanmax(b.values)),
        "`momentum`",
    ),
    ("test_f05_snapshot_goes_on_where_it_was_taken", Aliasing, "give copies"),
    ("test_f05_snapshot_goes_on_where_it_was_taken", Forgetful, "first restore"),
    (
        "test_f06_symbols_do_not_know_each_other",
        of_block(values=lambda b: b.values - b.values[:, :1]),
        "symbols alone",
    ),
    ("test_f07_late_bar_gives_the_same", Punctual, "late symbol"),
    ("test_f09_warm_up_is_as_declared", Slow, "not ready 1 bars after the start"),
    ("test_f09_warm_up_is_as_declared", of_block(values=lambda b: np.nan_to_num(b.values)), "must be NaN"),
    (
        "test_f10_no_infinity_and_no_dead_column",
        of_block(values=lambda b: np.where(b.values > 0.001, np.float32(np.inf), b.values)),
        "infinite",
    ),
    ("test_f10_no_infinity_and_no_dead_column", of_block(values=lambda b: b.values * 0), "constant"),
    ("test_f11_values_are_held_between_fresh_rows", of_block(fresh=lambda b: b.fresh & False), "between fresh rows"),
    ("test_f12_absent_bars_are_not_fresh", of_block(fresh=lambda b: b.fresh | True), "absent bar"),
]


@pytest.mark.parametrize(("card", "kind", "message"), BROKEN_FEATURES)
def test_feature_kit_broken_set_fails_its_card(card, kind, message):
    kit = FeatureConformance()
    kit.extra_rows, kit.cuts = 300, 1
    with pytest.raises(AssertionError, match=message):
        getattr(kit, card)(kind)


def test_feature_kit_scribbling_set_fails():
    kit = FeatureConformance()
    kit.extra_rows = 700
    with pytest.raises(ValueError, match="read-only"):
        kit.test_f08_input_is_not_changed(Scribbling)


# Strategies ------------------------------------------------------------------------------------------


class Reversal:
    """Buys a close below the one before and sells one above, by at least 0.2 %; sound, the base of the broken ones."""

    config_class = GoodConfig

    def __init__(self):
        self.last = {}

    def slt_propose_trades(self, bars, features):
        block = StrategyBlock.quiet(bars.state.shape, ("fell", "rose"))
        for row in range(len(bars)):
            for i in np.flatnonzero(bars.state[row] == BarState.TRADED):
                close = float(bars.close[row, i])
                move = close / self.last.get(bars.symbols[i], close) - 1
                self.last[bars.symbols[i]] = close
                block.confidence_long[row, i] = 0.5 - max(-0.5, min(0.5, 50 * move))
                if abs(move) > 0.002:
                    side = -int(np.sign(move))
                    block.side[row, i] = side
                    block.stop[row, i] = close * (1 - 0.01 * side)
                    block.target[row, i] = close * (1 + 0.01 * side)
                    block.reason[row, i] = int(side < 0)
        return block

    def slt_snapshot_strategy(self):
        return {"last": dict(self.last)}

    def slt_restore_strategy(self, state):
        self.last = dict(state["last"])


def of_answer(**functions):
    class Changed(Reversal):
        def slt_propose_trades(self, bars, features):
            block = super().slt_propose_trades(bars, features)
            return evolve(block, **{name: f(block) for name, f in functions.items()})

    return Changed


class Amnesiac(Reversal):
    slt_snapshot_strategy = None

    def __getattribute__(self, name):
        if name in ("slt_snapshot_strategy", "slt_restore_strategy"):
            raise AttributeError(name)
        return super().__getattribute__(name)


class Living(Reversal):
    def slt_snapshot_strategy(self):
        return {"last": self.last}


class Stubborn(Reversal):
    """Proposes on every row, there or not."""

    def slt_propose_trades(self, bars, features):
        block = super().slt_propose_trades(bars, features)
        return evolve(block, side=np.ones_like(block.side))


def lower(view):
    return np.concatenate([view[1:], view[-1:]])


BROKEN_STRATEGIES = [
    ("test_s02_shapes_and_types_are_as_specified", of_answer(side=lambda b: b.side.astype(int)), "`side` has dtype"),
    ("test_s02_shapes_and_types_are_as_specified", of_answer(stop=lambda b: b.stop[:-1]), "`stop` has shape"),
    ("test_s03_proposals_are_sound", of_answer(side=lambda b: b.side * 0), "nothing was tested"),
    ("test_s03_proposals_are_sound", of_answer(side=lambda b: b.side * 2), "sides must be"),
    ("test_s03_proposals_are_sound", Stubborn, "did not trade"),
    ("test_s03_proposals_are_sound", of_answer(stop=lambda b: b.target), "losing side"),
    ("test_s03_proposals_are_sound", of_answer(target=lambda b: b.stop), "winning side"),
    ("test_s03_proposals_are_sound", of_answer(stop=lambda b: np.where(b.side > 0, -1.0, b.stop)), "not above 0"),
    ("test_s03_proposals_are_sound", of_answer(reason=lambda b: b.reason + 2), "no index"),
    ("test_s03_proposals_are_sound", of_answer(reasons=lambda b: ("", "rose")), "is empty"),
    (
        "test_s04_no_proposal_leaves_no_numbers",
        of_answer(stop=lambda b: np.nan_to_num(b.stop, nan=1.0)),
        "a stop stands",
    ),
    (
        "test_s05_views_are_probabilities_or_unknown",
        of_answer(confidence_long=lambda b: b.confidence_long * 2),
        "leaves",
    ),
    (
        "test_s06_any_cut_gives_the_same",
        of_answer(confidence_long=lambda b: b.confidence_long - np.nanmean(b.confidence_long)),
        "chunk invariance: `confidence_long`",
    ),
    (
        "test_s07_row_depends_on_no_later_row",
        of_answer(confidence_long=lambda b: lower(b.confidence_long)),
        "`confidence_long`",
    ),
    ("test_s08_snapshot_goes_on_where_it_was_taken", Amnesiac, "first restore"),
    ("test_s08_snapshot_goes_on_where_it_was_taken", Living, "give copies"),
    (
        "test_s09_symbols_do_not_know_each_other",
        of_answer(confidence_long=lambda b: b.confidence_long - b.confidence_long[:, :1]),
        "symbols alone",
    ),
    ("test_s12_nothing_known_proposes_nothing", Stubborn, "on an absent bar"),
]


class TestReversal(StrategyConformance):
    rows = 500

    @pytest.fixture
    def make_strategy(self):
        return type("Good", (Reversal,), {"__doc__": Reversal.__doc__})


@pytest.mark.parametrize(("card", "kind", "message"), BROKEN_STRATEGIES)
def test_strategy_kit_broken_strategy_fails_its_card(card, kind, message):
    kit = StrategyConformance()
    kit.rows, kit.cuts = 500, 1
    bars = random_walk(500, seed=3, volatility=0.0015, gaps=3, empties=0.002)
    with pytest.raises(AssertionError, match=message):
        getattr(kit, card)(kind, (bars, blank_features(bars)))


def test_strategy_kit_strategy_that_counts_rows_fails_the_late_bar():
    class Counting(Reversal):
        rows = 0

        def slt_propose_trades(self, bars, features):
            block = super().slt_propose_trades(bars, features)
            self.rows += len(bars)
            return evolve(block, confidence_short=np.full_like(block.confidence_long, (self.rows % 7) / 7))

    kit = StrategyConformance()
    kit.rows = 500
    bars = random_walk(500, seed=3, volatility=0.0015)
    with pytest.raises(AssertionError, match="`confidence_short`"):
        kit.test_s10_late_bar_gives_the_same(Counting, (bars, blank_features(bars)))


def test_strategy_kit_scribbling_strategy_fails():
    class Writer(Reversal):
        def slt_propose_trades(self, bars, features):
            bars.close[0] = 1.0
            return super().slt_propose_trades(bars, features)

    kit = StrategyConformance()
    kit.rows = 500
    bars = random_walk(500, seed=3)
    with pytest.raises(ValueError, match="read-only"):
        kit.test_s11_input_is_not_changed(Writer, (bars, blank_features(bars)))


# The package -----------------------------------------------------------------------------------------


def test_testing_package_finds_its_kits_and_names_what_it_does_not_have():
    assert slt.testing.ExitConformance is ExitConformance
    with pytest.raises(AttributeError, match=r"`slt\.testing` has no attribute `Nothing`"):
        _ = slt.testing.Nothing


def test_testing_package_loads_a_kit_only_when_asked():
    code = (
        "import sys, slt.testing\n"
        "assert not [m for m in sys.modules if m.startswith('slt.testing.')]\n"
        "slt.testing.SizerConformance\n"
        "assert 'slt.testing.exits' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_testing_package_shows_values_in_failing_asserts(tmp_path):
    (tmp_path / "test_bad.py").write_text(
        "import pytest\n"
        "from slt.testing import ExitConformance\n"
        "from slt.types import ExitOrder\n"
        "class Bad:\n"
        "    def slt_check_exit(self, position, point, outlook):\n"
        "        return ExitOrder(1.25)\n"
        "class TestBad(ExitConformance):\n"
        "    @pytest.fixture\n"
        "    def make_exit(self):\n"
        "        return Bad\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "e04", str(tmp_path)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert result.returncode == 1
    assert "assert 1.25 <= 1.0" in result.stdout
