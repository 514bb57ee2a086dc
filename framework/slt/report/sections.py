"""The sections of the report: words, tables and places for charts."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from slt.report.blocks import Drawing, Section, Sheet, card, empty_card
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
from slt.report.tables import cost_table, group_table, metrics_table, model_table, trade_rows
from slt.report.text import escape, integer, money, share
from slt.statistics import check_accounting, order_trades

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slt.report.data import ReportData
    from slt.statistics import Summary
    from slt.types import Trade

__all__ = [
    "build_account",
    "build_configuration",
    "build_decisions",
    "build_exits",
    "build_market",
    "build_model",
    "build_trades",
]

_MAX_SYMBOLS = 16
_MAX_ROWS = 20_000
_NO_TRADE = "No trade was closed."


def build_account(data: ReportData) -> Section:
    """Equity, outcomes, hours and costs."""
    s, sheet = data.summary, Sheet()
    equity = sheet.chart(
        "equity",
        "Equity and drawdown",
        draw_equity(s, data.equity),
        caption="Account value over time, the initial equity as a dotted line, and below it the fall from the highest "
        "value so far. Dashed lines: a model took effect.",
        empty="No equity points were stored for this run.",
    )
    outcomes = sheet.chart(
        "outcomes",
        "Results in R",
        draw_outcomes(data.trades),
        caption="How many trades ended where, after costs; results beyond the ends are in the outermost bars.",
        empty=_NO_TRADE,
    )
    hours = sheet.chart(
        "hours",
        "Net PnL by hour of day",
        draw_hours(s.by_hour, s.currency),
        caption="By the hour of the entry. Few trades an hour mean little.",
        empty=_NO_TRADE,
    )
    costs = sheet.chart(
        "costs",
        "Costs",
        draw_costs(s),
        caption="From price moves alone to the net result. Slippage is what fills lost against the price expected; it "
        "is part of the gross PnL already.",
        empty="No trade was closed: nothing was paid.",
    )
    figures = card("Costs in figures", cost_table(s))
    body = f"{equity}{_sum(s)}{_pair(outcomes, hours)}{_pair(costs, figures)}"
    return sheet.section("account", "Account", body)


def build_market(data: ReportData) -> Section:
    """Trades on candles, one symbol at a time, and results by symbol, side, strategy and model."""
    s, sheet = data.summary, Sheet()
    candles = _candle_card(data, sheet)
    tables = (
        ("By symbol", "Symbol", s.by_symbol),
        ("By side", "Side", s.by_side),
        ("By strategy", "Strategy", s.by_strategy),
        ("By model", "Model", s.by_model),
    )
    first, *others = (card(title, group_table(groups, noun, s.currency)) for title, noun, groups in tables)
    return sheet.section("market", "Market", candles + _pair(f"<div>{first}</div>", f"<div>{''.join(others)}</div>"))


def build_exits(data: ReportData) -> Section:
    """What closed the trades."""
    s, sheet = data.summary, Sheet()
    partial = Counter(name for t in data.trades for name in t.partial_exits)
    parts = ", ".join(f"{escape(name)} {integer(count)}" for name, count in sorted(partial.items()))
    chart = sheet.chart(
        "exits",
        "Exits",
        draw_groups(s.by_exit, s.currency, "Exit"),
        caption="What closed the last part of each trade: how often, and with what result for the whole trade. "
        "Costs: fees and funding.",
        empty=_NO_TRADE,
    )
    note = f'<p class="sum">Closed a part before: {parts}.</p>' if parts else ""
    return sheet.section(
        "exits", "Exits", chart + note + card("Exits in figures", group_table(s.by_exit, "Exit", s.currency))
    )


def build_model(data: ReportData) -> Section:
    """Versions and verdicts; calibration and importance for each strategy."""
    sheet = Sheet()
    strategies = sorted({m.strategy for m in data.models} | {t.strategy for t in data.trades if t.p_win is not None})
    cards = [card("Versions", model_table(data.summary.models) + metrics_table(data.models))]
    for strategy in strategies or [""]:
        models = [m for m in data.models if m.strategy == strategy]
        trades = [t for t in data.trades if t.strategy == strategy]
        suffix = f" ({strategy})" if len(strategies) > 1 else ""
        calibration = sheet.chart(
            f"calibration-{strategy}",
            f"Calibration{suffix}",
            draw_calibration(models, trades),
            caption="On the dotted line a probability is what it says. Lines: the newest versions on unseen samples. "
            "Points: trades by the probability at their decision; only what passed the gates is there.",
            empty="No model has predicted and no fit stored a curve: the rules' confidence decided (UNTRAINED).",
        )
        importance = sheet.chart(
            f"importance-{strategy}",
            f"Feature importance{suffix}",
            draw_importance(models),
            caption="How much each feature contributed to the splits of the model named first; dots: other versions.",
            empty="No fit stored the importance of its features.",
        )
        cards.append(_pair(calibration, importance))
    return sheet.section("model", "Model", "".join(cards))


def build_decisions(data: ReportData) -> Section:
    """What became of the proposals."""
    decisions, sheet = data.summary.decisions, Sheet()
    entered = share(decisions.get("entered", 0), sum(decisions.values()))
    chart = sheet.chart(
        "decisions",
        "Decisions by gate",
        draw_decisions(decisions),
        caption=f"{entered} proposals entered; the others were refused by the gate named. The command slt why SYMBOL "
        "tells the figures of each.",
        empty="No proposal was recorded.",
    )
    return sheet.section("decisions", "Decisions", chart)


def build_trades(data: ReportData) -> Section:
    """Every trade, to sort, filter and download."""
    sheet = Sheet()
    if not data.trades:
        return sheet.section("trades", "Trades", empty_card("Closed trades", _NO_TRADE))
    ordered = order_trades(data.trades)
    sheet.add(Drawing("trades", trade_rows(ordered[-_MAX_ROWS:])))
    limit = (
        f"The newest {integer(_MAX_ROWS)} of {integer(len(ordered))} closed trades; all of them are in the storage."
        if len(ordered) > _MAX_ROWS
        else f"All {integer(len(ordered))} closed trades."
    )
    body = (
        '<div class="tools"><input type="search" id="filter" placeholder="Filter: symbol, side, exit, strategy" '
        'aria-label="Filter the trades"><span id="matches" role="status"></span>'
        '<button type="button" id="download">Download CSV</button></div>'
        '<div class="scroll"><table class="trades" data-table="trades"></table></div>'
        '<div class="tools" id="pages"></div>'
        "<noscript><p>The table needs JavaScript; all it shows is inside this file.</p></noscript>"
    )
    caption = f"{limit} Click a heading to sort, a row to see the trade on its candles."
    return sheet.section("trades", "Trades", card("Closed trades", body, caption))


def build_configuration(data: ReportData) -> Section:
    """The run's configuration, folded."""
    if not data.run.config.strip():
        return Section("configuration", "Configuration", empty_card("Configuration", "None was stored with this run."))
    body = (
        '<details class="card"><summary>The effective configuration of this run, without secrets</summary>'
        f'<pre tabindex="0">{escape(data.run.config)}</pre></details>'
    )
    return Section("configuration", "Configuration", body)


