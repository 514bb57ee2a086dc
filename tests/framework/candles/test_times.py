from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.candles import interval_name, parse_interval, parse_utc, utc_text


@pytest.mark.parametrize(
    ("text", "length"), [("1s", 1_000), ("1m", 60_000), ("15m", 900_000), ("4h", 14_400_000), ("1d", 86_400_000)]
)
def test_interval_word_and_length_convert_both_ways(text, length):
    assert parse_interval(text) == length
    assert interval_name(length) == text


@given(st.integers(1, 9_999), st.sampled_from("smhd"))
def test_interval_any_length_survives_the_way_back(number, unit):
    length = parse_interval(f"{number}{unit}")
    assert parse_interval(interval_name(length)) == length


@pytest.mark.parametrize("text", ["", "m", "0m", "1w", "1.5m", "-1m", "1 m", "60"])
def test_interval_other_text_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=f"^`{text}` is not an interval; write a number"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01", 0),
        ("2024-01-01", 1_704_067_200_000),
        ("2024-01-01T12:30", 1_704_112_200_000),
        ("2024-01-01T12:30:00+02:00", 1_704_105_000_000),
    ],
)
def test_parse_utc_reads_dates_as_utc(text, time):
    assert parse_utc(text) == time


def test_parse_utc_other_text_is_refused():
    with pytest.raises(ValueError, match=r"^`1\.1\.2024` is not an ISO date; write `2024-01-31`"):
        parse_utc("1.1.2024")


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01 00:00"),
        (61_000, "1970-01-01 00:01:01"),
        (7, "1970-01-01 00:00:00.007"),
        (10**17, f"{10**17} ms"),
    ],
)
def test_utc_text_shows_only_what_is_there(time, text):
    assert utc_text(time) == text
