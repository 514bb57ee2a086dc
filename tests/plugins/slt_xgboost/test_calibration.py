from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt_xgboost.calibration import Calibration, fit_flat, fit_isotonic, fit_platt


def rows(count: int, seed: int, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds that are wrong by a slope and a shift, and what then happened."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(size=count)
    return margin, rng.random(count) < 1 / (1 + np.exp(-(slope * margin + shift)))


def test_platt_wrong_scale_and_shift_finds_the_true_curve() -> None:
    margin, won = rows(20_000, 1, slope=0.4, shift=-0.7)
    grid = np.linspace(-2, 2, 41).astype(np.float32)
    truth = 1 / (1 + np.exp(-(0.4 * grid - 0.7)))
    assert np.abs(fit_platt(margin, won).apply(grid) - truth).max() < 0.02


def test_platt_matches_a_brute_force_search() -> None:
    margin, won = rows(300, 2, slope=0.8, shift=0.2)
    wins = won.sum()
    target = np.where(won, (wins + 1) / (wins + 2), 1 / (len(won) - wins + 2))

    def loss(p: np.ndarray) -> float:
        return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)).sum())

    best = min(
        loss(1 / (1 + np.exp(-(a * margin + b)))) for a in np.arange(0, 2, 0.02) for b in np.arange(-1, 1.4, 0.02)
    )
    # Straight pieces between 257 knots and a grid of steps of 0.02 leave this much.
    assert loss(fit_platt(margin, won).apply(margin.astype(np.float32)).astype(float)) == pytest.approx(best, abs=0.02)


def test_platt_separable_rows_stay_inside_zero_and_one() -> None:
    margin = np.linspace(-3, 3, 200)
    p = fit_platt(margin, margin > 0).apply(np.array([-100, -3, 0, 3, 100], np.float32))
    assert ((p > 0) & (p < 1)).all()
    assert p[1] < 0.05
    assert p[3] > 0.95
    assert (p[0], p[4]) == (np.float32(1 / 202), np.float32(201 / 202))


def test_platt_ranking_worse_than_chance_gives_the_base_rate() -> None:
    margin, won = rows(500, 3, slope=-1.0)
    curve = fit_platt(margin, won)
    assert curve.method == "flat"
    assert set(curve.apply(margin.astype(np.float32)).tolist()) == {float(np.float32((won.sum() + 1) / 502))}


def test_platt_constant_margin_gives_the_base_rate() -> None:
    assert fit_platt(np.zeros(50), np.arange(50) < 20).method == "flat"


def test_isotonic_bent_curve_is_followed_where_platt_cannot() -> None:
    rng = np.random.default_rng(4)
    margin = rng.uniform(-2, 2, 20_000)
    truth = np.where(margin < 0, 0.3, 0.6)
    won = rng.random(20_000) < truth
    grid = np.array([-1.5, -0.5, 0.5, 1.5], np.float32)
    assert np.abs(fit_isotonic(margin, won).apply(grid) - [0.3, 0.3, 0.6, 0.6]).max() < 0.03
    assert np.abs(fit_platt(margin, won).apply(grid) - [0.3, 0.3, 0.6, 0.6]).max() > 0.05


def test_isotonic_falling_shares_are_pooled_to_the_base_rate() -> None:
    margin, won = rows(3_000, 5, slope=-2.0)
    assert fit_isotonic(margin, won).method == "flat"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 3_000), st.floats(0.0, 3.0), st.sampled_from([fit_platt, fit_isotonic]))
def test_calibration_any_rows_gives_a_rising_curve_inside_zero_and_one(seed, count, slope, fit) -> None:
    margin, won = rows(count, seed, slope)
    won[:2] = True, False
    p = fit(margin, won).apply(np.sort(np.random.default_rng(seed).normal(0, 3, 500)).astype(np.float32))
    assert ((p > 0) & (p < 1)).all()
    assert (np.diff(p) >= -1e-7).all()


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic, lambda m, w: fit_flat(int(w.sum()), len(w))])
def test_calibration_through_json_gives_the_same_bits(fit) -> None:
    margin, won = rows(2_500, 6)
    curve = fit(margin, won)
    again = Calibration.from_json(json.loads(json.dumps(curve.to_json())))
    asked = margin.astype(np.float32)
    assert again.apply(asked).tobytes() == curve.apply(asked).tobytes()
    assert (again.method, again.rows) == (curve.method, curve.rows)
