"""The fixed barrier of every decision: stop, target or time limit, followed on the real candles.

The label of a sample must not depend on how the exits happened to close the trade, and a refused proposal has no trade
at all. So each decision is followed from the open of the bar after it until the first of stop, target and horizon;
within a bar the stop is looked at first. The outcome is a pure function of the symbol's own bars, whatever the calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import define, evolve, frozen

from slt.trading.sizing import floored_stop
from slt.types import MINUTE_MS, BarState, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import Bars, FundingRates

__all__ = ["Barriers"]


_TRADED = int(BarState.TRADED)


@define(eq=False)
class _Track:
    """One sample under way. `entry` is NaN until the bar after the decision opens."""

    sample: Sample
    column: int
    deadline: int = 0
    entry: float = float("nan")
    stop: float = float("nan")


@frozen(eq=False)
class _Span:
    """Rows of a block, in which barriers are looked for."""

    bars: Bars
    start: int
    stop: int


class Barriers:
    """Samples whose barrier is not hit yet.

    Args:
        symbols: Column order of the blocks.
        horizon_minutes: Time limit, counted from the open of the bar after the decision.
        min_stop_fraction: Floor of the distance to the stop, applied to the entry price as for a trade.
        funding: Funding per symbol, where known; it enters the net outcome.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        horizon_minutes: int,
        min_stop_fraction: float,
        funding: dict[str, FundingRates],
    ) -> None:
        self._columns = {symbol: i for i, symbol in enumerate(symbols)}
        self._horizon = horizon_minutes * MINUTE_MS
        self._floor = min_stop_fraction
        self._funding = funding
        self._tracks: list[_Track] = []

    def __len__(self) -> int:
        return len(self._tracks)

    def follow_symbols(self, symbols: tuple[str, ...]) -> None:
        """Let these be the columns of the blocks to come; those there were keep theirs."""
        self._columns = {symbol: i for i, symbol in enumerate(symbols)}

    def follow(self, sample: Sample) -> None:
        """Follow a sample from the bar after its decision on."""
        self._tracks.append(_Track(sample=sample, column=self._columns[sample.symbol]))

    def advance(self, bars: Bars, start: int, stop: int) -> list[Sample]:
        """Look at rows ``start:stop`` of a block.

        Every row of the data must be given once, in order, but in spans of any length.

        Returns:
            The samples resolved in these rows, by time and id, with `barrier`, `barrier_r` and `resolved_time` set.
        """
        if not self._tracks or start >= stop:
            return []
        span = _Span(bars, start, stop)
        first_rows = np.array([self._first_row(track, span) for track in self._tracks])
        hit, code = self._hits(span, first_rows)
        resolved = []
        remaining = []
        for i, track in enumerate(self._tracks):
            if hit[i] < 0:
                remaining.append(track)
            else:
                resolved.append(self._resolve(track, span, int(hit[i]), int(code[i])))
        self._tracks = remaining
        return sorted(resolved, key=lambda s: (s.resolved_time, s.id))

    def _first_row(self, track: _Track, span: _Span) -> int:
        """Row (within the span) from which the track counts; its length where it has not begun by the end."""
        if track.entry == track.entry:  # NaN test without a call: begun before this span
            return 0
        bars, column = span.bars, track.column
        after = int(np.searchsorted(bars.close_time[span.start : span.stop], track.sample.time, side="right"))
        traded = np.flatnonzero(bars.state[span.start + after : span.stop, column] == _TRADED)
        if len(traded) == 0:
            return span.stop - span.start
        row = after + int(traded[0])
        sample = track.sample
        track.entry = float(bars.open[span.start + row, column])
        track.stop = floored_stop(track.entry, sample.stop, sample.side, self._floor)
        track.deadline = int(bars.close_time[span.start + row]) - bars.interval_ms + self._horizon
        return row

    def _hits(self, span: _Span, first_rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
        """Row of the first hit of each track (−1 = none) and what it was: 0 stop, 1 target, 2 time."""
        bars, tracks = span.bars, self._tracks
        columns = np.array([t.column for t in tracks])
        side = np.array([t.sample.side for t in tracks])
        stop = np.array([t.stop for t in tracks])
        target = np.array([t.sample.target for t in tracks])
        deadline = np.array([t.deadline for t in tracks])
        rows = slice(span.start, span.stop)
        high, low = bars.high[rows, columns], bars.low[rows, columns]
        traded = bars.state[rows, columns] == _TRADED
        is_long = side > 0
        stopped = side * (np.where(is_long, low, high) - stop) <= 0
        reached = side * (np.where(is_long, high, low) - target) >= 0
        timed = bars.close_time[rows, None] >= deadline
        counts = traded & (np.arange(span.stop - span.start)[:, None] >= first_rows)
        touched = counts & (stopped | reached | timed)
        first = touched.argmax(axis=0)
        index = np.arange(len(tracks))
        code = np.where(stopped[first, index], 0, np.where(reached[first, index], 1, 2)).astype(np.int8)
        return np.where(touched[first, index], first, -1), code

    def _resolve(self, track: _Track, span: _Span, row: int, code: int) -> Sample:
        bars, sample, column = span.bars, track.sample, track.column
        at = span.start + row
        time = int(bars.close_time[at])
        opened = float(bars.open[at, column])
        side = sample.side
        left = time - 1
        if time - bars.interval_ms >= track.deadline:
            code, price, left = 2, opened, time - bars.interval_ms
        elif code == 0:
            price = min(opened, track.stop) if side > 0 else max(opened, track.stop)
        elif code == 1:
            price = max(opened, sample.target) if side > 0 else min(opened, sample.target)
        else:
            price, left = float(bars.close[at, column]), time
        entry_time = track.deadline - self._horizon
        cost = sample.cost_rate + self._funding_cost(sample, entry_time, left)
        risk = abs(track.entry - track.stop) / track.entry
        outcome = (side * (price - track.entry) / track.entry - cost) / risk
        return evolve(
            sample,
            entry_price=track.entry,
            stop=track.stop,
            barrier=("stop", "target", "time")[code],
            barrier_r=outcome,
            resolved_time=time,
        )

    def _funding_cost(self, sample: Sample, since: int, until: int) -> float:
        """Funding a position pays after one time and up to another, as a fraction of its notional."""
        rates = self._funding.get(sample.symbol)
        if rates is None:
            return 0.0
        first, last = np.searchsorted(rates.time, [since, until], side="right")
        return sample.side * float(rates.rate[first:last].sum())

    def snapshot(self) -> list[dict[str, object]]:
        """The tracks as plain data."""
        return [attrs.asdict(track, recurse=False) for track in self._tracks]

    def restore(self, tracks: list[dict[str, object]]) -> None:
        """Take back what `snapshot` gave."""
        self._tracks = [_Track(**track) for track in tracks]  # type: ignore[arg-type] # plain data of the same class
