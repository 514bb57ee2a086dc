"""The four locks in whole runs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from attrs import evolve

from slt.config import LocksConfig, options_of
from slt.errors import ConfigError, StoppedError
from slt.run.execution import Observer, execute
from slt.storage.contract import Query
from slt.types import Trade

FRAMEWORK = Path(__file__).parents[3] / "framework"
EASY = {
    "learning": {"fit_every_trades": 20},
    "gate": {
        "significance_level": 0.99,
        "min_log_loss_gain": 0.0,
        "min_scored": 10,
        "min_taken": 1,
        "min_expected_r": -9.0,
    },
}
"""A gate that lets nearly everything pass."""


def locked(settings):
    return evolve(settings, locks=evolve(settings.locks, disable_model_training=True))


def run_until(settings, is_over):
    """Run a configuration until something holds of it; what it came to and the assembly."""
    seen = []
    observer = Observer(started=seen.append, progressed=lambda _: None, stopping=lambda: is_over(seen[0]))
    return asyncio.run(execute(settings, observer)), seen[0]


def champions(assembly):
    names = assembly.settings.plugins.strategies
    return {name: assembly.engine.champion(name)[0] for name in names}


async def stored_trades(storage):
    await storage.slt_open_storage()
    return await storage.slt_read_records(query=Query(Trade))


def test_disable_model_training_no_fit_is_asked_for(runner):
    outcome, _ = run_until(locked(runner.settings(**EASY)), lambda _: False)
    assert outcome.summary.trades > 2 * EASY["learning"]["fit_every_trades"]
    assert outcome.summary.models == ()
    assert outcome.problems == ()


def test_disable_model_training_on_a_resume_keeps_the_champion_predicting(runner):
    settings = runner.settings(days=4, **EASY, run={"block_bars": 120})
    first = []

    def has_champion(assembly):
        first.append(assembly)
        return any(champions(assembly).values())

    with pytest.raises(StoppedError):
        run_until(settings, has_champion)
    outcome, assembly = run_until(locked(settings), lambda _: False)
    assert assembly.folder.is_resumed
    assert champions(assembly) == champions(first[-1])
    assert {m.version for m in outcome.summary.models if m.promoted} == set(champions(assembly).values()) - {0}
    later = asyncio.run(stored_trades(assembly.plugins.storage.hooks))
    decided = [t.model_version for t in later if champions(assembly)[t.strategy]]
    assert decided[5:]
    assert set(decided[5:]) == set(champions(assembly).values()) - {0}


def test_disable_model_training_refuses_a_fit_that_was_under_way(runner):
    settings = runner.settings(**EASY, run={"block_bars": 5})
    with pytest.raises(StoppedError):
        run_until(settings, lambda assembly: bool(assembly.engine.pending_fits()))
    outcome, _ = run_until(locked(settings), lambda _: False)
    assert [(m.version, m.verdict) for m in outcome.summary.models] == [
        (1, "refused: training is locked by DISABLE_MODEL_TRAINING")
    ]


@pytest.mark.parametrize("lock", [False, True])
async def test_live_mode_is_refused_before_anything_is_started(runner, lock):
    settings = evolve(runner.settings(run={"mode": "live"}), locks=LocksConfig(disable_websocket=lock))
    with pytest.raises(ConfigError, match=r"run\.mode: found `live`"):
        await execute(settings, None)
    assert not (runner.folder / "runs").exists()


def test_disable_rest_fallback_says_that_nothing_polls_and_nothing_does():
    (option,) = [o for o in options_of(LocksConfig) if o.name == "disable_rest_fallback"]
    assert "nothing polls" in option.text
    readers = [p for p in FRAMEWORK.rglob("*.py") if re.search(r"\.disable_rest_fallback", p.read_text("utf-8"))]
    assert readers == []
