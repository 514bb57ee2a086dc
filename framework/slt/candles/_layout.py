"""Which column of a file is what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.candles._frames import Layout, Table
from slt.candles.problems import BadFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["headerless_layout", "layout_of"]


def layout_of(stored: Sequence[str], table: Table) -> Layout:
    """The columns of a file that names them; case and surrounding blanks do not matter.

    Raises:
        BadFileError: A needed column is missing, or two columns mean the same.
    """
    plain = [name.strip().lower() for name in stored]
    names = tuple(table.aliases.get(name, name) for name in plain)
    needed = (table.time, *table.values)
    missing = [name for name in needed if name not in names]
    if missing:
        found = ", ".join(stored) or "none"
        raise BadFileError(
            f"has the columns {found}; {table.what} need {', '.join(needed)}; missing: {', '.join(missing)}"
        )
    doubled = [name for name in (*needed, *table.optional, "symbol") if names.count(name) > 1]
    if doubled:
        raise BadFileError(f"has two columns for {', '.join(doubled)}: {', '.join(stored)}")
    return Layout(table, names, "symbol" in names)


def headerless_layout(columns: int, table: Table) -> Layout:
    """The columns of a file without a header, by their number.

    Raises:
        BadFileError: Files of this kind have another number of columns.
    """
    names = table.headerless.get(columns)
    if names is None:
        allowed = " or ".join(str(n) for n in sorted(table.headerless))
        raise BadFileError(f"has no header and {columns} columns; {table.what} without a header have {allowed}")
    return Layout(table, names, has_symbol=False)
