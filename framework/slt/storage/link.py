"""The storage plugin of a run that goes on without it: opened when it is there, and asked again when it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from slt.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from slt.hookspecs import StorageSpecs
    from slt.storage.contract import Query
    from slt.types import Record

__all__ = ["StorageLink"]

T = TypeVar("T")


class StorageLink:
    """Stands where the storage plugin's hooks would; a call that finds the storage not open opens it first.

    The first opening tells what only a person can mend, a wrong password say, so that a run does not begin with it.
    From then on the same is an outage like any other: a run under way, with positions open, must not end because
    somebody changes a password.

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
        self._has_tried = False

    async def open(self) -> None:
        """Open the storage, unless it is open.

        Raises:
            ConfigError: Only a person can help; at the first try only.
            StorageError: It is away.
        """
        is_first, self._has_tried = not self._has_tried, True
        async with self._opening:
            if self.is_open:
                return
            try:
                async with asyncio.timeout(self._open_seconds):
                    self.text = await self._hooks.slt_open_storage()
            except TimeoutError:
                self.text = f"it did not open within {self._open_seconds:g} s"
                raise StorageError(f"the storage did not open within {self._open_seconds:g} s") from None
            except (StorageError, ConfigError, OSError) as error:
                self.text = str(error)
                if is_first:
                    raise
                raise _as_outage(error) from error
            self.is_open = True

    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        await _told(self._hooks.slt_write_records(records=records))

    async def slt_read_records(self, query: Query) -> list[Record]:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        return await _told(self._hooks.slt_read_records(query=query))

    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        await _told(self._hooks.slt_forget_records(run_id=run_id, since=since))

    async def slt_prune_records(self, now: int) -> int:
        """As the hook; 0 where the plugin has none.

        Raises:
            StorageError: The storage is away or refuses.
        """
        await self.open()
        prune = getattr(self._hooks, "slt_prune_records", None)
        return await _told(prune(now=now)) if prune is not None else 0

    async def slt_hold_lock(self, name: str) -> bool:
        """As the hook.

        Raises:
            StorageError: The storage is away.
        """
        await self.open()
        return await _told(self._hooks.slt_hold_lock(name=name))

    async def slt_watch_lock(self, name: str) -> None:
        """As the hook.

        Raises:
            StorageError: The storage is away.
        """
        await _told(self._hooks.slt_watch_lock(name=name))

    async def slt_release_lock(self, name: str) -> None:
        """As the hook."""
        await self._hooks.slt_release_lock(name=name)

    async def slt_close_storage(self) -> None:
        """Close the storage, whether it is open or not."""
        self.is_open = False
        await self._hooks.slt_close_storage()


async def _told(question: Awaitable[T]) -> T:
    """Await a hook of a storage that has been opened.

    Raises:
        StorageError: Whatever keeps it from answering.
    """
    try:
        return await question
    except (ConfigError, OSError) as error:
        raise _as_outage(error) from error


def _as_outage(error: StorageError | ConfigError | OSError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
    return StorageError(reason)
