"""What can and what cannot be predicted in the synthetic market, on long samples with fixed seeds.

Every statistic is the mean over symbols of a product of something known before a minute and the change in it. Under the
martingale that the market claims to be, such means are uncorrelated over time, so that plain t values hold.
"""

from __future__ import annotations

import numpy as np
import pytest

from slt.types import Bars
from slt_synthetic.feed import SyntheticFeed, SyntheticFeedConfig
from slt_synthetic.market import _burst, _Factor

SYMBOLS = tuple(f"SYN{i}USDT" for i in range(1, 9))


def read(**options):
    return Bars.concatenate(list(SyntheticFeed(SyntheticFeedConfig(**options)).slt_read_bars(0, 1_440)))


@pytest.fixture(scope="module")
def market():
    return read(days=90, seed=11)


@pytest.fixture(scope="module")
def edged():
    return read(days=30, seed=11, planted_edge=1.0)


def t_value(products):
    per_minute = products.mean(axis=1) if products.ndim == 2 else products
    return float(per_minute.mean() / per_minute.std() * np.sqrt(len(per_minute)))


def mean_of_last(values, minutes):
    """[t] = mean of rows t - minutes + 1 ... t; rows without enough before them are left out."""
    total = np.cumsum(np.concatenate((np.zeros((1, values.shape[1])), values)), axis=0)
    return (total[minutes:] - total[:-minutes]) / minutes


def changes(bars):
    """Simple returns over the mean absolute return of the hour before each, clipped so that bursts do not rule."""
    returns = bars.close[1:] / bars.close[:-1] - 1
    return np.clip(returns[60:] / mean_of_last(np.abs(returns), 60)[:-1], -6, 6)


def signals(bars):
    """By name, something known at the close before each row of `changes`."""
    logs, rows = np.log(bars.close), len(bars.close) - 61
    flow = 2 * bars.taker_buy_volume / bars.volume - 1
    steps = np.sign(np.diff(logs, axis=0))
    found = {f"sign of {k} minutes ago": steps[60 - k : 60 - k + rows] for k in (1, 2, 3, 5, 15, 60)}
    for minutes in (15, 60):
        found[f"move of {minutes} minutes"] = np.sign(logs[60 : 60 + rows] - logs[60 - minutes : 60 - minutes + rows])
        found[f"flow of {minutes} minutes"] = mean_of_last(flow, minutes)[61 - minutes : 61 - minutes + rows]
    high = np.lib.stride_tricks.sliding_window_view(bars.high, 60, axis=0).max(axis=-1)
    low = np.lib.stride_tricks.sliding_window_view(bars.low, 60, axis=0).min(axis=-1)
    close = bars.close[60 : 60 + rows]
    found["place in the hour's range"] = 2 * (close - low[1 : 1 + rows]) / (high - low)[1 : 1 + rows] - 1
    upper = bars.high[60 : 60 + rows] - np.maximum(bars.open, bars.close)[60 : 60 + rows]
    lower = np.minimum(bars.open, bars.close)[60 : 60 + rows] - bars.low[60 : 60 + rows]
    found["sweep of the hour's high or low"] = np.where(
        bars.high[60 : 60 + rows] >= high[:rows], -upper, 0.0
    ) + np.where(bars.low[60 : 60 + rows] <= low[:rows], lower, 0.0)
    found["sweep of the hour's high or low"] /= close
    return found


def test_default_market_the_next_change_cannot_be_predicted(market):
    after = changes(market)
    found = {name: t_value(known * after) for name, known in signals(market).items()}
    assert max(abs(t) for t in found.values()) < 3.5, found


def test_default_market_the_next_sign_cannot_be_predicted(market):
    after = np.sign(changes(market))
    found = {name: t_value(np.sign(known) * after) for name, known in signals(market).items()}
    assert max(abs(t) for t in found.values()) < 3.5, found


def test_default_market_has_no_drift(market):
    assert abs(t_value(changes(market))) < 3


@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0])
def test_default_market_a_level_inside_the_bar_is_no_edge(market, distance):
    """Whoever enters where the price first touches a level is as well off at the close as at the level."""
    unit = mean_of_last(np.abs(market.close[1:] / market.close[:-1] - 1), 60)[:-1]
    opened, high, low, close = (getattr(market, name)[61:] for name in ("open", "high", "low", "close"))
    for side, extreme in ((1, high), (-1, low)):
        level = opened * (1 + side * distance * unit)
        gain = np.where(side * (extreme - level) >= 0, (close - level) / opened / unit, 0.0)
        assert abs(t_value(gain)) < 3.5


def test_planted_edge_is_carried_by_the_flow(edged):
    after = changes(edged)
    found = {name: t_value(known * after) for name, known in signals(edged).items()}
    assert found["flow of 60 minutes"] > 8
    assert found["flow of 15 minutes"] > 8


