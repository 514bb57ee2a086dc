from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError
from slt.log import (
    CATEGORIES,
    LogConfig,
    RepeatAggregator,
    SecretFilter,
    configure_logging,
    get_logger,
)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def setup(clock):
    sessions = []

    def set_up(config=None, *, terminal=False, file=None, environment=None, **more):
        stream = io.StringIO()
        session = configure_logging(
            config or LogConfig(),
            terminal=terminal,
            file=file,
            stream=stream,
            environment=environment or {},
            clock=clock,
            **more,
        )
        sessions.append(session)
        return session, stream

    yield set_up
    for session in sessions:
        session.close()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def line(event="database away", level="error", category="execution", **fields):
    return {"event": event, "level": level, "category": category, **fields}


def test_get_logger_unknown_category_is_refused():
    with pytest.raises(ValueError, match="log category `money` is unknown; allowed: learning, profit"):
        get_logger("money")


def test_import_of_the_log_loads_no_renderer():
    code = "import slt.log, sys; slt.log.get_logger('error'); print({'structlog', 'orjson', 'rich'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_json_line_has_event_category_level_and_fields(setup):
    _, stream = setup()
    get_logger("execution").bind(run="r-001").info("order accepted", symbol="BTCUSDT", price=104_250.1)
    (written,) = lines(stream)
    assert written.pop("timestamp").endswith("Z")
    assert written == {
        "level": "info",
        "category": "execution",
        "event": "order accepted",
        "run": "r-001",
        "symbol": "BTCUSDT",
        "price": 104_250.1,
    }


def test_console_line_writes_event_time_out_and_has_no_colour_codes_off_a_terminal(setup):
    _, stream = setup(LogConfig(format="console"))
    get_logger("profit").info("trade closed", time=1_746_057_600_000, pnl=12.5)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "time=2025-05-01T00:00:00Z" in text
    assert "[profit]" in text
    assert "trade closed" in text


def test_console_line_keeps_the_order_of_the_fields_and_leaves_out_what_only_machines_read(setup):
    _, stream = setup(LogConfig(format="console"))
    get_logger("lifecycle").warning("halted", symbol="BTCUSDT", detail="why", notice="r-001-alert-1", safety=True)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("[warning] halted [lifecycle] symbol=BTCUSDT detail=why")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line)


def test_console_line_of_hostile_words_stays_one_plain_line(setup):
    _, stream = setup(LogConfig(format="console"))
    hostile = "halted\n2026-01-01T00:00:00Z [critical] all is lost\r\x1b[2J\x9b31m"
    get_logger("lifecycle").warning(hostile, symbol=hostile, bare="\x1b[31mred", many=[hostile])
    logging.getLogger("library").warning("%s", hostile)
    get_logger("error").error("failed", exc_info=ValueError(hostile))
    text = stream.getvalue()
    assert not set(text) & {"\x1b", "\x9b", "\r"}
    found = text.splitlines()
    assert len([line for line in found if line.startswith("2026-01-01")]) <= 1  # the text of the exception
    assert "2026-01-01T00:00:00Z [critical] all is lost" in found[0]
    assert "[lifecycle]" in found[0]
    assert "[library]" in found[1]


def test_console_line_is_coloured_on_a_terminal_unless_no_color_is_set(setup):
    _, coloured = setup(terminal=True)
    get_logger("profit").info("trade closed")
    _, plain = setup(terminal=True, environment={"NO_COLOR": "1"})
    get_logger("profit").info("trade closed")
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()


@pytest.mark.parametrize("category", CATEGORIES)
def test_level_of_a_category_hides_its_lines_only(setup, category):
    _, stream = setup(LogConfig(**{category: "error", "error" if category != "error" else "other": "debug"}))
    get_logger(category).warning("hidden")
    get_logger(category).error("shown")
    assert [(one["event"], one["category"]) for one in lines(stream)] == [("shown", category)]


def test_safety_line_passes_level_and_repetition(setup):
    session, stream = setup(LogConfig(execution="critical"))
    for _ in range(5):
        get_logger("execution").debug("stop missing", safety=True)
        get_logger("execution").error("hidden")
    assert [one["event"] for one in lines(stream)] == ["stop missing"] * 5
    assert session.shown == 5


