"""Markets at the level of samples: proposals with feature vectors, each followed on minute prices to its barrier.

Eight symbols share a random walk (half of their variance) under volatility that clusters. Proposals come in episodes,
at 5m closes, with 12 features whose marginals and memory resemble those of the `ict` set on real proposals. An outcome
is what stop, target or two hours give on the symbol's prices, net of costs, in R. An exit pays the price at which it
happens, so that without an edge the mean gross outcome is exactly 0. The edge, where there is one, is a drift of the
price after the proposal, in proportion to the sum of the two features in `CARRIERS`; the rules' confidence knows
nothing of it.
"""

from __future__ import annotations

from math import erf, sqrt
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from slt.types import MINUTE_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYMBOLS = tuple(f"S{i}USDT" for i in range(8))
CARRIERS = ("order_flow", "liquidity_context")
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Column: memory in minutes, decimals (0: whole steps), values at SHARES; taken from the eight majors of May 2025.
COLUMNS = {
    "market_structure": (240, 0, (-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0)),
    "order_blocks_count": (90, 4, (-0.71, -0.36, 0.06, 0.38, 0.52, 0.66, 0.82)),
    "institutional_candle": (5, 4, (-0.92, -0.22, 0.0, 0.03, 0.15, 0.45, 1.0)),
    "liquidity_grab": (40, 4, (-0.66, -0.17, 0.0, 0.25, 0.36, 0.60, 1.0)),
    "order_flow": (20, 4, (-0.9, -0.5, -0.2, 0.0, 0.2, 0.5, 0.9)),
    "fvg_count": (40, 4, (-0.56, -0.37, -0.18, -0.04, 0.05, 0.22, 0.47)),
    "trend_alignment_enhanced": (180, 0, (-1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0)),
    "swing_high_distance": (60, 4, (-10.0, -6.0, -3.7, -2.4, -1.2, 0.6, 2.7)),
    "structure_integrity": (180, 1, (0.2, 0.3, 0.6, 0.7, 0.8, 1.0, 1.0)),
    "institutional_participation": (15, 4, (-0.76, -0.48, -0.23, 0.0, 0.26, 0.60, 0.96)),
    "timeframe_convergence": (120, 4, (0.0, 0.0, 0.32, 0.52, 0.63, 0.81, 1.0)),
    "liquidity_context": (45, 4, (-1.0, -0.84, -0.56, -0.27, 0.15, 0.68, 1.0)),
}
NAMES = tuple(COLUMNS)
CONFIDENCE = (0.21, 0.37, 0.45, 0.52, 0.57, 0.64, 0.78)
REWARD_TO_RISK = 1.5
COST_RATE = 0.0014
HORIZON = 120
STOP_MINUTES = 7.0
"""Distance of the stop in standard deviations of a minute: two hours move the price by 1.6 R."""
PER_DAY = 102
"""Proposals a day, about."""
_STEP = 5
_EDGE = NAMES.index(CARRIERS[0]), NAMES.index(CARRIERS[1])


@frozen(eq=False)
class Market:
    """Proposals of one market, oldest first; every array has one entry a proposal.

    Attributes:
        time: int64, ms UTC, rising; several symbols may propose at one time.
        symbol: int64, index into `SYMBOLS`.
        side: int8.
        x: float32 ``[n, 12]``, oriented.
        score: float64, what carries the edge: a win is the likelier the higher it is (before `flip_time`).
        confidence: float64, the rules'.
        stop_fraction: float64, distance to the stop.
        outcome_r: float64, net of costs.
        label_r: float64, the outcome that the learner is told; equal to `outcome_r` but where labels are poisoned.
        resolved_time: int64, ms UTC.
        flip_time: When the edge changes sign, ms UTC; None = never.
    """

    time: NDArray[np.int64]
    symbol: NDArray[np.int64]
    side: NDArray[np.int8]
    x: NDArray[np.float32]
    score: NDArray[np.float64]
    confidence: NDArray[np.float64]
    stop_fraction: NDArray[np.float64]
    outcome_r: NDArray[np.float64]
    label_r: NDArray[np.float64]
    resolved_time: NDArray[np.int64]
    flip_time: int | None


