"""Notices that wait: many become one, old ones are left out, a killed process loses none, the day is told once."""

from __future__ import annotations

import asyncio
import random
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError, RetryLaterError
from slt.notices import daily_notice, digest_notice, next_summary
from slt.notify import Deliveries, NoticesConfig, Outbox
from slt.testing.notifiers import make_notice

HOUR = 3600.0


class Wall:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


class Channel:
    """Takes notices, unless it is away."""

    def __init__(self, *, is_away=False, error=None):
        self.is_away = is_away
        self.error = error or ConnectionError("away")
        self.got = []
        self.tries = 0

    async def slt_open_notifier(self):
        pass

    async def slt_close_notifier(self):
        pass

    async def slt_send_notice(self, notice):
        self.tries += 1
        if self.is_away:
            raise self.error
        self.got.append(notice)


def notices(*kinds, first=0):
    return [
        make_notice(id=f"demo-001-{first + n:03d}-{kind}", kind=kind, time=(first + n) * 60_000)
        for n, kind in enumerate(kinds)
    ]


class Life:
    """One process's outbox over a file; `kill` ends it without a word."""

    def __init__(self, path, channels, config, wall):
        self.deliveries = Deliveries(path, 1000, channels)
        self.channels = channels
        self.outbox = Outbox(
            channels,
            config,
            is_backtest=False,
            rng=random.Random(1),
            delivered=self.deliveries.open(),
            on_delivered=self.deliveries.add,
            on_queued=self.deliveries.queue,
            sleep=lambda _: asyncio.sleep(0),
            wall=wall,
        )
        for one in self.deliveries.waiting:
            self.outbox.put_back(*one)
        self.task = asyncio.ensure_future(self.outbox.run())

    async def kill(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.deliveries.close()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)

    async def drain(self):
        left = await self.outbox.drain(10)
        self.deliveries.close()
        return left

    def status(self, name="one"):
        return next(status for status in self.outbox.status() if status.name == name)


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def live(tmp_path, wall):
    def live(channels, **options):
        quick = {"rate_limit_seconds": 0.0, "max_attempts": 1000} | options
        return Life(tmp_path / "delivered.jsonl", channels, NoticesConfig(**quick), wall)

    return live


async def test_many_waiting_become_one_message_and_each_counts_as_delivered(live):
    channel = Channel(is_away=True)
    life = live({"one": channel})
    told = notices(*["open", "close"] * 15, "alert")
    life.outbox.put(told[0])
    await life.settle()
    for notice in told[1:]:
        life.outbox.put(notice)
    channel.is_away = False
    assert await life.drain() == 0
    assert channel.got[0] == told[0]
    assert len(channel.got) == 2
    assert channel.got[1].title == "30 notices that had to wait: 14 open, 15 close, 1 alert"
    assert channel.got[1].kind == "alert"
    assert (life.status().delivered, life.status().digests) == (31, 1)
    assert set(life.outbox.delivered()["one"]) == {notice.id for notice in told}


async def test_twenty_waiting_are_told_one_by_one(live):
    channel = Channel()
    life = live({"one": channel})
    told = notices(*["open"] * 20)
    for notice in told:
        life.outbox.put(notice)
    await life.drain()
    assert channel.got == told


async def test_digests_leave_out_no_title_of_an_alert_or_a_summary(live):
    channel = Channel()
    life = live({"one": channel})
    told = notices(*["alert", "open", "daily", "close", "open"] * 50)
    for number, notice in enumerate(told):
        life.outbox.put(evolve(notice, title=f"title {number}"))
    assert await life.drain() == 0
    shown = {text for message in channel.got for text in (message.title, *(value for _, value in message.fields))}
    weighty = {f"title {number}" for number, notice in enumerate(told) if notice.kind in ("alert", "daily")}
    assert weighty <= shown
    assert len(channel.got) <= 6
    assert life.status().delivered == 250
    assert list(life.outbox.delivered()["one"]) == [notice.id for notice in told]


async def test_digest_refused_or_cut_off_is_tried_again_as_it_is(live):
    channel = Channel(is_away=True)
    life = live({"one": channel}, digest_above=2)
    for notice in notices("open", "close", "open"):
        life.outbox.put(notice)
    await life.settle()
    life.outbox.put(notices("alert", first=9)[0])
    assert len(life.outbox.undelivered()) == 4
    channel.is_away = False
    await life.drain()
    assert [notice.id for notice in channel.got] == ["demo-001-000-open-digest-3", "demo-001-009-alert"]
    assert channel.tries > 2