def test_repeated_error_is_shown_once_then_counted_each_minute(setup, clock):
    session, stream = setup()
    log = get_logger("error")
    for second in range(130):
        clock.now = float(second)
        log.error("send failed", attempt=second)
    session.close()
    assert [(one["attempt"], one.get("repeated")) for one in lines(stream)] == [
        (0, None),
        (59, 59),
        (119, 60),
        (129, 10),
    ]
    assert session.produced == 130


def test_repeat_counts_are_told_when_nothing_follows(setup, clock):
    session, stream = setup()
    for _ in range(3):
        get_logger("error").error("send failed")
    clock.now = 60.0
    session.tell_repeats()
    assert [one.get("repeated") for one in lines(stream)] == [None, 2]


def test_repeat_of_a_library_line_is_known_by_its_message_before_arguments(setup):
    session, stream = setup()
    for attempt in range(4):
        logging.getLogger("slt_somewhere").warning("attempt %d failed", attempt)
    session.close()
    assert [(one["event"], one.get("repeated")) for one in lines(stream)] == [
        ("attempt 0 failed", None),
        ("attempt 3 failed", 3),
    ]
    assert lines(stream)[0]["category"] == "other"
    assert lines(stream)[0]["logger"] == "slt_somewhere"


def test_same_words_of_another_channel_or_another_exception_are_shown_in_full(setup):
    session, stream = setup()
    log = get_logger("error")
    for error in (ValueError("1"), ValueError("2"), KeyError("3"), ValueError("4")):
        log.error("plugin failed", exc_info=error)
    for channel in ("telegram", "discord", "telegram", "discord"):
        log.warning("notice not sent", channel=channel)
    shown = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["exception"] for line in shown[:2]] == ["ValueError: 1", "KeyError: '3'"]
    assert [line["channel"] for line in shown[2:]] == ["telegram", "discord"]
    session.close()
    told = [json.loads(line) for line in stream.getvalue().splitlines()[4:]]
    assert sorted(line["repeated"] for line in told) == [1, 1, 2]


def test_repeat_summary_leaves_the_traceback_out(setup):
    session, stream = setup()
    for _ in range(2):
        try:
            1 / 0  # noqa: B018 - raises
        except ZeroDivisionError:
            get_logger("error").exception("hook failed")
    session.close()
    first, told = lines(stream)
    assert "ZeroDivisionError: division by zero" in first["exception"]
    assert "exception" not in told


def test_repeat_window_over_without_repetition_shows_the_next_in_full():
    repeats = RepeatAggregator(60.0)
    first, later = line(attempt=1), line(attempt=2)
    assert repeats.admit(first, 0.0) == [first]
    assert repeats.admit(later, 61.0) == [later]


def test_repeat_limit_tells_the_oldest_before_forgetting_it():
    repeats = RepeatAggregator(60.0, limit=2)
    for event in ("a", "a", "b"):
        repeats.admit(line(event), 0.0)
    assert repeats.admit(line("c"), 0.0) == [line("a", repeated=1), line("c")]


def test_repeat_window_of_zero_shows_everything():
    repeats = RepeatAggregator(0.0)
    assert [repeats.admit(line(), 0.0) for _ in range(3)] == [[line()]] * 3


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["info", "error"]), st.booleans(), st.floats(0.0, 40.0)),
        max_size=80,
    )
)
def test_repeat_aggregation_loses_no_count_and_no_safety_line(script):
    repeats, now, shown = RepeatAggregator(60.0, limit=3), 0.0, []
    for event, level, safety, wait in script:
        now += wait
        shown += repeats.admit(line(event, level, safety=safety), now)
    shown += repeats.flush()
    told = sum(one.get("repeated", 1) for one in shown)
    assert told == len(script)
    always = [(event, level) for event, level, safety, _ in script if safety or level == "info"]
    assert [(o["event"], o["level"]) for o in shown if o["safety"] or o["level"] == "info"] == always


