"""Never naked: the stop and the target that rest on the exchange for what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.events import QueryOrder
from slt.trading.orders import send, take_back
from slt.types import OrderRole, OrderType

if TYPE_CHECKING:
    from slt.trading.core import Core
    from slt.trading.portfolio import Holding, Resting
    from slt.types import Order

__all__ = ["Guard"]

_DUST = 1e-9
"""Share of a quantity that is float noise."""
_LEAST_S = 2.0
"""Seconds of this machine that an acknowledgement is given at least, where the exchange's clock runs faster."""


class Guard:
    """Keeps a stop and a target resting, with the quantity that is open.

    Replace, then cancel: a new order is sent first, and the one that it replaces is cancelled when the new one is
    acknowledged. While one is on its way, a change of the quantity waits for its acknowledgement: an entry that fills
    in twenty pieces needs two stops, not twenty.

    Args:
        core: The engine's memory.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def protect(self, holding: Holding) -> None:
        """Have a stop and a target rest for what is open now."""
        position = holding.position
        self._rest(holding, holding.stop, OrderRole.STOP, OrderType.STOP_MARKET, position.stop)
        self._rest(holding, holding.target, OrderRole.TARGET, OrderType.TAKE_PROFIT_MARKET, position.target)
        self.note_cover(holding)

    def acknowledge(self, holding: Holding, order: Order) -> None:
        """An order rests: cancel those that it replaces, and follow the quantity if that has changed meanwhile."""
        resting = holding.resting(order.client_id)
        if resting is None or resting.is_acknowledged:
            return
        resting.is_acknowledged = True
        take_back(self._core, order.symbol, resting.replaced)
        resting.replaced.clear()
        if resting is holding.stop:
            holding.position.stop_resting = True
        if not holding.position.closing:
            self.protect(holding)
        self.note_cover(holding)

    def lose(self, holding: Holding, resting: Resting, client_id: str) -> None:
        """An order works no longer: the one that it was to replace is in force again, where there is one."""
        if client_id in resting.replaced:
            resting.replaced.remove(client_id)
        elif client_id == resting.client_id:
            resting.client_id = resting.replaced.pop() if resting.replaced else ""
            resting.is_acknowledged = bool(resting.client_id)
        if resting is holding.stop:
            holding.position.stop_resting = bool(resting.client_id and (resting.is_acknowledged or resting.replaced))
            self.note_cover(holding)

    def is_covered(self, holding: Holding) -> bool:
        """Whether an acknowledged stop works for all that is open."""
        stop = holding.stop
        working = [stop.client_id, *stop.replaced] if stop.is_acknowledged else stop.replaced
        needed = holding.position.quantity * (1 - _DUST)
        return any(self._left(client_id) >= needed for client_id in working)

    def note_cover(self, holding: Holding) -> None:
        """Start or stop the clock of the time without cover."""
        if self.is_covered(holding):
            holding.uncovered_since = None
        elif holding.uncovered_since is None:
            holding.uncovered_since = self._core.clock

    def is_overdue(self, holding: Holding, share: float = 1.0) -> bool:
        """Whether a part of the position has had no acknowledged stop for (a share of) the time that is allowed.

        Time is the exchange's. At one that plays faster than real time no answer could come in time, so there it is
        given 2 seconds of this machine (or `stop_ack_seconds`, where that is less) however far the market runs.
        """
        since, allowed = holding.uncovered_since, self._core.setup.risk.stop_ack_seconds
        allowed = max(allowed, min(allowed, _LEAST_S) * self._core.pace)
        return since is not None and self._core.clock - since >= allowed * 1000 * share

    def ask_when_late(self, holding: Holding) -> None:
        """Ask once for a stop whose acknowledgement is late: only the word of it may have been lost."""
        stop = holding.stop
        if self.is_overdue(holding, 0.5) and stop.client_id and not stop.is_acknowledged and not stop.is_asked:
            stop.is_asked = True
            self._core.emit(QueryOrder(self._core.time, holding.position.symbol, stop.client_id))

    def _rest(self, holding: Holding, resting: Resting, role: OrderRole, kind: OrderType, price: float) -> None:
        if resting.client_id and (not resting.is_acknowledged or self._fits(resting.client_id, holding)):
            return
        if resting.client_id:
            resting.replaced.append(resting.client_id)
        quantity = holding.position.quantity
        resting.client_id = send(self._core, holding, role, kind, quantity, stop_price=price, reason=str(role))
        resting.is_acknowledged = resting.is_asked = False

    def _fits(self, client_id: str, holding: Holding) -> bool:
        quantity = holding.position.quantity
        return abs(self._left(client_id) - quantity) <= quantity * _DUST

    def _left(self, client_id: str) -> float:
        portfolio = self._core.portfolio
        order = portfolio.orders.get(client_id)
        return 0.0 if order is None else order.quantity - portfolio.filled.get(client_id, 0.0)
