"""The conformance suite of models: subclass `ModelConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from attrs import evolve

from slt.errors import ModelError
from slt.hookspecs import ModelSpecs, Predictor
from slt.testing.laws import assert_described
from slt.trading.walkforward import ask_model
from slt.types import MINUTE_MS, SampleSet

__all__ = ["MakeModel", "ModelConformance", "planted_samples"]

MakeModel = Callable[[], ModelSpecs]
"""What the fixture `make_model` gives: a call that makes a fresh plugin with the options to be tested."""

_START = 1_700_000_000_000
_COLUMNS = 12


def planted_samples(rows: int, seed: int, *, strength: float = 1.0, missing: float = 0.0) -> SampleSet:
    """Samples of a made-up market whose edge, if any, is known: trades of half an hour to two hours, 32 a day.

    Twelve independent normal columns; the log-odds of a win are ``-0.3 + strength · (column 0 + column 1)``, so a
    strength of 0 is pure noise and 0.7 gives the best possible predictor an area under the curve of about 0.74. A win
    pays 1.4 R, a loss costs 1.1 R.

    Args:
        rows: Number of samples.
        seed: Of everything random.
        strength: Of the edge.
        missing: Share of the values that are NaN; they still decide the outcome.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, _COLUMNS))
    p = 1.0 / (1.0 + np.exp(0.3 - strength * (x[:, 0] + x[:, 1])))
    won = rng.random(rows) < p
    time = _START + np.cumsum(rng.integers(1, 90, rows)) * MINUTE_MS
    x[rng.random(x.shape) < missing] = np.nan
    return SampleSet(
        names=tuple(f"column_{index}" for index in range(_COLUMNS)),
        x=x.astype(np.float32),
        won=won,
        outcome_r=np.where(won, 1.4, -1.1),
        time=time,
        resolved_time=time + rng.integers(30, 120, rows) * MINUTE_MS,
        p_champion=np.full(rows, np.nan),
        is_shadow=np.zeros(rows, np.bool_),
    )


