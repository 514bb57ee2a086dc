"""Charts of the model and of the gates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.report.figures.canvas import axis, canvas, compact
from slt.report.text import escape, integer, percent
from slt.statistics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slt.report.figures.canvas import Figure
    from slt.types import ModelVersion, Trade

__all__ = ["Bin", "bin_decisions", "draw_calibration", "draw_decisions", "draw_importance", "read_curve", "read_shares"]

_BINS = 10
_FEATURES = 20
_VERSIONS = 6


@frozen
class Bin:
    """Predictions that lie close together, and how they came out.

    Attributes:
        predicted: Mean predicted probability.
        observed: Share that won.
        count: How many; 0 = not told.
    """

    predicted: float
    observed: float
    count: int


def bin_decisions(trades: Iterable[Trade]) -> list[Bin]:
    """Trades that a model decided, in ten equal bins of its probability at the decision; empty bins are left out."""
    bins: dict[int, list[Trade]] = {}
    for trade in trades:
        if trade.p_win is not None and 0.0 <= trade.p_win <= 1.0:
            bins.setdefault(min(int(trade.p_win * _BINS), _BINS - 1), []).append(trade)
    return [
        Bin(
            predicted=math.fsum(t.p_win for t in members if t.p_win is not None) / len(members),
            observed=sum(1 for t in members if t.won) / len(members),
            count=len(members),
        )
        for _, members in sorted(bins.items())
    ]


def read_curve(metrics: Mapping[str, Any]) -> list[Bin]:
    """The out-of-fold calibration curve that a fit stored; empty where it stored none that can be read."""
    curve = metrics.get("calibration") or []
    if not isinstance(curve, list | tuple):
        return []
    return sorted((b for b in map(_read_bin, curve) if b is not None), key=lambda b: b.predicted)


def read_shares(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Share of each column that a fit stored; empty where it stored none that can be read."""
    shares = metrics.get("importance") or {}
    if not isinstance(shares, dict):
        return {}
    return {str(name): float(share) for name, share in shares.items() if _is_number(share)}


def draw_calibration(models: Sequence[ModelVersion], trades: Sequence[Trade]) -> Figure | None:
    """Predicted against observed share of winners of one strategy: each version out of fold, and the live decisions.

    Returns:
        The figure; None where there is neither a curve nor a decision by a model.
    """
    curves = [(m, c) for m in sorted(models, key=lambda m: m.version) if (c := read_curve(m.metrics))][-_VERSIONS:]
    live = bin_decisions(trades)
    if not curves and not live:
        return None
    ideal = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfect",
        "x": [0, 100],
        "y": [0, 100],
        "hoverinfo": "skip",
        "line": {"color": "$neutral", "width": 1, "dash": "dot"},
    }
    lines = [_curve(model, curve, i + 1 == len(curves)) for i, (model, curve) in enumerate(curves)]
    return canvas(
        [ideal, *lines, *([_live_points(live)] if live else [])],
        440,
        hovermode="closest",
        xaxis=axis("Predicted probability of a win (%)", range=[-2, 102], dtick=20, zeroline=False),
        yaxis=axis("Observed share of wins (%)", range=[-2, 102], dtick=20, zeroline=False),
    )


def draw_importance(models: Sequence[ModelVersion]) -> Figure | None:
    """Share of the gain per column for the version in force at the end, the versions before it as dots.

    Returns:
        The figure; None where no version stored its shares.
    """
    stored = [(m, s) for m in sorted(models, key=lambda m: m.version) if (s := read_shares(m.metrics))]
    if not stored:
        return None
    promoted = [pair for pair in stored if pair[0].promoted]
    chief, shares = (promoted or stored)[-1]
    others = [(model, other) for model, other in stored if model is not chief]
    names = sorted(shares, key=lambda name: (-shares[name], name))[:_FEATURES]
    labels = [escape(name) for name in names]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": f"v{chief.version} ({'in force' if chief.promoted else 'refused'})",
        "x": compact((100 * shares[name] for name in names), 5),
        "y": labels,
        "marker": {"color": "$equity"},
        "hovertemplate": "%{y}: %{x:.1f} %<extra>%{fullData.name}</extra>",
    }
    return canvas(
        [bars, *(_dots(model, other, names) for model, other in others[-_VERSIONS:])],
        120 + 26 * len(names),
        bargap=0.35,
        showlegend=True,
        xaxis=axis("Share of the total gain (%)", rangemode="tozero"),
        yaxis=axis("Feature", autorange="reversed", type="category"),
    )


