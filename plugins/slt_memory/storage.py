"""Records in dictionaries, one per type."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, get_args

from attrs import evolve, fields, frozen

from slt import hookimpl
from slt.errors import StorageError
from slt.storage.contract import counts
from slt.types import Notice, Record, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slt.storage.contract import Query

__all__ = ["MemoryStorage", "MemoryStorageConfig"]

_TIME_FIELDS = {
    "ModelVersion": "fitted_time",
    "OpenPosition": "entry_time",
    "Run": "started",
    "StoredBar": "close_time",
    "Trade": "exit_time",
}


@frozen(kw_only=True)
class MemoryStorageConfig:
    """The memory storage has no options."""


class MemoryStorage:
    """Keep records in memory; nothing outlives the process, so reports and resumes after it find nothing."""

    config_class = MemoryStorageConfig

    def __init__(self, config: MemoryStorageConfig) -> None:
        self.config = config
        self._records: dict[type, dict[str, Record]] = {kind: {} for kind in get_args(Record)}
        self._is_open = False

    @hookimpl
    async def slt_open_storage(self) -> str:
        """Begin, or go on with what was kept before a close.

        Returns:
            One line for people.
        """
        self._is_open = True
        return "memory (nothing outlives the process)"

    @hookimpl
    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """Keep copies of the records, replacing those of the same type and id where they count.

        Raises:
            StorageError: The storage is not open, or something is no record; then nothing is kept.
        """
        self._check_open()
        if foreign := [type(record).__name__ for record in records if type(record) not in self._records]:
            raise StorageError(f"cannot store `{foreign[0]}`; allowed are {_kind_names()}")
        for record in records:
            kept = self._records[type(record)]
            if record.id not in kept or counts(record, kept[record.id]):
                kept[record.id] = _copy(record)

    @hookimpl
    async def slt_read_records(self, query: Query) -> list[Record]:
        """Copies of the records that the query asks for, in its order.

        Raises:
            StorageError: The storage is not open, or the kind is no record type.
        """
        self._check_open()
        if query.kind not in self._records:
            raise StorageError(f"cannot read `{query.kind.__name__}`; allowed are {_kind_names()}")
        time_of = _time_of(query.kind)
        found = [record for record in self._records[query.kind].values() if _fits(record, query, time_of)]
        found.sort(key=lambda record: (time_of(record), record.id), reverse=query.newest_first)
        return [_copy(record) for record in found[: query.limit]]

    @hookimpl
    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """Drop a run's records from a time on, but for the run itself and its notices.

        Raises:
            StorageError: The storage is not open.
        """
        self._check_open()
        for kind, kept in self._records.items():
            time_of = _time_of(kind)
            if kind not in (Run, Notice):
                gone = [i for i, r in kept.items() if getattr(r, "run_id", None) == run_id and time_of(r) >= since]
                for record_id in gone:
                    del kept[record_id]

    @hookimpl
    async def slt_close_storage(self) -> None:
        """Refuse further reads and writes; what is kept stays until the process ends."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageError("the memory storage is not open; call slt_open_storage first")


def _kind_names() -> str:
    return ", ".join(kind.__name__ for kind in get_args(Record))


def _copy(record: Record) -> Record:
    """The record, apart from its owner: frozen as it is, it may hold a dictionary that the owner goes on changing."""
    names = [field.name for field in fields(type(record)) if isinstance(getattr(record, field.name), dict)]
    return evolve(record, **{name: deepcopy(getattr(record, name)) for name in names}) if names else record


def _time_of(kind: type) -> Callable[[Record], int]:
    name = _TIME_FIELDS.get(kind.__name__, "time")

    def time_of(record: Record) -> int:
        time: int = getattr(record, name)
        return time

    return time_of


def _fits(record: Record, query: Query, time_of: Callable[[Record], int]) -> bool:
    time = time_of(record)
    return (
        _is_wanted(_run_of(record), query.run_id)
        and _is_wanted(getattr(record, "symbol", None), query.symbol)
        and _is_wanted(record.id, query.id)
        and (query.since is None or time >= query.since)
        and (query.until is None or time < query.until)
    )


def _run_of(record: Record) -> str | None:
    return record.id if type(record).__name__ == "Run" else getattr(record, "run_id", None)


def _is_wanted(found: str | None, wanted: str | None) -> bool:
    """A filter lets pass what it does not name, and what has no such field."""
    return wanted is None or found is None or found == wanted
