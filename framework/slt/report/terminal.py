"""The summary of a run on a terminal, and in plain lines where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.report.interim import interim_lines
from slt.report.text import bare_verdict, duration, integer, money, multiple, percent, signed, utc
from slt.statistics import check_accounting

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.table import Table

    from slt.statistics import Summary

__all__ = ["render_summary", "summary_lines"]

_SYNTHETIC = (
    "SYNTHETIC MARKET: the candles were made by a program; the results say nothing about profit on a real market."
)
_REFUSALS_SHOWN = 5
_MODELS_SHOWN = 10
_MODELS_WRAPPED = 4


def render_summary(summary: Summary, console: Console, report_path: Path | str | None = None) -> None:
    """Print the summary: with colours and tables on a terminal, in plain lines elsewhere.

    Args:
        summary: The run's figures.
        console: Where to.
        report_path: Where the HTML report is; None = none was written.
    """
    if not console.is_terminal:
        for line in summary_lines(summary, report_path):
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        return
    for part in _parts(summary, report_path):
        console.print(part)


def summary_lines(summary: Summary, report_path: Path | str | None = None) -> list[str]:
    """The summary as plain lines of ``name: value``, each whole on its own; ASCII as far as the names are.

    Args:
        summary: The run's figures.
        report_path: Where the HTML report is; None = none was written.

    Returns:
        The lines, without line ends.
    """
    lines = [f"run: {summary.run_id} ({summary.mode}), {utc(summary.start)} to {utc(summary.end)} UTC"]
    if summary.market:
        lines.append(f"market: {summary.market}")
    if summary.is_synthetic:
        lines.append(_SYNTHETIC)
    lines += interim_lines(summary)
    lines += [f"{name.lower()}: {value}" for name, value, _ in _figures(summary)]
    lines += [
        f"exit {g.key}: {integer(g.trades)} trades, {percent(g.win_rate)} won, "
        f"net PnL {signed(g.net_pnl, summary.currency)}, mean {multiple(g.expectancy_r)} R"
        for g in summary.by_exit
    ]
    lines += [
        f"model {m.strategy} v{m.version}: {integer(m.samples)} samples, effective {utc(m.effective_time)} UTC, "
        f"{integer(m.trades)} trades decided, {'promoted' if m.promoted else 'refused'}: {bare_verdict(m.verdict)}"
        for m in summary.models
    ] or ["models: no fit took place (UNTRAINED)"]
    if summary.decisions:
        lines.append(f"proposals: {_decisions(summary)}")
    lines += [f"{name.lower()}: {value}" for name, value, _ in _footer(summary, report_path)]
    return [line.replace("\N{MINUS SIGN}", "-").replace("\n", " ") for line in lines]


def _figures(s: Summary) -> list[tuple[str, str, str]]:
    """Name, value and style of the key figures."""
    fall, relative = s.max_drawdown, s.max_drawdown_relative
    when = f", {utc(relative.peak_time)} to {utc(relative.trough_time)} UTC" if relative.peak_time is not None else ""
    reach = f" (95 % interval {percent(s.win_rate_low)} to {percent(s.win_rate_high)})" if s.trades else ""
    change = "" if s.net_return is None else f" ({'+' if s.net_return > 0 else ''}{percent(s.net_return, 2)})"
    return [
        ("Trades", f"{integer(s.trades)}, {integer(s.wins)} won", ""),
        ("Win rate", percent(s.win_rate) + reach, ""),
        ("Net PnL", f"{signed(s.net_pnl, s.currency)} after fees and funding", _tone(s.net_pnl)),
        (
            "Gross PnL",
            (
                f"{signed(s.gross_pnl)}, fees {money(s.fees)}, funding {money(s.funding)}; slippage in it "
                f"{money(s.slippage)}"
            ),
            "",
        ),
        ("Equity", f"{money(s.initial_equity)} to {money(s.final_equity, s.currency)}{change}", ""),
        ("Max drawdown", f"{percent(relative.fraction, 2)}, {money(fall.amount, s.currency)}{when}", ""),
        ("Profit factor", f"{multiple(s.profit_factor)}, expectancy {multiple(s.expectancy_r)} R a trade", ""),
        (
            "Sharpe",
            (
                f"{multiple(s.sharpe)}, Sortino {multiple(s.sortino)} (daily, annualised over 365 days, "
                f"{integer(s.days)} days)"
            ),
            "",
        ),
        (
            "Exposure",
            (
                f"{percent(s.exposure)} of the time, mean holding {duration(s.average_holding_ms)}, longest losing "
                f"streak {integer(s.longest_losing_streak)}"
            ),
            "",
        ),
    ]


def _footer(s: Summary, report_path: Path | str | None) -> list[tuple[str, str, str]]:
    accounting = check_accounting(s)
    books = "close" if accounting.closes else f"DO NOT CLOSE, off by {accounting.difference:.9f} {s.currency}"
    lines = [("Accounts", books, "" if accounting.closes else "bold red"), ("Trade hash", s.trade_hash, "dim")]
    if report_path is not None:
        lines.append(("Report", str(report_path), "bold"))
    return lines


def _parts(summary: Summary, report_path: Path | str | None) -> list[RenderableType]:
    from rich.rule import Rule  # noqa: PLC0415 - rich is imported only when something is printed
    from rich.text import Text  # noqa: PLC0415 - as above

    parts: list[RenderableType] = [Rule(Text(f"{summary.run_id} ({summary.mode})", style="bold"))]
    if summary.market:
        parts.append(Text(summary.market, style="dim"))
    parts.append(Text(f"{utc(summary.start)} to {utc(summary.end)} UTC", style="dim"))
    if summary.is_synthetic:
        parts.append(Text(_SYNTHETIC, style="bold yellow"))
    parts += [Text(line, style="bold yellow") for line in interim_lines(summary)]
    parts += ["", _pairs(_figures(summary)), ""]
    parts += [_exit_table(summary), ""] if summary.by_exit else [Text("No trade was closed."), ""]
    parts += [_model_table(summary), ""] if summary.models else [Text("No fit took place (UNTRAINED)."), ""]
    if summary.decisions:
        parts += [_pairs([("Proposals", _decisions(summary), "")])]
    parts.append(_pairs(_footer(summary, report_path)))
    return parts


def _pairs(pairs: list[tuple[str, str, str]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - rich is imported only when something is printed
    from rich.text import Text  # noqa: PLC0415 - as above

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", min_width=13, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value, style in pairs:
        grid.add_row(name, Text(value, style=style))
    return grid


def _exit_table(summary: Summary) -> Table:
    from rich.text import Text  # noqa: PLC0415 - rich is imported only when something is printed

    table = _table("Exit", ">Trades", ">Won", f">Net PnL ({summary.currency})", ">Mean R")
    for g in summary.by_exit:
        net = Text(signed(g.net_pnl), style=_tone(g.net_pnl))
        table.add_row(Text(g.key), integer(g.trades), percent(g.win_rate), net, multiple(g.expectancy_r))
    return table


def _model_table(summary: Summary) -> Table:
    """The latest versions, one line each where they are many; earlier ones are counted."""
    from rich.text import Text  # noqa: PLC0415 - rich is imported only when something is printed

    models = sorted(summary.models, key=lambda m: m.effective_time)
    hidden = models[:-_MODELS_SHOWN]
    table = _table("Model", "Gate", ">Samples", ">Trades", "Verdict")
    if len(models) > _MODELS_WRAPPED:
        # The last column takes what the others leave; otherwise rich would squeeze those.
        table.expand, table.columns[-1].ratio = True, 1
        for column in table.columns:
            column.no_wrap = True
        table.columns[-1].overflow = "ellipsis"
    for m in models[len(hidden) :]:
        gate = Text("promoted", style="green") if m.promoted else Text("refused", style="dim")
        table.add_row(
            Text(f"{m.strategy} v{m.version}"),
            gate,
            integer(m.samples),
            integer(m.trades),
            Text(bare_verdict(m.verdict)),
        )
    if hidden:
        promoted = [f"{m.strategy} v{m.version}" for m in hidden if m.promoted]
        more = f"{len(hidden)} earlier versions, promoted of them: {', '.join(promoted) or 'none'}"
        table.title, table.title_justify, table.title_style = Text(more, style="dim"), "left", "dim"
    return table


def _table(*heads: str) -> Table:
    """A table; a head that opens with ``>`` is right-aligned."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - rich is imported only when something is printed
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=SIMPLE_HEAD, header_style="cyan", pad_edge=False)
    for head in heads:
        table.add_column(head.removeprefix(">"), justify="right" if head.startswith(">") else "left")
    return table


def _decisions(summary: Summary) -> str:
    total = sum(summary.decisions.values())
    refused = [(name, count) for name, count in summary.decisions.items() if name != "entered"]
    shown = [f"{name} {integer(count)}" for name, count in refused[:_REFUSALS_SHOWN]]
    rest = sum(count for _, count in refused[_REFUSALS_SHOWN:])
    words = ", ".join(shown + ([f"others {integer(rest)}"] if rest else []))
    entered = summary.decisions.get("entered", 0)
    return f"{integer(total)}, {integer(entered)} entered" + (f"; refused by {words}" if words else "")


def _tone(value: float) -> str:
    if value == 0:
        return ""
    return "bold green" if value > 0 else "bold red"
