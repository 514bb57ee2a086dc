"""Tables on the terminal: drawn by rich for people, tab-separated for pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_entries", "print_table"]

_SHORT_CELL = 28
"""Columns with nothing longer are never broken into lines."""
_INDENT = 4


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
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 # rich is imported only when something is drawn
    from rich.console import Console  # noqa: PLC0415 # as above
    from rich.table import Table  # noqa: PLC0415 # as above
    from rich.text import Text  # noqa: PLC0415 # as above

    table = Table(title=title or None, title_justify="left", header_style="cyan", box=SIMPLE_HEAD, pad_edge=False)
    for index, head in enumerate(heads):
        longest = max(len(str(row[index])) for row in [heads, *rows])
        table.add_column(head, overflow="fold", no_wrap=longest <= _SHORT_CELL)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def print_entries(
    heads: Sequence[str], rows: Sequence[Sequence[object]], *, words: Sequence[str], title: str = ""
) -> None:
    """Print rows too long for a table: on a terminal the last cell of each stands below the others, indented.

    Cells that find no room in their line stand in one below it, indented as well.

    Args:
        heads: Column names, for the tab-separated form.
        rows: Cells, printed with `str`.
        words: For each column the text around its cell on a terminal, such as ``{} samples``.
        title: A line above, on a terminal only.
    """
    if not sys.stdout.isatty():
        print_table(heads, rows)
        return
    from rich.console import Console  # noqa: PLC0415 # rich is imported only when something is drawn
    from rich.padding import Padding  # noqa: PLC0415 # as above
    from rich.text import Text  # noqa: PLC0415 # as above

    console = Console()
    if title:
        console.print(Text(f"{title}\n", style="italic"))
    for row in rows:
        first, *middle, last = (word.format(cell) for word, cell in zip(words, row, strict=True))
        line, indent = Text(first, style="cyan"), 0
        for cell in middle:
            if indent + line.cell_len + 2 + len(cell) > console.width:
                console.print(Padding(line, (0, 0, 0, indent), expand=False))
                line, indent = Text(cell), _INDENT
            else:
                line = Text.assemble(line, f"  {cell}")
        console.print(Padding(line, (0, 0, 0, indent), expand=False))
        console.print(Padding(Text(last, style="dim"), (0, 0, 0, _INDENT), expand=False))
