"""The feed `synthetic`: its options, and days of the market as blocks of bars."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen, validators

from slt import hookimpl
from slt.candles import cut_blocks, parse_interval, parse_utc
from slt.types import MINUTE_MS, Bars, BarState, MarketInfo
from slt_synthetic.market import DAY_MS, MINUTES, Day, first_state, next_day
from slt_synthetic.profiles import make_funding, make_profile, make_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attrs import Attribute
    from numpy.typing import NDArray

    from slt_synthetic.profiles import Profile

__all__ = ["SyntheticFeed", "SyntheticFeedConfig"]

_SYMBOL = re.compile(r"SYN[A-Z0-9]+")


def _check_symbols(_: SyntheticFeedConfig, __: Attribute[tuple[str, ...]], symbols: tuple[str, ...]) -> None:
    if not symbols:
        raise ValueError("names no symbol; write some that begin with SYN, such as `SYN1USDT`")
    wrong = [s for s in symbols if _SYMBOL.fullmatch(s) is None]
    if wrong:
        raise ValueError(f"`{wrong[0]}` must begin with SYN, so that nobody takes its prices for real ones")
    doubled = sorted({s for s in symbols if symbols.count(s) > 1})
    if doubled:
        raise ValueError(f"`{doubled[0]}` stands there more than once")


def _check_interval(_: SyntheticFeedConfig, __: Attribute[str], interval: str) -> None:
    length = parse_interval(interval)
    if length % MINUTE_MS or DAY_MS % length:
        raise ValueError(f"`{interval}` must be whole minutes that divide a day, such as `1m`, `5m` or `1h`")


def _check_date(_: SyntheticFeedConfig, __: Attribute[str], text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is not an ISO date; write `2024-01-31`") from None


@frozen(kw_only=True)
class SyntheticFeedConfig:
    """Options of `SyntheticFeed`.

    Attributes:
        symbols: Made-up symbols; each begins with SYN.
        start: First day, ISO date, UTC.
        days: Length of the market in days.
        interval: Length of the bars: whole minutes that divide a day, such as "1m" or "5m".
        seed: Another number gives another market.
        annual_volatility: Typical standard deviation of a year's returns, as a fraction.
        correlation: Correlation of the minute returns of two symbols, 0 to 0.95.
        planted_edge: Drift in the direction of the takers' hidden pressure: 0 = no edge at all, 1 = a strong one.
    """

    symbols: tuple[str, ...] = field(default=tuple(f"SYN{i}USDT" for i in range(1, 9)), validator=_check_symbols)
    start: str = field(default="2024-01-01", validator=_check_date)
    days: int = field(default=30, validator=[validators.ge(1), validators.le(3_650)])
    interval: str = field(default="1m", validator=_check_interval)
    seed: int = field(default=1, validator=validators.ge(0))
    annual_volatility: float = field(default=0.8, validator=[validators.gt(0), validators.le(5)])
    correlation: float = field(default=0.6, validator=[validators.ge(0), validators.le(0.95)])
    planted_edge: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])


class SyntheticFeed:
    """Makes a seeded market of correlated perpetuals that never existed, for demos and experiments.

    Volatility clusters and follows the time of day, quiet ranges alternate with active trends, recent highs and lows
    are swept, volume and the takers' flow go with the moves. By default the market is a martingale: nothing in it can
    be predicted but volatility and volume, so that a back-test which wins on it over many seeds, before costs, has a
    fault. ``planted_edge`` adds a drift of known strength; `slt_synthetic.market` gives every formula. A symbol's bars
    depend on the options and its own name, not on the other symbols, the length of the market or the blocks asked for.

    Args:
        config: The options.
    """

    config_class = SyntheticFeedConfig

    def __init__(self, config: SyntheticFeedConfig) -> None:
        self.config = config

    @hookimpl
    def slt_describe_market(self) -> MarketInfo:
        """Say what the market holds; see `slt.hookspecs.FeedSpecs.slt_describe_market`."""
        config = self.config
        start, interval_ms = parse_utc(config.start), parse_interval(config.interval)
        end = start + config.days * DAY_MS
        edge = f", planted edge {config.planted_edge:g}" if config.planted_edge else ""
        return MarketInfo(
            symbols=config.symbols,
            interval_ms=interval_ms,
            start=start,
            end=end,
            description=f"synthetic market (seed {config.seed}{edge}): not real prices",
            is_synthetic=True,
            rules={profile.symbol: make_rules(profile) for profile in self._profiles()},
            funding={symbol: make_funding(config.seed, symbol, start, end) for symbol in config.symbols},
            total_bars=(end - start) // interval_ms,
        )

    @hookimpl
    def slt_read_bars(self, start: int, rows: int) -> Iterator[Bars]:
        """Yield blocks of made bars; see `slt.hookspecs.FeedSpecs.slt_read_bars`."""
        return cut_blocks(self._days(start), start, rows)

    def _days(self, start: int) -> Iterator[Bars]:
        """Each day as bars, from the one that holds the first bar after `start`; the days before are walked through."""
        config, profiles = self.config, self._profiles()
        state = first_state(config.seed, profiles)
        opens = parse_utc(config.start)
        for number in range(config.days):
            day, state = next_day(
                state,
                profiles,
                seed=config.seed,
                annual_volatility=config.annual_volatility,
                correlation=config.correlation,
                planted_edge=config.planted_edge,
            )
            if opens + (number + 1) * DAY_MS > start:
                yield _to_bars(day, profiles, opens + number * DAY_MS, parse_interval(config.interval))

    def _profiles(self) -> tuple[Profile, ...]:
        return tuple(make_profile(self.config.seed, symbol) for symbol in self.config.symbols)


def _to_bars(day: Day, profiles: tuple[Profile, ...], opens: int, interval_ms: int) -> Bars:
    """A day of minutes on the grids of price and quantity, put together to bars of the interval."""
    minutes = interval_ms // MINUTE_MS
    shape = (len(profiles), MINUTES // minutes, minutes)
    tick, step = ([p.price_decimals for p in profiles], [p.quantity_decimals for p in profiles])
    high, low = day.high.reshape(shape).max(axis=2), day.low.reshape(shape).min(axis=2)
    opened, close = day.open.reshape(shape)[:, :, 0], day.close.reshape(shape)[:, :, -1]
    volume = day.turnover / np.exp(day.close)
    taker = (volume * day.taker_share).reshape(shape).sum(axis=2)
    traded = np.maximum(_on_grid(volume.reshape(shape).sum(axis=2), step), _on_grid(np.zeros(shape[:2]), step, least=1))
    prices = [_on_grid(np.exp(part), tick, least=1) for part in (opened, high, low, close)]
    return Bars(
        symbols=tuple(p.symbol for p in profiles),
        interval_ms=interval_ms,
        close_time=np.arange(opens + interval_ms, opens + DAY_MS + 1, interval_ms, dtype=np.int64),
        open=_columns(prices[0]),
        high=_columns(prices[1]),
        low=_columns(prices[2]),
        close=_columns(prices[3]),
        volume=_columns(traded),
        taker_buy_volume=_columns(np.minimum(_on_grid(taker, step), traded)),
        state=np.full((shape[1], shape[0]), BarState.TRADED, dtype=np.uint8),
    )


def _on_grid(values: NDArray[np.float64], decimals: list[int], least: int = 0) -> NDArray[np.float64]:
    """Each symbol's values ``[s, t]`` rounded to its decimals, as the floats nearest to the decimal numbers."""
    power = np.array([[10.0 ** abs(d)] for d in decimals])
    is_fraction = np.array([[d >= 0] for d in decimals])
    units = np.maximum(np.rint(np.where(is_fraction, values * power, values / power)), least)
    gridded: NDArray[np.float64] = np.where(is_fraction, units / power, units * power)
    return gridded


def _columns(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values.T)
