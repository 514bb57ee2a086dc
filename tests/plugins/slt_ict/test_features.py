"""The laws of the feature set `ict`."""

from __future__ import annotations

import pickle

import ict_markets as markets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.errors import ConfigError, PluginError
from slt.types import Bars, BarState, FeatureBlock, Parity, orient
from slt_ict.features import IctFeatures, IctFeaturesConfig

WARM = 40  # 5m candles; the laws hold for any warm-up, and a short one shows more values
NAMES = (
    "market_structure",
    "order_blocks_count",
    "institutional_candle",
    "liquidity_grab",
    "order_flow",
    "fvg_count",
    "trend_alignment_enhanced",
    "swing_high_distance",
    "structure_integrity",
    "institutional_participation",
    "timeframe_convergence",
    "liquidity_context",
)
RANGES = {"swing_high_distance": (-10, 10), "structure_integrity": (0, 1), "timeframe_convergence": (0, 1)}


def awkward_minutes(seed, rows=900, symbols=3):
    bars = markets.random_walk(seed, rows, symbols, 60_000, offset=120_000)
    return markets.damaged(bars, seed + 1, absent=0.002, empty=0.1, dojis=0.05, no_taker=0.001)


def test_describe_features_names_the_twelve_in_order_with_parity():
    columns, context, warmup, definition = IctFeatures(IctFeaturesConfig()).slt_describe_features()
    assert tuple(c.name for c in columns) == NAMES
    parity = {c.name: c.parity for c in columns}
    even = {n for n, p in parity.items() if p is Parity.EVEN}
    assert even == {"structure_integrity", "institutional_participation", "timeframe_convergence"}
    assert {n for n, p in parity.items() if p is Parity.MIRRORED} == {"swing_high_distance"}
    assert columns[7].mirror == "swing_low_distance"
    assert columns[7].mirror in context
    assert warmup == 10_000
    assert definition.startswith("ict/1 ")


def test_describe_features_after_start_counts_warmup_in_base_bars():
    features = IctFeatures(IctFeaturesConfig())
    features.slt_start_features(("BTCUSDT",), 300_000)
    assert features.slt_describe_features()[2] == 2_000


@pytest.mark.parametrize(
    "option",
    [{"swing_candles": 4}, {"age_candles": 299}, {"cap_zones": 23}, {"pool_merge_atr": 0.2}, {"warmup_candles": 1999}],
)
def test_definition_with_any_option_changed_differs(option):
    default = IctFeatures(IctFeaturesConfig()).slt_describe_features()[3]
    assert IctFeatures(IctFeaturesConfig(**option)).slt_describe_features()[3] != default


@pytest.mark.parametrize(
    "option",
    [{"swing_candles": 0}, {"swing_candles": 16}, {"cap_zones": 33}, {"age_candles": 0}, {"pool_merge_atr": np.nan}],
)
def test_config_outside_its_bounds_is_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        IctFeaturesConfig(**option)


@pytest.mark.parametrize(
    ("interval_ms", "text"), [(180_000, "3m"), (420_000, "7m"), (900_000, "15m"), (7_000, "7000 ms")]
)
def test_start_features_with_interval_that_does_not_divide_5m_names_both(interval_ms, text):
    with pytest.raises(ConfigError, match=rf"base interval of {text} does not divide 5m"):
        IctFeatures(IctFeaturesConfig()).slt_start_features(("BTCUSDT",), interval_ms)


@pytest.mark.parametrize("interval_ms", [15_000, 60_000, 150_000, 300_000])
def test_start_features_with_divisor_of_5m_gives_same_candles(interval_ms):
    """A constant price path cut into any base interval closes the same 5m candles."""
    rows = 60 * 300_000 // interval_ms
    bars = markets.random_walk(1, rows, 1, interval_ms, volatility=0.0)
    block = markets.run(bars, warmup_candles=12)
    assert int(block.fresh.sum()) == 60
    assert (bars.close_time[block.fresh[:, 0]] % 300_000 == 0).all()


