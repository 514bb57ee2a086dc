from __future__ import annotations

import itertools
import re
from decimal import Decimal

import numpy as np
import pytest

from slt.testing import FeedConformance
from slt.types import Bars
from slt_synthetic.feed import SyntheticFeed, SyntheticFeedConfig

ARRAYS = ("close_time", "open", "high", "low", "close", "volume", "taker_buy_volume", "state")


def read(start=0, rows=1_440, **options):
    return Bars.concatenate(list(SyntheticFeed(SyntheticFeedConfig(**options)).slt_read_bars(start, rows)))


def assert_equal(left, right):
    for name in ARRAYS:
        assert getattr(left, name).tobytes() == getattr(right, name).tobytes(), name


class TestMinutes(FeedConformance):
    """The market as shipped, shortened."""

    def make_feed(self):
        return SyntheticFeed(SyntheticFeedConfig(days=3))


class TestFiveMinutesWithEdge(FeedConformance):
    """Aggregated bars, few symbols, an edge."""

    rows = 100

    def make_feed(self):
        config = SyntheticFeedConfig(days=4, interval="5m", symbols=("SYNB", "SYNA"), planted_edge=0.5, seed=9)
        return SyntheticFeed(config)


def test_market_says_that_it_is_synthetic():
    market = SyntheticFeed(SyntheticFeedConfig()).slt_describe_market()
    assert market.is_synthetic
    assert market.description == "synthetic market (seed 1): not real prices"
    assert len(market.symbols) == 8
    assert market.total_bars == 43_200
    edged = SyntheticFeed(SyntheticFeedConfig(seed=3, planted_edge=0.25)).slt_describe_market()
    assert edged.description == "synthetic market (seed 3, planted edge 0.25): not real prices"


def test_market_rules_fit_the_prices():
    bars = read(days=2)
    market = SyntheticFeed(SyntheticFeedConfig(days=2)).slt_describe_market()
    for place, symbol in enumerate(market.symbols):
        rules = market.rules[symbol]
        for name, grid in (("open", rules.tick_size), ("low", rules.tick_size), ("volume", rules.step_size)):
            values = getattr(bars, name)[:50, place].tolist()
            assert all(Decimal(repr(v)) % grid == 0 for v in values), (symbol, name, grid)
        assert 1e-6 < float(rules.tick_size) / bars.close[0, place] < 2e-4
        assert 0.5 < float(rules.step_size) * bars.close[0, place] < 20
        tiers = rules.brackets
        assert tiers[0].floor == 0
        assert [t.cap for t in tiers[:-1]] == [t.floor for t in tiers[1:]]
        for low, high in itertools.pairwise(tiers):
            at = high.floor
            margin_below, margin_above = at * low.maintenance_rate - low.cum, at * high.maintenance_rate - high.cum
            assert margin_below == pytest.approx(margin_above)
            assert high.max_leverage < low.max_leverage
            assert 1 / high.max_leverage > high.maintenance_rate


def test_funding_comes_every_eight_hours_and_averages_nothing():
    market = SyntheticFeed(SyntheticFeedConfig(days=365)).slt_describe_market()
    for funding in market.funding.values():
        assert set(np.diff(funding.time)) == {28_800_000}
        assert (funding.time % 28_800_000 == 0).all()
        assert abs(funding.rate.mean()) < 3 * funding.rate.std() / np.sqrt(len(funding.rate))
        assert 0 < np.abs(funding.rate).max() <= 0.0005


def test_bars_of_a_symbol_do_not_depend_on_the_others_or_the_length():
    whole = read(days=3)
    alone = read(days=2, symbols=("SYN5USDT",))
    some = read(days=2, symbols=("SYN9USDT", "SYN5USDT", "SYN1USDT"))
    place = whole.symbols.index("SYN5USDT")
    assert_equal(alone, whole.columns([place]).rows(0, 2_880))
    assert_equal(alone, some.columns([1]))


def test_bars_of_another_seed_or_name_are_others():
    one, other = read(days=1), read(days=1, seed=2)
    assert not np.array_equal(one.close, other.close)
    assert len({one.close[:, i].tobytes() for i in range(8)}) == 8


def test_five_minute_bars_are_the_minutes_put_together():
    minutes, fives = read(days=1), read(days=1, interval="5m")
    shape = (288, 5, 8)
    np.testing.assert_array_equal(fives.close_time, minutes.close_time[4::5])
    np.testing.assert_array_equal(fives.open, minutes.open[::5])
    np.testing.assert_array_equal(fives.close, minutes.close[4::5])
    np.testing.assert_array_equal(fives.high, minutes.high.reshape(shape).max(axis=1))
    np.testing.assert_array_equal(fives.low, minutes.low.reshape(shape).min(axis=1))
    np.testing.assert_allclose(fives.volume, minutes.volume.reshape(shape).sum(axis=1), rtol=0.05)


def test_each_bar_opens_where_the_last_one_closed():
    bars = read(days=2)
    np.testing.assert_array_equal(bars.open[1:], bars.close[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symbols": ()}, "names no symbol; write some that begin with SYN, such as `SYN1USDT`"),
        ({"symbols": ("BTCUSDT",)}, "`BTCUSDT` must begin with SYN, so that nobody takes its prices for real ones"),
        ({"symbols": ("SYN1", "SYN1")}, "`SYN1` stands there more than once"),
        ({"interval": "7m"}, "`7m` must be whole minutes that divide a day, such as `1m`, `5m` or `1h`"),
        ({"interval": "30s"}, "`30s` must be whole minutes that divide a day, such as `1m`, `5m` or `1h`"),
        ({"start": "2024-13-01"}, "`2024-13-01` is not an ISO date; write `2024-01-31`"),
    ],
)
def test_config_wrong_option_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SyntheticFeedConfig(**options)


@pytest.mark.parametrize(
    "options", [{"days": 0}, {"seed": -1}, {"annual_volatility": 0.0}, {"correlation": 1.0}, {"planted_edge": 1.5}]
)
def test_config_option_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SyntheticFeedConfig(**options)
