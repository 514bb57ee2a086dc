"""Gradient-boosted trees on the features as seen at the decision, calibrated to the probability of a net win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import ModelError
from slt_xgboost.artefact import Artefact, pack_artefact, unpack_artefact
from slt_xgboost.calibration import Calibration, fit_flat, fit_isotonic, fit_platt
from slt_xgboost.library import xgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import SampleSet

__all__ = ["XgboostModel", "XgboostModelConfig", "XgboostPredictor"]

_MEDIUM_ROWS: Final = 1_000
_LARGE_ROWS: Final = 10_000
_MIN_PER_OUTCOME: Final = 5
_SEED_RANGE: Final = 2**31


@frozen(kw_only=True)
class XgboostModelConfig:
    """Options of `xgboost`; the defaults learn from about a hundred rows on and grow with their number n.

    Attributes:
        rounds: Boosting rounds below 1,000 rows; 1.5 times as many from 1,000 rows and twice as many from 10,000.
        max_depth: Greatest depth of a tree; below 1,000 rows at most 2, below 10,000 at most 3, from there at most 4.
        learning_rate: Share of each tree's answer that is added.
        leaf_size: A leaf holds about this number times the square root of n rows (min_child_weight, as xgboost counts).
        row_share: Share of the rows each tree sees.
        column_share: Share of the columns each tree sees.
        l2: L2 penalty on leaf values.
        calibration_folds: Time-ordered folds whose out-of-fold predictions calibrate; 3 are used from 10,000 rows.
        isotonic_from_rows: Rows from which calibration is isotonic instead of Platt's.
    """

    rounds: int = field(default=60, validator=[validators.ge(1), validators.le(10_000)])
    max_depth: int = field(default=4, validator=[validators.ge(1), validators.le(12)])
    learning_rate: float = field(default=0.05, validator=[validators.gt(0.0), validators.le(1.0)])
    leaf_size: float = field(default=1.5, validator=validators.ge(0.0))
    row_share: float = field(default=0.7, validator=[validators.gt(0.0), validators.le(1.0)])
    column_share: float = field(default=1.0, validator=[validators.gt(0.0), validators.le(1.0)])
    l2: float = field(default=5.0, validator=validators.ge(0.0))
    calibration_folds: int = field(default=5, validator=[validators.ge(2), validators.le(20)])
    isotonic_from_rows: int = field(default=2_000, validator=validators.ge(200))


@frozen(eq=False)
class XgboostPredictor:
    """A loaded model.

    Attributes:
        booster: The trees; one thread.
        calibration: From log-odds to probability.
        names: Columns it was fitted on, in order.
    """

    booster: xgb.Booster
    calibration: Calibration
    names: tuple[str, ...]

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probability that each trade wins net of costs.

        Args:
            x: float32 ``[n, f]``, the columns of `names`; NaN = missing.

        Returns:
            float32 ``[n]`` in (0, 1); each row's bits are the same alone or in any batch.

        Raises:
            ModelError: `x` has another number of columns.
        """
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ModelError(f"model: given an array of shape {x.shape}, fitted on {len(self.names)} columns")
        if not len(x):
            return np.empty(0, np.float32)
        rows = np.ascontiguousarray(x, np.float32)
        return self.calibration.apply(self.booster.inplace_predict(rows, predict_type="margin"))


