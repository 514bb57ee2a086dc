"""Orders and what happens to them."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from attrs import frozen

__all__ = [
    "Fill",
    "FillCause",
    "FundingPayment",
    "Order",
    "OrderRole",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "OrderUpdate",
]


class OrderSide(IntEnum):
    """Buy or sell; the value is the sign of the change in quantity held."""

    BUY = 1
    SELL = -1


class OrderType(StrEnum):
    """The order types slt uses, by the exchange's names."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


class OrderRole(StrEnum):
    """What an order is for in the life of a position."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    EXIT = "exit"


class OrderStatus(StrEnum):
    """State of an order as the broker reports it."""

    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class FillCause(StrEnum):
    """Why a fill happened; anything but ORDER was forced by the exchange."""

    ORDER = "order"
    LIQUIDATION = "liquidation"
    AUTO_DELEVERAGING = "auto_deleveraging"
    SETTLEMENT = "settlement"


@frozen
class Order:
    """An order as intended: stored before it is sent, and identified by `client_id` for ever.

    Attributes:
        client_id: Unique; derived from run and sequence; matches ``[.A-Z:/a-z0-9_-]{1,36}``.
        position_id: The position it opens, protects or closes.
        symbol: Exchange name.
        side: +1 buys, −1 sells (`OrderSide`).
        type: One of `OrderType`.
        role: One of `OrderRole`.
        quantity: Base units, above 0, a multiple of the symbol's step.
        time: Time of the decision, ms UTC.
        price: Limit price; None for other types.
        stop_price: Trigger price of stop and take-profit orders; None for other types.
        reduce_only: May only shrink a position; the exchange exempts it from the minimum notional.
        leverage: Leverage to set before an entry; 0 leaves it as it is.
        level: The price level that an exit decision was made at, a hint for simulated brokers, which fill a MARKET
            order with a level at that level when the path of prices crosses it. None, and every real broker: at market.
        reason: The strategy's reason for an entry, the exit's name for an exit.
    """

    client_id: str
    position_id: str
    symbol: str
    side: int
    type: OrderType
    role: OrderRole
    quantity: float
    time: int
    price: float | None = None
    stop_price: float | None = None
    reduce_only: bool = False
    leverage: int = 0
    level: float | None = None
    reason: str = ""


@frozen
class Fill:
    """One execution of (a part of) an order.

    Attributes:
        time: Execution time, ms UTC, by the exchange's clock.
        client_id: Order filled; for a forced close the exchange's own id.
        symbol: Exchange name.
        side: +1 bought, −1 sold.
        quantity: Base units filled now, above 0.
        price: Execution price.
        fee: Commission in quote currency; positive is paid, negative a rebate.
        trade_id: Unique per symbol; a second fill with the same id is ignored.
        is_maker: Whether the order rested in the book.
        cause: Why it happened.
        slippage: Quote currency lost against the price the order was decided at or triggered at; part of the gross
            result already, reported so that costs can be shown.
    """

    time: int
    client_id: str
    symbol: str
    side: int
    quantity: float
    price: float
    fee: float
    trade_id: int
    is_maker: bool = False
    cause: FillCause = FillCause.ORDER
    slippage: float = 0.0


@frozen
class OrderUpdate:
    """A change of an order's state other than a fill.

    Attributes:
        time: ms UTC.
        client_id: The order.
        symbol: Exchange name.
        status: The new state.
        reason: Why, in the broker's words, for REJECTED and EXPIRED.
    """

    time: int
    client_id: str
    symbol: str
    status: OrderStatus
    reason: str = ""


@frozen
class FundingPayment:
    """Funding settled on an open position.

    Attributes:
        time: Settlement time, ms UTC.
        symbol: Exchange name.
        rate: Funding rate as a fraction of the notional; NaN where the exchange tells the amount alone, as Binance does
            in its events and lists.
        amount: Quote currency; positive was paid by us, negative received.
    """

    time: int
    symbol: str
    rate: float
    amount: float
