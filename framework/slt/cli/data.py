"""``slt data``: candle files of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from slt.cli.groups import Group
from slt.cli.tables import print_table
from slt.errors import DataError

__all__ = ["data"]

_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of Parquet files, one for each symbol and interval.",
)


@click.group(cls=Group)
def data() -> None:
    """Import, list and check candle files."""


@data.command("import")
@click.argument("sources", nargs=-1, required=True)
@_folder_option
def import_data(sources: tuple[str, ...], folder: Path) -> None:
    """Bring SOURCES (Parquet, CSV, archive zips, folders, globs) into the data folder; twice changes nothing."""
    from slt.candles import import_files, interval_name  # noqa: PLC0415 # numpy

    for done in import_files(sources, folder):
        row = done.listed
        click.echo(f"{row.path}: {row.symbol} {interval_name(row.interval_ms)}, {row.bars} bars, {done.added} new")


@data.command("list")
@_folder_option
def list_data(folder: Path) -> None:
    """List what the data folder holds."""
    from slt.candles import interval_name, list_folder, utc_text  # noqa: PLC0415 # numpy

    rows, problems = list_folder(folder)
    cells: list[list[object]] = [
        [
            r.symbol,
            interval_name(r.interval_ms),
            r.bars,
            utc_text(r.first),
            utc_text(r.last),
            f"{r.missing_share:.2%}",
            "yes" if r.has_taker_volume else "no",
        ]
        for r in rows
    ]
    print_table(["symbol", "interval", "bars", "first (UTC)", "last (UTC)", "missing", "taker volume"], cells)
    if problems:
        raise DataError(*problems)


@data.command("check")
@click.argument("sources", nargs=-1, required=True)
def check_data(sources: tuple[str, ...]) -> None:
    """Read every row of SOURCES and tell everything that is wrong."""
    from slt.candles import check_files  # noqa: PLC0415 # numpy

    files, problems = check_files(sources)
    if problems:
        raise DataError(*problems)
    bars = sum(f.rows for f in files)
    click.echo(f"{len(files)} file{'s' if len(files) > 1 else ''}, {bars} bars: fine")
