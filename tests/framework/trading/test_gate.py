from __future__ import annotations

import json
import re

import numpy as np
import pytest
from attrs import evolve

from slt.config.sections import GateConfig
from slt.errors import ModelError
from slt.testing.model import planted_samples
from slt.trading.gate import evaluate, hash_samples
from slt.types import FitReport, FitRequest, SampleSet

EDGE = 0.75


class LogisticPredictor:
    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def predict(self, x):
        return (1 / (1 + np.exp(-(x @ self.weights[:-1] + self.weights[-1])))).astype(np.float32)


class Logistic:
    """Logistic regression with a ridge, by Newton's method; a model plugin small enough for a test."""

    def slt_fit_model(self, samples):
        design = np.column_stack([samples.x.astype(np.float64), np.ones(len(samples))])
        weights = np.zeros(design.shape[1])
        for _ in range(8):
            p = 1 / (1 + np.exp(-(design @ weights)))
            hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag([10.0] * samples.x.shape[1] + [1e-6])
            ridge = np.append(10.0 * weights[:-1], 0.0)
            weights += np.linalg.solve(hessian, design.T @ (samples.won - p) - ridge)
        return weights.tobytes()

    def slt_load_model(self, artefact):
        return LogisticPredictor(np.frombuffer(artefact, np.float64))

    def slt_explain_model(self, artefact, names):
        size = np.abs(np.frombuffer(artefact, np.float64)[:-1])
        return dict(zip(names, (size / size.sum()).tolist(), strict=True))


def request(samples: SampleSet, seed: int = 1, **changes: object) -> FitRequest:
    return evolve(FitRequest("run-x-v3", "x", 3, "hash", 0, 0, samples, seed), **changes)


def judge(samples: SampleSet, seed: int = 1, config: GateConfig | None = None, **changes: object) -> FitReport:
    return evaluate(request(samples, seed, **changes), Logistic(), config or GateConfig())


def with_champion(samples: SampleSet, p: np.ndarray, since: int = 0) -> SampleSet:
    """The champion's predictions of everything decided from row `since` on."""
    return evolve(samples, p_champion=np.where(np.arange(len(samples)) >= since, p, np.nan))


def truth(samples: SampleSet, strength: float = EDGE) -> np.ndarray:
    return 1 / (1 + np.exp(0.3 - strength * samples.x[:, :2].sum(axis=1).astype(np.float64)))


def test_evaluate_planted_edge_is_promoted_with_all_its_figures() -> None:
    samples = planted_samples(300, 1, strength=EDGE)
    report = judge(samples)
    assert report.promoted
    assert report.request_id == "run-x-v3"
    assert re.fullmatch(
        r"promoted: log-loss 0\.\d{3} against base rate 0\.\d{3} on 210 later trades \(p = 0\.\d{3}\), "
        r"\+0\.\d\d R a trade on the \d+ it would take, at least \+0\.\d\d R",
        report.verdict,
    )
    assert np.abs(np.frombuffer(report.artefact, np.float64)[:2]).min() > 0.3
    metrics = report.metrics
    assert metrics["samples"] == 300
    assert metrics["scored"] == 210
    assert len(metrics["folds"]) == 8
    assert sum(fold["predicted"] for fold in metrics["folds"]) == 210
    assert sum(point["count"] for point in metrics["calibration"]) == 210
    assert metrics["base_rate"]["log_loss"] < metrics["base_rate"]["baseline_log_loss"]
    assert metrics["base_rate"]["brier"] < metrics["base_rate"]["baseline_brier"]
    assert metrics["base_rate"]["p_value"] == max(metrics["base_rate"]["p_log_loss"], metrics["base_rate"]["p_brier"])
    assert 0.6 < metrics["auc"] < 0.9
    assert sum(metrics["importance"].values()) == pytest.approx(1.0)
    assert metrics["data_sha256"] == hash_samples(samples)


def test_evaluate_metrics_are_json() -> None:
    for rows in (10, 300):
        metrics = judge(planted_samples(rows, 2, strength=EDGE)).metrics
        assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_evaluate_same_request_gives_the_same_report() -> None:
    samples = planted_samples(250, 3, strength=EDGE)
    first, second = judge(samples, 7), judge(samples, 7)
    assert (first.verdict, first.metrics, first.artefact) == (second.verdict, second.metrics, second.artefact)
    assert first.metrics["base_rate"] != judge(samples, 8).metrics["base_rate"]


