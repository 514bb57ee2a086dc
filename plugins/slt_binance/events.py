"""What the user stream says, in slt's words. Pure: no I/O; the time for waiting comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from slt.types import BrokerAlert, Fill, FundingPayment, OrderSide, OrderStatus, OrderUpdate
from slt_binance.words import cause_of, forced, order_update, slippage_of

if TYPE_CHECKING:
    from slt_binance.symbol_settings import SymbolSettings
    from slt_binance.tracking import Tracked, Tracker
    from slt_binance.words import FeeTable

__all__ = ["Events", "Update"]

Update = Fill | OrderUpdate | FundingPayment | BrokerAlert

_PATIENCE_S = 1.0
_EXPIRY = {
    "1": "self-trade prevention",
    "2": "the rest of an immediate-or-cancel order",
    "3": "self-trade prevention of an immediate-or-cancel order",
    "4": "a reduce-only order of higher priority took its place, or the position is gone",
    "5": "liquidation",
    "6": "its condition was no longer met",
    "7": "the symbol was delisted",
    "8": "the order it belonged to ended after a trigger",
    "9": "a market order found too little to trade against",
}


@define
class _Held:
    """Events of a real order of which nobody knows yet whose it is."""

    symbol: str
    side: int
    deadline: float
    events: list[dict[str, Any]] = field(factory=list)


class Events:
    """Translates events, whatever their order: every real order finds the intent that it came from.

    Two things cannot be told at once: an order that may have been triggered by one of ours but does not carry its name
    (it waits for the ALGO_UPDATE that says so), and a trade announced by TRADE_LITE only (it waits for the event that
    tells its commission). Both are asked for by REST when they have waited for a second.

    Args:
        tracker: Orders and trades known.
        fees: What fills cost where the exchange does not say.
        settings: Leverage and margin type per symbol; kept up to date.
    """

    def __init__(self, tracker: Tracker, fees: FeeTable, settings: SymbolSettings) -> None:
        self._tracker = tracker
        self._fees = fees
        self._settings = settings
        self._held: dict[tuple[str, int], _Held] = {}
        self._announced: dict[tuple[str, int], float] = {}
        self._unnamed_funding: int | None = None

    def translate(self, event: dict[str, Any], now: float) -> list[Update]:
        """Say what an event amounts to.

        Args:
            event: As pushed, out of its wrapper.
            now: Seconds of the loop's clock.

        Returns:
            Updates, oldest first.
        """
        kind = event.get("e")
        if kind == "ORDER_TRADE_UPDATE":
            return self._order(event, now)
        if kind == "ALGO_UPDATE":
            return self._algo(event, now)
        if kind == "TRADE_LITE":
            key = (str(event["s"]), int(event["t"]))
            if not self._tracker.is_told(*key):
                self._announced.setdefault(key, now + _PATIENCE_S)
            return []
        if kind == "ACCOUNT_UPDATE":
            return self._account(event)
        if kind == "MARGIN_CALL":
            return [_margin_call(event)]
        return self._config(event) if kind == "ACCOUNT_CONFIG_UPDATE" else []

    def overdue_orders(self, now: float) -> list[tuple[str, int, int]]:
        """Symbol, number and side of real orders that have waited too long for their intent."""
        return [(*key, held.side) for key, held in self._held.items() if held.deadline <= now]

    def overdue_trades(self, now: float) -> list[tuple[str, int]]:
        """Symbol and id of trades that were announced and never told; they are not named again."""
        due = [key for key, deadline in self._announced.items() if deadline <= now]
        for key in due:
            del self._announced[key]
        return due

    def take_unnamed_funding(self) -> int | None:
        """Time of a funding payment whose symbol or amount the stream did not tell; None = none since last asked."""
        due, self._unnamed_funding = self._unnamed_funding, None
        return due

    @property
    def is_waiting(self) -> bool:
        """Whether something would have to be asked for soon."""
        return bool(self._held or self._announced or self._unnamed_funding)

    def release(self, symbol: str, number: int, now: float) -> list[Update]:
        """Translate the events that waited for a real order's intent, under whatever name is known for it now."""
        held = self._held.pop((symbol, number), None)
        if held is None:
            return []
        return [update for event in held.events for update in self._order(event, now, is_final=True)]

    def _order(self, event: dict[str, Any], now: float, *, is_final: bool = False) -> list[Update]:
        order = event["o"]
        symbol, number, name = str(order["s"]), int(order["i"]), str(order["c"])
        side = int(OrderSide[order["S"]])
        tracked = self._intent(symbol, number, name)
        if tracked is None and not is_final and not forced(name) and self._may_be_triggered(symbol, number, side):
            held = self._held.setdefault((symbol, number), _Held(symbol, side, now + _PATIENCE_S))
            held.events.append(event)
            return []
        client_id = tracked.client_id if tracked is not None else name
        if tracked is not None:
            self._tracker.link(symbol, number, client_id)
            self._tracker.awaited.pop(client_id, None)
        is_trade = order["x"] in {"TRADE", "CALCULATED"} and float(order["l"]) > 0
        fills = self._trade(order, client_id, tracked, now) if is_trade else []
        state = self._state(order, client_id, tracked)
        is_accepted = bool(state) and isinstance(state[0], OrderUpdate) and state[0].status is OrderStatus.ACCEPTED
        return state + fills if is_accepted else fills + state

    def _intent(self, symbol: str, number: int, name: str) -> Tracked | None:
        owner = self._tracker.owner(symbol, number)
        return self._tracker.get(name if owner is None else owner)

    def _may_be_triggered(self, symbol: str, number: int, side: int) -> bool:
        return (symbol, number) in self._held or bool(self._tracker.triggerable(symbol, side))

    def _trade(self, order: dict[str, Any], client_id: str, tracked: Tracked | None, now: float) -> list[Update]:
        symbol, trade_id = str(order["s"]), int(order["t"])
        if trade_id <= 0:
            # Some forced closes are pushed without a trade id: the list of trades has it, and the commission.
            self._announced[symbol, -int(order["i"])] = now
            return []
        self._announced.pop((symbol, trade_id), None)
        if not self._tracker.tell_trade(symbol, trade_id):
            return []
        price, quantity, side = float(order["L"]), float(order["l"]), int(OrderSide[order["S"]])
        is_maker = bool(order.get("m", False))
        fill = Fill(
            time=int(order["T"]),
            client_id=client_id,
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price,
            fee=self._fees.fee(symbol, price * quantity, order.get("n"), order.get("N"), is_maker=is_maker),
            trade_id=trade_id,
            is_maker=is_maker,
            cause=cause_of(client_id),
            slippage=slippage_of(side, price, quantity, tracked.level if tracked is not None else None),
        )
        return [fill]

    def _state(self, order: dict[str, Any], client_id: str, tracked: Tracked | None) -> list[Update]:
        """Acceptance or end of an order, each told once."""
        if order["x"] in {"AMENDMENT", "CALCULATED"}:
            return []
        status = str(order["X"])
        reason = _EXPIRY.get(str(order.get("er", "0")), "")
        update = order_update(client_id, str(order["s"]), status, int(order["T"]), reason)
        told = self._tell_once(update, tracked)
        if tracked is not None and status == "FILLED":
            tracked.is_end_told = tracked.is_finished = True
        return told

    def _algo(self, event: dict[str, Any], now: float) -> list[Update]:
        order = event["o"]
        symbol, client_id, status = str(order["s"]), str(order["caid"]), str(order["X"])
        tracked = self._tracker.get(client_id)
        self._tracker.awaited.pop(client_id, None)
        number = int(order.get("ai") or 0)
        updates: list[Update] = []
        if number and tracked is not None:
            self._tracker.link(symbol, number, client_id)
            updates += self.release(symbol, number, now)
        if status == "FINISHED":
            # Filled, or its real order ended without a fill; that order's own event may have been lost.
            status = "FINISHED" if float(order.get("aq") or 0) > 0 else "EXPIRED"
        reason = str(order.get("rm") or "") or ("what it triggered was not filled" if status == "EXPIRED" else "")
        time = int(event.get("T") or event["E"])
        return updates + self._tell_once(order_update(client_id, symbol, status, time, reason), tracked)

    def _tell_once(self, update: OrderUpdate | None, tracked: Tracked | None) -> list[Update]:
        if update is None:
            return []
        if tracked is None:
            return [update]
        if update.status is OrderStatus.ACCEPTED:
            is_new, tracked.is_accepted = not (tracked.is_accepted or tracked.is_end_told), True
        else:
            is_new, tracked.is_end_told, tracked.is_finished = not tracked.is_end_told, True, True
        return [update] if is_new else []

    def _account(self, event: dict[str, Any]) -> list[Update]:
        account = event["a"]
        for position in account.get("P", ()):
            change = self._tracker.positions.add if float(position["pa"]) else self._tracker.positions.discard
            change(str(position["s"]))
            if position.get("mt"):
                word = "ISOLATED" if position["mt"] == "isolated" else "CROSSED"
                self._settings.margin_types[str(position["s"])] = word
        if account.get("m") != "FUNDING_FEE":
            return []
        return self._funding(int(event["T"]), account)

    def _funding(self, time: int, account: dict[str, Any]) -> list[Update]:
        """A funding fee; where the event lacks symbol or amount, it is asked for by REST."""
        symbols = [str(position["s"]) for position in account.get("P", ())] or list(self._tracker.positions)
        symbol = account.get("S") or (symbols[0] if len(symbols) == 1 else "")
        amount = -sum(float(b.get("bc") or 0) for b in account.get("B", ()) if b["a"] == self._fees.quote)
        if not symbol or not amount:
            self._unnamed_funding = time
            return []
        payment = FundingPayment(time, str(symbol), float("nan"), amount)
        return [payment] if self._tracker.tell_funding(payment) else []

    def _config(self, event: dict[str, Any]) -> list[Update]:
        if "ac" in event:
            self._settings.leverages[str(event["ac"]["s"])] = int(event["ac"]["l"])
        if "ai" in event:
            is_on = event["ai"].get("j")
            text = f"multi-assets mode was switched {'on' if is_on else 'off'} by hand; slt expects single-asset mode"
            return [BrokerAlert(int(event["E"]), text)]
        return []


def _margin_call(event: dict[str, Any]) -> BrokerAlert:
    positions = ", ".join(
        f"{p['s']} ({p['pa']} held, maintenance margin {p['mm']} at mark price {p['mp']})" for p in event.get("p", ())
    )
    return BrokerAlert(int(event["E"]), f"margin call: {positions or 'no position named'}; add margin or reduce")
