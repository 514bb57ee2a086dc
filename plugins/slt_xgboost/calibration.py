"""From a booster's log-odds to probabilities that mean what they say.

Both methods end in the same form, a rising piecewise-linear curve through a few hundred knots. Reading it needs only
subtraction, multiplication, division and addition, so that a row's probability has the same bits alone or in a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Calibration", "fit_flat", "fit_isotonic", "fit_platt"]

_PLATT_KNOTS = 257
_ISOTONIC_BIN_ROWS = 50
_ISOTONIC_BINS = 200
_NEWTON_STEPS = 50


@frozen(eq=False)
class Calibration:
    """A rising curve from log-odds to probability; constant beyond its ends.

    Attributes:
        method: ``platt``, ``isotonic`` or ``flat`` (too little evidence: the base rate for every row).
        rows: Number of out-of-fold rows it was fitted on.
        margin: float64 ``[k]``, log-odds of the knots, strictly rising, at least two.
        probability: float64 ``[k]``, never falling, inside (0, 1).
    """

    method: str
    rows: int
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]

    def apply(self, margin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each log-odds value; float32 ``[n]``."""
        return np.interp(margin, self.margin, self.probability).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """The curve as JSON types; `from_json` gives it back bit for bit."""
        return {
            "method": self.method,
            "rows": self.rows,
            "margin": self.margin.tolist(),
            "probability": self.probability.tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Calibration:
        """Take back what `to_json` gave."""
        return cls(
            method=str(data["method"]),
            rows=int(data["rows"]),
            margin=np.asarray(data["margin"], np.float64),
            probability=np.asarray(data["probability"], np.float64),
        )


def fit_flat(wins: int, rows: int) -> Calibration:
    """The base rate for every row, by Laplace's rule (wins + 1) / (rows + 2)."""
    rate = (wins + 1.0) / (rows + 2.0)
    return Calibration("flat", rows, np.array([-1.0, 1.0]), np.array([rate, rate]))


def fit_platt(margin: NDArray[np.float64], won: NDArray[np.bool_]) -> Calibration:
    """Platt's logistic curve with his smoothed targets, the slope never negative.

    p = 1 / (1 + exp(-(a·z + b))), a and b by Newton's method on the log-loss against the targets
    (wins + 1) / (wins + 2) and 1 / (losses + 2). A negative slope (the booster ranks worse than chance out of fold)
    means no evidence: `fit_flat`. No probability is surer than n agreeing rows would make it, (n + 1) / (n + 2).
    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999; H.-T. Lin, C.-J. Lin, R. C. Weng, "A
    note on Platt's probabilistic outputs", Machine Learning 68, 2007.

    Args:
        margin: float64 ``[n]``, out-of-fold log-odds.
        won: bool ``[n]``, outcomes, at least one of each.
    """
    rows, wins = len(won), int(won.sum())
    centre, spread = float(margin.mean()), float(margin.std())
    if spread < 1e-9:
        return fit_flat(wins, rows)
    unit = (margin - centre) / spread
    target = np.where(won, (wins + 1.0) / (wins + 2.0), 1.0 / (rows - wins + 2.0))
    slope, intercept = _solve_logistic(unit, target)
    if slope <= 0.0:
        return fit_flat(wins, rows)
    # The final booster sees more rows than those of the folds, so its log-odds reach a little further out.
    reach = float(unit.max() - unit.min())
    knots = np.linspace(float(unit.min()) - reach / 2, float(unit.max()) + reach / 2, _PLATT_KNOTS)
    probability = 1.0 / (1.0 + np.exp(-(slope * knots + intercept)))
    surest = (rows + 1.0) / (rows + 2.0)
    return Calibration("platt", rows, knots * spread + centre, np.clip(probability, 1.0 - surest, surest))


def _solve_logistic(unit: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    mean = float(target.mean())
    weights = np.array([0.0, np.log(mean / (1.0 - mean))])
    design = np.stack([unit, np.ones_like(unit)])
    ridge = 1e-6 * np.eye(2)
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-(weights @ design)))
        step = np.linalg.solve((design * (p * (1.0 - p))) @ design.T + ridge, design @ (target - p))
        # A full step can overshoot where the classes are almost separable.
        weights += step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-10:
            break
    return float(weights[0]), float(weights[1])


def fit_isotonic(margin: NDArray[np.float64], won: NDArray[np.bool_]) -> Calibration:
    """Isotonic regression: the best never-falling curve, by pooling adjacent violators over equal-count bins.

    Rows are sorted into bins of at least 50 (at most 200 bins), each bin's share of wins is smoothed by Laplace's
    rule, neighbours that fall are pooled, and the curve runs straight between the pooled bins' mean log-odds. Source:
    M. Ayer et al., "An empirical distribution function for sampling with incomplete information", 1955; B. Zadrozny,
    C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002.

    Args:
        margin: float64 ``[n]``, out-of-fold log-odds.
        won: bool ``[n]``, outcomes.
    """
    order = np.argsort(margin, kind="stable")
    parts = np.array_split(order, min(_ISOTONIC_BINS, max(1, len(order) // _ISOTONIC_BIN_ROWS)))
    pools: list[tuple[float, float, int]] = []
    for part in parts:
        share = (int(won[part].sum()) + 1.0) / (len(part) + 2.0)
        pools.append((float(margin[part].mean()), share, len(part)))
        while len(pools) > 1 and (pools[-2][1] >= pools[-1][1] or pools[-2][0] >= pools[-1][0]):
            pools.append(_pool(pools.pop(-2), pools.pop()))
    if len(pools) == 1:
        return fit_flat(int(won.sum()), len(won))
    knots, shares = np.array([pool[0] for pool in pools]), np.array([pool[1] for pool in pools])
    return Calibration("isotonic", len(won), knots, shares)


def _pool(low: tuple[float, float, int], high: tuple[float, float, int]) -> tuple[float, float, int]:
    rows = low[2] + high[2]
    return ((low[0] * low[2] + high[0] * high[2]) / rows, (low[1] * low[2] + high[1] * high[2]) / rows, rows)
