from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.lifecycle import Health, HealthPart


def health(**parts):
    one = Health()
    for name, score in parts.items():
        one.register(name, lambda score=score: (score, f"{score}"), is_critical=name.startswith("critical"))
    return one


def test_health_without_parts_is_full():
    report = Health().report()
    assert (report.score, report.status, report.parts) == (100.0, "green", ())


def test_health_is_the_mean_of_its_parts():
    report = health(feed=100.0, cache=50.0).report()
    assert (report.score, report.status) == (75.0, "yellow")
    assert report.parts == (HealthPart("feed", 100.0, "100.0", False), HealthPart("cache", 50.0, "50.0", False))


@pytest.mark.parametrize(
    ("score", "status"), [(100, "green"), (80, "green"), (79.9, "yellow"), (50, "yellow"), (49, "red")]
)
def test_health_is_no_better_than_a_critical_part(score, status):
    report = health(a=100.0, b=100.0, critical_database=score).report()
    assert report.score == score
    assert report.status == status


@pytest.mark.parametrize(("given_score", "score"), [(-5.0, 0.0), (250.0, 100.0), (math.nan, 0.0), (math.inf, 0.0)])
def test_health_score_out_of_range_is_brought_in(given_score, score):
    assert health(feed=given_score).report().parts[0].score == score


@pytest.mark.parametrize("answer", [None, "well", (50,), ("well", "x")])
def test_health_check_that_answers_nonsense_counts_as_dead(answer):
    one = Health()
    one.register("odd", lambda: answer)
    assert one.report().parts[0].score == 0.0


def test_health_check_that_raises_counts_as_dead_and_shows_no_text():
    def check():
        raise OSError("postgresql://slt:password@db")

    one = Health()
    one.register("database", check, is_critical=True)
    report = one.report()
    assert (report.score, report.status) == (0.0, "red")
    assert report.parts[0].detail == "the check failed: OSError"


def test_health_asks_anew_each_time():
    scores, one = [100.0, 0.0], Health()
    one.register("feed", lambda: (scores.pop(0), ""))
    assert [one.report().score, one.report().score] == [100.0, 0.0]


def test_health_name_is_unique():
    one = health(feed=1.0)
    with pytest.raises(ValueError, match="a part `feed` is registered already"):
        one.register("feed", lambda: (1.0, ""))


@given(st.dictionaries(st.text(min_size=1), st.floats(), max_size=8))
def test_health_score_is_always_between_0_and_100(parts):
    assert 0.0 <= health(**parts).report().score <= 100.0
