"""A run that has not ended: its account as stored with the run's record, and the figures up to then.

The account is what the engine holds at one moment: initial equity, equity, how many trades it has closed, and each open
position with its result so far. The trades come out of the storage on their own, so that the identity
``equity = initial equity + closed trades + open positions`` is a proof here as it is at the end of a run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from slt.statistics.measures import calculate_exposure
from slt.statistics.records import Interim, OpenResult
from slt.statistics.summary import summarise
from slt.statistics.trade_list import order_trades
from slt.types import EquityPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slt.statistics.records import Summary
    from slt.types import ModelVersion, Run, Trade

__all__ = ["InterimAccount", "InterimFigures", "dump_account", "load_account", "summarise_interim"]

_KEY = "account"


@frozen
class InterimAccount:
    """The account of a run that has not ended, at one moment.

    Attributes:
        time: Event time, ms UTC.
        initial_equity: Wallet at the start, deposits and withdrawals since included, quote currency.
        equity: Wallet plus unrealised PnL.
        trades: Trades closed so far.
        positions: What is open.
        steps: Time (ms UTC) of an equity point, and the initial equity at it and those after, in order; one more where
            a deposit or withdrawal moved it.
        market: See `Summary.market`.
        is_synthetic: See `Summary.is_synthetic`.
        decisions: Proposals by outcome.
    """

    time: int
    initial_equity: float
    equity: float
    trades: int
    positions: tuple[OpenResult, ...] = ()
    steps: tuple[tuple[int, float], ...] = ()
    market: str = ""
    is_synthetic: bool = False
    decisions: dict[str, int] = field(factory=dict)


@frozen(eq=False)
class InterimFigures:
    """What a report of a run that has not ended is made of.

    Attributes:
        summary: The figures; `Summary.interim` is set.
        trades: The trades that the account knows of.
        equity: The equity points up to the account, as if every deposit had been there from the start; the account
            itself is the last.
    """

    summary: Summary
    trades: tuple[Trade, ...]
    equity: tuple[EquityPoint, ...]


def dump_account(account: InterimAccount) -> dict[str, Any]:
    """The account as a run that has not ended keeps it in `Run.summary`; JSON types."""
    return {_KEY: attrs.asdict(account)}


def load_account(summary: Mapping[str, Any]) -> InterimAccount | None:
    """Take back what `dump_account` made, also after a way through JSON; None where there is none.

    Raises:
        ValueError: Another version of slt wrote it.
    """
    if _KEY not in summary:
        return None
    import cattrs  # noqa: PLC0415 - only commands that read a stored run need it

    try:
        return cattrs.structure(summary[_KEY], InterimAccount)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as error:
        raise ValueError("the stored account was written by another version of slt") from error


def summarise_interim(
    run: Run,
    account: InterimAccount,
    trades: Iterable[Trade],
    models: Iterable[ModelVersion],
    points: Iterable[EquityPoint],
) -> InterimFigures:
    """Work out the figures of a run that has not ended, up to its account; what was stored later is left out.

    Args:
        run: The run.
        account: Its account.
        trades: Its stored trades.
        models: Its model versions.
        points: Its stored equity points.
    """
    known = tuple(order_trades(trades))[: account.trades]
    curve = (*_without_transfers(points, account), _last_point(run, account))
    summary = summarise(
        run,
        known,
        (m for m in models if m.fitted_time <= account.time),
        curve,
        initial_equity=account.initial_equity,
        final_equity=account.equity,
        open_pnl=math.fsum(p.pnl for p in account.positions),
        market=account.market,
        is_synthetic=account.is_synthetic,
        decisions=account.decisions,
    )
    end = max(account.time, run.started)
    summary = attrs.evolve(
        summary,
        end=end,
        exposure=calculate_exposure(known, run.started, end, (p.entry_time for p in account.positions)),
        interim=Interim(run.status, account.time, account.positions),
    )
    return InterimFigures(summary, known, curve)


def _without_transfers(points: Iterable[EquityPoint], account: InterimAccount) -> Sequence[EquityPoint]:
    """The points up to the account, with what came or went later already in them."""
    kept, first = [], [account.steps[0][1] if account.steps else account.initial_equity]
    for point in sorted(points, key=lambda p: (p.time, p.id)):
        if point.time < account.time:
            begun = [initial for time, initial in account.steps if time <= point.time] or first
            later = account.initial_equity - begun[-1]
            kept.append(attrs.evolve(point, equity=point.equity + later, wallet=point.wallet + later))
    return kept


def _last_point(run: Run, account: InterimAccount) -> EquityPoint:
    return EquityPoint(
        id=f"{run.id}-{account.time}",
        run_id=run.id,
        time=account.time,
        equity=account.equity,
        wallet=account.equity - math.fsum(p.unrealised for p in account.positions),
        margin_in_use=math.fsum(p.margin for p in account.positions),
        open_positions=len(account.positions),
    )
