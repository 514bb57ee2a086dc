"""The laws of feature sets alone: what they declare of themselves, and what a missing input does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from slt.audit.findings import Example, broken, difference, holds
from slt.audit.laws import lost_mirror
from slt.audit.subject import Market, PluginFaultError
from slt.audit.walks import mirrored, scaled
from slt.types import Bars, BarState, FeatureBlock, Parity, orient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.audit.findings import Finding
    from slt.audit.laws import Lab
    from slt.audit.subject import Session, Subject, Table

__all__ = ["example_at", "features_of", "missing_bars", "missing_taker", "parity", "scale", "warmup"]

_CLOSE = 1e-6
_ROUNDING = 0.01
_BAR_FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


def warmup(lab: Lab) -> Finding:
    """Ready not before the declared number of bars and from then on; nothing is known before the first ready row."""
    bars = lab.walk(5, lab.warmup + 400, holes=False).bars
    table = lab.subject.run(Market(bars))
    ready = table.columns["ready"]
    late = np.argwhere(~ready[lab.warmup :])
    if late.size:
        row, symbol = late[0].tolist()
        return broken(
            f"not ready though {lab.warmup} bars, the declared warm-up, lie behind it",
            example_at(bars, lab.warmup + row, symbol, "ready", found=False, expected=True),
        )
    for symbol in range(len(bars.symbols)):
        first = int(np.argmax(ready[:, symbol]))
        if first < lab.warmup - 1:
            text = f"ready after {first} bars, the declared warm-up is {lab.warmup}"
            return broken(text, example_at(bars, first, symbol, "ready", found=True, expected=False))
        for name in table.values:
            known = np.flatnonzero(~np.isnan(table.columns[name][:first, symbol]))
            if known.size:
                value = float(table.columns[name][known[0], symbol])
                example = example_at(bars, int(known[0]), symbol, name, value, "nan: it is not ready")
                return broken(f"a number {first - int(known[0])} bars before the first ready row", example)
    unknown = [name for name in table.values if np.isnan(table.columns[name][lab.warmup :]).all()]
    if unknown:
        return broken(f"never known behind the warm-up: {', '.join(unknown)}")
    return holds(f"NaN before and ready from {lab.warmup} bars on")


def scale(lab: Lab) -> Finding:
    """Prices times a power of two leave the values as they are; a context column stays or is multiplied too."""
    for power in (-7, 10):
        bars = scaled(lab.bars, power)
        table = lab.subject.run(Market(bars))
        expected = {name: _scaled(lab.whole, table, name, 2.0**power) for name in lab.whole.columns}
        found = lab.difference(f"prices times 2^{power}", evolve(lab.whole, columns=expected), table, bars)
        if found:
            return found
    return holds("prices times 2^-7 and 2^10")


def _scaled(before: Table, after: Table, name: str, factor: float) -> NDArray[Any]:
    """What a column should be: a context column in price units moves with the prices, everything else stays."""
    array = before.columns[name]
    if name not in before.context:
        return array
    moved: NDArray[Any] = array * factor
    at = np.isfinite(array) & np.isfinite(after.columns[name])
    if not at.any():
        return array
    off_moved, off_same = (np.abs(after.columns[name][at] - a[at]).max() for a in (moved, array))
    return moved if off_moved < off_same else array


def parity(lab: Lab) -> Finding:
    """On the mirrored market each column is what it was declared to become: odd, even, or another column.

    The two markets differ by their prices' distance from the axis, a few per mille: columns that are ratios of prices
    may differ by as much.
    """
    bars = lab.walk(6, lab.warmup + lab.extra_rows, tick=2.0**-10, holes=False).bars
    flipped = mirrored(bars)
    block, mirror = _whole_block(lab.subject, bars), _whole_block(lab.subject, flipped)
    lost = lost_mirror(block.columns, block.context_names)
    if lost:
        return broken(lost)
    rows, columns = np.nonzero(block.ready & mirror.ready)
    if rows.size == 0:
        return broken("no row is ready, nothing could be compared")
    seen = orient(block, rows, columns, np.full(len(rows), -1, dtype=np.int8)).astype(np.float64)
    given = mirror.values[rows, columns].astype(np.float64)
    for i, column in enumerate(block.columns):
        expected, found = seen[:, i], given[:, i]
        size = np.abs(expected[np.isfinite(expected)])
        bound = _CLOSE + _ROUNDING * np.maximum(np.abs(expected), float(size.mean()) if size.size else 0.0)
        with np.errstate(invalid="ignore"):
            apart = ~((np.abs(expected - found) <= bound) | (np.isnan(expected) & np.isnan(found)))
        if apart.mean() > 1e-3:
            at = int(np.argmax(apart))
            into = f" by `{column.mirror}`" if column.parity is Parity.MIRRORED else ""
            text = f"declared {column.parity.value}{into}, but {apart.mean():.1%} of the rows are not, first"
            values = (repr(found[at].item()), repr(expected[at].item()))
            return broken(text, example_at(bars, int(rows[at]), int(columns[at]), column.name, *values, plain=False))
    return holds(f"{len(block.columns)} columns as declared on {rows.size} mirrored rows")


def missing_taker(lab: Lab) -> Finding:
    """A column that reads the taker volume is NaN where it is missing, and no other column changes."""
    rows = 2 * max(lab.warmup, 240) + 1_000
    walk = lab.walk(8, rows, symbols=2, holes=False).bars
    hole = walk.taker_buy_volume.copy()
    hole[:, 0] = np.nan
    hole[rows // 2 :, 1] = np.nan
    table, without, flipped = (
        lab.subject.run(Market(evolve(walk, taker_buy_volume=taker)))
        for taker in (walk.taker_buy_volume, hole, walk.volume - walk.taker_buy_volume)
    )
    names = [*table.values, *table.context]
    readers = [n for n in names if _differs(table.columns[n], flipped.columns[n]).any()]
    quiet = [n for n in names if n not in readers]
    spared = evolve(table, columns={n: table.columns[n] for n in quiet})
    found = difference("taker volume missing, columns that do not read it", spared, without, walk)
    if found:
        return found
    # From the start without it: nothing may ever be known. In a hole as long as any memory: nothing is known any more.
    for name in readers:
        array = without.columns[name]
        for symbol, first in ((0, 0), (1, rows - 200)):
            known = np.flatnonzero(~np.isnan(array[first:, symbol]))
            if known.size:
                row = first + int(known[0])
                where = "the whole run" if symbol == 0 else f"{row - rows // 2} bars"
                example = example_at(walk, row, symbol, name, float(array[row, symbol]), "nan")
                return broken(f"a number though the taker volume has been missing for {where}", example)
    read = f"{', '.join(readers)} NaN without it" if readers else "no column reads it"
    return holds(f"{read}; {len(quiet)} others unchanged")


def missing_bars(lab: Lab) -> Finding:
    """An absent bar computes nothing: never fresh, values held or NaN; a symbol that never traded has no numbers."""
    bars = lab.bars
    silent = _with_silent_symbol(bars)
    table = lab.subject.run(Market(silent))
    last = len(silent.symbols) - 1
    for name in (*table.values, *table.context, "fresh", "ready"):
        array = table.columns[name][:, last]
        wrong = np.flatnonzero(~np.isnan(array) if array.dtype.kind == "f" else array)
        if wrong.size:
            row = int(wrong[0])
            expected = "nan" if array.dtype.kind == "f" else "False"
            example = example_at(silent, row, last, name, repr(array[row].item()), expected, plain=False)
            return broken("a symbol without a single bar has output", example)
    whole = lab.whole
    absent = bars.state == BarState.ABSENT
    absent[0] = False
    for name in ("fresh", *whole.values):
        array = whole.columns[name]
        if name == "fresh":
            wrong_at = absent & array
        else:
            held = np.vstack([array[:1], array[:-1]])
            wrong_at = absent & ~np.isnan(array) & (array != held)
        if wrong_at.any():
            row, symbol = np.argwhere(wrong_at)[0].tolist()
            value = repr(array[row, symbol].item())
            expected = "False" if name == "fresh" else "nan or the value of the row before"
            return broken("an absent bar has output", example_at(bars, row, symbol, name, value, expected, plain=False))
    return holds(f"{int(absent.sum())} absent bars, and a symbol that never traded")


def _with_silent_symbol(bars: Bars) -> Bars:
    extra: dict[str, Any] = {}
    for name in (*_BAR_FIELDS, "state"):
        array = getattr(bars, name)
        column = np.full((len(bars), 1), BarState.ABSENT if name == "state" else np.nan, dtype=array.dtype)
        extra[name] = np.hstack([array, column])
    return evolve(bars, symbols=(*bars.symbols, "ZZZSILENTUSDT"), **extra)


def _differs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = (a != b) & ~(np.isnan(a) & np.isnan(b))
    return differs


def _whole_block(subject: Subject, bars: Bars) -> FeatureBlock:
    return features_of(subject.started(bars.symbols), bars)


def features_of(session: Session, bars: Bars) -> FeatureBlock:
    """The block that a feature set at work gives for these bars."""
    block = session.step(Market(bars))
    if not isinstance(block, FeatureBlock):
        raise PluginFaultError("slt_update_features", "gave no FeatureBlock")
    return block


def example_at(
    bars: Bars, row: int, symbol: int, column: str, found: Any, expected: Any, *, plain: bool = True
) -> Example:
    """A place at which a law broke; `plain` values are numbers, others are texts already."""
    shown = (repr(found), expected if isinstance(expected, str) else repr(expected)) if plain else (found, expected)
    return Example(int(bars.close_time[row]), bars.symbols[symbol], column, *shown)
