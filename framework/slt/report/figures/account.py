"""Charts of the account: equity, outcomes, hours and costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from slt.report.figures.canvas import axis, canvas, compact, time_axis
from slt.report.text import escape, integer, percent, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slt.report.figures.canvas import Figure
    from slt.statistics import Group, ModelVerdict, Summary
    from slt.types import EquityPoint, Trade

__all__ = ["draw_costs", "draw_equity", "draw_groups", "draw_hours", "draw_outcomes"]

_BUCKETS = 700


def draw_equity(summary: Summary, points: Sequence[EquityPoint]) -> Figure | None:
    """Equity above, fall from the highest equity so far below; promotions of models as vertical lines.

    Long curves are thinned to the extremes of equal spans, so that no peak and no trough is lost.

    Returns:
        The figure; None without equity points.
    """
    if not points:
        return None
    ordered = sorted(points, key=lambda p: (p.time, p.id))
    time = np.array([summary.start, *(p.time for p in ordered)], dtype=np.int64)
    equity = np.array([summary.initial_equity, *(p.equity for p in ordered)])
    wallet = np.array([summary.initial_equity, *(p.wallet for p in ordered)])
    peak = np.maximum.accumulate(equity)
    fall = np.where(peak > 0, (equity - peak) / np.where(peak > 0, peak, 1.0), 0.0)
    kept = _extremes(equity, fall)
    x, hover = time[kept].tolist(), "%{y:,.2f} " + escape(summary.currency)
    line = {"type": "scatter", "mode": "lines", "x": x}
    traces = [
        line
        | {
            "name": "equity",
            "y": compact(equity[kept]),
            "line": {"color": "$equity", "width": 1.8},
            "hovertemplate": hover,
        },
        line
        | {
            "name": "wallet (closed results only)",
            "y": compact(wallet[kept]),
            "hovertemplate": hover,
            "line": {"color": "$neutral", "width": 1, "shape": "hv"},
            "visible": "legendonly",
        },
        line
        | {
            "name": "drawdown",
            "y": compact(100 * fall[kept], 5),
            "yaxis": "y2",
            "fill": "tozeroy",
            "line": {"color": "$loss", "width": 1},
            "hovertemplate": "%{y:.2f} %",
        },
    ]
    promotions = [m for m in summary.models if m.promoted and summary.start <= m.effective_time <= summary.end]
    level = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": summary.initial_equity,
        "y1": summary.initial_equity,
        "line": {"color": "$neutral", "width": 1, "dash": "dot"},
    }
    return canvas(
        traces,
        480,
        hovermode="x unified",
        xaxis=time_axis(anchor="y2"),
        yaxis=axis(f"Equity ({escape(summary.currency)})", domain=[0.34, 1], tickformat=",.6~g"),
        yaxis2=axis("Drawdown (%)", domain=[0, 0.27], rangemode="tozero"),
        shapes=[level, *(_promotion_line(m) for m in promotions)],
        annotations=[_promotion_label(m, len({p.strategy for p in promotions}) > 1) for m in promotions],
    )


def draw_outcomes(trades: Sequence[Trade]) -> Figure | None:
    """How many trades ended at which R multiple; None without trades."""
    multiples = [t.r_multiple for t in trades if math.isfinite(t.r_multiple)]
    if not multiples:
        return None
    # Trades far outside share the outermost bar: one liquidation must not squeeze all others into one.
    bins: dict[int, int] = {}
    for value in multiples:
        index = math.floor(min(max(value, -3.0), 4.999) / 0.25)
        bins[index] = bins.get(index, 0) + 1
    indices = sorted(bins)
    trace = {
        "type": "bar",
        "x": [(i + 0.5) * 0.25 for i in indices],
        "y": [bins[i] for i in indices],
        "width": 0.23,
        "marker": {"color": ["$profit" if i >= 0 else "$loss" for i in indices]},
        "customdata": [f"{i * 0.25:+.2f} to {(i + 1) * 0.25:+.2f} R" for i in indices],
        "hovertemplate": "%{customdata}: %{y} trades<extra></extra>",
    }
    return canvas(
        [trace],
        300,
        xaxis=axis("Net result (R: 1 R = loss at the initial stop, before costs)", dtick=1, zeroline=True),
        yaxis=axis("Trades (count)", rangemode="tozero", tickformat=",d"),
        bargap=0,
    )


def draw_groups(groups: Sequence[Group], currency: str, noun: str) -> Figure | None:
    """Winners and losers of each group beside its net PnL; None without groups.

    Args:
        groups: The groups, first on top.
        currency: Quote currency.
        noun: What a group is, for the axis.
    """
    if not groups:
        return None
    names = [escape(g.key) for g in groups]
    bar = {"type": "bar", "orientation": "h", "y": names}
    tips = [
        f"{integer(g.trades)} trades, {percent(g.win_rate)} won<br>net {signed(g.net_pnl)} {escape(currency)}"
        for g in groups
    ]
    common = bar | {"customdata": tips, "hovertemplate": "<b>%{y}</b><br>%{customdata}<extra></extra>"}
    traces: list[dict[str, Any]] = [
        common | {"name": "won", "x": [g.wins for g in groups], "marker": {"color": "$profit"}},
        common | {"name": "lost", "x": [g.trades - g.wins for g in groups], "marker": {"color": "$loss"}},
        common
        | {
            "name": "net PnL",
            "x": compact(g.net_pnl for g in groups),
            "xaxis": "x2",
            "marker": {"color": ["$profit" if g.net_pnl > 0 else "$loss" for g in groups]},
            "showlegend": False,
        },
    ]
    return canvas(
        traces,
        130 + 34 * len(groups),
        barmode="stack",
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "traceorder": "normal"},
        bargap=0.35,
        xaxis=axis("Trades (count)", domain=[0, 0.47], rangemode="tozero", tickformat=",d"),
        xaxis2=axis(f"Net PnL ({escape(currency)})", domain=[0.53, 1], zeroline=True, tickformat=",.4~g"),
        yaxis=axis(noun, autorange="reversed", type="category"),
    )


def draw_hours(groups: Sequence[Group], currency: str) -> Figure | None:
    """Net PnL by the hour of day of the entry; None without trades."""
    if not groups:
        return None
    trace = {
        "type": "bar",
        "x": [int(g.key) for g in groups],
        "y": compact(g.net_pnl for g in groups),
        "marker": {"color": ["$profit" if g.net_pnl > 0 else "$loss" for g in groups]},
        "customdata": [f"{integer(g.trades)} trades, {percent(g.win_rate)} won" for g in groups],
        "hovertemplate": "%{x}:00-%{x}:59 UTC: %{y:,.2f} " + escape(currency) + "<br>%{customdata}<extra></extra>",
    }
    return canvas(
        [trace],
        300,
        bargap=0.25,
        xaxis=axis("Hour of day of the entry (UTC)", range=[-0.6, 23.6], dtick=3, zeroline=False),
        yaxis=axis(f"Net PnL ({escape(currency)})", zeroline=True, tickformat=",.4~g"),
    )


def draw_costs(summary: Summary) -> Figure | None:
    """From the result without any cost down to the net result, one step a cost; None without trades."""
    if not summary.trades:
        return None
    before = summary.gross_pnl + summary.slippage
    after_fees = summary.gross_pnl - summary.fees
    steps = [
        ("before costs", 0.0, before, "$neutral"),
        ("slippage", before, -summary.slippage, "$slippage"),
        ("fees", summary.gross_pnl, -summary.fees, "$fees"),
        ("funding", after_fees, -summary.funding, "$funding"),
        ("net PnL", 0.0, summary.net_pnl, "$profit" if summary.net_pnl > 0 else "$loss"),
    ]
    trace = {
        "type": "bar",
        "x": [name for name, *_ in steps],
        "base": compact(base for _, base, *_ in steps),
        "y": compact(height for _, _, height, _ in steps),
        "marker": {"color": [colour for *_, colour in steps]},
        "text": [signed(height) for _, _, height, _ in steps],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{x}: %{text} " + escape(summary.currency) + "<extra></extra>",
    }
    ends = [0.0] + [x for _, base, height, _ in steps for x in (base, base + height)]
    room = 0.12 * ((max(ends) - min(ends)) or 1.0)
    return canvas(
        [trace],
        330,
        bargap=0.35,
        xaxis=axis("From price moves to the net result"),
        yaxis=axis(
            f"PnL ({escape(summary.currency)})",
            zeroline=True,
            tickformat=",.4~g",
            range=compact([min(ends) - room, max(ends) + room]),
        ),
    )


def _extremes(equity: NDArray[np.float64], fall: NDArray[np.float64]) -> NDArray[np.intp]:
    if len(equity) <= 4 * _BUCKETS:
        return np.arange(len(equity))
    kept = {0, len(equity) - 1}
    for span in np.array_split(np.arange(len(equity)), _BUCKETS):
        picks = (span[0], span[equity[span].argmin()], span[equity[span].argmax()], span[fall[span].argmin()])
        kept.update(int(i) for i in picks)
    return np.array(sorted(kept))


def _promotion_line(model: ModelVerdict) -> dict[str, object]:
    return {
        "type": "line",
        "x0": model.effective_time,
        "x1": model.effective_time,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "$fees", "width": 1, "dash": "dash"},
    }


def _promotion_label(model: ModelVerdict, with_strategy: bool) -> dict[str, object]:
    return {
        "x": model.effective_time,
        "y": 1,
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "top",
        "text": f"{escape(model.strategy)} v{model.version}" if with_strategy else f"model v{model.version}",
        "showarrow": False,
        "font": {"color": "$fees", "size": 11},
    }
