"""Config objects as TOML, and the options of a class as a table."""

from __future__ import annotations

import tomllib

import pytest
from attrs import Factory, field, frozen
from attrs.validators import and_, ge, le
from hypothesis import given
from hypothesis import strategies as st

from slt.config import KERNEL_SECTIONS, Option, options_of, render_section, render_value, structure


@frozen(kw_only=True)
class PumpConfig:
    """Options of a pump.

    Some words in between.

    Attributes:
        power: How strong,
            in watts.
        name: What it is called.
        parts: What it is made of.
        spare: A second one: or none.

    Raises:
        ValueError: Never.
    """

    power: float = field(default=1.5, validator=and_(ge(0.0), le(9.0)))
    name: str
    parts: tuple[str, ...] = Factory(lambda: ("a", "b"))
    spare: str | None = None


def test_options_of_reads_type_limits_default_and_text():
    assert options_of(PumpConfig) == [
        Option("power", "a number, at least 0.0 and at most 9.0", "1.5", "How strong, in watts."),
        Option("name", "a text in quotes", None, "What it is called."),
        Option("parts", "a list of texts", '["a", "b"]', "What it is made of."),
        Option("spare", "a text in quotes (or leave it out)", "", "A second one: or none."),
    ]


@pytest.mark.parametrize("cls", KERNEL_SECTIONS.values())
def test_options_of_every_kernel_section_documents_every_option(cls):
    assert [o.name for o in options_of(cls) if not o.text] == []


def test_render_section_comments_out_what_is_left_open():
    assert render_section("pumps.p", PumpConfig(name="n")) == (
        '[pumps.p]\n# How strong, in watts.\npower = 1.5\n# What it is called.\nname = "n"\n# What it is made of.\n'
        'parts = ["a", "b"]\n# A second one: or none.\n# spare =\n'
    )


def test_render_section_long_list_takes_a_line_an_entry():
    text = render_section("pumps.p", PumpConfig(name="n", parts=("x" * 40, "y" * 40, "z" * 40)), comments=False)
    assert 'parts = [\n    "xxx' in text
    assert len(tomllib.loads(text)["pumps"]["p"]["parts"]) == 3


printable = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, printable, st.lists(printable, max_size=4), st.none() | printable)
def test_render_section_read_back_gives_the_same(power, name, parts, spare):
    made = PumpConfig.__new__(PumpConfig)
    for key, value in (("power", power), ("name", name), ("parts", tuple(parts)), ("spare", spare)):
        object.__setattr__(made, key, value)
    table = tomllib.loads(render_section("pumps.p", made))["pumps"]["p"]
    problems = []
    read = structure({**table, "power": 1.0}, PumpConfig, "p", problems)
    assert problems == []
    assert (table["power"], read.name, read.parts, read.spare) == (power, name, tuple(parts), spare)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (3, "3"), (1e-05, "1e-05"), ('a\x7f"', '"a\\u007f\\""')]
)
def test_render_value_is_toml(value, text):
    assert render_value(value) == text
    assert tomllib.loads(f"x = {text}")["x"] == value
