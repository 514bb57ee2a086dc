"""What a person sees of a run: the summary on the terminal and the HTML report."""

from __future__ import annotations

from slt.report.candles import CandleRecorder, Candles, choose_interval
from slt.report.data import ReportData
from slt.report.interim import interim_lines
from slt.report.page import render_html
from slt.report.terminal import render_summary, summary_lines
from slt.report.writer import write_report

__all__ = [
    "CandleRecorder",
    "Candles",
    "ReportData",
    "choose_interval",
    "interim_lines",
    "render_html",
    "render_summary",
    "summary_lines",
    "write_report",
]
