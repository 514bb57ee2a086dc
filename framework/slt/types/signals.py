"""What a strategy gives: proposals where it would enter, and dense views that exits read."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VIEW_NAMES", "Proposal", "Side", "StrategyBlock"]

VIEW_NAMES = (
    "confidence_long",
    "confidence_short",
    "rebound_long",
    "rebound_short",
    "continuation_long",
    "continuation_short",
)


class Side(IntEnum):
    """Direction of a position or proposal; the value is the sign of the quantity held."""

    LONG = 1
    SHORT = -1


@frozen(eq=False)
class StrategyBlock:
    """Proposals and views for the same rows and symbols as the `Bars` they were made from.

    Attributes:
        side: int8 ``[t, s]``: +1 long, −1 short, 0 no proposal.
        stop: float64 ``[t, s]``, price of the protective stop; NaN where there is no proposal.
        target: float64 ``[t, s]``, price of the profit target; NaN where there is no proposal.
        reason: int16 ``[t, s]``, index into `reasons`; −1 where there is no proposal.
        reasons: Words for the reason codes, as the decision ledger shows them.
        confidence_long: float32 ``[t, s]`` in [0, 1]: how well the rules support holding a long now; NaN = unknown.
        confidence_short: The same for a short.
        rebound_long: float32 ``[t, s]`` in [0, 1]: how likely a losing long recovers, by the rules; NaN = unknown.
        rebound_short: The same for a short.
        continuation_long: float32 ``[t, s]`` in [0, 1]: how likely an upward move goes on; NaN = unknown.
        continuation_short: The same for a downward move.
    """

    side: NDArray[np.int8]
    stop: NDArray[np.float64]
    target: NDArray[np.float64]
    reason: NDArray[np.int16]
    reasons: tuple[str, ...]
    confidence_long: NDArray[np.float32]
    confidence_short: NDArray[np.float32]
    rebound_long: NDArray[np.float32]
    rebound_short: NDArray[np.float32]
    continuation_long: NDArray[np.float32]
    continuation_short: NDArray[np.float32]

    def view(self, name: str, side: int) -> NDArray[np.float32]:
        """The view `name` (``confidence``, ``rebound`` or ``continuation``) of one side, ``[t, s]``."""
        array: NDArray[np.float32] = getattr(self, f"{name}_{'long' if side > 0 else 'short'}")
        return array

    def rows(self, start: int, stop: int) -> StrategyBlock:
        """Rows ``start:stop`` as a view on the same memory."""
        span = slice(start, stop)
        names = ("side", "stop", "target", "reason", *VIEW_NAMES)
        return StrategyBlock(reasons=self.reasons, **{name: getattr(self, name)[span] for name in names})

    @classmethod
    def quiet(cls, shape: tuple[int, int], reasons: tuple[str, ...] = ()) -> StrategyBlock:
        """A block of the given ``(t, s)`` shape without proposals and with every view unknown."""
        views = {name: np.full(shape, np.nan, dtype=np.float32) for name in VIEW_NAMES}
        return cls(
            side=np.zeros(shape, dtype=np.int8),
            stop=np.full(shape, np.nan),
            target=np.full(shape, np.nan),
            reason=np.full(shape, -1, dtype=np.int16),
            reasons=reasons,
            **views,
        )


@frozen
class Proposal:
    """One entry that a strategy proposes at the close of a bar.

    Attributes:
        time: Close time of the bar, ms UTC.
        symbol: Exchange name.
        side: +1 long, −1 short.
        strategy: Config name of the strategy.
        price: Close of the bar, quote currency: the reference for distances; the fill comes later.
        stop: Protective stop price, on the losing side of `price`.
        target: Profit target price, on the winning side of `price`.
        reason: The strategy's word for why.
        confidence: The rules' confidence in this side, [0, 1]; NaN = unknown.
    """

    time: int
    symbol: str
    side: int
    strategy: str
    price: float
    stop: float
    target: float
    reason: str
    confidence: float

    @property
    def reward_to_risk(self) -> float:
        """Distance to the target over the distance to the stop, before costs."""
        return abs(self.target - self.price) / abs(self.price - self.stop)
