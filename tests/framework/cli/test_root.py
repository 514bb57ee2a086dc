"""Names that do not exist, and how errors of every sort leave the command."""

from __future__ import annotations

import errno
import re

import click
import pytest

from slt.cli import root as root_module
from slt.errors import ConfigError, PluginError, SltError, StoppedError

COMMANDS = ", ".join(root_module.root.list_commands(None))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rum"], f"no command `rum`; did you mean `run`? (commands: {COMMANDS}); see `slt --help`"),
        (["zzz"], f"no command `zzz` (commands: {COMMANDS}); see `slt --help`"),
        (["plugins", "lst"], "no command `lst`; did you mean `list`? (commands: list, show); see `slt plugins --help`"),
        (
            ["config", "chek"],
            "no command `chek`; did you mean `check`? (commands: check, show); see `slt config --help`",
        ),
        (["run", "extra"], "Got unexpected extra argument (extra); see `slt run --help`"),
        (["why"], "Missing argument 'SYMBOL'; see `slt why --help`"),
        (
            ["model", "show", "x"],
            "Invalid value for 'VERSION': 'x' is not a valid integer; see `slt model show --help`",
        ),
        (
            ["why", "X", "--limit", "0"],
            "Invalid value for '--limit': 0 is not in the range x>=1; see `slt why --help`",
        ),
        (
            ["why", "X", "--at", "noon"],
            "--at: found `noon`, allowed is a time like 2025-05-20T14:35; see `slt why --help`",
        ),
    ],
)
def test_usage_error_is_one_line_with_the_nearest_name(slt, arguments, line):
    assert slt(*arguments) == (2, "", f"slt: {line}\n")


@pytest.mark.parametrize("arguments", [["--freshh"], ["run", "--freshh"], ["plugins", "list", "--jsn"]])
def test_unknown_option_is_named_with_the_nearest(slt, arguments):
    code, out, err = slt(*arguments)
    assert (code, out) == (2, "")
    assert re.match(rf"slt: No such option:? '?{arguments[-1]}", err)
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["plugins"], ["data"]])
def test_group_without_a_command_shows_its_help(slt, arguments):
    code, _, err = slt(*arguments)
    assert code == 2
    assert err.startswith("Usage: slt ")
    assert "Commands:" in err


def test_help_names_every_command_and_exit_code(slt):
    code, out, err = slt("--help")
    assert (code, err) == (0, "")
    for words in (*COMMANDS.split(", "), "0 fine", "2 config or usage", "3 plugin", "5 stopped", "70 watchdog"):
        assert words in out


@pytest.fixture
def failing(monkeypatch):
    """`slt config` fails with the error given."""

    def fail(error):
        @click.command()
        def config():
            raise error

        monkeypatch.setattr(root_module.root, "get_command", lambda _context, _name: config)

    return fail


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SltError("one"), 1, "slt: one\n"),
        (ConfigError("one", "two"), 2, "slt: one\nslt: two\n"),
        (PluginError("one"), 3, "slt: one\n"),
        (StoppedError("saved"), 5, "slt: saved\n"),
        (SltError(""), 1, "slt: SltError\n"),
        (KeyboardInterrupt(), 130, "\nslt: interrupted\n"),
        (click.Abort(), 130, "slt: interrupted\n"),
        (click.ClickException("odd"), 1, "slt: odd\n"),
        (
            ValueError("two\nlines"),
            1,
            "slt: unexpected ValueError: two lines; run again with `slt --debug` and report the traceback\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "slt: No space left on device; free space on that disk, then run the same command again\n",
        ),
        (
            ExceptionGroup("g", [PermissionError(errno.EACCES, "Permission denied", "runs/t-001/state.tmp")]),
            1,
            (
                "slt: `runs/t-001/state.tmp`: Permission denied; allow it to the user that slt runs as, or choose "
                "another folder\n"
            ),
        ),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
            1,
            (
                "slt: unexpected ConnectionRefusedError: [Errno 111] refused; run again with `slt --debug` and report "
                "the traceback\n"
            ),
        ),
        (ExceptionGroup("g", [ValueError("v"), ExceptionGroup("h", [ConfigError("c")])]), 2, "slt: c\n"),
        (
            ExceptionGroup("g", [KeyError("k")]),
            1,
            "slt: unexpected KeyError: 'k'; run again with `slt --debug` and report the traceback\n",
        ),
    ],
)
def test_errors_leave_with_their_words_and_code(slt, failing, error, code, text):
    failing(error)
    assert slt("config") == (code, "", text)
    found, _, err = slt("config", "--debug")
    assert found == code
    assert "Traceback (most recent call last):" in err or "Exception Group Traceback" in err
    assert err.endswith(text)


def test_errors_never_show_a_secret(slt, failing):
    failing(RuntimeError("cannot reach postgresql://me:s3cret-word@host/db"))
    _, _, err = slt("config", "--debug", DATABASE_URL="postgresql://me:s3cret-word@host/db")
    assert "s3cret-word" not in err
    assert "[DATABASE_URL]" in err


@pytest.mark.parametrize("name", ["MY_BOT_TOKEN", "deep_webhook", "BINANCE_SUB_API_KEY", "OTHER_DATABASE"])
def test_errors_never_show_a_secret_that_only_a_configuration_names(slt, failing, name):
    failing(RuntimeError("POST /bot12345:own-token-value/send"))
    _, _, err = slt("config", "--debug", **{name: "12345:own-token-value"})
    assert "own-token-value" not in err
    assert f"[{name}]" in err


def test_system_exit_of_a_command_is_kept(slt, failing):
    failing(SystemExit(70))
    assert slt("config") == (70, "", "")