def test_secret_values_never_reach_screen_or_file(setup, tmp_path):
    environment = {
        "TELEGRAM_TOKEN": "123456:AAH-token+with,chars",
        "DATABASE_URL": "postgresql://slt:p%40ss-word@db.example:5432/slt",
        "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/42/s3cr3t-path",
        "MY_TOKEN": "own-secret",
        "TELEGRAM_CHAT_ID": "4242424242",
    }
    file = tmp_path / "log" / "slt.jsonl"
    session, stream = setup(environment=environment, file=file, secret_names=("MY_TOKEN",))
    log = get_logger("error")
    token = environment["TELEGRAM_TOKEN"]
    log.error(" ".join(("POST", "/bot" + token, "failed")), url="https://x/bot123456%3AAAH-token%2Bwith%2Cchars/send")
    log.error(
        "connection refused", error=OSError(environment["DATABASE_URL"]), password="p@ss-word", own=["own-secret"]
    )
    log.error("no such path /api/webhooks/42/s3cr3t-path", chat=4242424242)
    try:
        open("/nowhere/" + token).close()  # noqa: PTH123 - raises
    except OSError:
        log.exception("send failed", nested={token: {"deep": (token,)}})
    session.close()
    for text in (stream.getvalue(), file.read_text()):
        assert len(text.splitlines()) == 4
        for secret in (token, "AAH-token", "p%40ss-word", "p@ss-word", "s3cr3t", "own-secret", "4242424242"):
            assert secret not in text
        assert "[TELEGRAM_TOKEN]" in text
        assert "[DATABASE_URL]" in text
        assert "[MY_TOKEN]" in text


def test_secret_filter_leaves_empty_and_tiny_values_alone():
    secrets = SecretFilter({"TELEGRAM_TOKEN": "", "TELEGRAM_CHAT_ID": "1"})
    assert secrets.text("1 of 12 trades") == "1 of 12 trades"


@pytest.mark.parametrize(
    ("value", "leak"),
    [
        ("postgresql://db.example/slt?user=slt&password=quer%26y-pass", "refused quer&y-pass"),
        ("https://chat.example/hooks/1?thread=7&token=hook-token", "no hook-token here"),
        ("https://chat.example/hooks/path-secret/", "POST path-secret"),
        ("back\\slash'and\"quote", repr(OSError("back\\slash'and\"quote"))),
        ("back\\slash'and\"quote", json.dumps({"error": "back\\slash'and\"quote"})),
        ("postgresql://u:p%C3%A4ss-w%22rt@h/d", json.dumps('päss-w"rt')),
    ],
)
def test_secret_filter_knows_a_secret_in_every_form(value, leak):
    told = SecretFilter({"MY_SECRET": value}, ["MY_SECRET"]).text(leak)
    assert "[MY_SECRET]" in told
    for part in ("quer&y-pass", "hook-token", "path-secret", "slash", "ss-w"):
        assert part not in told


def test_secret_filter_survives_a_malformed_address():
    assert SecretFilter({"DATABASE_URL": "postgres://[half"}).text("postgres://[half") == "[DATABASE_URL]"


def test_secret_filter_turns_any_value_into_json_types():
    class Side(Enum):
        LONG = 1

    clean = SecretFilter({}).clean
    assert clean({"nan": float("nan"), "side": Side.LONG, "set": {1}, "money": Decimal("1.5"), "flag": True}) == {
        "nan": None,
        "side": "LONG",
        "set": [1],
        "money": "Decimal('1.5')",
        "flag": True,
    }


def test_file_takes_every_line_and_rotates(setup, tmp_path):
    file = tmp_path / "slt.jsonl"
    session, stream = setup(LogConfig(file_mb=1, file_count=2), file=file)
    log = get_logger("execution")
    for number in range(3000):
        log.debug("price point", number=number, padding="x" * 900)
    for _ in range(3):
        log.error("send failed")
    session.close()
    kept = [json.loads(text) for path in (file.with_suffix(".jsonl.1"), file) for text in path.read_text().splitlines()]
    assert [one["event"] for one in kept[-3:]] == ["send failed"] * 3
    numbers = [one["number"] for one in kept if "number" in one]
    assert numbers == list(range(numbers[0], 3000))
    assert (tmp_path / "slt.jsonl.2").exists()
    assert not (tmp_path / "slt.jsonl.3").exists()
    assert [one.get("repeated") for one in lines(stream)] == [None, 2]


def test_file_begins_with_what_was_written_before_it_was_known(setup, tmp_path):
    file = tmp_path / "slt.log"
    environment = {"MY_TOKEN": "own-secret"}
    _, screen = setup()
    get_logger("lifecycle").warning("the storage is away", safety=True, cause="own-secret")
    logging.getLogger("library").error("%s failed", "something")
    session, later = setup(file=file, environment=environment, secret_names=("MY_TOKEN",))
    get_logger("lifecycle").info("run started")
    session.close()
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in written] == ["the storage is away", "something failed", "run started"]
    assert written[0]["cause"] == "[MY_TOKEN]"
    assert len(screen.getvalue().splitlines()) == 2
    assert [line["event"] for line in lines(later)] == ["run started"]


