"""The coupling law: where an instance began does not matter once it is warm."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from slt.audit.feature_laws import example_at, features_of
from slt.audit.findings import broken, holds
from slt.types import Bars, BarState

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slt.audit.findings import Finding
    from slt.audit.laws import Lab
    from slt.audit.subject import Subject

    Array = NDArray[np.float64]

__all__ = ["coupling"]

_CLOSE = 1e-6
_SHARE = 0.99
_BLOCK_VALUES = 250_000
_HOUR_MS = 3_600_000
_BAR_FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


def coupling(lab: Lab) -> Finding:
    """Wherever it starts, after the declared warm-up it says the same: in 99 %, after 1.5 times it in all starts.

    A start is judged on its first ready row at that age or up to an hour behind it: a set that builds larger candles
    has to wait for the end of the first one.
    """
    slack = max(_HOUR_MS // lab.subject.interval_ms, 1)
    ages = (lab.warmup, ceil(1.5 * lab.warmup))
    bars = lab.walk(7, 3 * lab.warmup + lab.starts + slack + 2, symbols=1, holes=False).bars
    # The step is no whole number of bars in larger candles, so that starts fall anywhere within them.
    starts = np.linspace(lab.warmup / 2 + 1, 1.5 * lab.warmup + lab.starts, lab.starts).astype(np.int64)
    found = _from_starts(lab, bars, starts, ages, slack)
    for age, share, (rows, values, expected) in zip(ages, (_SHARE, 1.0), found, strict=True):
        with np.errstate(invalid="ignore"):
            close = np.abs(values - expected) <= _CLOSE * np.maximum(1.0, np.abs(expected))
        apart = ~(close | (np.isnan(values) & np.isnan(expected)))
        agree = 1.0 - apart.any(axis=1).mean()
        if agree < share:
            at, column = np.argwhere(apart)[0].tolist()
            name = lab.subject.started(("AAAUSDT",)).describe().columns[column].name
            pair = (repr(values[at, column].item()), repr(expected[at, column].item()))
            text = (
                f"{age} bars after the start only {agree:.1%} of {lab.starts} starts agree with an older one within "
                f"1e-6, {share:.0%} must; first with the start at bar {bars.close_time[starts[at]]}"
            )
            return broken(text, example_at(bars, int(rows[at]), 0, name, *pair, plain=False))
    return holds(f"{lab.starts} starts agree within 1e-6 after {ages[0]} ({_SHARE:.0%}) and {ages[1]} bars (all)")


def _from_starts(
    lab: Lab, bars: Bars, starts: NDArray[np.int64], ages: tuple[int, int], slack: int
) -> list[tuple[NDArray[np.int64], Array, Array]]:
    """For each age: the row ``[n]`` at which each start is judged, its values there and those of an older start."""
    judged = [_Judged(starts + age, starts + age + slack) for age in ages]
    life = ages[1] + slack
    if lab.subject.is_cross_symbol:
        _watch(lab.subject, bars, 0, len(bars), [j.reference for j in judged])
        for place, start in enumerate(starts.tolist()):
            end = min(start + life + 1, len(bars))
            _watch(lab.subject, bars, start, end, [partial(j.take, place) for j in judged])
        return [j.result() for j in judged]
    names = tuple(f"S{i:03d}USDT" for i in range(len(starts) + 1))
    session = lab.subject.started(names)
    step = max(_BLOCK_VALUES // len(names), 1)
    for begin in range(0, len(bars), step):
        part = bars.rows(begin, min(begin + step, len(bars)))
        block = features_of(session, _staggered(part, begin, starts, life, names))
        for j in judged:
            j.reference(begin, block.values[:, 0], block.ready[:, 0])
            for place in j.waiting(begin, begin + len(part)):
                j.take(place, begin, block.values[:, place + 1], block.ready[:, place + 1])
    return [j.result() for j in judged]


def _watch(subject: Subject, bars: Bars, start: int, end: int, watchers: list[Callable[..., None]]) -> None:
    block = features_of(subject.started(bars.symbols), bars.rows(start, end))
    for watch in watchers:
        watch(start, block.values[:, 0], block.ready[:, 0])


class _Judged:
    """The first ready row of every start between two rows, and what an older start says at the same row."""

    def __init__(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        self.first, self.last = first, last
        self.rows = first.copy()
        self.values: list[Array | None] = [None] * len(first)
        self._reference: list[Array] = []

    def reference(self, begin: int, values: NDArray[np.float32], ready: NDArray[np.bool_]) -> None:
        """Keep what the oldest start says."""
        del begin, ready
        self._reference.append(values.astype(np.float64))

    def waiting(self, begin: int, end: int) -> list[int]:
        """Starts that may be judged on the rows from `begin` to before `end`."""
        inside = np.flatnonzero((self.first < end) & (self.last >= begin)).tolist()
        return [place for place in inside if self.values[place] is None]

    def take(self, place: int, begin: int, values: NDArray[np.float32], ready: NDArray[np.bool_]) -> None:
        """Judge a start if one of these rows is ready."""
        low, high = max(int(self.first[place]) - begin, 0), int(self.last[place]) - begin + 1
        at = np.flatnonzero(ready[low:high])
        if at.size:
            row = low + int(at[0])
            self.rows[place] = begin + row
            self.values[place] = values[row].astype(np.float64)

    def result(self) -> tuple[NDArray[np.int64], Array, Array]:
        reference = np.concatenate(self._reference)
        never = np.full(reference.shape[1], np.nan)
        return self.rows, np.array([never if v is None else v for v in self.values]), reference[self.rows]


def _staggered(part: Bars, begin: int, starts: NDArray[np.int64], life: int, names: tuple[str, ...]) -> Bars:
    """One symbol many times: the first copy always there, each other from its own start on for as long as is needed."""
    number = begin + np.arange(len(part))[:, np.newaxis]
    present = np.ones((len(part), len(names)), dtype=np.bool_)
    present[:, 1:] = (number >= starts) & (number <= starts + life)
    fields: dict[str, Any] = {name: np.where(present, getattr(part, name), np.nan) for name in _BAR_FIELDS}
    state = np.where(present, BarState.TRADED, BarState.ABSENT).astype(np.uint8)
    return evolve(part, symbols=names, state=state, **fields)