class XgboostModel:
    """Gradient-boosted trees (xgboost), calibrated out of fold, sized to the number of samples."""

    config_class = XgboostModelConfig

    def __init__(self, config: XgboostModelConfig) -> None:
        self.config = config

    @hookimpl
    def slt_fit_model(self, samples: SampleSet, seed: int) -> bytes:
        """Fit the trees on everything and their calibration on out-of-fold predictions.

        Raises:
            ModelError: One class only, no rows, or infinite values.
        """
        _check(samples)
        parameters, rounds = self._parameters(samples.won, seed)
        booster = _boost(samples.x, samples.won, parameters, rounds)
        calibration = self._calibrate(samples, seed)
        header = {
            "names": list(samples.names),
            "rows": len(samples),
            "wins": int(samples.won.sum()),
            "seed": seed,
            "parameters": {**parameters, "rounds": rounds},
            "calibration": calibration.to_json(),
            "xgboost": xgb.__version__,
        }
        return pack_artefact(Artefact(header=header, trees=bytes(booster.save_raw("ubj"))))

    @hookimpl
    def slt_load_model(self, artefact: bytes) -> XgboostPredictor:
        """Read an artefact; the answer predicts on one thread.

        Raises:
            ModelError: The bytes are foreign, from a newer version, truncated or corrupt.
        """
        stored = unpack_artefact(artefact)
        names = tuple(stored.header["names"])
        booster = _load_booster(stored.trees)
        if booster.num_features() != len(names):
            raise ModelError(f"model artefact: its trees know {booster.num_features()} columns, not {len(names)}")
        return XgboostPredictor(booster, Calibration.from_json(stored.header["calibration"]), names)

    @hookimpl
    def slt_explain_model(self, artefact: bytes, names: tuple[str, ...]) -> dict[str, float]:
        """Share of the total gain per column; all 0 where the trees found nothing to split on.

        Raises:
            ModelError: The artefact is unusable or was fitted on other columns.
        """
        stored = unpack_artefact(artefact)
        if tuple(stored.header["names"]) != names:
            known = ", ".join(stored.header["names"])
            raise ModelError(f"model artefact: fitted on the columns {known}; asked about {', '.join(names)}")
        found = _load_booster(stored.trees).get_score(importance_type="total_gain")
        gains = {name: float(np.sum(found.get(f"f{index}", 0.0))) for index, name in enumerate(names)}
        total = sum(gains.values())
        return {name: gain / total if total else 0.0 for name, gain in gains.items()}

    @hookimpl
    def slt_describe_model(self, artefact: bytes) -> dict[str, Any]:
        """What it was fitted with: xgboost's parameters, rows, wins, seed, version, and the calibration's points.

        Raises:
            ModelError: The artefact is unusable.
        """
        header = unpack_artefact(artefact).header
        return {name: value for name, value in header.items() if name != "names"}

    def _parameters(self, won: NDArray[np.bool_], seed: int) -> tuple[dict[str, Any], int]:
        config, rows, rate = self.config, len(won), float(won.mean())
        tier = int(rows >= _MEDIUM_ROWS) + int(rows >= _LARGE_ROWS)
        parameters = {
            "objective": "binary:logistic",
            "base_score": rate,
            "tree_method": "hist",
            "max_bin": 64,
            "max_depth": min(config.max_depth, 2 + tier),
            "learning_rate": config.learning_rate,
            # xgboost weighs a row by p (1 - p), so this asks for leaf_size * sqrt(n) rows of average uncertainty.
            "min_child_weight": config.leaf_size * float(np.sqrt(rows)) * rate * (1.0 - rate),
            "subsample": config.row_share,
            "colsample_bytree": config.column_share,
            "reg_lambda": config.l2,
            "nthread": 1,
            "seed": seed % _SEED_RANGE,
            "verbosity": 0,
        }
        return parameters, round(config.rounds * (1.0 + 0.5 * tier))

    def _calibrate(self, samples: SampleSet, seed: int) -> Calibration:
        margin = self._out_of_fold(samples, seed)
        known = ~np.isnan(margin)
        won = samples.won[known]
        wins = int(won.sum())
        if min(wins, len(won) - wins) < _MIN_PER_OUTCOME:
            return fit_flat(int(samples.won.sum()), len(samples))
        fit = fit_isotonic if len(won) >= self.config.isotonic_from_rows else fit_platt
        return fit(margin[known], won)

    def _out_of_fold(self, samples: SampleSet, seed: int) -> NDArray[np.float64]:
        folds = self.config.calibration_folds if len(samples) < _LARGE_ROWS else min(3, self.config.calibration_folds)
        margin = np.full(len(samples), np.nan)
        for fold in np.array_split(np.arange(len(samples)), folds):
            rest = _outside(samples, fold)
            won = samples.won[rest]
            if min(int(won.sum()), int((~won).sum())) < _MIN_PER_OUTCOME:
                continue
            booster = _boost(samples.x[rest], won, *self._parameters(won, seed))
            margin[fold] = booster.inplace_predict(np.ascontiguousarray(samples.x[fold]), predict_type="margin")
        return margin


def _outside(samples: SampleSet, fold: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mask of the samples whose label interval does not touch the fold's span: those at its edge know its outcome."""
    if not len(fold):
        return np.zeros(len(samples), np.bool_)
    start, end = int(samples.time[fold[0]]), int(samples.resolved_time[fold].max())
    return np.asarray((samples.resolved_time < start) | (samples.time > end))


def _check(samples: SampleSet) -> None:
    wins = int(samples.won.sum())
    if not wins or wins == len(samples):
        which = "no samples" if not len(samples) else f"only {'winning' if wins else 'losing'} trades ({len(samples)})"
        raise ModelError(f"model: cannot learn from {which}: samples of both outcomes are needed")
    if samples.x.shape != (len(samples), len(samples.names)):
        raise ModelError(f"model: samples of shape {samples.x.shape} with {len(samples.names)} names")
    if np.isinf(samples.x).any():
        column = samples.names[int(np.isinf(samples.x).any(axis=0).argmax())]
        raise ModelError(f"model: column `{column}` holds an infinite value: a feature is finite, or NaN where unknown")


def _boost(x: NDArray[np.float32], won: NDArray[np.bool_], parameters: dict[str, Any], rounds: int) -> xgb.Booster:
    try:
        matrix = xgb.DMatrix(x, label=won.astype(np.float32), nthread=1)
        return xgb.train(parameters, matrix, num_boost_round=rounds)
    except xgb.core.XGBoostError as error:
        raise ModelError(f"model: xgboost refused to fit: {_first_line(error)}") from error


def _load_booster(trees: bytes) -> xgb.Booster:
    try:
        booster = xgb.Booster({"nthread": 1, "verbosity": 0})
        booster.load_model(bytearray(trees))
    except xgb.core.XGBoostError as error:
        raise ModelError(f"model artefact: xgboost cannot read its trees: {_first_line(error)}") from error
    return booster


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
