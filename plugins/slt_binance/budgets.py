"""Request weight and order counts: how much the exchange still allows, and how long to wait where it does not.

Pure: the exchange's time comes in with every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Budgets"]

_UNITS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_LETTERS = {"SECOND": "S", "MINUTE": "M", "HOUR": "H", "DAY": "D"}
_HEADERS = {"REQUEST_WEIGHT": "x-mbx-used-weight-", "ORDERS": "x-mbx-order-count-"}
_SHARE = 0.8
_URGENT_SHARE = 0.95


@define
class _Window:
    """One limit: what has been used of it in the window that the exchange counts in."""

    header: str
    span_ms: int
    limit: int
    number: int = -1
    used: int = 0
    pending: int = 0

    def roll(self, now: int) -> None:
        if now // self.span_ms > self.number:
            self.number, self.used = now // self.span_ms, 0

    def wait(self, now: int, cost: int, share: float) -> int:
        self.roll(now)
        if self.used + self.pending + cost <= max(1, int(self.limit * share)):
            return 0
        return self.span_ms - now % self.span_ms


@define
class Budgets:
    """What has been used of the exchange's limits, by its own count in the headers of its answers.

    Ordinary calls stop at 80 % of a limit and urgent ones (whatever shrinks risk, or finds out what became of an order)
    at 95 %, so that there is always room to close a position. Limits are those of exchangeInfo; until it has been
    read there is none.

    Attributes:
        blocked_until: The exchange said to send nothing before this time, ms UTC; 0 = it did not.
        orders_blocked_until: As above, of orders alone.
    """

    blocked_until: int = 0
    orders_blocked_until: int = 0
    _weights: list[_Window] = field(factory=list, init=False)
    _orders: list[_Window] = field(factory=list, init=False)

    def set_limits(self, limits: Any) -> None:
        """Take the list ``rateLimits`` of exchangeInfo; entries of an unknown kind are passed over."""
        found: dict[str, list[_Window]] = {"REQUEST_WEIGHT": [], "ORDERS": []}
        for entry in limits if isinstance(limits, list) else []:
            kind, unit = str(entry.get("rateLimitType")), str(entry.get("interval"))
            if kind in found and unit in _UNITS_MS:
                count, limit = int(entry.get("intervalNum", 1)), int(entry["limit"])
                name = f"{_HEADERS[kind]}{count}{_LETTERS[unit].lower()}"
                found[kind].append(_Window(name, count * _UNITS_MS[unit], limit))
        self._weights, self._orders = found["REQUEST_WEIGHT"], found["ORDERS"]

    def wait_ms(self, now: int, weight: int, orders: int, *, is_urgent: bool) -> int:
        """Milliseconds until a call of this cost may be sent; 0 = now."""
        share = _URGENT_SHARE if is_urgent else _SHARE
        waits = [max(0, self.blocked_until - now), max(0, self.orders_blocked_until - now) if orders else 0]
        waits += [window.wait(now, weight, share) for window in self._weights if weight]
        waits += [window.wait(now, orders, share) for window in self._orders if orders]
        return max(waits)

    def sent(self, weight: int, orders: int) -> None:
        """A call is under way: its cost counts until the answer tells the exchange's own count."""
        for window in self._weights:
            window.pending += weight
        for window in self._orders:
            window.pending += orders

    def answered(self, now: int, weight: int, orders: int, headers: Mapping[str, str]) -> None:
        """A call ended; an answer without the counts (`headers` empty for none at all) is counted by its cost."""
        for windows, cost in ((self._weights, weight), (self._orders, orders)):
            for window in windows:
                window.pending -= cost
                window.roll(now)
                told = headers.get(window.header, "")
                window.used = max(window.used, int(told)) if told.isdigit() else window.used + cost

    def block(self, until: int) -> None:
        """Send nothing before `until`, ms UTC."""
        self.blocked_until = max(self.blocked_until, until)

    def block_orders(self, now: int, pause_ms: int | None) -> None:
        """The exchange counts more orders than we do: place none for a while.

        Args:
            now: ms UTC.
            pause_ms: How long it said; None = until the next window of its shortest limit.
        """
        shortest = min((window.span_ms for window in self._orders), default=_UNITS_MS["MINUTE"])
        until = now + (shortest - now % shortest if pause_ms is None else pause_ms)
        self.orders_blocked_until = max(self.orders_blocked_until, until)

    def move_clock(self, ahead_ms: int) -> None:
        """Another clock counts from now on: pauses last as long as before, and windows begin anew.

        Args:
            ahead_ms: By how much it is ahead of the one before; negative = behind.
        """
        self.blocked_until += ahead_ms if self.blocked_until else 0
        self.orders_blocked_until += ahead_ms if self.orders_blocked_until else 0
        for window in (*self._weights, *self._orders):
            window.number += ahead_ms // window.span_ms

    def used(self) -> dict[str, tuple[int, int]]:
        """Used and allowed, by the name of the header that counts it."""
        return {w.header: (w.used, w.limit) for w in (*self._weights, *self._orders)}
