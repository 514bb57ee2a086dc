"""The run's own record in the storage, and in it how the account stands as long as the run has not ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

import attrs

from slt.errors import StorageError
from slt.log import get_logger
from slt.statistics import InterimAccount, OpenResult, dump_account, load_account
from slt.storage.contract import Query
from slt.types import EquityPoint, Run, Trade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slt.run.assembly import Assembly
    from slt.run.session import Session
    from slt.trading.portfolio import Holding
    from slt.types import Record

__all__ = ["InterimKeeper", "account_of"]

_EVERY_MS = 300_000
"""Event time after which any record brings the account along; a trade or an equity point does at once."""
_READ_S = 3.0
_log = get_logger("lifecycle")


def account_of(assembly: Assembly, session: Session) -> InterimAccount:
    """How the account stands now."""
    portfolio, market = assembly.engine.portfolio, assembly.market
    return InterimAccount(
        time=session.time,
        initial_equity=portfolio.initial_equity,
        equity=portfolio.equity,
        trades=portfolio.trades,
        positions=tuple(_result(holding) for holding in portfolio.holdings.values()),
        steps=tuple(portfolio.steps),
        market=market.description,
        is_synthetic=market.is_synthetic,
        decisions=dict(session.results.gates),
    )


class InterimKeeper:
    """Keeps the record of a run that has not ended up to date.

    Args:
        assembly: The run's parts.
        session: Engine and results.
    """

    def __init__(self, assembly: Assembly, session: Session) -> None:
        self._assembly = assembly
        self._session = session
        self._run = assembly.run_record("running")
        self._noted: int | None = None
        self._told = 0

    async def begin(self) -> None:
        """Say that the run is under way; what an earlier life of it said of its account stays."""
        if self._assembly.folder.is_resumed:
            summary = await self._earlier()
            self._run = attrs.evolve(self._run, summary=summary)
            with contextlib.suppress(ValueError):
                earlier = load_account(summary)
                self._told = earlier.time if earlier is not None else 0
        self._assembly.writer.put([self._run])

    def note(self, time: int, records: Sequence[Record]) -> None:
        """Put the account down where these records, put down at event time `time` (ms UTC), have changed it."""
        is_due = self._noted is None or time - self._noted >= _EVERY_MS
        if records and (is_due or any(isinstance(record, Trade | EquityPoint) for record in records)):
            self._noted = time
            self._put("running")

    def stop(self) -> None:
        """Say that the run is stopped, and how the account stands."""
        self._put("stopped")

    def _put(self, status: str) -> None:
        # Before its first event a resumed run's engine may not have been brought back yet.
        if self._session.time:
            account = account_of(self._assembly, self._session)
            # The first events after a resume bear the time of the start, which may lie before the last word.
            self._told = max(self._told, account.time)
            self._run = attrs.evolve(self._run, summary=dump_account(attrs.evolve(account, time=self._told)))
        self._assembly.writer.put([attrs.evolve(self._run, status=status)])

    async def _earlier(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_READ_S):
                found = await self._assembly.storage.slt_read_records(query=Query(Run, id=self._run.id))
        except (StorageError, TimeoutError, OSError) as error:
            _log.info("the run's last word is not known yet: the storage is away", cause=type(error).__name__)
            return {}
        return next((run.summary for run in found if isinstance(run, Run)), {})


def _result(holding: Holding) -> OpenResult:
    position = holding.position
    return OpenResult(
        id=position.id,
        symbol=position.symbol,
        side=int(position.side),
        strategy=position.strategy,
        entry_time=position.entry_time,
        entry_price=position.entry_price,
        quantity=position.quantity,
        price=holding.price,
        stop=position.stop,
        target=position.target,
        margin=holding.margin,
        realised=math.fsum((holding.gross, -holding.fees, -holding.funding)),
        unrealised=holding.unrealised,
    )
