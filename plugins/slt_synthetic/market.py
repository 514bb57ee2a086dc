"""The synthetic market, one UTC day at a time.

Every minute ``t`` of symbol ``i`` has a volatility that is known before the minute begins, and a log return

    r = s * (sqrt(c) * z_market + sqrt(1 - c) * z_own) - s^2 / 2 + m,    s = s[i, t]

with independent standard normal z. The volatility is ``s = base * season * regime * exp(market + own)``: the time of
day, a market-wide regime that switches between quiet (ranges) and active (trends) every six hours on average, and
autoregressive factors with half-lives of two days, one hour (market) and four hours (own). High and low are drawn
from the exact law of a Brownian path's extremes given its end points.

*Sweeps.* Every 90 minutes on average, if the nearer of the last four hours' high and low lies within reach, a burst
follows: the price runs until it leaves a band of ``+-d`` around the open, ``d`` just beyond that extreme, and then
until it has either gone back by ``b * d`` (three times out of four) or gone on by the ``k`` that makes the expected
price change zero. A sweep therefore usually closes back inside, and now and then begins a violent break.

*What can be predicted by default: nothing but volatility and volume.* The price is a martingale, within the minute too:
given the whole past, the expected change is zero at every point, and sweeps are as likely to pay for being followed as
for being faded. Trends and ranges can be seen afterwards, never before.

*The planted edge* is the only drift: ``m = planted_edge * 0.05 * s * q[i, t - 1]``, where ``q`` is the symbol's hidden
buying pressure, a standard normal autoregressive process with a half-life of three hours. It shows in the takers' flow:
``2 * taker_buy_volume / volume - 1 = 0.9 * tanh(0.5 * q + 0.8 * clip(r / s, -3, 3) + 0.4 * noise)``, which is there
with an edge of 0 too, and then says nothing of what comes. As a measure of its strength: whoever follows the flow of
the last hour, where its mean is above 0.2, for two hours, wins 67 % of the time and 46 basis points on average before
costs at an edge of 1, 55 % and 10 at 0.2, half of the time and nothing at 0.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import define, evolve, frozen
from numpy.typing import NDArray

from slt_synthetic.profiles import Profile, symbol_key

__all__ = ["DAY_MS", "MINUTES", "Day", "State", "first_state", "next_day"]

DAY_MS = 86_400_000
MINUTES = 1_440

_YEAR_MINUTES = 525_600
_LOOKBACK = 240
_EDGE_SCALE = 0.05
_SWITCH_SHARE = 1 / 360
_QUIET, _ACTIVE = 0.65, 1.45
_SWEEP_SHARE = 1 / 90
_SWEEP_REACH = 4.0
_LONGEST_SWEEP = 0.1
_CLOSE_BACK = 0.75

_Array = NDArray[np.float64]


@frozen
class _Factor:
    """A normal autoregressive process: half-life in minutes and standard deviation."""

    half_life: float
    deviation: float

    @property
    def weight(self) -> float:
        return float(0.5 ** (1.0 / self.half_life))

    def path(self, shocks: _Array, before: _Array) -> _Array:
        """Values ``[..., t]`` from standard normal shocks and the value of the minute before.

        x[t] = w x[t-1] + e[t], summed by doubling the reach of each pass, in a fixed order of operations.
        """
        weight = self.weight
        path = shocks * (self.deviation * math.sqrt(1.0 - weight * weight))
        path[..., 0] += weight * before
        reach = 1
        while reach < path.shape[-1]:
            path[..., reach:] = path[..., reach:] + weight**reach * path[..., :-reach]
            reach *= 2
        return path


_SLOW, _FAST, _OWN = _Factor(2_880, 0.25), _Factor(60, 0.3), _Factor(240, 0.25)
_PRESSURE, _TURNOVER = _Factor(180, 1.0), _Factor(120, 0.5)


@frozen(eq=False)
class State:
    """What one day hands to the next.

    Attributes:
        day: Number of the next day, from 0.
        level: ``[s]``, log price.
        highs: ``[s, 240]``, log highs of the last four hours.
        lows: ``[s, 240]``, log lows of the last four hours.
        is_active: Whether the active regime reigns.
        market: ``[2]``, slow and fast volatility factor of the market.
        own: ``[3, s]``, volatility factor, buying pressure and turnover of each symbol.
    """

    day: int
    level: _Array
    highs: _Array
    lows: _Array
    is_active: bool
    market: _Array
    own: _Array


@frozen(eq=False)
class Day:
    """One day of minutes, every array ``[s, 1440]``: log prices, turnover in quote currency, takers' share of it."""

    open: _Array
    high: _Array
    low: _Array
    close: _Array
    turnover: _Array
    taker_share: _Array