def draw_decisions(decisions: Mapping[str, int]) -> Figure | None:
    """How many proposals entered and how many each gate refused; None without proposals."""
    total = sum(decisions.values())
    if not total:
        return None
    names = sorted(decisions, key=lambda name: (name != "entered", -decisions[name], name))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escape(name) for name in names],
        "x": [decisions[name] for name in names],
        "text": [f"{integer(decisions[name])} ({percent(decisions[name] / total)})" for name in names],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ["$equity" if name == "entered" else "$neutral" for name in names]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    return canvas(
        [trace],
        100 + 30 * len(names),
        bargap=0.35,
        xaxis=axis("Proposals (count)", range=[0, 1.22 * max(decisions.values())], tickformat=",d"),
        yaxis=axis("Outcome", autorange="reversed", type="category"),
    )


def _curve(model: ModelVersion, curve: Sequence[Bin], is_last: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"v{model.version} out of fold" + ("" if model.promoted else " (refused)"),
        "x": compact((100 * b.predicted for b in curve), 5),
        "y": compact((100 * b.observed for b in curve), 5),
        "line": {
            "color": "$fees" if model.promoted else "$neutral",
            "width": 2 if is_last else 1.2,
            "dash": "solid" if model.promoted else "dash",
        },
        "marker": {"size": 5},
        "opacity": 1.0 if is_last else 0.6,
        "customdata": [f"{integer(b.count)} samples" if b.count else "count not told" for b in curve],
        "hovertemplate": "predicted %{x:.1f} %, won %{y:.1f} %<br>%{customdata}<extra>%{fullData.name}</extra>",
    }


def _live_points(bins: Sequence[Bin]) -> dict[str, Any]:
    bounds = [wilson_interval(round(b.observed * b.count), b.count) for b in bins]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "traded (95 % interval)",
        "x": compact((100 * b.predicted for b in bins), 5),
        "y": compact((100 * b.observed for b in bins), 5),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": compact((100 * (high - b.observed) for b, (_, high) in zip(bins, bounds, strict=True)), 5),
            "arrayminus": compact((100 * (b.observed - low) for b, (low, _) in zip(bins, bounds, strict=True)), 5),
            "color": "$equity",
            "thickness": 1.2,
            "width": 4,
        },
        "marker": {"color": "$equity", "size": [round(7 + 2 * math.log2(b.count), 1) for b in bins]},
        "customdata": [b.count for b in bins],
        "hovertemplate": "predicted %{x:.1f} %, won %{y:.1f} %<br>%{customdata} trades<extra>traded</extra>",
    }


def _dots(model: ModelVersion, shares: Mapping[str, float], names: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"v{model.version}" + ("" if model.promoted else " (refused)"),
        "x": compact((100 * shares.get(name, 0.0) for name in names), 5),
        "y": [escape(name) for name in names],
        "marker": {"color": "$neutral", "size": 7, "symbol": "circle" if model.promoted else "circle-open"},
        "hovertemplate": "%{y}: %{x:.1f} %<extra>%{fullData.name}</extra>",
    }


def _read_bin(item: object) -> Bin | None:
    parts: list[Any] = []
    if isinstance(item, dict):
        parts = [item.get("predicted"), item.get("observed"), item.get("count", 0)]
    elif isinstance(item, list | tuple):
        parts = list(item)
    if len(parts) not in {2, 3} or not all(map(_is_number, parts)):
        return None
    return Bin(float(parts[0]), float(parts[1]), int(parts[2]) if len(parts) == 3 else 0)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
