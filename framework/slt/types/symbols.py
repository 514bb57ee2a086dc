"""What the exchange says of a symbol: filters, brackets, fees, funding."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FundingRates", "LeverageBracket", "MarketInfo", "SymbolRules"]


@frozen
class LeverageBracket:
    """One tier of the exchange's leverage table.

    Attributes:
        floor: Notional from which it applies, quote currency, inclusive.
        cap: Notional up to which it applies, exclusive.
        max_leverage: Highest initial leverage in it.
        maintenance_rate: Maintenance margin as a fraction of the notional.
        cum: Maintenance amount subtracted, so that the maintenance margin is continuous over tiers.
    """

    floor: float
    cap: float
    max_leverage: int
    maintenance_rate: float
    cum: float


@frozen
class SymbolRules:
    """Trading rules of one symbol. Filters are `Decimal`, exactly as the exchange prints them; 0 disables a part.

    Attributes:
        symbol: Exchange name.
        tick_size: Prices are multiples of it, counted from `min_price`.
        min_price: Lowest price; 0 = no limit.
        max_price: Highest price; 0 = no limit.
        step_size: Quantities of limit orders are multiples of it, counted from `min_quantity`.
        min_quantity: Smallest quantity.
        max_quantity: Largest quantity.
        market_step_size: As `step_size`, for market orders.
        market_min_quantity: As `min_quantity`, for market orders.
        market_max_quantity: As `max_quantity`, for market orders.
        min_notional: Smallest price · quantity, quote currency; reduce-only orders are exempt.
        multiplier_up: A buy may not be priced above mark · this; 0 = no limit.
        multiplier_down: A sell may not be priced below mark · this; 0 = no limit.
        max_orders: Open orders allowed on the symbol.
        brackets: Leverage tiers, lowest first; never empty.
        taker_fee: Commission of a taker fill as a fraction of the notional.
        maker_fee: Commission of a maker fill as a fraction of the notional.
        slippage: Expected slippage of a market order as a fraction of the price, for cost estimates.
    """

    symbol: str
    tick_size: Decimal
    step_size: Decimal
    min_notional: Decimal
    brackets: tuple[LeverageBracket, ...]
    min_price: Decimal = Decimal(0)
    max_price: Decimal = Decimal(0)
    min_quantity: Decimal = Decimal(0)
    max_quantity: Decimal = Decimal(0)
    market_step_size: Decimal = Decimal(0)
    market_min_quantity: Decimal = Decimal(0)
    market_max_quantity: Decimal = Decimal(0)
    multiplier_up: Decimal = Decimal(0)
    multiplier_down: Decimal = Decimal(0)
    max_orders: int = 200
    taker_fee: float = 0.0005
    maker_fee: float = 0.0002
    slippage: float = 0.0


@frozen(eq=False)
class FundingRates:
    """Funding settlements of one symbol.

    Attributes:
        time: int64 ``[n]``, settlement time, ms UTC, rising.
        rate: float64 ``[n]``, fraction of the notional; positive: longs pay shorts.
    """

    time: NDArray[np.int64]
    rate: NDArray[np.float64]


@frozen(eq=False)
class MarketInfo:
    """What a feed tells about its market before the first bar.

    Attributes:
        symbols: Exchange names in the column order of every block.
        interval_ms: Base interval of the bars.
        start: Open time of the first bar, ms UTC.
        end: Close time of the last bar, ms UTC; None for a feed without end.
        description: One line for people: where the candles come from; a synthetic feed says so here.
        is_synthetic: The candles were made by a program, and every output must say so.
        rules: Rules per symbol, where the feed knows them; a broker's own rules win.
        funding: Funding per symbol, where known.
        total_bars: Number of rows to come, for the progress bar; None when unknown.
        is_resumed: The symbols are those of an unfinished run that goes on: some may not trade any more, or not be
            listed, which keeps nobody from managing the others.
    """

    symbols: tuple[str, ...]
    interval_ms: int
    start: int
    end: int | None
    description: str
    is_synthetic: bool = False
    rules: dict[str, SymbolRules] = field(factory=dict)
    funding: dict[str, FundingRates] = field(factory=dict)
    total_bars: int | None = None
    is_resumed: bool = False
