"""The gate: a challenger trades only after it beat the base rate and the champion on later trades, after costs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import asdict, define, evolve, field

from slt.config.sections import GateConfig
from slt.errors import SltError
from slt.trading.scoring import (
    area_under_curve,
    block_length,
    brier,
    calibration_curve,
    calibration_error,
    improvement_p_value,
    log_loss,
    mean_interval,
    mean_lower_bound,
)
from slt.trading.walkforward import WalkForward, ask_model, checked_predictions, walk_forward
from slt.types import FitReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slt.hookspecs import ModelSpecs
    from slt.types import FitRequest, SampleSet

__all__ = ["GateConfig", "evaluate", "hash_samples"]


@define
class _Case:
    """What speaks for and against the challenger, gathered step by step."""

    metrics: dict[str, Any]
    shown: list[str] = field(factory=list)
    against: list[str] = field(factory=list)


def evaluate(request: FitRequest, model: ModelSpecs, config: GateConfig) -> FitReport:
    """Fit a challenger, score it on later trades, and decide.

    1. *Walk-forward*: out-of-sample predictions for the later samples, purged and embargoed, see `walk_forward`. The
       base rate they are held against is that of the same training part.
    2. *Base rate*: mean log-loss and mean Brier score must both be better, each by a one-sided block bootstrap test,
       and the gain in log-loss must be worth having (`min_log_loss_gain`): a constant that differs from the base rate
       by a hair can win a test by luck, it never has a gain.
    3. *Champion*: the same two tests on the later samples where `SampleSet.p_champion` is given. The caller fills it
       only for samples **decided after the champion's own fit was triggered**, the only ones that the champion cannot
       have been fitted on (what it said when it decided them is such a prediction), and leaves NaN elsewhere. An
       in-sample champion would look better than it is.
    4. *Value*: the mean net outcome of the trades it would take (p above the break-even of the training part's mean
       win and mean loss) has a one-sided lower bound of at least `min_expected_r`.
    5. The challenger itself is then fitted on all samples, whatever the verdict, so that it can be looked at.

    Every number is a function of the request, the model and the config: the same call gives the same report.

    Args:
        request: The samples, oldest decision first, and the seed.
        model: The model plugin; its faults end in a refusal, never in an exception.
        config: The bar.

    Returns:
        The report. `FitReport.artefact` is empty where nothing was or could be fitted.
    """
    case = _Case(metrics=_describe(request, config))
    samples = request.samples
    trainable = np.ones(len(samples), np.bool_) if config.train_on_shadows else ~samples.is_shadow
    problem = _broken(samples) or _too_few(samples.take(trainable), config)
    if problem:
        return _refusal(request, case, problem)
    try:
        walk = walk_forward(
            samples,
            model,
            trainable,
            first=_first_train(int(trainable.sum()), config),
            folds=config.folds,
            embargo_minutes=config.embargo_minutes,
            min_per_outcome=config.min_per_outcome,
            seed=request.seed,
        )
        artefact = _fit_final(samples.take(trainable), model, request.seed)
    except Exception as error:  # noqa: BLE001 - whatever the plugin raises, the champion stays and the run goes on
        return evolve(_refusal(request, case, f"the fit failed: {_one_line(error)}"), is_failed=True)
    case.metrics["artefact_sha256"] = hashlib.sha256(artefact).hexdigest()
    case.metrics["importance"] = _explain(model, artefact, samples.names)
    case.metrics["parameters"] = _parameters(model, artefact)
    _judge(case, request, walk, config)
    verdict = "refused: " + "; ".join(case.against) if case.against else "promoted: " + ", ".join(case.shown)
    return FitReport(request.id, not case.against, verdict, case.metrics, artefact)


def hash_samples(samples: SampleSet) -> str:
    """SHA-256 over names and arrays (little-endian), the fingerprint of what a version was fitted on and judged by."""
    digest = hashlib.sha256("\n".join(samples.names).encode())
    arrays = {
        "x": (samples.x, "<f4"),
        "won": (samples.won, "|u1"),
        "outcome_r": (samples.outcome_r, "<f8"),
        "time": (samples.time, "<i8"),
        "resolved_time": (samples.resolved_time, "<i8"),
        "p_champion": (samples.p_champion, "<f8"),
        "is_shadow": (samples.is_shadow, "|u1"),
    }
    for name, (array, kind) in arrays.items():
        digest.update(f"\n{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).astype(kind).tobytes())
    return digest.hexdigest()


def _describe(request: FitRequest, config: GateConfig) -> dict[str, Any]:
    samples = request.samples
    return {
        "samples": len(samples),
        "shadows": int(samples.is_shadow.sum()),
        "wins": int(samples.won.sum()),
        "seed": request.seed,
        "data_sha256": hash_samples(samples),
        "gate": asdict(config),
    }


def _broken(samples: SampleSet) -> str:
    rows = len(samples)
    if samples.x.shape != (rows, len(samples.names)):
        return f"samples of shape {samples.x.shape} under {len(samples.names)} names and {rows} times"
    if (np.diff(samples.time) < 0).any():
        return "the samples are not in the order of their decisions"
    if (samples.resolved_time < samples.time).any():
        return "a sample was resolved before its decision"
    if not np.isfinite(samples.outcome_r).all():
        return "a sample has no outcome"
    return ""


def _too_few(training: SampleSet, config: GateConfig) -> str:
    rows, wins = len(training), int(training.won.sum())
    if rows < config.min_samples:
        return f"too few samples ({rows} < {config.min_samples})"
    rarer = min(wins, rows - wins)
    if rarer < config.min_per_outcome:
        word = "winning" if wins == rarer else "losing"
        return f"too few {word} trades among {rows} samples ({rarer} < {config.min_per_outcome})"
    return ""


def _first_train(rows: int, config: GateConfig) -> int:
    return max(config.min_samples // 2, int(config.first_train_share * rows))


def _fit_final(training: SampleSet, model: ModelSpecs, seed: int) -> bytes:
    artefact: bytes = ask_model(model.slt_fit_model, samples=training, seed=seed)
    checked_predictions(ask_model(model.slt_load_model, artefact=artefact), training.x)
    return artefact


def _explain(model: ModelSpecs, artefact: bytes, names: tuple[str, ...]) -> dict[str, float]:
    try:
        shares = ask_model(model.slt_explain_model, artefact=artefact, names=names)
        return {str(name): float(share) for name, share in shares.items()}
    except Exception:  # noqa: BLE001 - the contract: a model that cannot explain itself shows no importance
        return {}


def _parameters(model: ModelSpecs, artefact: bytes) -> dict[str, Any]:
    try:
        return dict(ask_model(model.slt_describe_model, artefact=artefact))
    except Exception:  # noqa: BLE001 - the hook is optional, and a model that cannot describe itself is still a model
        return {}


def _judge(case: _Case, request: FitRequest, walk: WalkForward, config: GateConfig) -> None:
    samples = request.samples
    scored = ~np.isnan(walk.p)
    later = samples.take(scored)
    case.metrics["folds"] = walk.folds
    case.metrics["scored"] = len(later)
    if len(later) < config.min_scored:
        case.against.append(f"too few later trades to score on ({len(later)} < {config.min_scored})")
        return
    p = walk.p[scored]
    curve = calibration_curve(p, later.won, config.calibration_bins)
    case.metrics["auc"] = area_under_curve(p, later.won)
    case.metrics["calibration"] = curve
    case.metrics["calibration_error"] = calibration_error(curve)
    _beat_base_rate(case, later, p, walk.base_rate[scored], config, request.seed)
    if request.champion_version:
        _beat_champion(case, later, p, request, config)
    _earn(case, later, p > walk.break_even[scored], config, request.seed)


def _beat_base_rate(
    case: _Case, later: SampleSet, p: NDArray[np.float64], base: NDArray[np.float64], config: GateConfig, seed: int
) -> None:
    result = _compare(later, p, base, config, (seed, 1))
    case.metrics["base_rate"] = result
    text = f"log-loss {result['log_loss']:.3f} against base rate {result['baseline_log_loss']:.3f} on {_count(later)}"
    case.shown.append(f"{text} (p = {result['p_value']:.3f})")
    if result["p_value"] > config.significance_level:
        case.against.append(f"{text} proves nothing (p = {result['p_value']:.2f} > {config.significance_level:g})")
    elif result["baseline_log_loss"] - result["log_loss"] < config.min_log_loss_gain:
        case.against.append(f"{text}, a gain of less than {config.min_log_loss_gain:g}")


def _beat_champion(
    case: _Case, later: SampleSet, p: NDArray[np.float64], request: FitRequest, config: GateConfig
) -> None:
    common = ~np.isnan(later.p_champion)
    name, count = f"champion v{request.champion_version}", int(common.sum())
    if count < config.min_champion_scored:
        case.metrics["champion"] = {"version": request.champion_version, "scored": count}
        case.against.append(f"too few later trades that {name} predicted ({count} < {config.min_champion_scored})")
        return
    both = later.take(common)
    result = _compare(both, p[common], both.p_champion, config, (request.seed, 2))
    case.metrics["champion"] = {"version": request.champion_version, **result}
    text = f"{result['log_loss']:.3f} against {name} {result['baseline_log_loss']:.3f} on {_count(both)}"
    case.shown.append(f"{text} (p = {result['p_value']:.3f})")
    if result["p_value"] > config.significance_level:
        case.against.append(
            f"log-loss {text} proves nothing (p = {result['p_value']:.2f} > {config.significance_level:g})"
        )


def _earn(case: _Case, later: SampleSet, taken: NDArray[np.bool_], config: GateConfig, seed: int) -> None:
    count = int(taken.sum())
    mean = float(later.outcome_r[taken].mean()) if count else None
    case.metrics["taken"] = {"count": count, "mean_r": mean, "lower_r": None}
    if count < config.min_taken:
        case.against.append(f"too few later trades it would take ({count} < {config.min_taken})")
        return
    lower = mean_lower_bound(
        later.outcome_r,
        taken,
        confidence=config.expected_r_confidence,
        block=block_length(later.time, later.resolved_time),
        draws=config.bootstrap_draws,
        seed=(seed, 3),
    )
    case.metrics["taken"]["lower_r"] = lower
    text = f"{mean:+.2f} R a trade on the {count} it would take, at least {lower:+.2f} R"
    case.shown.append(text)
    if lower < config.min_expected_r:
        case.against.append(f"{text}, is below {config.min_expected_r:+g} R")


def _compare(
    later: SampleSet,
    p: NDArray[np.float64],
    baseline: NDArray[np.float64],
    config: GateConfig,
    seed: tuple[int, ...],
) -> dict[str, Any]:
    """Scores of both on the same trades; `p_value` is the greater of the two tests', so it holds for both.

    ``gain_interval`` is the 95 % interval of the mean gain in log-loss, in nats.
    """
    block = block_length(later.time, later.resolved_time)
    result: dict[str, Any] = {"scored": len(later), "block_length": block}
    scores: dict[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], NDArray[np.float64]]]
    scores = {"log_loss": log_loss, "brier": brier}
    for name, score in scores.items():
        own, other = score(p, later.won), score(baseline, later.won)
        result[name] = float(own.mean())
        result[f"baseline_{name}"] = float(other.mean())
        result[f"p_{name}"] = improvement_p_value(other - own, block, config.bootstrap_draws, seed)
        if name == "log_loss":
            result["gain_interval"] = list(
                mean_interval(other - own, confidence=0.95, block=block, draws=config.bootstrap_draws, seed=seed)
            )
    result["p_value"] = max(result["p_log_loss"], result["p_brier"])
    return result


def _count(later: SampleSet) -> str:
    shadows = int(later.is_shadow.sum())
    return f"{len(later) - shadows} later trades" + (f" and {shadows} shadows" if shadows else "")


def _refusal(request: FitRequest, case: _Case, reason: str) -> FitReport:
    return FitReport(request.id, promoted=False, verdict=f"refused: {reason}", metrics=case.metrics)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, SltError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
