from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError
from slt.testing.markets import blank_features, random_features, random_walk
from slt.testing.strategies import StrategyConformance
from slt.types import VIEW_NAMES, Bars, Column, FeatureBlock, Parity
from slt_strategies import _ict_setups, _ict_views
from slt_strategies.ict_smc import IctSmc, IctSmcConfig

NAN = float("nan")
SIDES = pytest.mark.parametrize("side", [1, -1])
ODD = (
    "market_structure",
    "order_blocks_count",
    "institutional_candle",
    "liquidity_grab",
    "order_flow",
    "fvg_count",
    "trend_alignment_enhanced",
    "liquidity_context",
)


def random_ict(bars: Bars) -> FeatureBlock:
    """Random values in the ranges and of the kinds that `ict` gives, with levels around each close."""
    block = random_features(bars, _ict_views.FEATURES, (*_ict_setups.CONTEXT, "trend_1h"), seed=9, unknown=0.02)
    for name in ("structure_integrity", "timeframe_convergence"):
        block.value(name)[...] = (block.value(name) + 1) / 2
    block.value("market_structure")[...] = np.round(block.value("market_structure") * 2) / 2
    block.value("swing_high_distance")[...] *= 10
    close = bars.close
    for name in ("trend_5m", "trend_15m", "trend_1h"):
        block.context_of(name)[...] = np.sign(block.context_of(name))
    for name, away in (
        ("swing_high_15m", 0.006),
        ("swing_low_15m", -0.006),
        ("order_block_bull_top", -0.0005),
        ("order_block_bull_bottom", -0.003),
        ("order_block_bear_bottom", 0.0005),
        ("order_block_bear_top", 0.003),
        ("liquidity_above_15m", 0.02),
        ("liquidity_below_15m", -0.02),
    ):
        noise = block.context_of(name)
        noise[...] = close * (1 + away * (1 + noise / 2))
    for name, size in (("atr_15m", 0.004), ("atr_1h", 0.008)):
        block.context_of(name)[...] = close * size * (1 + block.context_of(name) / 3)
    block.context_of("swing_low_distance")[...] *= 10
    return block


class TestIctSmc(StrategyConformance):
    @pytest.fixture
    def make_strategy(self):
        return lambda: IctSmc(IctSmcConfig())

    def features_for(self, bars):
        return random_ict(bars)


class TestStrictIctSmc(TestIctSmc):
    @pytest.fixture
    def make_strategy(self):
        return lambda: IctSmc(IctSmcConfig(relaxed=False))


# One point: a perfect long (or its mirror) at a close of 100, changed value by value.
PERFECT = {
    "market_structure": 1.0,
    "order_blocks_count": 0.5,
    "institutional_candle": 0.1,
    "liquidity_grab": 0.4,
    "order_flow": 0.2,
    "fvg_count": 0.4,
    "trend_alignment_enhanced": 1.0,
    "swing_high_distance": -2.0,
    "structure_integrity": 1.0,
    "institutional_participation": 0.6,
    "timeframe_convergence": 1.0,
    "liquidity_context": 0.7,
}
# Levels as distances from the close in the direction of the trade; ATR in price units.
LEVELS = {
    "protecting_swing": -0.8,
    "opposing_swing": 1.0,
    "zone_near": -1.5,
    "zone_far": -3.0,
    "opposing_zone_near": 2.0,
    "opposing_zone_far": 3.0,
    "pool": 2.0,
    "opposing_pool": -2.0,
    "atr_15m": 0.4,
    "atr_1h": 1.0,
    "trend_15m": 1.0,
    "trend_5m": 1.0,
    "room": 2.0,
}
CLOSE = 100.0


