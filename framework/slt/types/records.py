"""What lasts: the rows that a storage keeps, each with an id that never changes."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

__all__ = [
    "Decision",
    "EquityPoint",
    "ModelVersion",
    "Notice",
    "OpenPosition",
    "OrderIntent",
    "Record",
    "Run",
    "Sample",
    "StoredBar",
    "Trade",
]


@frozen
class Run:
    """One run of slt.

    Attributes:
        id: ``<name>-<number>``; the prefix of every other id.
        mode: ``backtest``, ``paper`` or ``live``.
        started: Event time of the first bar, ms UTC.
        config: The effective configuration as TOML, without secrets.
        status: ``running``, ``finished``, ``stopped`` (resumable) or ``failed``.
        summary: Figures of the finished run; until then ``account``, how the account last stood, or nothing.
    """

    id: str
    mode: str
    started: int
    config: str
    status: str
    summary: dict[str, Any] = field(factory=dict)


@frozen
class Trade:
    """A closed trade: one position from its first fill to flat. All money in quote currency.

    Attributes:
        id: The position's id.
        run_id: The run.
        symbol: Exchange name.
        side: +1 long, −1 short.
        strategy: Config name of the strategy.
        reason: The strategy's word for why.
        entry_time: First fill, ms UTC.
        exit_time: Last fill, ms UTC.
        entry_price: Quantity-weighted mean of the entry fills.
        exit_price: Quantity-weighted mean of the closing fills.
        quantity: Base units opened (and closed).
        leverage: As set for the entry.
        initial_stop: Stop price at entry.
        target: Target price at entry.
        gross_pnl: side · Σ quantity · (exit − entry), before fees and funding.
        fees: Commissions paid (negative: rebates).
        funding: Funding paid (negative: received).
        slippage: Lost to slippage; part of `gross_pnl` already.
        net_pnl: gross_pnl − fees − funding.
        r_multiple: net_pnl ÷ (quantity · |entry − initial stop|).
        exit: What closed the last part: an exit's name, ``stop``, ``target``, ``liquidation``, ``margin_guard``,
            ``end_of_data`` or another word of the kernel.
        partial_exits: Names of the exits that closed parts before.
        confidence: Rule confidence at the decision; NaN = unknown.
        p_win: Model probability at the decision; None = UNTRAINED.
        model_version: Version of the model that decided; 0 = UNTRAINED.
        won: net_pnl > 0.
    """

    id: str
    run_id: str
    symbol: str
    side: int
    strategy: str
    reason: str
    entry_time: int
    exit_time: int
    entry_price: float
    exit_price: float
    quantity: float
    leverage: int
    initial_stop: float
    target: float
    gross_pnl: float
    fees: float
    funding: float
    slippage: float
    net_pnl: float
    r_multiple: float
    exit: str
    partial_exits: tuple[str, ...]
    confidence: float
    p_win: float | None
    model_version: int
    won: bool


@frozen
class OpenPosition:
    """An open position as stored, so that a restart finds its true entry time, stop and marks.

    Attributes:
        id: The position's id.
        run_id: The run.
        symbol: Exchange name.
        side: +1 long, −1 short.
        entry_time: First fill, ms UTC.
        quantity: Base units still open; 0 once closed.
        is_open: False once flat.
        state: Every field of `Position`, as JSON types; and in ``books`` the money of the position so far.
        told_time: Event time at which the run said this, ms UTC. Of what different runs say, the latest counts.
    """

    id: str
    run_id: str
    symbol: str
    side: int
    entry_time: int
    quantity: float
    is_open: bool
    state: dict[str, Any]
    told_time: int = 0


@frozen
class OrderIntent:
    """An order as decided, stored before it is sent, and its last known status.

    Attributes:
        id: The client order id.
        run_id: The run.
        position_id: The position it belongs to.
        symbol: Exchange name.
        side: +1 buys, −1 sells.
        type: The exchange's type name.
        role: ``entry``, ``stop``, ``target`` or ``exit``.
        quantity: Base units.
        price: Limit price or None.
        stop_price: Trigger price or None.
        reduce_only: May only shrink a position.
        time: Time of the decision, ms UTC.
        reason: Why.
        status: ``intended``, ``accepted``, ``filled``, ``cancelled``, ``rejected`` or ``expired``.
        filled_quantity: Base units filled so far.
        note: The broker's words on the last change.
    """

    id: str
    run_id: str
    position_id: str
    symbol: str
    side: int
    type: str
    role: str
    quantity: float
    price: float | None
    stop_price: float | None
    reduce_only: bool
    time: int
    reason: str
    status: str
    filled_quantity: float = 0.0
    note: str = ""


@frozen
class Decision:
    """What became of one proposal: the gate that refused it, or ``entered``.

    Attributes:
        id: Derived from run and sequence.
        run_id: The run.
        time: Close time of the bar, ms UTC.
        symbol: Exchange name.
        strategy: Config name of the strategy.
        side: +1 long, −1 short.
        reason: The strategy's word for why.
        outcome: ``entered``, or the name of the gate that refused.
        detail: One line for a person: what was found and what is allowed.
        confidence: Rule confidence; NaN = unknown.
        p_win: Model probability; None = UNTRAINED.
        model_version: The model that was asked; 0 = UNTRAINED.
        numbers: The figures that the gates looked at.
    """

    id: str
    run_id: str
    time: int
    symbol: str
    strategy: str
    side: int
    reason: str
    outcome: str
    detail: str
    confidence: float
    p_win: float | None
    model_version: int
    numbers: dict[str, float] = field(factory=dict)


@frozen
class Sample:
    """One example for the learner: the features exactly as seen at the decision, and how it turned out.

    Attributes:
        id: The position's id for a trade, the decision's id for a shadow.
        run_id: The run.
        strategy: Config name of the strategy; each has a model of its own.
        schema_hash: Hash of the vector's names, definitions and parameters.
        source: ``trade``, or ``shadow`` for a refused proposal followed on real candles and never traded.
        time: Close time of the bar decided on, ms UTC.
        symbol: Exchange name.
        side: +1 long, −1 short.
        features: The oriented float32 vector, little-endian bytes.
        entry_price: Price the barrier is measured from: open of the bar after the decision.
        stop: Stop barrier price.
        target: Target barrier price.
        cost_rate: Round-trip cost as a fraction of the notional: fees and slippage.
        model_version: The model that decided; 0 = UNTRAINED.
        confidence: Rule confidence at the decision; NaN = unknown.
        p_win: Model probability at the decision; None = UNTRAINED.
        refused_by: Gate that refused it; empty for a trade.
        barrier: What the fixed barrier hit first: ``stop``, ``target`` or ``time``; empty while unresolved.
        barrier_r: Net outcome at the barrier in R; None while unresolved.
        resolved_time: When the barrier was hit, ms UTC; None while unresolved.
        traded_r: Net outcome of the trade as traded in R; None for shadows and open trades.
    """

    id: str
    run_id: str
    strategy: str
    schema_hash: str
    source: str
    time: int
    symbol: str
    side: int
    features: bytes
    entry_price: float
    stop: float
    target: float
    cost_rate: float
    model_version: int
    confidence: float
    p_win: float | None
    refused_by: str = ""
    barrier: str = ""
    barrier_r: float | None = None
    resolved_time: int | None = None
    traded_r: float | None = None


@frozen
class ModelVersion:
    """A fitted challenger, its metrics and the gate's verdict; the artefact makes a rollback possible.

    Attributes:
        id: ``<run id>-<strategy>-v<version>``.
        run_id: The run.
        strategy: Config name of the strategy it serves.
        version: 1, 2, … in order of fits of this strategy.
        schema_hash: Schema it was fitted on.
        fitted_time: Event time the fit was triggered at, ms UTC.
        effective_time: Event time its verdict takes effect, ms UTC.
        samples: Number of samples it was fitted on.
        promoted: Whether it beat champion and base rate and trades from `effective_time` on.
        verdict: One line: why it was promoted or refused.
        metrics: Log-loss, Brier score, base rate, champion's scores, bootstrap bounds, calibration curve, importance.
        artefact: The model, bytes as the model plugin saves it; empty when the fit was refused for too few samples.
    """

    id: str
    run_id: str
    strategy: str
    version: int
    schema_hash: str
    fitted_time: int
    effective_time: int
    samples: int
    promoted: bool
    verdict: str
    metrics: dict[str, Any] = field(factory=dict)
    artefact: bytes = b""


@frozen
class EquityPoint:
    """The account at one moment, for the equity curve.

    Attributes:
        id: Derived from run and time.
        run_id: The run.
        time: ms UTC.
        equity: Wallet balance plus unrealised PnL.
        wallet: Wallet balance: initial equity + Σ(gross PnL − fees − funding).
        margin_in_use: Initial margin of open positions and working entries.
        open_positions: Count.
    """

    id: str
    run_id: str
    time: int
    equity: float
    wallet: float
    margin_in_use: float
    open_positions: int


@frozen
class StoredBar:
    """One closed bar in the own bar store, for warm starts.

    Attributes:
        id: ``<symbol>-<interval_ms>-<close_time>``.
        symbol: Exchange name.
        interval_ms: Length of the bar.
        close_time: Exclusive end, ms UTC.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Base units traded.
        taker_buy_volume: Base units bought by takers; None = unknown.
    """

    id: str
    symbol: str
    interval_ms: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_buy_volume: float | None


@frozen
class Notice:
    """A message for people.

    Attributes:
        id: The event's id; a channel never delivers one id twice.
        run_id: The run.
        time: Event time, ms UTC.
        kind: ``open``, ``close``, ``daily`` or ``alert``.
        title: One line of plain text.
        fields: Label and value pairs, in order, plain text; the channel escapes them.
        tone: ``good``, ``bad`` or ``neutral``; a channel may colour by it.
    """

    id: str
    run_id: str
    time: int
    kind: str
    title: str
    fields: tuple[tuple[str, str], ...] = ()
    tone: str = "neutral"


Record = Run | Trade | OpenPosition | OrderIntent | Decision | Sample | ModelVersion | EquityPoint | StoredBar | Notice