@define
class _Draws:
    """All randomness of one day: a stream of its own for the market and for each symbol."""

    market: _Array
    switch: _Array
    normal: _Array
    uniform: _Array

    @classmethod
    def of(cls, seed: int, day: int, profiles: tuple[Profile, ...]) -> _Draws:
        market = np.random.default_rng([seed, 2, day])
        normal = np.empty((6, len(profiles), MINUTES))
        uniform = np.empty((9, len(profiles), MINUTES))
        shared, switch = market.standard_normal((3, MINUTES)), market.random(MINUTES)
        for i, profile in enumerate(profiles):
            own = np.random.default_rng([seed, 3, symbol_key(profile.symbol), day])
            normal[:, i] = own.standard_normal((6, MINUTES))
            uniform[:, i] = 1.0 - own.random((9, MINUTES))
        return cls(shared, switch, normal, uniform)


def first_state(seed: int, profiles: tuple[Profile, ...]) -> State:
    """The state before day 0, every process drawn from its long-run distribution."""
    market = np.random.default_rng([seed, 4]).standard_normal(3)
    own = np.stack(
        [np.random.default_rng([seed, 5, symbol_key(p.symbol)]).standard_normal(3) for p in profiles], axis=1
    )
    level = np.log([p.price for p in profiles])
    flat = np.repeat(level[:, None], _LOOKBACK, axis=1)
    return State(
        day=0,
        level=level,
        highs=flat,
        lows=flat,
        is_active=bool(market[2] > 0),
        market=market[:2] * np.array([_SLOW.deviation, _FAST.deviation]),
        own=own * np.array([[_OWN.deviation], [_PRESSURE.deviation], [_TURNOVER.deviation]]),
    )


def next_day(
    state: State,
    profiles: tuple[Profile, ...],
    *,
    seed: int,
    annual_volatility: float,
    correlation: float,
    planted_edge: float,
) -> tuple[Day, State]:
    """Make one day and the state after it; the same arguments give the same bytes.

    Args:
        state: What the day before left.
        profiles: The symbols.
        seed: Of everything random.
        annual_volatility: Standard deviation of a year's log returns without sweeps, as a fraction.
        correlation: Of the minute returns of two symbols at equal volatility.
        planted_edge: Strength of the drift, 0 to 1; see the module's text.
    """
    draws = _Draws.of(seed, state.day, profiles)
    base = np.array([p.volatility_factor for p in profiles]) * annual_volatility / math.sqrt(_YEAR_MINUTES)
    factors, volatility = _volatility(state, draws, base)
    pressure = _PRESSURE.path(draws.normal[2], state.own[1])
    before = np.concatenate((state.own[1][:, None], pressure[:, :-1]), axis=1)
    shocks = math.sqrt(correlation) * draws.market[0] + math.sqrt(1.0 - correlation) * draws.normal[0]
    returns = volatility * shocks - 0.5 * volatility**2 + planted_edge * _EDGE_SCALE * volatility * before
    path = _Path.of(state, returns, volatility, draws.uniform)
    swept = path.add_sweeps(volatility, draws.uniform[2:])
    turnover = _TURNOVER.path(draws.normal[3], state.own[2])
    moves = np.clip((path.close - path.open) / volatility, -3.0, 3.0)
    size = turnover + 0.8 * np.log(volatility / base[:, None]) + 0.5 * np.abs(moves) + 0.4 * draws.normal[4]
    flow = np.tanh(0.5 * pressure + 0.8 * moves + 0.4 * draws.normal[5])
    day = Day(
        open=path.open,
        high=path.highs[:, _LOOKBACK:],
        low=path.lows[:, _LOOKBACK:],
        close=path.close,
        turnover=np.array([[p.minute_notional] for p in profiles]) * np.exp(size - 0.8 + 1.1 * swept),
        taker_share=0.5 + 0.45 * flow,
    )
    after = evolve(
        state,
        day=state.day + 1,
        level=path.close[:, -1].copy(),
        highs=path.highs[:, -_LOOKBACK:].copy(),
        lows=path.lows[:, -_LOOKBACK:].copy(),
        is_active=_is_active(state, draws.switch)[-1],
        market=np.array([factors[0][-1], factors[1][-1]]),
        own=np.stack((factors[2][:, -1], pressure[:, -1], turnover[:, -1])),
    )
    return day, after


def _is_active(state: State, switch: _Array) -> list[bool]:
    switches = np.cumsum(switch < _SWITCH_SHARE) + int(state.is_active)
    active: list[bool] = (switches % 2 == 1).tolist()
    return active


