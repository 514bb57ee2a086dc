"""Request weights and order counts, by fixed windows of the exchange's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt_sandbox.errors import ApiError, refusal

if TYPE_CHECKING:
    from slt_sandbox.settings import ExchangeSettings

__all__ = ["Limits", "rate_limits"]

_MINUTE_MS = 60_000
_TEN_SECONDS_MS = 10_000
_FIVE_MINUTES_MS = 300_000


def rate_limits(settings: ExchangeSettings) -> list[dict[str, object]]:
    """The limits as exchangeInfo lists them."""
    rows = (
        ("REQUEST_WEIGHT", "MINUTE", 1, settings.weight_per_minute),
        ("ORDERS", "MINUTE", 1, settings.orders_per_minute),
        ("ORDERS", "SECOND", 10, settings.orders_per_10s),
    )
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
        for kind, interval, number, limit in rows
    ]


class _Window:
    """A count that starts anew with each window of the clock."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._index = -1
        self._count = 0

    def count(self, now: int) -> int:
        if now // self._length_ms != self._index:
            self._index, self._count = now // self._length_ms, 0
        return self._count

    def add(self, now: int, amount: int) -> int:
        self._count = self.count(now) + amount
        return self._count

    def seconds_left(self, now: int) -> int:
        return -(-(self._length_ms - now % self._length_ms) // 1_000)


class Limits:
    """What addresses and accounts have used, and who is banned.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: ExchangeSettings) -> None:
        self._settings = settings
        self._weights: dict[str, _Window] = {}
        self._funding: dict[str, _Window] = {}
        self._refusals: dict[str, _Window] = {}
        self._orders: dict[str, tuple[_Window, _Window]] = {}
        self._bans: dict[str, int] = {}

    def ban(self, address: str, until: int) -> None:
        """Ban an address until a time, ms UTC."""
        self._bans[address] = until

    def use_weight(self, address: str, weight: int, now: int) -> int:
        """Count a request.

        Args:
            address: Who asks.
            weight: Of the request.
            now: ms UTC.

        Returns:
            Weight used in this minute, this request included.

        Raises:
            ApiError: 418 while banned; 429 over the limit, and a ban after too many of these.
        """
        until = self._bans.get(address, 0)
        if now < until:
            raise _banned(address, until, now)
        window = self._weights.setdefault(address, _Window(_MINUTE_MS))
        used = window.add(now, weight)
        if used <= self._settings.weight_per_minute:
            return used
        raise self._too_many(address, now, self._settings.weight_per_minute, window)

    def use_funding(self, address: str, now: int) -> None:
        """Count a request about funding rates: they have a limit of their own, and no weight.

        Raises:
            ApiError: 429 over the limit, and a ban after too many of these.
        """
        window = self._funding.setdefault(address, _Window(_FIVE_MINUTES_MS))
        if window.add(now, 1) > self._settings.funding_per_5m:
            raise self._too_many(address, now, self._settings.funding_per_5m, window)

    def _too_many(self, address: str, now: int, limit: int, window: _Window) -> ApiError:
        refused = self._refusals.setdefault(address, _Window(_MINUTE_MS)).add(now, 1)
        if refused > self._settings.ban_after:
            self.ban(address, now + self._settings.ban_ms)
            return _banned(address, now + self._settings.ban_ms, now)
        error = refusal(-1003, limit=limit)
        return ApiError(error.code, error.text, retry_after=window.seconds_left(now))

    def used_weight(self, address: str, now: int) -> int:
        """Weight an address has used in this minute."""
        return self._weights.setdefault(address, _Window(_MINUTE_MS)).count(now)

    def use_orders(self, account: str, now: int, per_10s: int = 1, per_minute: int = 1) -> tuple[int, int]:
        """Count orders of an account.

        Returns:
            Orders in these ten seconds and in this minute, these included.

        Raises:
            ApiError: 429 -1015 over a limit; the orders are not counted.
        """
        short, long = self._windows(account)
        limits = (
            (short, per_10s, self._settings.orders_per_10s, "10 SECOND"),
            (long, per_minute, self._settings.orders_per_minute, "1 MINUTE"),
        )
        for window, amount, limit, interval in limits:
            if window.count(now) + amount > limit:
                error = refusal(-1015, limit=limit, interval=interval)
                raise ApiError(error.code, error.text, retry_after=window.seconds_left(now))
        return short.add(now, per_10s), long.add(now, per_minute)

    def order_counts(self, account: str, now: int) -> tuple[int, int]:
        """Orders of an account in these ten seconds and in this minute."""
        short, long = self._windows(account)
        return short.count(now), long.count(now)

    def _windows(self, account: str) -> tuple[_Window, _Window]:
        return self._orders.setdefault(account, (_Window(_TEN_SECONDS_MS), _Window(_MINUTE_MS)))


def _banned(address: str, until: int, now: int) -> ApiError:
    text = (
        f"Way too many requests; IP({address}) banned until {until}. "
        "Please use the websocket for live updates to avoid bans."
    )
    return ApiError(-1003, text, status=418, retry_after=-(-(until - now) // 1_000))
