"""A terminal that was stopped, or a pipe that nobody reads, holds nothing up; safety lines come when it is read."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import threading

import pytest

from slt.log import LogConfig, configure_logging, get_logger
from slt.log.outlet import Outlet, takes_text

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll, which Windows lacks")

TALKER = """
import sys
from pathlib import Path
from slt.log import LogConfig, configure_logging, get_logger
with configure_logging(LogConfig(), terminal=False, file=Path(sys.argv[1])):
    log = get_logger("profit")
    for number in range(3000):
        log.info("trade closed", number=number, text="x" * 200)
"""


class Pipe:
    """A pipe with a writer for text, and what can be read from it so far."""

    def __init__(self):
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.writer = os.fdopen(writer, "w", encoding="utf-8")

    def read(self):
        found = b""
        try:
            while chunk := os.read(self.reader, 1 << 16):
                found += chunk
        except BlockingIOError:
            pass
        return found.decode()


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.read()
    made.writer.close()
    os.close(made.reader)


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_outlet_without_a_descriptor_writes_at_once():
    stream = io.StringIO()
    outlet = Outlet(stream)
    outlet.put([("one\n", False), ("two\n", True)])
    assert (stream.getvalue(), outlet.shown, outlet.missed) == ("one\ntwo\n", 2, 0)


def test_outlet_that_nobody_reads_keeps_lines_in_order_and_whole(pipe):
    outlet = Outlet(pipe.writer)
    told = [(f"{number} " + "€" * number + "\n", False) for number in range(260)]
    for line in told:
        outlet.put([line])
    assert outlet.shown < len(told)
    assert not takes_text(pipe.writer, 0)
    found = ""
    while outlet.shown < len(told):
        found += pipe.read()
        outlet.flush()
    assert found + pipe.read() == "".join(text for text, _ in told)
    assert outlet.missed == 0


def test_screen_that_nobody_reads_misses_lines_but_no_safety_line_and_says_how_many(pipe, tmp_path):
    file = tmp_path / "slt.log"
    with configure_logging(LogConfig(), terminal=False, file=file, stream=pipe.writer) as session:
        for number in range(5000):
            get_logger("profit").info("trade closed", number=number)
            if number % 100 == 0:
                get_logger("lifecycle").warning("entries halted", number=number, safety=True)
        found = ""
        while (text := pipe.read()) or not found:
            found += text
            session.tell_repeats()
    lines = lines_of(found + pipe.read())
    safe = [line["number"] for line in lines if line.get("safety")]
    assert safe == list(range(0, 5000, 100))
    (missed,) = [line["lines"] for line in lines if line["event"].startswith("lines were not shown")]
    numbers = [line["number"] for line in lines if line["event"] == "trade closed"]
    assert numbers == sorted(set(numbers))
    assert missed == 5000 - len(numbers) > 0
    assert len(lines_of(file.read_text())) == 5050
    assert session.failed == 0


def test_stopped_terminal_holds_nothing_up():
    termios = pytest.importorskip("termios", reason="terminals are of POSIX")
    reader, slave = os.openpty()
    found = []

    def read():
        while b"the end" not in b"".join(found[-2:]):
            found.append(os.read(reader, 1 << 16))

    with os.fdopen(slave, "w") as terminal:
        termios.tcflow(slave, termios.TCOOFF)  # as Ctrl-S does
        with configure_logging(LogConfig(), terminal=True, file=None, stream=terminal) as session:
            for number in range(900):
                get_logger("lifecycle").warning("entries halted", number=number, safety=True)
            assert session.shown == 0
            reading = threading.Thread(target=read, daemon=True)
            reading.start()
            termios.tcflow(slave, termios.TCOON)
            get_logger("lifecycle").warning("the end", safety=True)
            while session.shown <= 900:
                session.tell_repeats()
            reading.join()
    os.close(reader)
    text = b"".join(found).decode()
    assert text.count("entries halted") == 900
    assert "not shown" not in text


def test_process_whose_log_nobody_reads_comes_to_its_end(tmp_path):
    command = [sys.executable, "-c", TALKER, str(tmp_path / "slt.log")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert process.wait(120) == 0
        assert len((tmp_path / "slt.log").read_text().splitlines()) == 3000
    finally:
        process.kill()
        process.communicate()
