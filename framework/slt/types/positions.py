"""Open positions, and what exits and sizers see and answer."""

from __future__ import annotations

from attrs import define, field, frozen

__all__ = ["Account", "ExitMark", "ExitOrder", "Outlook", "Position", "PricePoint", "Size", "Skip"]


@frozen
class PricePoint:
    """One price of one symbol, in time order: a tick in live trading, a point of the bar's path in a back-test.

    Attributes:
        time: ms UTC.
        symbol: Exchange name.
        price: Last traded price.
        is_gap: The price jumped here without trading in between (a bar's open): levels passed fill at `price`.
    """

    time: int
    symbol: str
    price: float
    is_gap: bool = False


@frozen
class Outlook:
    """How a position's prospects look from its own side; recomputed at each close of a 5m candle.

    A NaN or None never fires an exit and never delays one.

    Attributes:
        time: Close time it was computed at, ms UTC.
        confidence: The rules' confidence in the position's side, [0, 1]; NaN = unknown.
        rebound: Probability by the rules that a losing position recovers, [0, 1]; NaN = unknown.
        continuation: Probability by the rules that the move in the position's favour goes on; NaN = unknown.
        p_win: The model's probability that such a trade wins net of costs; None while UNTRAINED.
        trends: Structural trend per timeframe (``"1h"``, ``"15m"``, ``"5m"``): +1 with the position, −1 against, 0
            none; NaN = unknown; empty when no feature set reports trends.
        confidence_before: `confidence` 5 minutes earlier; NaN = unknown.
        p_win_before: `p_win` 5 minutes earlier by the same model; None = unknown.
        model_version: The model that gave `p_win`; 0 = UNTRAINED.
    """

    time: int
    confidence: float
    rebound: float
    continuation: float
    p_win: float | None
    trends: dict[str, float]
    confidence_before: float = float("nan")
    p_win_before: float | None = None
    model_version: int = 0


@define
class Position:
    """An open position of the portfolio. Exits read it and never change it.

    Attributes:
        id: Unique; derived from run and sequence.
        symbol: Exchange name.
        side: +1 long, −1 short.
        strategy: Config name of the strategy that proposed it.
        entry_time: Time of the first fill, ms UTC.
        entry_price: Quantity-weighted mean of the entry fills; where the entry fills on after a part was closed, that
            of what is open.
        quantity: Base units still open, above 0.
        initial_quantity: Base units ever filled by the entry.
        initial_stop: Stop price at entry: the distance to it is 1 R for the whole life of the position.
        stop: Stop price now resting on the exchange.
        target: Target price resting on the exchange.
        leverage: As set for the entry.
        cost_rate: Expected cost of closing at market, as a fraction of the notional: taker fee + slippage.
        costs_paid: Fees and funding paid so far, quote currency (negative: received).
        peak_gain: Highest gain net of costs seen so far, in R.
        marks: Names that exits left here with `ExitMark`; kept over restarts.
        exits_done: Names of the partial exits that have been carried out.
        stop_resting: Whether the protective stop is acknowledged and working.
        stop_traded_time: When a price at or beyond the resting stop was first seen, ms UTC; None = not seen.
        closing: A full close has been ordered and is not yet filled.
        entry_outlook: The outlook at the time of the decision; None where the strategy gives no views.
    """

    id: str
    symbol: str
    side: int
    strategy: str
    entry_time: int
    entry_price: float
    quantity: float
    initial_quantity: float
    initial_stop: float
    stop: float
    target: float
    leverage: int
    cost_rate: float
    costs_paid: float = 0.0
    peak_gain: float = 0.0
    marks: set[str] = field(factory=set)
    exits_done: set[str] = field(factory=set)
    stop_resting: bool = False
    stop_traded_time: int | None = None
    closing: bool = False
    entry_outlook: Outlook | None = None

    def unit(self, basis: str = "risk") -> float:
        """Price distance of 100 %: entry to initial stop (``risk``), or the margin per unit (``margin``)."""
        if basis == "margin":
            return self.entry_price / self.leverage
        return abs(self.entry_price - self.initial_stop)

    def gain(self, price: float, basis: str = "risk") -> float:
        """Signed move from entry to `price` as a share of `unit`: 1.0 = 100 %; −1.0 at the initial stop."""
        return self.side * (price - self.entry_price) / self.unit(basis)

    def net_gain(self, price: float, basis: str = "risk") -> float:
        """`gain` less the costs paid so far and the expected cost of closing at `price`, per unit."""
        paid = self.costs_paid / self.initial_quantity
        move = self.side * (price - self.entry_price)
        return (move - paid - price * self.cost_rate) / self.unit(basis)

    def price_at_gain(self, gain: float, basis: str = "risk") -> float:
        """The price at which `gain` has the given value."""
        return self.entry_price + self.side * gain * self.unit(basis)

    def price_at_net_gain(self, gain: float, basis: str = "risk") -> float:
        """The price at which `net_gain` has the given value."""
        paid = self.costs_paid / self.initial_quantity
        return (gain * self.unit(basis) + paid + self.side * self.entry_price) / (self.side - self.cost_rate)


@frozen
class ExitOrder:
    """An exit's wish to close.

    Attributes:
        fraction: Share of the open quantity, above 0 and at most 1.
        trigger_price: The level at which the condition became true, so that a back-test fills there (or at the open,
            where the bar gaps past it); None: the next price.
    """

    fraction: float = 1.0
    trigger_price: float | None = None


@frozen
class ExitMark:
    """Something an exit wants remembered on the position (in `Position.marks`), kept over restarts; closes nothing."""

    name: str


@frozen
class Account:
    """The account as a sizer sees it, for one proposal.

    Attributes:
        equity: Wallet balance plus unrealised PnL, quote currency.
        available: What may be bound as margin: wallet, or equity where that is less, minus margin in use; at least 0.
        margin_in_use: Initial margin of all positions and working entries, quote currency.
        leverage: Highest leverage the rules allow for this proposal.
        cost_rate: Expected round-trip cost as a fraction of the notional: fees and slippage of entry and exit.
        max_loss_at_stop: Fraction of equity that one position may lose at its stop, costs included.
        win_rate: Wilson lower bound of the share of winners among the last 100 trades; 0 without trades.
    """

    equity: float
    available: float
    margin_in_use: float
    leverage: int
    cost_rate: float
    max_loss_at_stop: float
    win_rate: float


@frozen
class Size:
    """A sizer's answer; the kernel then applies the caps and the exchange's rules, which may shrink it.

    Attributes:
        notional: Wanted size, quote currency, above 0.
        margin: Margin to bind for it, quote currency; the kernel picks the smallest whole leverage that fits.
        numbers: What led to it, for the decision ledger.
    """

    notional: float
    margin: float
    numbers: dict[str, float] = field(factory=dict)


@frozen
class Skip:
    """A sizer's refusal.

    Attributes:
        reason: One short phrase for the decision ledger.
        numbers: What led to it.
    """

    reason: str
    numbers: dict[str, float] = field(factory=dict)
