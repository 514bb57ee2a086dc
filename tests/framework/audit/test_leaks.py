"""The leak test as a statistic: quiet on what knows the past alone, loud on what knows the future."""

from __future__ import annotations

import numpy as np
import pytest

from slt.audit.leaks import HORIZONS, _centred, _normalised, _stakes, _t
from slt.audit.walks import make_walk


def statistics(column_of, seeds=range(150), rows=1_500):
    found = []
    for seed in seeds:
        walk = make_walk(rows, 2, seed=seed, holes=False)
        z = np.clip(np.nan_to_num(column_of(walk.bars)), -4, 4)
        found.append([_t(_stakes(z, h), walk.innovations) for h in HORIZONS])
    return np.array(found)


def momentum(bars):
    return _normalised(np.vstack([np.zeros((20, 2)), bars.close[20:] / bars.close[:-20] - 1]))


HONEST = {
    "price level": lambda bars: _centred(bars.close),
    "momentum": momentum,
    "range": lambda bars: _centred(bars.high - bars.low),
    "flow": lambda bars: _normalised(2 * bars.taker_buy_volume - bars.volume),
    "rare event": lambda bars: _normalised((bars.close > bars.open * 1.004).astype(float)),
}


@pytest.mark.parametrize("name", HONEST)
def test_statistic_of_what_knows_the_past_has_normal_tails_at_every_horizon(name):
    """Also for persistent columns and overlapping horizons, where a regression would see edges that are not there."""
    t = statistics(HONEST[name])
    assert np.abs(t.mean(axis=0)).max() < 0.4  # a tenth of what a centred price level would show (about -1.5)
    assert t.std(axis=0).max() < 1.35
    assert np.abs(t).max() < 4.5


def test_statistic_of_a_column_centred_by_its_whole_mean_is_biased():
    """Why outputs are centred by their own past: the mean of the walk is itself knowledge of the future."""
    t = statistics(lambda bars: (bars.close - bars.close.mean(axis=0)) / bars.close.std(axis=0))
    assert t[:, 0].mean() < -0.8


@pytest.mark.parametrize("rows_ahead", [1, 3, 10])
def test_statistic_of_what_knows_the_future_is_large(rows_ahead):
    def column(bars):
        ahead = np.full_like(bars.close, np.nan)
        ahead[:-rows_ahead] = bars.close[rows_ahead:] / bars.close[:-rows_ahead] - 1
        return _normalised(ahead)

    assert statistics(column, seeds=range(3)).max(axis=1).min() > 10


def test_stakes_add_up_the_answers_of_the_bars_before():
    z = np.arange(1.0, 6.0).reshape(-1, 1)
    assert _stakes(z, 1)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert _stakes(z, 3)[:, 0].tolist() == [0, 1, 3, 6, 9]


def test_statistic_against_the_next_h_bars_is_the_sum_of_products():
    """The identity the test rests on: sum of z_t times the sum of the next h innovations."""
    rng = np.random.default_rng(1)
    z, e = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    for h in (1, 4):
        direct = sum(z[t, 0] * e[t + 1 : t + 1 + h, 0].sum() for t in range(50))
        assert np.isclose((_stakes(z, h) * e).sum(), direct)
