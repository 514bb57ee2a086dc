"""``slt run``: from a configuration to trades, a summary and a report."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.errors import PluginError, SltError, StoppedError
from slt.loader import read_whole_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slt.cli.progress import ProgressView
    from slt.config import Settings
    from slt.run.assembly import Assembly
    from slt.run.execution import Outcome
    from slt.run.player import Progress

__all__ = ["carry_out", "run", "show_outcome"]


@click.command()
@config_option
@click.option("--fresh", is_flag=True, help="Start a new run even where an unfinished one could be resumed.")
def run(config_path: Path, *, fresh: bool) -> None:
    """Run a configuration: back-test, paper or live.

    Ctrl-C stops after the block at hand with everything saved; the same command then resumes the run. A second Ctrl-C
    stops at once, and the run resumes from its last snapshot; a third kills.
    """
    settings = read_whole_config(config_path)
    show_outcome(carry_out(settings, fresh=fresh))


def show_outcome(outcome: Outcome) -> None:
    """Print the summary.

    Raises:
        PluginError: A plugin broke in the run.
        SltError: Something else is to be told, the books that do not agree, say.
    """
    _show(outcome)
    problems = [p for p in outcome.problems if p not in outcome.faults]
    if outcome.faults:
        after = "; entries were halted since, positions stayed managed"
        faults = [" ".join(fault.split()) + after for fault in outcome.faults]
        raise PluginError("\n".join([*faults, *problems]))
    if problems:
        raise SltError("\n".join(problems))


def carry_out(settings: Settings, *, fresh: bool) -> Outcome:
    """Run a configuration to its end, with progress and log on the terminal; raises what `execute` raises."""
    from slt.cli.progress import make_progress_view  # noqa: PLC0415 # rich and the engine, only for this command
    from slt.log import configure_logging, get_logger  # noqa: PLC0415 # as above
    from slt.run.assembly import secret_names  # noqa: PLC0415 # as above
    from slt.run.execution import Observer, execute  # noqa: PLC0415 # as above
    from slt.run.services import running_services  # noqa: PLC0415 # as above

    is_terminal = sys.stderr.isatty()
    view: ProgressView = make_progress_view(is_terminal=is_terminal)
    named = [v for table in settings.options.values() for k, v in table.items() if k.endswith("_env")]
    named.append(settings.health.token_env)
    with ExitStack() as stack:
        configure = partial(configure_logging, settings.log, terminal=is_terminal)
        log = stack.enter_context(configure(file=None, secret_names=[v for v in named if isinstance(v, str)]))

        def started(assembly: Assembly) -> None:
            nonlocal log
            file = assembly.folder.path / "slt.log"
            secrets = (*secret_names(assembly.plugins), settings.health.token_env)
            log = stack.enter_context(configure(file=file, secret_names=secrets))
            view.started(assembly)
            if assembly.folder.is_resumed and (text := _forgetful_services(settings)):
                get_logger("lifecycle").warning(text, safety=True)

        def progressed(progress: Progress) -> None:
            log.tell_repeats()
            view.progressed(progress)

        stack.enter_context(running_services(settings))
        observer = Observer(started=started, progressed=progressed, stopping=lambda: False)
        stack.enter_context(view)
        runner = stack.enter_context(asyncio.Runner(loop_factory=_loop_factory()))
        try:
            return runner.run(execute(settings, observer, is_fresh=fresh))
        except StoppedError as error:
            raise StoppedError(f"{error}{_without_services(settings)}") from None


def _without_services(settings: Settings) -> str:
    """What a person has to know of a stopped run whose services have ended with it."""
    names = ", ".join(settings.plugins.services)
    return f" (with {names} as after a start: `--fresh` begins anew, without the positions it had)" if names else ""


def _forgetful_services(settings: Settings) -> str:
    """What a person has to know of a run that is resumed with services which have begun anew; empty without any."""
    names = ", ".join(settings.plugins.services)
    return (
        f"{names} was started anew with this run and knows nothing of its earlier life: where it is the run's "
        "exchange, positions and orders from before are gone, and the positions are booked as `reconciled` at their "
        "last price; "
        "`--fresh` begins anew without them"
        if names
        else ""
    )


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
