"""Reading stored runs back: what the commands report, why and model share."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from slt.config import nearest
from slt.errors import SltError
from slt.loader import build_plugins, read_whole_config
from slt.storage.contract import Query
from slt.storage.reader import Reader, make_reader
from slt.types import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from slt.hookspecs import StorageSpecs
    from slt.types import Record

__all__ = ["Stored", "with_storage"]

R = TypeVar("R")
T = TypeVar("T")
_IDS_SHOWN = 10


@frozen
class Stored:
    """What a configuration's storage holds.

    Attributes:
        storage: The open storage.
        reader: The same behind the cache: for statistics, which may be some seconds old.
        name: Name of the configuration's runs.
        runs: Every stored run.
    """

    storage: StorageSpecs
    reader: Reader
    name: str
    runs: tuple[Run, ...]

    def run(self, run_id: str | None) -> Run:
        """A stored run by its id; None = the newest of the configuration's name, else the newest of all.

        Raises:
            SltError: No such run is stored.
        """
        if run_id is None:
            own = [r for r in self.runs if _age(r)[0] == self.name]
            return max(own or self.runs, key=_age)
        for run in self.runs:
            if run.id == run_id:
                return run
        ids = [r.id for r in sorted(self.runs, key=_age)]
        more = f"{len(ids) - _IDS_SHOWN} more, " if len(ids) > _IDS_SHOWN else ""
        shown = more + ", ".join(ids[-_IDS_SHOWN:])
        raise SltError(f"no run `{run_id}` is stored{nearest(run_id, ids)} (stored: {shown})")

    async def write(self, record: Record) -> None:
        """Store one record, and tell the cache of it."""
        await self.storage.slt_write_records(records=[record])
        self.reader.wrote([record])

    async def records(self, kind: type[R], run: Run, **query: Any) -> list[R]:
        """The records of one type of a run; `query` as in `slt.storage.contract.Query`."""
        found = await self.storage.slt_read_records(query=Query(kind, run_id=run.id, **query))  # type: ignore[arg-type] # a record
        return [record for record in found if isinstance(record, kind)]


def with_storage(config_path: Path, work: Callable[[Stored], Awaitable[T]]) -> T:
    """Open the storage that a configuration chooses, do something with it, and close it.

    Raises:
        SltError: Nothing is stored there, or the configuration or the storage cannot be used.
    """
    settings = read_whole_config(config_path)
    plugins = build_plugins(settings)
    storage = plugins.storage

    async def opened() -> T:
        async with AsyncExitStack() as stack:
            if plugins.cache is not None:
                await plugins.cache.hooks.slt_open_cache()
            stack.push_async_callback(storage.hooks.slt_close_storage)
            text = await storage.hooks.slt_open_storage()
            reader = make_reader(settings, plugins, is_writer=False)
            stack.push_async_callback(reader.close)
            runs = [r for r in await storage.hooks.slt_read_records(query=Query(Run)) if isinstance(r, Run)]
            if not runs:
                hint = "; choose another in plugins.storage, e.g. postgres" if storage.name == "memory" else ""
                raise SltError(f"no run is stored in {storage.name}: {text}{hint}")
            return await work(Stored(storage.hooks, reader, settings.run.name, tuple(runs)))

    return asyncio.run(opened())


def _age(run: Run) -> tuple[str, int]:
    """Name and number: ``-1000`` is newer than ``-999``."""
    name, _, number = run.id.rpartition("-")
    return name, int(number) if number.isdigit() else 0
