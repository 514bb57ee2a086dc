"""What a storage plugin must be able to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from slt.types import OpenPosition, Trade

if TYPE_CHECKING:
    from slt.types import Record

__all__ = ["Query", "counts"]


@frozen
class Query:
    """A question for records of one type.

    Attributes:
        kind: The record class, e.g. `slt.types.Trade`.
        run_id: Only records of this run; None = all runs. Ignored for bars, and for runs it matches the id.
        symbol: Only this symbol; None = all. Ignored where the type has none.
        id: Only the record of this id; None = all.
        since: Only records whose time is at or after this, ms UTC; None = from the beginning.
        until: Only records whose time is before this, ms UTC; None = to the end.
        newest_first: Order by time descending (ties by id descending) instead of ascending (ties by id ascending).
        limit: At most so many; None = all.

    The time of a record is its ``time``; for a trade its ``exit_time``, for a position its ``entry_time``, for a
    model its ``fitted_time``, for a bar its ``close_time``, for a run its ``started``.
    """

    kind: type[Record]
    run_id: str | None = None
    symbol: str | None = None
    id: str | None = None
    since: int | None = None
    until: int | None = None
    newest_first: bool = False
    limit: int | None = None


def counts(record: Record, stored: Record) -> bool:
    """Whether a record takes the place of the stored one of its type and id.

    It does, but for what two runs say of one position: a run that comes back tells again what it knew when it died,
    while another one has long gone on. Then the later word on the position counts (`OpenPosition.told_time`), and the
    earlier exit of its trade (`Trade.exit_time`): the later one is what the run that came back made of its absence.
    """
    if isinstance(record, OpenPosition) and isinstance(stored, OpenPosition):
        return record.run_id == stored.run_id or record.told_time >= stored.told_time
    if isinstance(record, Trade) and isinstance(stored, Trade):
        return record.run_id == stored.run_id or record.exit_time <= stored.exit_time
    return True
