"""``slt data``: candle files of one's own, and those of the exchange's archive."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slt.cli.groups import Group
from slt.cli.tables import print_table
from slt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slt.candles.archive import Downloaded

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
    """Download, import, list and check candle files."""


@data.command("import", short_help="Bring files into the data folder or a storage.")
@click.argument("sources", nargs=-1, required=True)
@_folder_option
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Write the bars into the storage that this configuration chooses, instead of the folder.",
)
def import_data(sources: tuple[str, ...], folder: Path, config_path: Path | None) -> None:
    """Bring SOURCES (Parquet, CSV, archive zips, folders, globs) into the data folder; twice changes nothing."""
    if config_path is not None:
        _import_into_storage(sources, config_path)
        return
    from slt.candles import import_files, interval_name  # noqa: PLC0415 # numpy

    for done in import_files(sources, folder):
        row = done.listed
        click.echo(f"{row.path}: {row.symbol} {interval_name(row.interval_ms)}, {row.bars} bars, {done.added} new")


def _import_into_storage(sources: tuple[str, ...], config_path: Path) -> None:
    from slt.loader import build_plugins, read_whole_config  # noqa: PLC0415 # plugins
    from slt.run.bar_store import store_candles  # noqa: PLC0415 # numpy

    storage = build_plugins(read_whole_config(config_path)).storage
    for name, bars in sorted(store_candles(sources, storage).items()):
        click.echo(f"{storage.name}: {name}, {bars} bars")


def _yesterday() -> str:
    return f"{datetime.now(UTC).date() - timedelta(days=1):%Y-%m-%d}"


def _day(_context: click.Context, _parameter: click.Parameter, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"`{text}` is not a day; write it as `2024-01-31`") from None


@data.command("download", short_help="Fetch the exchange's archive files, verified.")
@click.argument("symbols", nargs=-1, required=True)
@click.option("--from", "first", required=True, callback=_day, help="First day, UTC, such as 2024-01-01.")
@click.option("--to", "last", default=_yesterday, show_default="yesterday", callback=_day, help="Last day, UTC.")
@click.option("--interval", default="1m", show_default=True, help="Length of the candles.")
@click.option(
    "--kind",
    type=click.Choice(["klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines", "fundingRate"]),
    default="klines",
    show_default=True,
    help="What to fetch.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("archive"),
    show_default=True,
    help="Folder of the files as they are; bring them in with `slt data import archive`.",
)
@click.option("--host", default="https://data.binance.vision", show_default=True, help="Address of the archive.")
@click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Files fetched at a time.")
def download_data(
    symbols: tuple[str, ...],
    first: date,
    last: date,
    interval: str,
    kind: str,
    folder: Path,
    host: str,
    workers: int,
) -> None:
    """Fetch the exchange's archive files of SYMBOLS, verified; run again after an interruption, it goes on.

    These are static files, published a day late: not the exchange's API.
    """
    from slt.candles.archive import ArchiveRequest, download_archive  # noqa: PLC0415 # the network

    if last < first:
        raise click.BadParameter(f"{last} lies before {first}", param_hint="'--to'")
    request = ArchiveRequest(
        symbols=tuple(dict.fromkeys(symbols)), kind=kind, interval=interval, first=first, last=last
    )
    with _progress() as told:
        done = download_archive(request, folder, host=host, workers=workers, on_progress=told)
    for line in _told(done):
        click.echo(line)


def _told(done: list[Downloaded]) -> list[str]:
    """What became of the files, one line for each symbol, and one for what the archive does not have."""
    lines = []
    symbols = dict.fromkeys(one.file.name.partition("-")[0] for one in done)
    for symbol in symbols:
        own = [one for one in done if one.file.name.startswith(f"{symbol}-")]
        counts = {
            status: sum(one.status == status for one in own) for status in ("new", "kept", "unverified", "absent")
        }
        size = sum(one.size for one in own) / 2**20
        words = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        lines.append(f"{symbol}: {words}, {size:.1f} MiB")
    absent = [one.file.name for one in done if one.status == "absent"]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        lines.append(f"not in the archive: {', '.join(absent[:5])}{more}")
    return lines


@contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _size: None
        return
    from rich.console import Console  # noqa: PLC0415 # rich only when something is drawn
    from rich.progress import Progress  # noqa: PLC0415 # as above

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("downloading", total=None)

        def tell(done: int, total: int, size: int) -> None:
            text = f"{done} of {total} files, {size / 2**20:.1f} MiB"
            bar.update(task, completed=done, total=total, description=text)

        yield tell


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
