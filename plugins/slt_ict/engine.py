"""The kernel: a block of bars in, features of every row out, all state carried in arrays.

Three passes over slices of the block that fit a processor cache: bars to whole 5m candles row by row, candles to
features symbol by symbol, and the rows between two candles filled with the last values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from slt_ict.frames import expire, join_candle, push_high, push_low, push_mid
from slt_ict.jit import SOURCE_DIGEST, entry, part, stage
from slt_ict.layout import CANDLE, CANDLE_MS, FRAMES, NEVER
from slt_ict.vector import measure_flow, measure_volume, write_context, write_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["advance_block"]

_SLICE_ROWS = 240
_MID_LENGTH = FRAMES[1]
_HIGH_LENGTH = FRAMES[2]
_WHOLE_CANDLES = 12  # the last hour, in trigger candles
_TRADED = 1
_ABSENT = 0
_HELD, _CLOSED, _BROKEN = (
    0,
    1,
    2,
)  # what a row means for a symbol: nothing, a whole candle closed, first bar after a gap


@part
def _add_trade(partial: Any, open_: float, high: float, low: float, close: float, volume: float, taker: float) -> None:
    if partial.traded == 0:
        partial.open = open_
        partial.high = high
        partial.low = low
        partial.volume = volume
        partial.taker = taker
    else:
        partial.high = max(partial.high, high)
        partial.low = min(partial.low, low)
        partial.volume += volume
        partial.taker += taker
    partial.close = close
    partial.traded += 1


@part
def _enter_bar(partial: Any, end: int, interval: int) -> int:
    """Move a symbol's clock to a new bar and say whether a gap lies before it."""
    mark = _HELD
    clock = (end - 1) // CANDLE_MS
    if partial.time == NEVER:
        partial.first = (end - interval + CANDLE_MS - 1) // CANDLE_MS
    elif end - partial.time > interval:
        mark = _BROKEN
    if clock != partial.clock:
        partial.clock = clock
        partial.delivered = 0
        partial.traded = 0
    partial.time = end
    partial.delivered += 1
    return mark


@part
def _emit_candle(candle: Any, partial: Any, row: int) -> None:
    candle.clock = partial.clock
    candle.row = row
    candle.traded = partial.traded
    candle.open = partial.open
    candle.high = partial.high
    candle.low = partial.low
    candle.close = partial.close
    candle.volume = partial.volume
    candle.taker = partial.taker


@part
def _collect(
    bars: Any, start: int, stop: int, interval: int, partials: Any, candles: Any, counts: Any, marks: Any
) -> None:
    """First pass: rows ``start:stop`` into whole 5m candles; `marks` says what each row means for each symbol."""
    close_time, open_, high, low, close, volume, taker, state = bars
    expected = CANDLE_MS // interval
    for row in range(start, stop):
        end = close_time[row]
        for j in range(state.shape[1]):
            marks[row - start, j] = _HELD
            partial = partials[j]
            if state[row, j] == _ABSENT or end <= partial.time:
                continue
            mark = _enter_bar(partial, end, interval)
            if state[row, j] == _TRADED:
                _add_trade(
                    partial, open_[row, j], high[row, j], low[row, j], close[row, j], volume[row, j], taker[row, j]
                )
            if end % CANDLE_MS == 0 and partial.delivered == expected:
                _emit_candle(candles[j, counts[j]], partial, row)
                counts[j] += 1
                mark = _CLOSED
            marks[row - start, j] = mark


@part
def _note_candle(window: NDArray[np.uint8], symbol: Any, clock: int, missing: int) -> None:
    i = clock % len(window)
    symbol.missing += missing - window[i]
    window[i] = missing


@part
def _note_whole(window: NDArray[np.uint8], symbol: Any, clock: int, first: int) -> None:
    """Count a whole candle and the missing ones before it towards readiness."""
    before = symbol.clock if symbol.clock != NEVER else first - 1
    lost = clock - 1 - before
    for i in range(max(before + 1, clock - len(window)), clock):
        _note_candle(window, symbol, i, 1)
    _note_candle(window, symbol, clock, 0)
    symbol.whole_run = symbol.whole_run + 1 if lost == 0 else 1
    symbol.clock = clock


