"""For the same trades the same fits, verdicts and models, whatever drives the run."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from attrs import evolve

from slt.storage.contract import Query
from slt.types import ModelVersion, Sample, Trade

LEARNING = {"fit_every_trades": 30}
KINDS = (ModelVersion, Sample, Trade)
GATE = {"min_samples": 40, "min_per_outcome": 5}


@pytest.fixture
def lessons(runner):
    """What a run learnt: its trades, samples and versions, without the run's name."""

    def learn(mode, *, skip=True, **run):
        settings = runner.settings(days=4, learning=LEARNING, gate=GATE)
        options = {**settings.options}
        options["feeds", "synthetic"] = {**options["feeds", "synthetic"], "planted_edge": 1.0}
        settings = evolve(settings, options=options, run=evolve(settings.run, mode=mode, **run))
        runner.run(settings, skip=skip, is_fresh=True)
        storage = runner.assembly.plugins.storage.hooks
        run_id = runner.assembly.folder.run_id

        async def read():
            await storage.slt_open_storage()
            found = [await storage.slt_read_records(query=Query(kind, run_id=run_id)) for kind in KINDS]
            return [[repr(r).replace(run_id, "RUN") for r in records] for records in found], found[0]

        told, versions = asyncio.run(read())
        hashes = [(v.strategy, v.version, v.verdict, hashlib.sha256(v.artefact).hexdigest()) for v in versions]
        return told, hashes

    return learn


def test_every_driver_fits_the_same_models_with_the_same_verdicts(lessons):
    expected, versions = lessons("backtest")
    assert len({artefact for *_, artefact in versions}) >= 4
    for mode, options in (("paper", {}), ("backtest", {"block_bars": 97, "skip": False})):
        found, same = lessons(mode, **options)
        assert same == versions
        assert found == expected
