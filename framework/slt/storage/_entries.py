"""What the journal and the writer carry beside records: the order to forget a run's future."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from slt.types import Record

__all__ = ["Entry", "Forget"]


@frozen
class Forget:
    """A resumed run went back to its snapshot: what is stored of it from a time on may not come again.

    It stands in the journal between the records of the earlier life and those of the new one, so that it is carried out
    between them, however long the database is away.

    Attributes:
        run_id: The run.
        since: ms UTC, inclusive.
    """

    run_id: str
    since: int


Entry: TypeAlias = Record | Forget
"""What has a position in the journal."""
