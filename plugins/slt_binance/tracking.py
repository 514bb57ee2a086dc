"""What is known of orders and trades: which id belongs to which intent, what was told already, what is awaited."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from attrs import define

from slt.types import OrderType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slt.types import FundingPayment, Order, OrderUpdate

__all__ = ["CONDITIONAL", "Tracked", "Tracker"]

CONDITIONAL = frozenset({OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET})
"""Types that rest at the exchange's algo endpoint until they trigger."""
_MOST_ORDERS = 2_000
_MOST_TRADES = 10_000
_MOST_PAYMENTS = 1_000
_SETTLEMENT_MS = 3_600_000


@define
class Tracked:
    """One order of ours.

    Attributes:
        client_id: Ours; of a conditional order also its ``clientAlgoId``, and as a rule that of what it triggers.
        symbol: Exchange name.
        side: +1 buys, −1 sells.
        is_algo: It was placed as a conditional order.
        level: Price that slippage is measured from; None = none known.
        order_id: Number of the real order; 0 = none known yet.
        is_accepted: Its acceptance was told on the stream.
        is_end_told: Its end was told on the stream.
        is_finished: Nothing more will happen to it.
        is_caught_up: What was traded in its symbol was asked for after its end.
        is_sending: The request that places it is under way.
        doubtful_until: The exchange's time until which a request without an answer may still arrive; 0 = none did.
        refusal: The refusal that was told for it.
    """

    client_id: str
    symbol: str
    side: int
    is_algo: bool
    level: float | None = None
    order_id: int = 0
    is_accepted: bool = False
    is_end_told: bool = False
    is_finished: bool = False
    is_caught_up: bool = False
    is_sending: bool = False
    doubtful_until: int = 0
    refusal: OrderUpdate | None = None

    @property
    def is_settled(self) -> bool:
        """Its end is known, and so are its fills: an end that only REST told says nothing of those on the stream."""
        return self.is_finished and (self.is_end_told or self.is_caught_up)


class Tracker:
    """Keeps orders by every id they have, and the trades that were told. Bounded: what is finished goes first."""

    def __init__(self) -> None:
        self.positions: set[str] = set()
        self.awaited: dict[str, float] = {}
        self._orders: OrderedDict[str, Tracked] = OrderedDict()
        self._by_number: dict[tuple[str, int], str] = {}
        self._trades: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._funding: deque[tuple[str, int]] = deque(maxlen=_MOST_PAYMENTS)

    def add(self, order: Order) -> Tracked:
        """Take in an order that is about to be sent."""
        level = order.stop_price if order.stop_price is not None else (order.price or order.level)
        return self.put(Tracked(order.client_id, order.symbol, int(order.side), order.type in CONDITIONAL, level))

    def put(self, tracked: Tracked) -> Tracked:
        """Take in an order; one of that name that is known already stays."""
        known = self._orders.setdefault(tracked.client_id, tracked)
        while len(self._orders) > _MOST_ORDERS:
            self._forget(next((c for c, t in self._orders.items() if t.is_finished), next(iter(self._orders))))
        return known

    def get(self, client_id: str) -> Tracked | None:
        """The order of that name; None = not ours, or from before a restart."""
        return self._orders.get(client_id)

    def link(self, symbol: str, number: int, client_id: str) -> None:
        """Remember whose order a number is."""
        tracked = self._orders.get(client_id)
        if number and tracked is not None:
            tracked.order_id = number
            self._by_number[symbol, number] = client_id

    def owner(self, symbol: str, number: int) -> str | None:
        """Client id of the intent that a real order belongs to; None = unknown."""
        return self._by_number.get((symbol, number))

    def working(self) -> list[Tracked]:
        """Orders of which more may be heard."""
        return [tracked for tracked in self._orders.values() if not tracked.is_finished]

    def triggerable(self, symbol: str, side: int) -> list[Tracked]:
        """Conditional orders of which an unknown order could be what they triggered."""
        return [t for t in self.working() if t.is_algo and not t.order_id and (t.symbol, t.side) == (symbol, side)]

    def symbols(self) -> set[str]:
        """Symbols on which something may have happened unseen."""
        return self.positions | {t.symbol for t in self._orders.values() if not t.is_settled}

    def tell_trade(self, symbol: str, trade_id: int) -> bool:
        """Whether a trade is new; from now on it is not."""
        key = (symbol, trade_id)
        if key in self._trades:
            return False
        self._trades[key] = None
        while len(self._trades) > _MOST_TRADES:
            self._trades.popitem(last=False)
        return True

    def is_told(self, symbol: str, trade_id: int) -> bool:
        """Whether a trade was told already."""
        return (symbol, trade_id) in self._trades

    def tell_funding(self, payment: FundingPayment) -> bool:
        """Whether a payment is new; from now on it is not. The stream and the list may differ by some milliseconds."""
        key = (payment.symbol, (payment.time + _SETTLEMENT_MS // 2) // _SETTLEMENT_MS)
        if key in self._funding:
            return False
        self._funding.append(key)
        return True

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._orders.values())

    def _forget(self, client_id: str) -> None:
        tracked = self._orders.pop(client_id)
        self._by_number.pop((tracked.symbol, tracked.order_id), None)
        self.awaited.pop(client_id, None)
