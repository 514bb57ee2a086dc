"""From frames to waves: connections, queues, workers and the cut of each minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from slt.config import FeedConfig
    from slt.feed.recorder import Recorder
    from slt.feed.status import FeedStatus
    from slt.hookspecs import FeedSpecs
    from slt.types import MarketInfo, PricePoint, SymbolChange, Wave

__all__ = ["FeedPipeline"]


class FeedPipeline:
    """Receives a live feed's frames and gives waves of bars, ticks of watched symbols, and symbol changes.

    Args:
        hooks: The feed's hooks; it must have all four of a live feed.
        market: What `slt_describe_market` told; `symbols` are the columns of every wave.
        config: Section ``[feed]``.
        wall_ms: The exchange's clock as well as it is known, ms UTC: stamps frames and times deadlines.
        recorder: Takes every frame; None records nothing.
        seconds: A steady clock in seconds, for liveness and pacing.
    """

    def __init__(
        self,
        hooks: FeedSpecs,
        market: MarketInfo,
        config: FeedConfig,
        *,
        wall_ms: Callable[[], int],
        recorder: Recorder | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None: ...

    async def run(self) -> None:
        """Connect, receive, watch and reconnect until cancelled.

        Raises:
            ExceptionGroup: A hook broke its contract, or the recording cannot be written; never for the network.
        """

    def read(self) -> AsyncGenerator[Wave | PricePoint | SymbolChange]:
        """Yield what the feed says, in order, for as long as `run` runs; for one reader.

        A reader that falls behind holds the queues back, and they the sockets; nothing that counts is lost. Price
        points of one symbol are replaced by newer ones while they wait.
        """

    def watch(self, symbols: Iterable[str]) -> None:
        """Say whose unclosed bars are wanted as price points from now on: symbols with a position or an entry."""

    def status(self) -> FeedStatus:
        """How the feed is doing now."""
