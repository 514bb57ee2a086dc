"""What came of one law: it holds, or it broke, and then where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from slt.audit.subject import Table
    from slt.types import Bars

__all__ = ["BROKEN", "FAILED", "HOLDS", "SKIPPED", "Example", "Finding", "broken", "difference", "holds", "skipped"]

HOLDS, BROKEN, FAILED, SKIPPED = "holds", "broken", "failed", "skipped"


@frozen
class Example:
    """The first place at which a law broke.

    Attributes:
        bar: Its close time, ms UTC.
        symbol: Exchange name.
        column: Output of the plugin.
        found: What the plugin gave there.
        expected: What the law demands.
    """

    bar: int
    symbol: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.bar / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        return (
            f"at the bar {when} ({self.bar}) of {self.symbol}, `{self.column}` is {self.found}, "
            f"expected {self.expected}"
        )


@frozen
class Finding:
    """What came of one law.

    Attributes:
        verdict: `HOLDS`, `BROKEN`, `FAILED` (the plugin raised, or gave nothing that can be judged) or `SKIPPED`.
        text: What was tried, or what broke, in one line.
        example: The first place at which it broke; None where it holds or where there is no such place.
    """

    verdict: str
    text: str
    example: Example | None = None


def holds(text: str) -> Finding:
    """The law holds; `text` says what was tried."""
    return Finding(HOLDS, text)


def broken(text: str, example: Example | None = None) -> Finding:
    """The law broke."""
    return Finding(BROKEN, text if example is None else f"{text}: {example}", example)


def skipped(text: str) -> Finding:
    """The law was not asked, and why."""
    return Finding(SKIPPED, text)


def difference(
    what: str,
    expected: Table,
    actual: Table,
    bars: Bars,
    tolerance: float = 0.0,
    tolerances: Mapping[str, NDArray[np.float64] | float] | None = None,
) -> Finding | None:
    """Compare two answers for the same bars.

    Args:
        what: What was tried, for the text.
        expected: The reference.
        actual: What is checked.
        bars: The bars of both.
        tolerance: Largest difference allowed between floats, times the largest size of the column where that is above
            1; whatever is no float, and whether a value is known at all, must be equal.
        tolerances: Other absolute tolerances by column.

    Returns:
        A broken law with its first place, by time and then by symbol; None where nothing differs.
    """
    first: tuple[int, int, str] | None = None
    count, names = 0, []
    for name, array in expected.columns.items():
        bound = (tolerances or {}).get(name, tolerance * _scale(array))
        apart = _apart(array, actual.columns[name], bound)
        if not apart.any():
            continue
        count += int(apart.sum())
        names.append(name)
        row, symbol = np.argwhere(apart)[0].tolist()
        if first is None or (row, symbol) < first[:2]:
            first = (row, symbol, name)
    if first is None:
        return None
    row, symbol, name = first
    example = Example(
        bar=int(bars.close_time[row]),
        symbol=bars.symbols[symbol],
        column=name,
        found=_shown(actual.columns[name][row, symbol]),
        expected=_shown(expected.columns[name][row, symbol]),
    )
    total = sum(array.size for array in expected.columns.values())
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return broken(f"{what}: {count} of {total} values differ ({shown}), first", example)


def _scale(array: NDArray[Any]) -> float:
    if array.dtype.kind != "f" or array.size == 0:
        return 1.0
    known = np.abs(array[np.isfinite(array)])
    return max(1.0, float(known.max())) if known.size else 1.0


def _apart(a: NDArray[Any], b: NDArray[Any], bound: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = a != b
    if a.dtype.kind == "f":
        differs &= ~(np.isnan(a) & np.isnan(b))
        if np.any(np.asarray(bound) > 0.0):
            with np.errstate(invalid="ignore"):
                differs &= ~(np.abs(a.astype(np.float64) - b) <= bound)
    return differs


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)