async def test_old_openings_are_left_out_and_counted_but_no_alert_or_summary(live, wall):
    channel = Channel(is_away=True)
    life = live({"one": channel}, expire_hours=24.0)
    told = notices("daily", "open", "close", "alert", "daily")
    for notice in told:
        life.outbox.put(notice)
    await life.settle()
    wall.now += 25 * HOUR
    channel.is_away = False
    fresh = notices("open", first=50)
    life.outbox.put(fresh[0])
    await life.drain()
    assert channel.got == [told[0], told[3], told[4], fresh[0]]
    assert (life.status().expired, life.status().dropped) == (2, 0)


async def test_old_openings_behind_an_alert_are_left_out_of_a_digest(live, wall):
    channel = Channel()
    told = notices("alert", *["open"] * 30)
    life = live({"one": channel}, expire_hours=24.0)
    for notice in told:
        life.outbox.put(notice)
    wall.now += 25 * HOUR
    await life.drain()
    assert channel.got == told[:1]
    assert (life.status().expired, life.status().digests) == (30, 0)


@pytest.mark.parametrize("error", [ConnectionError("away"), RetryLaterError(1.0)])
async def test_opening_that_grew_old_while_its_channel_was_tried_is_left_out(live, wall, error):
    channel = Channel(is_away=True, error=error)
    life = live({"one": channel}, expire_hours=24.0)
    told = notices("open", "alert")
    for notice in told:
        life.outbox.put(notice)
    await life.settle()
    wall.now += 25 * HOUR
    await life.settle()
    assert life.status().expired == 1
    channel.is_away = False
    await life.drain()
    assert channel.got == told[1:]
    again = live({"one": channel})
    assert again.deliveries.waiting == []
    await again.kill()


async def test_clock_set_back_leaves_no_notice_out_and_doubles_none(live, wall):
    channel = Channel(is_away=True)
    told = notices("open", "close", "alert", "daily")
    first = live({"one": channel})
    for notice in told[:2]:
        first.outbox.put(notice)
    await first.settle()
    wall.now -= 30 * 24 * HOUR
    for notice in told[2:]:
        first.outbox.put(notice)
    await first.kill()
    channel.is_away = False
    second = live({"one": channel})
    await second.settle()
    wall.now += 30 * 24 * HOUR
    for notice in told:  # a resumed run tells again what it tells
        second.outbox.put(notice)
    await second.drain()
    assert channel.got == told
    assert (second.status().expired, second.status().dropped) == (0, 0)


async def test_expiry_can_be_switched_off(live, wall):
    channel = Channel(is_away=True)
    life = live({"one": channel}, expire_hours=0.0)
    told = notices("open", "open")
    for notice in told:
        life.outbox.put(notice)
    wall.now += 10_000 * HOUR
    channel.is_away = False
    await life.drain()
    assert channel.got == told


async def test_killed_process_loses_no_notice_and_tells_none_twice(live, wall):
    quick, slow = Channel(), Channel(is_away=True)
    told = notices("open", "close", "alert")
    first = live({"quick": quick, "slow": slow})
    for notice in told:
        first.outbox.put(notice)
    await first.settle()
    await first.kill()
    slow.is_away = False
    second = live({"quick": quick, "slow": slow})
    for notice in told:  # a resumed run tells again what it tells
        second.outbox.put(notice)
    await second.drain()
    assert quick.got == slow.got == told


async def test_what_grew_old_while_nothing_ran_is_left_out_at_the_next_start(live, wall):
    away = Channel(is_away=True)
    first = live({"one": away})
    told = notices("open", "alert")
    for notice in told:
        first.outbox.put(notice)
    await first.settle()
    await first.kill()
    wall.now += 48 * HOUR
    away.is_away = False
    second = live({"one": away})
    await second.drain()
    assert away.got == [told[1]]


async def test_given_up_notices_do_not_come_back_with_a_restart(live):
    broken = Channel(is_away=True, error=RuntimeError("broken"))
    first = live({"one": broken}, max_attempts=1)
    first.outbox.put(notices("alert")[0])
    await first.settle()
    await first.kill()
    assert first.status().dropped == 1
    second = live({"one": broken})
    assert second.deliveries.waiting == []
    await second.kill()


