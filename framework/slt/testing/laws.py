"""What the kits share: cutting a market into blocks, comparing arrays, checking a plugin's class."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import inspect
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from slt.testing.markets import with_state
from slt.types import BarState

if TYPE_CHECKING:
    from slt.types import Bars

__all__ = ["assert_described", "assert_same", "copy_bars", "cut_points", "postpone"]


def assert_described(plugin: object) -> None:
    """A plugin's class tells people what it is: a docstring, and a frozen config class with every option documented."""
    kind = type(plugin)
    doc = kind.__doc__
    assert doc, f"{kind.__name__} needs a docstring; its first line is what `slt plugins show` prints"
    assert doc.splitlines()[0].strip(), f"the first line of the docstring of {kind.__name__} is empty"
    config_class = getattr(kind, "config_class", None)
    assert config_class is not None, f"{kind.__name__} needs a `config_class`"
    assert attrs.has(config_class), f"{config_class.__name__} must be a frozen attrs class"
    assert config_class.__name__ == f"{kind.__name__}Config", (
        f"the config class of {kind.__name__} is called {config_class.__name__}; {kind.__name__}Config is the rule"
    )
    is_frozen = config_class.__setattr__ is not object.__setattr__
    assert is_frozen, f"{config_class.__name__} must be frozen: use `attrs.frozen`"
    text = inspect.getdoc(config_class) or ""
    for option in attrs.fields(config_class):
        assert f"{option.name}:" in text, (
            f"option `{option.name}` is missing in the `Attributes:` section of {config_class.__name__}"
        )


def cut_points(rows: int, cuts: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`rows` cut into ``cuts + 1`` consecutive spans (start, stop) at random, empty spans left out."""
    points = sorted({0, rows, *rng.integers(1, max(rows, 2), cuts).tolist()})
    return list(pairwise(points))


def copy_bars(bars: Bars) -> Bars:
    """A copy that shares no memory."""
    arrays = [a.name for a in attrs.fields(type(bars)) if isinstance(getattr(bars, a.name), np.ndarray)]
    return attrs.evolve(bars, **{name: getattr(bars, name).copy() for name in arrays})


def postpone(bars: Bars, row: int, symbol: int) -> tuple[Bars, Bars]:
    """Two blocks in which a symbol's bar at `row` comes late: absent in the first, alone in the second's first row."""
    before = bars.rows(0, row + 1)
    state = before.state.copy()
    state[row, symbol] = BarState.ABSENT
    after = bars.rows(row, len(bars))
    late = after.state.copy()
    late[0, [i for i in range(len(bars.symbols)) if i != symbol]] = BarState.ABSENT
    return with_state(before, state), with_state(after, late)


def assert_same(what: str, expected: Any, actual: Any, *, tolerance: float = 0.0) -> None:
    """Two arrays are equal, NaN equal to NaN; the message names the first place where they differ.

    Args:
        what: What is compared and which law it is, for the message.
        expected: The reference.
        actual: What is checked.
        tolerance: Largest absolute difference allowed; 0 demands equality.
    """
    assert expected.shape == actual.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    assert expected.dtype == actual.dtype, f"{what}: dtype {actual.dtype}, expected {expected.dtype}"
    differs = expected != actual
    if np.issubdtype(expected.dtype, np.floating):
        differs &= ~(np.isnan(expected) & np.isnan(actual))
        if tolerance > 0.0:
            differs &= ~(np.abs(expected - actual) <= tolerance)
    if differs.any():
        first = tuple(np.argwhere(differs)[0].tolist())
        raise AssertionError(
            f"{what}: {int(differs.sum())} of {differs.size} values differ, first at {first}: "
            f"{actual[first]!r}, expected {expected[first]!r}"
        )
