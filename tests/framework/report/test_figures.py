from __future__ import annotations

import json
import math

import attrs
import numpy as np
import plotly.graph_objects as go
import pytest

from slt.report.figures import (
    draw_calibration,
    draw_candles,
    draw_costs,
    draw_decisions,
    draw_equity,
    draw_groups,
    draw_hours,
    draw_importance,
    draw_outcomes,
)
from slt.report.figures.learning import Bin, bin_decisions, read_curve, read_shares
from slt.report.theme import COLOURS, resolve, stylesheet_variables
from slt.types import EquityPoint


@pytest.fixture(scope="module")
def figures(data):
    s, symbol = data.summary, "BTCUSDT"
    trades = [t for t in data.trades if t.symbol == symbol]
    return {
        "equity": draw_equity(s, data.equity),
        "outcomes": draw_outcomes(data.trades),
        "exits": draw_groups(s.by_exit, s.currency, "Exit"),
        "hours": draw_hours(s.by_hour, s.currency),
        "costs": draw_costs(s),
        "candles": draw_candles(symbol, data.candles[symbol], trades, s.currency),
        "calibration": draw_calibration(data.models, data.trades),
        "importance": draw_importance(data.models),
        "decisions": draw_decisions(s.decisions),
    }


NAMES = ("equity", "outcomes", "exits", "hours", "costs", "candles", "calibration", "importance", "decisions")


class TestAllFigures:
    @pytest.mark.parametrize("theme", [0, 1])
    @pytest.mark.parametrize("name", NAMES)
    def test_figure_any_theme_fits_plotlys_schema(self, figures, name, theme):
        figure = go.Figure(resolve(figures[name], theme))
        assert figure.data

    @pytest.mark.parametrize("name", NAMES)
    def test_figure_every_axis_states_its_title(self, figures, name):
        axes = {key: value for key, value in figures[name]["layout"].items() if "axis" in key}
        assert len(axes) >= 2
        assert all(axis["title"]["text"] for axis in axes.values())

    @pytest.mark.parametrize("name", NAMES)
    def test_figure_holds_json_types_without_nan(self, figures, name):
        assert json.loads(json.dumps(figures[name], allow_nan=False)) == figures[name]

    @pytest.mark.parametrize("name", ["equity", "candles"])
    def test_figure_of_time_says_utc(self, figures, name):
        axis = figures[name]["layout"]["xaxis"]
        assert axis["title"]["text"] == "Time (UTC)"
        assert axis["type"] == "date"


class TestTheme:
    def test_resolve_name_that_looks_like_a_colour_stays(self):
        figure = {"y": ["$loss"], "marker": {"color": ["$loss", "red"]}}
        assert resolve(figure) == {"y": ["$loss"], "marker": {"color": [COLOURS["loss"][0], "red"]}}

    def test_resolve_unknown_colour_is_an_error(self):
        with pytest.raises(KeyError):
            resolve({"color": "$mauve"})

    def test_stylesheet_variables_each_theme_names_every_colour(self):
        for theme in (0, 1):
            text = stylesheet_variables(theme)
            assert all(f"--{name.replace('_', '-')}:{tones[theme]};" in text for name, tones in COLOURS.items())


class TestEquity:
    def test_draw_equity_without_points_draws_nothing(self, data):
        assert draw_equity(data.summary, []) is None

    def test_draw_equity_long_curve_keeps_every_extreme(self, data):
        rng = np.random.default_rng(3)
        values = 10_000 + np.cumsum(rng.normal(0, 5, 40_000))
        points = [EquityPoint(str(i), "r", i * 60_000, float(v), float(v), 0.0, 0) for i, v in enumerate(values)]
        figure = draw_equity(attrs.evolve(data.summary, start=0, models=()), points)
        assert figure is not None
        equity, _, fall = figure["data"]
        assert len(equity["x"]) < 3_000
        assert max(equity["y"]) == pytest.approx(values.max(), rel=1e-7)
        assert min(equity["y"]) == pytest.approx(values.min(), rel=1e-7)
        full = np.concatenate([[10_000], values])
        deepest = ((full - np.maximum.accumulate(full)) / np.maximum.accumulate(full)).min()
        assert min(fall["y"]) == pytest.approx(100 * deepest, rel=1e-4)

    def test_draw_equity_marks_promotions_only(self, figures, data):
        promoted = [m for m in data.models if m.promoted]
        labels = [a["text"] for a in figures["equity"]["layout"]["annotations"]]
        assert labels == [f"model v{m.version}" for m in promoted]
        assert len(promoted) < len(data.models)


