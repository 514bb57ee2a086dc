from __future__ import annotations

import io
import os
import select
import subprocess
import sys

import pytest

from slt.testing import NotifierConformance
from slt.testing.notifiers import make_notice
from slt_notifiers import console as notifiers_console
from slt_notifiers.console import ConsoleNotifier, ConsoleNotifierConfig, line_of


class TestConsoleConformance(NotifierConformance):
    speaks_http = False

    @pytest.fixture(autouse=True)
    def _capture(self, capsys):
        self.capsys = capsys

    def make_notifier(self, base_url):
        return ConsoleNotifier(ConsoleNotifierConfig())

    def shown(self, server):
        return self.capsys.readouterr().err.splitlines()


class Terminal(io.StringIO):
    def isatty(self):
        return True


async def sent(notice, monkeypatch, stream, name="stderr", **options):
    monkeypatch.setattr(sys, name, stream)
    await ConsoleNotifier(ConsoleNotifierConfig(stream=name, **options)).slt_send_notice(notice)
    return stream.getvalue()


async def test_console_off_a_terminal_prints_one_plain_line(monkeypatch):
    text = await sent(make_notice(), monkeypatch, io.StringIO())
    assert text == "[close] Closed long BTCUSDT — Entry 94250 · Exit 95400\n"


@pytest.mark.parametrize(("tone", "code"), [("good", "32"), ("bad", "31"), ("neutral", "36")])
async def test_console_on_a_terminal_colours_by_tone(monkeypatch, tone, code):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = await sent(make_notice(tone=tone), monkeypatch, Terminal())
    assert f"\x1b[{code}mClosed long BTCUSDT" in text
    assert text.count("\n") == 1


async def test_console_rich_text_is_not_read_as_markup(monkeypatch):
    text = await sent(make_notice(title="[bold]x[/bold]", fields=()), monkeypatch, io.StringIO(), style="rich")
    assert "[bold]x[/bold]" in text


async def test_console_style_plain_has_no_colour_on_a_terminal(monkeypatch):
    assert "\x1b" not in await sent(make_notice(), monkeypatch, Terminal(), style="plain")


async def test_console_writes_to_stdout_where_told(monkeypatch, capsys):
    assert "Closed" in await sent(make_notice(), monkeypatch, io.StringIO(), name="stdout")


def test_console_line_keeps_escape_sequences_from_the_terminal():
    line = line_of(make_notice(title="a\x1b[2Jb\nc", fields=(("l\r", "v\x9b"),)))
    assert line == "[close] a [2Jb c — l  v "


def test_console_imports_rich_only_when_it_prints():
    code = "import slt_notifiers.console, sys; print('rich' in sys.modules, 'aiohttp' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_console_config_names_the_allowed_streams():
    with pytest.raises(ValueError, match="'stream' must be in"):
        ConsoleNotifierConfig(stream="printer")


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll, which Windows lacks")
async def test_console_that_nobody_reads_is_out_of_reach_and_holds_nothing_up(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as end:
        monkeypatch.setattr(sys, "stderr", stream)
        notifier = ConsoleNotifier(ConsoleNotifierConfig())
        while notifiers_console._takes_text(stream):
            await notifier.slt_send_notice(make_notice())
        with pytest.raises(BlockingIOError, match="nobody takes what is written to stderr"):
            await notifier.slt_send_notice(make_notice())
        os.read(reader, 1 << 16)
        await notifier.slt_send_notice(make_notice(title="again"))
        assert b"again" in os.read(end.fileno(), 1 << 16)