def test_update_features_with_other_symbols_raises_plugin_error():
    bars = markets.random_walk(1, 5, 2)
    features = markets.started(bars)
    with pytest.raises(PluginError, match="was started with 2 symbols"):
        features.slt_update_features(bars.columns([0]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 900), max_size=12))
def test_update_features_with_any_cut_gives_same_bits(seed, cuts):
    bars = awkward_minutes(seed)
    markets.assert_same(markets.run(bars, cuts, warmup_candles=WARM), markets.run(bars, warmup_candles=WARM))


def test_update_features_minute_by_minute_gives_same_bits():
    bars = awkward_minutes(5, rows=1_500)
    whole = markets.run(bars, warmup_candles=WARM)
    markets.assert_same(markets.run(bars, range(1, 1_500), warmup_candles=WARM), whole)
    assert whole.ready.any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), end=st.integers(1, 899))
def test_update_features_on_prefix_equals_full_run(seed, end):
    bars = awkward_minutes(seed)
    future = awkward_minutes(seed + 1)
    mixed = Bars.concatenate([bars.rows(0, end), future.rows(end, len(future))])
    full = markets.run(bars, warmup_candles=WARM)
    markets.assert_same(markets.run(bars.rows(0, end), warmup_candles=WARM), full.rows(0, end))
    markets.assert_same(markets.run(mixed, warmup_candles=WARM).rows(0, end), full.rows(0, end))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), order=st.permutations([0, 1, 2]))
def test_update_features_per_symbol_depends_on_no_other(seed, order):
    bars = awkward_minutes(seed)
    full = markets.run(bars, warmup_candles=WARM)
    shuffled = markets.run(bars.columns(order), warmup_candles=WARM)
    for place, j in enumerate(order):
        np.testing.assert_array_equal(shuffled.values[:, place], full.values[:, j])
        np.testing.assert_array_equal(shuffled.context[:, place], full.context[:, j])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), delay=st.integers(1, 30))
def test_update_features_with_late_bars_gives_the_values_of_punctual_ones(seed, delay):
    """A symbol whose bars arrive in a later block, in its own order, ends with the very same state."""
    bars = markets.random_walk(seed, 600, 2, 60_000)
    punctual, late = markets.started(bars, warmup_candles=WARM), markets.started(bars, warmup_candles=WARM)
    expected = punctual.slt_update_features(bars)
    cut = 300
    head = Bars.concatenate([bars.rows(0, cut)])
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume"):
        getattr(head, name)[cut - delay :, 1] = np.nan
    head.state[cut - delay :, 1] = BarState.ABSENT
    catch_up = Bars.concatenate([bars.rows(cut - delay, len(bars))])
    catch_up.state[:delay, 0] = BarState.ABSENT
    late.slt_update_features(head)
    found = late.slt_update_features(catch_up)
    np.testing.assert_array_equal(found.values[delay:], expected.values[cut:])
    np.testing.assert_array_equal(found.ready[delay:], expected.ready[cut:])


def test_update_features_leaves_its_input_unchanged_and_takes_readonly_arrays():
    bars = awkward_minutes(9)
    before = pickle.dumps(bars)
    expected = markets.run(bars, warmup_candles=WARM)
    assert pickle.dumps(bars) == before
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume", "state", "close_time"):
        getattr(bars, name).flags.writeable = False
    markets.assert_same(markets.run(bars, warmup_candles=WARM), expected)


def test_update_features_on_transposed_memory_gives_same_bits():
    bars = awkward_minutes(9)
    turned = markets.replaced(bars, close=np.asfortranarray(bars.close), state=np.asfortranarray(bars.state))
    markets.assert_same(markets.run(turned, warmup_candles=WARM), markets.run(bars, warmup_candles=WARM))


def test_update_features_on_bars_seen_before_changes_nothing():
    bars = awkward_minutes(3)
    features = markets.started(bars, warmup_candles=WARM)
    expected = markets.run(bars, warmup_candles=WARM)
    features.slt_update_features(bars.rows(0, 500))
    again = features.slt_update_features(bars.rows(400, len(bars)))
    np.testing.assert_array_equal(again.values[100:], expected.values[500:])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 900))
