"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from slt.report.interim import build_open_positions
from slt.report.overview import build_banners, build_tiles
from slt.report.sections import (
    build_account,
    build_configuration,
    build_decisions,
    build_exits,
    build_market,
    build_model,
    build_trades,
)
from slt.report.text import escape, utc
from slt.report.theme import stylesheet_variables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.report.blocks import Drawing, Section
    from slt.report.data import ReportData

__all__ = ["render_html"]


def render_html(data: ReportData) -> str:
    """The whole report as text; equal data give equal text.

    Args:
        data: What to show.

    Returns:
        HTML with the plotly library, all data, style and script inside: nothing is loaded from anywhere.
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - five megabytes that only a report needs

    sections = [
        build_account(data),
        *build_open_positions(data.summary),
        build_market(data),
        build_exits(data),
        build_model(data),
        build_decisions(data),
        build_trades(data),
        build_configuration(data),
    ]
    drawings = [drawing for section in sections for drawing in section.drawings]
    return "".join(
        (
            "<!doctype html>\n",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(data.run.id)} - slt report</title>",
            f"<style>{_style()}</style></head>\n<body>",
            _header(data, sections),
            "<main>",
            build_banners(data),
            build_tiles(data),
            *(_section(section) for section in sections),
            _footer(data),
            "</main>\n",
            *(_data(drawing) for drawing in drawings),
            f"<script>{get_plotlyjs()}</script>\n",
            f"<script>{_asset('report.js')}</script>\n",
            "</body></html>\n",
        )
    )


def _header(data: ReportData, sections: Iterable[Section]) -> str:
    summary = data.summary
    links = "".join(f'<a href="#{s.id}">{escape(s.title)}</a>' for s in sections)
    mode = {"backtest": "Back-test", "paper": "Paper trading", "live": "Live trading"}.get(summary.mode, summary.mode)
    market = escape(summary.market) if summary.market else "market not described"
    return (
        '<header><div class="wide"><div class="brand">'
        f'<div><p class="kicker">slt report &middot; {escape(mode)}</p><h1>{escape(summary.run_id)}</h1>'
        f'<p class="where">{market}</p>'
        f'<p class="where">{utc(summary.start)} to {utc(summary.end)} UTC. All times are UTC, all money is '
        f"{escape(summary.currency)}.</p></div>"
        '<button id="theme" type="button" aria-label="Switch between light and dark">Light / dark</button></div>'
        f'</div></header><nav aria-label="Sections"><div class="wide">{links}</div></nav>\n'
    )


def _section(section: Section) -> str:
    return f'<section id="{section.id}"><h2>{escape(section.title)}</h2>{section.body}</section>\n'


def _footer(data: ReportData) -> str:
    return (
        "<footer><p>Past results, simulated or real, do not tell what will come: fills, costs and the market's "
        "behaviour differ from any simulation, and a run of some hundred trades can look good or bad by chance. "
        "Nothing here is advice to trade.</p>"
        f'<p>Fingerprint of the trade list: <code class="hash">{escape(data.summary.trade_hash)}</code></p></footer>'
    )


def _data(drawing: Drawing) -> str:
    # In a script element only "<" can end the data; escaped as JSON allows, it can not.
    text = json.dumps(drawing.content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="data-{escape(drawing.id)}">{text}</script>\n'


def _style() -> str:
    light, dark = stylesheet_variables(0), stylesheet_variables(1)
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}}}\n" + _asset("report.css")
    )


def _asset(name: str) -> str:
    return resources.files("slt.report").joinpath("assets", name).read_text(encoding="utf-8")
