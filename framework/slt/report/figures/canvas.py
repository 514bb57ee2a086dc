"""The frame that all charts share. Figures are plain dictionaries in plotly's schema: small and quick to make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Figure", "axis", "canvas", "compact", "time_axis"]

Figure = dict[str, Any]
"""``data`` (traces) and ``layout``, as plotly takes them; a colour is a name of `slt.report.theme` behind a ``$``."""


def canvas(traces: list[dict[str, Any]], height: int, **layout: object) -> Figure:
    """A figure with the common look.

    Args:
        traces: The traces.
        height: Pixels.
        layout: Further keys of the layout.

    Returns:
        The figure.
    """
    font = {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12, "color": "$text"}
    common = {
        "height": height,
        "font": font,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
        "hoverlabel": {"bgcolor": "$raised", "bordercolor": "$border", "font": {"color": "$text", "size": 12}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "showlegend": len(traces) > 1,
        "dragmode": "zoom",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "$neutral", "activecolor": "$text"},
    }
    return {"data": traces, "layout": common | layout}


def axis(title: str, **options: object) -> dict[str, Any]:
    """An axis whose title states the unit."""
    common = {
        "title": {"text": title, "standoff": 10},
        "automargin": True,
        "gridcolor": "$grid",
        "zerolinecolor": "$border",
        "linecolor": "$border",
        "tickcolor": "$border",
    }
    return common | options


def time_axis(**options: object) -> dict[str, Any]:
    """An axis of time; numbers on it are ms UTC and are shown in UTC."""
    return axis("Time (UTC)", type="date", hoverformat="%Y-%m-%d %H:%M UTC", **options)


def compact(values: Iterable[float], digits: int = 8) -> list[float]:
    """Values rounded to so many significant digits, which is all a chart can show and keeps the file small."""
    return [float(f"{value:.{digits}g}") for value in values]