def test_snapshot_through_pickle_goes_on_bit_for_bit(seed, cut):
    bars = awkward_minutes(seed)
    first = markets.started(bars, warmup_candles=WARM)
    first.slt_update_features(bars.rows(0, cut))
    saved = pickle.dumps(first.slt_snapshot_features())
    expected = first.slt_update_features(bars.rows(cut, len(bars)))
    second = markets.started(bars, warmup_candles=WARM)
    second.slt_restore_features(pickle.loads(saved))
    markets.assert_same(second.slt_update_features(bars.rows(cut, len(bars))), expected)
    ends = first.slt_snapshot_features()["state"], second.slt_snapshot_features()["state"]
    assert all(ends[0][name].tobytes() == ends[1][name].tobytes() for name in ends[0])


def test_snapshot_taken_earlier_is_not_changed_by_later_bars():
    bars = awkward_minutes(4)
    features = markets.started(bars, warmup_candles=WARM)
    features.slt_update_features(bars.rows(0, 450))
    snapshot = features.slt_snapshot_features()
    before = pickle.dumps(snapshot)
    features.slt_restore_features(snapshot)
    features.slt_update_features(bars.rows(450, 900))
    assert pickle.dumps(snapshot) == before


def test_restore_with_other_definition_raises_config_error_naming_both():
    bars = markets.random_walk(1, 5)
    saved = markets.started(bars, cap_zones=10).slt_snapshot_features()
    with pytest.raises(ConfigError, match=r"definition `.*cap=10 .*`, this run has `.*cap=24 ") as caught:
        markets.started(bars).slt_restore_features(saved)
    assert len(caught.value.problems) == 1


def test_restore_with_other_symbols_and_interval_raises_every_problem():
    saved = markets.started(markets.random_walk(1, 5)).slt_snapshot_features()
    with pytest.raises(ConfigError) as caught:
        markets.started(markets.random_walk(1, 5, 2, 60_000)).slt_restore_features(saved)
    assert len(caught.value.problems) == 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.integers(-20, 20))