class ModelConformance:
    """What every model must do. A subclass gives the fixture `make_model`; nothing else is needed.

    ``make_model()`` makes a plugin instance. It is fitted on samples of made-up markets (`planted_samples`).
    """

    @pytest.fixture
    def make_model(self) -> MakeModel:
        """How to make a model plugin; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_model`: a function that makes a model plugin")

    def test_m01_describes_itself(self, make_model: MakeModel) -> None:
        """M01: documented class and options."""
        assert_described(make_model())

    def test_m02_saved_model_predicts_the_same(self, make_model: MakeModel) -> None:
        """M02: an artefact is bytes, and whoever loads it predicts the same."""
        samples = planted_samples(300, 1)
        artefact = _fit(make_model(), samples, 1)
        assert isinstance(artefact, bytes)
        first = _load(make_model(), artefact).predict(samples.x)
        again = _load(make_model(), artefact).predict(samples.x)
        assert first.tobytes() == again.tobytes()

    def test_m03_fit_is_reproducible(self, make_model: MakeModel) -> None:
        """M03: the same samples and seed give the same bytes."""
        samples = planted_samples(300, 2)
        assert _fit(make_model(), samples, 5) == _fit(make_model(), samples, 5)

    def test_m04_predictions_are_probabilities(self, make_model: MakeModel) -> None:
        """M04: one float32 in [0, 1] a row, also for no rows and for values never seen."""
        model = make_model()
        predictor = _fitted(model, planted_samples(300, 3), 1)
        for rows in (0, 1, 7, 400):
            p = predictor.predict(planted_samples(rows, 4).x)
            assert p.dtype == np.float32
            assert p.shape == (rows,)
            assert ((p >= 0) & (p <= 1)).all()
        extreme = np.full((2, _COLUMNS), 1e6, np.float32) * np.array([[1], [-1]], np.float32)
        assert ((predictor.predict(extreme) >= 0) & (predictor.predict(extreme) <= 1)).all()

    def test_m05_rows_are_independent(self, make_model: MakeModel) -> None:
        """M05: a row's prediction has the same bits alone, in a batch and in another order."""
        model = make_model()
        predictor = _fitted(model, planted_samples(400, 5), 1)
        x = planted_samples(333, 6, missing=0.05).x
        whole = predictor.predict(x)
        alone = np.concatenate([predictor.predict(x[row : row + 1]) for row in range(len(x))])
        assert whole.tobytes() == alone.tobytes()
        order = np.random.default_rng(0).permutation(len(x))
        assert whole[order].tobytes() == predictor.predict(x[order]).tobytes()
        assert whole[5:].tobytes() == predictor.predict(x[5:]).tobytes()

    def test_m06_learns_a_planted_edge(self, make_model: MakeModel) -> None:
        """M06: 300 samples with a planted edge are enough to beat the base rate on later rows."""
        model = make_model()
        gains = []
        for seed in range(3):
            samples = planted_samples(2_300, 10 + seed)
            early, later = samples.take(slice(0, 300)), samples.take(slice(300, None))
            p = _fitted(model, early, seed).predict(later.x)
            gains.append(_log_loss(np.full(len(later), early.won.mean()), later.won) - _log_loss(p, later.won))
        assert np.mean(gains) > 0.02, f"log-loss gains over the base rate: {gains}"

    def test_m07_noise_makes_no_wild_claims(self, make_model: MakeModel) -> None:
        """M07: fitted on noise, predictions stay near the base rate."""
        model = make_model()
        losses = []
        for seed in range(3):
            samples = planted_samples(2_300, 20 + seed, strength=0.0)
            early, later = samples.take(slice(0, 300)), samples.take(slice(300, None))
            p = _fitted(model, early, seed).predict(later.x)
            losses.append(_log_loss(p, later.won) - _log_loss(np.full(len(later), early.won.mean()), later.won))
        assert np.mean(losses) < 0.05, f"log-loss above the base rate's: {losses}"

    def test_m08_missing_values_are_handled(self, make_model: MakeModel) -> None:
        """M08: NaN is a value like others, also a whole column or a whole row of it."""
        model = make_model()
        samples = planted_samples(300, 30, missing=0.3)
        samples.x[:, 4] = np.nan
        predictor = _fitted(model, samples, 1)
        p = predictor.predict(np.concatenate([samples.x, np.full((1, _COLUMNS), np.nan, np.float32)]))
        assert ((p >= 0) & (p <= 1)).all()

    def test_m09_constant_columns_do_no_harm(self, make_model: MakeModel) -> None:
        """M09: columns without information give the base rate."""
        model = make_model()
        samples = planted_samples(300, 31)
        samples.x[:] = 1.0
        p = _fitted(model, samples, 1).predict(samples.x)
        assert len(set(p.tolist())) == 1
        assert abs(float(p[0]) - float(samples.won.mean())) < 0.1

    def test_m10_one_outcome_is_refused(self, make_model: MakeModel) -> None:
        """M10: samples of one outcome only raise `ModelError`."""
        samples = planted_samples(100, 32)
        for outcome in (True, False):
            with pytest.raises(ModelError):
                _fit(make_model(), evolve(samples, won=np.full(100, outcome)), 1)

    def test_m11_unusable_artefacts_are_refused(self, make_model: MakeModel) -> None:
        """M11: empty, truncated, corrupt and foreign bytes raise `ModelError`."""
        model = make_model()
        artefact = _fit(model, planted_samples(200, 33), 1)
        middle = len(artefact) // 2
        flipped = bytearray(artefact)
        flipped[middle] ^= 0xFF
        unusable = {
            "empty": b"",
            "one byte": artefact[:1],
            "truncated": artefact[:middle],
            "last byte missing": artefact[:-1],
            "a byte too long": artefact + b"\0",
            "a bit flipped": bytes(flipped),
            "foreign": b"\x80\x04K\x01." + bytes(100),
        }
        for what, data in unusable.items():
            try:
                _load(model, data)
            except ModelError:
                continue
            pytest.fail(f"an artefact that is {what} was loaded")

    def test_m12_importance_adds_up(self, make_model: MakeModel) -> None:
        """M12: shares of importance add up to 1 and name the columns that carry the edge."""
        model = make_model()
        samples = planted_samples(500, 34, strength=2.0)
        shares = ask_model(model.slt_explain_model, artefact=_fit(model, samples, 1), names=samples.names)
        assert set(shares) == set(samples.names)
        assert sum(shares.values()) == pytest.approx(1.0)
        assert shares["column_0"] + shares["column_1"] > 0.5

    def test_m13_samples_stay_as_they_are(self, make_model: MakeModel) -> None:
        """M13: samples are only read."""
        model = make_model()
        samples = planted_samples(200, 35)
        before = samples.x.copy(), samples.won.copy()
        for array in (samples.x, samples.won, samples.outcome_r, samples.time, samples.resolved_time):
            array.flags.writeable = False
        _fitted(model, samples, 1).predict(samples.x)
        assert (samples.x == before[0]).all()
        assert (samples.won == before[1]).all()


def _fit(model: ModelSpecs, samples: SampleSet, seed: int) -> bytes:
    return cast("bytes", ask_model(model.slt_fit_model, samples=samples, seed=seed))


def _load(model: ModelSpecs, artefact: bytes) -> Predictor:
    return cast("Predictor", ask_model(model.slt_load_model, artefact=artefact))


def _fitted(model: ModelSpecs, samples: SampleSet, seed: int) -> Predictor:
    return _load(model, _fit(model, samples, seed))


def _log_loss(p: np.ndarray, won: np.ndarray) -> float:
    given = np.clip(np.where(won, p, 1.0 - p), 1e-6, 1.0)
    return float(-np.log(given).mean())
