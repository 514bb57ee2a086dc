from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError, PluginError, RetryLaterError
from slt.lifecycle import Loops
from slt.notify import NoticesConfig, Outbox
from slt.testing.notifiers import make_notice


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Channel:
    """A notifier that answers by a script: an exception is raised, a function awaited, None confirms."""

    def __init__(self, *script, clock=None, always=None):
        self.script = list(script)
        self.always = always
        self.clock = clock
        self.got = []
        self.times = []
        self.opened = self.closed = 0

    async def slt_open_notifier(self):
        self.opened += 1

    async def slt_close_notifier(self):
        self.closed += 1

    async def slt_send_notice(self, notice):
        if self.clock is not None:
            self.times.append(self.clock())
        step = self.script.pop(0) if self.script else self.always
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await step()
        self.got.append(notice.id)


@pytest.fixture
def clock():
    return Clock()


@asynccontextmanager
async def running(channels, clock, *, patience=5.0, config=None, is_backtest=False, **more):
    if not isinstance(channels, dict):
        channels = {"one": channels}
    outbox = Outbox(
        channels,
        config or NoticesConfig(),
        is_backtest=is_backtest,
        rng=random.Random(1),
        clock=clock,
        sleep=clock.sleep,
        **more,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(outbox.run())
        yield outbox
        outbox.left = await outbox.drain(patience)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - the notifier under test has no event to wait for
        await asyncio.sleep(0)


def ids(*numbers):
    return [make_notice(n).id for n in numbers]


async def test_outbox_delivers_in_order_to_every_channel(clock):
    channels = {"a": Channel(), "b": Channel()}
    async with running(channels, clock) as outbox:
        for n in range(5):
            outbox.put(make_notice(n))
    assert channels["a"].got == channels["b"].got == ids(*range(5))
    assert outbox.left == 0
    assert [(s.name, s.delivered, s.waiting) for s in outbox.status()] == [("a", 5, 0), ("b", 5, 0)]


async def test_outbox_put_does_nothing_before_the_loop_runs(clock):
    channel = Channel()
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
        assert channel.got == []
        assert [n.id for n in outbox.undelivered()] == ids(1)


async def test_outbox_keeps_the_distance_of_a_channel(clock):
    channel = Channel(clock=clock)
    async with running(channel, clock) as outbox:
        for n in range(4):
            outbox.put(make_notice(n))
    assert channel.times == [1000.0, 1001.0, 1002.0, 1003.0]


async def test_outbox_does_not_wait_where_the_distance_has_passed(clock):
    channel = Channel(clock=clock)
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
        await until(lambda: channel.got)
        clock.now += 60.0
        outbox.put(make_notice(2))
    assert channel.times == [1000.0, 1060.0]
    assert clock.slept == []


async def test_outbox_retries_first_in_line_with_growing_waits(clock):
    channel = Channel(OSError("away"), OSError("away"), OSError("away"), clock=clock)
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
        outbox.put(make_notice(2))
    assert channel.got == ids(1, 2)
    waits = [round(b - a, 6) for a, b in zip(channel.times[:4], channel.times[1:4], strict=False)]
    for wait, whole in zip(waits, (2.0, 4.0, 8.0), strict=True):
        assert whole / 2 <= wait <= whole
    assert len(set(waits)) == 3
    (status,) = outbox.status()
    assert (status.failed, status.delivered, status.uncertain) == (3, 2, 0)


async def test_outbox_waits_never_exceed_the_ceiling(clock):
    config = NoticesConfig(max_attempts=40, retry_max_seconds=30.0, rate_limit_seconds=0.0)
    async with running(Channel(*[OSError()] * 39), clock, config=config) as outbox:
        outbox.put(make_notice(1))
    assert len(clock.slept) == 39
    assert max(clock.slept) <= 30.0
    assert min(clock.slept[-10:]) >= 15.0


async def test_outbox_drops_after_the_last_attempt_and_goes_on(clock, caplog):
    channel = Channel(*[RuntimeError("broken")] * 3)
    async with running(channel, clock, config=NoticesConfig(max_attempts=3)) as outbox:
        outbox.put(make_notice(1))
        outbox.put(make_notice(2))
    assert channel.got == ids(2)
    assert outbox.status()[0].dropped == 1
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == ["notice dropped"]


@pytest.mark.parametrize("error", [ConnectionError("away"), TimeoutError("no answer"), OSError("no route")])
async def test_outbox_drops_nothing_while_a_channel_is_out_of_reach_for_hours(clock, error):
    channel = Channel(*[error] * 200, clock=clock)
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1, kind="alert"))
        outbox.put(make_notice(2, kind="alert"))
    assert channel.times[-1] - channel.times[0] > 6 * 3600.0
    assert channel.got == ids(1, 2)
    assert (outbox.status()[0].failed, outbox.status()[0].dropped) == (200, 0)