def test_values_with_prices_times_power_of_two_are_bit_identical(seed, power):
    bars = awkward_minutes(seed)
    factor = 2.0**power
    scaled = markets.replaced(bars, **{n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")})
    a, b = markets.run(bars, warmup_candles=WARM), markets.run(scaled, warmup_candles=WARM)
    np.testing.assert_array_equal(a.values, b.values)
    prices = ("atr_5m", "swing_high_15m", "order_block_bear_top", "liquidity_below_15m")
    for name in prices:
        np.testing.assert_array_equal(a.context_of(name) * factor, b.context_of(name), err_msg=name)


def mirrored(bars):
    """Up is down: every price p becomes 200 − p (exact, all prices lie on a dyadic grid), buyers become sellers."""
    return markets.replaced(
        bars,
        open=200 - bars.open,
        high=200 - bars.low,
        low=200 - bars.high,
        close=200 - bars.close,
        taker_buy_volume=bars.volume - bars.taker_buy_volume,
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), tick=st.sampled_from([2.0**-10, 2.0**-3]))
def test_values_of_mirrored_market_are_the_oriented_values(seed, tick):
    bars = markets.damaged(markets.random_walk(seed, 700, 2, tick=tick), seed, absent=0.002, empty=0.05, dojis=0.05)
    block = markets.run(bars, warmup_candles=WARM)
    mirror = markets.run(mirrored(bars), warmup_candles=WARM)
    rows, symbols = np.nonzero(block.ready)
    shorts = np.full(len(rows), -1, dtype=np.int8)
    seen = orient(block, rows, symbols, shorts)
    flow = NAMES.index("order_flow")  # volume − taker rounds: 2·(v − b) − v is −(2b − v) only up to a last bit
    others = [i for i in range(12) if i != flow]
    # −0.0 equals 0.0 here, as it does for any model
    np.testing.assert_array_equal(seen[:, others], mirror.values[rows, symbols][:, others])
    np.testing.assert_allclose(seen[:, flow], mirror.values[rows, symbols][:, flow], atol=1e-6)
    assert len(rows) > 300


def test_context_of_mirrored_market_swaps_the_sides():
    bars = markets.random_walk(8, 700)
    a, b = markets.run(bars, warmup_candles=WARM), markets.run(mirrored(bars), warmup_candles=WARM)
    pairs = {
        "swing_high_15m": "swing_low_15m",
        "order_block_bull_top": "order_block_bear_bottom",
        "order_block_bull_bottom": "order_block_bear_top",
        "liquidity_above_15m": "liquidity_below_15m",
    }
    for up, down in pairs.items():
        np.testing.assert_array_equal(200 - a.context_of(up), b.context_of(down), err_msg=up)
        assert np.isfinite(a.context_of(up)).any()
    for name in ("atr_5m", "atr_15m", "atr_1h"):
        np.testing.assert_array_equal(a.context_of(name), b.context_of(name), err_msg=name)
    for name in ("trend_5m", "trend_15m", "trend_1h"):
        np.testing.assert_array_equal(a.context_of(name), -b.context_of(name), err_msg=name)


def staggered(bars, starts):
    """One symbol many times, each copy absent before its own start."""
    rows = len(bars)
    wide = bars.columns([0] * len(starts))
    for j, start in enumerate(starts):
        column = np.zeros((rows, len(starts)), dtype=bool)
        column[:start, j] = True
        markets.blank(wide, column, BarState.ABSENT)
    names = tuple(f"START{start}" for start in starts)
    return Bars(names, wide.interval_ms, wide.close_time, *(getattr(wide, n) for n in FIELDS))


FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume", "state")


def check_coupling(bars, starts):
    block = markets.run(staggered(bars, starts))
    first = block.values[:, :1]  # the copy that began first
    assert not np.isnan(np.delete(first[2_000:], NAMES.index("order_flow"), axis=2)).any()
    apart = np.abs(block.values - first)
    apart[np.isnan(block.values) & np.isnan(first)] = 0.0  # order flow where the data has no taker volume
    apart = apart.max(axis=2)
    at_warmup = np.array([apart[start + 1_999, j] for j, start in enumerate(starts)])
    later = np.array([apart[start + 2_999, j] for j, start in enumerate(starts)])
    assert not np.isnan(at_warmup[1:]).any()
    assert (at_warmup[1:] <= 1e-6).mean() >= 0.99
    assert (later[1:] <= 1e-6).all()


def test_values_from_any_start_point_need_a_warmup_to_couple():
    """The law above is no triviality: a quarter of the warm-up is not enough."""
    starts = [0, *range(3_000, 6_000, 23)]
    block = markets.run(staggered(markets.random_walk(21, 9_200), starts), warmup_candles=200)
    apart = np.abs(block.values - block.values[:, :1]).max(axis=2)
    early = np.array([apart[start + 499, j] for j, start in enumerate(starts)])
    assert (early[1:] > 1e-6).mean() > 0.5


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_values_from_any_start_point_couple_within_the_warmup(seed):
    check_coupling(markets.random_walk(seed, 9_200), [0, *range(3_000, 6_000, 23)])


@pytest.mark.parametrize("name", ["SOLUSDT-5m-futures", "BTCUSDT-5m-futures"])
def test_values_of_real_candles_from_any_start_point_couple_within_the_warmup(name):
    check_coupling(markets.real(name, 9_200, 300_000), [0, *range(3_000, 6_000, 23)])


def test_values_of_random_walk_know_nothing_of_the_next_return():
    """Leak test: no column correlates with what comes next, though they do with what has just been."""
    bars = markets.random_walk(7, 12_000, 8, volatility=1e-3)
    block = markets.run(bars)
    returns = np.diff(np.log(bars.close), axis=0)
    ready = block.ready[1:-1].ravel()
    known, ahead = returns[:-1].ravel()[ready], returns[1:].ravel()[ready]
    bound = 4.0 / np.sqrt(ready.sum())  # 4 standard errors; about 80,000 points, so 0.014
    assert ready.sum() > 79_000
    power = {}
    for i, name in enumerate(NAMES):
        column = block.values[1:-1, :, i].ravel()[ready]
        assert abs(np.corrcoef(column, ahead)[0, 1]) < bound, name
        power[name] = abs(np.corrcoef(column, known)[0, 1])
    # a column one candle early would show these correlations with the future instead
    assert power["institutional_candle"] > 0.5
    assert sum(p > bound for p in power.values()) >= 5


def test_values_of_random_walk_earn_nothing_over_five_candles():
    """The sign of each odd column as a position over the next five candles: no t-statistic of an edge."""
    bars = markets.random_walk(17, 12_000, 8, volatility=1e-3)
    block = markets.run(bars)
    ahead = np.log(bars.close[5::5][1:] / bars.close[5:-5:5])
    rows = np.arange(5, len(bars) - 5, 5)[: len(ahead)]
    ready = block.ready[rows]
    for i, column in enumerate(block.columns):
        if column.parity is not Parity.ODD:
            continue
        gains = (np.sign(block.values[rows, :, i]) * ahead)[ready]
        t = gains.mean() / (gains.std() / np.sqrt(len(gains)))
        assert abs(t) < 4, column.name


def check_ranges(block):
    for i, name in enumerate(NAMES):
        column = block.values[:, :, i][block.ready]
        low, high = RANGES.get(name, (-1, 1))
        column = column[~np.isnan(column)]
        assert ((column >= low) & (column <= high)).all(), name


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), volatility=st.sampled_from([1e-5, 1e-3, 2e-2]))
def test_values_stay_in_their_ranges(seed, volatility):
    bars = markets.random_walk(seed, 600, 2, volatility=volatility)
    block = markets.run(markets.damaged(bars, seed, dojis=0.1, empty=0.05, no_volume=0.02), warmup_candles=WARM)
    check_ranges(block)


