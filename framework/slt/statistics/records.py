"""What the statistics of a run are made of."""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Accounting", "Drawdown", "Group", "Interim", "ModelVerdict", "OpenResult", "Summary", "TradeBrief"]


@frozen
class Drawdown:
    """One fall of the equity from a peak.

    Attributes:
        amount: Peak less trough, at least 0.
        fraction: `amount` ÷ peak; 0 where the peak is not above 0.
        peak_time: When the peak was reached; None where the equity never fell.
        trough_time: When the lowest point was reached; None where the equity never fell.
        recovered_time: When the peak was first reached again; None = not within the run.
    """

    amount: float = 0.0
    fraction: float = 0.0
    peak_time: int | None = None
    trough_time: int | None = None
    recovered_time: int | None = None


@frozen
class TradeBrief:
    """One trade in short.

    Attributes:
        id: The trade's id.
        symbol: Exchange name.
        side: +1 long, -1 short.
        entry_time: First fill.
        exit_time: Last fill.
        net_pnl: After fees and funding.
        r_multiple: The same in R.
        exit: What closed it.
    """

    id: str
    symbol: str
    side: int
    entry_time: int
    exit_time: int
    net_pnl: float
    r_multiple: float
    exit: str


@frozen
class Group:
    """Trades that share something: an exit, a symbol, a side, a strategy, an hour, a model.

    Attributes:
        key: What they share.
        trades: How many.
        wins: Of them with a net profit.
        gross_pnl: Before fees and funding.
        fees: Paid (negative: rebates).
        funding: Paid (negative: received).
        slippage: Lost to slippage; part of `gross_pnl` already.
        net_pnl: gross_pnl - fees - funding.
        expectancy_r: Mean R multiple; None where no trade has a finite one.
        average_holding_ms: Mean time from entry to exit.
    """

    key: str
    trades: int
    wins: int
    gross_pnl: float
    fees: float
    funding: float
    slippage: float
    net_pnl: float
    expectancy_r: float | None
    average_holding_ms: float

    @property
    def win_rate(self) -> float:
        """Share of winners; 0 for an empty group."""
        return self.wins / self.trades if self.trades else 0.0


@frozen
class ModelVerdict:
    """A model version and what the gate said.

    Attributes:
        strategy: Config name of the strategy it serves.
        version: 1, 2, … in order of fits.
        fitted_time: Event time the fit was triggered at.
        effective_time: Event time the verdict takes effect.
        samples: Samples it was fitted on.
        promoted: Whether it trades from `effective_time` on.
        verdict: One line: why.
        trades: Trades of the run that this version decided.
    """

    strategy: str
    version: int
    fitted_time: int
    effective_time: int
    samples: int
    promoted: bool
    verdict: str
    trades: int


@frozen
class OpenResult:
    """A position that is still open, and its result so far.

    Attributes:
        id: The position's id.
        symbol: Exchange name.
        side: +1 long, -1 short.
        strategy: Config name of the strategy.
        entry_time: First fill.
        entry_price: Mean of what is open.
        quantity: Base units still open.
        price: Last price seen.
        stop: Protective stop now.
        target: Target now.
        margin: Initial margin that it binds.
        realised: Result of the parts closed so far, after all fees and funding paid so far.
        unrealised: PnL of what is open at the last price, before closing costs.
    """

    id: str
    symbol: str
    side: int
    strategy: str
    entry_time: int
    entry_price: float
    quantity: float
    price: float
    stop: float
    target: float
    margin: float
    realised: float
    unrealised: float

    @property
    def pnl(self) -> float:
        """Net result so far, realised and unrealised."""
        return self.realised + self.unrealised


@frozen
class Interim:
    """What a summary of a run that has not ended says beyond the figures.

    Attributes:
        status: ``running`` or ``stopped``, as in `slt.types.Run`.
        time: Event time up to which the figures go.
        positions: What is open then.
    """

    status: str
    time: int
    positions: tuple[OpenResult, ...] = ()


