"""``slt audit``: does a feature set or a strategy ever use the future."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slt.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slt.audit import Certificate, Lab, Subject

__all__ = ["audit"]


@click.command()
@click.argument("plugin", metavar="[KIND:NAME]", required=False)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Take options and feature sets from this configuration; without KIND:NAME audit all that it chooses.",
)
@click.option("--features", "feature_sets", multiple=True, metavar="NAME", help="Feature set that a strategy reads.")
@click.option("--interval", default="1m", show_default=True, help="Base interval of the bars.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Seed of the markets.")
@click.option("--bars", type=click.IntRange(400), default=2_500, show_default=True, help="Bars beyond the warm-up.")
@click.option("--data", multiple=True, metavar="FILES", help="Ask the laws on these candles; the leak test stays.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("certificates"),
    show_default=True,
    help="Folder of the certificates.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    plugin: str | None,
    config_path: Path | None,
    feature_sets: tuple[str, ...],
    interval: str,
    seed: int,
    bars: int,
    data: tuple[str, ...],
    output: Path,
    *,
    as_json: bool,
) -> None:
    """Audit features:NAME or strategies:NAME: no value may ever have used the future.

    Every law is asked on random walks, or on your candles; where one breaks, the first bar, symbol and column are
    shown with both values. The certificate is bound to the plugin's code and options. Exit code 4: a law is broken.
    """
    from slt.audit import Lab  # noqa: PLC0415 # numpy and every plugin's imports, only for this command
    from slt.audit.choosing import choose_subjects, read_market  # noqa: PLC0415 # as above
    from slt.candles import parse_interval  # noqa: PLC0415 # as above
    from slt.config import read_config  # noqa: PLC0415 # as above
    from slt.errors import ConfigError  # noqa: PLC0415 # as above

    settings = read_config(config_path) if config_path else None
    try:
        interval_ms = parse_interval(interval)
    except ValueError as error:
        raise ConfigError(f"--interval: {error}") from error
    broken = []
    for subject in choose_subjects(plugin, settings, feature_sets, interval_ms):
        lab = Lab(subject, seed=seed, extra_rows=bars)
        files: tuple[str, ...] = ()
        if data:
            lab.data, files = read_market(data, lab)
        certificate = _conducted(lab, files)
        path = certificate.write(output)
        click.echo(certificate.to_json() if as_json else "\n".join([*certificate.lines(), f"written to {path}", ""]))
        if not certificate.passed:
            broken.append(_in_short(subject, certificate))
    if broken:
        raise AuditError("\n".join(broken))


def _conducted(lab: Lab, files: tuple[str, ...]) -> Certificate:
    from slt.audit import certify, conduct  # noqa: PLC0415 # as above

    with _progress(str(lab.subject)) as tell:
        judged = conduct(lab, tell=tell)
    return certify(lab, judged, date=datetime.now(UTC).isoformat(timespec="seconds"), data=files)


def _in_short(subject: Subject, certificate: Certificate) -> str:
    laws = [j.law for j in certificate.judged if j.finding.verdict in {"broken", "failed"}]
    return f"{subject} breaks {len(laws)} of {len(certificate.judged)} laws: {', '.join(laws)}"


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int, str], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 # rich only when something is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 # as above

    columns = (
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, title=title)
        yield lambda number, total, law: bar.update(task, completed=number, total=total, description=law)