@pytest.mark.parametrize("name", ["ALGOUSDT-1m-futures", "LINKUSDT-1m-futures"])
def test_values_of_real_candles_are_in_range_known_and_never_constant(name):
    block = markets.run(markets.real(name, 40_000))
    check_ranges(block)
    for i, column in enumerate(NAMES):
        values = block.values[:, :, i][block.ready & block.fresh]
        assert not np.isnan(values).any(), column
        assert len(np.unique(values)) >= 3, column
    assert block.ready[-1, 0]


def test_order_flow_without_taker_volume_is_nan_and_nothing_else_changes():
    bars = markets.random_walk(6, 600, 2)
    a = markets.run(bars, warmup_candles=WARM)
    b = markets.run(markets.replaced(bars, taker_buy_volume=np.full_like(bars.volume, np.nan)), warmup_candles=WARM)
    flow = NAMES.index("order_flow")
    others = [i for i in range(12) if i != flow]
    np.testing.assert_array_equal(a.values[:, :, others], b.values[:, :, others])
    assert np.isnan(b.values[:, :, flow]).all()
    assert not np.isnan(a.values[WARM:, :, flow]).any()


def test_state_grows_no_older_with_time():
    """Flat cost: the state of a symbol has one size for ever."""
    bars = markets.random_walk(6, 3_000)
    features = markets.started(bars)
    size = len(pickle.dumps(features.slt_snapshot_features()))
    features.slt_update_features(bars)
    assert len(pickle.dumps(features.slt_snapshot_features())) <= size + 64


def test_hooks_fit_the_specification():
    import pluggy

    from slt.hookspecs import FeatureSpecs

    manager = pluggy.PluginManager("slt")
    manager.add_hookspecs(FeatureSpecs)
    manager.register(IctFeatures(IctFeaturesConfig()))
    manager.check_pending()
    assert isinstance(markets.run(markets.random_walk(1, 3)), FeatureBlock)
