"""What a person sees while a run goes on: the bar and whatever is printed above it; and what a machine reads."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import struct
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path

import pytest
from rich.console import Console

from slt.cli.progress import _AboveBar, _Rate, make_progress_view
from slt.run.player import Progress

SLT = Path(sysconfig.get_path("scripts")) / "slt"
CONFIG = """
[run]
name = "t"
block_bars = 120
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
notifiers = ["console"]
[feeds.synthetic]
days = 3
[notices]
in_backtest = ["daily", "close"]
rate_limit_seconds = 0.0
"""


@pytest.fixture
def above():
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    stream = io.StringIO()
    stream.isatty = lambda: True
    return _AboveBar(console, stream), console.file


def test_above_bar_prints_whole_lines_only(above):
    stream, shown = above
    stream.write("one")
    stream.write(" line\nand ")
    assert shown.getvalue() == "one line\n"
    stream.write("another\n\nrest")
    stream.finish()
    stream.finish()
    assert shown.getvalue() == "one line\nand another\n\nrest\n"


def test_above_bar_long_lines_are_broken_between_words(above):
    stream, shown = above
    stream.write("word " * 20 + "\n")
    assert [len(line) <= 40 for line in shown.getvalue().splitlines()] == [True] * 3


def test_above_bar_is_where_a_console_made_for_it_writes(above):
    stream, shown = above
    Console(file=stream, width=40).print("[bold]a notice[/bold]")
    assert "a notice" in shown.getvalue()
    assert stream.isatty()


def test_rate_of_the_first_block_is_unknown():
    rate = _Rate()
    assert rate.update(Progress(0, 100, None, 2, 0, 0, 1.0)) is None
    assert rate.update(Progress(0, 200, None, 2, 0, 0, 1.0)) > 0


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_make_progress_view_terminal_that_cannot_move_the_cursor_gets_lines(monkeypatch, term):
    monkeypatch.setenv("TERM", term)
    with make_progress_view(is_terminal=True):
        assert type(sys.stderr).__name__ != "_AboveBar"


def run_on_terminal(folder, columns):
    """Run on a pseudo-terminal; everything it was sent."""
    (folder / "config.toml").write_text(CONFIG)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {n: v for n, v in os.environ.items() if n not in {"NO_COLOR", "COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [SLT, "run"], cwd=folder, env={**environment, "TERM": "xterm-256color"}, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert child.wait(60) == 0
    return b"".join(parts).decode()


def screen(text, columns):
    """The lines that a terminal shows in the end: carriage returns, cursor up, erased lines, wrapping."""
    lines, row, column = [""], 0, 0
    for code, char in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z])|(.|\n)", text, re.DOTALL):
        if code.endswith("A"):
            row = max(row - int(code[2:-1] or 1), 0)
        elif code == "\x1b[2K":
            lines[row] = ""
        elif char == "\r":
            column = 0
        elif char == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif char:
            if column == columns:
                row, column = row + 1, 0
                if row == len(lines):
                    lines.append("")
            lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", [80, 140])
def test_run_on_a_terminal_leaves_whole_lines_and_no_bar(tmp_path, columns):
    text = run_on_terminal(tmp_path, columns)
    assert "bars/s · " in text
    assert "━" in text
    lines = screen(text, columns)
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if "━" in line or "bars/s" in line]
    whole = " ".join(" ".join(lines).split())
    assert len(re.findall(r"daily Day 2024-01-0\d: \d+ trades", whole)) == 3
    trades = int(re.search(r"Trades ([\d,]+), \d+ won", whole)[1])
    assert len(re.findall(r"close Closed (?:long|short) SYN\dUSDT: ", whole)) == trades
    assert lines[0].startswith("starting run t-001 (backtest): synthetic market")
    assert re.search(r"8 symbols: SYN1USDT, SYN2USDT, SYN3USDT, SYN4USDT, …; storage: memory", whole)
    for words in ("Net PnL", "Max drawdown", "Trade hash", "Report"):
        assert any(line.startswith(words) for line in lines)


def test_bar_of_a_run_without_an_end_is_its_time(monkeypatch):
    shown = io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with make_progress_view(is_terminal=True) as view:
        view.progressed(Progress(1_704_067_260_000, 1, None, 2, 3, 1, 10_001.5))
        view._live.refresh()
    last = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "\n", shown.getvalue())
    assert "2024-01-01 00:01 UTC · 1 open · 3 trades · equity 10,001.50" in last
    assert "━" not in last.partition("2024-01-01 00:01")[2]


def test_run_into_a_file_writes_plain_lines_and_json(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.replace('["console"]', "[]"))
    done = subprocess.run([SLT, "run"], cwd=tmp_path, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["event"] for e in events if e["event"] in {"run started", "progress"}][:2] == ["run started", "progress"]
    progress = next(e for e in events if e["event"] == "progress")
    assert progress["done"] == pytest.approx(120 / (3 * 1440), abs=1e-4)
    assert {"time", "bars_per_second", "open_positions", "trades", "equity"} <= progress.keys()
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.startswith("run: t-001 (backtest), ")
