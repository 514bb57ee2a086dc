"""The cache: tiers, single flight, writes that are told, and a plugin that is away, slow, wrong or lying."""

from __future__ import annotations

import asyncio
import random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.config import CacheConfig
from slt.storage.cache import Cache, Codec
from slt.testing import CacheConformance
from slt.testing.caches import MemoryCache

CODEC = Codec(lambda value: f"{value}".encode(), int)
CONFIG = CacheConfig(failures=3, pause_seconds=1.0, max_pause_seconds=4.0)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Store:
    """A storage of one number, which counts what it is asked."""

    def __init__(self, value=1):
        self.value = value
        self.asked = 0
        self.gate = None
        self.error = None

    async def load(self):
        self.asked += 1
        value = self.value
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return value


class Faulty(MemoryCache):
    """A cache plugin with a switch: ``raise``, ``hang``, ``short`` (too few answers), ``garbage`` or None."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.fault = None
        self.calls = 0
        self.closed = 0

    async def _suffer(self):
        self.calls += 1
        if self.fault == "raise":
            raise ConnectionRefusedError("redis://u:s3cret@cache")
        if self.fault == "hang":
            await asyncio.Event().wait()

    async def slt_get_entries(self, keys):
        await self._suffer()
        if self.fault == "short":
            return []
        if self.fault == "garbage":
            return [b"\xff" * 16] * (len(keys) - 1) + [b"\xff" * 16 + b"no number"]
        return await super().slt_get_entries(keys)

    async def slt_set_entry(self, key, value, ttl_ms):
        await self._suffer()
        await super().slt_set_entry(key, value, ttl_ms)

    async def slt_close_cache(self):
        self.closed += 1
        if self.fault == "raise":
            raise ConnectionRefusedError("redis://u:s3cret@cache")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return Store()


def make(plugin, clock, *, is_writer=True, config=CONFIG, scope="db"):
    return Cache(plugin, config, scope=scope, is_writer=is_writer, clock=clock)


def ask(cache, store, key="q", tags=("t",)):
    return cache.get(key, tags, store.load, CODEC)


async def settled(cache):
    """Wait until the plugin has taken every new stamp."""
    while cache._unmarked:  # noqa: ASYNC110 - what is waited for is private to the cache
        await asyncio.sleep(0.001)


class TestMemoryCache(CacheConformance):
    is_shared = False

    def make_cache(self):
        return MemoryCache()


async def test_second_question_is_answered_from_memory(clock, store):
    cache = make(None, clock)
    assert [await ask(cache, store), await ask(cache, store)] == [1, 1]
    assert store.asked == 1
    status = cache.status()
    assert (status.memory_hits, status.shared_hits, status.misses, status.entries) == (1, 0, 1, 1)
    assert (status.requests, status.hit_rate, status.has_plugin, status.is_paused) == (2, 0.5, False, False)


async def test_memory_of_the_writer_lasts_its_time_and_that_of_a_reader_the_shared_time(clock, store):
    writer, reader = make(None, clock), make(None, clock, is_writer=False)
    for cache in (writer, reader):
        await ask(cache, store)
    clock.now += CONFIG.shared_seconds + 0.1
    store.asked = 0
    await ask(writer, store)
    assert store.asked == 0
    await ask(reader, store)
    assert store.asked == 1
    clock.now += CONFIG.memory_seconds
    await ask(writer, store)
    assert store.asked == 2


async def test_reader_that_follows_the_writer_keeps_its_answer_until_something_is_written(clock, store):
    writer, reader = make(None, clock), make(None, clock, is_writer=False)
    reader.follow(writer.marks(["t"]))
    for _ in range(20):
        clock.now += CONFIG.shared_seconds - 0.1
        reader.follow(writer.marks(["t"]))
        assert await ask(reader, store) == 1
    assert store.asked == 1
    store.value = 2
    writer.tell(["other"])
    reader.follow(writer.marks(["t"]))
    assert await ask(reader, store) == 1, "nobody has told of a write"
    writer.tell(["t"])
    reader.follow(writer.marks(["t"]))
    assert await ask(reader, store) == 2
    assert store.asked == 2


async def test_reader_whose_writer_falls_silent_or_begins_another_life_asks_anew(clock, store):
    writer, reader = make(None, clock), make(None, clock, is_writer=False)
    reader.follow(writer.marks(["t"]))
    await ask(reader, store)
    clock.now += CONFIG.shared_seconds + 0.1
    await ask(reader, store)
    assert store.asked == 2, "its last word is too old"
    await ask(reader, store, tags=("t", "u"), key="both")
    reader.follow(make(None, clock).marks(["t"]))
    await ask(reader, store)
    assert store.asked == 4, "another life of the writer has told of nothing yet"
    clock.now += CONFIG.shared_seconds + 0.1
    reader.follow({})
    await ask(reader, store, tags=("t", "u"), key="both")
    assert store.asked == 5, "nothing is known of the other tag"


async def test_reader_does_not_keep_for_long_what_a_plugin_gave_that_lags_behind_the_writer(clock, store):
    plugin = Faulty(clock)
    writer, reader = make(plugin, clock), make(plugin, clock, is_writer=False)
    await ask(writer, store)
    store.value, plugin.fault = 2, "raise"
    writer.tell(["t"])
    while not writer.status().failures:  # noqa: ASYNC110 - a count that nobody announces
        await asyncio.sleep(0)
    plugin.fault = None
    reader.follow(writer.marks(["t"]))
    assert await ask(reader, store) == 1, "the plugin has not been told yet"
    clock.now += CONFIG.shared_seconds + 0.1
    reader.follow(writer.marks(["t"]))
    assert await ask(reader, store) == 2
    await writer.close()


async def test_memory_holds_no_more_than_its_entries(clock, store):
    cache = make(None, clock, config=evolve(CONFIG, entries=10))
    for number in range(25):
        await ask(cache, store, f"q{number}")
    assert cache.status().entries == 10
    await ask(cache, store, "q24")
    assert store.asked == 25


@pytest.mark.parametrize("with_plugin", [False, True])
async def test_equal_questions_at_once_are_one_question_to_the_storage(clock, store, with_plugin):
    store.gate = asyncio.Event()
    cache = make(MemoryCache(clock=clock) if with_plugin else None, clock)
    asking = [asyncio.ensure_future(ask(cache, store)) for _ in range(100)]
    other = asyncio.ensure_future(ask(cache, store, "another"))
    await asyncio.sleep(0.01)
    asking[0].cancel()
    store.gate.set()
    answers = await asyncio.gather(*asking, other, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [1] * 100
    assert store.asked == 2


async def test_error_of_the_storage_reaches_all_who_ask_and_is_not_kept(clock, store):
    store.error = OSError("away")
    cache = make(None, clock)
    answers = await asyncio.gather(*(ask(cache, store) for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 5
    assert store.asked == 1
    store.error = None
    assert await ask(cache, store) == 1


async def test_failed_question_that_nobody_waits_for_any_more_is_quiet(clock, store, caplog):
    store.error, store.gate = OSError("away"), asyncio.Event()
    task = asyncio.ensure_future(ask(make(None, clock), store))
    await asyncio.sleep(0)
    task.cancel()
    store.gate.set()
    await asyncio.sleep(0.01)
    assert caplog.records == []


@pytest.mark.parametrize("with_plugin", [False, True])
async def test_told_write_ends_what_depends_on_it_and_nothing_else(clock, with_plugin):
    cache = make(MemoryCache(clock=clock) if with_plugin else None, clock)
    trades, models = Store(), Store()
    for _ in range(2):
        await ask(cache, trades, "trades", ("trades",))
        await ask(cache, models, "models", ("models",))
    trades.value = models.value = 2
    cache.tell(["trades"])
    assert await ask(cache, trades, "trades", ("trades",)) == 2
    assert await ask(cache, models, "models", ("models",)) == 1
    assert (trades.asked, models.asked) == (2, 1)


@pytest.mark.parametrize("with_plugin", [False, True])
async def test_answer_loaded_before_a_write_is_not_given_to_who_asks_after_it(clock, store, with_plugin):
    cache = make(MemoryCache(clock=clock) if with_plugin else None, clock)
    store.gate = asyncio.Event()
    early = asyncio.ensure_future(ask(cache, store))
    await asyncio.sleep(0.01)
    store.value = 2
    cache.tell(["t"])
    late = asyncio.ensure_future(ask(cache, store))
    await asyncio.sleep(0.01)
    store.gate.set()
    assert (await early, await late) == (1, 2)
    assert await ask(cache, store) == 2
    await settled(cache)
    assert await ask(make(cache._shared and cache._shared._plugin, clock), store) == 2


async def test_other_process_is_answered_by_the_plugin(clock, store):
    plugin = MemoryCache(clock=clock)
    run, status = make(plugin, clock), make(plugin, clock, is_writer=False)
    await ask(run, store)
    assert await ask(status, store) == 1
    assert store.asked == 1
    assert status.status().shared_hits == 1


async def test_writer_that_goes_on_asking_keeps_its_answer_in_the_plugin(clock, store):
    plugin = MemoryCache(clock=clock)
    run = make(plugin, clock)
    for _ in range(20):
        await ask(run, store)
        await asyncio.sleep(0.001)
        clock.now += 0.6 * CONFIG.shared_seconds
        assert await ask(make(plugin, clock, is_writer=False), store) == 1
    assert store.asked == 1


async def test_writer_drops_what_another_process_has_written_meanwhile(clock, store):
    plugin = MemoryCache(clock=clock)
    run, other = make(plugin, clock), make(plugin, clock)
    await ask(run, store)
    store.value = 2
    other.tell(["t"])
    await settled(other)
    clock.now += 0.6 * CONFIG.shared_seconds
    assert await ask(run, store) == 1
    await asyncio.sleep(0.001)
    assert [await ask(run, store), await ask(other, store)] == [2, 2]


async def test_answer_learnt_while_the_plugin_was_away_is_shared_later_only_if_asked_anew(clock, store):
    plugin = Faulty(clock)
    run = make(plugin, clock)
    plugin.fault = "raise"
    await ask(run, store)
    plugin.fault = None
    clock.now += 0.6 * CONFIG.shared_seconds
    for _ in range(3):
        assert await ask(run, store) == 1
        await asyncio.sleep(0.001)
    assert store.asked == 2
    assert await ask(make(plugin, clock), store) == 1
    assert store.asked == 2


async def test_other_process_sees_a_write_once_the_plugin_has_been_told(clock, store):
    plugin = MemoryCache(clock=clock)
    run, status = make(plugin, clock), make(plugin, clock, is_writer=False)
    await ask(run, store)
    store.value = 2
    run.tell(["t"])
    await settled(run)
    assert await ask(status, store) == 2


async def test_answer_in_the_plugin_ends_with_its_time(clock, store):
    plugin = MemoryCache(clock=clock)
    await ask(make(plugin, clock), store)
    clock.now += CONFIG.shared_seconds + 0.01
    await ask(make(plugin, clock), store)
    assert store.asked == 2


async def test_caches_of_two_storages_do_not_meet_in_the_plugin(clock):
    plugin, one, other = MemoryCache(clock=clock), Store(1), Store(2)
    assert await ask(make(plugin, clock, scope="one"), one) == 1
    assert await ask(make(plugin, clock, scope="other"), other) == 2


async def test_keys_are_plain_and_short_whatever_the_question(clock, store):
    plugin = MemoryCache(clock=clock)
    await ask(make(plugin, clock), store, "q\r\n\N{SNOWMAN}" * 500, ("t \N{SNOWMAN}",))
    assert len(plugin._entries) == 2
    assert all(key.isascii() and key.isprintable() and len(key) < 200 for key in plugin._entries)


async def test_value_too_large_stays_out_of_the_plugin(clock, store):
    plugin = MemoryCache(clock=clock)
    codec = Codec(lambda value: b"7" * (1 << 20), lambda packed: 7)
    cache = make(plugin, clock, config=evolve(CONFIG, max_kib=1024))
    await cache.get("q", ("t",), store.load, codec)
    await cache.get("small", ("t",), store.load, evolve(codec, encode=lambda value: b"7"))
    await cache.get("refused", ("t",), store.load, evolve(codec, encode=lambda value: None))
    values = [value for _, value in plugin._entries.values() if value[16:]]
    assert values == [plugin._entries[cache._stamp_key("t")][1] + b"7"] or len(values) == 2
    assert await cache.get("refused", ("t",), store.load, codec) == 1


@pytest.mark.parametrize("fault", ["raise", "hang", "short", "garbage"])
async def test_answers_are_right_whatever_the_plugin_does(clock, store, fault):
    plugin = Faulty(clock)
    cache = make(plugin, clock, config=evolve(CONFIG, budget_ms=5.0, memory_seconds=0.001))
    plugin.fault = fault
    for value in (1, 2, 3, 4, 5):
        store.value = value
        cache.tell(["t"])
        assert await ask(cache, store) == value
        clock.now += 0.3
    assert store.asked == 5
    await cache.close()


@pytest.mark.parametrize("fault", ["raise", "hang"])
async def test_plugin_that_fails_is_left_alone_for_a_growing_while_then_tried_once(clock, store, fault):
    plugin = Faulty(clock)
    cache = make(plugin, clock, config=evolve(CONFIG, budget_ms=5.0))
    plugin.fault = fault

    async def calls(count=6):
        plugin.calls = 0
        await asyncio.gather(*(ask(cache, store, f"q{random.random()}") for _ in range(count)))
        return plugin.calls

    for _ in range(3):
        await ask(cache, store, f"q{random.random()}")
    assert cache.status().is_paused
    assert await calls() == 0
    waits = []
    for _ in range(4):
        waits.append(cache._shared.pause_left)
        clock.now += waits[-1]
        assert await calls() == 1
    assert waits == [1.0, 2.0, 4.0, 4.0]
    plugin.fault = None
    clock.now += 4.0
    assert await calls(1) > 0
    assert not cache.status().is_paused
    assert cache.status().last_error in {"ConnectionRefusedError", "TimeoutError"}


async def test_many_questions_under_way_as_the_plugin_fails_are_one_failure_to_the_breaker(clock, store):
    plugin = Faulty(clock)
    cache = make(plugin, clock, config=evolve(CONFIG, budget_ms=5.0))
    plugin.fault = "hang"
    await asyncio.gather(*(ask(cache, store, f"q{number}") for number in range(20)))
    assert plugin.calls == 20
    assert cache.status().is_paused
    assert cache._shared.pause_left == CONFIG.pause_seconds


async def test_write_told_while_the_plugin_is_away_is_not_undone_by_what_it_still_holds(clock, store):
    plugin = Faulty(clock)
    cache = make(plugin, clock, config=evolve(CONFIG, memory_seconds=0.001, max_pause_seconds=0.05, pause_seconds=0.05))
    await ask(cache, store)
    plugin.fault = "raise"
    store.value = 2
    cache.tell(["t"])
    await asyncio.sleep(0.02)
    plugin.fault = None  # back, with the old answer, before the new stamp has reached it
    clock.now += 0.01
    assert await ask(cache, store) == 2
    clock.now += 1.0
    await settled(cache)
    assert await ask(make(plugin, clock), store) == 2
    await cache.close()


async def test_close_lets_nothing_wait_and_is_quiet_when_the_plugin_is_not(clock, store, caplog):
    plugin = Faulty(clock)
    cache = make(plugin, clock)
    store.gate = asyncio.Event()
    asking = asyncio.ensure_future(ask(cache, store))
    await asyncio.sleep(0.01)
    plugin.fault = "raise"
    for _ in range(3):
        cache.tell(["t"])
    await cache.close()
    await cache.close()
    assert plugin.closed == 2
    assert asking.done() or (await asyncio.gather(asking, return_exceptions=True))
    assert "s3cret" not in caplog.text
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


class Twin:
    """Two processes, one plugin, one storage, and the law: the writer's process never sees what was before."""

    def __init__(self, faults):
        self.clock, self.faults = Clock(), faults
        self.plugin = Faulty(self.clock)
        config = evolve(CONFIG, budget_ms=2.0, memory_seconds=30.0, shared_seconds=5.0)
        self.run = make(self.plugin, self.clock, config=config)
        self.status = make(self.plugin, self.clock, is_writer=False, config=config)
        self.watcher = make(None, self.clock, is_writer=False, config=config)
        self.store = Store(0)
        self.told = [(0.0, 0)]


