"""Reading stored runs back: what the commands report, why and model share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from slt.config import nearest
from slt.errors import SltError
from slt.loader import build_plugins, read_whole_config
from slt.storage.contract import Query
from slt.types import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from slt.hookspecs import StorageSpecs

__all__ = ["Stored", "with_storage"]

R = TypeVar("R")
T = TypeVar("T")
_IDS_SHOWN = 10


@frozen
class Stored:
    """What a configuration's storage holds.

    Attributes:
        storage: The open storage.
        name: Name of the configuration's runs.
        runs: Every stored run.
    """

    storage: StorageSpecs
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
    storage = build_plugins(settings).storage

    async def opened() -> T:
        try:
            text = await storage.hooks.slt_open_storage()
            runs = [r for r in await storage.hooks.slt_read_records(query=Query(Run)) if isinstance(r, Run)]
            if not runs:
                raise SltError(f"no run is stored in {storage.name}: {text}")
            return await work(Stored(storage.hooks, settings.run.name, tuple(runs)))
        finally:
            await storage.hooks.slt_close_storage()

    return asyncio.run(opened())


def _age(run: Run) -> tuple[str, int]:
    """Name and number: ``-1000`` is newer than ``-999``."""
    name, _, number = run.id.rpartition("-")
    return name, int(number) if number.isdigit() else 0
