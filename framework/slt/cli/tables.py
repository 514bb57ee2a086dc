"""Tables on the terminal: drawn by rich for people, tab-separated for pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_table"]


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print rows; on a terminal as a table, elsewhere as tab-separated lines with a head line.

    Args:
        heads: Column names.
        rows: Cells, printed with `str`.
        title: A line above the table, on a terminal only.
    """
    if not sys.stdout.isatty():
        for line in (heads, *rows):
            click.echo("\t".join(str(cell) for cell in line))
        return
    from rich.console import Console  # noqa: PLC0415 # rich is imported only when something is drawn
    from rich.table import Table  # noqa: PLC0415 # as above
    from rich.text import Text  # noqa: PLC0415 # as above

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)
