"""What a broken law tells: the first bar, symbol and column, and both values."""

from __future__ import annotations

import honest_plugins
import leaking_plugins
import numpy as np
import pytest
from attrs import evolve

from slt.audit import Lab, Market, Subject, conduct, make_walk
from slt.audit.findings import difference
from slt.audit.subject import PluginFaultError, Table
from slt.errors import PluginLoadError
from slt.testing.markets import START

QUICK = {"extra_rows": 900, "leak_rows": 5_000, "starts": 60, "trials": 2}


def subject_of(cls, kind="features", **changes):
    return Subject(kind=kind, name=cls.__name__, cls=cls, config=cls.config_class(), **changes)


def finding(cls, law, kind="features", **options):
    return conduct(Lab(subject_of(cls, kind), **{**QUICK, **options}), only=[law])[0].finding


def table(**columns):
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    return Table(arrays, tuple(arrays), ())


BARS = make_walk(3, 2, seed=1, holes=False).bars


def test_difference_names_the_first_place_by_time_then_symbol():
    a = table(x=[[1.0, 2.0], [3.0, 4.0], [5.0, np.nan]], y=[[0, 0], [0, 0], [0, 0]])
    b = table(x=[[1.0, 2.0], [3.0, 4.5], [5.0, 1.0]], y=[[0, 0], [7, 0], [0, 0]])
    found = difference("trial", a, b, BARS)
    assert (found.example.bar, found.example.symbol, found.example.column) == (START + 120_000, "AAAUSDT", "y")
    assert (found.example.found, found.example.expected) == ("7", "0")
    assert found.text.startswith("trial: 3 of 12 values differ (x, y), first: at the bar 2024-01-01 00:02")
    assert difference("trial", a, a, BARS) is None


def test_difference_tolerance_is_for_floats_alone_and_not_for_nan():
    floats = table(x=[[1.0, 2.0]]), table(x=[[1.0 + 5e-7, 2.0]])
    assert difference("t", *floats, BARS) is not None
    assert difference("t", *floats, BARS, tolerance=1e-6) is None
    unknown = table(x=[[1.0, np.nan]]), table(x=[[1.0, 2.0]])
    assert difference("t", *unknown, BARS, tolerance=1e-6) is not None
    sides = table(x=np.array([[0, 1]], dtype=np.int8)), table(x=np.array([[0, 0]], dtype=np.int8))
    assert difference("t", *sides, BARS, tolerance=1e-6).example.found == "0"


def test_prefix_broken_tells_both_values():
    found = finding(leaking_plugins.NextBarShift, "prefix")
    assert found.verdict == "broken"
    assert found.example.column == "x"
    assert found.example.found == "nan"
    assert float(found.example.expected) != 0
    assert str(found.example.bar) in found.text


def test_inputs_broken_names_array_bar_symbol_and_values():
    text = finding(leaking_plugins.ScalesItsInput, "inputs").text
    assert text.startswith(f"it changed its input `bars.close` at bar {START + 60_000} of AAAUSDT: now ")
    text = finding(leaking_plugins.FillsFeaturesInPlace, "inputs", kind="strategies").text
    assert text.startswith("it changed its input `features.ready`")


def test_contract_wrong_shape_and_dtype_are_named():
    text = finding(leaking_plugins.WrongShape, "contract").text
    assert text == "slt_update_features gave `values` of shape (300, 1), (300, 3, 1) is needed"
    assert finding(leaking_plugins.DoubleValues, "contract").text == "`values` has dtype float64, float32 is needed"


def test_contract_plugin_that_says_nothing_cannot_be_judged():
    class Silent(honest_plugins.BarBreakout):
        def on_bar(self, symbol, bar, features):
            return None

    found = finding(Silent, "contract", kind="strategies")
    assert found.verdict == "broken"
    assert "nothing could be judged" in found.text


