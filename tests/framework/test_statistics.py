from __future__ import annotations

import hashlib
import json
import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.statistics import (
    Drawdown,
    calculate_drawdowns,
    calculate_exposure,
    calculate_sharpe,
    calculate_sortino,
    calculate_trade_hash,
    check_accounting,
    daily_returns,
    load_summary,
    order_trades,
    summarise,
    wilson_interval,
)
from slt.types import EquityPoint, ModelVersion, Run, Trade

DAY = 86_400_000
HOUR = 3_600_000
RUN = Run(id="demo-1", mode="backtest", started=0, config="", status="running")


def make_trade(**changes):
    values = {
        "id": "demo-1-p1",
        "run_id": "demo-1",
        "symbol": "BTCUSDT",
        "side": 1,
        "strategy": "ict_smc",
        "reason": "break",
        "entry_time": HOUR,
        "exit_time": 2 * HOUR,
        "entry_price": 100.0,
        "exit_price": 102.0,
        "quantity": 1.0,
        "leverage": 5,
        "initial_stop": 99.0,
        "target": 103.0,
        "gross_pnl": 2.0,
        "fees": 0.1,
        "funding": 0.05,
        "slippage": 0.02,
        "exit": "target",
        "partial_exits": (),
        "confidence": 0.7,
        "p_win": None,
        "model_version": 0,
    } | changes
    net = values["gross_pnl"] - values["fees"] - values["funding"]
    risk = values["quantity"] * abs(values["entry_price"] - values["initial_stop"])
    derived = {"net_pnl": net, "r_multiple": net / risk, "won": net > 0}
    return Trade(**(values | derived | {k: v for k, v in changes.items() if k in derived}))


def make_point(time, equity):
    return EquityPoint(f"demo-1-{time}", "demo-1", time, equity, equity, 0.0, 0)


money = st.floats(min_value=-1e4, max_value=1e4, allow_nan=False)
costs = st.floats(min_value=-10, max_value=100, allow_nan=False)


