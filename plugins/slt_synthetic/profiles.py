"""What is fixed for a made-up symbol: price level, volatility, volume, exchange rules and funding."""

from __future__ import annotations

import math
import zlib
from decimal import Decimal

import numpy as np
from attrs import frozen

from slt.types import FundingRates, LeverageBracket, SymbolRules

__all__ = ["Profile", "make_funding", "make_profile", "make_rules", "symbol_key"]

_FUNDING_MS = 8 * 3_600_000
_FUNDING_DEVIATION = 0.0001
_FUNDING_LIMIT = 0.0005
_TIERS = ((50_000, 50, 0.01), (250_000, 25, 0.02), (1_000_000, 20, 0.025), (5_000_000, 10, 0.05), (20_000_000, 5, 0.1))


@frozen
class Profile:
    """One made-up symbol.

    Attributes:
        symbol: Its name.
        price: Price at the start of the market, quote currency.
        volatility_factor: Its volatility over that of the config.
        minute_notional: Typical turnover of a minute, quote currency.
        price_decimals: The tick size is ten to minus this.
        quantity_decimals: The step size is ten to minus this.
    """

    symbol: str
    price: float
    volatility_factor: float
    minute_notional: float
    price_decimals: int
    quantity_decimals: int


def symbol_key(symbol: str) -> int:
    """The number that stands for a symbol in seeds, so that its prices do not depend on the other symbols."""
    return zlib.crc32(symbol.encode())


def make_profile(seed: int, symbol: str) -> Profile:
    """Draw a profile: price 0.5 to 50,000, its tick 1/10,000 to 1/100,000 of it, its step worth 1 to 10 USDT."""
    draw = np.random.default_rng([seed, 0, symbol_key(symbol)]).random(3)
    exponent = -0.3 + 5.0 * float(draw[0])
    price_decimals = 4 - math.floor(exponent)
    price = round(10.0**exponent, price_decimals)
    return Profile(
        symbol=symbol,
        price=price,
        volatility_factor=0.8 + 0.5 * float(draw[1]),
        minute_notional=10.0 ** (4.7 + 1.5 * float(draw[2])),
        price_decimals=price_decimals,
        quantity_decimals=math.floor(exponent),
    )


def make_rules(profile: Profile) -> SymbolRules:
    """Exchange rules in the usual shape: decimal filters, at least 5 USDT an order, five leverage tiers."""
    step = Decimal(10) ** -profile.quantity_decimals
    return SymbolRules(
        symbol=profile.symbol,
        tick_size=Decimal(10) ** -profile.price_decimals,
        step_size=step,
        min_notional=Decimal(5),
        min_quantity=step,
        market_step_size=step,
        market_min_quantity=step,
        brackets=_brackets(),
    )


def _brackets() -> tuple[LeverageBracket, ...]:
    brackets: list[LeverageBracket] = []
    floor, cum, rate_before = 0.0, 0.0, 0.0
    for cap, max_leverage, rate in _TIERS:
        cum += floor * (rate - rate_before)
        brackets.append(LeverageBracket(floor, float(cap), max_leverage, rate, cum))
        floor, rate_before = float(cap), rate
    return tuple(brackets)


def make_funding(seed: int, symbol: str, start: int, end: int) -> FundingRates:
    """Settlements every 8 hours from `start` to `end`, ms UTC: independent draws around zero, which are no edge."""
    time = np.arange(-(-start // _FUNDING_MS) * _FUNDING_MS, end + 1, _FUNDING_MS, dtype=np.int64)
    draws = np.random.default_rng([seed, 1, symbol_key(symbol)]).standard_normal(len(time))
    rate = np.clip(draws * _FUNDING_DEVIATION, -_FUNDING_LIMIT, _FUNDING_LIMIT)
    return FundingRates(time=time, rate=np.round(rate, 8).astype(np.float64))