def test_contract_block_of_another_kind_is_named():
    class Absurd(honest_plugins.Rsi):
        def slt_update_features(self, bars):
            return [1, 2]

    Absurd.slt_update_features.slt_impl = honest_plugins.Rsi.slt_update_features.slt_impl
    assert finding(Absurd, "contract").text == "slt_update_features gave a list, a FeatureBlock is needed"


def test_coupling_broken_tells_the_share_and_a_start():
    found = finding(leaking_plugins.WarmUpTooShort, "coupling")
    assert "30 bars after the start only" in found.text
    assert "99% must" in found.text
    assert found.example.column == "rsi"


def test_coupling_of_a_cross_symbol_set_runs_each_start_alone():
    class Declared(honest_plugins.Rsi):
        cross_symbol = True

    class Short(leaking_plugins.WarmUpTooShort):
        cross_symbol = True

    assert finding(Declared, "coupling").verdict == "holds"
    assert finding(Short, "coupling").verdict == "broken"


def test_scale_context_may_stay_or_move_with_prices_but_nothing_else():
    class Squared(honest_plugins.Atr):
        def step(self, *args):
            fraction, atr = super().step(*args)
            return fraction, atr * atr

    assert finding(honest_plugins.Atr, "scale").verdict == "holds"
    assert finding(Squared, "scale").example.column == "atr"


def test_missing_taker_names_the_columns_that_read_it():
    assert finding(honest_plugins.FlowEma, "missing_taker").text == "flow NaN without it; 0 others unchanged"
    assert finding(honest_plugins.Rsi, "missing_taker").text == "no column reads it; 1 others unchanged"


def test_parity_missing_mirror_column_fails_with_its_name():
    class Lost(leaking_plugins.WrongMirror):
        context_names = ("other",)

    text = "column `to_high` mirrors into `wrong`, which is no context column"
    assert finding(Lost, "contract").text == text
    assert finding(Lost, "parity").text == text


def test_leaks_broken_names_column_horizon_and_bound():
    found = finding(leaking_plugins.TargetInFeatures, "leaks")
    assert found.text.startswith("it knows the future of a random walk: `target`")
    assert "bound 5." in found.text
    assert found.example.column == "target"
    assert "momentum" not in found.text


def test_leaks_naive_strategy_of_an_honest_column_pays_costs():
    text = finding(honest_plugins.Macd, "leaks").text
    assert "naive strategies on average" in text
    net = float(text.split("% before and ")[1].split("%")[0])
    assert net < 0


def test_subject_that_does_not_fit_its_kind_is_refused():
    class Odd:
        config_class = honest_plugins.PlainConfig

        def __init__(self, config):
            pass

    with pytest.raises(PluginLoadError, match="implements no `slt_describe_features`"):
        subject_of(Odd).session()


def test_subject_trial_gets_memory_of_its_own():
    bars = make_walk(100, 2, seed=1).bars
    before = bars.close.copy()
    subject_of(leaking_plugins.ScalesItsInput).run(Market(bars))
    np.testing.assert_array_equal(bars.close, before)


def test_subject_fault_keeps_hook_and_cause():
    subject = subject_of(leaking_plugins.RaisesOnShortBlocks)
    with pytest.raises(PluginFaultError, match="slt_update_features raised IndexError") as caught:
        subject.run(Market(make_walk(1, 2, seed=1).bars))
    assert isinstance(caught.value.__cause__, IndexError)


def test_lab_data_takes_the_place_of_the_law_market():
    bars = make_walk(700, 1, seed=9).bars
    lab = Lab(subject_of(honest_plugins.Rsi), **QUICK)
    lab.data = evolve(bars, symbols=("MINEUSDT",))
    judged = {j.law: j.finding for j in conduct(lab, only=["contract", "chunks", "symbols", "prefix"])}
    assert judged["contract"].text == "3 outputs on 700 bars of 1 symbols"
    assert judged["symbols"].verdict == "skipped"
    assert judged["chunks"].verdict == judged["prefix"].verdict == "holds"