async def test_outbox_gives_up_one_message_that_a_server_fails_at_for_a_day(clock):
    class Stumbling(Channel):
        async def slt_send_notice(self, notice):
            if notice.id == ids(1)[0]:
                raise ConnectionError("HTTP 500")
            await super().slt_send_notice(notice)

    channel = Stumbling(clock=clock)
    async with running(channel, clock, config=NoticesConfig(expire_hours=2.0)) as outbox:
        outbox.put(make_notice(1, kind="alert"))
        outbox.put(make_notice(2, kind="alert"))
    assert channel.got == ids(2)
    assert 2 * 3600.0 <= channel.times[0] - 1000.0 < 3 * 3600.0
    assert outbox.status()[0].dropped == 1


async def test_outbox_asks_again_the_next_day_where_a_channel_asks_for_a_year(clock):
    channel = Channel(RetryLaterError(365 * 86_400.0), clock=clock)
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1, kind="alert"))
    assert channel.got == ids(1)
    assert channel.times == [1000.0, 1000.0 + 86_400.0]


async def test_outbox_tells_how_long_a_channel_still_waits_and_0_once_it_should_have_gone_on(clock):
    seen, late = [], []
    loops = Loops(clock)

    async def sleep(seconds):
        for _ in range(5):
            seen.append(outbox.status()[0].due_seconds)
            late.append(bool(loops.late()))
            clock.now += seconds / 2
        await asyncio.sleep(0)

    outbox = Outbox(
        {"one": Channel(RetryLaterError(3600.0))},
        NoticesConfig(),
        is_backtest=False,
        rng=random.Random(1),
        clock=clock,
        sleep=sleep,
    )
    loops.watch("outbox", deadline_seconds=400.0, progress=outbox.status, is_idle=lambda: False)
    assert outbox.status()[0].due_seconds == 0.0
    outbox.put(make_notice(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(outbox.run())
        await outbox.drain(5.0)
    assert seen[:5] == [3600.0, 1800.0, 0.0, 0.0, 0.0]
    assert late[:5] == [False, False, False, True, True]  # the run is not stuck while a channel is left alone
    assert outbox.status()[0].due_seconds == 0.0


async def test_outbox_honours_the_wait_a_channel_asks_for_and_counts_no_failure(clock):
    channel = Channel(*[RetryLaterError(90.0)] * 20, clock=clock)
    async with running(channel, clock, config=NoticesConfig(max_attempts=2)) as outbox:
        outbox.put(make_notice(1))
    assert channel.got == ids(1)
    assert channel.times[:3] == [1000.0, 1090.0, 1180.0]
    (status,) = outbox.status()
    assert (status.busy, status.failed, status.dropped) == (20, 0, 0)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -5.0])
async def test_outbox_survives_a_senseless_wait(clock, seconds):
    channel = Channel(RetryLaterError(seconds))
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
    assert channel.got == ids(1)
    assert all(0.0 <= wait <= 2.0 for wait in clock.slept)


async def test_outbox_switches_a_refused_channel_off_and_says_it_once(clock, caplog):
    bad, good = Channel(always=ConfigError("notifiers.bad.token_env: wrong")), Channel()
    async with running({"bad": bad, "good": good}, clock) as outbox:
        for n in range(4):
            outbox.put(make_notice(n))
        await until(lambda: len(good.got) == 4)
        outbox.put(make_notice(4))
    assert good.got == ids(*range(5))
    off, on = outbox.status()
    assert (off.off, off.delivered, off.dropped, off.waiting) == ("notifiers.bad.token_env: wrong", 0, 5, 0)
    assert on.off is None
    said = [r for r in caplog.records if r.getMessage() == "notifier switched off"]
    assert len(said) == 1
    assert said[0].slt_fields["safety"] is True


async def test_outbox_does_not_retry_a_refused_message(clock):
    channel = Channel(PluginError("refused"))
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
        outbox.put(make_notice(2))
    assert channel.got == ids(2)
    (status,) = outbox.status()
    assert (status.failed, status.dropped, status.off) == (1, 1, None)