@st.composite
def trades(draw):
    entry = draw(st.integers(0, 30 * DAY))
    return make_trade(
        id=draw(st.uuids()).hex,
        symbol=draw(st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT"])),
        side=draw(st.sampled_from([1, -1])),
        strategy=draw(st.sampled_from(["ict_smc", "ema_cross"])),
        entry_time=entry,
        exit_time=entry + draw(st.integers(0, 4 * HOUR)),
        gross_pnl=draw(money),
        fees=draw(costs),
        funding=draw(costs),
        slippage=draw(costs),
        exit=draw(st.sampled_from(["stop", "target", "time_stop"])),
        model_version=draw(st.integers(0, 2)),
    )


curves = st.lists(st.floats(min_value=1.0, max_value=1e6), min_size=1, max_size=60).map(
    lambda values: list(enumerate(values))
)


class TestSummarise:
    @given(st.lists(trades(), max_size=25))
    def test_summarise_any_trades_closes_the_accounts(self, made):
        final = 10_000 + math.fsum(t.net_pnl for t in made)
        summary = summarise(RUN, made, [], [], initial_equity=10_000, final_equity=final)
        accounting = check_accounting(summary)
        assert accounting.closes, accounting
        assert accounting.expected == pytest.approx(final, abs=1e-6)

    @given(st.lists(trades(), max_size=25))
    def test_summarise_any_trades_every_table_sums_to_the_total(self, made):
        summary = summarise(RUN, made, [], [], initial_equity=10_000)
        names = ("by_exit", "by_symbol", "by_side", "by_strategy", "by_hour", "by_model")
        for table in (getattr(summary, name) for name in names):
            assert sum(g.trades for g in table) == summary.trades
            assert sum(g.wins for g in table) == summary.wins
            for figure in ("gross_pnl", "fees", "funding", "slippage", "net_pnl"):
                total = math.fsum(getattr(g, figure) for g in table)
                assert total == pytest.approx(getattr(summary, figure), abs=1e-6)

    @given(st.lists(trades(), min_size=1, max_size=20), st.randoms(use_true_random=False))
    def test_summarise_shuffled_records_gives_the_same_summary(self, made, rng):
        points = [make_point(t, 1000.0 + t % 7) for t in range(1, 20)]
        shuffled, mixed = rng.sample(made, len(made)), rng.sample(points, len(points))
        one = summarise(RUN, made, [], points, initial_equity=1000)
        other = summarise(RUN, shuffled, [], mixed, initial_equity=1000)
        assert one == other

    @given(st.lists(trades(), max_size=10))
    def test_summarise_through_json_gives_the_same_summary(self, made):
        model = ModelVersion("m", "demo-1", "ict_smc", 1, "h", 5, 6, 50, True, "better", {}, b"x")
        summary = summarise(RUN, made, [model], [make_point(9, 1.5)], initial_equity=1, decisions={"cost": 3})
        text = json.dumps(attrs.asdict(summary), allow_nan=False)
        assert load_summary(json.loads(text)) == summary

    def test_summarise_known_trades_gives_known_figures(self):
        made = [
            make_trade(gross_pnl=3.15, slippage=0.5, entry_time=0, exit_time=HOUR),
            make_trade(gross_pnl=-0.85, exit="stop", entry_time=2 * HOUR, exit_time=4 * HOUR),
            make_trade(gross_pnl=-0.35, exit="stop", side=-1, entry_time=5 * HOUR, exit_time=6 * HOUR),
        ]
        summary = summarise(RUN, made, [], [make_point(10 * HOUR, 101.5)], initial_equity=100.0)
        assert (summary.trades, summary.wins, summary.longest_losing_streak) == (3, 1, 2)
        assert summary.win_rate == pytest.approx(1 / 3)
        assert summary.net_pnl == pytest.approx(1.5)
        assert summary.profit_factor == pytest.approx(3.0 / 1.5)
        assert (summary.average_win, summary.average_loss) == (pytest.approx(3.0), pytest.approx(-0.75))
        assert summary.expectancy_r == pytest.approx(0.5)
        assert summary.turnover == pytest.approx(3 * 202.0)
        assert summary.exposure == pytest.approx(0.4)
        assert summary.average_holding_ms == pytest.approx(4 * HOUR / 3)
        assert summary.net_return == pytest.approx(0.015)
        assert [(g.key, g.trades, g.wins) for g in summary.by_exit] == [("stop", 2, 0), ("target", 1, 1)]
        assert [g.key for g in summary.by_hour] == ["00", "02", "05"]
        assert summary.best_trade is not None
        assert summary.worst_trade is not None
        assert (summary.best_trade.exit, summary.worst_trade.net_pnl) == ("target", pytest.approx(-1.0))
        assert check_accounting(summary).closes

    def test_summarise_without_records_leaves_rates_unknown(self):
        summary = summarise(RUN, [], [], [], initial_equity=1000.0)
        assert summary.win_rate is None
        assert summary.profit_factor is None
        assert summary.best_trade is None
        assert (summary.sharpe, summary.sortino, summary.days) == (None, None, 0)
        assert (summary.final_equity, summary.exposure, summary.by_exit) == (1000.0, 0.0, ())
        assert summary.max_drawdown == Drawdown()
        assert summary.trade_hash == hashlib.sha256(b"").hexdigest()

    def test_summarise_only_winners_leaves_profit_factor_unknown(self):
        summary = summarise(RUN, [make_trade()], [], [], initial_equity=1000.0)
        assert summary.profit_factor is None
        assert summary.average_loss is None

    def test_summarise_model_versions_counts_the_trades_they_decided(self):
        models = [
            ModelVersion(f"demo-1-ict_smc-v{v}", "demo-1", "ict_smc", v, "h", v, v + 1, 50, v == 2, "why", {}, b"")
            for v in (2, 1)
        ]
        made = [make_trade(model_version=2), make_trade(model_version=2), make_trade(strategy="other", model_version=2)]
        summary = summarise(RUN, made, models, [], initial_equity=1000.0)
        assert [(m.version, m.promoted, m.trades) for m in summary.models] == [(1, False, 0), (2, True, 2)]
        assert [g.key for g in summary.by_model] == ["ict_smc v2", "other v2"]

    def test_summarise_infinite_r_multiple_is_left_out_of_the_mean(self):
        made = [make_trade(r_multiple=math.inf), make_trade(r_multiple=2.0)]
        assert summarise(RUN, made, [], [], initial_equity=1.0).expectancy_r == 2.0

    def test_check_accounting_missing_money_does_not_close(self):
        summary = summarise(RUN, [make_trade()], [], [], initial_equity=1000.0, final_equity=1001.85 + 2e-6)
        accounting = check_accounting(summary)
        assert not accounting.closes
        assert accounting.difference == pytest.approx(2e-6, rel=1e-3)
        assert check_accounting(summary, tolerance=1e-5).closes

    def test_check_accounting_open_positions_counts_their_result(self):
        summary = summarise(RUN, [make_trade()], [], [], initial_equity=1000.0, final_equity=1004.85, open_pnl=3.0)
        assert check_accounting(summary).closes

    def test_load_summary_unfinished_run_says_so(self):
        with pytest.raises(ValueError, match="incomplete or was written by another version"):
            load_summary({"run_id": "demo-1"})


class TestTradeHash:
    def test_trade_hash_known_trade_hashes_the_documented_text(self):
        line = "BTCUSDT\t-1\t3600000\t7200000\t0.1\t102.0\t1e-05\t1.85\ttarget\t3\n"
        trade = make_trade(side=-1, entry_price=0.1, quantity=1e-05, net_pnl=1.85, model_version=3)
        assert calculate_trade_hash([trade]) == hashlib.sha256(line.encode()).hexdigest()

    @given(st.lists(trades(), min_size=1, max_size=12), st.randoms(use_true_random=False))
    def test_trade_hash_other_order_and_ids_stays(self, made, rng):
        renamed = [attrs.evolve(t, id=str(i), run_id="other-7") for i, t in enumerate(rng.sample(made, len(made)))]
        assert calculate_trade_hash(renamed) == calculate_trade_hash(made)

    @pytest.mark.parametrize(
        "change",
        [
            {"symbol": "ETHUSDT"},
            {"side": -1},
            {"entry_time": HOUR + 1},
            {"exit_time": 2 * HOUR + 1},
            {"entry_price": math.nextafter(100.0, 101.0)},
            {"exit_price": math.nextafter(102.0, 103.0)},
            {"quantity": math.nextafter(1.0, 2.0)},
            {"net_pnl": 1.0},
            {"exit": "stop"},
            {"model_version": 1},
        ],
    )
    def test_trade_hash_any_field_changed_differs(self, change):
        assert calculate_trade_hash([make_trade(**change)]) != calculate_trade_hash([make_trade()])

    @given(st.lists(trades(), max_size=12))
    def test_order_trades_any_list_is_by_exit_time(self, made):
        times = [t.exit_time for t in order_trades(made)]
        assert times == sorted(times)


class TestWilsonInterval:
    def test_wilson_interval_textbook_case_matches(self):
        low, high = wilson_interval(7, 10)
        assert (round(low, 4), round(high, 4)) == (0.3968, 0.8922)

    def test_wilson_interval_without_trials_is_everything(self):
        assert wilson_interval(0, 0) == (0.0, 1.0)

    @given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_wilson_interval_any_share_lies_inside(self, pair):
        wins, n = pair
        low, high = wilson_interval(wins, n)
        assert 0.0 <= low <= wins / n <= high <= 1.0

    @given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_wilson_interval_mirrored_share_mirrors(self, pair):
        wins, n = pair
        low, high = wilson_interval(wins, n)
        other_low, other_high = wilson_interval(n - wins, n)
        assert (low, high) == (pytest.approx(1 - other_high), pytest.approx(1 - other_low))


class TestDrawdowns:
    def test_drawdowns_known_curve_finds_both_falls_and_recoveries(self):
        curve = [(0, 100.0), (1, 80.0), (2, 100.0), (3, 300.0), (4, 260.0), (5, 270.0)]
        deepest, relative = calculate_drawdowns(curve)
        assert deepest == Drawdown(40.0, pytest.approx(40 / 300), 3, 4, None)
        assert relative == Drawdown(20.0, 0.2, 0, 1, 2)

    def test_drawdowns_two_points_at_one_time_uses_the_real_peak(self):
        deepest, _ = calculate_drawdowns([(0, 100.0), (0, 120.0), (1, 90.0), (2, 110.0), (3, 120.0)])
        assert deepest == Drawdown(30.0, 0.25, 0, 1, 3)

    @given(curves)
    def test_drawdowns_any_curve_equals_the_worst_pair(self, curve):
        deepest, relative = calculate_drawdowns(curve)
        values = [v for _, v in curve]
        pairs = [(a, b) for i, a in enumerate(values) for b in values[i:]]
        assert deepest.amount == max(max(a - b, 0.0) for a, b in pairs)
        assert relative.fraction == pytest.approx(max(max((a - b) / a, 0.0) for a, b in pairs))
        assert deepest.amount >= 0.0
        assert 0.0 <= relative.fraction <= 1.0

    @given(curves)
    def test_drawdowns_any_fall_has_its_times_in_order(self, curve):
        for fall in calculate_drawdowns(curve):
            if fall.amount == 0:
                assert fall == Drawdown()
                continue
            assert fall.peak_time < fall.trough_time
            assert dict(curve)[fall.peak_time] - dict(curve)[fall.trough_time] == fall.amount
            assert fall.recovered_time is None or fall.recovered_time > fall.trough_time

    @given(curves)
    def test_drawdowns_rising_curve_is_none(self, curve):
        rising = list(enumerate(sorted(v for _, v in curve)))
        assert calculate_drawdowns(rising) == (Drawdown(), Drawdown())


class TestDailyRatios:
    def test_daily_returns_midnight_belongs_to_the_day_that_ends(self):
        curve = [(0, 100.0), (DAY - 1, 105.0), (DAY, 110.0), (DAY + 1, 99.0), (4 * DAY, 198.0)]
        assert daily_returns(curve) == pytest.approx([0.1, -0.1, 0.0, 1.0])

    def test_daily_returns_point_at_the_start_adds_no_day(self):
        assert daily_returns([(DAY, 100.0), (DAY, 100.0), (2 * DAY, 101.0)]) == pytest.approx([0.01])

    def test_daily_returns_account_wiped_out_ends_there(self):
        assert daily_returns([(0, 100.0), (DAY, 0.0), (2 * DAY, 50.0)]) == [-1.0]

    @given(st.lists(st.floats(min_value=1.0, max_value=1e4), min_size=1, max_size=20))
    def test_daily_returns_any_curve_compounds_to_the_end(self, values):
        returns = daily_returns([(0, 100.0), *((i * DAY, v) for i, v in enumerate(values, 1))])
        assert 100 * math.prod(1 + r for r in returns) == pytest.approx(values[-1])

    def test_ratios_known_returns_match_the_definition(self):
        returns = [0.01, -0.02, 0.03, 0.0]
        mean, deviation = 0.005, math.sqrt(sum((r - 0.005) ** 2 for r in returns) / 3)
        assert calculate_sharpe(returns) == pytest.approx(mean / deviation * math.sqrt(365))
        assert calculate_sortino(returns) == pytest.approx(mean / 0.01 * math.sqrt(365))

    @pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01]])
    def test_ratios_too_little_to_tell_are_unknown(self, returns):
        assert calculate_sharpe(returns) is None
        assert calculate_sortino(returns) is None

    def test_sortino_two_flat_losses_is_negative(self):
        assert calculate_sortino([-0.01, -0.01]) == pytest.approx(-math.sqrt(365))


class TestExposure:
    def test_exposure_overlapping_trades_counts_time_once(self):
        spans = [(0, 10), (5, 20), (30, 40)]
        made = [make_trade(entry_time=a, exit_time=b) for a, b in spans]
        random.Random(1).shuffle(made)
        assert calculate_exposure(made, 0, 100) == pytest.approx(0.3)

    def test_exposure_empty_span_is_zero(self):
        assert calculate_exposure([make_trade()], 5, 5) == 0.0

    @given(st.lists(trades(), max_size=15), st.integers(0, DAY), st.integers(0, 40 * DAY))
    def test_exposure_any_trades_is_a_share(self, made, start, length):
        assert 0.0 <= calculate_exposure(made, start, start + length) <= 1.0
