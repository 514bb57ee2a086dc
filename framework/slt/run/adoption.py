"""A new run begins with what earlier runs of its name learnt: their samples and their model, where config says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import ModelError, StorageError
from slt.log import get_logger
from slt.storage.contract import Query
from slt.trading.registry import adopt, pile_of, run_number
from slt.types import ModelVersion, OpenPosition, Sample

if TYPE_CHECKING:
    from slt.run.assembly import Assembly
    from slt.run.session import Session

__all__ = ["adopt_models", "adopt_past", "adopt_samples", "read_positions_left"]

_LEFT_MS = 30 * 86_400_000
"""How far back positions are looked for: none is meant to be open for more than hours."""
_LOOK_S = 10.0

_log = get_logger("learning")


async def adopt_past(assembly: Assembly, session: Session) -> None:
    """Take over what the configuration wants of earlier runs; a paced run whose storage is away begins without.

    Raises:
        StorageError: A back-test's storage is away.
    """
    settings = assembly.settings
    try:
        if settings.learning.start_samples == "latest":
            await adopt_samples(assembly, session)
        if settings.learning.start_model == "latest":
            await adopt_models(assembly, session)
    except StorageError as error:
        if settings.run.mode == "backtest":
            raise
        _log.warning("begins without what earlier runs learnt: the storage is away", cause=str(error))


async def read_positions_left(assembly: Assembly, now: int) -> tuple[OpenPosition, ...]:
    """Positions that other runs of this name have left open, as stored; none where the storage does not answer.

    Those of the books that another run went on with are among them, whether open or closed since.

    Args:
        assembly: The run's parts.
        now: The exchange's time, ms UTC.
    """
    name, own = assembly.settings.run.name, assembly.folder.run_id
    try:
        async with asyncio.timeout(_LOOK_S):
            rows = await assembly.storage.slt_read_records(query=Query(OpenPosition, since=now - _LEFT_MS))
    except (StorageError, TimeoutError) as error:
        text = "cannot look for positions that an earlier run left: what the account has beyond the books is a stranger"
        _log.warning(text, cause=str(error) or type(error).__name__)
        return ()
    known = assembly.engine.portfolio.position_ids
    found = (row for row in rows if isinstance(row, OpenPosition) and row.run_id != own)
    ours = (row for row in found if row.run_id.rpartition("-")[0] == name)
    return tuple(row for row in ours if row.is_open or row.id in known)


async def adopt_models(assembly: Assembly, session: Session) -> None:
    """Give each strategy the best stored model that fits: same run name, strategy and schema, fitted before the start.

    One that cannot be loaded is passed over with a line in the log, and the one below it is taken; with none left the
    strategy begins UNTRAINED. A model fitted at or after the start of the data would know its future and never counts.
    """
    name = assembly.settings.run.name
    found = await assembly.storage.slt_read_records(query=Query(ModelVersion))
    rows = [m for m in found if isinstance(m, ModelVersion) and m.run_id.rpartition("-")[0] == name]
    for plugin in assembly.plugins.strategies:
        own = [m for m in rows if m.strategy == plugin.name and m.run_id != assembly.folder.run_id]
        fitting = [m for m in own if m.schema_hash == assembly.dense.schema_hash]
        if own and not fitting:
            text = "stored models were fitted on other features or options; it begins UNTRAINED"
            _log.warning(text, strategy=plugin.name, schema=assembly.dense.schema_hash)
        for version in pile_of(m for m in fitting if m.fitted_time < assembly.market.start):
            if _begin_with(version, assembly, session):
                break


async def adopt_samples(assembly: Assembly, session: Session) -> None:
    """Give the learner the samples that earlier runs of this name resolved before the start, of the same features.

    Samples of other features cannot be read as these: they are left out, with how to get them anew. One sample that
    several runs over the same candles have seen is taken from the latest of them.
    """
    name, start = assembly.settings.run.name, assembly.market.start
    found = await assembly.storage.slt_read_records(query=Query(Sample, until=start))
    strategies = {plugin.name for plugin in assembly.plugins.strategies}
    earlier = [s for s in found if isinstance(s, Sample) and s.run_id.rpartition("-")[0] == name]
    resolved = [s for s in earlier if s.strategy in strategies and _is_known(s, start)]
    fitting = [s for s in resolved if s.schema_hash == assembly.dense.schema_hash]
    if foreign := len(resolved) - len(fitting):
        text = (
            "stored samples are of other features or options and are left out; `slt train` makes them anew from candles"
        )
        _log.warning(text, samples=foreign, schema=assembly.dense.schema_hash)
    latest = {(s.strategy, s.symbol, s.time, s.side): s for s in sorted(fitting, key=lambda s: run_number(s.run_id))}
    taken = session.engine.adopt_samples(sorted(latest.values(), key=lambda s: (s.time, s.id)))
    _log.info("begins with stored samples", samples=taken)


def _is_known(sample: Sample, start: int) -> bool:
    """Whether everything about a sample was known before the start."""
    is_closed = sample.source != "trade" or sample.traded_r is not None
    return is_closed and sample.resolved_time is not None and sample.resolved_time <= start


def _begin_with(version: ModelVersion, assembly: Assembly, session: Session) -> bool:
    row = adopt(version, assembly.folder.run_id, assembly.market.start)
    try:
        session.dense.use_model(version.strategy, version.version, version.artefact)
    except ModelError as error:
        _log.error("stored model refused, the one before it is tried", model=version.id, cause=str(error))
        return False
    session.engine.adopt(row)
    session.note(row)
    assembly.writer.put([row])
    _log.info("begins with a stored model", model=version.id, strategy=version.strategy)
    return True
