"""Journals of runs that nobody will resume: what they still hold is brought to the storage by the next run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import SltError
from slt.log import get_logger
from slt.run.folders import held
from slt.storage.journal import Journal
from slt.storage.refused import RefusedRecords
from slt.storage.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from slt.storage.link import StorageLink

__all__ = ["bring_leftovers"]

_log = get_logger("lifecycle")


async def bring_leftovers(root: Path, own: Path, storage: StorageLink) -> None:
    """Store what the journals of other runs' folders hold, one after the other, however long the storage is away.

    A run whose options changed, or that was begun anew with --fresh, leaves a folder that is never resumed. Folders of
    runs that are under way in another process are left alone.

    Args:
        root: The folder of all runs.
        own: The folder of this run.
        storage: Where the records belong.
    """
    for folder in await asyncio.to_thread(_folders_with_journals, root, own):
        try:
            with held(folder) as is_held:
                if is_held:
                    await _bring(folder, storage)
        except (OSError, SltError) as error:
            _log.warning("the journal of another run cannot be read", run=folder.name, cause=str(error))


def _folders_with_journals(root: Path, own: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path != own and any((path / "journal").glob("*.journal")))


async def _bring(folder: Path, storage: StorageLink) -> None:
    writer = Writer(storage, Journal(folder / "journal"), refused=RefusedRecords(folder / "refused.jsonl"))
    for damage in await writer.open():
        _log.error("journal of another run damaged", run=folder.name, detail=damage)
    if writer.pending:
        _log.info("bringing the journal of another run to the storage", run=folder.name, records=writer.pending)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await writer.flush()
        writer.stop()