def test_file_keeps_debug_lines_of_libraries_out_unless_asked_for(setup, tmp_path):
    for other, expected in (("warning", []), ("debug", ["noise"])):
        file = tmp_path / f"{other}.jsonl"
        session, _ = setup(LogConfig(other=other), file=file)
        logging.getLogger("somelibrary").debug("noise")
        session.close()
        assert [json.loads(text)["event"] for text in file.read_text().splitlines()] == expected


def test_file_that_cannot_be_opened_is_a_config_error(setup, tmp_path):
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(ConfigError, match=r"the log file `.*slt.jsonl` cannot be opened: .*; choose another folder"):
        setup(file=tmp_path / "blocked" / "slt.jsonl")


def test_file_that_stops_taking_lines_is_told_once_and_never_raises(setup, tmp_path, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", told)
    file = tmp_path / "slt.jsonl"
    session, stream = setup(file=file)
    (handler,) = [h for h in logging.getLogger().handlers if getattr(h, "baseFilename", "") == str(file)]
    handler.stream.close()
    handler.stream = open("/dev/full", "w")  # noqa: PTH123, SIM115 - the handler closes it
    get_logger("error").error("first")
    get_logger("error").error("second")
    monkeypatch.setattr(handler, "stream", None)
    assert told.getvalue().count("cannot be written") == 1
    assert session.failed == 2
    assert [one["event"] for one in lines(stream)] == ["first", "second"]


def test_screen_that_raises_never_reaches_the_run(setup):
    class Sore:
        def __repr__(self):
            raise RuntimeError("repr failed")

    session, stream = setup()
    get_logger("error").error("odd field", field=Sore())
    get_logger("error").error("next")
    assert [one["event"] for one in lines(stream)] == ["next"]
    assert session.failed == 1


def test_screen_without_a_stream_looks_stderr_up_at_every_write(clock, monkeypatch):
    with configure_logging(LogConfig(), terminal=False, file=None, environment={}, clock=clock):
        later = io.StringIO()
        monkeypatch.setattr(sys, "stderr", later)
        get_logger("error").error("above the bar")
    assert [one["event"] for one in lines(later)] == ["above the bar"]


def test_reserved_field_name_does_not_overwrite_the_line(setup):
    _, stream = setup()
    get_logger("error").error("refused", level="tier 1", category="c")
    (written,) = lines(stream)
    assert (written["level"], written["level_"], written["category_"]) == ("error", "tier 1", "c")


def test_configure_logging_twice_replaces_and_close_restores(setup):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    _, first = setup()
    session, second = setup()
    get_logger("error").error("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
    session.close()
    assert (root.level, root.handlers) == before
    assert logging.getLogger("slt.execution").level == logging.NOTSET


def test_json_without_orjson_gives_the_same_line(setup, monkeypatch):
    fields = {"text": 'Größe \u2028 "q"', "big": 2**70, "nan": float("nan"), "none": None}
    _, fast = setup()
    get_logger("error").error("line", **fields)
    monkeypatch.setitem(sys.modules, "orjson", None)
    _, slow = setup()
    get_logger("error").error("line", **fields)
    a, b = lines(fast)[0], lines(slow)[0]
    assert {**a, "timestamp": ""} == {**b, "timestamp": ""}
    assert a["big"] == 2**70


def test_log_config_names_the_allowed_levels():
    with pytest.raises(ValueError, match="'execution' must be in"):
        LogConfig(execution="loud")


@pytest.mark.parametrize("make", [lambda log: log.critical("margin call"), lambda log: log.info("halted", safety=True)])
def test_safety_lines_pass_every_level_and_every_repetition(setup, tmp_path, make):
    every = dict.fromkeys((*CATEGORIES, "other"), "critical")
    config = LogConfig(**every, file_level="critical", repeat_seconds=3600.0)
    _, stream = setup(config, file=tmp_path / "slt.log")
    for _ in range(5):
        make(get_logger("execution"))
        get_logger("execution").error("hidden")
    assert len(lines(stream)) == 5
    assert len((tmp_path / "slt.log").read_text().splitlines()) == 5
