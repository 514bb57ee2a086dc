"""What a report says of a run that has not ended: how it is left, up to when its figures go, and what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.report.blocks import Section, card, empty_card
from slt.report.tables import html_table
from slt.report.text import duration, escape, integer, money, price, signed, tone, utc
from slt.statistics import check_accounting

if TYPE_CHECKING:
    from slt.statistics import Interim, OpenResult, Summary

__all__ = ["build_interim_banner", "build_open_positions", "interim_lines"]

_HEADS = ("Position", "Open for", "Entry", "Price", "Stop", "Target", "Quantity", "Realised", "Unrealised", "Net PnL")
_LEFT = {
    "running": "has not ended: it goes on, unless its process was killed (`slt status` tells)",
    "stopped": "is stopped and has not ended; the command that began it resumes it",
}


def interim_lines(summary: Summary) -> list[str]:
    """How a run that has not ended is left and stands, as plain lines; none for one that has ended."""
    interim = summary.interim
    if interim is None:
        return []
    accounting = check_accounting(summary)
    money_line = (
        f"{money(summary.initial_equity)} initial {signed(summary.net_pnl)} closed {signed(summary.open_pnl)} open = "
        f"{money(accounting.expected, summary.currency)}"
    )
    books = "the accounts close" if accounting.closes else f"the accounts DO NOT CLOSE, off by {_off(summary)}"
    return [
        f"{_left(summary.run_id, interim)}; figures up to {utc(interim.time)} UTC",
        f"{_count(summary.trades, 'closed trade')}, {_count(len(interim.positions), 'open position')}",
        f"{money_line}; equity {money(summary.final_equity, summary.currency)}: {books}",
    ]


def build_interim_banner(summary: Summary) -> str:
    """The same for the top of the page; empty for a run that has ended."""
    interim = summary.interim
    if interim is None:
        return ""
    head = "The run goes on." if interim.status == "running" else "The run is stopped."
    words = _left("This run", interim).replace("`slt status`", "the command slt status")
    return (
        f'<p class="banner" role="note"><strong>{head}</strong> {escape(words)}. The figures go up to '
        f"{utc(interim.time)} UTC; {_count(len(interim.positions), 'position')} "
        f"{'was' if len(interim.positions) == 1 else 'were'} open then, with a net result of "
        f"{signed(summary.open_pnl, summary.currency)} so far.</p>"
    )


def build_open_positions(summary: Summary) -> list[Section]:
    """A section with what is open; none for a run that has ended."""
    interim = summary.interim
    if interim is None:
        return []
    if not interim.positions:
        return [Section("open", "Open", empty_card("Open positions", "No position is open."))]
    body = html_table(_HEADS, [_row(p, interim.time) for p in interim.positions])
    caption = (
        f"As of {utc(interim.time)} UTC, {escape(summary.currency)}. Realised: parts closed so far, less all fees and "
        "funding paid; unrealised: at the last price, before closing costs."
    )
    return [Section("open", "Open", card("Open positions", body, caption))]


def _row(position: OpenResult, time: int) -> tuple[str, ...]:
    prices = (position.entry_price, position.price, position.stop, position.target, position.quantity)
    results = (position.realised, position.unrealised, position.pnl)
    return (
        escape(f"{position.symbol} {'long' if position.side > 0 else 'short'}"),
        duration(max(time - position.entry_time, 0)),
        *(price(value) for value in prices),
        *(f'<span class="{tone(value)}">{signed(value)}</span>' for value in results),
    )


def _left(name: str, interim: Interim) -> str:
    return f"{name} {_LEFT.get(interim.status, f'is {interim.status} and has not ended')}"


def _off(summary: Summary) -> str:
    return f"{check_accounting(summary).difference:.9f} {summary.currency}"


def _count(number: int, noun: str) -> str:
    return f"{integer(number)} {noun}{'' if number == 1 else 's'}"
