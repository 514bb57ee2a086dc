"""The charts of a report, as plain data."""

from __future__ import annotations

from slt.report.figures.account import draw_costs, draw_equity, draw_groups, draw_hours, draw_outcomes
from slt.report.figures.canvas import Figure
from slt.report.figures.learning import draw_calibration, draw_decisions, draw_importance
from slt.report.figures.market import draw_candles

__all__ = [
    "Figure",
    "draw_calibration",
    "draw_candles",
    "draw_costs",
    "draw_decisions",
    "draw_equity",
    "draw_groups",
    "draw_hours",
    "draw_importance",
    "draw_outcomes",
]
