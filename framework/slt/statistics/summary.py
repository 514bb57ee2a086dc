"""All figures of a run in one record."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from slt.statistics.measures import (
    calculate_drawdowns,
    calculate_exposure,
    calculate_sharpe,
    calculate_sortino,
    daily_returns,
    wilson_interval,
)
from slt.statistics.records import Accounting, Group, ModelVerdict, Summary, TradeBrief
from slt.statistics.trade_list import calculate_trade_hash, group_trades, order_trades, total_trades

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slt.types import EquityPoint, ModelVersion, Run, Trade

__all__ = ["check_accounting", "load_summary", "summarise"]

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


def summarise(
    run: Run,
    trades: Iterable[Trade],
    models: Iterable[ModelVersion],
    equity_points: Iterable[EquityPoint],
    *,
    initial_equity: float,
    final_equity: float | None = None,
    open_pnl: float = 0.0,
    market: str = "",
    is_synthetic: bool = False,
    currency: str = "USDT",
    decisions: Mapping[str, int] | None = None,
) -> Summary:
    """Work out all figures of a run; the order of the records does not matter.

    Args:
        run: The run.
        trades: Its closed trades.
        models: Its model versions.
        equity_points: Its equity points; the drawdowns and ratios are as fine as they are.
        initial_equity: Wallet at the start, quote currency.
        final_equity: Equity at the end; None = of the last equity point, or by the identity where there is none.
        open_pnl: See `Summary.open_pnl`.
        market: See `Summary.market`.
        is_synthetic: See `Summary.is_synthetic`.
        currency: See `Summary.currency`.
        decisions: Proposals by outcome; None = not told.

    Returns:
        The summary.
    """
    ordered = order_trades(trades)
    points = sorted(equity_points, key=lambda p: (p.time, p.id))
    total = total_trades(ordered)
    net_pnl = math.fsum(part for t in ordered for part in (t.gross_pnl, -t.fees, -t.funding))
    if final_equity is None:
        final_equity = points[-1].equity if points else initial_equity + net_pnl + open_pnl
    end = max([run.started, *(t.exit_time for t in ordered[-1:]), *(p.time for p in points[-1:])])
    curve = [(run.started, initial_equity), *((p.time, p.equity) for p in points)]
    deepest, deepest_relative = calculate_drawdowns(curve)
    returns = daily_returns(curve)
    profits, tables = _profits(ordered), _tables(ordered)
    low, high = wilson_interval(total.wins, total.trades)
    return Summary(
        run_id=run.id,
        mode=run.mode,
        market=market,
        is_synthetic=is_synthetic,
        currency=currency,
        start=run.started,
        end=end,
        initial_equity=initial_equity,
        final_equity=final_equity,
        open_pnl=open_pnl,
        trades=total.trades,
        wins=total.wins,
        win_rate=total.wins / total.trades if ordered else None,
        win_rate_low=low,
        win_rate_high=high,
        gross_pnl=total.gross_pnl,
        fees=total.fees,
        funding=total.funding,
        slippage=total.slippage,
        net_pnl=net_pnl,
        net_return=(final_equity - initial_equity) / initial_equity if initial_equity > 0 else None,
        turnover=math.fsum(t.quantity * (t.entry_price + t.exit_price) for t in ordered),
        profit_factor=profits["factor"],
        average_win=profits["win"],
        average_loss=profits["loss"],
        expectancy_r=total.expectancy_r,
        max_drawdown=deepest,
        max_drawdown_relative=deepest_relative,
        days=len(returns),
        sharpe=calculate_sharpe(returns),
        sortino=calculate_sortino(returns),
        exposure=calculate_exposure(ordered, run.started, end),
        average_holding_ms=total.average_holding_ms if ordered else None,
        longest_losing_streak=_longest_losing_streak(ordered),
        best_trade=_brief(max(ordered, key=lambda t: t.net_pnl)) if ordered else None,
        worst_trade=_brief(min(ordered, key=lambda t: t.net_pnl)) if ordered else None,
        by_exit=tables["exit"],
        by_symbol=tables["symbol"],
        by_side=tables["side"],
        by_strategy=tables["strategy"],
        by_hour=tables["hour"],
        by_model=tables["model"],
        models=_verdicts(models, ordered),
        trade_hash=calculate_trade_hash(ordered),
        decisions=dict(sorted((decisions or {}).items(), key=lambda item: (-item[1], item[0]))),
    )


def load_summary(values: Mapping[str, Any]) -> Summary:
    """Take back what `attrs.asdict` made of a summary, also after a way through JSON (`Run.summary`).

    Args:
        values: The stored figures.

    Returns:
        The summary.

    Raises:
        ValueError: A figure is missing or of the wrong type: the run has not finished, or another version wrote it.
    """
    import cattrs  # noqa: PLC0415 - only commands that read a stored run need it

    try:
        return cattrs.structure(dict(values), Summary)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as e:
        raise ValueError("the stored summary is incomplete or was written by another version of slt") from e


def check_accounting(summary: Summary, tolerance: float = 1e-6) -> Accounting:
    """Compare the final equity with initial + Σ(gross PnL - fees - funding).

    Args:
        summary: The run's figures.
        tolerance: Largest difference that still closes, quote currency.

    Returns:
        Both sides and the verdict.
    """
    expected = math.fsum((summary.initial_equity, summary.net_pnl, summary.open_pnl))
    difference = summary.final_equity - expected
    return Accounting(expected=expected, difference=difference, closes=abs(difference) <= tolerance)


def _tables(trades: Sequence[Trade]) -> dict[str, tuple[Group, ...]]:
    by_exit = group_trades(trades, lambda t: t.exit)
    return {
        "exit": tuple(sorted(by_exit, key=lambda g: (-g.trades, g.key))),
        "symbol": group_trades(trades, lambda t: t.symbol),
        "side": group_trades(trades, lambda t: "long" if t.side > 0 else "short"),
        "strategy": group_trades(trades, lambda t: t.strategy),
        "hour": group_trades(trades, lambda t: f"{t.entry_time % _DAY_MS // _HOUR_MS:02d}"),
        "model": group_trades(
            trades, lambda t: f"{t.strategy} v{t.model_version}" if t.model_version else f"{t.strategy} UNTRAINED"
        ),
    }


def _profits(trades: Sequence[Trade]) -> dict[str, float | None]:
    wins = [t.net_pnl for t in trades if t.won]
    losses = [t.net_pnl for t in trades if not t.won]
    won, lost = math.fsum(wins), -math.fsum(losses)
    return {
        "factor": won / lost if lost > 0 else None,
        "win": won / len(wins) if wins else None,
        "loss": -lost / len(losses) if losses else None,
    }


def _verdicts(models: Iterable[ModelVersion], trades: Sequence[Trade]) -> tuple[ModelVerdict, ...]:
    decided = Counter((t.strategy, t.model_version) for t in trades)
    return tuple(
        ModelVerdict(
            strategy=m.strategy,
            version=m.version,
            fitted_time=m.fitted_time,
            effective_time=m.effective_time,
            samples=m.samples,
            promoted=m.promoted,
            verdict=m.verdict,
            trades=decided[m.strategy, m.version],
        )
        for m in sorted(models, key=lambda m: (m.strategy, m.version))
    )


def _brief(trade: Trade) -> TradeBrief:
    return TradeBrief(
        id=trade.id,
        symbol=trade.symbol,
        side=int(trade.side),
        entry_time=trade.entry_time,
        exit_time=trade.exit_time,
        net_pnl=trade.net_pnl,
        r_multiple=trade.r_multiple if math.isfinite(trade.r_multiple) else 0.0,
        exit=trade.exit,
    )


def _longest_losing_streak(trades: Sequence[Trade]) -> int:
    streaks = (len(list(streak)) for won, streak in groupby(trades, lambda t: t.won) if not won)
    return max(streaks, default=0)
