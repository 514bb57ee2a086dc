"""``slt report``: the HTML report of a stored run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from slt.cli.config import config_option
from slt.cli.stored import Stored, with_storage
from slt.errors import SltError
from slt.types import EquityPoint, ModelVersion, Run, Trade

__all__ = ["report"]


@click.command()
@click.argument("run_id", metavar="RUN", required=False)
@click.option("--output", type=click.Path(path_type=Path), help="The file; default: RUN.html in this folder.")
@config_option
def report(run_id: str | None, output: Path | None, config_path: Path) -> None:
    """Write the report of a stored RUN (default: the newest) from the storage; charts of candles are left out.

    A run that has not ended has none yet: `slt status` shows how it stands.
    """
    from slt.report import ReportData, write_report  # noqa: PLC0415 # plotly's side of the program
    from slt.statistics import load_summary  # noqa: PLC0415 # as above

    run, trades, equity, models = with_storage(config_path, lambda stored: _read(stored, run_id))
    if not run.summary:
        raise SltError(f"run {run.id} is {run.status}: a report needs its end; `slt status` shows how it stands")
    try:
        summary = load_summary(run.summary)
    except ValueError as error:
        raise SltError(f"run {run.id} is {run.status}: {error}") from error
    path = write_report(output or Path(f"{run.id}.html"), ReportData(run, summary, trades, equity, models))
    click.echo(f"report of run {run.id}: {path}")


async def _read(stored: Stored, run_id: str | None) -> tuple[Run, list[Trade], list[EquityPoint], list[ModelVersion]]:
    run, reader = stored.run(run_id), stored.reader
    return (
        run,
        list(await reader.read(Trade, run_id=run.id)),
        list(await reader.read(EquityPoint, run_id=run.id)),
        list(await reader.read(ModelVersion, run_id=run.id)),
    )
