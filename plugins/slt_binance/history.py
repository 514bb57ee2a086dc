"""What became of orders and positions, asked by REST: after an unknown outcome, a reconnect, a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from slt.types import Fill, FundingPayment, OrderStatus
from slt_binance.endpoints import Endpoints
from slt_binance.faults import Action, ExchangeError
from slt_binance.tracking import Tracked
from slt_binance.words import order_update, trade_fill

if TYPE_CHECKING:
    from slt.types import OrderUpdate
    from slt_binance.client import Client
    from slt_binance.tracking import Tracker
    from slt_binance.words import FeeTable

__all__ = ["History"]

_PAGE = 1_000
_SETTLE_S = 0.1
_OVERLAP_MS = 60_000
"""Trades so long before an order that an earlier process sent may be unknown too."""
_ALGO_ENDED = {"CANCELED": "CANCELED", "EXPIRED": "EXPIRED", "REJECTED": "REJECTED"}
_SIDES = {"BUY": 1, "SELL": -1}


class History:
    """Asks the exchange what happened.

    Args:
        client: The REST client.
        tracker: Orders and trades known; what is found out is noted there.
        fees: What fills cost where the exchange does not say.
        unsettled_until: The exchange's time until which an order that an earlier process sent may still arrive, ms UTC.
    """

    def __init__(self, client: Client, tracker: Tracker, fees: FeeTable, unsettled_until: int = 0) -> None:
        self._client = client
        self._tracker = tracker
        self._fees = fees
        self._unsettled_until = unsettled_until

    async def tell_order(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        """Everything known of an order, oldest first; empty: the exchange never saw it, and never will.

        While a request for it may still be under way the answer is waited for: an order that was not there when asked
        and came a second later would be one too many. Of an order that an earlier process sent, whatever else was
        traded in its symbol since is told with it, in order: an entry may have filled on, a stop or a target may have
        closed what was open, or the exchange by force, and each makes sense only after the one before.

        Raises:
            ExchangeError: The exchange does not answer.
        """
        is_inherited = self._tracker.get(client_id) is None
        while True:
            found = await self._find(symbol, client_id)
            tracked = self._tracker.get(client_id)
            doubtful_until = tracked.doubtful_until if tracked is not None else self._unsettled_until
            left = (doubtful_until - self._client.now) / 1000
            if found or left <= 0:
                break
            await asyncio.sleep(min(1.0, left) + _SETTLE_S)
        if not found and tracked is not None and not tracked.is_sending:
            tracked.is_finished = True
            return [tracked.refusal] if tracked.refusal is not None else []
        if found and is_inherited:
            told = {update.trade_id for update in found if isinstance(update, Fill)}
            others = await self.fills_since(symbol, found[0].time - _OVERLAP_MS)
            found += [fill for fill in others if fill.trade_id not in told]
            found.sort(key=_place)
        return found

    async def fills_since(self, symbol: str, since: int) -> list[Fill]:
        """Fills of a symbol that the stream has not told so far, oldest first; they do not count as told yet.

        Args:
            symbol: Exchange name.
            since: ms UTC.
        """
        rows: list[dict[str, Any]] = []
        page = await self._client.call(
            Endpoints.USER_TRADES, is_urgent=True, symbol=symbol, startTime=since, limit=_PAGE
        )
        rows += page
        while len(page) == _PAGE:
            following = int(page[-1]["id"]) + 1
            page = await self._client.call(
                Endpoints.USER_TRADES, is_urgent=True, symbol=symbol, fromId=following, limit=_PAGE
            )
            rows += page
        rows.sort(key=lambda row: int(row["id"]))
        new = [row for row in rows if not self._tracker.is_told(symbol, int(row["id"]))]
        return [self._fill(row, await self.name_order(symbol, int(row["orderId"]))) for row in new]

    async def name_order(self, symbol: str, number: int) -> str:
        """Client id of the intent that a real order belongs to; its own where it is nobody's."""
        owner = self._tracker.owner(symbol, number)
        if owner is not None:
            return owner
        for tracked in [t for t in self._tracker.working() if t.is_algo and t.symbol == symbol and not t.order_id]:
            algo = await self._ask(Endpoints.QUERY_ALGO, clientAlgoId=tracked.client_id)
            if algo is not None and int(algo.get("actualOrderId") or 0):
                self._tracker.link(symbol, int(algo["actualOrderId"]), tracked.client_id)
        owner = self._tracker.owner(symbol, number)
        if owner is not None:
            return owner
        order = await self._ask(Endpoints.QUERY_ORDER, symbol=symbol, orderId=number)
        return str(order["clientOrderId"]) if order is not None else f"order-{number}"

    async def funding_since(self, since: int) -> list[FundingPayment]:
        """Funding settled since a time, ms UTC, oldest first."""
        payments = []
        for kind in ("FUNDING_FEE", "SPECIAL_FUNDING_FEE"):
            rows = await self._client.call(Endpoints.INCOME, incomeType=kind, startTime=since, limit=_PAGE)
            payments += [
                FundingPayment(int(row["time"]), str(row["symbol"]), float("nan"), -float(row["income"]))
                for row in rows
                if row.get("asset") == self._fees.quote and row.get("incomeType") == kind
            ]
        return sorted(payments, key=lambda payment: (payment.time, payment.symbol))

    async def _find(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        tracked = self._tracker.get(client_id)
        looks = [self._find_plain, self._find_algo]
        for look in reversed(looks) if tracked is not None and tracked.is_algo else looks:
            found = await look(symbol, client_id)
            if found:
                return found
        return []

    async def _find_plain(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        order = await self._ask(Endpoints.QUERY_ORDER, symbol=symbol, origClientOrderId=client_id)
        return [] if order is None else await self._tell_plain(order, client_id, is_algo=False)

    async def _find_algo(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        algo = await self._ask(Endpoints.QUERY_ALGO, clientAlgoId=client_id)
        if algo is None or algo.get("symbol", symbol) != symbol:
            return []
        side, level = _SIDES[algo["side"]], float(algo["triggerPrice"])
        tracked = self._tracker.put(Tracked(client_id, symbol, side, is_algo=True, level=level))
        told: list[Fill | OrderUpdate] = []
        accepted = order_update(client_id, symbol, "NEW", int(algo["createTime"]))
        told += [accepted] if accepted is not None else []
        number = int(algo.get("actualOrderId") or 0)
        if number:
            self._tracker.link(symbol, number, client_id)
            order = await self._ask(Endpoints.QUERY_ORDER, symbol=symbol, orderId=number)
            if order is not None:
                return told + (await self._tell_plain(order, client_id, is_algo=True))[1:]
        status = str(algo["algoStatus"])
        is_empty = status == "FINISHED" and not float(algo.get("actualQty") or 0)
        ended = "EXPIRED" if is_empty else _ALGO_ENDED.get(status)
        if ended is not None:
            tracked.is_finished = True
            update = order_update(client_id, symbol, ended, int(algo["updateTime"]), "as the exchange tells afterwards")
            told += [update] if update is not None else []
        return told

    async def _tell_plain(self, order: dict[str, Any], client_id: str, *, is_algo: bool) -> list[Fill | OrderUpdate]:
        """Acceptance, fills and end of a real order."""
        symbol, number, status = str(order["symbol"]), int(order["orderId"]), str(order["status"])
        level = float(order["price"]) if float(order.get("price") or 0) else None
        side = _SIDES[order["side"]]
        tracked = self._tracker.put(Tracked(client_id, symbol, side, is_algo=is_algo, level=level))
        self._tracker.link(symbol, number, client_id)
        placed = int(order.get("time") or order["updateTime"])
        told: list[Fill | OrderUpdate] = []
        first = order_update(client_id, symbol, "NEW" if status != "REJECTED" else status, placed)
        told += [first] if first is not None else []
        if float(order["executedQty"]) > 0:
            rows = await self._client.call(Endpoints.USER_TRADES, is_urgent=True, symbol=symbol, orderId=number)
            told += [self._fill(row, client_id) for row in sorted(rows, key=lambda row: int(row["id"]))]
        last = order_update(client_id, symbol, status, int(order["updateTime"]), "as the exchange tells afterwards")
        if status == "FILLED":
            tracked.is_finished = True
        elif last is not None and last.status not in {OrderStatus.ACCEPTED, OrderStatus.REJECTED}:
            tracked.is_finished = True
            told.append(last)
        return told

    def _fill(self, row: dict[str, Any], client_id: str) -> Fill:
        tracked = self._tracker.get(client_id)
        return trade_fill(row, client_id, self._fees, tracked.level if tracked is not None else None)

    async def _ask(self, endpoint: Any, **parameters: Any) -> dict[str, Any] | None:
        """One order; None where the exchange has none of that name."""
        try:
            answer: dict[str, Any] = await self._client.call(endpoint, is_urgent=True, **parameters)
        except ExchangeError as error:
            if error.action is Action.GONE:
                return None
            raise
        return answer


def _place(update: Fill | OrderUpdate) -> tuple[int, int, int]:
    """Where an update stands among those of its symbol: accepted, filled, ended."""
    if isinstance(update, Fill):
        return update.time, 1, update.trade_id
    return update.time, 0 if update.status is OrderStatus.ACCEPTED else 2, 0