async def test_revoked_channel_is_said_once_and_its_notices_wait_for_the_next_life(live, caplog):
    channel, other = Channel(is_away=True, error=ConfigError("the token was revoked")), Channel()
    first = live({"one": channel, "other": other})
    told = notices("open", "close", "alert")
    for notice in told:
        first.outbox.put(notice)
    await first.settle()
    await first.drain()
    assert (channel.tries, first.status().off) == (1, "the token was revoked")
    assert caplog.text.count("notifier switched off") == 1
    assert other.got == told
    channel.is_away = False
    second = live({"one": channel, "other": other})
    await second.drain()
    assert channel.got == other.got == told


def test_torn_and_foreign_lines_are_passed_over(tmp_path):
    path = tmp_path / "delivered.jsonl"
    first = Deliveries(path, 10, ["one"])
    first.open()
    told = notices("open", "alert")
    for notice in told:
        first.queue(notice, 5.0)
    first.add("one", told[0])
    first.close()
    with path.open("ab") as file:
        file.write(b'[1, 2, 3]\n{"queued": 1}\nnull\n{"queued": 7.0, "notice": ["Notice", "x"')
    again = Deliveries(path, 10, ["one"])
    assert again.open() == {"one": [told[0].id]}
    assert again.waiting == [(told[1], 5.0)]
    again.close()


def test_digest_shows_alerts_before_anything_else_and_counts_the_rest():
    many = [*notices("alert", "alert"), *notices(*["open"] * 40, first=2)]
    digest = digest_notice(many)
    titles = [text for _, text in digest.fields]
    assert len(titles) == 21
    assert digest.fields[-1] == ("…", "22 more")
    assert titles[:2] == [many[0].title, many[1].title]
    assert digest.title == "42 notices that had to wait: 40 open, 2 alert"


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Nuuk",
    "America/Havana",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)


def ms(*when, zone):
    return round(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("after", "clock", "zone", "due"),
    [
        ((2024, 5, 1, 0, 0), "00:00", "UTC", (2024, 5, 2, 0, 0)),
        ((2024, 5, 1, 17, 59), "18:00", "Europe/Berlin", (2024, 5, 1, 18, 0)),
        ((2024, 5, 1, 18, 0), "18:00", "Europe/Berlin", (2024, 5, 2, 18, 0)),
        ((2024, 3, 30, 18, 0), "18:00", "Europe/Berlin", (2024, 3, 31, 18, 0)),  # a day of 23 hours
        ((2024, 10, 26, 18, 0), "18:00", "Europe/Berlin", (2024, 10, 27, 18, 0)),  # a day of 25 hours
        ((2024, 5, 1, 23, 0), "09:30", "Asia/Kolkata", (2024, 5, 2, 9, 30)),
        ((2024, 3, 30, 2, 30), "02:30", "Europe/Berlin", (2024, 3, 31, 3, 30)),  # 02:00 to 03:00 was left out
        ((2024, 10, 27, 1, 0), "02:30", "Europe/Berlin", (2024, 10, 27, 2, 30)),  # twice that night: the first
        ((2024, 3, 30, 12, 0), "23:30", "America/Nuuk", (2024, 3, 31, 0, 0)),  # the last hour of the day was left out
    ],
)
def test_next_summary_is_the_next_local_time(after, clock, zone, due):
    assert next_summary(ms(*after, zone=zone), clock, zone) == ms(*due, zone=zone)


@given(
    st.integers(1_600_000_000, 1_900_000_000),
    st.sampled_from(["00:00", "00:30", "02:30", "18:00", "23:30", "23:59"]),
    st.sampled_from(ZONES),
)
def test_summaries_come_once_for_each_local_day_whenever_a_run_begins_anew(start, clock, zone):
    time, dates = start * 1000, []
    for _ in range(400):
        later = next_summary(time, clock, zone)
        assert 0 < later - time <= 26 * 3_600_000
        assert next_summary(later - 1, clock, zone) == next_summary((time + later) // 2, clock, zone) == later
        notice = daily_notice((), run_id="r", day_end=later, zone=zone)
        assert notice.id == f"r-daily-{dict(notice.fields)['Date']}-{later}"
        dates.append(date.fromisoformat(dict(notice.fields)["Date"]))
        time = later
    assert dates == [dates[0] + timedelta(days=n) for n in range(len(dates))]


@pytest.mark.parametrize("options", [{"summary_time": "24:00"}, {"summary_time": "7"}, {"time_zone": "Mars/Base"}])
def test_summary_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        NoticesConfig(**options)
