"""From tables to config objects: the full text of every refusal."""

from __future__ import annotations

from datetime import date

import pytest
from attrs import Factory, field, frozen
from attrs.validators import and_, ge, gt, in_, le, lt, matches_re, min_len, optional

from slt.config.structuring import describe, limits, nearest, structure, unsupported_options


def _check_even(_, __, value):
    if value % 2:
        raise ValueError(f"found `{value}`, allowed are even numbers: 0, 2, 4")


@frozen(kw_only=True)
class EngineConfig:
    needed: str
    count: int = field(default=1, validator=and_(ge(1), le(9)))
    share: float = field(default=0.5, validator=[gt(0.0), lt(1.0)])
    mode: str = field(default="a", validator=in_(("a", "b", "c")))
    name: str = field(default="x", validator=matches_re(r"[a-z]{1,3}"))
    names: tuple[str, ...] = field(default=("p", "q"), validator=optional(min_len(2)))
    even: int = field(default=0, validator=_check_even)
    is_on: bool = False
    limit: float | None = field(default=None, validator=optional(ge(2.0)))
    low: int = 0
    high: int = 9

    def __attrs_post_init__(self):
        if self.low >= self.high:
            raise ValueError(f"low `{self.low}` must be below high `{self.high}`")


OPTIONS = "needed, count, share, mode, name, names, even, is_on, limit, low, high"
GOOD = {"needed": "yes"}


def problems_of(**table):
    problems = []
    made = structure({**GOOD, **table}, EngineConfig, "motor.v8", problems)
    assert (made is None) == bool(problems)
    return problems


def test_structure_all_options_given_makes_the_object():
    problems = []
    table = {"needed": "n", "count": 2, "share": 0.25, "names": ["p", "q"], "is_on": True, "limit": 3}
    assert structure(table, EngineConfig, "motor", problems) == EngineConfig(
        needed="n", count=2, share=0.25, names=("p", "q"), is_on=True, limit=3.0
    )
    assert problems == []


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"count": "3"}, 'motor.v8.count: found `"3"`, allowed is a whole number'),
        ({"count": 3.0}, "motor.v8.count: found `3.0`, allowed is a whole number"),
        ({"count": True}, "motor.v8.count: found `true`, allowed is a whole number"),
        ({"count": 0}, "motor.v8.count: found `0`, allowed is at least 1 and at most 9"),
        ({"count": 10}, "motor.v8.count: found `10`, allowed is at least 1 and at most 9"),
        ({"share": "much"}, 'motor.v8.share: found `"much"`, allowed is a number'),
        ({"share": False}, "motor.v8.share: found `false`, allowed is a number"),
        ({"share": float("nan")}, "motor.v8.share: found `nan`, allowed is a finite number"),
        ({"share": float("inf")}, "motor.v8.share: found `inf`, allowed is a finite number"),
        ({"share": 1}, "motor.v8.share: found `1.0`, allowed is more than 0.0 and less than 1.0"),
        ({"share": 10**400}, "motor.v8.share: found a number with more than 308 digits, allowed is a number"),
        ({"mode": "d"}, 'motor.v8.mode: found `"d"`, allowed is a, b or c'),
        ({"mode": 1}, "motor.v8.mode: found `1`, allowed is a text in quotes"),
        ({"mode": date(2024, 1, 2)}, "motor.v8.mode: found `2024-01-02`, allowed is a text in quotes"),
        ({"name": "Long"}, 'motor.v8.name: found `"Long"`, allowed is a text like `[a-z]{1,3}` (a regular expression)'),
        (
            {"name": "a\nb"},
            'motor.v8.name: found `"a\\nb"`, allowed is a text like `[a-z]{1,3}` (a regular expression)',
        ),
        ({"names": "one"}, 'motor.v8.names: found `"one"`, allowed is a list of texts'),
        ({"names": ["one", 2]}, 'motor.v8.names: found `["one", 2]`, allowed is a list of texts'),
        ({"names": ["one"]}, 'motor.v8.names: found `["one"]`, allowed is a length of at least 2'),
        ({"even": 3}, "motor.v8.even: found `3`, allowed are even numbers: 0, 2, 4"),
        ({"is_on": 1}, "motor.v8.is_on: found `1`, allowed is true or false"),
        ({"limit": 1.5}, "motor.v8.limit: found `1.5`, allowed is at least 2.0"),
        ({"limit": "none"}, 'motor.v8.limit: found `"none"`, allowed is a number'),
        ({"low": 9}, "motor.v8: low `9` must be below high `9`"),
        ({"needed": 5}, "motor.v8.needed: found `5`, allowed is a text in quotes"),
        (
            {"shares": 1},
            (f"motor.v8.shares: unknown option; did you mean `share`? (options: {OPTIONS})"),
        ),
        (
            {"zzz": {"a": 1}},
            (f"motor.v8.zzz: unknown option (options: {OPTIONS})"),
        ),
    ],
)
def test_structure_bad_option_says_where_what_and_what_is_allowed(table, line):
    assert problems_of(**table) == [line]


def test_structure_many_problems_tells_all_of_them_at_once():
    problems = []
    table = {"cont": 1, "share": 2.0, "is_on": "no", "names": ["x"]}
    assert structure(table, EngineConfig, "motor", problems) is None
    assert [p.partition(":")[0] for p in problems] == [
        "motor.cont",
        "motor.needed",
        "motor.is_on",
        "motor.share",
        "motor.names",
    ]
    assert problems[1] == "motor.needed: missing; it has no default, give a text in quotes"


def test_structure_long_value_is_shortened():
    (line,) = problems_of(mode="m" * 5000)
    assert len(line) < 300


def test_structure_class_without_options_says_so():
    @frozen
    class Nothing:
        pass

    problems = []
    assert structure({"x": 1}, Nothing, "a.b", problems) is None
    assert problems == ["a.b.x: unknown option (options: there are none)"]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "a text in quotes"),
        (tuple[str, ...], "a list of texts"),
        (float | None, "a number (or leave it out)"),
    ],
)
def test_describe_names_the_type(hint, words):
    assert describe(hint) == words


@pytest.mark.parametrize(
    ("validator", "words"),
    [
        (None, ""),
        (_check_even, ""),
        (and_(ge(1), _check_even), "at least 1"),
        (optional(and_(gt(0), lt(5))), "more than 0 and less than 5"),
        (min_len(1), "not empty"),
        (in_(("only",)), "only"),
    ],
)
def test_limits_says_what_it_can(validator, words):
    assert limits(validator) == words


def test_nearest_without_a_close_name_is_empty():
    assert nearest("abc", ["xyz"]) == ""
    assert nearest("adverce", ["adverse", "ohlc"]) == "; did you mean `adverse`?"


def test_unsupported_options_names_field_and_allowed_types():
    @frozen
    class Odd:
        fine: int = 1
        table: dict[str, int] = Factory(dict)
        either: int | str = 1

    allowed = "allowed is bool, int, float, str, tuple[str, ...], or one of these or None"
    assert unsupported_options(Odd) == [
        f"its option `table` is of type `dict[str, int]`, {allowed}",
        f"its option `either` is of type `int | str`, {allowed}",
    ]


def test_unsupported_options_annotation_that_cannot_be_evaluated_is_told():
    @frozen
    class Odd:
        gone: Missing = 1  # noqa: F821

    assert unsupported_options(Odd) == [
        "the types of its options cannot be told: NameError: name 'Missing' is not defined"
    ]
