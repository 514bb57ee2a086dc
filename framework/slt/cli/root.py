"""The command ``slt``: its groups, imported only when asked for, and how errors leave it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from slt.errors import SltError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LazyGroup", "main", "root"]


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; the help needs none of them.

    Args:
        lazy: Command name to ``(module:object, one-line help)``.
        kwargs: As `click.Group`.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        """Names in the order given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # as above
        """Import and return one command."""
        if cmd_name not in self._lazy:
            return None
        module, _, name = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 # as above
        """List the commands with their one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the nearest name."""
        from slt.config.structuring import nearest  # noqa: PLC0415 # only needed for the error

        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            known = ", ".join(self._lazy)
            raise click.UsageError(f"no command `{args[0]}`{nearest(args[0], self._lazy)} (commands: {known})", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    lazy={
        "run": ("slt.cli.run:run", "Run a configuration: back-test, paper or live."),
        "plugins": ("slt.cli.plugins:plugins", "List installed plugins; show one's options."),
        "config": ("slt.cli.config:config", "Check a configuration; show it with every option."),
        "data": ("slt.cli.data:data", "Import, list and check candle files."),
        "report": ("slt.cli.report:report", "Write the HTML report of a stored run."),
        "why": ("slt.cli.why:why", "Tell which gate let a symbol's proposals through or refused them."),
        "model": ("slt.cli.model:model", "List fitted models; show one with its verdict."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="selflearningtrader", prog_name="slt")
def root(*, debug: bool) -> None:
    """SelfLearningTrader: a plugin framework for trading Binance USDⓈ-M perpetual futures.

    Exit codes: 0 fine, 1 other, 2 config or usage, 3 plugin, 5 stopped and resumable, 70 watchdog.
    """
    del debug  # read by `main`, which has to know it before anything can fail


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code: one line for an error, a traceback only with ``--debug``."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        root.main(args=given, prog_name="slt", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except SltError as error:
        if "--debug" in given:
            raise
        for line in str(error).splitlines() or [type(error).__name__]:
            _say(line)
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in given:
            raise
        _say(f"unexpected {type(error).__name__}: {error}; run again with `slt --debug` and report the traceback")
        sys.exit(1)
    sys.exit(0)


def _say(text: str) -> None:
    click.echo(f"slt: {text}", err=True)
