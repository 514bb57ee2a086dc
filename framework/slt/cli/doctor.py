"""``slt doctor``: is everything there that a run needs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.tables import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from slt.types import Check

__all__ = ["doctor"]

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("problem", "bold red")}
_MARK_WIDTH = 9


@click.command()
@config_option
def doctor(config_path: Path) -> None:
    """Look at everything that a run of this configuration needs; say what to do about each red line.

    Configuration, plugins, certificates, disk, database, cache, the feed and whether its streams really push, features
    (compiled ahead, so that the run need not), the broker: clock, symbols, key, rights, account, and what the
    notifiers need. Nothing is traded and nothing is sent. Exit code 0 where nothing is red, else 1.
    """
    from slt.run.doctor import examine  # noqa: PLC0415 # pulls in the engine

    checks: list[Check] = []

    def tell(check: Check) -> None:
        checks.append(check)
        if sys.stdout.isatty():
            _draw(check)

    asyncio.run(examine(config_path, tell))
    if not sys.stdout.isatty():
        rows = [(c.verdict, c.name, c.found, c.advice) for c in checks]
        print_table(("verdict", "check", "found", "what to do"), rows)
    if any(check.verdict == "problem" for check in checks):
        sys.exit(1)


def _draw(check: Check) -> None:
    """One line on a terminal, the advice below it; told as soon as it is known."""
    from rich.console import Console  # noqa: PLC0415 # rich is imported only when something is drawn
    from rich.table import Table  # noqa: PLC0415 # as above
    from rich.text import Text  # noqa: PLC0415 # as above

    word, style = _MARKS.get(check.verdict, (check.verdict, ""))
    lines = Table.grid()
    lines.add_column(width=_MARK_WIDTH)
    lines.add_column(overflow="fold")
    lines.add_row(Text(word, style=style), Text.assemble((f"{check.name}  ", "bold"), check.found))
    if check.advice:
        lines.add_row("", Text(f"→ {check.advice}", style=style))
    Console().print(lines)
