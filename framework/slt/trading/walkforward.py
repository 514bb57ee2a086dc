"""Out-of-sample predictions by walking forward: fit on the past, predict what came later, never the other way round."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from slt.errors import ModelError
from slt.types import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slt.hookspecs import ModelSpecs, Predictor
    from slt.types import SampleSet

__all__ = ["WalkForward", "ask_model", "checked_predictions", "walk_forward"]


@frozen(eq=False)
class WalkForward:
    """What a model would have said of each sample before it happened. NaN: the sample was not predicted.

    Attributes:
        p: float64 ``[n]``, the model's probability of a win.
        base_rate: float64 ``[n]``, share of wins in the training part of that prediction, (wins + ½) / (rows + 1).
        break_even: float64 ``[n]``, probability above which a trade of that part's mean win and mean loss pays.
        folds: One dict of JSON types a fold: its spans, sizes and base rate.
    """

    p: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    break_even: NDArray[np.float64]
    folds: list[dict[str, Any]]


def walk_forward(
    samples: SampleSet,
    model: ModelSpecs,
    trainable: NDArray[np.bool_],
    *,
    first: int,
    folds: int,
    embargo_minutes: float,
    min_per_outcome: int,
    seed: int,
) -> WalkForward:
    """Predict the later samples, each by a model that was fitted only on what was known before it.

    The samples after the first trainable `first` are cut into `folds` consecutive parts. For each part the model is
    fitted on the trainable samples whose label interval, from decision to resolution and `embargo_minutes` longer,
    ended before the part's first decision: later ones are purged, their outcome overlaps with what is to be predicted.

    Args:
        samples: Oldest decision first.
        model: The model plugin.
        trainable: bool ``[n]``: samples that may be fitted on; the others are only predicted.
        first: Number of trainable samples before the first part.
        folds: Number of parts.
        embargo_minutes: Distance between the last training outcome and the first prediction.
        min_per_outcome: A part is left out while its training samples hold fewer wins or losses than this.
        seed: Of every fit.

    Raises:
        ModelError: The model refused, or its predictions are not probabilities.
    """
    result = WalkForward(
        p=np.full(len(samples), np.nan),
        base_rate=np.full(len(samples), np.nan),
        break_even=np.full(len(samples), np.nan),
        folds=[],
    )
    start = int(np.flatnonzero(trainable)[first - 1]) + 1
    for part in np.array_split(np.arange(start, len(samples)), folds):
        if not len(part):
            continue
        from_time = int(samples.time[part[0]])
        known = samples.resolved_time + int(embargo_minutes * MINUTE_MS) <= from_time
        training = samples.take(trainable & known)
        wins = int(training.won.sum())
        fold: dict[str, Any] = {
            "from_time": from_time,
            "to_time": int(samples.time[part[-1]]),
            "trained_on": len(training),
            "purged": int(np.count_nonzero(trainable[: part[0]])) - len(training),
            "predicted": 0,
            "base_rate": None,
        }
        result.folds.append(fold)
        if min(wins, len(training) - wins) < min_per_outcome:
            continue
        predictor = ask_model(
            model.slt_load_model, artefact=ask_model(model.slt_fit_model, samples=training, seed=seed)
        )
        result.p[part] = checked_predictions(predictor, samples.x[part])
        result.base_rate[part] = (wins + 0.5) / (len(training) + 1.0)
        result.break_even[part] = _break_even(training)
        fold.update(predicted=len(part), base_rate=float(result.base_rate[part[0]]))
    return result


def ask_model(hook: Callable[..., Any], **arguments: Any) -> Any:
    """Call a plugin's hook with those of the arguments that it takes: an implementation may leave some out."""
    taken = inspect.signature(hook).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return hook(**arguments)
    return hook(**{name: value for name, value in arguments.items() if name in taken})


def checked_predictions(predictor: Predictor, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predict and make sure that the answer is one probability a row.

    Raises:
        ModelError: It is not.
    """
    p = np.asarray(predictor.predict(x), np.float64)
    if p.shape != (len(x),):
        raise ModelError(
            f"model: predicted an array of shape {p.shape} for {len(x)} rows: one probability a row is due"
        )
    wrong = ~((p >= 0.0) & (p <= 1.0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ModelError(f"model: predicted {p[row]} in {int(wrong.sum())} of {len(x)} rows: a probability is due")
    return p


def _break_even(training: SampleSet) -> float:
    win = float(training.outcome_r[training.won].mean())
    loss = -float(training.outcome_r[~training.won].mean())
    return loss / (win + loss) if win + loss > 0.0 else 0.5
