"""What a live exchange says: k-line updates, symbol changes, connections, and the state of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from slt.types.bars import Bars
    from slt.types.symbols import SymbolRules

__all__ = [
    "AccountState",
    "BrokerAlert",
    "BrokerLink",
    "Check",
    "ConnectionPlan",
    "ExchangeOrder",
    "ExchangePosition",
    "Kline",
    "MarketReview",
    "SymbolChange",
    "Wave",
]


@frozen
class ConnectionPlan:
    """One WebSocket connection that a feed wants open.

    Attributes:
        name: Short and unique within the feed, for logs and health (``market-1``).
        url: Address to connect to; holds no secret.
        streams: Names of the streams to subscribe on it, in order.
        symbols: Symbol of each stream, same length; empty for a stream of all symbols. Liveness is watched per symbol.
    """

    name: str
    url: str
    streams: tuple[str, ...]
    symbols: tuple[str, ...]


@frozen
class Kline:
    """The state of one bar as the exchange pushed it, closed or not.

    Attributes:
        symbol: Exchange name.
        event_time: The exchange's time of the push, ms UTC.
        interval_ms: Length of the bar.
        close_time: Exclusive end of the bar, ms UTC.
        open: Quote currency per unit.
        high: As `open`.
        low: As `open`.
        close: As `open`; the last price.
        volume: Base units.
        taker_buy_volume: Base units.
        first_trade_id: Id of its first trade; -1 for a bar without a trade.
        last_trade_id: Id of its last trade; -1 for a bar without a trade.
        trades: Number of trades.
        is_closed: Whether the exchange says that it is closed.
    """

    symbol: str
    event_time: int
    interval_ms: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_buy_volume: float
    first_trade_id: int
    last_trade_id: int
    trades: int
    is_closed: bool


@frozen
class SymbolChange:
    """A symbol was listed, halted, resumed or delisted.

    Attributes:
        time: ms UTC.
        symbol: Exchange name.
        status: The exchange's word, such as ``TRADING`` or ``SETTLING``.
        is_tradable: Whether entries are possible now.
        delivery_time: When the exchange will settle it for good, ms UTC; 0 = it has told no such time.
    """

    time: int
    symbol: str
    status: str
    is_tradable: bool
    delivery_time: int = 0


@frozen(eq=False)
class MarketReview:
    """What a live feed finds when it looks at its market again while a run goes on.

    Attributes:
        changes: How each symbol stands that was asked about; only news among them reaches the engine.
        joining: Symbols to follow from now on, all of which trade; none of those asked about.
        rules: Rules of the joining ones, where the feed knows them.
    """

    changes: tuple[SymbolChange, ...] = ()
    joining: tuple[str, ...] = ()
    rules: dict[str, SymbolRules] = field(factory=dict)


@frozen(eq=False)
class Wave:
    """The bars of one minute over all symbols, as a live feed gave them until the wave was cut.

    Attributes:
        time: When the wave was cut, ms UTC by the feed's clock: the receipt of its last bar, or its deadline.
        bars: The last row is the wave's own minute; earlier rows hold late bars and proven empty minutes of single
            symbols, everything else in them ABSENT. A symbol's bars rise in time over all waves and none comes twice.
        restated: Closed bars that the exchange stated anew after they had gone out, and bars that came after a later
            one of their symbol: they correct the store of bars, out of which the symbol's features begin anew.
    """

    time: int
    bars: Bars
    restated: tuple[Kline, ...] = ()


@frozen
class BrokerLink:
    """The stream of order and account events went down or came back; entries halt while it is down.

    Attributes:
        time: ms UTC.
        is_up: Whether events flow, and the account has been read since.
        reason: One line for people; empty when up.
    """

    time: int
    is_up: bool
    reason: str


@frozen
class BrokerAlert:
    """Something that a person should know, a margin call for one; changes nothing by itself.

    Attributes:
        time: ms UTC.
        text: One line.
    """

    time: int
    text: str


@frozen
class ExchangePosition:
    """A position as the exchange has it.

    Attributes:
        symbol: Exchange name.
        side: +1 long, −1 short.
        quantity: Base units, above 0.
        entry_price: Average, quote currency per unit.
        update_time: Last change, ms UTC; 0 = unknown.
    """

    symbol: str
    side: int
    quantity: float
    entry_price: float
    update_time: int = 0


@frozen
class ExchangeOrder:
    """A working order as the exchange has it, conditional ones included.

    Attributes:
        client_id: Ours, or whatever a stranger chose.
        symbol: Exchange name.
        side: +1 buys, −1 sells.
        type: The exchange's word.
        quantity: Base units.
        filled_quantity: Base units so far.
        stop_price: Trigger price; None for other types.
        reduce_only: May only shrink a position.
        time: When it was placed, ms UTC.
    """

    client_id: str
    symbol: str
    side: int
    type: str
    quantity: float
    filled_quantity: float
    stop_price: float | None
    reduce_only: bool
    time: int


@frozen
class AccountState:
    """The account as the exchange has it at one moment.

    Attributes:
        time: The exchange's clock, ms UTC.
        wallet: Wallet balance in quote currency, without unrealised PnL.
        available: Balance free for new margin.
        positions: Open positions.
        orders: Working orders, conditional ones included.
    """

    time: int
    wallet: float
    available: float
    positions: tuple[ExchangePosition, ...]
    orders: tuple[ExchangeOrder, ...]


@frozen
class Check:
    """One line of ``slt doctor``.

    Attributes:
        name: What was looked at.
        verdict: ``ok``, ``warning`` or ``problem``.
        found: What was found, one line without any secret.
        advice: What to do; empty when ok.
    """

    name: str
    verdict: str
    found: str
    advice: str = ""