@stage
def _push_candle(symbol: Any, frames: Any, gaps: Any, blocks: Any, pools: Any, candle: Any, parameters: Any) -> None:
    """Push a whole 5m candle and what it closes above it, the highest timeframe first."""
    clock = candle.clock
    traded = candle.traded > 0
    for i in range(2, 0, -1):
        length = FRAMES[i]
        closed = join_candle(frames[i], length, clock, traded, candle.high, candle.low, candle.close)
        if (clock + 1) % length != 0 or closed == 0:
            continue
        if i == 2 and closed == 2:
            push_high(frames[2], parameters.swing)
        if i == 1:
            expire(blocks, pools[1], clock // length, parameters.age)
            if closed == 2:
                push_mid(symbol, frames[1], blocks, pools[1], parameters)
    expire(gaps, pools[0], clock, parameters.age)
    if traded:
        push_low(symbol, frames[0], gaps, pools[0], candle, parameters)
        measure_flow(symbol, candle.volume, candle.taker)
        measure_volume(symbol, candle.volume)
        symbol.close = candle.close
    else:
        symbol.displacement = 0.0
        symbol.participation = math.nan


@stage
def _advance_symbol(
    candles: Any,
    count: int,
    first: int,
    window: NDArray[np.uint8],
    symbol: Any,
    frames: Any,
    zones: Any,
    pools: Any,
    parameters: Any,
    values: NDArray[np.float32],
    context: NDArray[np.float64],
    ready: NDArray[np.bool_],
) -> None:
    """Second pass, one symbol: candles into features, written at the rows that close them."""
    for i in range(count):
        candle = candles[i]
        _note_whole(window, symbol, candle.clock, first)
        _push_candle(symbol, frames, zones[0], zones[1], pools, candle, parameters)
        row = candle.row
        warm = (
            candle.clock - first + 1 >= len(window)
            and 20 * symbol.missing <= len(window)
            and symbol.whole_run >= _WHOLE_CANDLES
        )
        ready[row] = warm
        if warm:
            write_values(values[row], symbol, frames, zones[0], zones[1], pools[1])
        else:
            _blank(values[row])
        write_context(context[row], symbol, frames, zones[1], pools[1])


@part
def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    for i in range(len(target)):
        target[i] = source[i]


@part
def _blank(target: NDArray[Any]) -> None:
    for i in range(len(target)):
        target[i] = math.nan


@part
def _hold(marks: Any, start: int, stop: int, held: Any, values: Any, context: Any, fresh: Any, ready: Any) -> None:
    """Third pass: give rows between two candles what was last known; a gap takes the values away."""
    for row in range(start, stop):
        for j in range(marks.shape[1]):
            mark = marks[row - start, j]
            fresh[row, j] = mark == _CLOSED
            if mark == _CLOSED:
                continue
            if row == 0:
                _copy(held[0][j], values[row, j])
                _copy(held[1][j], context[row, j])
                ready[row, j] = held[2][j]
            else:
                _copy(values[row - 1, j], values[row, j])
                _copy(context[row - 1, j], context[row, j])
                ready[row, j] = ready[row - 1, j]
            if mark == _BROKEN:
                _blank(values[row, j])
                ready[row, j] = False


def _build(digest: int) -> Callable[..., int]:
    @entry
    def advance_block(
        bars: Any, parameters: Any, state: Any, held: Any, values: Any, context: Any, fresh: Any, ready: Any
    ) -> int:
        close_time = bars[0]
        partials, symbols, frames, zones, pools, window = state
        rows = len(close_time)
        width = len(partials)
        interval = parameters[0].interval_ms
        depth = min(rows, _SLICE_ROWS) * interval // CANDLE_MS + 1
        candles = np.empty((width, depth), dtype=CANDLE)
        counts = np.empty(width, dtype=np.int64)
        marks = np.empty((min(rows, _SLICE_ROWS), width), dtype=np.uint8)
        for start in range(0, rows, _SLICE_ROWS):
            stop = min(start + _SLICE_ROWS, rows)
            for j in range(width):
                counts[j] = 0
            _collect(bars, start, stop, interval, partials, candles, counts, marks)
            for j in range(width):
                _advance_symbol(
                    candles[j],
                    counts[j],
                    partials[j].first,
                    window[j],
                    symbols[j],
                    frames[j],
                    zones[j],
                    pools[j],
                    parameters[0],
                    values[:, j],
                    context[:, j],
                    ready[:, j],
                )
            _hold(marks, start, stop, held, values, context, fresh, ready)
        if rows > 0:
            for j in range(width):
                _copy(values[rows - 1, j], held[0][j])
                _copy(context[rows - 1, j], held[1][j])
                held[2][j] = ready[rows - 1, j]
        return digest

    return advance_block


advance_block = _build(SOURCE_DIGEST)