async def test_outbox_leaves_out_what_waits_or_was_delivered(clock):
    channel = Channel()
    async with running(channel, clock, delivered={"one": ids(7)}) as outbox:
        for n in (7, 1, 1, 2):
            outbox.put(make_notice(n))
        await until(lambda: len(channel.got) == 2)
        outbox.put(make_notice(1))
    assert channel.got == ids(1, 2)
    assert outbox.status()[0].duplicates == 3
    assert outbox.delivered() == {"one": tuple(ids(7, 1, 2))}


async def test_outbox_remembers_as_many_as_told(clock):
    async with running(Channel(), clock, config=NoticesConfig(remember=3)) as outbox:
        for n in range(6):
            outbox.put(make_notice(n))
    assert outbox.delivered() == {"one": tuple(ids(3, 4, 5))}


async def test_outbox_full_queue_drops_the_oldest_that_is_no_alert(clock):
    channel = Channel()
    async with running(channel, clock, config=NoticesConfig(queue_limit=3)) as outbox:
        outbox.put(make_notice(0, kind="alert"))
        for n in range(1, 5):
            outbox.put(make_notice(n))
    assert channel.got == ids(0, 3, 4)
    assert outbox.status()[0].dropped == 2


async def test_outbox_queue_full_of_alerts_drops_the_oldest_and_takes_a_dropped_id_again(clock):
    channel = Channel()
    async with running(channel, clock, config=NoticesConfig(queue_limit=3)) as outbox:
        outbox.put(make_notice(1))
        for n in range(5, 9):
            outbox.put(make_notice(n, kind="alert"))
        outbox.put(make_notice(1))
    assert channel.got == ids(7, 8, 1)
    assert outbox.status()[0].dropped == 3


async def test_outbox_jitter_comes_from_the_generator_given():
    def waits(seed):
        outbox = Outbox({}, NoticesConfig(), is_backtest=False, rng=random.Random(seed))
        return [outbox._backoff(attempt) for attempt in range(1, 20)]

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)
    assert all(wait <= 300.0 for wait in waits(3))


async def test_outbox_kinds_are_filtered_by_mode(clock):
    config = NoticesConfig(kinds=("open", "alert"), in_backtest=("alert",))
    for is_backtest, expected in ((False, ids(1, 3)), (True, ids(3))):
        channel = Channel()
        async with running(channel, clock, config=config, is_backtest=is_backtest) as outbox:
            for n, kind in enumerate(("open", "close", "alert"), 1):
                outbox.put(make_notice(n, kind=kind))
        assert channel.got == expected


async def test_outbox_backtest_sends_nothing_by_default(clock):
    channel = Channel()
    async with running(channel, clock, is_backtest=True) as outbox:
        for kind in ("open", "close", "daily", "alert"):
            outbox.put(make_notice(kind=kind))
    assert channel.got == []


async def test_outbox_hanging_channel_touches_no_other_and_is_tried_again(clock):
    hanging, other = Channel(asyncio.Event().wait), Channel()
    config = NoticesConfig(send_timeout_seconds=0.05)
    async with running({"hanging": hanging, "other": other}, clock, config=config) as outbox:
        for n in range(3):
            outbox.put(make_notice(n))
        await until(lambda: len(other.got) == 3)
        assert hanging.got == []
    assert hanging.got == ids(0, 1, 2)
    assert outbox.status()[0].uncertain == 1


async def test_outbox_leaves_a_channel_behind_that_cannot_be_cancelled(clock):
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    bad, good = Channel(stubborn), Channel()
    config = NoticesConfig(send_timeout_seconds=0.01)
    async with running({"bad": bad, "good": good}, clock, config=config) as outbox:
        outbox.put(make_notice(1))
    assert good.got == ids(1)
    assert "cannot be cancelled" in outbox.status()[0].off
    release.set()
    await asyncio.sleep(0.01)


async def test_outbox_notifier_that_cancels_itself_counts_as_failed(clock):
    channel = Channel(asyncio.CancelledError())
    async with running(channel, clock) as outbox:
        outbox.put(make_notice(1))
    assert channel.got == ids(1)
    assert outbox.status()[0].failed == 1


async def test_outbox_drain_in_time_leaves_the_rest_for_the_next_life(clock):
    hanging = Channel(None, always=asyncio.Event().wait)
    stored = []
    async with running(
        hanging, clock, patience=0.05, on_delivered=lambda name, notice: stored.append((name, notice.id))
    ) as outbox:
        for n in range(4):
            outbox.put(make_notice(n))
    assert outbox.left == 3
    assert stored == [("one", ids(0)[0])]
    rest = outbox.undelivered()
    assert [n.id for n in rest] == ids(1, 2, 3)
    assert outbox.status()[0].uncertain == 1
    again = Channel()
    async with running(again, clock, delivered=outbox.delivered()) as second:
        for notice in (make_notice(0), *rest):
            second.put(notice)
    assert again.got == ids(1, 2, 3)


