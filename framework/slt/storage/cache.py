"""Three tiers for answers asked for often: memory, then a cache plugin shared between processes, then the storage.

An answer is true for its *tags* (such as the trades of one run). Whoever writes tells the tags; from then on nothing
older is given out by this cache, wherever it lies and whoever is loading it at the moment:

* Memory: an entry counts only while none of its tags has been told of since its question was asked. A load that began
  before the telling is not kept, and a question asked after it does not join that load.
* The plugin: a value is stored together with the *stamp* each of its tags had before it was loaded, and counts only
  while those are the tags' stamps. The telling replaces the stamps. Where the plugin cannot be reached just then, its
  values for these tags are not believed by this process until it has taken the new stamps; another process may see what
  was true before, for ``shared_seconds`` in the plugin and as long again in its own memory.

A process that does the writing (``is_writer``) knows that its answers are still true, and renews them in the plugin
while it goes on asking: other processes then find them there and need not ask the storage. Where the stamps have
changed meanwhile, somebody else has written, and the answer is dropped from memory as well.

A process that only reads keeps an answer for ``shared_seconds``, because nobody tells it of writes. One that regularly
reads the writer's *marks* (`Cache.marks`, `Cache.follow`) knows better: what it has asked the storage itself stays true
until a mark changes.

The plugin may be away, slow or wrong in form: it has ``budget_ms``, and after ``failures`` failures in a row it is left
alone for a while that grows. Then the storage is asked, as if there were no plugin. Equal questions asked at the same
time are one question to the storage.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import define, field, frozen
from cachetools import TTLCache

from slt.storage._guard import GuardedPlugin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from slt.config import CacheConfig
    from slt.hookspecs import CacheSpecs

__all__ = ["Cache", "CacheStatus", "Codec"]

T = TypeVar("T")
_STAMP = 16
_STAMP_TTL_MS = 86_400_000
"""A stamp that is gone makes the values stored under it worthless, which costs a question and no more."""
_CLOSE_SECONDS = 0.5


@frozen
class Codec(Generic[T]):
    """How a value becomes bytes for the plugin and back.

    Attributes:
        encode: Value to bytes; None = too large to be worth sharing.
        decode: Bytes to value; raises `ValueError` for what another version wrote.
    """

    encode: Callable[[T], bytes | None]
    decode: Callable[[bytes], T]


@frozen
class CacheStatus:
    """How the cache is doing; counts since its start.

    Attributes:
        memory_hits: Answers out of memory, those that joined a question under way among them.
        shared_hits: Answers out of the plugin.
        misses: Questions the storage was asked.
        failures: Answers the plugin owed: errors and waits beyond the budget.
        skipped: Questions asked past the plugin because it was left alone.
        entries: Answers in memory now.
        has_plugin: Whether there is a plugin at all.
        is_paused: Whether it is left alone now.
        last_error: Type of its last error; empty = none ever.
    """

    memory_hits: int
    shared_hits: int
    misses: int
    failures: int
    skipped: int
    entries: int
    has_plugin: bool
    is_paused: bool
    last_error: str

    @property
    def requests(self) -> int:
        """Questions in all."""
        return self.memory_hits + self.shared_hits + self.misses

    @property
    def hit_rate(self) -> float:
        """Share of the questions that the storage was not asked; 0 without questions."""
        return 1.0 - self.misses / self.requests if self.requests else 0.0


class Cache:
    """See the module.

    Args:
        plugin: Hooks of the cache plugin; None = memory and storage only.
        config: Sizes, times and limits.
        scope: Tells the storage apart from others that share the plugin, so that keys never meet.
        is_writer: Whether everything that is written passes through here; else memory keeps answers only as long as
            the plugin does, unless the writer is followed.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        plugin: CacheSpecs | None,
        config: CacheConfig,
        *,
        scope: str,
        is_writer: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory: TTLCache[str, _Entry] = TTLCache(config.entries, config.memory_seconds, clock)
        self._is_writer = is_writer
        self._shared_seconds = config.shared_seconds
        self._life = secrets.token_hex(4)
        self._followed: dict[str, str] = {}
        self._followed_at = -math.inf
        self._clock = clock
        self._renewals: set[asyncio.Task[None]] = set()
        self._shared = GuardedPlugin(plugin, config, clock) if plugin is not None else None
        self._max_bytes = config.max_kib << 10
        self._ttl_ms = max(1, round(config.shared_seconds * 1000))
        self._scope = hashlib.sha256(scope.encode()).hexdigest()[:16]
        self._told: Counter[str] = Counter()
        self._unmarked: set[str] = set()
        self._loads: dict[tuple[str, tuple[int, ...]], asyncio.Task[Any]] = {}
        self._marking: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter()

    async def get(self, key: str, tags: tuple[str, ...], load: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
        """The answer to a question, from the nearest tier that has it.

        Args:
            key: The question; the same text means the same question.
            tags: What the answer depends on, one or more.
            load: Asks the storage.
            codec: For the plugin.

        Returns:
            The answer; shared with others who ask, so it must not be changed.

        Raises:
            Exception: What `load` raises; nothing is kept then.
        """
        versions = self._versions(tags)
        kept = self._memory.get(key)
        if kept is not None and kept.versions == versions and self._lasts(kept, tags):
            self._counts["memory"] += 1
            if self._is_writer and self._clock() - kept.shared_at >= self._ttl_ms / 2000:
                self._renew(key, tags, kept, codec)
            value: T = kept.value
            return value
        flight = (key, versions)
        task = self._loads.get(flight)
        if task is None:
            task = asyncio.create_task(self._find(key, tags, load, codec))
            self._loads[flight] = task
            task.add_done_callback(lambda done: self._landed(flight, done))
        else:
            self._counts["memory"] += 1
        # Shielded: one who gives up must not spoil the answer for the others.
        return await asyncio.shield(task)

    def tell(self, tags: Iterable[str]) -> None:
        """Something these tags stand for has been written, or may have been. Never waits and never raises."""
        told = set(tags)
        if not told:
            return
        self._told.update(told)
        if self._shared is not None:
            self._unmarked |= told
            if self._marking is None or self._marking.done():
                self._marking = asyncio.get_running_loop().create_task(self._mark())

    def marks(self, tags: Iterable[str]) -> dict[str, str]:
        """A text for each tag that changes with each write told of it, and with each life of this process."""
        return {tag: f"{self._life}-{self._told[tag]}" for tag in tags}

    def follow(self, marks: Mapping[str, str]) -> None:
        """The writer's marks, as read just now from where it leaves them.

        Until ``shared_seconds`` from now, answers out of the storage that depend on these tags alone stay in memory as
        long as the writer's own do. What depends on a tag whose mark has changed is asked anew.

        Args:
            marks: What `marks` gave in the writer's process, by tag.
        """
        self._told.update(tag for tag, mark in marks.items() if self._followed.get(tag) != mark)
        self._followed = dict(marks)
        self._followed_at = self._clock()

    def status(self) -> CacheStatus:
        """How the cache is doing."""
        shared, counts = self._shared, self._counts
        return CacheStatus(
            memory_hits=counts["memory"],
            shared_hits=counts["shared"],
            misses=counts["miss"],
            failures=shared.failures if shared else 0,
            skipped=shared.skipped if shared else 0,
            entries=len(self._memory),
            has_plugin=shared is not None,
            is_paused=shared.is_paused if shared else False,
            last_error=shared.last_error if shared else "",
        )

    async def close(self) -> None:
        """Take the new stamps to the plugin if that is quick, then let it go; twice is no error."""
        if self._marking is not None and self._shared is not None and not self._shared.is_paused:
            await asyncio.wait({self._marking}, timeout=_CLOSE_SECONDS)
        tasks = [*self._loads.values(), *self._renewals, *([self._marking] if self._marking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()

    async def _find(self, key: str, tags: tuple[str, ...], load: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
        before = self._versions(tags)
        stamps, packed = await self._look_up(key, tags)
        if packed is not None:
            try:
                value = codec.decode(packed)
            except ValueError:
                self._counts["undecodable"] += 1
            else:
                self._counts["shared"] += 1
                self._keep(key, tags, before, _Entry(value, before, stamps, self._clock()))
                return value
        self._counts["miss"] += 1
        value = await load()
        if self._keep(key, tags, before, _Entry(value, before, stamps, self._clock(), is_own=True)) and stamps:
            await self._share(key, tags, stamps, value, codec)
        return value

    def _keep(self, key: str, tags: tuple[str, ...], before: tuple[int, ...], entry: _Entry) -> bool:
        """Keep an answer in memory, unless a write has been told since the question; whether it was kept."""
        if self._versions(tags) != before:
            return False
        self._memory[key] = entry
        return True

    def _lasts(self, entry: _Entry, tags: tuple[str, ...]) -> bool:
        """Whether an answer in memory is young enough for a process that knows as little of writes as this one."""
        now = self._clock()
        if self._is_writer or now - entry.kept_at < self._shared_seconds:
            return True
        # One out of the plugin may be older than the writer's last word: the plugin can lag behind it.
        is_word_fresh = now - self._followed_at < self._shared_seconds
        return entry.is_own and is_word_fresh and all(tag in self._followed for tag in tags)

    def _renew(self, key: str, tags: tuple[str, ...], entry: _Entry, codec: Codec[Any]) -> None:
        """Let an answer that is still true live on in the plugin, without making anybody wait."""
        entry.shared_at = self._clock()
        if self._shared is None or self._shared.is_paused or not self._unmarked.isdisjoint(tags):
            return
        task = asyncio.get_running_loop().create_task(self._share_again(key, tags, entry, codec))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _share_again(self, key: str, tags: tuple[str, ...], entry: _Entry, codec: Codec[Any]) -> None:
        stamps, _ = await self._look_up(key, tags)
        if not stamps:
            return
        if stamps == entry.stamps:
            await self._share(key, tags, stamps, entry.value, codec)
        elif self._memory.get(key) is entry:
            del self._memory[key]

    async def _look_up(self, key: str, tags: tuple[str, ...]) -> tuple[tuple[bytes, ...], bytes | None]:
        """The tags' stamps, empty where none can be had, and what the plugin has for the question under them."""
        if self._shared is None or not self._unmarked.isdisjoint(tags):
            return (), None
        names = (*(self._stamp_key(tag) for tag in tags), self._value_key(key))
        found = await self._shared.ask(lambda plugin: plugin.slt_get_entries(keys=names))
        if found is None or len(found) != len(names):
            return (), None
        *given, value = found
        if all(stamp is not None and len(stamp) == _STAMP for stamp in given):
            stamps = tuple(bytes(stamp) for stamp in given if stamp is not None)
            head = b"".join(stamps)
            is_true = value is not None and value.startswith(head) and self._unmarked.isdisjoint(tags)
            return stamps, bytes(value)[len(head) :] if is_true and value is not None else None
        return await self._new_stamps(tags, given), None

    async def _new_stamps(self, tags: tuple[str, ...], given: list[bytes | None]) -> tuple[bytes, ...]:
        """Stamps for tags that have none yet, or no longer; empty where the plugin does not take them."""
        made: list[bytes] = []
        for tag, stamp in zip(tags, given, strict=True):
            if stamp is not None and len(stamp) == _STAMP:
                made.append(bytes(stamp))
            elif await self._stamp(tag, fresh := secrets.token_bytes(_STAMP)):
                made.append(fresh)
            else:
                return ()
        return tuple(made)

    async def _share(
        self, key: str, tags: tuple[str, ...], stamps: tuple[bytes, ...], value: T, codec: Codec[T]
    ) -> None:
        packed = codec.encode(value)
        if self._shared is None or packed is None or not self._unmarked.isdisjoint(tags):
            return
        if len(packed) > self._max_bytes:
            return
        name, content = self._value_key(key), b"".join((*stamps, packed))
        await self._shared.ask(lambda plugin: plugin.slt_set_entry(key=name, value=content, ttl_ms=self._ttl_ms))

    async def _mark(self) -> None:
        """Replace the stamps of tags that were told; goes on until the plugin has taken all of them."""
        assert self._shared is not None  # noqa: S101 - started only with a plugin
        while self._unmarked:
            for tag in sorted(self._unmarked):
                version = self._told[tag]
                if await self._stamp(tag, secrets.token_bytes(_STAMP)) and self._told[tag] == version:
                    self._unmarked.discard(tag)
            if self._unmarked:
                await asyncio.sleep(max(self._shared.pause_left, 0.05))

    async def _stamp(self, tag: str, stamp: bytes) -> bool:
        if self._shared is None:
            return False
        name = self._stamp_key(tag)

        async def put(plugin: CacheSpecs) -> bool:
            await plugin.slt_set_entry(key=name, value=stamp, ttl_ms=_STAMP_TTL_MS)
            return True

        return bool(await self._shared.ask(put))

    def _landed(self, flight: tuple[str, tuple[int, ...]], task: asyncio.Task[Any]) -> None:
        self._loads.pop(flight, None)
        if not task.cancelled():
            task.exception()  # told to whoever waits; where nobody does any more, asyncio need not complain

    def _versions(self, tags: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self._told[tag] for tag in tags)

    def _stamp_key(self, tag: str) -> str:
        return f"slt:{self._scope}:t:{hashlib.sha256(tag.encode()).hexdigest()[:32]}"

    def _value_key(self, key: str) -> str:
        return f"slt:{self._scope}:v:{hashlib.sha256(key.encode()).hexdigest()}"


@define(eq=False)
class _Entry:
    """An answer in memory, with what its tags' versions and stamps were before it was loaded.

    Attributes:
        value: The answer.
        versions: Of its tags.
        stamps: Of its tags in the plugin; empty = none.
        kept_at: When it came.
        is_own: Whether this process has asked the storage itself.
        shared_at: When it was last given to the plugin.
    """

    value: Any
    versions: tuple[int, ...]
    stamps: tuple[bytes, ...]
    kept_at: float
    is_own: bool = False
    shared_at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.shared_at = self.kept_at
