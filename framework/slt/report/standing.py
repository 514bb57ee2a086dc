"""Where a run stands: the figures of the day, the last trades, the models in force. Read through the cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import field, frozen

from slt.statistics import wilson_interval
from slt.statistics.trade_list import total_trades
from slt.trading.registry import pile_of
from slt.types import ModelVersion, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slt.storage.reader import Reader

__all__ = ["RECENT_TRADES", "ModelInForce", "Standing", "make_standing", "read_standing"]

RECENT_TRADES = 100
_SHOWN = 10
_DAY_MS = 86_400_000


@frozen
class ModelInForce:
    """The model that decides for a strategy.

    Attributes:
        strategy: Config name.
        version: 1, 2, …
        fitted_time: Event time its fit was triggered at, ms UTC.
        samples: Samples it was fitted on.
        verdict: The gate's line.
    """

    strategy: str
    version: int
    fitted_time: int
    samples: int
    verdict: str


@frozen
class Standing:
    """Where a run stands; `attrs.asdict` gives JSON types.

    Attributes:
        time: Event time it is of, ms UTC.
        day_trades: Trades closed since 00:00 UTC.
        day_wins: Of them with a net profit.
        day_pnl: Their net PnL, quote currency.
        recent_trades: Newest trades that the next three are of, at most 100.
        recent_wins: Of them with a net profit.
        recent_win_rate_low: Lower bound of the 95 % Wilson interval of their win rate; 0 without trades.
        recent_expectancy_r: Their mean R multiple; None where none has a finite one.
        last_trades: The newest trades, newest first, at most 10.
        models: What is in force, by strategy; a strategy without one is UNTRAINED.
    """

    time: int
    day_trades: int = 0
    day_wins: int = 0
    day_pnl: float = 0.0
    recent_trades: int = 0
    recent_wins: int = 0
    recent_win_rate_low: float = 0.0
    recent_expectancy_r: float | None = None
    last_trades: tuple[Trade, ...] = ()
    models: tuple[ModelInForce, ...] = field(factory=tuple)


async def read_standing(reader: Reader, run_id: str, time: int) -> Standing:
    """Ask the storage, through the cache, where a run stands.

    Args:
        reader: Asks.
        run_id: The run.
        time: Event time now, ms UTC.

    Raises:
        slt.errors.StorageError: The storage cannot answer.
    """
    day = time - time % _DAY_MS
    of_day, newest, models = await asyncio.gather(
        reader.read(Trade, run_id=run_id, since=day),
        reader.read(Trade, run_id=run_id, newest_first=True, limit=RECENT_TRADES),
        reader.read(ModelVersion, run_id=run_id),
    )
    return make_standing(time, of_day, newest, models)


def make_standing(
    time: int, day_trades: Sequence[Trade], newest: Sequence[Trade], models: Iterable[ModelVersion]
) -> Standing:
    """Work out where a run stands.

    Args:
        time: Event time now, ms UTC.
        day_trades: Trades closed since 00:00 UTC.
        newest: The newest trades, newest first.
        models: Every version of the run.
    """
    day, recent = total_trades(day_trades), total_trades(newest)
    by_strategy: dict[str, list[ModelVersion]] = {}
    for model in models:
        by_strategy.setdefault(model.strategy, []).append(model)
    piles = {strategy: pile_of(rows) for strategy, rows in sorted(by_strategy.items())}
    return Standing(
        time=time,
        day_trades=day.trades,
        day_wins=day.wins,
        day_pnl=day.net_pnl,
        recent_trades=recent.trades,
        recent_wins=recent.wins,
        recent_win_rate_low=wilson_interval(recent.wins, recent.trades)[0],
        recent_expectancy_r=recent.expectancy_r,
        last_trades=tuple(newest[:_SHOWN]),
        models=tuple(_in_force(pile[0]) for pile in piles.values() if pile),
    )


def _in_force(model: ModelVersion) -> ModelInForce:
    return ModelInForce(model.strategy, model.version, model.fitted_time, model.samples, model.verdict)
