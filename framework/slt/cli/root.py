"""The command ``slt``: its groups, imported only when asked for, and how errors leave it."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import click

from slt.cli.groups import LazyGroup
from slt.cli.services import service_command, service_names, short_help
from slt.errors import SltError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "root"]

_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended: 128 and the signal's number."""

_OUTSIDE = {
    errno.ENOSPC: "free space on that disk, then run the same command again",
    errno.EDQUOT: "free space within the quota, then run the same command again",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "allow it to the user that slt runs as, or choose another folder",
    errno.EPERM: "allow it to the user that slt runs as, or choose another folder",
    errno.EIO: "the disk fails: look into the system's log",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
    errno.ENFILE: "the machine has too many open files: close some",
}
"""What to do about an error of the machine, wherever in slt it came up: no bug, and nothing to report."""
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|WEBHOOK|DATABASE|REDIS|POSTGRES")
_SHORTEST_SECRET = 8


class _Root(LazyGroup):
    """The commands of the kernel, and one for each installed service."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The kernel's own first."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in service_names() if name not in own)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of the kernel, or the one that runs a service; a service cannot take the name of a command."""
        own = super().get_command(ctx, cmd_name)
        return service_command(cmd_name) if own is None and cmd_name in service_names() else own

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List both, services apart."""
        super().format_commands(ctx, formatter)
        names = self.list_commands(ctx)[len(super().list_commands(ctx)) :]
        if names:
            with formatter.section("Services"):
                formatter.write_dl([(name, short_help(name)) for name in names])


@click.group(
    cls=_Root,
    lazy={
        "run": ("slt.cli.run:run", "Run a configuration: back-test, paper or live."),
        "plugins": ("slt.cli.plugins:plugins", "List installed plugins; show one's options."),
        "config": ("slt.cli.config:config", "Check a configuration; show it with every option."),
        "doctor": ("slt.cli.doctor:doctor", "Look at everything that a run needs, and say what to do."),
        "audit": ("slt.cli.audit:audit", "Prove that a feature set or a strategy never uses the future."),
        "data": ("slt.cli.data:data", "Import, list and check candle files."),
        "db": ("slt.cli.db:db", "Bring the storage's schema up to date; show what it holds."),
        "report": ("slt.cli.report:report", "Write the HTML report of a stored run."),
        "status": ("slt.cli.status:status", "Show how a paper or live run stands, now and after it has stopped."),
        "replay": ("slt.cli.replay:replay", "Play a live session again: do its commands come out byte-equal?"),
        "why": ("slt.cli.why:why", "Tell which gate let a symbol's proposals through or refused them."),
        "train": ("slt.cli.train:train", "Fit models on a recorded history, as a run over it would have."),
        "model": ("slt.cli.model:model", "List fitted models; show, promote, roll back or export one."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere.")
@click.version_option(package_name="selflearningtrader", prog_name="slt")
def root(*, debug: bool) -> None:
    """SelfLearningTrader: a plugin framework for trading Binance USDⓈ-M perpetual futures.

    Exit codes: 0 fine, 1 other, 2 config or usage, 3 plugin, 4 audit, 5 stopped and resumable, 70 watchdog,
    130 interrupted.
    """
    del debug  # `main` has taken it out of the arguments: it has to know it before anything can fail


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code: lines without a traceback for an error, but with ``--debug``."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        root.main(args=[a for a in given if a != "--debug"], prog_name="slt", standalone_mode=False)
        sys.stdout.flush()
        code = 0
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 # the one place where every error becomes words and an exit code
        if "--debug" in given:
            click.echo(_without_secrets(traceback.format_exc()), err=True, nl=False)
        code = _tell(error)
    sys.exit(code)


def _tell(error: BaseException) -> int:
    """Tell a person about an error; returns the exit code."""
    if isinstance(error, BaseExceptionGroup):
        error = _first(error)
    code = 1
    if isinstance(error, SltError):
        code = error.exit_code
        for line in str(error).splitlines() or [type(error).__name__]:
            _say(line)
    elif isinstance(error, click.ClickException):
        code = error.exit_code
        _tell_usage(error)
    elif isinstance(error, click.Abort | KeyboardInterrupt):
        code = _INTERRUPTED
        _say("interrupted")
    elif isinstance(error, BrokenPipeError):
        # Whoever read the output has left; what Python would flush at its end has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, OSError) and error.errno in _OUTSIDE:
        place = "" if error.filename is None else f"`{error.filename}`: "
        _say(f"{place}{error.strerror}; {_OUTSIDE[error.errno]}")
    else:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        _say(f"unexpected {text}; run again with `slt --debug` and report the traceback")
    return code


def _tell_usage(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    context = getattr(error, "ctx", None)
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    _say(" ".join(error.format_message().split()).removesuffix(".") + hint)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell of several: the first that slt raised on purpose, else the first."""
    known = group.subgroup(SltError)
    error: BaseException = known if known is not None else group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _say(text: str) -> None:
    click.echo(f"slt: {_without_secrets(text)}", err=True)


def _without_secrets(text: str) -> str:
    """Also of variables that only a configuration names, which may be what could not be read."""
    from slt.log.filters import SECRET_NAMES, SecretFilter  # noqa: PLC0415 # only needed for the error

    named = [n for n, v in os.environ.items() if _may_be_secret(n.upper()) and len(v) >= _SHORTEST_SECRET]
    return SecretFilter(os.environ, dict.fromkeys((*SECRET_NAMES, *named))).text(text)


def _may_be_secret(name: str) -> bool:
    """Whether a variable may hold a secret by its name; those that stand for options hold none, only its name."""
    is_option = name.startswith("SLT_") and "__" in name
    return not is_option and _SECRET_NAME.search(name) is not None
