"""``slt run``: from a configuration to trades, a summary and a report."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Self

import click

from slt.cli.config import config_option
from slt.config import read_config
from slt.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slt.cli.progress import ProgressView
    from slt.config import Settings
    from slt.run.execution import Outcome

__all__ = ["run"]


@click.command()
@config_option
@click.option("--fresh", is_flag=True, help="Start a new run even where an unfinished one could be resumed.")
def run(config_path: Path, *, fresh: bool) -> None:
    """Run a configuration: back-test, paper or live.

    Ctrl-C stops after the block at hand with everything saved; the same command then resumes the run.
    """
    settings = read_config(config_path)
    outcome = _run(settings, fresh=fresh)
    _show(outcome)
    if outcome.faults:
        raise PluginError(f"a plugin failed and entries were halted: {outcome.faults[0]}")


def _run(settings: Settings, *, fresh: bool) -> Outcome:
    from slt.cli.progress import make_progress_view  # noqa: PLC0415 # rich and the engine, only for this command
    from slt.log import configure_logging  # noqa: PLC0415 # as above
    from slt.run.execution import Observer, execute  # noqa: PLC0415 # as above

    is_terminal = sys.stderr.isatty()
    stop = _StopFlag()
    view: ProgressView = make_progress_view(is_terminal=is_terminal)
    observer = Observer(started=view.started, progressed=view.progressed, stopping=stop)
    log = configure_logging(settings.log, terminal=is_terminal, file=None)
    with log, view, stop, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(execute(settings, observer, is_fresh=fresh))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's loop where it is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 # optional
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _show(outcome: Outcome) -> None:
    from slt.report import render_summary, summary_lines  # noqa: PLC0415 # rich, only for this command

    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 # as above

        render_summary(outcome.summary, Console(), outcome.report)
    else:
        for line in summary_lines(outcome.summary, outcome.report):
            click.echo(line)
    for problem in outcome.problems:
        click.echo(f"slt: {problem}", err=True)


class _StopFlag:
    """Set by the first Ctrl-C or SIGTERM; the second ends the program at once."""

    def __init__(self) -> None:
        self._is_set = False
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        return self._is_set

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what `signal.signal` gave

    def _take(self, number: int, _: object) -> None:
        if self._is_set:
            raise KeyboardInterrupt
        self._is_set = True
        click.echo(
            f"slt: {signal.Signals(number).name} received, stopping after this block; once more to force", err=True
        )
