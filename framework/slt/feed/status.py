"""How a live feed is doing, for health, metrics and ``slt status``."""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["ConnectionStatus", "FeedStatus"]


@frozen
class ConnectionStatus:
    """One planned connection.

    Attributes:
        name: As in its `slt.types.ConnectionPlan`.
        is_up: Whether it is connected and subscribed.
        age_seconds: Time since its last message; None before the first.
        reconnects: How often it was made anew, by cause: ``1006``, ``1011``, ``silent``, ``planned``, ``refused``, …
        silent_symbols: Symbols that have said nothing for ``feed.symbol_silence_seconds``.
    """

    name: str
    is_up: bool
    age_seconds: float | None
    reconnects: dict[str, int]
    silent_symbols: tuple[str, ...]


@frozen
class FeedStatus:
    """A live feed as a whole.

    Attributes:
        connections: One for each plan, in order.
        queued: Frames waiting in each of the three queues.
        event_time: The greatest exchange time seen in a closed bar, ms UTC; 0 before the first.
        counters: Counts since the start by name: ``frames``, ``replaced``, ``bars``, ``late``, ``too_late``,
            ``duplicate``, ``out_of_order``, ``restated``, ``missing``, ``empty``, ``recovered``, ``unconfirmed``,
            ``malformed``, ``waves``, ``waves_at_deadline``.
        lag_ms: Least time from the exchange's stamp on a frame to its receipt since the wave before; None before the
            first. Seconds here, or less than 0, mean that one of the clocks is wrong.
    """

    connections: tuple[ConnectionStatus, ...]
    queued: tuple[int, int, int]
    event_time: int
    counters: dict[str, int] = field(factory=dict)
    lag_ms: int | None = None

    @property
    def is_up(self) -> bool:
        """Whether every connection is up."""
        return all(one.is_up for one in self.connections)