def make_block(side, *, fresh=True, ready=True, **changes):
    values = {**PERFECT, **{k: v for k, v in changes.items() if k in PERFECT}}
    levels = {**LEVELS, **{k: v for k, v in changes.items() if k in LEVELS}}
    assert set(changes) <= set(values) | set(levels)
    price = {name: CLOSE + side * levels[name] for name in LEVELS}
    long = side > 0
    context = {
        "atr_15m": levels["atr_15m"],
        "atr_1h": levels["atr_1h"],
        "trend_5m": side * levels["trend_5m"],
        "trend_15m": side * levels["trend_15m"],
        "swing_high_15m": price["opposing_swing" if long else "protecting_swing"],
        "swing_low_15m": price["protecting_swing" if long else "opposing_swing"],
        "swing_low_distance": -levels["room"] if long else -values["swing_high_distance"],
        "order_block_bull_top": price["zone_near" if long else "opposing_zone_near"],
        "order_block_bull_bottom": price["zone_far" if long else "opposing_zone_far"],
        "order_block_bear_bottom": price["opposing_zone_near" if long else "zone_near"],
        "order_block_bear_top": price["opposing_zone_far" if long else "zone_far"],
        "liquidity_above_15m": price["pool" if long else "opposing_pool"],
        "liquidity_below_15m": price["opposing_pool" if long else "pool"],
    }
    seen = {name: value * (side if name in ODD else 1) for name, value in values.items()}
    if not long:
        seen["swing_high_distance"] = -levels["room"]
    return FeatureBlock(
        columns=tuple(Column(name, Parity.ODD if name in ODD else Parity.EVEN) for name in seen),
        context_names=tuple(context),
        values=np.array([[list(seen.values())]], dtype=np.float32),
        context=np.array([[list(context.values())]]),
        fresh=np.array([[fresh]]),
        ready=np.array([[ready]]),
    )


def one_bar():
    bars = random_walk(1, 1)
    prices = {name: np.full((1, 1), CLOSE) for name in ("open", "high", "low", "close")}
    return evolve(bars, **prices)


def propose(side, *, fresh=True, ready=True, config=None, **changes):
    strategy = IctSmc(IctSmcConfig(**(config or {})))
    return strategy.slt_propose_trades(one_bar(), make_block(side, fresh=fresh, ready=ready, **changes))


def reason_of(block):
    return block.reasons[block.reason[0, 0]] if block.side[0, 0] else None


@SIDES
def test_ict_smc_perfect_setup_is_proposed_with_full_confidence(side):
    block = propose(side)
    assert block.side[0, 0] == side
    assert reason_of(block) == "liquidity grab, tier 1"
    # institutional_candle is 0.1 of a full 0.25, 5 % of the weight; everything else is full.
    assert block.view("confidence", side)[0, 0] == pytest.approx(0.97)
    assert block.view("confidence", -side)[0, 0] == pytest.approx(0.05)
    # All parts full but the candle (0.4 of 10 %): mean 0.94.
    assert block.view("continuation", side)[0, 0] == pytest.approx(0.97)
    assert block.view("continuation", -side)[0, 0] == pytest.approx(0.03)
    # Two ATR above the protecting swing count 0 of 20 %.
    assert block.view("rebound", side)[0, 0] == pytest.approx(0.9)


@SIDES
@pytest.mark.parametrize("flags", [{"fresh": False}, {"ready": False}])
def test_ict_smc_proposes_only_on_fresh_and_ready_rows_but_rates_all(side, flags):
    block = propose(side, **flags)
    assert not block.side.any()
    assert block.view("confidence", side)[0, 0] == pytest.approx(0.97)


TIERS = [
    ({}, 1, True),
    ({"trend_5m": -1}, 2, True),
    ({"trend_5m": 0}, 2, True),
    ({"trend_15m": 0}, 3, True),
    ({"trend_15m": -1, "structure_integrity": 0.67}, 3, True),
    ({"trend_15m": 0, "trend_5m": -1}, 4, False),
    ({"trend_15m": -1, "trend_5m": -1, "structure_integrity": 0.67}, 4, False),
    ({"market_structure": 0.5}, 5, False),
    ({"market_structure": 0.0}, 5, False),
    ({"market_structure": -0.5}, 0, False),
    ({"market_structure": -1.0}, 0, False),
    ({"market_structure": 0.5, "trend_5m": -1}, 0, False),
    ({"market_structure": 0.5, "trend_15m": -1}, 0, False),
    ({"trend_15m": -1, "structure_integrity": 0.5}, 0, False),
    ({"market_structure": NAN}, 0, False),
    ({"trend_15m": NAN}, 0, False),
    ({"trend_5m": NAN}, 0, False),
]


