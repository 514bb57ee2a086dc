"""The tables of the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slt.report.text import bare_verdict, duration, escape, integer, money, multiple, percent, signed, tone, utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slt.statistics import Group, ModelVerdict, Summary
    from slt.types import ModelVersion, Trade

__all__ = ["cost_table", "group_table", "html_table", "metrics_table", "model_table", "trade_rows"]

_TRADE_COLUMNS = (
    ("Exit time (UTC)", "time"),
    ("Symbol", "text"),
    ("Side", "side"),
    ("Net PnL", "money"),
    ("R", "result"),
    ("Exit", "text"),
    ("Entry time (UTC)", "time"),
    ("Held", "duration"),
    ("Entry price", "price"),
    ("Exit price", "price"),
    ("Quantity", "price"),
    ("Leverage", "count"),
    ("Gross PnL", "money"),
    ("Fees", "cost"),
    ("Funding", "cost"),
    ("Slippage", "cost"),
    ("Confidence", "share"),
    ("p(win)", "share"),
    ("Model", "model"),
    ("Strategy", "text"),
    ("Reason", "text"),
    ("Closed parts before", "text"),
)


def group_table(groups: Sequence[Group], noun: str, currency: str) -> str:
    """One row a group, and a sentence where there is none."""
    if not groups:
        return '<p class="empty">No trade was closed.</p>'
    heads = (noun, "Trades", "Won", f"Net PnL ({currency})", "Mean R", "Costs", "Held")
    rows = [
        (
            escape(g.key),
            integer(g.trades),
            percent(g.win_rate),
            _coloured(g.net_pnl),
            multiple(g.expectancy_r),
            money(g.fees + g.funding),
            duration(g.average_holding_ms),
        )
        for g in groups
    ]
    return html_table(heads, rows)


def cost_table(summary: Summary) -> str:
    """What was paid, a trade and of the turnover."""
    if not summary.trades:
        return '<p class="empty">No trade was closed: nothing was paid.</p>'
    before = summary.gross_pnl + summary.slippage
    total = summary.fees + summary.funding + summary.slippage
    rows = [
        (name, money(value), money(value / summary.trades), _part(value, summary.turnover, 4), _part(value, before, 1))
        for name, value in (
            ("Slippage", summary.slippage),
            ("Fees", summary.fees),
            ("Funding", summary.funding),
            ("<strong>All costs</strong>", total),
        )
    ]
    heads = ("Cost", f"Paid ({summary.currency})", "A trade", "Of the turnover", "Of the profit before costs")
    note = f"Turnover: {money(summary.turnover, summary.currency)} bought and sold. Negative costs were received."
    return html_table(heads, rows) + f'<p class="caption">{escape(note)}</p>'


def model_table(models: Sequence[ModelVerdict]) -> str:
    """One row a fit, with the gate's verdict."""
    if not models:
        return '<p class="empty">No fit took place: the rules\' confidence decided every trade (UNTRAINED).</p>'
    rows = [
        (
            f"{escape(m.strategy)} v{m.version}",
            '<span class="tag good">promoted</span>' if m.promoted else '<span class="tag">refused</span>',
            escape(bare_verdict(m.verdict)),
            integer(m.samples),
            integer(m.trades),
            utc(m.effective_time),
        )
        for m in models
    ]
    heads = ("Version", "Gate", "Verdict", "Samples", "Trades", "Effective (UTC)")
    return html_table(heads, rows, style="verdicts")


def metrics_table(models: Iterable[ModelVersion]) -> str:
    """The scores that each fit stored, folded; empty text where no fit stored any."""
    ordered = sorted(models, key=lambda m: (m.strategy, m.version))
    scores = [(m, dict(_flatten(m.metrics))) for m in ordered]
    scored = [(m, s) for m, s in scores if s]
    names = list(dict.fromkeys(name for _, s in scored for name in s))
    if not names:
        return ""
    heads = ("Score", *(f"{m.strategy} v{m.version}" for m, _ in scored))
    rows = [(escape(name), *(_score(s.get(name)) for _, s in scored)) for name in names]
    return f"<details><summary>Scores of each fit</summary>{html_table(heads, rows)}</details>"


def trade_rows(trades: Sequence[Trade]) -> dict[str, Any]:
    """The trades as JSON types, newest first; the page's script makes the table."""
    return {
        "columns": [{"title": title, "kind": kind} for title, kind in _TRADE_COLUMNS],
        "rows": [_row(t) for t in reversed(trades)],
    }


def _row(t: Trade) -> list[Any]:
    return [
        t.exit_time,
        t.symbol,
        "long" if t.side > 0 else "short",
        _finite(t.net_pnl),
        _finite(t.r_multiple),
        t.exit,
        t.entry_time,
        t.exit_time - t.entry_time,
        _finite(t.entry_price),
        _finite(t.exit_price),
        _finite(t.quantity),
        t.leverage,
        _finite(t.gross_pnl),
        _finite(t.fees),
        _finite(t.funding),
        _finite(t.slippage),
        _finite(t.confidence),
        _finite(t.p_win),
        t.model_version,
        t.strategy,
        t.reason,
        ", ".join(t.partial_exits),
    ]


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "") -> str:
    """A table that scrolls where it is too wide; heads are plain text, cells are HTML."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _coloured(value: float) -> str:
    return f'<span class="{tone(value)}">{signed(value)}</span>'


def _part(value: float, whole: float, decimals: int) -> str:
    return percent(value / whole, decimals) if whole > 0 else "n/a"


def _flatten(metrics: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float | str | bool]]:
    for name, value in metrics.items():
        if not prefix and name in {"calibration", "importance"}:
            continue
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{name}", value


def _score(value: float | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".replace("-", "\N{MINUS SIGN}")
    text = str(value)
    return escape(text) if len(text) <= 24 else f'<span title="{escape(text)}">{escape(text[:12])}...</span>'


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
