"""Journals of runs that nobody will resume: what they still hold is brought to the storage by the next run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from slt.errors import SltError
from slt.log import get_logger
from slt.run.folders import held
from slt.storage.journal import Journal
from slt.storage.refused import RefusedRecords
from slt.storage.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from slt.loader import Loaded
    from slt.storage.link import StorageLink

__all__ = ["bring_leftovers", "remember_storage", "storage_mark"]

_MARK = "storage.mark"
_log = get_logger("lifecycle")


def storage_mark(storage: Loaded[Any]) -> str:
    """What tells the place of a storage from others: a hash of where its options say that it is.

    Only text says where: names of files, and the environment variables that options ending in ``_env`` name. User and
    password of an address do not count, so that changing them does not make another place of it.
    """
    options = attrs.asdict(storage.config) if attrs.has(type(storage.config)) else {}
    texts = {name: value for name, value in options.items() if isinstance(value, str)}
    places = {n: _place(os.environ.get(v, "")) if n.endswith("_env") else v for n, v in texts.items()}
    return hashlib.sha256(json.dumps([storage.name, places], sort_keys=True).encode()).hexdigest()[:32]


def remember_storage(folder: Path, storage: Loaded[Any]) -> None:
    """Keep in a run's folder which storage its journal is meant for; a disk that refuses leaves it unknown."""
    try:
        (folder / _MARK).write_text(storage_mark(storage), encoding="ascii")
    except OSError as error:
        _log.warning("the storage of this run cannot be noted in its folder", cause=error.strerror)


async def bring_leftovers(root: Path, own: Path, storage: StorageLink, mark: str) -> None:
    """Store what the journals of other runs' folders hold, one after the other, however long the storage is away.

    A run whose options changed, or that was begun anew with --fresh, leaves a folder that is never resumed. Folders of
    runs that are under way in another process are left alone.

    Args:
        root: The folder of all runs.
        own: The folder of this run.
        storage: Where the records belong.
        mark: Of this storage, from `storage_mark`: a journal that is meant for another one is left to its own run.
    """
    for folder in await asyncio.to_thread(_folders_with_journals, root, own):
        if _mark_of(folder) not in ("", mark):
            _log.info("the journal of another run is left to it: it is meant for another storage", run=folder.name)
            continue
        try:
            with held(folder) as is_held:
                if is_held:
                    await _bring(folder, storage)
        except (OSError, SltError) as error:
            _log.warning("the journal of another run cannot be read", run=folder.name, cause=str(error))


def _folders_with_journals(root: Path, own: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path != own and any((path / "journal").glob("*.journal")))


def _mark_of(folder: Path) -> str:
    """The storage that a run's journal is meant for; empty = unknown, another version has left it."""
    try:
        return (folder / _MARK).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _place(address: str) -> str:
    """An address without user and password; what is none stays as it is."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    hosts = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{hosts}{parts.path}" if parts.scheme and hosts else address


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
