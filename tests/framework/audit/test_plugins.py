"""Every plugin that cheats is caught by the law expected; those that do not cheat are left alone.

This is the short form. ``python benchmarks/audit.py`` asks every law with 100 seeds.
"""

from __future__ import annotations

import honest_plugins
import leaking_plugins
import pytest

from slt import hookimpl
from slt.audit import LAWS, Lab, Subject, conduct
from slt.audit.choosing import choose_subjects

QUICK = {"extra_rows": 900, "leak_rows": 5_000, "starts": 60, "trials": 2}
PROCESS_LAWS = ("restart", "determinism")
LEAKS = list(leaking_plugins.LEAKS)
HONEST = [*honest_plugins.FEATURES, *honest_plugins.STRATEGIES]


def subject_of(cls):
    kind = "strategies" if hasattr(cls, "slt_propose_trades") else "features"
    return Subject(kind=kind, name=cls.__name__, cls=cls, config=cls.config_class())


def broken_laws(subject, seed, only):
    judged = conduct(Lab(subject, seed=seed, **QUICK), only=only)
    return {j.law: j.finding.text for j in judged if j.finding.verdict in {"broken", "failed"}}


def test_suite_is_as_large_as_promised():
    assert len(LEAKS) >= 25
    assert len(HONEST) >= 10


@pytest.mark.parametrize("cls", LEAKS, ids=lambda c: c.__name__)
def test_conduct_leaking_plugin_breaks_the_laws_expected(cls):
    expected = leaking_plugins.LEAKS[cls]
    assert set(broken_laws(subject_of(cls), 1, expected)) == set(expected)


@pytest.mark.parametrize("cls", HONEST, ids=lambda c: c.__name__)
def test_conduct_honest_plugin_breaks_no_law(cls):
    quick = [law for law in LAWS if law not in PROCESS_LAWS]
    assert broken_laws(subject_of(cls), 2, quick) == {}


@pytest.mark.parametrize("cls", [honest_plugins.DayVwap, honest_plugins.BarBreakout], ids=lambda c: c.__name__)
def test_conduct_honest_plugin_in_other_processes_breaks_no_law(cls):
    assert broken_laws(subject_of(cls), 3, PROCESS_LAWS) == {}


@pytest.mark.parametrize("name", ["features:ict", "strategies:ict_smc", "strategies:ema_cross"])
def test_conduct_shipped_plugin_breaks_no_law(name):
    quick = [law for law in LAWS if law not in PROCESS_LAWS]
    assert broken_laws(choose_subjects(name, None, (), 60_000)[0], 4, quick) == {}


def test_conduct_plugin_that_raises_is_named_and_other_laws_still_run():
    judged = conduct(Lab(subject_of(leaking_plugins.RaisesOnShortBlocks), **QUICK), only=["chunks", "prefix", "inputs"])
    found = {j.law: (j.finding.verdict, j.finding.text) for j in judged}
    assert found["chunks"] == ("failed", "slt_update_features raised IndexError: index -2 is out of bounds")
    assert found["prefix"][0] == found["inputs"][0] == "holds"


def test_conduct_plugin_that_ends_the_program_is_named():
    class Leaves(honest_plugins.Rsi):
        def slt_update_features(self, bars):
            raise SystemExit(3)

    Leaves.slt_update_features.slt_impl = honest_plugins.Rsi.slt_update_features.slt_impl
    judged = conduct(Lab(subject_of(Leaves), **QUICK), only=["chunks"])
    assert judged[0].finding.text == "slt_update_features raised SystemExit: 3"


class RoundsByBlock(honest_plugins.Rsi):
    """Off by a rounding error that depends on the length of the block."""

    @hookimpl
    def slt_update_features(self, bars):
        block = super().slt_update_features(bars)
        block.values[:] += 2e-10 * len(bars)
        return block


def test_conduct_rounding_passes_where_it_is_declared_and_nowhere_else():
    class Declared(RoundsByBlock):
        float_tolerance = 1e-6

    assert set(broken_laws(subject_of(RoundsByBlock), 1, ["chunks"])) == {"chunks"}
    judged = conduct(Lab(subject_of(Declared), **QUICK), only=["chunks"])
    assert judged[0].finding.text.endswith("floats within 1e-06")


def test_conduct_cross_symbol_plugin_that_declares_it_is_not_asked_about_symbols():
    class Declared(leaking_plugins.RankAmongSymbols):
        cross_symbol = True

    judged = conduct(Lab(subject_of(Declared), **QUICK), only=["symbols", "late_bars"])
    assert [j.finding.verdict for j in judged] == ["skipped", "skipped"]
    assert "declared" in judged[0].finding.text


def test_conduct_tells_each_law_before_it_is_asked():
    told = []
    judged = conduct(
        Lab(subject_of(honest_plugins.BarBreakout), **QUICK),
        only=["contract", "chunks", "parity"],
        tell=lambda *what: told.append(what),
    )
    assert [j.law for j in judged] == ["contract", "chunks"]  # parity is asked of feature sets alone
    assert told == [(0, 2, LAWS["contract"]), (1, 2, LAWS["chunks"])]
