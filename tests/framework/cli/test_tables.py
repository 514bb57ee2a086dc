"""Tables and entries, for people and for pipes."""

from __future__ import annotations

import io
import re
import sys

import pytest

from slt.cli.tables import print_entries, print_table

ROWS = [["a[b]", 1, "word " * 30], ["longer name", 22, None]]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[40, 80, 140])
def on_terminal(request, monkeypatch):
    """Call something with a terminal of some width as standard output; the width, and the lines it printed."""
    for name, value in (("COLUMNS", str(request.param)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)

    def call(show, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Terminal())
            show(*arguments, **options)
            text = sys.stdout.getvalue()
        return request.param, [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]

    return call


@pytest.mark.parametrize("show", [print_table, lambda *a, **k: print_entries(*a, words=["{}", "no. {}", "{}"], **k)])
def test_output_into_a_pipe_is_plain_values_between_tabs(capsys, show):
    show(["name", "number", "text"], ROWS, title="not shown")
    assert capsys.readouterr().out.splitlines() == [
        "name\tnumber\ttext",
        f"a[b]\t1\t{'word ' * 30}",
        "longer name\t22\tNone",
    ]


def test_print_table_on_a_terminal_keeps_inside_and_breaks_long_cells_only(on_terminal):
    width, lines = on_terminal(print_table, ["name", "number", "text"], ROWS, title="The title")
    assert max(map(len, lines)) <= width
    assert "The title" in lines[0]
    assert any("a[b]" in line and "1" in line and "word" in line for line in lines)
    assert any("longer name" in line for line in lines)
    assert sum(line.count("word") for line in lines) == 30


def test_print_entries_on_a_terminal_puts_the_last_cell_below(on_terminal):
    words = ["{}", "no. {}", "({})"]
    width, lines = on_terminal(print_entries, ["name", "number", "text"], ROWS, words=words, title="The title")
    assert max(map(len, lines)) <= width
    assert lines[0] == "The title"
    assert "a[b]  no. 1" in lines
    below = lines[lines.index("a[b]  no. 1") + 1]
    assert below.startswith("    (word word")
    assert lines[-2:] == ["longer name  no. 22", "    (None)"]


def test_print_entries_cells_without_room_stand_indented_below(on_terminal):
    row = ["first", "second cell of some length", "third cell of some length", "numbers"]
    width, lines = on_terminal(print_entries, list("abcd"), [row], words=["{}"] * 4)
    expected = {
        40: ["first  second cell of some length", "    third cell of some length", "    numbers"],
        80: ["first  second cell of some length  third cell of some length", "    numbers"],
    }
    assert lines == expected[min(width, 80)]
