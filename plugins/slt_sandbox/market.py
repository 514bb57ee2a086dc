"""What all accounts share: rules, prices, states of symbols, numbers given out, and the ledger."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from attrs import define, field

from slt.errors import BrokerError
from slt_sandbox.errors import refusal
from slt_sandbox.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt.types import FundingRates, SymbolRules
    from slt_sandbox.settings import ExchangeSettings

__all__ = ["DELIVERY_TIME", "ONBOARD_TIME", "Market", "Quote"]

DELIVERY_TIME = 4_133_404_800_000
"""What the exchange prints as the delivery of a perpetual, ms UTC."""
ONBOARD_TIME = 1_569_398_400_000
"""Listing date printed for every symbol, ms UTC."""
_FUNDING_INTERVAL_MS = 28_800_000
_CLOSED = frozenset({"SETTLING", "CLOSE"})
_NOT_YET = frozenset({"PENDING_TRADING", "PRE_SETTLE", "PRE_DELIVERING", "DELIVERING", "DELIVERED"})


@define(eq=False)
class Quote:
    """A symbol's price and what has been traded since the start.

    Attributes:
        symbol: Exchange name.
        last: Last price; NaN before the first.
        time: Its time, ms UTC; -1 before the first.
        status: `TRADING`, or the state that keeps it from trading.
        delivery: When it is settled for good, ms UTC.
        first: First price.
        first_time: Its time, ms UTC.
        high: Highest price.
        low: Lowest price.
        volume: Base units traded.
        quote_volume: Quote currency traded.
        trades: Number of trades.
        updates: Number of prices.
    """

    symbol: str
    last: float = math.nan
    time: int = -1
    status: str = "TRADING"
    delivery: int = DELIVERY_TIME
    first: float = math.nan
    first_time: int = -1
    high: float = -math.inf
    low: float = math.inf
    volume: float = 0.0
    quote_volume: float = 0.0
    trades: int = 0
    updates: int = field(default=0)

    def take(self, price: float, time: int) -> None:
        """Take a new price."""
        if not self.updates:
            self.first, self.first_time = price, time
        self.last, self.time, self.updates = price, time, self.updates + 1
        self.high, self.low = max(self.high, price), min(self.low, price)


class Market:
    """State shared by all accounts.

    Attributes:
        is_between_bars: Tells whether the market stands still between two bars: then an order at market has to wait for
            the next one's first price.

    Args:
        rules: Trading rules per symbol.
        settings: How the exchange behaves.
        clock: Gives the exchange's time, ms UTC.
        funding: Funding settlements per symbol.
        wall: Gives the clients' time, ms UTC.
    """

    def __init__(
        self,
        rules: Mapping[str, SymbolRules],
        settings: ExchangeSettings,
        clock: Callable[[], int],
        funding: Mapping[str, FundingRates],
        wall: Callable[[], int],
    ) -> None:
        self.rules = dict(rules)
        self.settings = settings
        self.clock = clock
        self.wall = wall
        self.funding = dict(funding)
        self.ledger = Ledger()
        self.quotes = {symbol: Quote(symbol) for symbol in rules}
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.is_between_bars: Callable[[], bool] = lambda: False
        self._numbers = {"order": 1_000_000, "algo": 2_000_000, "trade": 3_000_000, "transaction": 4_000_000}

    def next_id(self, kind: str) -> int:
        """A number never given before: of an `order`, `algo`, `trade` or `transaction`."""
        self._numbers[kind] += 1
        return self._numbers[kind]

    def quote(self, symbol: str) -> Quote:
        """A symbol's price.

        Raises:
            BrokerError: The exchange does not list the symbol.
        """
        found = self.quotes.get(symbol)
        if found is None:
            raise BrokerError(f"{symbol}: the exchange does not list it; listed are {sorted(self.quotes)}")
        return found

    def now(self, symbol: str) -> int:
        """The time of something that happens to a symbol now, ms UTC; never before its last price."""
        return max(self.clock(), self.quotes[symbol].time)

    def check_open(self, symbol: str, *, reduce_only: bool) -> None:
        """Refuse an order in a symbol that is unknown or does not trade.

        Raises:
            ApiError: -1121, -4108, -4140 or -4141.
        """
        if symbol not in self.rules:
            raise refusal(-1121)
        status = self.quotes[symbol].status
        if status == "TRADING":
            return
        if status in _CLOSED:
            raise refusal(-4141)
        if status in _NOT_YET:
            raise refusal(-4108)
        if not reduce_only:
            raise refusal(-4140)

    def tell(self, payload: dict[str, Any]) -> None:
        """Give a market event to everyone who listens."""
        for listener in list(self.listeners):
            listener(payload)

    def next_funding(self, symbol: str) -> tuple[int, float]:
        """Time of the next settlement, ms UTC, and the rate expected for it (0 where none is known)."""
        now = self.clock()
        rates = self.funding.get(symbol)
        index = bisect_right(rates.time, now) if rates is not None else 0
        if rates is not None and index < len(rates.time):
            return int(rates.time[index]), float(rates.rate[index])
        return (now // _FUNDING_INTERVAL_MS + 1) * _FUNDING_INTERVAL_MS, 0.0

    def past_funding(self, symbol: str) -> list[tuple[int, float]]:
        """Settlements up to now: time and rate, oldest first."""
        rates = self.funding.get(symbol)
        if rates is None:
            return []
        count = bisect_right(rates.time, self.clock())
        return [(int(rates.time[i]), float(rates.rate[i])) for i in range(count)]