def _volatility(state: State, draws: _Draws, base: _Array) -> tuple[tuple[_Array, _Array, _Array], _Array]:
    slow = _SLOW.path(draws.market[1], state.market[0])
    fast = _FAST.path(draws.market[2], state.market[1])
    own = _OWN.path(draws.normal[1], state.own[0])
    mean_square = _SLOW.deviation**2 + _FAST.deviation**2 + _OWN.deviation**2
    regime = np.where(_is_active(state, draws.switch), _ACTIVE, _QUIET) / math.sqrt((_ACTIVE**2 + _QUIET**2) / 2)
    hour = 2.0 * np.pi * (np.arange(MINUTES) - 14.5 * 60) / MINUTES
    season = np.exp(0.3 * np.cos(hour) + 0.1 * np.cos(2.0 * hour))
    season /= math.sqrt(float((season**2).mean()))
    return (slow, fast, own), base[:, None] * (season * regime) * np.exp(slow + fast + own - mean_square)


@define
class _Path:
    """Log prices of a day; highs and lows have the four hours before the day in front."""

    open: _Array
    close: _Array
    highs: _Array
    lows: _Array

    @classmethod
    def of(cls, state: State, returns: _Array, volatility: _Array, uniform: _Array) -> _Path:
        close = state.level[:, None] + np.cumsum(returns, axis=1)
        opened = np.concatenate((state.level[:, None], close[:, :-1]), axis=1)
        up, down = (np.sqrt(returns**2 - 2.0 * volatility**2 * np.log(u)) for u in uniform[:2])
        highs = np.concatenate((state.highs, opened + 0.5 * (returns + up)), axis=1)
        lows = np.concatenate((state.lows, opened + 0.5 * (returns - down)), axis=1)
        return cls(opened, close, highs, lows)

    def add_sweeps(self, volatility: _Array, uniform: _Array) -> NDArray[np.bool_]:
        """Replace minutes by bursts where an extreme is within reach, in the order of time; tells where."""
        swept = np.zeros(volatility.shape, dtype=np.bool_)
        for i, minute in zip(*np.nonzero(uniform[0] < _SWEEP_SHARE), strict=True):
            unit = float(volatility[i, minute])
            start = float(self.open[i, minute])
            above = float(self.highs[i, minute : minute + _LOOKBACK].max()) - start
            below = start - float(self.lows[i, minute : minute + _LOOKBACK].min())
            distance = max(min(above, below), 0.0) + (0.3 + float(uniform[1, i, minute])) * unit
            if distance <= min(_SWEEP_REACH * unit, _LONGEST_SWEEP):
                swept[i, minute] = True
                self._replace(int(i), int(minute), _burst(distance, uniform[2:, i, minute].tolist()))
        return swept

    def _replace(self, i: int, minute: int, burst: tuple[float, float, float]) -> None:
        high, low, change = burst
        start = self.open[i, minute]
        at = minute + _LOOKBACK
        shift = start + change - self.close[i, minute]
        self.highs[i, at], self.lows[i, at] = start + high, start + low
        self.close[i, minute:] += shift
        self.open[i, minute + 1 :] += shift
        self.highs[i, at + 1 :] += shift
        self.lows[i, at + 1 :] += shift


def _burst(distance: float, draws: list[float]) -> tuple[float, float, float]:
    """High, low and end of a burst, relative to its start, in logs."""
    side_draw, turn_draw, length_draw, first_draw, second_draw = draws
    side = 1.0 if side_draw <= 1.0 / (1.0 + math.exp(distance)) else -1.0
    other = -side * _opposite_extreme(distance, distance, first_draw)
    back = (0.8 + 0.8 * length_draw) * distance
    expected = math.exp(-side * back)
    on = side * math.log((1.0 - _CLOSE_BACK * expected) / (1.0 - _CLOSE_BACK))
    turned = turn_draw <= _CLOSE_BACK
    ahead = _opposite_extreme(back, on, second_draw) if turned else on
    behind = back if turned else _opposite_extreme(on, back, second_draw)
    top = side * (distance + ahead)
    bottom = side * (distance - behind)
    end = bottom if turned else top
    points = (0.0, other, side * distance, top, bottom)
    return max(points), min(points), end


def _opposite_extreme(reached: float, other: float, draw: float) -> float:
    """How far a driftless path went towards one barrier, `other` away, before it ended at the one `reached` away.

    P(extreme >= x) = reached (other - x) / (other (reached + x)), inverted.
    """
    return reached * other * (1.0 - draw) / (draw * other + reached)
