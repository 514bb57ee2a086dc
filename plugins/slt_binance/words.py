"""Orders and trades in the exchange's words, and back. Pure; numbers pass through `Decimal`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.rules import lot_of
from slt.types import Fill, FillCause, OrderSide, OrderStatus, OrderType, OrderUpdate
from slt_binance.endpoints import Endpoints
from slt_binance.tracking import CONDITIONAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slt.types import Order, SymbolRules
    from slt_binance.endpoints import Endpoint

__all__ = ["FeeTable", "GridError", "cause_of", "forced", "order_request", "order_update", "slippage_of", "trade_fill"]

_NOISE = Decimal("1e-6")
_ENDED = {
    "CANCELED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
_WORKING = frozenset({"NEW", "PARTIALLY_FILLED", "FILLED", "TRIGGERING", "TRIGGERED", "FINISHED"})
_FORCED = {
    "autoclose-": FillCause.LIQUIDATION,
    "adl_autoclose": FillCause.AUTO_DELEVERAGING,
    "settlement_autoclose-": FillCause.SETTLEMENT,
}


class GridError(ValueError):
    """An order has a price or quantity that the symbol's rules do not know."""


@frozen
class FeeTable:
    """What a fill costs where the exchange does not say it in the quote currency.

    Attributes:
        quote: The quote currency.
        rules: Rules per symbol, fees included.
    """

    quote: str
    rules: Mapping[str, SymbolRules]

    def fee(self, symbol: str, notional: float, amount: str | None, asset: str | None, *, is_maker: bool) -> float:
        """Commission in quote currency.

        Args:
            symbol: Exchange name.
            notional: Price · quantity of the fill.
            amount: What the exchange says; None = nothing.
            asset: What it is in; one paid in another currency is estimated by the symbol's fee.
            is_maker: Whether the order rested.
        """
        if amount is None:
            return 0.0
        if asset in {None, self.quote}:
            return float(amount)
        rules = self.rules.get(symbol)
        if rules is None or float(amount) == 0.0:
            return 0.0
        return notional * (rules.maker_fee if is_maker else rules.taker_fee)


def order_request(order: Order, rules: SymbolRules, trigger_price: str) -> tuple[Endpoint, dict[str, Any]]:
    """Word an order.

    Args:
        order: The order.
        rules: Rules of its symbol.
        trigger_price: ``last`` or ``mark``.

    Returns:
        What to call, and its parameters.

    Raises:
        GridError: Price or quantity is not on the symbol's grid.
    """
    lot = lot_of(rules, is_market=order.type is not OrderType.LIMIT)
    parameters: dict[str, Any] = {
        "symbol": order.symbol,
        "side": OrderSide(order.side).name,
        "type": order.type.value,
        "quantity": _on_grid("quantity", order.quantity, lot.minimum, lot.step),
    }
    if order.reduce_only:
        parameters["reduceOnly"] = True
    if order.type in CONDITIONAL:
        price = _on_grid("stop_price", order.stop_price, rules.min_price, rules.tick_size)
        working = "MARK_PRICE" if trigger_price == "mark" else "CONTRACT_PRICE"
        algo = {"algoType": "CONDITIONAL", **parameters, "triggerPrice": price, "workingType": working}
        return Endpoints.PLACE_ALGO, {**algo, "clientAlgoId": order.client_id}
    if order.type is OrderType.LIMIT:
        parameters["price"] = _on_grid("price", order.price, rules.min_price, rules.tick_size)
        parameters["timeInForce"] = "GTC"
    return Endpoints.PLACE_ORDER, {**parameters, "newClientOrderId": order.client_id}


def order_update(client_id: str, symbol: str, status: str, time: int, reason: str = "") -> OrderUpdate | None:
    """The update that a status of the exchange amounts to; None for one that slt does not know."""
    if status in _WORKING:
        return OrderUpdate(time, client_id, symbol, OrderStatus.ACCEPTED)
    ended = _ENDED.get(status)
    return None if ended is None else OrderUpdate(time, client_id, symbol, ended, reason)


def trade_fill(trade: Mapping[str, Any], client_id: str, fees: FeeTable, level: float | None) -> Fill:
    """A fill from a row of ``userTrades``."""
    symbol, price, quantity = str(trade["symbol"]), float(trade["price"]), float(trade["qty"])
    side, is_maker = _sign(trade["side"]), bool(trade["maker"])
    commission, asset = trade.get("commission"), trade.get("commissionAsset")
    # The exchange prints commissions paid as positive numbers in events and, in some answers, as negative ones here.
    amount = None if commission is None else str(abs(Decimal(str(commission))))
    return Fill(
        time=int(trade["time"]),
        client_id=client_id,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        fee=fees.fee(symbol, price * quantity, amount, asset, is_maker=is_maker),
        trade_id=int(trade["id"]),
        is_maker=is_maker,
        cause=cause_of(client_id),
        slippage=slippage_of(side, price, quantity, level),
    )


def forced(client_id: str) -> bool:
    """Whether the exchange itself closed something under this name."""
    return cause_of(client_id) is not FillCause.ORDER


def cause_of(client_id: str) -> FillCause:
    """Why an order of that name was filled."""
    return next((cause for head, cause in _FORCED.items() if client_id.startswith(head)), FillCause.ORDER)


def slippage_of(side: int, price: float, quantity: float, level: float | None) -> float:
    """Quote currency lost against `level`; 0 where there is none."""
    return 0.0 if level is None else side * (price - level) * quantity


def _sign(side: Any) -> int:
    return int(OrderSide[str(side)])


def _on_grid(name: str, value: float | None, origin: Decimal, step: Decimal) -> str:
    """`value` as the exchange takes it: exact, without exponent or needless zeros."""
    if value is None:
        raise GridError(f"the order has no {name}")
    number = Decimal(repr(float(value)))
    if step:
        count = (number - origin) / step
        whole = count.to_integral_value()
        if abs(count - whole) > _NOISE:
            raise GridError(f"{name} {value:g} is no multiple of {step} from {origin}")
        number = origin + whole * step
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