def test_evaluate_noise_is_hardly_ever_promoted() -> None:
    promoted = [judge(planted_samples(300, 1000 + seed, strength=0.0), seed).promoted for seed in range(40)]
    assert sum(promoted) <= 2


def test_evaluate_noise_in_a_market_that_pays_anyone_is_hardly_ever_promoted() -> None:
    promoted = []
    for seed in range(40):
        samples = planted_samples(300, 2000 + seed, strength=0.0)
        promoted.append(judge(evolve(samples, outcome_r=samples.outcome_r + 0.5), seed).promoted)
    assert sum(promoted) <= 4, "the tests against the base rate hold alone, without the help of costs"


def test_evaluate_planted_edge_is_mostly_promoted_within_300_samples() -> None:
    promoted = [judge(planted_samples(300, 3000 + seed, strength=EDGE), seed).promoted for seed in range(20)]
    assert sum(promoted) >= 16


def test_evaluate_too_few_samples_is_refused_without_a_fit() -> None:
    class Untouched:
        def slt_fit_model(self, samples):
            raise AssertionError("must not be asked")

    report = evaluate(request(planted_samples(50, 4)), Untouched(), GateConfig())
    assert (report.promoted, report.artefact) == (False, b"")
    assert report.verdict == "refused: too few samples (50 < 100)"


def test_evaluate_no_samples_is_refused() -> None:
    assert judge(planted_samples(0, 4)).verdict == "refused: too few samples (0 < 100)"


@pytest.mark.parametrize(("outcome", "rare"), [(True, "losing"), (False, "winning")])
def test_evaluate_one_outcome_only_is_refused(outcome: bool, rare: str) -> None:
    samples = planted_samples(150, 5)
    report = judge(evolve(samples, won=np.full(150, outcome)))
    assert report.verdict == f"refused: too few {rare} trades among 150 samples (0 < 10)"


def test_evaluate_wins_only_at_the_end_leaves_too_few_to_score() -> None:
    samples = planted_samples(150, 6)
    samples.won[:] = np.arange(150) >= 130
    report = judge(samples)
    assert not report.promoted
    assert re.search(r"too few later trades to score on \(\d+ < 40\)", report.verdict)


def test_evaluate_shadows_are_scored_but_count_neither_as_samples_nor_in_training() -> None:
    samples = planted_samples(300, 7, strength=EDGE)
    mixed = evolve(samples, is_shadow=np.arange(300) % 2 == 0)
    report = judge(mixed)
    assert "later trades and" in report.verdict
    assert "shadows" in report.verdict
    assert max(fold["trained_on"] for fold in report.metrics["folds"]) < 150
    lonely = evolve(samples, is_shadow=np.arange(300) >= 80)
    assert judge(lonely).verdict == "refused: too few samples (80 < 100)"
    assert judge(lonely, config=GateConfig(train_on_shadows=True)).artefact


def test_evaluate_champion_that_knows_the_truth_is_not_replaced() -> None:
    samples = planted_samples(400, 8, strength=EDGE)
    report = judge(with_champion(samples, truth(samples), since=150), champion_version=2)
    assert not report.promoted
    assert report.artefact, "a refused challenger is kept to be looked at"
    assert re.search(r"against champion v2 0\.\d{3} on 250 later trades proves nothing \(p = \d\.\d\d", report.verdict)
    assert report.metrics["champion"]["scored"] == 250


def test_evaluate_champion_whose_market_has_turned_is_replaced() -> None:
    samples = planted_samples(400, 9, strength=EDGE)
    report = judge(with_champion(samples, truth(samples, -EDGE), since=150), champion_version=2)
    assert report.promoted
    assert "against champion v2" in report.verdict
    assert report.metrics["champion"]["p_value"] <= 0.05


def test_evaluate_champion_is_judged_on_the_trades_it_predicted_only() -> None:
    samples = planted_samples(400, 10, strength=EDGE)
    nonsense_before = np.where(np.arange(400) < 300, np.nan, truth(samples))
    champion = judge(evolve(samples, p_champion=nonsense_before), champion_version=1).metrics["champion"]
    assert champion["scored"] == 100


