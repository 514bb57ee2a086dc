"""Rules of faults: how they are written, when they strike, and that a seed decides chances."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slt_sandbox.fault_rules import CATALOGUE, FaultRule, Schedule, draw_rules, parse_rule

ROOT = Path(__file__).parents[3]
KEYS = "symbol, path, method, client, after_seconds, nth, times, probability, seconds"


def struck(rule, count, **about):
    """Which of so many chances a rule took, counted from 1."""
    schedule = Schedule([parse_rule(rule) if isinstance(rule, str) else rule], seed=1, start=0)
    place = schedule.rules()[0].fault.place
    return [number for number in range(1, count + 1) if schedule.strikes(place, number * 1_000, **about)]


def test_parse_rule_reads_every_key():
    rule = parse_rule(
        "http_429 symbol=BTCUSDT path=/fapi/v1/order method=DELETE client=2 after_seconds=1.5 nth=3 times=0 "
        "probability=0.25 seconds=7"
    )
    assert rule == FaultRule(
        name="http_429",
        symbol="BTCUSDT",
        path="/fapi/v1/order",
        method="DELETE",
        client=2,
        after_seconds=1.5,
        nth=3,
        times=0,
        probability=0.25,
        seconds=7.0,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kline_lat", f"`kline_lat` is no fault; did you mean `kline_late`? (faults: {', '.join(CATALOGUE)})"),
        ("", f"`` is no fault (faults: {', '.join(CATALOGUE)})"),
        ("kline_late nht=3", f"`kline_late nht=3`: found `nht=3`, allowed is KEY=VALUE with KEY one of {KEYS}"),
        ("kline_late nth", f"`kline_late nth`: found `nth`, allowed is KEY=VALUE with KEY one of {KEYS}"),
        ("kline_late nth=two", "`kline_late nth=two`: nth must be a number, found `two`"),
        ("kline_late nth=0", "`kline_late nth=0`: 'nth' must be >= 1: 0"),
    ],
)
def test_parse_rule_refuses_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the whole text is compared
        parse_rule(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_fault_has_a_sentence_and_can_be_written_by_its_name(name):
    rule = parse_rule(name)
    assert rule.fault.text.endswith(".")
    assert rule.wait == rule.fault.seconds


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("kline_late", [1]),
        ("kline_late nth=3", [3]),
        ("kline_late times=2", [1, 2]),
        ("kline_late nth=4 times=2", [4, 5]),
        ("kline_late times=0", [1, 2, 3, 4, 5, 6]),
        ("kline_late after_seconds=4", [4]),
        ("kline_late after_seconds=3 nth=2", [4]),
        ("kline_late probability=0 times=0", []),
    ],
)
def test_strikes_counts_chances(rule, taken):
    assert struck(rule, 6) == taken


def test_strikes_is_about_one_symbol_where_the_rule_is():
    assert struck("kline_late symbol=A times=0", 3, symbol="A") == [1, 2, 3]
    assert struck("kline_late symbol=A times=0", 3, symbol="B") == []


def test_strikes_draws_chances_from_the_seed():
    rule = parse_rule("kline_late times=0 probability=0.5")

    def run(seed):
        schedule = Schedule([rule], seed, 0)
        return [bool(schedule.strikes("kline", time)) for time in range(200)]

    assert run(1) == run(1) != run(2)
    assert 60 < sum(run(1)) < 140


def test_strikes_of_a_rule_that_is_spent_are_over_and_written_down():
    schedule = Schedule([parse_rule("kline_late symbol=A")], 1, 0)
    assert schedule.has("kline")
    schedule.strikes("kline", 5, symbol="A")
    assert not schedule.has("kline")
    assert schedule.struck == [(5, "kline_late", "A")]
    assert schedule.rules() == []


@pytest.mark.parametrize(
    ("rule", "method", "path", "is_about"),
    [
        ("http_500", "GET", "/fapi/v3/account", True),
        ("http_500 method=POST", "GET", "/fapi/v3/account", False),
        ("http_500 path=/fapi/v1/order", "DELETE", "/fapi/v1/order", True),
        ("http_500 path=/fapi/v1/order", "GET", "/fapi/v1/time", False),
        ("error_2019", "POST", "/fapi/v1/order", True),
        ("error_2019", "DELETE", "/fapi/v1/order", False),
        ("error_2019", "POST", "/fapi/v1/leverage", False),
        ("error_2021", "POST", "/fapi/v1/algoOrder", True),
        ("error_2021", "POST", "/fapi/v1/order", False),
        ("error_4120 method=GET", "GET", "/fapi/v1/order", True),
    ],
)
def test_matches_request(rule, method, path, is_about):
    assert parse_rule(rule).matches_request(method, path) is is_about


def test_draw_rules_is_the_same_for_the_same_seed_and_covers_the_catalogue():
    symbols = ("A", "B")
    assert draw_rules(3, 10, symbols) == draw_rules(3, 10, symbols) != draw_rules(4, 10, symbols)
    drawn = draw_rules(1, 2_000, symbols)
    assert {rule.name for rule in drawn} == set(CATALOGUE)
    assert all(rule.symbol in symbols for rule in drawn if rule.fault.place == "kline")
    assert {rule.fault.place for rule in draw_rules(1, 300, symbols, places=["line", "kline"])} == {"line", "kline"}


def test_every_fault_stands_in_the_guide_as_the_catalogue_has_it():
    page = (ROOT / "docs/how-to/rehearse-on-the-sandbox.md").read_text(encoding="utf-8")
    tables = page.partition("### Market connections")[2]
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \| ([\d.]*) \|$", tables, re.MULTILINE)
    told = [(name, text, float(seconds or 0)) for name, text, seconds in rows]
    assert sorted(told) == sorted((name, fault.text, fault.seconds) for name, fault in CATALOGUE.items())


def test_every_fault_is_tried_by_a_test_of_what_it_does():
    here = Path(__file__).parent
    tried = "".join(path.read_text(encoding="utf-8") for path in sorted(here.glob("test_*_faults.py")))
    assert [name for name in CATALOGUE if not re.search(rf"\b{name}\b", tried)] == []
