"""The conformance suite of caches: subclass `CacheConformance`, say how to make one, run pytest.

`MemoryCache` is a cache in this process that goes by whatever clock it is given: for tests of what uses a cache.
"""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, ClassVar

import pytest
from attrs import frozen

from slt import hookimpl
from slt.errors import ConfigError
from slt.log import SecretFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.hookspecs import CacheSpecs

__all__ = ["CacheConformance", "MemoryCache", "MemoryCacheConfig"]

_PATIENCE = 30.0
_LONG_MS = 600_000


@frozen
class MemoryCacheConfig:
    """`MemoryCache` has no options."""


class MemoryCache:
    """Keeps entries in this process.

    Args:
        config: See `MemoryCacheConfig`.
        clock: Seconds that never go back.
    """

    config_class = MemoryCacheConfig

    def __init__(self, config: MemoryCacheConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config or MemoryCacheConfig()
        self._clock = clock
        self._entries: dict[str, tuple[float, bytes]] = {}

    @hookimpl
    async def slt_open_cache(self) -> str:
        """Say where it is."""
        return "cache in memory"

    @hookimpl
    async def slt_get_entries(self, keys: tuple[str, ...]) -> list[bytes | None]:
        """What is there and has not expired."""
        now = self._clock()
        found = (self._entries.get(key, (now, b"")) for key in keys)
        return [value if expiry > now else None for expiry, value in found]

    @hookimpl
    async def slt_set_entry(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value."""
        self._entries[key] = (self._clock() + ttl_ms / 1000, value)

    @hookimpl
    async def slt_delete_entries(self, keys: tuple[str, ...]) -> None:
        """Forget some."""
        for key in keys:
            self._entries.pop(key, None)

    @hookimpl
    async def slt_close_cache(self) -> None:
        """Nothing to close."""


class CacheConformance:
    """What every cache must do. A subclass gives `make_cache`, and `secrets` where it needs an address.

    Attributes:
        is_shared: Whether two instances see each other's entries, as two processes would.
    """

    is_shared: ClassVar[bool] = True

    def make_cache(self) -> CacheSpecs:
        """Make a cache, not open yet; every call gives another instance at the same place."""
        raise NotImplementedError("give `make_cache(self)`")

    def secrets(self) -> dict[str, str]:
        """The environment variables it needs, with values for a server that is up."""
        return {}

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def _set_secrets(self) -> dict[str, str]:
        for name, value in self.secrets().items():
            self._monkeypatch.setenv(name, value)
        return self.secrets()

    def _run(self, scenario: Callable[[CacheSpecs], Awaitable[None]]) -> None:
        self._set_secrets()

        async def main() -> None:
            cache = self.make_cache()
            await cache.slt_open_cache()
            try:
                await scenario(cache)
            finally:
                await cache.slt_close_cache()

        asyncio.run(asyncio.wait_for(main(), _PATIENCE))

    def test_c01_open_says_in_one_line_where_it_is_and_shows_no_secret(self) -> None:
        """The line goes to the log."""

        async def main() -> str:
            cache = self.make_cache()
            text = await cache.slt_open_cache()
            await cache.slt_close_cache()
            return text

        secrets = self._set_secrets()
        text = asyncio.run(main())
        assert text
        assert "\n" not in text
        assert SecretFilter(secrets, secrets).text(text) == text

    def test_c02_missing_secret_is_a_config_error_that_names_it(self) -> None:
        """A run that lacks it does not start."""
        secrets = self._set_secrets()
        if not secrets:
            pytest.skip("`secrets` is empty")
        for name in secrets:
            with self._monkeypatch.context() as changed:
                changed.delenv(name)
                with pytest.raises(ConfigError, match=name):
                    asyncio.run(self.make_cache().slt_open_cache())

    @pytest.mark.parametrize(
        "value", [b"", b"\x00", bytes(range(256)) * 4, b"\r\n$-1\r\n", "Zürich".encode(), b"x" * (1 << 20)]
    )
    def test_c03_value_comes_back_byte_for_byte(self, value: bytes) -> None:
        """Whatever is in it."""

        async def scenario(cache: CacheSpecs) -> None:
            await cache.slt_set_entry(key="c03", value=value, ttl_ms=_LONG_MS)
            (found,) = await cache.slt_get_entries(keys=("c03",))
            assert found == value
            assert isinstance(found, bytes)

        self._run(scenario)

    def test_c04_answers_are_in_the_order_of_the_keys_and_none_where_nothing_is(self) -> None:
        """Keys asked for twice are answered twice."""

        async def scenario(cache: CacheSpecs) -> None:
            for name in ("c04-a", "c04-b"):
                await cache.slt_set_entry(key=name, value=name.encode(), ttl_ms=_LONG_MS)
            found = await cache.slt_get_entries(keys=("c04-b", "c04-none", "c04-a", "c04-b"))
            assert found == [b"c04-b", None, b"c04-a", b"c04-b"]

        self._run(scenario)

    def test_c05_entry_is_gone_when_its_time_is_over(self) -> None:
        """And not before it was asked for at all."""

        async def scenario(cache: CacheSpecs) -> None:
            await cache.slt_set_entry(key="c05", value=b"1", ttl_ms=200)
            await cache.slt_set_entry(key="c05-long", value=b"2", ttl_ms=_LONG_MS)
            await _gone(cache, "c05")
            assert await cache.slt_get_entries(keys=("c05-long",)) == [b"2"]

        self._run(scenario)

    def test_c06_setting_again_replaces_value_and_time(self) -> None:
        """In both directions."""

        async def scenario(cache: CacheSpecs) -> None:
            await cache.slt_set_entry(key="c06", value=b"old", ttl_ms=_LONG_MS)
            await cache.slt_set_entry(key="c06", value=b"new", ttl_ms=150)
            await _gone(cache, "c06")
            await cache.slt_set_entry(key="c06", value=b"short", ttl_ms=150)
            await cache.slt_set_entry(key="c06", value=b"long", ttl_ms=_LONG_MS)
            await asyncio.sleep(0.3)
            assert await cache.slt_get_entries(keys=("c06",)) == [b"long"]

        self._run(scenario)

    def test_c07_deleted_entries_are_gone_and_deleting_nothing_is_no_error(self) -> None:
        """Others stay."""

        async def scenario(cache: CacheSpecs) -> None:
            for name in ("c07-a", "c07-b"):
                await cache.slt_set_entry(key=name, value=b"1", ttl_ms=_LONG_MS)
            await cache.slt_delete_entries(keys=("c07-a", "c07-none"))
            await cache.slt_delete_entries(keys=("c07-a",))
            assert await cache.slt_get_entries(keys=("c07-a", "c07-b")) == [None, b"1"]

        self._run(scenario)

    def test_c08_overlapping_questions_get_their_own_answers(self) -> None:
        """Two hundred at a time."""

        async def scenario(cache: CacheSpecs) -> None:
            async def one(number: int) -> None:
                key, value = f"c08-{number}", f"{number}".encode()
                await cache.slt_set_entry(key=key, value=value, ttl_ms=_LONG_MS)
                assert await cache.slt_get_entries(keys=(key, "c08-none")) == [value, None]

            await asyncio.gather(*(one(number) for number in range(200)))

        self._run(scenario)

    @pytest.mark.parametrize("seed", range(3))
    def test_c09_cancelled_question_leaves_its_answer_to_nobody(self, seed: int) -> None:
        """The kernel cancels at its budget, wherever the plugin is just then."""
        dice = random.Random(seed)  # noqa: S311 - chooses moments, guards no secret

        async def scenario(cache: CacheSpecs) -> None:
            names = [f"c09-{number}" for number in range(20)]
            for name in names:
                await cache.slt_set_entry(key=name, value=name.encode(), ttl_ms=_LONG_MS)
            for _ in range(100):
                task = asyncio.ensure_future(cache.slt_get_entries(keys=(dice.choice(names),)))
                for _ in range(dice.randrange(8)):
                    await asyncio.sleep(0)
                task.cancel()
                asked = dice.choice(names)
                found, _ = await asyncio.gather(cache.slt_get_entries(keys=(asked,)), task, return_exceptions=True)
                assert found == [asked.encode()]

        self._run(scenario)

    def test_c10_closing_twice_is_no_error_and_it_opens_again(self) -> None:
        """A failed start closes what it may have closed already."""

        async def scenario(cache: CacheSpecs) -> None:
            await cache.slt_close_cache()
            await cache.slt_close_cache()
            await cache.slt_open_cache()
            await cache.slt_set_entry(key="c10", value=b"1", ttl_ms=_LONG_MS)
            assert await cache.slt_get_entries(keys=("c10",)) == [b"1"]

        self._run(scenario)

    def test_c11_instances_share_their_entries(self) -> None:
        """That is what it is for."""
        if not self.is_shared:
            pytest.skip("is_shared is False")

        async def scenario(cache: CacheSpecs) -> None:
            other = self.make_cache()
            await other.slt_open_cache()
            await other.slt_set_entry(key="c11", value=b"1", ttl_ms=_LONG_MS)
            assert await cache.slt_get_entries(keys=("c11",)) == [b"1"]
            await cache.slt_delete_entries(keys=("c11",))
            assert await other.slt_get_entries(keys=("c11",)) == [None]
            await other.slt_close_cache()

        self._run(scenario)


async def _gone(cache: CacheSpecs, key: str) -> None:
    while await cache.slt_get_entries(keys=(key,)) != [None]:  # noqa: ASYNC110 - nothing tells of an expiry
        await asyncio.sleep(0.02)