def test_evaluate_champion_with_too_few_later_trades_stays() -> None:
    samples = planted_samples(300, 11, strength=EDGE)
    report = judge(with_champion(samples, truth(samples, 0.0), since=280), champion_version=4)
    assert not report.promoted
    assert "too few later trades that champion v4 predicted (20 < 30)" in report.verdict


def test_evaluate_edge_that_does_not_pay_its_costs_is_refused() -> None:
    samples = planted_samples(300, 12, strength=EDGE)
    poor = evolve(samples, outcome_r=np.where(samples.won, 0.2, -1.6))
    report = judge(poor)
    assert not report.promoted
    assert re.search(r"it would take", report.verdict)


def test_evaluate_hair_of_a_difference_is_no_gain() -> None:
    class AlmostBaseRate(Logistic):
        def slt_fit_model(self, samples):
            return np.append(np.zeros(12), np.log(1 / (1 / (samples.won.mean() + 0.001) - 1))).tobytes()

    samples = planted_samples(400, 13)
    samples.won[:] = np.random.default_rng(1).random(400) < np.where(np.arange(400) < 120, 0.3, 0.6)
    report = evaluate(request(samples), AlmostBaseRate(), GateConfig(min_taken=1))
    assert report.metrics["base_rate"]["p_value"] <= 0.05, "the case is only interesting where the test alone is passed"
    assert "a gain of less than 0.002" in report.verdict


def test_evaluate_model_that_takes_nothing_is_refused() -> None:
    class Timid(Logistic):
        def slt_load_model(self, artefact):
            inner = super().slt_load_model(artefact)
            inner.weights = np.append(inner.weights[:-1] * 0.01, -2.0)
            return inner

    report = evaluate(request(planted_samples(200, 14, strength=EDGE)), Timid(), GateConfig())
    assert "too few later trades it would take (0 < 20)" in report.verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ModelError("model: no\nway"), "refused: the fit failed: model: no way"),
        (MemoryError(), "refused: the fit failed: MemoryError"),
        (ZeroDivisionError("by zero"), "refused: the fit failed: ZeroDivisionError: by zero"),
    ],
)
@pytest.mark.parametrize("hook", ["slt_fit_model", "slt_load_model"])
def test_evaluate_plugin_that_raises_is_refused_with_its_words(hook: str, error: Exception, verdict: str) -> None:
    class Broken(Logistic):
        pass

    def fail(self, **_):
        raise error

    setattr(Broken, hook, fail)
    report = evaluate(request(planted_samples(150, 15)), Broken(), GateConfig())
    assert (report.promoted, report.verdict, report.artefact) == (False, verdict, b"")


def test_evaluate_predictions_that_are_none_are_refused() -> None:
    class Nan(Logistic):
        def slt_load_model(self, artefact):
            return LogisticPredictor(np.full(13, np.nan))

    verdict = evaluate(request(planted_samples(150, 16)), Nan(), GateConfig()).verdict
    assert verdict.startswith("refused: the fit failed: model: predicted nan in ")


def test_evaluate_plugin_that_cannot_explain_itself_shows_no_importance() -> None:
    class Silent(Logistic):
        slt_explain_model = None

    report = evaluate(request(planted_samples(300, 1, strength=EDGE)), Silent(), GateConfig())
    assert report.promoted
    assert report.metrics["importance"] == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"time": s.time[::-1].copy()}, "not in the order of their decisions"),
        (lambda s: {"resolved_time": s.time - 1}, "resolved before its decision"),
        (lambda s: {"outcome_r": np.where(np.arange(len(s)) == 5, np.nan, s.outcome_r)}, "has no outcome"),
        (lambda s: {"names": s.names[:-1]}, "under 11 names"),
    ],
)
def test_evaluate_broken_samples_are_refused(change, words: str) -> None:
    samples = planted_samples(150, 17)
    assert words in judge(evolve(samples, **change(samples))).verdict


def test_hash_samples_any_changed_value_changes_it() -> None:
    samples = planted_samples(50, 18)
    seen = {hash_samples(samples), hash_samples(evolve(samples, names=samples.names[::-1]))}
    for name in ("x", "won", "outcome_r", "time", "resolved_time", "p_champion", "is_shadow"):
        array = getattr(samples, name).copy()
        array.flat[-1] = ~array.flat[-1] if array.dtype == np.bool_ else 3
        seen.add(hash_samples(evolve(samples, **{name: array})))
    assert len(seen) == 9
    assert hash_samples(planted_samples(50, 18)) in seen
