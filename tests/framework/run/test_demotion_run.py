"""A run in which models decay: the same trades and the same demotions however it is played."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from slt.errors import StoppedError

EASY = {
    "learning": {"fit_every_trades": 20, "demotion_window": 20, "demotion_min_decisions": 20, "demotion_level": 0.6},
    "gate": {
        "min_samples": 20,
        "min_per_outcome": 3,
        "min_scored": 10,
        "min_champion_scored": 10,
        "significance_level": 0.9,
        "min_log_loss_gain": 0.0,
        "min_taken": 1,
        "min_expected_r": -9.0,
    },
}
"""A gate that lets nearly everything pass, and a record that nearly nothing can keep."""


def settings_of(runner, **run):
    return runner.settings(days=4, **EASY, run=run)


def demotions_of(outcome):
    return [(m.strategy, m.version) for m in outcome.summary.models if "; demoted to " in m.verdict]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("demotion_runner", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runner = module.Runner(tmp_path_factory.mktemp("reference"))
    return runner.run(settings_of(runner))


def test_models_are_demoted_in_the_reference_run(reference):
    assert demotions_of(reference)
    versions = [(m.strategy, m.version) for m in reference.summary.models]
    assert len(versions) == len(set(versions))


@pytest.mark.parametrize("rows", [61, 500])
def test_demotion_length_of_a_block_changes_nothing(reference, runner, rows):
    outcome = runner.run(settings_of(runner, block_bars=rows))
    assert outcome.summary.models == reference.summary.models
    assert outcome.summary.trade_hash == reference.summary.trade_hash


def test_demotion_in_paper_mode_bar_by_bar_is_the_same(reference, runner):
    outcome = runner.run(settings_of(runner, mode="paper"))
    assert outcome.summary.models == reference.summary.models
    assert outcome.summary.trade_hash == reference.summary.trade_hash


def test_demotion_survives_a_stop_in_the_middle(reference, runner):
    settings = settings_of(runner, block_bars=300)
    with pytest.raises(StoppedError):
        runner.run(settings, stop_after=9)
    outcome = runner.run(settings)
    assert outcome.summary.models == reference.summary.models
    assert outcome.summary.trade_hash == reference.summary.trade_hash
