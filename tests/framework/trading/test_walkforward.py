from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve, frozen

from slt.errors import ModelError
from slt.testing.model import planted_samples
from slt.trading.walkforward import ask_model, checked_predictions, walk_forward
from slt.types import MINUTE_MS, SampleSet

EMBARGO = 120


@frozen
class Constant:
    value: float

    def predict(self, x):
        return np.full(len(x), self.value, np.float32)


class Recorder:
    """A model that remembers what it was given; its artefact is the number of the fit."""

    def __init__(self) -> None:
        self.fitted: list[SampleSet] = []

    def slt_fit_model(self, samples):
        self.fitted.append(samples)
        return bytes([len(self.fitted)])

    def slt_load_model(self, artefact):
        return Constant(artefact[0] / 100)


def walk(samples: SampleSet, model: object, trainable: np.ndarray | None = None, **changes: object):
    options = {"first": 60, "folds": 4, "embargo_minutes": EMBARGO, "min_per_outcome": 5, "seed": 1, **changes}
    everything = np.ones(len(samples), np.bool_)
    return walk_forward(samples, model, everything if trainable is None else trainable, **options)


def test_walk_forward_every_later_row_is_predicted_by_the_model_of_its_part() -> None:
    samples = planted_samples(200, 1)
    result = walk(samples, Recorder())
    assert np.isnan(result.p[:60]).all()
    assert np.round(result.p[60:] * 100).tolist() == [1] * 35 + [2] * 35 + [3] * 35 + [4] * 35


def test_walk_forward_trains_only_on_outcomes_known_an_embargo_before_the_part() -> None:
    samples, model = planted_samples(200, 2), Recorder()
    result = walk(samples, model)
    assert len(model.fitted) == 4
    for fold, training in zip(result.folds, model.fitted, strict=True):
        known = samples.resolved_time + EMBARGO * MINUTE_MS <= fold["from_time"]
        assert training.time.tolist() == samples.time[known].tolist()
        assert fold["purged"] > 0
        assert fold["trained_on"] == len(training)


def test_walk_forward_longer_labels_are_purged() -> None:
    samples, short, long = planted_samples(200, 3), Recorder(), Recorder()
    walk(samples, short)
    walk(evolve(samples, resolved_time=samples.resolved_time + 24 * 60 * MINUTE_MS), long)
    assert all(len(a) - len(b) > 20 for a, b in zip(short.fitted, long.fitted, strict=True))


def test_walk_forward_outcomes_of_later_rows_change_no_earlier_prediction() -> None:
    class Rate(Recorder):
        def slt_fit_model(self, samples):
            return bytes([int(100 * samples.won.mean())])

    samples = planted_samples(200, 4)
    flipped = evolve(samples, won=np.where(np.arange(200) < 130, samples.won, ~samples.won))
    before, after = walk(samples, Rate()), walk(flipped, Rate())
    for name in ("p", "base_rate", "break_even"):
        assert np.array_equal(getattr(before, name)[:130], getattr(after, name)[:130], equal_nan=True)
    assert before.p[-1] != after.p[-1]


def test_walk_forward_base_rate_and_break_even_come_from_the_training_part() -> None:
    samples, model = planted_samples(200, 5), Recorder()
    result = walk(samples, model)
    last = model.fitted[-1]
    assert result.base_rate[-1] == pytest.approx((last.won.sum() + 0.5) / (len(last) + 1))
    assert result.break_even[-1] == pytest.approx(1.1 / (1.1 + 1.4))


def test_walk_forward_shadows_are_predicted_but_not_trained_on() -> None:
    samples, model = planted_samples(300, 6), Recorder()
    is_shadow = np.arange(300) % 3 == 0
    samples = evolve(samples, is_shadow=is_shadow)
    result = walk(samples, model, ~is_shadow)
    assert not any(training.is_shadow.any() for training in model.fitted)
    assert np.flatnonzero(~np.isnan(result.p))[0] == np.flatnonzero(~is_shadow)[59] + 1
    assert not np.isnan(result.p[-2:]).any()


def test_walk_forward_part_without_both_outcomes_before_it_is_left_out() -> None:
    samples, model = planted_samples(200, 7), Recorder()
    samples.won[:100] = False
    samples.won[100:] = np.arange(100) % 2 == 0
    result = walk(samples, model)
    assert [fold["predicted"] for fold in result.folds] == [0, 0, 35, 35]
    assert np.isnan(result.p[:130]).all()
    assert not np.isnan(result.p[130:]).any()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.array([0.5, np.nan, 0.5]), "predicted nan in 1 of 3 rows"),
        (np.array([0.5, 1.5, -0.1]), "predicted 1.5 in 2 of 3 rows"),
        (np.full((3, 1), 0.5), r"shape \(3, 1\) for 3 rows"),
        (np.full(2, 0.5), r"shape \(2,\) for 3 rows"),
    ],
)
def test_checked_predictions_no_probabilities_raise_model_error(answer: np.ndarray, message: str) -> None:
    class Wrong:
        def predict(self, x):
            return answer

    with pytest.raises(ModelError, match=message):
        checked_predictions(Wrong(), np.zeros((3, 2), np.float32))


def test_ask_model_gives_only_the_arguments_that_are_taken() -> None:
    assert ask_model(lambda samples: samples, samples=1, seed=2) == 1
    assert ask_model(lambda **given: given, samples=1, seed=2) == {"samples": 1, "seed": 2}