steps = st.lists(
    st.one_of(
        st.sampled_from(["ask", "ask two", "write", "status", "watch", "watch status", "fail", "hang", "mend"]),
        st.floats(0.01, 10.0),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_law_nothing_older_than_the_last_told_write_and_for_readers_than_the_shared_time(script):
    async def play():
        twin = Twin(script)
        store, clock = twin.store, twin.clock
        for step in script:
            if isinstance(step, float):
                clock.now += step
            elif step == "write":
                store.value += 1
                twin.told.append((clock.now, store.value))
                twin.run.tell(["t"])
            elif step == "ask":
                assert await ask(twin.run, store) == store.value
            elif step == "ask two":
                assert await asyncio.gather(ask(twin.run, store), ask(twin.run, store)) == [store.value] * 2
            elif step == "watch":
                twin.watcher.follow(twin.run.marks(["t"]))
                assert await ask(twin.watcher, store) == store.value
            elif step in {"status", "watch status"}:
                if step == "watch status":
                    twin.status.follow(twin.run.marks(["t"]))
                seen = await ask(twin.status, store)
                # Twice the time: what the plugin gave may be as old as that, and stays as long in memory.
                oldest = [value for at, value in twin.told if at <= clock.now - 10.0]
                assert max(oldest, default=0) <= seen <= store.value
            else:
                twin.plugin.fault = {"fail": "raise", "hang": "hang", "mend": None}[step]
            await asyncio.sleep(0)
        await asyncio.gather(twin.run.close(), twin.status.close(), twin.watcher.close())

    asyncio.run(play())