def test_planted_edge_has_the_strength_it_says(edged):
    """Two hours after an hour of one-sided flow: 67 % and 46 basis points by the module's text."""
    flow = mean_of_last(2 * edged.taker_buy_volume / edged.volume - 1, 60)
    logs = np.log(edged.close[59:])
    rows = np.arange(0, len(flow) - 120, 120)
    gains = (np.sign(flow[rows]) * (logs[rows + 120] - logs[rows]))[np.abs(flow[rows]) > 0.2]
    assert 0.60 < (gains > 0).mean() < 0.74
    assert 30e-4 < gains.mean() < 62e-4


def test_planted_edge_leaves_volatility_and_volume_alone(edged):
    plain = read(days=30, seed=11)
    ratio = np.diff(np.log(edged.close), axis=0).std() / np.diff(np.log(plain.close), axis=0).std()
    assert 0.8 < ratio < 1.25


def test_volatility_clusters_and_returns_have_fat_tails(market):
    returns = np.diff(np.log(market.close), axis=0)
    size = np.abs(returns)
    for lag, least in ((1, 0.15), (60, 0.1)):
        correlations = [np.corrcoef(size[:-lag, i], size[lag:, i])[0, 1] for i in range(8)]
        assert min(correlations) > least
    kurtosis = ((returns - returns.mean(axis=0)) ** 4).mean(axis=0) / returns.var(axis=0) ** 2
    assert (kurtosis > 6).all()


def test_volatility_is_about_what_the_config_says(market):
    annual = np.diff(np.log(market.close), axis=0).std(axis=0) * np.sqrt(525_600)
    assert ((annual > 0.8 * 0.7) & (annual < 0.8 * 1.7)).all()
    calm = np.diff(np.log(read(days=30, seed=11, annual_volatility=0.4).close), axis=0).std() * np.sqrt(525_600)
    assert 0.28 < calm < 0.68


def test_symbols_are_correlated_as_the_config_says(market):
    def mean_correlation(bars):
        hourly = np.diff(np.log(bars.close[::60]), axis=0)
        return np.corrcoef(hourly.T)[np.triu_indices(8, 1)].mean()

    assert 0.35 < mean_correlation(market) < 0.65
    assert abs(mean_correlation(read(days=30, seed=11, correlation=0.0))) < 0.1


def test_volume_and_flow_go_with_the_moves(market):
    returns = np.diff(np.log(market.close), axis=0)
    volume, flow = np.log(market.volume[1:]), (2 * market.taker_buy_volume / market.volume - 1)[1:]
    for i in range(8):
        assert np.corrcoef(np.abs(returns[:, i]), volume[:, i])[0, 1] > 0.2
        assert np.corrcoef(np.sign(returns[:, i]), flow[:, i])[0, 1] > 0.3
    assert np.abs(flow).max() <= 0.91


def test_volatility_follows_the_time_of_day(market):
    size = np.abs(np.diff(np.log(market.close), axis=0))
    hour = (market.close_time[1:] // 3_600_000) % 24
    assert size[(hour >= 13) & (hour < 17)].mean() > 1.3 * size[(hour >= 1) & (hour < 5)].mean()


def test_sweeps_reach_beyond_four_hours_and_mostly_close_back():
    rng = np.random.default_rng(5)
    distance = 0.003
    bursts = np.array([_burst(distance, (1 - rng.random(5)).tolist()) for _ in range(40_000)])
    high, low, end = bursts.T
    up = high >= distance
    assert (np.maximum(high, -low) >= distance).all()
    assert (low <= np.minimum(end, 0)).all()
    assert (high >= np.maximum(end, 0)).all()
    assert 0.45 < up.mean() < 0.8
    assert 0.7 < (np.abs(end) < distance).mean() < 0.8
    assert abs((np.exp(end) - 1).mean()) < 4 * end.std() / np.sqrt(len(end))


@pytest.mark.parametrize("share", [0.3, 0.7, 1.5])
def test_burst_touching_a_level_is_no_edge(share):
    rng = np.random.default_rng(6)
    distance = 0.003
    high, low, end = np.array([_burst(distance, (1 - rng.random(5)).tolist()) for _ in range(40_000)]).T
    for gain in (
        (end - share * distance)[high >= share * distance],
        (-end - share * distance)[low <= -share * distance],
    ):
        assert abs(gain.mean()) < 4 * gain.std() / np.sqrt(len(gain))


def test_factor_path_is_the_recursion():
    factor = _Factor(half_life=45, deviation=0.4)
    shocks = np.random.default_rng(1).standard_normal((3, 500))
    path = factor.path(shocks, np.array([0.1, -0.2, 0.0]))
    value = np.array([0.1, -0.2, 0.0])
    for minute in range(500):
        value = factor.weight * value + 0.4 * np.sqrt(1 - factor.weight**2) * shocks[:, minute]
        np.testing.assert_allclose(path[:, minute], value, rtol=1e-9, atol=1e-12)
    long = factor.path(np.random.default_rng(2).standard_normal((1, 200_000)), np.zeros(1))
    assert long.std() == pytest.approx(0.4, rel=0.05)
