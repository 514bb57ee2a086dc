"""Reading stored records through the cache: what status, health and report ask."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from slt.storage._codec import decode_record, encode_record, field_names
from slt.storage.cache import Cache, Codec
from slt.storage.contract import Query
from slt.types import Record, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slt.config import Settings
    from slt.hookspecs import StorageSpecs
    from slt.loader import Loaded, Plugins
    from slt.storage.link import StorageLink

__all__ = ["Reader", "make_reader", "storage_scope"]

R = TypeVar("R")
_MOST_SHARED = 2000
"""Records beyond which an answer stays out of the cache plugin: turning them into text would hold up the loop."""
_ANY = "*"
_KINDS: tuple[type, ...] = Record.__args__


class Reader:
    """Asks a storage for records, and remembers the answers as long as they are true.

    Args:
        storage: The storage's hooks, open.
        cache: Where answers are kept.
    """

    def __init__(self, storage: StorageSpecs | StorageLink, cache: Cache) -> None:
        self.cache = cache
        self._storage = storage

    async def read(self, kind: type[R], **query: Any) -> tuple[R, ...]:
        """Records of one type.

        Args:
            kind: The record class.
            query: As in `slt.storage.contract.Query`.

        Returns:
            What `slt_read_records` gives, in its order; shared with others who ask, so it must not be changed.

        Raises:
            slt.errors.StorageError: The storage cannot answer, and nothing that is still true is in the cache.
        """
        asked = Query(kind, **query)  # type: ignore[arg-type] # a record class, as the caller promises
        key = json.dumps([kind.__name__, *attrs.astuple(asked)[1:]])
        tag = _tag(kind, asked.id if kind is Run else asked.run_id)

        async def load() -> tuple[Any, ...]:
            return tuple(await self._storage.slt_read_records(query=asked))

        found = await self.cache.get(key, (tag,), load, _CODEC)
        return tuple(record for record in found if isinstance(record, kind))

    def wrote(self, records: Sequence[Record]) -> None:
        """These records have been written, or may have been."""
        runs = {(type(r), r.id if isinstance(r, Run) else getattr(r, "run_id", None)) for r in records}
        self.cache.tell({_tag(kind, run) for kind, run in runs} | {_tag(kind, None) for kind, _ in runs})

    def forgot(self, run_id: str) -> None:
        """Records of a run have been deleted."""
        self.cache.tell({_tag(kind, run) for kind in _KINDS for run in (run_id, None)})

    def marks(self, run_id: str) -> dict[str, str]:
        """By the name of each record class a text that changes when records of the run have been written."""
        marks = self.cache.marks(_tag(kind, run_id) for kind in _KINDS)
        return {tag.partition(":")[0]: mark for tag, mark in marks.items()}

    def follow(self, run_id: str, marks: Mapping[str, str]) -> None:
        """Believe a run that goes on about what it has written.

        Args:
            run_id: The run.
            marks: What `marks` gave in its process, a few seconds ago at most.
        """
        self.cache.follow({_tag(kind, run_id): marks[kind.__name__] for kind in _KINDS if kind.__name__ in marks})

    async def close(self) -> None:
        """Close the cache."""
        await self.cache.close()


def make_reader(
    settings: Settings, plugins: Plugins, *, is_writer: bool, storage: StorageSpecs | StorageLink | None = None
) -> Reader:
    """A reader for a configuration's storage.

    Args:
        settings: The configuration.
        plugins: Its plugins; a cache among them has been opened, or is not to be used.
        is_writer: Whether this process does the writing and tells the reader of it.
        storage: Whom to ask; None = the storage plugin's hooks.
    """
    hooks = plugins.cache.hooks if plugins.cache is not None else None
    scope = storage_scope(plugins.storage, Path(settings.run.folder))
    return Reader(storage or plugins.storage.hooks, Cache(hooks, settings.cache, scope=scope, is_writer=is_writer))


def storage_scope(storage: Loaded[Any], folder: Path) -> str:
    """What tells this storage apart from every other; holds secrets, so it is only good for a hash.

    Args:
        storage: The storage plugin.
        folder: Of the runs; with the machine's name it stands for what a storage without an address keeps here.
    """
    options = attrs.asdict(storage.config)
    values = {name: os.environ.get(str(value), "") for name, value in options.items() if name.endswith("_env")}
    here = "" if any(values.values()) else f"{platform.node()}:{Path.cwd()}:{folder.resolve()}"
    return json.dumps([storage.name, options, values, here], sort_keys=True, default=str)


def _tag(kind: type, run_id: str | None) -> str:
    return f"{kind.__name__}:{_ANY if run_id is None else run_id}"


def _encode(records: tuple[Any, ...]) -> bytes | None:
    if len(records) > _MOST_SHARED:
        return None
    return "\n".join([_HEAD, *(encode_record(record) for record in records)]).encode("ascii")


def _decode(packed: bytes) -> tuple[Any, ...]:
    head, *lines = packed.decode("ascii").split("\n")
    if head != _HEAD:
        raise ValueError("written by another version of slt")
    return tuple(decode_record(line) for line in lines)


_HEAD = json.dumps(field_names(), separators=(",", ":"))
_CODEC: Codec[tuple[Any, ...]] = Codec(_encode, _decode)
