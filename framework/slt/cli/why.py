"""``slt why``: which gate let a symbol's proposals through, or refused them, with the numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.stored import Stored, with_storage
from slt.cli.tables import print_entries
from slt.cli.waiting import newest_under_way, waiting_lines
from slt.errors import SltError
from slt.loader import read_whole_config
from slt.types import Decision

if TYPE_CHECKING:
    from pathlib import Path

    from slt.config import Settings

__all__ = ["why"]


@click.command()
@click.argument("symbol")
@click.option("--at", "moment", help="Decisions up to this time, ISO 8601, UTC; default: the end.")
@click.option("--run", "run_id", help="The run; default: the newest.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many decisions.")
@config_option
def why(symbol: str, moment: str | None, run_id: str | None, limit: int, config_path: Path) -> None:
    """Tell what became of SYMBOL's proposals: newest first, one line each, with the gate and its numbers.

    Of a run that is under way on this machine it first tells what holds entries up just now, also while its storage is
    away.
    """
    until = None if moment is None else parse_moment(moment) + 1

    async def read(stored: Stored) -> tuple[str, list[Decision]]:
        run = stored.run(run_id)
        asked = {"symbol": symbol.upper(), "until": until, "newest_first": True, "limit": limit}
        return run.id, await stored.records(Decision, run, **asked)

    settings = read_whole_config(config_path)
    try:
        found_run, decisions = with_storage(config_path, read)
    except SltError:
        if moment is None and (under_way := run_id or newest_under_way(settings)):
            _tell_waits(settings, under_way, symbol.upper())
        raise
    if moment is None:
        _tell_waits(settings, found_run, symbol.upper())
    if not decisions:
        until_then = "" if moment is None else " up to then"
        click.echo(f"run {found_run}: no strategy has proposed anything for {symbol.upper()}{until_then}")
        return
    rows: list[list[object]] = [
        [
            datetime.fromtimestamp(d.time / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            "long" if d.side > 0 else "short",
            f"{d.outcome}: {d.detail}" if d.detail else d.outcome,
            f"{d.strategy}: {d.reason}",
            f"{d.confidence:.2f}",
            "UNTRAINED" if d.p_win is None else f"{d.p_win:.2f} (v{d.model_version})",
            "  ".join(f"{name}={value:.6g}" for name, value in d.numbers.items()),
        ]
        for d in decisions
    ]
    heads = ["time (UTC)", "side", "gate", "proposal", "confidence", "p_win", "numbers"]
    words = ["{}", "{}", "{}", "{}", "confidence {}", "p_win {}", "{}"]
    print_entries(heads, rows, words=words, title=f"{symbol.upper()} in run {found_run}, newest first")


def _tell_waits(settings: Settings, run_id: str, symbol: str) -> None:
    for line in waiting_lines(settings, run_id, symbol):
        click.echo(line)


def parse_moment(text: str) -> int:
    """An ISO 8601 time as ms UTC; a time without zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at: found `{text}`, allowed is a time like 2025-05-20T14:35") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
