from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb
from attrs import evolve

from slt.config.sections import GateConfig
from slt.errors import ModelError
from slt.run.fitting import FitWorker, fit_inline
from slt.testing import ModelConformance
from slt.testing.model import planted_samples
from slt.trading.gate import evaluate
from slt.trading.scoring import calibration_curve, calibration_error
from slt.types import FitRequest, SampleSet
from slt_xgboost.artefact import Artefact, pack_artefact, unpack_artefact
from slt_xgboost.model import XgboostModel, XgboostModelConfig


class TestXgboostConformance(ModelConformance):
    @pytest.fixture
    def make_model(self):
        return lambda: XgboostModel(XgboostModelConfig())


def model(**options: object) -> XgboostModel:
    return XgboostModel(XgboostModelConfig(**options))


def request(samples: SampleSet, seed: int = 1) -> FitRequest:
    return FitRequest("run-x-v1", "x", 1, "hash", 0, 0, samples, seed)


def trees_of(artefact: bytes) -> str:
    booster = xgb.Booster()
    booster.load_model(bytearray(unpack_artefact(artefact).trees))
    return "".join(booster.get_dump())


@pytest.mark.parametrize("rows", [60, 100, 200, 400])
def test_fit_few_rows_with_a_clear_edge_finds_splits(rows: int) -> None:
    artefact = model().slt_fit_model(planted_samples(rows, 1, strength=2.0), seed=1)
    assert "yes=" in trees_of(artefact), "a minimum leaf too large for the rows leaves only constants"


def test_fit_parameters_grow_with_the_rows_as_documented() -> None:
    found = {}
    for rows in (400, 1_600, 10_000):
        header = unpack_artefact(model(rounds=4).slt_fit_model(planted_samples(rows, 2), seed=1)).header
        parameters, rate = header["parameters"], header["wins"] / header["rows"]
        leaf_rows = parameters["min_child_weight"] / (rate * (1 - rate))
        found[rows] = (parameters["max_depth"], parameters["rounds"], round(leaf_rows))
    assert found == {400: (2, 4, 30), 1_600: (3, 6, 60), 10_000: (4, 8, 150)}


def test_fit_max_depth_one_is_never_exceeded() -> None:
    header = unpack_artefact(model(max_depth=1, rounds=2).slt_fit_model(planted_samples(2_000, 3), seed=1)).header
    assert header["parameters"]["max_depth"] == 1


def test_fit_other_seed_gives_other_bytes_and_says_which() -> None:
    samples = planted_samples(300, 4)
    first, second = (model().slt_fit_model(samples, seed) for seed in (1, 2))
    assert first != second
    assert unpack_artefact(second).header["seed"] == 2


def test_fit_huge_seed_is_taken() -> None:
    assert model().slt_fit_model(planted_samples(100, 5), seed=2**40 + 1)


def test_fit_many_rows_calibrates_by_isotonic_and_few_by_platt() -> None:
    methods = {
        rows: unpack_artefact(model(isotonic_from_rows=500).slt_fit_model(planted_samples(rows, 6), seed=1)).header[
            "calibration"
        ]["method"]
        for rows in (300, 600)
    }
    assert methods == {300: "platt", 600: "isotonic"}


def test_fit_hardly_any_wins_gives_the_base_rate() -> None:
    samples = planted_samples(60, 7)
    samples.won[:] = False
    samples.won[::20] = True
    loaded = model().slt_load_model(model().slt_fit_model(samples, seed=1))
    assert loaded.calibration.method == "flat"
    assert set(loaded.predict(samples.x).tolist()) == {float(np.float32(4 / 62))}


def test_fit_overlapping_labels_never_calibrate_on_rows_that_know_each_other() -> None:
    samples = planted_samples(300, 8)
    forever = evolve(samples, resolved_time=np.full(300, samples.time[-1] + 1))
    header = unpack_artefact(model().slt_fit_model(forever, seed=1)).header
    assert header["calibration"]["method"] == "flat"


