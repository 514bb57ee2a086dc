"""``slt report``: the HTML report of a stored run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.stored import find_run, with_storage
from slt.errors import SltError
from slt.storage.contract import Query
from slt.types import EquityPoint, ModelVersion, Run, Trade

if TYPE_CHECKING:
    from slt.hookspecs import StorageSpecs
    from slt.types import Record

__all__ = ["report"]


@click.command()
@click.argument("run_id", metavar="RUN", required=False)
@click.option("--output", type=click.Path(path_type=Path), help="The file; default: RUN.html in this folder.")
@config_option
def report(run_id: str | None, output: Path | None, config_path: Path) -> None:
    """Write the report of a stored RUN (default: the newest) from the storage; charts of candles are left out."""
    from slt.report import ReportData, write_report  # noqa: PLC0415 # plotly's side of the program
    from slt.statistics import load_summary  # noqa: PLC0415 # as above

    run, trades, equity, models = with_storage(config_path, lambda storage: _read(storage, run_id))
    try:
        summary = load_summary(run.summary)
    except ValueError as error:
        raise SltError(f"run {run.id} is {run.status}: {error}") from error
    path = write_report(output or Path(f"{run.id}.html"), ReportData(run, summary, trades, equity, models))
    click.echo(f"report of run {run.id}: {path}")


async def _read(storage: StorageSpecs, run_id: str | None) -> tuple[Run, list[Record], list[Record], list[Record]]:
    run = await find_run(storage, run_id)
    parts = [await storage.slt_read_records(query=Query(k, run_id=run.id)) for k in (Trade, EquityPoint, ModelVersion)]
    return run, parts[0], parts[1], parts[2]
