"""A new run begins with the model that an earlier run left in force, when the configuration says so."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

import slt.run.execution
from slt.storage.contract import Query
from slt.trading.registry import promote_by_hand
from slt.types import ModelVersion, Sample

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
        def run(self, *, start="2024-01-01", start_model="none", start_samples="none", days=1):
            learning = {"start_model": start_model, "start_samples": start_samples, "fit_every_trades": 20}
            settings = runner.settings(days=days, learning=learning, gate={"min_samples": 20, "min_per_outcome": 2})
            options = {**settings.options, FEED: {**settings.options[FEED], "start": start}}
            return runner.run(evolve(settings, options=options))

        def rows(self):
            return self.read(ModelVersion)

        def read(self, kind):
            async def work():
                await kept[0].hooks.slt_open_storage()
                return await kept[0].hooks.slt_read_records(query=Query(kind))

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


def stored_samples(shared):
    return [s for s in shared.read(Sample) if s.run_id == "t-001" and s.resolved_time is not None]


def test_new_run_fits_on_the_samples_of_an_earlier_one(shared):
    shared.run(days=3)
    shared.run(start="2024-02-01", days=2)
    shared.run(start="2024-02-01", days=2, start_samples="latest")
    earlier = {s.strategy: [] for s in stored_samples(shared)}
    for sample in stored_samples(shared):
        earlier[sample.strategy].append(sample)
    fits = {(m.run_id, m.strategy, m.version): m for m in shared.rows()}
    pairs = [(m, fits["t-003", m.strategy, m.version]) for m in shared.rows() if m.run_id == "t-002"]
    assert pairs
    for alone, helped in pairs:
        known = earlier[alone.strategy]
        assert len(known) > 20
        assert helped.samples - alone.samples == len(known)
        shadows = helped.metrics["shadows"] - alone.metrics["shadows"]
        assert shadows == sum(s.source == "shadow" for s in known)


def test_samples_of_another_schema_are_left_out_with_what_to_do(shared, caplog):
    shared.run(days=2)
    for row in shared.read(Sample):
        shared.put(evolve(row, schema_hash="other"))
    shared.run(start="2024-02-01", start_samples="latest")
    assert "stored samples are of other features" in caplog.text
    assert "slt train" in caplog.text


def test_samples_resolved_after_the_start_of_the_data_are_never_taken(shared):
    shared.run(days=2)
    shared.run(days=2, start_samples="latest")
    fits = {(m.run_id, m.strategy, m.version): m.samples for m in shared.rows()}
    again = {key: samples for key, samples in fits.items() if key[0] == "t-002"}
    assert again
    assert all(fits["t-001", *key[1:]] == samples for key, samples in again.items())
