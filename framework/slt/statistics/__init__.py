"""Figures of a run: pure functions over trades, equity points and model versions.

Money is in the run's quote currency, times are ms UTC, fractions are 1.0 = 100 %. Sums are exactly rounded
(`math.fsum`), so no figure depends on the order in which the records were read.
"""

from __future__ import annotations

from slt.statistics.interim import (
    InterimAccount,
    InterimFigures,
    dump_account,
    load_account,
    summarise_interim,
)
from slt.statistics.measures import (
    calculate_drawdowns,
    calculate_exposure,
    calculate_sharpe,
    calculate_sortino,
    daily_returns,
    wilson_interval,
)
from slt.statistics.records import (
    Accounting,
    Drawdown,
    Group,
    Interim,
    ModelVerdict,
    OpenResult,
    Summary,
    TradeBrief,
)
from slt.statistics.summary import check_accounting, load_summary, summarise
from slt.statistics.trade_list import calculate_trade_hash, group_trades, order_trades

__all__ = [
    "Accounting",
    "Drawdown",
    "Group",
    "Interim",
    "InterimAccount",
    "InterimFigures",
    "ModelVerdict",
    "OpenResult",
    "Summary",
    "TradeBrief",
    "calculate_drawdowns",
    "calculate_exposure",
    "calculate_sharpe",
    "calculate_sortino",
    "calculate_trade_hash",
    "check_accounting",
    "daily_returns",
    "dump_account",
    "group_trades",
    "load_account",
    "load_summary",
    "order_trades",
    "summarise",
    "summarise_interim",
    "wilson_interval",
]
