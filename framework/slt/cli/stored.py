"""Reading stored runs back: what the commands report, why and model share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from slt.config import read_config
from slt.errors import ConfigError, SltError
from slt.loader import build_plugins
from slt.storage.contract import Query
from slt.types import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from slt.hookspecs import StorageSpecs

__all__ = ["find_run", "with_storage"]


def with_storage(config_path: Path, work: Callable[[StorageSpecs], Awaitable[Any]]) -> Any:
    """Open the storage that a configuration chooses, do something with it, and close it."""
    storage = build_plugins(read_config(config_path)).storage
    if storage.name == "memory":
        raise ConfigError(
            f"{config_path.name}: plugins.storage: `memory` keeps nothing after a run; choose postgres to look at runs "
            "later"
        )

    async def opened() -> Any:
        await storage.hooks.slt_open_storage()
        try:
            return await work(storage.hooks)
        finally:
            await storage.hooks.slt_close_storage()

    return asyncio.run(opened())


async def find_run(storage: StorageSpecs, run_id: str | None) -> Run:
    """A stored run by its id; None = the newest."""
    query = Query(Run, run_id=run_id) if run_id else Query(Run)
    runs = [r for r in await storage.slt_read_records(query=query) if isinstance(r, Run)]
    if not runs:
        known = await storage.slt_read_records(query=Query(Run))
        ids = ", ".join(sorted(r.id for r in known)[-10:]) or "none"
        raise SltError(f"no run `{run_id or ''}` is stored (stored: {ids})")
    return max(runs, key=lambda r: r.id)