def _candle_card(data: ReportData, sheet: Sheet) -> str:
    by_symbol: dict[str, list[Trade]] = {}
    for trade in order_trades(data.trades):
        by_symbol.setdefault(trade.symbol, []).append(trade)
    shown = _charted_symbols(data, by_symbol)
    if not shown:
        return empty_card(
            "Trades on candles",
            "No candles are kept with a stored run: the chart is in the report that "
            + ("the run wrote at its end." if data.summary.interim is None else "the run writes at its end."),
        )
    tabs, places = [], []
    for i, symbol in enumerate(shown):
        trades = by_symbol.get(symbol, [])
        figure = draw_candles(symbol, data.candles[symbol], trades, data.summary.currency)
        places.append(sheet.place(f"candles-{symbol}", f"{symbol}: trades on candles", figure, hidden=i > 0))
        tabs.append(
            f'<button type="button" data-tab="candles-{escape(symbol)}" aria-pressed="{"false" if i else "true"}">'
            f"{escape(symbol)} <small>{integer(len(trades))}</small></button>"
        )
    left_out = len([x for x in by_symbol if x not in shown])
    also = f" {integer(left_out)} more traded symbols have no chart here; the tables hold them." if left_out else ""
    minutes = data.candles[shown[0]].interval_ms // 60_000
    caption = (
        f"Candles of {integer(minutes)} minutes. Triangles: entries; circles and crosses: exits with and without a "
        f"profit; dotted: initial stop and target. Drag to zoom, double-click to return.{also}"
    )
    return card("Trades on candles", f'<div class="tabs">{"".join(tabs)}</div>{"".join(places)}', caption, "candles")


def _charted_symbols(data: ReportData, by_symbol: dict[str, list[Trade]]) -> list[str]:
    """The most traded symbols that have candles; without any trade, whatever has candles."""
    ranked = sorted(data.candles, key=lambda symbol: (-len(by_symbol.get(symbol, ())), symbol))
    return [x for x in ranked if len(data.candles[x]) and (x in by_symbol or not by_symbol)][:_MAX_SYMBOLS]


def _sum(s: Summary) -> str:
    accounting = check_accounting(s)
    terms = [(s.gross_pnl, "gross PnL"), (-s.fees, "fees"), (-s.funding, "funding")]
    if s.open_pnl or s.interim is not None:
        terms.append((s.open_pnl, "still open"))
    equity = "Final equity" if s.interim is None else "Equity so far"
    return (
        f'<p class="sum">{money(s.initial_equity)} initial {_join(terms)} = {money(accounting.expected)} '
        f"{escape(s.currency)}. {equity}: {money(s.final_equity)}: the accounts "
        f"{'close' if accounting.closes else 'do not close'}.</p>"
    )


def _join(terms: Sequence[tuple[float, str]]) -> str:
    minus = "\N{MINUS SIGN}"
    return " ".join(
        f"{minus if math.copysign(1, value) < 0 else '+'} {money(abs(value))} {name}" for value, name in terms
    )


def _pair(left: str, right: str) -> str:
    return f'<div class="pair">{left}{right}</div>'
