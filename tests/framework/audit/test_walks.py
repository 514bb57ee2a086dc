"""The random walks of an audit: like markets in everything but an edge."""

from __future__ import annotations

import numpy as np
import pytest

from slt.audit.walks import make_walk, mirrored, scaled
from slt.types import BarState

LONG = make_walk(40_000, 2, seed=5)


def test_make_walk_same_seed_gives_the_same_bytes():
    a, b = make_walk(500, 2, seed=7), make_walk(500, 2, seed=7)
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume", "state"):
        assert getattr(a.bars, name).tobytes() == getattr(b.bars, name).tobytes()
    assert make_walk(500, 2, seed=8).bars.close[-1, 0] != a.bars.close[-1, 0]


@pytest.mark.parametrize("tick", [0.0, 2.0**-10])
def test_make_walk_bars_can_be(tick):
    bars = make_walk(3_000, 3, seed=2, tick=tick).bars
    at = bars.state == BarState.TRADED
    assert (bars.high[at] >= np.maximum(bars.open, bars.close)[at]).all()
    assert (bars.low[at] <= np.minimum(bars.open, bars.close)[at]).all()
    assert (bars.low[at] > 0).all()
    assert (bars.volume[at] > 0).all()
    assert ((bars.taker_buy_volume >= 0) & (bars.taker_buy_volume <= bars.volume))[at].all()
    assert np.isnan(bars.close[~at]).all()
    assert set(np.unique(bars.state)) == {0, 1, 2}


def test_make_walk_without_holes_is_whole():
    assert (make_walk(3_000, 2, seed=2, holes=False).bars.state == BarState.TRADED).all()


def test_make_walk_looks_like_a_market():
    """Volatility clusters, tails are fat, volume goes with size and taker flow with the sign of the same bar."""
    e, r = LONG.innovations, LONG.returns
    sizes = np.abs(r)
    assert np.corrcoef(sizes[:-10, 0], sizes[10:, 0])[0, 1] > 0.1
    assert (r**4).mean() / (r**2).mean() ** 2 > 4
    at = LONG.bars.state == BarState.TRADED
    assert np.corrcoef(np.abs(e)[at], np.log(LONG.bars.volume[at]))[0, 1] > 0.2
    share = LONG.bars.taker_buy_volume[at] / LONG.bars.volume[at]
    assert np.corrcoef(np.sign(e[at]), share)[0, 1] > 0.3


def test_make_walk_innovations_are_the_returns_of_the_closes():
    both = (LONG.bars.state[1:] == 1) & (LONG.bars.state[:-1] == 1)
    with np.errstate(invalid="ignore"):
        seen = np.diff(np.log(LONG.bars.close), axis=0)
    np.testing.assert_allclose(seen[both], LONG.returns[1:][both], atol=1e-12)


def test_mirrored_on_ticks_is_exact_and_its_own_inverse():
    bars = make_walk(2_000, 2, seed=3, tick=2.0**-10).bars
    twice = mirrored(mirrored(bars))
    for name in ("open", "high", "low", "close", "taker_buy_volume"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(bars, name))
    flipped = mirrored(bars)
    at = bars.state == BarState.TRADED
    np.testing.assert_array_equal((flipped.high - flipped.low)[at], (bars.high - bars.low)[at])


def test_scaled_by_a_power_of_two_is_exact():
    bars = make_walk(200, 1, seed=3).bars
    np.testing.assert_array_equal(scaled(scaled(bars, 9), -9).close, bars.close)
