"""Which modes, feeds and brokers fit each other, and what a clock is worth that hears the exchange now and then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attrs import evolve

from slt.config import read_config
from slt.errors import ConfigError
from slt.run.clock import ExchangeClock
from slt.run.modes import check_mode

CONFIG = """
[run]
mode = "{mode}"
confirm_live = {confirmed}
[plugins]
feed = "f"
broker = "b"
strategies = ["s"]
sizer = "z"
"""


@pytest.fixture
def problems(tmp_path):
    """Gives what `check_mode` says of a mode with live or recorded ends."""

    def problems(mode, feed, broker, *, confirmed=True, locked=False, **more):
        path = tmp_path / "my.toml"
        path.write_text(CONFIG.format(mode=mode, confirmed=str(confirmed).lower()))
        settings = read_config(path, {})
        settings = evolve(settings, locks=evolve(settings.locks, disable_websocket=locked))
        plugins = SimpleNamespace(
            feed=SimpleNamespace(name="f", implements=lambda _: feed == "live"),
            broker=SimpleNamespace(name="b", implements=lambda _: broker == "live"),
        )
        try:
            check_mode(settings, plugins, **more)
        except ConfigError as error:
            return [problem.removeprefix("my.toml: ") for problem in error.problems]
        return []

    return problems


@pytest.mark.parametrize(
    ("mode", "feed", "broker"),
    [
        ("backtest", "recorded", "simulated"),
        ("paper", "recorded", "simulated"),
        ("paper", "live", "simulated"),
        ("live", "live", "live"),
    ],
)
def test_check_mode_what_fits_is_let_through(problems, mode, feed, broker):
    assert problems(mode, feed, broker) == []


@pytest.mark.parametrize(
    ("mode", "feed", "broker", "words"),
    [
        ("live", "recorded", "live", ["the feed `f` plays a recording"]),
        ("live", "live", "simulated", ["the broker `b` only simulates orders"]),
        ("live", "recorded", "simulated", ["the feed `f` plays", "the broker `b` only"]),
        ("paper", "live", "live", ["the broker `b` sends real orders"]),
        ("backtest", "recorded", "live", ["the broker `b` sends real orders"]),
        ("backtest", "live", "simulated", ["the feed `f` has no history"]),
    ],
)
def test_check_mode_what_would_trade_otherwise_is_refused(problems, mode, feed, broker, words):
    found = problems(mode, feed, broker)
    assert len(found) == len(words)
    for line, word in zip(found, words, strict=True):
        assert line.startswith("run.mode: found")
        assert word in line
        assert "choose" in line


def test_check_mode_live_wants_its_confirmation_at_the_start_only(problems):
    (line,) = problems("live", "live", "live", confirmed=False)
    assert line.startswith("run.confirm_live: found `false`; live mode sends real orders through `b`")
    assert "SLT_RUN__CONFIRM_LIVE=true" in line
    assert problems("live", "live", "live", confirmed=False, is_starting=False) == []


def test_check_mode_no_connection_while_the_lock_is_on(problems):
    (line,) = problems("paper", "live", "simulated", locked=True)
    assert "DISABLE_WEBSOCKET is on" in line


def test_clock_goes_on_by_itself_and_never_back():
    seconds = [100.0]
    clock = ExchangeClock(lambda: seconds[0])
    assert (clock.now(), clock.is_set) == (0, False)
    clock.note(1_000_000)
    seconds[0] += 2.5
    assert clock.now() == 1_002_500
    clock.note(1_002_000)
    assert clock.now() == 1_002_500, "that one was only long on its way"
    clock.note(1_060_000)
    assert clock.now() == 1_060_000


@pytest.mark.parametrize("pace", [1.0, 60.0, 1000.0])
def test_clock_tells_how_fast_the_exchange_plays_whatever_jumps(pace):
    seconds = [100.0]
    clock = ExchangeClock(lambda: seconds[0])
    clock.note(1_000_000)
    time = 1_700_000_000_000
    for step in range(40):
        seconds[0] += 0.5
        time += round(500 * pace) + (10_000 if step == 20 else 0)
        clock.note(time - (300 if step % 7 == 0 else 0))
        assert clock.pace == 1.0 if step < 5 else clock.pace == pytest.approx(pace, rel=0.5)