@frozen
class Summary:
    """The figures of one run; `attrs.asdict` gives JSON types (no NaN, no infinity), `load_summary` takes them back.

    Attributes:
        run_id: The run.
        mode: ``backtest``, ``paper`` or ``live``.
        market: One line on where the candles come from; empty = not told.
        is_synthetic: The candles were made by a program: every output must say so.
        currency: Quote currency of all money.
        start: Event time of the first bar.
        end: Event time of the last record: equity point or exit.
        initial_equity: Wallet at the start.
        final_equity: Equity at the end.
        open_pnl: Net result so far, realised and unrealised, of positions still open at the end; 0 when all are closed.
        trades: Closed trades.
        wins: Of them with a net profit.
        win_rate: wins ÷ trades; None without trades.
        win_rate_low: Lower bound of the 95 % Wilson interval of the win rate; 0 without trades.
        win_rate_high: Upper bound; 1 without trades.
        gross_pnl: Σ gross PnL: before fees and funding, after slippage.
        fees: Σ commissions paid (negative: rebates).
        funding: Σ funding paid (negative: received).
        slippage: Σ lost to slippage; part of `gross_pnl` already.
        net_pnl: gross_pnl - fees - funding.
        net_return: (final_equity - initial_equity) ÷ initial_equity; None where that is not above 0.
        turnover: Σ quantity · (entry price + exit price).
        profit_factor: Σ net profit of winners ÷ Σ net loss of the others; None where nothing was lost.
        average_win: Mean net PnL of winners; None without one.
        average_loss: Mean net PnL of the others, at most 0; None without one.
        expectancy_r: Mean R multiple; None where no trade has a finite one.
        max_drawdown: The fall that cost the most money, by the equity points.
        max_drawdown_relative: The fall that cost the largest fraction of its peak.
        days: Number of daily returns behind the two ratios.
        sharpe: Mean ÷ standard deviation (n - 1) of the daily returns, times √365, at a risk-free rate of 0; None where
            undefined.
        sortino: Mean ÷ root mean square of the negative daily returns (zeros for the others), times √365; None where
            undefined.
        exposure: Share of the time from `start` to `end` with at least one of the closed trades open.
        average_holding_ms: Mean time from entry to exit; None without trades.
        longest_losing_streak: Most trades in a row, in exit order, without a net profit.
        best_trade: Highest net PnL (the earliest of equals); None without trades.
        worst_trade: Lowest net PnL (the earliest of equals); None without trades.
        by_exit: Trades by what closed them, most frequent first.
        by_symbol: Trades by symbol, alphabetical.
        by_side: ``long`` and ``short``.
        by_strategy: Trades by strategy, alphabetical.
        by_hour: Trades by hour of day of the entry, ``00`` to ``23`` UTC; hours without a trade are left out.
        by_model: Trades by ``<strategy> v<version>``, or ``<strategy> UNTRAINED``.
        models: Model versions by strategy and version.
        decisions: Proposals by outcome (``entered`` or the gate that refused), most frequent first; empty = not told.
        trade_hash: `calculate_trade_hash` of the trades.
        interim: Set where the run has not ended; None = it has.
    """

    run_id: str
    mode: str
    market: str
    is_synthetic: bool
    currency: str
    start: int
    end: int
    initial_equity: float
    final_equity: float
    open_pnl: float
    trades: int
    wins: int
    win_rate: float | None
    win_rate_low: float
    win_rate_high: float
    gross_pnl: float
    fees: float
    funding: float
    slippage: float
    net_pnl: float
    net_return: float | None
    turnover: float
    profit_factor: float | None
    average_win: float | None
    average_loss: float | None
    expectancy_r: float | None
    max_drawdown: Drawdown
    max_drawdown_relative: Drawdown
    days: int
    sharpe: float | None
    sortino: float | None
    exposure: float
    average_holding_ms: float | None
    longest_losing_streak: int
    best_trade: TradeBrief | None
    worst_trade: TradeBrief | None
    by_exit: tuple[Group, ...]
    by_symbol: tuple[Group, ...]
    by_side: tuple[Group, ...]
    by_strategy: tuple[Group, ...]
    by_hour: tuple[Group, ...]
    by_model: tuple[Group, ...]
    models: tuple[ModelVerdict, ...]
    trade_hash: str
    decisions: dict[str, int] = field(factory=dict)
    interim: Interim | None = None


@frozen
class Accounting:
    """Whether the money adds up.

    Attributes:
        expected: Initial equity + Σ(gross PnL - fees - funding) + the result of positions still open.
        difference: Final equity less `expected`.
        closes: |difference| is within the tolerance.
    """

    expected: float
    difference: float
    closes: bool
