"""What a report is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slt.report.candles import Candles
    from slt.statistics import Summary
    from slt.types import EquityPoint, ModelVersion, Run, Trade

__all__ = ["ReportData"]


@frozen(eq=False)
class ReportData:
    """Everything that one report shows; the order of the records does not matter.

    Attributes:
        run: The run, finished or not, its configuration without secrets.
        summary: Its figures, and with them the market, whether it is synthetic, and the decisions by gate.
        trades: Its closed trades.
        equity: Its equity points.
        models: Its model versions; the curves are read from ``metrics["calibration"]`` (a list of ``predicted``,
            ``observed``, ``count``) and ``metrics["importance"]`` (share per column), whatever else is there as scores.
        candles: Candles by symbol; a symbol without any gets no chart.
    """

    run: Run
    summary: Summary
    trades: Sequence[Trade]
    equity: Sequence[EquityPoint]
    models: Sequence[ModelVersion] = ()
    candles: Mapping[str, Candles] = field(factory=dict)