class TestAccountFigures:
    def test_draw_outcomes_counts_every_trade_once(self, figures, data):
        assert sum(figures["outcomes"]["data"][0]["y"]) == len(data.trades)

    def test_draw_outcomes_far_result_lands_in_the_outermost_bar(self, data):
        far = [attrs.evolve(data.trades[0], r_multiple=x) for x in (-50.0, 50.0, math.inf)]
        figure = draw_outcomes(far)
        assert figure is not None
        assert figure["data"][0]["x"] == [-2.875, 4.875]

    def test_draw_costs_steps_lead_to_the_net_result(self, figures, data):
        trace = figures["costs"]["data"][0]
        heights = dict(zip(trace["x"], trace["y"], strict=True))
        net = heights.pop("net PnL")
        assert sum(heights.values()) == pytest.approx(net, abs=1e-3)
        assert net == pytest.approx(data.summary.net_pnl, rel=1e-6)

    def test_draw_groups_bars_hold_the_table(self, figures, data):
        won, lost, net = figures["exits"]["data"]
        groups = data.summary.by_exit
        assert [w + x for w, x in zip(won["x"], lost["x"], strict=True)] == [g.trades for g in groups]
        assert net["x"] == pytest.approx([g.net_pnl for g in groups])

    def test_draw_empty_tables_draw_nothing(self, empty_data):
        s = empty_data.summary
        assert draw_outcomes([]) is None
        assert draw_groups((), "USDT", "Exit") is None
        assert draw_hours((), "USDT") is None
        assert draw_costs(s) is None
        assert draw_decisions({}) is None


class TestCandles:
    def test_draw_candles_shows_every_entry_and_exit(self, figures, data):
        trades = [t for t in data.trades if t.symbol == "BTCUSDT"]
        traces = {t["name"]: t for t in figures["candles"]["data"] if "name" in t}
        entries = traces["long entry"]["x"] + traces["short entry"]["x"]
        exits = traces["exit in profit"]["x"] + traces["exit at a loss"]["x"]
        assert sorted(entries) == sorted(t.entry_time for t in trades)
        assert sorted(exits) == sorted(t.exit_time for t in trades)
        assert traces["initial stop"]["y"][:3] == [trades[0].initial_stop, trades[0].initial_stop, None]

    def test_draw_candles_without_trades_shows_candles_only(self, data):
        figure = draw_candles("BTCUSDT", data.candles["BTCUSDT"], [], "USDT")
        assert [t["type"] for t in figure["data"]] == ["candlestick"]


class TestCalibration:
    def test_bin_decisions_counts_what_a_model_decided(self, data):
        decided = [t for t in data.trades if t.p_win is not None]
        bins = bin_decisions(data.trades)
        assert 0 < len(decided) < len(data.trades)
        assert sum(b.count for b in bins) == len(decided)
        assert sum(round(b.observed * b.count) for b in bins) == sum(t.won for t in decided)

    def test_bin_decisions_ends_of_the_scale_have_a_bin(self, data):
        trades = [attrs.evolve(data.trades[0], p_win=p, won=True) for p in (0.0, 1.0)]
        assert bin_decisions(trades) == [Bin(0.0, 1.0, 1), Bin(1.0, 1.0, 1)]

    @pytest.mark.parametrize(
        ("stored", "read"),
        [
            ([{"predicted": 0.6, "observed": 0.5, "count": 4}, {"predicted": 0.2, "observed": 0.1}],
             [Bin(0.2, 0.1, 0), Bin(0.6, 0.5, 4)]),
            ([[0.3, 0.4, 7], (0.1, 0.2)], [Bin(0.1, 0.2, 0), Bin(0.3, 0.4, 7)]),
            ([{"predicted": None, "observed": 0.5}, {"other": 1}, [0.1], [math.nan, 0.5], "text"], []),
            ("text", []),
            (None, []),
        ],
    )  # fmt: skip
    def test_read_curve_any_stored_form_gives_what_can_be_read(self, stored, read):
        assert read_curve({"calibration": stored}) == read

    def test_read_shares_unreadable_is_left_out(self):
        assert read_shares({"importance": {"a": 0.75, "b": "much", "c": math.nan, "d": True}}) == {"a": 0.75}
        assert read_shares({"importance": [1, 2]}) == {}

    def test_draw_calibration_without_model_draws_nothing(self, data):
        assert draw_calibration([], [t for t in data.trades if t.p_win is None]) is None

    def test_draw_importance_leads_with_the_version_in_force(self, figures, data):
        bars = figures["importance"]["data"][0]
        chief = [m for m in data.models if m.promoted][-1]
        shares = chief.metrics["importance"]
        assert bars["name"] == f"v{chief.version} (in force)"
        assert bars["y"] == sorted(shares, key=lambda name: -shares[name])

    def test_draw_importance_nothing_promoted_shows_the_last_refused(self, data):
        refused = [m for m in data.models if not m.promoted]
        figure = draw_importance(refused)
        assert figure is not None
        assert figure["data"][0]["name"] == f"v{refused[-1].version} (refused)"

    def test_draw_importance_without_shares_draws_nothing(self, data):
        assert draw_importance([attrs.evolve(m, metrics={}) for m in data.models]) is None


class TestDecisions:
    def test_draw_decisions_entered_comes_first(self, figures, data):
        trace = figures["decisions"]["data"][0]
        assert trace["y"][0] == "entered"
        assert dict(zip(trace["y"], trace["x"], strict=True)) == data.summary.decisions