def make_market(seed, days, edge=0.0, flip_day=None):
    """Draw a market.

    Args:
        seed: Of everything random.
        days: Its length; there are about `PER_DAY` proposals a day.
        edge: Drift over two hours in R at a score one standard deviation from its mean.
        flip_day: Day from which the edge works the other way round; None = never.
    """
    rng = np.random.default_rng(seed)
    minutes = days * 1440
    volatility = np.exp(0.35 * _ornstein(rng, minutes + HORIZON, 360.0))
    row, symbol, side = _propose(rng, minutes)
    latent = _features(rng, row, symbol)
    x = np.column_stack([_marginal(latent[:, j], *COLUMNS[name][1:]) for j, name in enumerate(NAMES)])
    score = (latent[:, _EDGE[0]] + latent[:, _EDGE[1]]) / np.sqrt(2.0)
    sign = np.where(row >= (minutes if flip_day is None else flip_day * 1440), -1.0, 1.0)
    stop_fraction = 0.009 * np.clip(volatility[row], 0.65, 3.0)
    moves = (
        _prices(rng, minutes + HORIZON + 1, volatility, row, symbol)
        * (side / (STOP_MINUTES * volatility[row]))[:, None]
    )
    moves += (edge * sign * score)[:, None] * (np.arange(1, HORIZON + 1) / HORIZON)
    outcome, length = _resolve(moves)
    outcome -= COST_RATE / stop_fraction
    time = (row + 1).astype(np.int64) * MINUTE_MS
    return Market(
        time=time,
        symbol=symbol,
        side=side.astype(np.int8),
        x=x.astype(np.float32),
        score=score,
        confidence=np.interp(rng.random(len(row)), SHARES, CONFIDENCE),
        stop_fraction=stop_fraction,
        outcome_r=outcome,
        label_r=outcome,
        resolved_time=time + length * MINUTE_MS,
        flip_time=None if flip_day is None else flip_day * 1440 * MINUTE_MS,
    )


def _ornstein(rng, rows, memory):
    """A mean-reverting walk with unit variance that forgets in about `memory` steps."""
    keep = np.exp(-1.0 / memory)
    noise = rng.standard_normal(rows) * np.sqrt(1.0 - keep * keep)
    walk = np.empty(rows)
    last = rng.standard_normal()
    for i, step in enumerate(noise):
        last = keep * last + step
        walk[i] = last
    return walk


def _propose(rng, minutes):
    """Rows (minute), symbols and sides of the proposals: at 5m closes, in episodes of a few candles with one side."""
    steps, count = minutes // _STEP, len(SYMBOLS)
    start, stop = rng.random((steps, count)) < 0.012, rng.random((steps, count)) < 0.25
    draws = rng.integers(0, 2, (steps, count)) * 2 - 1
    found, current = [], np.zeros(count, np.int64)
    for step in range(1, steps):
        current = np.where(current == 0, np.where(start[step], draws[step], 0), np.where(stop[step], 0, current))
        found += [(step * _STEP - 1, s, current[s]) for s in np.flatnonzero(current)]
    rows = np.array(found, np.int64)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _features(rng, row, symbol):
    """Latent standard normal columns ``[n, 12]`` that remember per symbol; all but the carriers share a little."""
    latent = np.empty((len(row), len(NAMES)))
    memory = np.array([COLUMNS[name][0] for name in NAMES], float)
    for s in range(len(SYMBOLS)):
        mine = np.flatnonzero(symbol == s)
        keep = np.exp(-np.diff(row[mine], prepend=-(10**9))[:, None] / memory)
        shared = np.where(np.isin(NAMES, CARRIERS), 0.0, 0.3)
        noise = rng.standard_normal((len(mine), len(NAMES)))
        noise = noise * np.sqrt(1 - shared**2) + shared * rng.standard_normal((len(mine), 1))
        noise *= np.sqrt(1.0 - keep * keep)
        last = np.zeros(len(NAMES))
        for i, index in enumerate(mine):
            last = keep[i] * last + noise[i]
            latent[index] = last
    return latent


def _marginal(latent, decimals, values):
    rank = np.array([_normal_share(z) for z in latent])
    return np.round(np.interp(rank, SHARES, values), decimals)


def _normal_share(z):
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))


def _prices(rng, rows, volatility, row, symbol):
    """Log-price moves ``[n, HORIZON]`` after each proposal, in standard deviations of a calm minute."""
    common = rng.standard_normal(rows - 1)[:, None]
    own = rng.standard_normal((rows - 1, len(SYMBOLS)))
    steps = np.sqrt(0.5) * (common + own) * volatility[:, None]
    price = np.vstack([np.zeros(len(SYMBOLS)), np.cumsum(steps, axis=0)])
    ahead = row[:, None] + np.arange(1, HORIZON + 1)
    return price[ahead, symbol[:, None]] - price[row, symbol][:, None]


def _resolve(moves):
    """Gross outcome in R and minutes until it was known: first of stop, target and time."""
    hit = (moves <= -1.0) | (moves >= REWARD_TO_RISK)
    hit[:, -1] = True
    length = hit.argmax(axis=1)
    return moves[np.arange(len(moves)), length], length + 1
