"""``slt report``: the HTML report of a stored run, written again or, where the run has not ended, as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.stored import Stored, with_storage
from slt.errors import SltError
from slt.types import EquityPoint, ModelVersion, Run, Trade

if TYPE_CHECKING:
    from slt.report import ReportData

__all__ = ["report"]


@click.command()
@click.argument("run_id", metavar="RUN", required=False)
@click.option("--output", type=click.Path(path_type=Path), help="The file; default: RUN.html in this folder.")
@config_option
def report(run_id: str | None, output: Path | None, config_path: Path) -> None:
    """Write the report of a stored RUN (default: the newest) from the storage; charts of candles are left out.

    A paper or live run that goes on, and any run that is stopped, is shown as it stands: its closed trades, its open
    positions with their result so far, and the accounts up to the last stored moment, which the report names.
    """
    from slt.report import interim_lines, write_report  # noqa: PLC0415 # plotly's side of the program

    run, trades, equity, models = with_storage(config_path, lambda stored: _read(stored, run_id))
    try:
        data = _make_data(run, trades, equity, models)
    except ValueError as error:
        raise SltError(f"run {run.id} is {run.status}: {error}") from error
    path = write_report(output or Path(f"{run.id}.html"), data)
    for line in interim_lines(data.summary):
        click.echo(line.replace("\N{MINUS SIGN}", "-"))
    click.echo(f"report of run {run.id}: {path}")


def _make_data(run: Run, trades: list[Trade], equity: list[EquityPoint], models: list[ModelVersion]) -> ReportData:
    """Put together what the report shows.

    Raises:
        ValueError: Another version of slt wrote what is stored.
        SltError: Nothing tells how the account of an unfinished run stands.
    """
    from slt.report import ReportData  # noqa: PLC0415 # plotly's side of the program
    from slt.statistics import load_account, load_summary, summarise_interim  # noqa: PLC0415 # as above

    account = load_account(run.summary)
    if account is not None:
        figures = summarise_interim(run, account, trades, models, equity)
        return ReportData(run, figures.summary, figures.trades, figures.equity, models)
    if run.summary:
        return ReportData(run, load_summary(run.summary), trades, equity, models)
    hint = (
        "a back-test tells it when it is stopped or at its end"
        if run.mode == "backtest"
        else "it does with its first equity point or trade"
    )
    raise SltError(f"run {run.id} is {run.status} and has not told yet how its account stands; {hint}")


async def _read(stored: Stored, run_id: str | None) -> tuple[Run, list[Trade], list[EquityPoint], list[ModelVersion]]:
    run, reader = stored.run(run_id), stored.reader
    if run.status != "finished":
        # The cache may be some seconds behind the account, and the trades must be all those that it counts.
        return (
            run,
            await stored.records(Trade, run),
            await stored.records(EquityPoint, run),
            await stored.records(ModelVersion, run),
        )
    return (
        run,
        list(await reader.read(Trade, run_id=run.id)),
        list(await reader.read(EquityPoint, run_id=run.id)),
        list(await reader.read(ModelVersion, run_id=run.id)),
    )
