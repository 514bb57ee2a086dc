"""Scores of probabilistic predictions, and tests of them that respect trades open at the same time."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from slt.statistics import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "area_under_curve",
    "block_length",
    "brier",
    "calibration_curve",
    "calibration_error",
    "improvement_p_value",
    "log_loss",
    "mean_interval",
    "mean_lower_bound",
]

_CLIP = 1e-6
_FEWEST_BLOCKS = 5


def log_loss(p: NDArray[np.float64], won: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log-loss of each prediction in nats: -ln p of what happened; p is kept 1e-6 away from 0 and 1.

    Args:
        p: float64 ``[n]``, probability of a win.
        won: bool ``[n]``, what happened.
    """
    return np.asarray(-np.log(np.clip(np.where(won, p, 1.0 - p), _CLIP, 1.0 - _CLIP)))


def brier(p: NDArray[np.float64], won: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Brier score of each prediction: (p - outcome)², outcome 1 for a win."""
    return np.asarray((p - won) ** 2)


def area_under_curve(p: NDArray[np.float64], won: NDArray[np.bool_]) -> float | None:
    """Chance that a random win was given more than a random loss, ties half; None where an outcome is missing."""
    wins = int(won.sum())
    losses = len(won) - wins
    if not wins or not losses:
        return None
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return float((rank[won].sum() - wins * (wins + 1) / 2.0) / (wins * losses))


def calibration_curve(p: NDArray[np.float64], won: NDArray[np.bool_], bins: int) -> list[dict[str, Any]]:
    """Predicted against observed share of wins, in bins of equal count, lowest predictions first.

    Returns:
        One ``{"predicted": mean of p, "observed": share of wins, "count": rows}`` a bin; fewer bins than asked for
        where there are fewer rows.
    """
    order = np.argsort(p, kind="stable")
    return [
        {"predicted": float(p[part].mean()), "observed": float(won[part].mean()), "count": len(part)}
        for part in np.array_split(order, max(1, min(bins, len(order))))
        if len(part)
    ]


def calibration_error(curve: list[dict[str, Any]]) -> float:
    """Expected calibration error: mean distance of a `calibration_curve` from the diagonal, weighted by count."""
    rows = sum(point["count"] for point in curve)
    return float(sum(point["count"] * abs(point["predicted"] - point["observed"]) for point in curve) / rows)


def lower_probability(p: float, curve: list[dict[str, Any]], confidence: float) -> float:
    """One-sided lower bound of a calibrated probability, as far as its bin of the `calibration_curve` proves it.

    The Wilson lower bound of `p` from as many trials as the bin whose mean prediction is nearest had out-of-sample
    predictions: a model that was judged on few trades is believed less.

    Args:
        p: The prediction in [0, 1].
        curve: Of the model's out-of-sample predictions; empty where none is known.
        confidence: One-sided, from 0.5 (no bound: `p` itself) to below 1.

    Returns:
        At most `p`; 0 for an empty curve.
    """
    if not curve:
        return 0.0
    count = min(curve, key=lambda point: abs(point["predicted"] - p))["count"]
    return min(p, wilson_interval(p * count, count, NormalDist().inv_cdf(confidence))[0])


def block_length(time: NDArray[np.int64], resolved_time: NDArray[np.int64]) -> int:
    """Length of the bootstrap's blocks, in trades.

    Trades open at the same time share the market's fate, so a block must be longer than the overlap: one more than the
    90th percentile of the number of later trades decided before a trade was resolved; at least n^(1/3), the usual rate
    for a block bootstrap of a mean, and at most n/5, so that five blocks remain.

    Args:
        time: int64 ``[n]``, decision times, ms UTC, never falling.
        resolved_time: int64 ``[n]``, when each outcome was known, ms UTC.
    """
    rows = len(time)
    overlap = np.searchsorted(time, resolved_time, side="left") - np.arange(rows) - 1
    wanted = max(int(np.ceil(rows ** (1.0 / 3.0))), int(np.quantile(overlap, 0.9)) + 1)
    return max(1, min(wanted, rows // _FEWEST_BLOCKS))


def improvement_p_value(gain: NDArray[np.float64], block: int, draws: int, seed: int | tuple[int, ...]) -> float:
    """One-sided p-value of "the mean of `gain` is not above 0", by a circular block bootstrap.

    The p-value is the share of resampled means, centred on 0, that reach the observed mean, with the observed one
    counted among them, so it is never 0. Source: D. N. Politis, J. P. Romano, "A circular block-resampling procedure
    for stationary data", 1992.

    Args:
        gain: float64 ``[n]``, in time order: what the baseline lost more than the challenger on each trade.
        block: Length of a block in trades.
        draws: Number of resamples.
        seed: Of the resampling.
    """
    mean = float(gain.mean())
    sums, rows = _resampled_sums(gain[None, :], block, draws, seed)
    # Equal gains must give exactly p = 1 at a mean of 0, not a coin flip of rounding.
    reached = sums[0] / rows - mean >= mean - 1e-12
    return (1 + int(reached.sum())) / (draws + 1)


def mean_interval(
    value: NDArray[np.float64], *, confidence: float, block: int, draws: int, seed: int | tuple[int, ...]
) -> tuple[float, float]:
    """Two-sided interval of the mean, by the percentiles of a circular block bootstrap.

    Args:
        value: float64 ``[n]``, in time order.
        confidence: Of the interval, e.g. 0.95.
        block: Length of a block in rows.
        draws: Number of resamples.
        seed: Of the resampling.
    """
    sums, rows = _resampled_sums(value[None, :], block, draws, seed)
    low, high = np.quantile(sums[0] / rows, ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0))
    return float(low), float(high)


def mean_lower_bound(
    value: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    *,
    confidence: float,
    block: int,
    draws: int,
    seed: int | tuple[int, ...],
) -> float:
    """One-sided lower bound of the mean of the chosen values, by the percentiles of a circular block bootstrap.

    Args:
        value: float64 ``[n]``, in time order.
        chosen: bool ``[n]``, which of them count; at least one.
        confidence: Of the bound, e.g. 0.9.
        block: Length of a block in rows, chosen or not.
        draws: Number of resamples.
        seed: Of the resampling.
    """
    sums, _ = _resampled_sums(np.stack([np.where(chosen, value, 0.0), chosen.astype(np.float64)]), block, draws, seed)
    some = sums[1] > 0.0
    return float(np.quantile(sums[0, some] / sums[1, some], 1.0 - confidence))


def _resampled_sums(
    values: NDArray[np.float64], block: int, draws: int, seed: int | tuple[int, ...]
) -> tuple[NDArray[np.float64], int]:
    rows = values.shape[1]
    blocks = -(-rows // block)
    starts = np.random.default_rng(seed).integers(0, rows, size=(draws, blocks))
    circle = np.concatenate([values, values[:, :block]], axis=1)
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(circle, axis=1)], axis=1)
    return (running[:, starts + block] - running[:, starts]).sum(axis=2), blocks * block
