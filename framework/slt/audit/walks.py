"""Markets without any edge that look like markets: volatility that clusters, fat tails, volume and taker flow, holes.

A bar's return is its innovation times its volatility. Innovations are independent and symmetric, and the volatility
does not know their signs, so that nothing known at a bar's close tells the sign of any later return: whatever predicts
one has seen the future. Everything else moves with what is already there, as it does in a market: volume with the
volatility and the size of the bar's own move, taker flow with its sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from slt.testing.markets import START, with_state
from slt.types import Bars, BarState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Walk", "make_walk", "mirrored", "scaled"]

_DAY_MS = 86_400_000
_FREEDOM = 5
_PRICES = ("open", "high", "low", "close")


@frozen(eq=False)
class Walk:
    """A random walk and what only its maker knows.

    Attributes:
        bars: What a plugin is shown, holes included.
        innovations: float64 ``[t, s]``: the bar's log return in units of its volatility, known in the holes too.
        returns: float64 ``[t, s]``: the bar's log return.
    """

    bars: Bars
    innovations: Array
    returns: Array


def make_walk(
    rows: int,
    symbols: int = 3,
    *,
    seed: int,
    interval_ms: int = 60_000,
    holes: bool = True,
    volatility: float = 0.0010,
    tick: float = 0.0,
) -> Walk:
    """Independent walks of a few symbols.

    Args:
        rows: Number of bars.
        symbols: Number of symbols.
        seed: Of everything random.
        interval_ms: Length of a bar.
        holes: Whether bars are missing, empty, or flat here and there; the first and last 50 bars are always whole.
        volatility: Median standard deviation of a bar's log return, for bars of a minute; longer bars move more.
        tick: 0 = prices are floats. Else all prices are whole ticks around ``2^20`` ticks, volumes whole 64ths, and a
            bar moves by about 8 ticks: mirroring such prices is exact.
    """
    rng = np.random.default_rng([seed, rows, symbols])
    shape = (rows, symbols)
    size = _volatility(rng, shape, interval_ms) * volatility * np.sqrt(interval_ms / 60_000)
    innovations = rng.standard_t(_FREEDOM, shape) * np.sqrt((_FREEDOM - 2) / _FREEDOM)
    returns = innovations * size
    flat = _stretches(rng, shape, rows // 4000 + 1, 12) if holes else np.zeros(shape, dtype=np.bool_)
    innovations[flat] = returns[flat] = 0.0
    if tick:
        bars = _on_ticks(rng, innovations, flat, tick, interval_ms)
    else:
        bars = _free(rng, returns, size, flat, interval_ms)
    relative = size / np.median(size)
    volume = np.exp(3.0 + 0.8 * np.log(relative) + 0.4 * np.abs(innovations) + rng.normal(0.0, 0.5, shape))
    share = np.clip(0.5 + 0.12 * np.tanh(innovations) + rng.normal(0.0, 0.1, shape), 0.02, 0.98)
    taker = volume * share
    if tick:
        volume = np.ceil(volume * 64.0) / 64.0
        taker = np.floor(volume * share * 64.0) / 64.0
    bars = evolve(bars, volume=volume, taker_buy_volume=taker)
    return Walk(with_state(bars, _states(rng, shape)) if holes else bars, innovations, returns)


def scaled(bars: Bars, power: int) -> Bars:
    """The same market in another currency: every price times ``2^power``, which is exact."""
    prices: dict[str, Any] = {name: getattr(bars, name) * 2.0**power for name in _PRICES}
    return evolve(bars, **prices)


def mirrored(bars: Bars) -> Bars:
    """Up is down: every price p becomes 2c - p, c the first open of the symbol, and takers that bought have sold."""
    twice = 2.0 * bars.open[0]
    return evolve(
        bars,
        open=twice - bars.open,
        high=twice - bars.low,
        low=twice - bars.high,
        close=twice - bars.close,
        taker_buy_volume=bars.volume - bars.taker_buy_volume,
    )


def _volatility(rng: np.random.Generator, shape: tuple[int, int], interval_ms: int) -> Array:
    """Around 1: a slow autoregression in the logarithm, and the hours of a day."""
    rows, symbols = shape
    per_day = max(_DAY_MS // interval_ms, 1)
    memory = np.exp(-4.0 / min(per_day, 1440))
    knocks = rng.normal(0.0, 0.45 * np.sqrt(1.0 - memory**2), shape)
    level = rng.normal(0.0, 0.45, symbols)
    log = np.empty(shape)
    for row in range(rows):
        level = memory * level + knocks[row]
        log[row] = level
    hours = 0.3 * np.cos(2.0 * np.pi * np.arange(rows)[:, np.newaxis] / per_day)
    size: Array = np.exp(log + hours)
    return size


def _stretches(rng: np.random.Generator, shape: tuple[int, int], count: int, longest: int) -> NDArray[np.bool_]:
    """Random stretches of bars, apart from the first and last 50."""
    marked = np.zeros(shape, dtype=np.bool_)
    if shape[0] <= 120:
        return marked
    for symbol in range(shape[1]):
        for first in rng.integers(50, shape[0] - 50 - longest, count):
            marked[first : first + rng.integers(1, longest + 1), symbol] = True
    return marked


def _states(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.uint8]:
    state = np.full(shape, BarState.TRADED, dtype=np.uint8)
    state[50 : shape[0] - 50][rng.random((max(shape[0] - 100, 0), shape[1])) < 0.002] = BarState.EMPTY
    state[_stretches(rng, shape, min(3, shape[0] // 1000 + 1), 10)] = BarState.ABSENT
    return state


def _free(rng: np.random.Generator, returns: Array, size: Array, flat: NDArray[np.bool_], interval_ms: int) -> Bars:
    levels = np.array([100.0 * 4.0**i for i in range(returns.shape[1])])
    close: Array = levels * np.exp(np.cumsum(returns, axis=0))
    open_ = np.where(flat, close, close * np.exp(-returns))
    up, down = rng.exponential(0.35, (2, *returns.shape)) * np.where(flat, 0.0, size)
    return _bars(open_, np.maximum(open_, close) * (1 + up), np.minimum(open_, close) / (1 + down), close, interval_ms)


def _on_ticks(
    rng: np.random.Generator, innovations: Array, flat: NDArray[np.bool_], tick: float, interval_ms: int
) -> Bars:
    moves: Array = np.rint(8.0 * innovations)
    close: Array = 2.0**20 + np.cumsum(moves, axis=0)
    open_ = close - moves
    up, down = np.where(flat, 0.0, np.floor(rng.exponential(3.0, (2, *moves.shape))))
    high: Array = np.maximum(open_, close) + up
    low: Array = np.minimum(open_, close) - down
    return _bars(open_ * tick, high * tick, low * tick, close * tick, interval_ms)


def _bars(open_: Array, high: Array, low: Array, close: Array, interval_ms: int) -> Bars:
    rows, symbols = close.shape
    return Bars(
        symbols=tuple(f"{chr(ord('A') + i) * 3}USDT" for i in range(symbols)),
        interval_ms=interval_ms,
        close_time=START + interval_ms * np.arange(1, rows + 1, dtype=np.int64),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=np.empty_like(close),
        taker_buy_volume=np.empty_like(close),
        state=np.full(close.shape, BarState.TRADED, dtype=np.uint8),
    )
