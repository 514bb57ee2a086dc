"""The tree of errors: exit codes, and what the module says about them."""

from __future__ import annotations

import re

import pytest

from slt import errors

DRAWN = re.findall(r"^    ([│├└─ ]*)(\w+Error) +(?:exit code )?(\d+)", errors.__doc__, re.MULTILINE)


def test_errors_are_all_public_and_drawn_with_their_exit_code():
    assert {name: getattr(errors, name).exit_code for name in errors.__all__} == {n: int(c) for _, n, c in DRAWN}


def test_errors_tree_in_the_docstring_is_the_tree_of_the_classes():
    parents = [""]
    for branches, name, _ in DRAWN:
        depth = len(branches) // 4
        parents[depth + 1 :] = [name]
        base = getattr(errors, name).__bases__[0].__name__
        assert base == (parents[depth] or "Exception")


@pytest.mark.parametrize(
    ("error", "code"),
    [("ConfigError", 2), ("DataError", 2), ("PluginNotFoundError", 3), ("StorageError", 1), ("StoppedError", 5)],
)
def test_errors_exit_codes_are_the_promised_ones(error, code):
    assert getattr(errors, error).exit_code == code


def test_config_error_carries_every_problem():
    error = errors.ConfigError("one", "two")
    assert (error.problems, str(error)) == (("one", "two"), "one\ntwo")


@pytest.mark.parametrize(("seconds", "text"), [(2.0, "2 s"), (0.5, "0.5 s")])
def test_retry_later_error_says_how_long(seconds, text):
    error = errors.RetryLaterError(seconds)
    assert error.seconds == seconds
    assert str(error) == f"the channel asked to wait {text}"