@SIDES
@pytest.mark.parametrize(("changes", "tier", "strict"), TIERS)
def test_ict_smc_direction_tiers(side, changes, tier, strict):
    relaxed_reason = reason_of(propose(side, **changes))
    assert relaxed_reason == (f"liquidity grab, tier {tier}" if tier else None)
    assert reason_of(propose(side, config={"relaxed": True}, **changes)) == relaxed_reason
    assert reason_of(propose(side, config={"relaxed": False}, **changes)) == (relaxed_reason if strict else None)


NO_GRAB = {"liquidity_grab": 0.0}
NEAR_ZONE = {"zone_near": -0.05, "zone_far": -0.6}
TRIGGERS = [
    ({"liquidity_grab": 0.25}, "liquidity grab"),
    ({"liquidity_grab": 0.2499}, None),
    ({"liquidity_grab": -0.9}, None),
    (NO_GRAB | NEAR_ZONE, "order block retest"),
    (NO_GRAB | NEAR_ZONE | {"zone_near": 0.3}, "order block retest"),
    (NO_GRAB | NEAR_ZONE | {"zone_near": -0.11}, None),
    (NO_GRAB | {"zone_near": 0.5, "zone_far": 0.1}, None),
    (NO_GRAB | NEAR_ZONE | {"institutional_candle": -0.1}, None),
    (NO_GRAB | {"institutional_candle": 0.31}, "displacement"),
    (NO_GRAB | {"institutional_candle": 0.31, "fvg_count": -0.1}, None),
    (NO_GRAB | {"institutional_candle": 0.29}, None),
    ({"order_flow": -0.04}, "liquidity grab"),
    ({"order_flow": -0.06}, None),
    ({"order_flow": NAN}, "liquidity grab"),
    ({"liquidity_grab": NAN}, None),
]


@SIDES
@pytest.mark.parametrize(("changes", "trigger"), TRIGGERS)
def test_ict_smc_needs_a_trigger(side, changes, trigger):
    assert reason_of(propose(side, **changes)) == (f"{trigger}, tier 1" if trigger else None)


STOPS = [
    # behind the swing at 0.8, 0.25 ATR of 0.4 farther
    ({}, 0.9),
    # the order block is nearer than the swing
    ({"protecting_swing": -1.2, "zone_far": -0.9}, 1.0),
    # never nearer than 1.5 ATR of 15m
    ({"protecting_swing": -0.2, "atr_15m": 0.5}, 0.75),
    # never nearer than 0.6 %
    ({"protecting_swing": -0.2, "atr_15m": 0.2}, 0.6),
    # a broken swing protects nothing, the zone does
    ({"protecting_swing": 0.2, "zone_far": -0.9}, 1.0),
    ({"protecting_swing": NAN, "zone_far": -0.9}, 1.0),
    # nothing to hide behind
    ({"protecting_swing": NAN, "zone_far": NAN}, None),
    ({"protecting_swing": 0.2, "zone_far": 0.3, "zone_near": 0.4}, None),
    # at most 2 ATR of 1h
    ({"protecting_swing": -1.89}, 1.99),
    ({"protecting_swing": -1.91}, None),
    ({"atr_1h": NAN}, None),
    ({"atr_15m": NAN}, None),
]


@SIDES
@pytest.mark.parametrize(("changes", "distance"), STOPS)
def test_ict_smc_stop_lies_behind_structure(side, changes, distance):
    block = propose(side, **changes)
    if distance is None:
        assert not block.side.any()
    else:
        assert block.stop[0, 0] == pytest.approx(CLOSE - side * distance)


TARGETS = [(2.0, 2.0), (1.09, 1.09), (1.07, 1.35), (2.69, 2.69), (2.71, 1.35), (NAN, 1.35), (-1.0, 1.35)]


@SIDES
@pytest.mark.parametrize(("pool", "distance"), TARGETS)
def test_ict_smc_target_is_the_pool_from_1_2_to_3_r_else_1_5_r(side, pool, distance):
    # The risk is 0.9: 1.2 R = 1.08, 1.5 R = 1.35, 3 R = 2.7.
    assert propose(side, pool=pool).target[0, 0] == pytest.approx(CLOSE + side * distance)


