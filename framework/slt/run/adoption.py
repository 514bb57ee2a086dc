"""A new run begins with the model that earlier runs left, where the configuration says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.errors import ModelError
from slt.log import get_logger
from slt.storage.contract import Query
from slt.trading.registry import adopt, pile_of
from slt.types import ModelVersion

if TYPE_CHECKING:
    from slt.run.assembly import Assembly
    from slt.run.session import Session

__all__ = ["adopt_models"]

_log = get_logger("learning")


async def adopt_models(assembly: Assembly, session: Session) -> None:
    """Give each strategy the best stored model that fits: same run name, strategy and schema, fitted before the start.

    One that cannot be loaded is passed over with a line in the log, and the one below it is taken; with none left the
    strategy begins UNTRAINED. A model fitted at or after the start of the data would know its future and never counts.
    """
    name = assembly.settings.run.name
    found = await assembly.plugins.storage.hooks.slt_read_records(query=Query(ModelVersion))
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


def _begin_with(version: ModelVersion, assembly: Assembly, session: Session) -> bool:
    row = adopt(version, assembly.folder.run_id, assembly.market.start)
    try:
        session.dense.use_model(version.strategy, version.version, version.artefact)
    except ModelError as error:
        _log.error("stored model refused, the one before it is tried", model=version.id, cause=str(error))
        return False
    session.engine.adopt(row)
    session.results.note(row)
    assembly.writer.put([row])
    _log.info("begins with a stored model", model=version.id, strategy=version.strategy)
    return True
