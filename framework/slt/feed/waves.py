"""Cutting minutes: which bars go out together, and when. A pure machine, fed with updates and the times they came at.

A wave is cut when the bars of all symbols are in, or at its deadline. What each irregular bar comes to:

* *late* (after its wave was cut): goes out with the next wave, in its symbol's order, as an earlier row;
* *missing*: ABSENT, a gap, until its symbol's neighbouring bars prove by adjacent trade ids that it was *empty*;
* *never closed*: *recovered* from its last unclosed state where the next bar goes on from that state's last trade id;
* *duplicate*: dropped; so is a late statement that differs by no more than the rounding of a number;
* *restated* before it went out: the statement with the later event time counts. After: handed on in
  `slt.types.Wave.restated`, so that the store is corrected and the symbol's features begin anew;
* *out of order* (a later bar of its symbol has gone out): handed on likewise;
* *unconfirmed* (the next bar does not go on from its last trade id): taken, because the exchange called it closed.

Each is counted. A symbol that has missed three waves in which most others came is no longer waited for until a bar
of it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slt.feed._tracks import Track, is_sound
from slt.types import Bars, BarState, Wave

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.types import Kline, SymbolChange

__all__ = ["COUNTERS", "Waves"]

COUNTERS = (
    "bars",
    "late",
    "missing",
    "empty",
    "recovered",
    "duplicate",
    "restated",
    "restated_late",
    "out_of_order",
    "unconfirmed",
    "malformed",
    "foreign",
    "waves",
    "waves_at_deadline",
)
"""Names of everything a `Waves` counts."""

_PATIENCE = 3
_CLOCK_ERROR_MS = 3_600_000


class Waves:
    """Collects updates of all symbols and cuts them into waves.

    The waves depend on the updates, their order and the times given with them, and on nothing else; `advance` may be
    called at any other moment without changing them. Times given must not fall.

    Args:
        symbols: Columns of every wave.
        interval_ms: Length of a bar.
        deadline_ms: After its minute's close, how long a wave waits.
        counters: Counts go here, under `COUNTERS`.
    """

    def __init__(
        self, symbols: tuple[str, ...], interval_ms: int, deadline_ms: int, counters: dict[str, int] | None = None
    ) -> None:
        self.symbols = symbols
        self.interval_ms = interval_ms
        self.deadline_ms = deadline_ms
        self.counters = {} if counters is None else counters
        for name in COUNTERS:
            self.counters.setdefault(name, 0)
        self._tracks = {symbol: Track(column, interval_ms) for column, symbol in enumerate(symbols)}
        self._minute = 0
        self._wanted: set[int] = set()
        self._cut: list[Wave] = []
        self._restated: list[Kline] = []

    @property
    def minute(self) -> int:
        """Close time of the wave being collected, ms UTC; 0 before the first update."""
        return self._minute

    @property
    def deadline(self) -> int:
        """When the wave being collected is cut at the latest, ms UTC; 0 before the first update."""
        return self._minute + self.deadline_ms if self._minute else 0

    def join(self, symbols: Iterable[str]) -> None:
        """Let more symbols be the last columns, from the wave being collected on, which waits for none of them."""
        for symbol in symbols:
            if symbol not in self._tracks:
                self._tracks[symbol] = Track(len(self.symbols), self.interval_ms, missed=_PATIENCE)
                self.symbols = (*self.symbols, symbol)

    def take(self, time: int, kline: Kline) -> None:
        """Take an update that came at `time`, ms UTC."""
        track = self._tracks.get(kline.symbol)
        if track is None:
            self.counters["foreign"] += 1
            return
        if not is_sound(kline, self.interval_ms) or kline.close_time > time + self.interval_ms + _CLOCK_ERROR_MS:
            self.counters["malformed"] += 1
            return
        self._begin(time, kline.close_time)
        self.advance(time)
        self._add(track, kline)
        if track.column in self._wanted and self._is_in(track):
            self._wanted.discard(track.column)
            self._cut_whole(time)

    def change(self, time: int, change: SymbolChange) -> None:
        """Take a symbol change that came at `time`: a symbol that is not traded is not waited for."""
        self.advance(time)
        track = self._tracks.get(change.symbol)
        if track is None or track.is_tradable == change.is_tradable:
            return
        track.is_tradable = change.is_tradable
        if track.column in self._wanted:
            self._wanted.discard(track.column)
            self._cut_whole(time)

    def advance(self, time: int) -> None:
        """Cut every wave whose deadline lies before `time`."""
        while self._minute and self.deadline < time:
            self.counters["waves_at_deadline"] += 1
            self._close(self.deadline)

    def flush(self, time: int) -> None:
        """Cut the waves of all closed bars that are here, at the end of a recording."""
        closed = [t for track in self._tracks.values() for t, piece in track.pieces.items() if piece.is_closed]
        while self._minute and self._minute <= max(closed, default=0):
            self._close(max(time, self._minute))

    def drain(self) -> list[Wave]:
        """The waves cut since the last call, in order."""
        waves, self._cut = self._cut, []
        return waves

    def _begin(self, time: int, close_time: int) -> None:
        """Let the first wave be that of the first bar heard of whose deadline has not passed."""
        if not self._minute:
            still_open = -(-(time - self.deadline_ms) // self.interval_ms) * self.interval_ms
            self._start(max(close_time, still_open))

    def _start(self, minute: int) -> None:
        self._minute = minute
        self._wanted = {
            track.column
            for track in self._tracks.values()
            if track.is_tradable and track.missed < _PATIENCE and not self._is_in(track)
        }

    def _add(self, track: Track, kline: Kline) -> None:
        if track.contradicts(kline):
            self.counters["unconfirmed"] += 1
        word = track.add(kline)
        if word == "open":
            return
        if word == "bar":
            self.counters["bars"] += 1
            self.counters["late"] += kline.close_time < self._minute
            if track.missed >= _PATIENCE:
                track.missed = 0
                self._wanted.add(track.column)
            return
        self.counters[word] += 1
        if word in {"restated_late", "out_of_order"}:
            self._restated.append(kline)

    def _is_in(self, track: Track) -> bool:
        piece = track.pieces.get(self._minute)
        if piece is not None and piece.is_closed:
            return True
        return any(t > self._minute for t in track.pieces) and self._minute in track.resolve(self._minute)

    def _cut_whole(self, time: int) -> None:
        while self._minute and not self._wanted and self._is_awaited():
            self._close(max(time, self._minute))

    def _is_awaited(self) -> bool:
        """Whether anybody is in: without a single bar a wave goes out at its deadline only."""
        return any(self._is_in(track) for track in self._tracks.values())

    def _close(self, time: int) -> None:
        given = {track.column: certain for track in self._tracks.values() if (certain := self._give(track))}
        self._lose_patience(given)
        times = sorted({self._minute}.union(*(certain for certain in given.values())))
        bars = _as_bars(self.symbols, self.interval_ms, times, given)
        self._cut.append(Wave(time, bars, tuple(self._restated)))
        self._restated.clear()
        self.counters["waves"] += 1
        self._start(self._minute + self.interval_ms)

    def _lose_patience(self, given: dict[int, dict[int, Kline | None]]) -> None:
        """Count who stayed away, but not where most did: that is an outage, after which all are waited for."""
        is_outage = 2 * len(given) < sum(track.is_tradable for track in self._tracks.values())
        for track in self._tracks.values():
            if track.column in given:
                track.missed = 0
            elif not is_outage:
                track.missed += 1

    def _give(self, track: Track) -> dict[int, Kline | None]:
        certain = track.resolve(self._minute)
        track.give(certain)
        self.counters["missing"] += track.is_tradable and self._minute not in certain
        for piece in certain.values():
            self.counters["empty"] += piece is None
            self.counters["recovered"] += piece is not None and not piece.is_closed
        return certain


def _as_bars(
    symbols: tuple[str, ...], interval_ms: int, times: Iterable[int], given: dict[int, dict[int, Kline | None]]
) -> Bars:
    close_time = np.array(list(times), dtype=np.int64)
    rows = {int(time): row for row, time in enumerate(close_time)}
    bars = Bars.absent(symbols, interval_ms, close_time)
    for column, certain in given.items():
        for time, kline in certain.items():
            place = rows[time], column
            if kline is None:
                bars.state[place] = BarState.EMPTY
                bars.volume[place] = bars.taker_buy_volume[place] = 0.0
                continue
            bars.state[place] = BarState.TRADED
            bars.open[place] = kline.open
            bars.high[place] = kline.high
            bars.low[place] = kline.low
            bars.close[place] = kline.close
            bars.volume[place] = kline.volume
            bars.taker_buy_volume[place] = kline.taker_buy_volume
    return bars