def test_predictions_pooled_over_markets_are_calibrated() -> None:
    p, won = [], []
    for seed in range(6):
        samples = planted_samples(2_400, 100 + seed, strength=0.7)
        loaded = model().slt_load_model(model().slt_fit_model(samples.take(slice(0, 400)), seed=seed))
        p.append(loaded.predict(samples.x[400:]))
        won.append(samples.won[400:])
    curve = calibration_curve(np.concatenate(p).astype(np.float64), np.concatenate(won), 10)
    assert calibration_error(curve) <= 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"won": np.ones(100, np.bool_)}, r"cannot learn from only winning trades \(100\)"),
        ({"won": np.zeros(100, np.bool_)}, r"cannot learn from only losing trades \(100\)"),
        ({"names": ("a",)}, r"samples of shape \(100, 12\) with 1 names"),
    ],
)
def test_fit_unusable_samples_raise_model_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model().slt_fit_model(evolve(planted_samples(100, 9), **change), seed=1)


def test_fit_no_samples_raises_model_error() -> None:
    with pytest.raises(ModelError, match="cannot learn from no samples"):
        model().slt_fit_model(planted_samples(0, 9), seed=1)


def test_fit_infinite_value_raises_model_error_naming_the_column() -> None:
    samples = planted_samples(100, 10)
    samples.x[5, 3] = -np.inf
    with pytest.raises(ModelError, match="`column_3` holds an infinite value"):
        model().slt_fit_model(samples, seed=1)


def test_predict_other_number_of_columns_raises_model_error() -> None:
    loaded = model().slt_load_model(model().slt_fit_model(planted_samples(100, 11), seed=1))
    with pytest.raises(ModelError, match=r"shape \(5, 11\), fitted on 12 columns"):
        loaded.predict(np.zeros((5, 11), np.float32))


def test_load_sound_envelope_around_broken_trees_raises_model_error() -> None:
    stored = unpack_artefact(model().slt_fit_model(planted_samples(100, 12), seed=1))
    with pytest.raises(ModelError, match="xgboost cannot read its trees"):
        model().slt_load_model(pack_artefact(Artefact(stored.header, b"{not trees")))


def test_load_header_of_other_columns_raises_model_error() -> None:
    stored = unpack_artefact(model().slt_fit_model(planted_samples(100, 12), seed=1))
    header = {**stored.header, "names": ["a", "b"]}
    with pytest.raises(ModelError, match="its trees know 12 columns, not 2"):
        model().slt_load_model(pack_artefact(Artefact(header, stored.trees)))


def test_explain_other_columns_raises_model_error() -> None:
    with pytest.raises(ModelError, match="asked about a, b"):
        model().slt_explain_model(model().slt_fit_model(planted_samples(100, 12), seed=1), ("a", "b"))


def test_explain_model_without_a_split_gives_zeros() -> None:
    samples = planted_samples(100, 13)
    samples.x[:] = 0.0
    shares = model().slt_explain_model(model().slt_fit_model(samples, seed=1), samples.names)
    assert set(shares.values()) == {0.0}


def test_gate_noise_is_hardly_ever_promoted() -> None:
    reports = [evaluate(request(planted_samples(250, s, strength=0.0), s), model(), GateConfig()) for s in range(16)]
    assert sum(report.promoted for report in reports) <= 1


def test_gate_planted_edge_is_mostly_promoted_within_300_samples() -> None:
    found = 0
    for seed in range(8):
        samples = planted_samples(300, 500 + seed, strength=0.75)
        found += any(
            evaluate(request(samples.take(slice(0, rows)), seed), model(), GateConfig()).promoted for rows in (200, 300)
        )
    assert found >= 6


async def test_worker_fit_equals_the_fit_inline_byte_for_byte() -> None:
    samples = planted_samples(200, 14)
    worker = FitWorker("slt_xgboost.model:XgboostModel", XgboostModelConfig(), GateConfig())
    try:
        far = await worker.fit(request(samples))
    finally:
        await worker.stop()
    near = fit_inline(request(samples), model(), GateConfig())
    assert near.artefact
    assert far.artefact == near.artefact
    assert json.dumps(far.metrics) == json.dumps(near.metrics)
    assert far.verdict == near.verdict
