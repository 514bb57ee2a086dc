"""What goes into the engine and what comes out: the whole language between it and the drivers.

Events carry their own time (ms UTC); the engine reads no clock. The same events in the same order give the same
commands.
"""

from __future__ import annotations

import numpy as np  # noqa: TC002 # same
from attrs import field, frozen
from numpy.typing import NDArray  # noqa: TC002 # attrs resolves the annotation

from slt.types import (
    AccountState,
    Bars,
    BrokerAlert,
    BrokerLink,
    FeatureBlock,
    Fill,
    FitReport,
    FitRequest,
    FundingPayment,
    Notice,
    OpenPosition,
    Order,
    OrderUpdate,
    PricePoint,
    Record,
    StrategyBlock,
    SymbolChange,
    SymbolRules,
)

__all__ = [
    "AccountRead",
    "BarsClosed",
    "Block",
    "CancelOrder",
    "Command",
    "EntriesHalted",
    "Event",
    "ModelReady",
    "Notify",
    "PluginFailed",
    "PositionsLeft",
    "QueryOrder",
    "ReadAccount",
    "RunEnding",
    "StartFit",
    "Store",
    "SubmitOrder",
    "SymbolsJoined",
    "Tick",
    "UseModel",
    "View",
]


@frozen(eq=False)
class View:
    """One strategy's opinion of a block, and the model's.

    Attributes:
        strategy: Config name.
        signals: Proposals and views.
        p_long: float32 ``[t, s]``, the model's probability that a long wins; None while UNTRAINED, NaN where not asked.
        p_short: The same for a short.
        model_version: Version that predicted; 0 = UNTRAINED.
    """

    strategy: str
    signals: StrategyBlock
    p_long: NDArray[np.float32] | None = None
    p_short: NDArray[np.float32] | None = None
    model_version: int = 0


@frozen(eq=False)
class Block:
    """Everything dense about a span of bars: candles, features, and one `View` per strategy in config order."""

    bars: Bars
    features: FeatureBlock
    views: tuple[View, ...]


@frozen(eq=False)
class BarsClosed:
    """The bars of one minute have closed for all symbols.

    Attributes:
        time: When the wave was cut, ms UTC; a row that closed earlier holds late bars, whose proposals are stale.
        block: The block that holds them.
        row: Their row.
    """

    time: int
    block: Block
    row: int


@frozen
class Tick:
    """Time has passed without a price, so that time-based rules run through a data gap.

    Attributes:
        time: ms UTC.
        is_gap: A bar is missing at this time: entries that no price has met are withdrawn. False: the beat of the
            clock in live trading, about once a second while anything is open or under way.
        pace: Seconds of the exchange per second of this machine: 1, but at a simulated exchange that plays faster.
    """

    time: int
    is_gap: bool = True
    pace: float = 1.0


@frozen(eq=False)
class ModelReady:
    """A fit's result takes effect.

    Attributes:
        time: ms UTC.
        request: What was fitted.
        report: What came of it.
    """

    time: int
    request: FitRequest
    report: FitReport


@frozen
class EntriesHalted:
    """No entries from here on (a lost connection, a person's wish); positions stay managed.

    Attributes:
        time: ms UTC.
        reason: One line for people; empty: for this source entries may resume. They do once no source halts them and
            no plugin has failed in this run.
        source: Who halts: each source keeps its own reason.
    """

    time: int
    reason: str
    source: str = "operator"


@frozen
class PluginFailed:
    """A plugin outside the engine broke (features, strategy, model): no entries for the rest of the run.

    Attributes:
        time: ms UTC.
        text: One line that names the plugin and what it did.
    """

    time: int
    text: str


@frozen
class RunEnding:
    """The data has ended: cancel entries under way and close what is open, with the reason ``end_of_data``."""

    time: int


@frozen
class AccountRead:
    """The account as the exchange has it: the books are compared with it, and entries halt where they do not agree.

    Attributes:
        time: ms UTC.
        account: Wallet, positions and working orders.
    """

    time: int
    account: AccountState


@frozen(eq=False)
class SymbolsJoined:
    """More symbols are followed from here on: they are the last columns of every block that comes.

    Attributes:
        time: ms UTC.
        symbols: Exchange names, in column order; those known already are passed over.
        rules: Their trading rules; a symbol without is not traded.
    """

    time: int
    symbols: tuple[str, ...]
    rules: dict[str, SymbolRules]


@frozen(eq=False)
class PositionsLeft:
    """Positions that other runs of this name have left open, as the storage knows them.

    Attributes:
        time: ms UTC.
        positions: As stored; what the exchange does not have is passed over. Those of the books that another run has
            taken over since are among them, closed ones too: what the books say of these is out of date.
    """

    time: int
    positions: tuple[OpenPosition, ...]


Event = (
    BarsClosed
    | PricePoint
    | Tick
    | Fill
    | OrderUpdate
    | FundingPayment
    | ModelReady
    | EntriesHalted
    | PluginFailed
    | AccountRead
    | BrokerLink
    | BrokerAlert
    | SymbolChange
    | PositionsLeft
    | SymbolsJoined
    | RunEnding
)


@frozen(eq=False)
class Store:
    """Keep a record; replaces one of the same type and id."""

    record: Record


@frozen
class SubmitOrder:
    """Send an order, once the intent stored before it is durable."""

    order: Order


@frozen
class CancelOrder:
    """Cancel a working order."""

    time: int
    symbol: str
    client_id: str


@frozen
class QueryOrder:
    """Ask the broker for everything it knows of an order; what it says comes back as events, known ones included."""

    time: int
    symbol: str
    client_id: str


@frozen
class ReadAccount:
    """Read the account, after the orders asked for have answered; it comes back as `AccountRead`.

    A simulated broker has no account of its own: its driver passes over this, and over `QueryOrder`.

    Attributes:
        time: ms UTC.
        reason: Why, one line for the log.
    """

    time: int
    reason: str


@frozen(eq=False)
class StartFit:
    """Fit a challenger in a child process; its report comes back as `ModelReady` at `FitRequest.effective_time`."""

    request: FitRequest


@frozen(eq=False)
class UseModel:
    """Predict with this version from `time` on.

    Attributes:
        time: ms UTC.
        strategy: Config name of the strategy it serves.
        version: The version; 0 = UNTRAINED.
        artefact: The model; empty for UNTRAINED.
    """

    time: int
    strategy: str
    version: int
    artefact: bytes = field(repr=False)


@frozen
class Notify:
    """Tell people."""

    notice: Notice


Command = Store | SubmitOrder | CancelOrder | QueryOrder | ReadAccount | StartFit | UseModel | Notify
