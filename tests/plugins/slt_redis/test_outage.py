"""The kernel's cache over a real Valkey server that is killed, paused and started again under it."""

from __future__ import annotations

import asyncio
import random

import pytest

from slt.config import CacheConfig
from slt.storage.cache import Cache, Codec
from slt_redis.cache import RedisCache, RedisCacheConfig

CODEC = Codec(lambda value: f"{value}".encode(), int)
PATIENCE = 30.0


class Site:
    """One server, one storage of numbers, and caches as processes would have them."""

    def __init__(self, server):
        self.server = server
        self.values = {}
        self.asked = 0
        self.caches = []

    async def cache(self, **config):
        plugin = RedisCache(RedisCacheConfig())
        await plugin.slt_open_cache()
        quick = {"pause_seconds": 0.05, "max_pause_seconds": 0.2, "memory_seconds": 0.001} | config
        self.caches.append(Cache(plugin, CacheConfig(**quick), scope="test", is_writer=True))
        return self.caches[-1]

    async def ask(self, cache, name="a"):
        async def load():
            self.asked += 1
            await asyncio.sleep(0)
            return self.values.get(name, 0)

        found = await cache.get(name, (name,), load, CODEC)
        await asyncio.sleep(0.002)  # so that memory does not answer the next one
        return found

    def write(self, cache, name="a"):
        self.values[name] = self.values.get(name, 0) + 1
        cache.tell([name])

    async def shared_again(self, cache):
        """Ask until an answer comes out of the plugin."""
        hits = cache.status().shared_hits
        while cache.status().shared_hits == hits:
            assert await self.ask(cache) == self.values.get("a", 0)


@pytest.fixture
async def site(server, monkeypatch):
    monkeypatch.setenv("REDIS_URL", server.url)
    one = Site(server)
    yield one
    for cache in one.caches:
        await cache.close()


async def test_answers_come_out_of_the_server_and_end_with_their_time(site):
    first, second = await site.cache(shared_seconds=0.3), await site.cache(shared_seconds=0.3)
    site.values["a"] = 7
    assert [await site.ask(first), await site.ask(second)] == [7, 7]
    assert (site.asked, second.status().shared_hits) == (1, 1)
    async with asyncio.timeout(PATIENCE):
        while site.asked == 1:
            assert await site.ask(second) == 7


async def test_write_told_in_one_process_reaches_the_other(site):
    run, status = await site.cache(), await site.cache()
    for number in range(1, 20):
        site.write(run)
        while run._unmarked:  # noqa: ASYNC110 - what is waited for is private to the cache
            await asyncio.sleep(0.001)
        assert [await site.ask(status), await site.ask(run)] == [number, number]


async def test_server_killed_and_started_again_changes_no_answer(site):
    cache = await site.cache()
    await site.shared_again(cache)
    site.server.kill()
    for number in range(1, 8):
        site.write(cache)
        assert await site.ask(cache) == number
    async with asyncio.timeout(PATIENCE):
        while not cache.status().is_paused:
            assert await site.ask(cache, "b") == 0
    site.server.start()
    async with asyncio.timeout(PATIENCE):
        await site.shared_again(cache)
    assert not cache.status().is_paused


async def test_server_paused_costs_the_budget_and_its_late_answers_are_nobodys(site):
    cache = await site.cache(failures=1000)
    for name in "abcdef":
        site.values[name] = ord(name)
        await site.ask(cache, name)
    site.server.pause()
    asking = [site.ask(cache, name) for name in "abcdefabcdef"]
    assert await asyncio.gather(*asking) == [ord(name) for name in "abcdefabcdef"]
    assert cache.status().failures > 0
    assert cache.status().last_error == "TimeoutError"
    site.server.go_on()
    dice = random.Random(1)
    for name in dice.choices("abcdef", k=200):
        assert await site.ask(cache, name) == ord(name)
    async with asyncio.timeout(PATIENCE):
        await site.shared_again(cache)


async def test_write_while_the_server_is_paused_holds_when_it_goes_on(site):
    cache = await site.cache()
    await site.shared_again(cache)
    site.server.pause()
    for number in range(1, 6):
        site.write(cache)
        assert await site.ask(cache) == number
    site.server.go_on()
    for _ in range(50):
        assert await site.ask(cache) == 5
    async with asyncio.timeout(PATIENCE):
        await site.shared_again(cache)


async def test_hundred_who_ask_at_once_are_one_question_to_the_storage(site):
    cache = await site.cache(memory_seconds=600.0)
    answers = await asyncio.gather(*(site.ask(cache) for _ in range(100)))
    assert answers == [0] * 100
    assert site.asked == 1


@pytest.mark.parametrize("seed", range(2))
async def test_server_that_comes_and_goes_at_random_changes_no_answer(site, seed):
    dice = random.Random(seed)
    cache, state = await site.cache(), "up"
    for _ in range(25):
        if state == "up":
            state = dice.choice(["up", "paused", "dead"])
            {"up": lambda: None, "paused": site.server.pause, "dead": site.server.kill}[state]()
        else:
            {"paused": site.server.go_on, "dead": site.server.start}[state]()
            state = "up"
        for _ in range(dice.randrange(1, 8)):
            name = dice.choice("ab")
            if dice.random() < 0.4:
                site.write(cache, name)
            assert await site.ask(cache, name) == site.values.get(name, 0)
    if state != "up":
        {"paused": site.server.go_on, "dead": site.server.start}[state]()
    async with asyncio.timeout(PATIENCE):
        await site.shared_again(cache)
