"""The daily summary at a configured local time: once a day, over stops and changes of the option."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from slt.errors import StoppedError
from slt.run.session import Session

OPTIONS = {"summary_time": "18:00", "time_zone": "America/New_York"}


@pytest.fixture
def told(monkeypatch):
    """Every daily summary that a session was given to tell."""
    found = []
    real = Session.tell

    def tell(self, notices):
        notices = list(notices)
        found.extend(notice for notice in notices if notice.kind == "daily")
        real(self, notices)

    monkeypatch.setattr(Session, "tell", tell)
    return found


def local(notice, zone):
    return datetime.fromtimestamp(notice.time / 1000, ZoneInfo(zone))


def test_summary_comes_at_the_local_time_once_a_day_with_the_trades_since_the_last(runner, told):
    outcome = runner.run(runner.settings(days=4, notices=OPTIONS))
    times = [local(notice, "America/New_York") for notice in told]
    assert [(time.hour, time.minute) for time in times] == [(18, 0)] * len(told)
    assert len({time.date() for time in times}) == len(told) == 4
    ends = [f"{time.date()}-{notice.time}" for time, notice in zip(times, told, strict=True)]
    assert [notice.id.rpartition("-daily-")[2] for notice in told] == ends
    counted = sum(int(dict(notice.fields)["Trades"]) for notice in told)
    assert 0 < counted <= outcome.summary.trades


def test_summary_by_default_comes_at_midnight_utc(runner, told):
    runner.run(runner.settings(days=3))
    assert [local(notice, "UTC").strftime("%H:%M") for notice in told] == ["00:00"] * len(told)
    assert len(told) >= 2


def test_summaries_over_a_stop_are_those_of_a_whole_run(runner, told):
    settings = runner.settings(days=4, notices=OPTIONS)
    runner.run(settings)
    whole = list(told)
    told.clear()
    with pytest.raises(StoppedError):
        runner.run(settings, stop_after=2, is_fresh=True)
    runner.run(settings)
    assert [(n.time, n.title, n.fields) for n in told] == [(n.time, n.title, n.fields) for n in whole]


def test_summary_time_changed_over_a_stop_counts_from_there(runner, told):
    with pytest.raises(StoppedError):
        runner.run(runner.settings(days=4, notices=OPTIONS), stop_after=2)
    before = len(told)
    runner.run(runner.settings(days=4, notices=OPTIONS | {"summary_time": "06:30"}))
    later = [local(notice, "America/New_York").strftime("%H:%M") for notice in told[before:]]
    assert later == ["06:30"] * len(later)
    assert later


def test_summary_time_changed_to_midnight_over_a_stop_tells_the_rest_of_the_day_under_another_id(runner, told):
    with pytest.raises(StoppedError):
        runner.run(runner.settings(days=4, notices=OPTIONS), stop_after=2)
    before = len(told)
    runner.run(runner.settings(days=4, notices=OPTIONS | {"summary_time": "00:00"}))
    evening, midnight = told[before - 1 : before + 1]
    assert dict(evening.fields)["Date"] == dict(midnight.fields)["Date"], "the evening after the stop ends that day"
    assert len({notice.id for notice in told}) == len(told)
