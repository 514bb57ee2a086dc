"""Swings and fair value gaps of one array of candles, by the very code the features run on.

For study and for differential tests against other implementations. Both are events: they say when something became
known, never rewrite it later, and a prefix of the candles gives a prefix of the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from slt_ict.jit import SOURCE_DIGEST, entry
from slt_ict.layout import NO_SIDE, empty_frames
from slt_ict.swings import accept_swing, is_peak
from slt_ict.zones import gap_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Gaps", "Swings", "find_gaps", "find_swings"]

_NO_RING = -1  # a plain array instead of a ring: every index stands for itself


@frozen(eq=False)
class Swings:
    """Confirmed swings in the order they became known.

    Attributes:
        known_at: int64 ``[n]``, index of the candle that confirmed the swing.
        candle: int64 ``[n]``, index of the swing itself, `right` candles earlier.
        side: int8 ``[n]``, +1 a high, −1 a low.
        price: float64 ``[n]``, its high or low.
        replaces: bool ``[n]``, it takes the place of the swing before it (same side, more extreme).
    """

    known_at: NDArray[np.int64]
    candle: NDArray[np.int64]
    side: NDArray[np.int8]
    price: NDArray[np.float64]
    replaces: NDArray[np.bool_]


@frozen(eq=False)
class Gaps:
    """Fair value gaps in the order they became known.

    Attributes:
        known_at: int64 ``[n]``, index of the third candle, whose close completes the gap.
        side: int8 ``[n]``, +1 bullish, −1 bearish.
        top: float64 ``[n]``, upper edge.
        bottom: float64 ``[n]``, lower edge.
        touched_at: int64 ``[n]``, index of the first later candle that traded at the near edge; −1 = not yet.
    """

    known_at: NDArray[np.int64]
    side: NDArray[np.int8]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    touched_at: NDArray[np.int64]


def _build_swings(digest: int) -> Callable[..., int]:
    @entry
    def scan_swings(sides: Any, frame: Any, left: int, right: int, first: int, high_wins: bool, out: Any) -> int:
        count = 0
        for known in range(first + right, sides.shape[1]):
            peak = known - right
            is_high = is_peak(sides[0], _NO_RING, peak, left, right)
            is_low = is_peak(sides[1], _NO_RING, peak, left, right)
            start = 0 if is_high else 1
            if is_high and is_low and not high_wins:
                if frame.last_side == NO_SIDE:
                    continue
                start = 1 - frame.last_side
            for turn in range(2):
                side = start if turn == 0 else 1 - start
                wanted = is_high if side == 0 else is_low and not (is_high and high_wins)
                last = frame.last_side
                if wanted and accept_swing(frame, side, sides[side, peak]):
                    out[count, 0] = known
                    out[count, 1] = side
                    out[count, 2] = 1 if last == side else 0
                    count += 1
        return count if digest >= 0 else 0

    return scan_swings


def _build_gaps(digest: int) -> Callable[..., int]:
    @entry
    def scan_gaps(bodies: Any, high: Any, low: Any, out: Any) -> int:
        count = 0
        for t in range(2, len(high)):
            side = gap_side(bodies[t - 1], high[t - 2], low[t - 2], high[t], low[t])
            if side == NO_SIDE:
                continue
            touched = -1
            for j in range(t + 1, len(high)):
                if (low[j] <= low[t]) if side == 0 else (high[j] >= high[t]):
                    touched = j
                    break
            out[count, 0] = t
            out[count, 1] = side
            out[count, 2] = touched
            count += 1
        return count if digest >= 0 else 0

    return scan_gaps


_scan_swings = _build_swings(SOURCE_DIGEST)
_scan_gaps = _build_gaps(SOURCE_DIGEST)


def find_swings(
    high: ArrayLike, low: ArrayLike, left: int, right: int, *, first: int | None = None, high_wins: bool = False
) -> Swings:
    """Find the alternating swings of an array of candles.

    A swing high is a candle whose high is at least that of `left` candles before and `right` after it; mirror for lows.
    Swings alternate: of one side in a row the most extreme stays, the earliest of equals. Confirmation delay: `right`.

    Args:
        high: Highs ``[t]``, no candle missing.
        low: Lows ``[t]``.
        left: Candles before a swing.
        right: Candles after it.
        first: Index of the first candle that may be a swing; None = `left`, the first with a whole window.
        high_wins: A candle that is both a high and a low counts as a high alone. Otherwise, as in the features, it
            takes the side opposite to the last swing first and then the other; with no swing yet it counts as neither.

    Raises:
        ValueError: A window or the first index is out of bounds.
    """
    start = left if first is None else first
    if left < 0 or right < 1 or start < left:
        raise ValueError(f"swings need left >= 0, right >= 1 and first >= left; found {left}, {right} and {start}")
    sides = np.array([np.asarray(high, dtype=np.float64), -np.asarray(low, dtype=np.float64)])
    out = np.empty((2 * sides.shape[1], 3), dtype=np.int64)
    count = _scan_swings(sides, empty_frames(1)[0, 0], left, right, start, high_wins, out)
    known, side, replaces = out[:count].T.copy()
    sign = (1 - 2 * side).astype(np.int8)
    return Swings(known, known - right, sign, sides[side, known - right] * sign, replaces == 1)


def find_gaps(open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Gaps:
    """Find the fair value gaps of an array of candles and when each was first touched.

    Args:
        open_: Opens ``[t]``, no candle missing.
        high: Highs ``[t]``.
        low: Lows ``[t]``.
        close: Closes ``[t]``.
    """
    highs = np.array(high, dtype=np.float64)
    lows = np.array(low, dtype=np.float64)
    bodies = np.asarray(close, dtype=np.float64) - np.asarray(open_, dtype=np.float64)
    out = np.empty((len(highs), 3), dtype=np.int64)
    count = _scan_gaps(bodies, highs, lows, out)
    known, side, touched = out[:count].T.copy()
    bull = side == 0
    top = np.where(bull, lows[known], lows[known - 2])
    bottom = np.where(bull, highs[known - 2], highs[known])
    return Gaps(known, np.where(bull, 1, -1).astype(np.int8), top, bottom, touched)