def test_ict_smc_own_options_move_stop_and_target():
    config = {"stop_buffer_atr_15m": 1.0, "target_r": 2.0, "max_target_r": 2.0, "min_target_r": 1.9}
    block = propose(1, config=config)
    assert block.stop[0, 0] == pytest.approx(98.8)
    assert block.target[0, 0] == pytest.approx(102.4)


@SIDES
def test_ict_smc_confidence_without_flow_shares_its_weight_among_the_others(side):
    confidence = propose(side, order_flow=NAN).view("confidence", side)[0, 0]
    assert confidence == pytest.approx((0.97 - 0.05) / 0.95)


@SIDES
def test_ict_smc_confidence_with_too_little_known_is_unknown(side):
    unknown = dict.fromkeys(("market_structure", "order_blocks_count"), NAN)
    # structure (30), zones' 15 and the convergence whose direction is lost (6) are unknown: 49 % known.
    assert np.isnan(propose(side, **unknown).view("confidence", side)[0, 0])
    assert not np.isnan(propose(side, market_structure=NAN).view("confidence", side)[0, 0])


@SIDES
@pytest.mark.parametrize(("room", "part"), [(0.0, 1.0), (1.0, 0.5), (2.0, 0.0), (4.0, -1.0), (9.0, -1.0), (-0.1, -1.0)])
def test_ict_smc_rebound_fades_with_the_distance_from_the_protecting_swing(side, room, part):
    rebound = propose(side, room=room).view("rebound", side)[0, 0]
    assert rebound == pytest.approx((1 + 0.8 + 0.2 * part) / 2)


@given(seed=st.integers(0, 10_000))
def test_ict_smc_views_of_the_mirrored_market_are_those_of_the_other_side(seed):
    bars = random_walk(30, 2, seed=1)
    rng = np.random.default_rng(seed)
    block = evolve_ict(random_ict(bars), rng)
    mirrored = mirror_ict(block)
    strategy = IctSmc(IctSmcConfig())
    views, others = (strategy.slt_propose_trades(bars, b) for b in (block, mirrored))
    for name in ("confidence", "rebound", "continuation"):
        np.testing.assert_array_equal(views.view(name, 1), others.view(name, -1))
        np.testing.assert_array_equal(views.view(name, -1), others.view(name, 1))


def evolve_ict(block, rng):
    for name in block.names:
        column = block.value(name)
        column[...] = rng.permutation(column.ravel()).reshape(column.shape)
    return block


def mirror_ict(block):
    values, context = block.values.copy(), block.context.copy()
    mirrored = FeatureBlock(
        columns=block.columns,
        context_names=block.context_names,
        values=values,
        context=context,
        fresh=block.fresh,
        ready=block.ready,
    )
    for name in ODD:
        mirrored.value(name)[...] *= -1
    mirrored.value("swing_high_distance")[...] = block.context_of("swing_low_distance")
    mirrored.context_of("swing_low_distance")[...] = block.value("swing_high_distance")
    return mirrored


def test_ict_smc_without_the_columns_of_ict_is_a_config_error():
    bars = random_walk(5, 2)
    with pytest.raises(ConfigError, match=r"`ict_smc` needs columns.*`fvg_count`.*`atr_15m`.*add `ict`"):
        IctSmc(IctSmcConfig()).slt_propose_trades(bars, blank_features(bars))


def test_ict_smc_empty_block_gives_an_empty_block():
    bars = random_walk(5, 2)
    block = IctSmc(IctSmcConfig()).slt_propose_trades(bars.rows(0, 0), random_ict(bars).rows(0, 0))
    assert all(getattr(block, name).shape == (0, 2) for name in ("side", "stop", *VIEW_NAMES))


@pytest.mark.parametrize(
    "options",
    [
        {"min_grab": 0},
        {"min_displacement": 2},
        {"min_order_flow": -2},
        {"zone_reach_atr_15m": -1},
        {"stop_buffer_atr_15m": -1},
        {"min_stop_atr_15m": 0},
        {"min_stop_fraction": 0.5},
        {"max_stop_atr_1h": 0},
        {"target_r": 0},
        {"min_target_r": 0},
        {"max_target_r": 1.0},
    ],
)
def test_ict_smc_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        IctSmcConfig(**options)
