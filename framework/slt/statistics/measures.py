"""Measures of a curve of equity, and of shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from slt.statistics.records import Drawdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slt.types import Trade

__all__ = [
    "calculate_drawdowns",
    "calculate_exposure",
    "calculate_sharpe",
    "calculate_sortino",
    "daily_returns",
    "wilson_interval",
]

_DAY_MS = 86_400_000
_DAYS_A_YEAR = 365
_Z_95 = 1.959963984540054


def wilson_interval(wins: float, n: int, z: float = _Z_95) -> tuple[float, float]:
    """Confidence interval of a share, good for small n.

    (p + z²/2n ± z·√(p(1 - p)/n + z²/4n²)) ÷ (1 + z²/n), p = wins/n. Source: E. B. Wilson, "Probable inference, the law
    of succession, and statistical inference", JASA 22 (1927).

    Args:
        wins: Successes, 0 to n; a fraction where a share of trials is what is known.
        n: Trials.
        z: Standard normal quantile; the default gives 95 %.

    Returns:
        Lower and upper bound in [0, 1]; (0, 1) where n is 0.
    """
    if n <= 0:
        return 0.0, 1.0
    p, z2n = wins / n, z * z / n
    centre = p + z2n / 2
    half = math.sqrt(z2n * (p * (1 - p) + z2n / 4))
    low = 0.0 if wins == 0 else max(0.0, (centre - half) / (1 + z2n))
    high = 1.0 if wins == n else min(1.0, (centre + half) / (1 + z2n))
    return low, high


def calculate_drawdowns(curve: Sequence[tuple[int, float]]) -> tuple[Drawdown, Drawdown]:
    """Find the deepest fall from a peak, by money and by fraction of the peak.

    Args:
        curve: (time, equity) in time order.

    Returns:
        The deepest by amount and the deepest by fraction, the first of equals; often the same one.
    """
    by_amount = by_fraction = _Fall()
    peak = 0
    for i, (_, equity) in enumerate(curve):
        high = curve[peak][1]
        if equity > high:
            peak = i
            continue
        fall = _Fall(high - equity, (high - equity) / high if high > 0 else 0.0, peak, i)
        if fall.amount > by_amount.amount:
            by_amount = fall
        if fall.fraction > by_fraction.fraction:
            by_fraction = fall
    return _describe(by_amount, curve), _describe(by_fraction, curve)


def daily_returns(curve: Sequence[tuple[int, float]]) -> list[float]:
    """Returns from the end of one UTC day to the end of the next.

    The first compares the first day's last equity with the first point; a point at midnight belongs to the day that
    ends there; a day without a point has return 0; the last day may be shorter.

    Args:
        curve: (time, equity) in time order.

    Returns:
        One return a day; it ends before the first day that starts with no equity left.
    """
    closing = {(time - 1) // _DAY_MS: equity for time, equity in curve if time > curve[0][0]}
    if not closing:
        return []
    before, returns = curve[0][1], []
    for day in range(min(closing), max(closing) + 1):
        if before <= 0:
            break
        after = closing.get(day, before)
        returns.append(after / before - 1)
        before = after
    return returns


def calculate_sharpe(returns: Sequence[float]) -> float | None:
    """Annualised Sharpe ratio of daily returns at a risk-free rate of 0; see `Summary.sharpe`.

    Args:
        returns: One a day, 365 a year: this market never closes.

    Returns:
        The ratio; None with fewer than two days or where the returns do not vary.
    """
    if len(returns) < 2 or max(returns) == min(returns):
        return None
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return mean / math.sqrt(variance) * math.sqrt(_DAYS_A_YEAR) if variance > 0 else None


def calculate_sortino(returns: Sequence[float]) -> float | None:
    """Annualised Sortino ratio of daily returns at a target of 0; see `Summary.sortino`.

    Args:
        returns: One a day.

    Returns:
        The ratio; None with fewer than two days or without a negative one.
    """
    if len(returns) < 2:
        return None
    downside = math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns)
    mean = math.fsum(returns) / len(returns)
    return mean / math.sqrt(downside) * math.sqrt(_DAYS_A_YEAR) if downside > 0 else None


def calculate_exposure(trades: Iterable[Trade], start: int, end: int, still_open: Iterable[int] = ()) -> float:
    """Share of the time from `start` to `end` during which at least one of the trades was open; 0 for an empty span.

    Positions that are open at the end count with the entry times in `still_open`. All times are ms UTC.
    """
    if end <= start:
        return 0.0
    covered, reached = 0, start
    spans = [*((t.entry_time, t.exit_time) for t in trades), *((entry, end) for entry in still_open)]
    for entry, leave in sorted(spans):
        covered += max(0, min(leave, end) - max(entry, reached))
        reached = max(reached, leave)
    return covered / (end - start)


class _Fall(NamedTuple):
    amount: float = 0.0
    fraction: float = 0.0
    peak: int = 0
    trough: int = 0


def _describe(fall: _Fall, curve: Sequence[tuple[int, float]]) -> Drawdown:
    if fall.amount <= 0:
        return Drawdown()
    peak_time, peak = curve[fall.peak]
    recovered = (time for time, equity in curve[fall.trough :] if equity >= peak)
    return Drawdown(fall.amount, fall.fraction, peak_time, curve[fall.trough][0], next(recovered, None))
