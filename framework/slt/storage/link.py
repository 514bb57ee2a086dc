"""The storage plugin of a run that goes on without it: opened when it is there, and asked again when it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slt.hookspecs import StorageSpecs
    from slt.storage.contract import Query
    from slt.types import Record

__all__ = ["StorageLink"]


class StorageLink:
    """Stands where the storage plugin's hooks would; a call that finds the storage not open opens it first.

    Args:
        hooks: The plugin's hooks.
        open_seconds: Longest time that one opening may take.

    Attributes:
        is_open: Whether the storage has been opened; it may be away all the same.
        text: The storage in one line; where it never opened, why.
    """

    def __init__(self, hooks: StorageSpecs, *, open_seconds: float = 300.0) -> None:
        self.is_open = False
        self.text = ""
        self._hooks = hooks
        self._open_seconds = open_seconds
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Open the storage, unless it is open.

        Raises:
            ConfigError: Only a person can help.
            StorageError: It is away.
        """
        async with self._opening:
            if self.is_open:
                return
            try:
                async with asyncio.timeout(self._open_seconds):
                    self.text = await self._hooks.slt_open_storage()
            except TimeoutError:
                self.text = f"it did not open within {self._open_seconds:g} s"
                raise StorageError(f"the storage did not open within {self._open_seconds:g} s") from None
            except (StorageError, ConfigError) as error:
                self.text = str(error)
                raise
            self.is_open = True

    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        await self._hooks.slt_write_records(records=records)

    async def slt_read_records(self, query: Query) -> list[Record]:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        return await self._hooks.slt_read_records(query=query)

    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        await self._hooks.slt_forget_records(run_id=run_id, since=since)

    async def slt_prune_records(self, now: int) -> int:
        """As the hook; 0 where the plugin has none.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        prune = getattr(self._hooks, "slt_prune_records", None)
        return await prune(now=now) if prune is not None else 0

    async def slt_hold_lock(self, name: str) -> bool:
        """As the hook.

        Raises:
            StorageError: The storage is away.
        """
        await self.open()
        return await self._hooks.slt_hold_lock(name=name)

    async def slt_watch_lock(self, name: str) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away.
        """
        await self._hooks.slt_watch_lock(name=name)

    async def slt_release_lock(self, name: str) -> None:
        """As the hook."""
        await self._hooks.slt_release_lock(name=name)

    async def slt_close_storage(self) -> None:
        """Close the storage, whether it is open or not."""
        self.is_open = False
        await self._hooks.slt_close_storage()
