"""A new run begins with the model that an earlier run left in force, when the configuration says so."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

import slt.run.execution
from slt.storage.contract import Query
from slt.trading.registry import promote_by_hand
from slt.types import ModelVersion

FEED = ("feeds", "synthetic")


@pytest.fixture
def shared(runner, monkeypatch):
    """Runs over one storage that outlives them, as a database does; the second on data that begins later."""
    build = slt.run.execution.build_plugins
    kept = []

    def with_kept_storage(settings):
        plugins = build(settings)
        kept[:] = kept or [plugins.storage]
        return evolve(plugins, storage=kept[0])

    monkeypatch.setattr(slt.run.execution, "build_plugins", with_kept_storage)

    class Shared:
        def run(self, *, start="2024-01-01", start_model="none", days=1):
            learning = {"start_model": start_model, "fit_every_trades": 20}
            settings = runner.settings(days=days, learning=learning, gate={"min_samples": 20, "min_per_outcome": 2})
            options = {**settings.options, FEED: {**settings.options[FEED], "start": start}}
            return runner.run(evolve(settings, options=options))

        def rows(self):
            async def work():
                await kept[0].hooks.slt_open_storage()
                return await kept[0].hooks.slt_read_records(query=Query(ModelVersion))

            return asyncio.run(work())

        def put(self, row):
            async def work():
                await kept[0].hooks.slt_open_storage()
                await kept[0].hooks.slt_write_records(records=[row])

            asyncio.run(work())

    return Shared()


@pytest.fixture
def trained(shared):
    """A storage in which a first run left one model in force, put there by hand."""
    shared.run(days=3)
    version = next(m for m in shared.rows() if m.artefact)
    shared.put(promote_by_hand(version, version.run_id, shared.rows()))
    return version


def begun_with(shared):
    return [(m.strategy, m.version) for m in shared.rows() if m.verdict.startswith("taken over from run t-001: ")]


def test_new_run_begins_with_the_model_in_force_and_counts_on(shared, trained):
    outcome = shared.run(start="2024-02-01", start_model="latest", days=2)
    assert begun_with(shared) == [(trained.strategy, trained.version)]
    row = next(m for m in shared.rows() if m.id == f"t-002-{trained.strategy}-v{trained.version}")
    assert row.artefact == trained.artefact
    versions = [(m.strategy, m.version) for m in outcome.summary.models]
    assert (trained.strategy, trained.version) in versions
    assert len(set(versions)) == len(versions)


def test_new_run_begins_untrained_by_default(shared, trained):
    shared.run(start="2024-02-01")
    assert begun_with(shared) == []


def test_model_fitted_after_the_start_of_the_data_is_never_taken(shared, trained):
    shared.run(start="2024-01-01", start_model="latest")
    assert begun_with(shared) == []


def test_model_of_another_schema_is_never_taken(shared, trained, caplog):
    for row in shared.rows():
        shared.put(evolve(row, schema_hash="other"))
    shared.run(start="2024-02-01", start_model="latest")
    assert begun_with(shared) == []
    assert "fitted on other features" in caplog.text


def test_damaged_artefact_makes_way_for_the_one_below(shared, trained, caplog):
    row = next(m for m in shared.rows() if m.id == trained.id)
    damaged = evolve(row, id=f"t-001-{row.strategy}-v99", version=99, artefact=row.artefact[:-5])
    shared.put(promote_by_hand(damaged, row.run_id, shared.rows()))
    shared.run(start="2024-02-01", start_model="latest")
    assert begun_with(shared) == [(trained.strategy, trained.version)]
    assert "stored model refused" in caplog.text