async def test_outbox_put_after_drain_is_dropped_and_counted(clock):
    async with running(Channel(), clock) as outbox:
        pass
    outbox.put(make_notice(1))
    assert outbox.status()[0].dropped == 1


async def test_outbox_drain_without_channels_or_before_run_returns(clock):
    async with running({}, clock) as outbox:
        outbox.put(make_notice(1))
    assert outbox.left == 0
    idle = Outbox({"one": Channel()}, NoticesConfig(), is_backtest=False, rng=random.Random(1))
    idle.put(make_notice(1))
    assert await idle.drain(0.1) == 1


async def test_outbox_failing_bookkeeping_does_not_send_twice(clock, caplog):
    def refuse(name, notice):
        raise OSError("disk full")

    channel = Channel()
    async with running(channel, clock, on_delivered=refuse) as outbox:
        outbox.put(make_notice(1))
    assert channel.got == ids(1)
    assert "delivery not recorded" in [r.getMessage() for r in caplog.records]


async def test_outbox_cancelled_run_ends_its_channels(clock):
    channel = Channel(always=asyncio.Event().wait)
    outbox = Outbox({"one": channel}, NoticesConfig(), is_backtest=False, rng=random.Random(1))
    task = asyncio.create_task(outbox.run())
    outbox.put(make_notice(1))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await outbox.drain(1.0) == 1


async def test_outbox_open_collects_every_problem_and_closes_again():
    class Missing(Channel):
        def __init__(self, problem):
            super().__init__()
            self.problem = problem

        async def slt_open_notifier(self):
            raise ConfigError(self.problem)

    good = Channel()
    channels = {"a": Missing("a: missing"), "good": good, "b": Missing("b: missing")}
    outbox = Outbox(channels, NoticesConfig(), is_backtest=False, rng=random.Random(1))
    with pytest.raises(ConfigError) as caught:
        await outbox.open()
    assert caught.value.problems == ("a: missing", "b: missing")
    assert good.closed == 1


async def test_outbox_open_of_a_broken_notifier_names_it_and_shows_no_text():
    class Broken(Channel):
        async def slt_open_notifier(self):
            raise RuntimeError("https://secret.example/hook")

    outbox = Outbox({"mine": Broken()}, NoticesConfig(), is_backtest=False, rng=random.Random(1))
    with pytest.raises(PluginError) as caught:
        await outbox.open()
    assert str(caught.value) == "notifiers.mine failed to open: RuntimeError"


async def test_outbox_close_goes_on_past_a_notifier_that_fails(caplog):
    class Broken(Channel):
        async def slt_close_notifier(self):
            raise RuntimeError("no")

    good = Channel()
    outbox = Outbox({"a": Broken(), "b": good}, NoticesConfig(), is_backtest=False, rng=random.Random(1))
    await outbox.open()
    await outbox.close()
    assert good.closed == 1
    assert "notifier failed to close" in [r.getMessage() for r in caplog.records]


steps = st.sampled_from([None, OSError("x"), TimeoutError("x"), RetryLaterError(3.0), PluginError("x")])


@given(
    scripts=st.lists(st.lists(steps, max_size=25), min_size=1, max_size=3),
    puts=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["close", "alert"])), max_size=30),
    seed=st.integers(0, 100),
)
def test_outbox_every_notice_is_delivered_once_in_order_or_counted_as_dropped(scripts, puts, seed):
    async def main():
        clock, channels = Clock(), {str(n): Channel(*script) for n, script in enumerate(scripts)}
        rng = random.Random(seed)
        async with running(channels, clock, config=NoticesConfig(max_attempts=2, queue_limit=6)) as outbox:
            for number, kind in puts:
                outbox.put(make_notice(number, kind=kind))
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
        first = list(dict.fromkeys(ids(*[number for number, _ in puts])))
        for channel, status in zip(channels.values(), outbox.status(), strict=True):
            assert len(channel.got) == len(set(channel.got)) == status.delivered
            assert status.delivered + status.duplicates + status.dropped == len(puts)
            assert status.waiting == 0
            if not status.dropped:
                assert channel.got == first

    asyncio.run(main())
