from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.trading.scoring import (
    area_under_curve,
    block_length,
    brier,
    calibration_curve,
    calibration_error,
    improvement_p_value,
    log_loss,
    mean_lower_bound,
)

MINUTE = 60_000


def test_log_loss_and_brier_known_values() -> None:
    p, won = np.array([0.8, 0.8, 0.5]), np.array([True, False, True])
    assert log_loss(p, won) == pytest.approx([0.22314, 1.60944, 0.69315], abs=1e-5)
    assert brier(p, won) == pytest.approx([0.04, 0.64, 0.25])


def test_log_loss_certain_and_wrong_is_large_but_finite() -> None:
    assert log_loss(np.array([0.0, 1.0]), np.array([True, False])) == pytest.approx([13.8155, 13.8155], abs=1e-3)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.5]), st.booleans()), min_size=2, max_size=30))
def test_area_under_curve_equals_counting_pairs(rows: list[tuple[float, bool]]) -> None:
    p, won = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    pairs = [(a > b) + 0.5 * (a == b) for a in p[won] for b in p[~won]]
    expected = pytest.approx(sum(pairs) / len(pairs)) if pairs else None
    assert area_under_curve(p, won) == expected


def test_calibration_curve_equal_count_bins_cover_every_row() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(1003)
    curve = calibration_curve(p, rng.random(1003) < p, 10)
    assert [point["count"] for point in curve] == [101, 101, 101, 100, 100, 100, 100, 100, 100, 100]
    assert [point["predicted"] for point in curve] == sorted(point["predicted"] for point in curve)
    assert calibration_error(curve) < 0.06
    assert calibration_error(calibration_curve(p, rng.random(1003) < 0.5, 10)) > 0.2


def test_calibration_curve_fewer_rows_than_bins_gives_fewer_points() -> None:
    curve = calibration_curve(np.array([0.2, 0.7]), np.array([False, True]), 10)
    assert curve == [
        {"predicted": 0.2, "observed": 0.0, "count": 1},
        {"predicted": 0.7, "observed": 1.0, "count": 1},
    ]


def test_block_length_trades_apart_is_the_cube_root() -> None:
    time = np.arange(216) * 60 * MINUTE
    assert block_length(time, time + 30 * MINUTE) == 6


def test_block_length_overlapping_trades_covers_the_overlap() -> None:
    time = np.arange(216) * 10 * MINUTE
    assert block_length(time, time + 120 * MINUTE) == 12


def test_block_length_everything_at_once_leaves_five_blocks() -> None:
    time = np.zeros(216, np.int64)
    assert block_length(time, time + MINUTE) == 43


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_block_length_hardly_any_rows_is_one(rows: int) -> None:
    time = np.arange(rows) * MINUTE
    assert block_length(time, time + 500 * MINUTE) == 1


def test_improvement_p_value_clear_gain_is_small_and_clear_loss_is_large() -> None:
    gain = np.random.default_rng(1).normal(0.3, 1.0, 200)
    assert improvement_p_value(gain, 6, 2_000, 1) < 0.01
    assert improvement_p_value(-gain, 6, 2_000, 1) > 0.99


def test_improvement_p_value_no_difference_is_one() -> None:
    assert improvement_p_value(np.zeros(100), 5, 500, 1) == 1.0


def test_improvement_p_value_is_never_zero() -> None:
    assert improvement_p_value(np.ones(100) + np.arange(100) / 1e3, 5, 400, 1) == 1 / 401


def test_improvement_p_value_independent_noise_is_rejected_at_the_level() -> None:
    rng = np.random.default_rng(7)
    p = np.array([improvement_p_value(rng.normal(size=150), 6, 300, s) for s in range(600)])
    assert 0.03 < (p <= 0.05).mean() < 0.09
    assert 0.45 < (p <= 0.5).mean() < 0.55


def test_improvement_p_value_blocks_hold_the_level_where_single_rows_would_not() -> None:
    rng = np.random.default_rng(8)
    alone, blocks = [], []
    for seed in range(300):
        gain = np.repeat(rng.normal(size=40), 8)
        alone.append(improvement_p_value(gain, 1, 300, seed))
        blocks.append(improvement_p_value(gain, 16, 300, seed))
    assert (np.array(alone) <= 0.05).mean() > 0.2
    assert (np.array(blocks) <= 0.05).mean() < 0.12


def test_improvement_p_value_same_seed_gives_the_same_answer() -> None:
    gain = np.random.default_rng(1).normal(0.1, 1.0, 100)
    assert improvement_p_value(gain, 5, 500, (3, 1)) == improvement_p_value(gain, 5, 500, (3, 1))
    assert improvement_p_value(gain, 5, 500, (3, 1)) != improvement_p_value(gain, 5, 500, (3, 2))


def test_mean_lower_bound_matches_the_normal_bound_of_the_chosen() -> None:
    rng = np.random.default_rng(9)
    value = rng.normal(0.2, 1.0, 2_000)
    chosen = rng.random(2_000) < 0.5
    lower = mean_lower_bound(value, chosen, confidence=0.9, block=1, draws=4_000, seed=1)
    expected = value[chosen].mean() - 1.2816 * value[chosen].std() / np.sqrt(chosen.sum())
    assert lower == pytest.approx(expected, abs=0.004)


def test_mean_lower_bound_one_chosen_row_is_its_value() -> None:
    chosen = np.arange(50) == 20
    assert mean_lower_bound(np.arange(50.0), chosen, confidence=0.9, block=3, draws=500, seed=1) == 20.0
