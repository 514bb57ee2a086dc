"""One command for each installed service: ``slt sandbox`` runs the service `sandbox` in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slt.errors import ConfigError, SltError

if TYPE_CHECKING:
    from slt.hookspecs import FeedSpecs
    from slt.loader import Loaded

__all__ = ["service_command", "service_names", "short_help"]

_DEFAULT_FILE = Path("config.toml")


def service_names() -> list[str]:
    """Names of the installed services, sorted; imports none of them."""
    return sorted({point.name for point in entry_points(group="slt.services")})


def service_command(name: str) -> click.Command:
    """The command that runs a service."""

    @click.command(name, help=_help(name), short_help=short_help(name))
    @click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        help=f"The configuration file; without one, {_DEFAULT_FILE} where there is one, else the defaults.",
    )
    @click.option("--with-parent", is_flag=True, hidden=True, help="End when the standard input ends.")
    def command(config_path: Path | None, *, with_parent: bool) -> None:
        from slt.loader import build_service  # noqa: PLC0415 # plugins, only for this command

        service, source = build_service(name, _options(name, config_path))
        asyncio.run(_serve(service, source, with_parent=with_parent))

    return command


def short_help(name: str) -> str:
    """One line for the list of commands."""
    return f"Run the service `{name}` until Ctrl-C."


def _help(name: str) -> str:
    return (
        f"Run the service `{name}` until Ctrl-C.\n\n"
        f"Its options stand in [services.{name}], and those of the feed that it plays in [feeds.<source>]; of the rest "
        "of the file nothing is looked at. `slt run` starts it by itself where `plugins.services` names it."
    )


def _options(name: str, path: Path | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Options of plugins from the config file; none where there is no file and none was named."""
    from slt.config.reading import plugin_tables, read_tables  # noqa: PLC0415 # as above

    file = path or (_DEFAULT_FILE if _DEFAULT_FILE.exists() else None)
    try:
        return plugin_tables(read_tables(file))
    except ConfigError as error:
        raise ConfigError(*(f"services.{name}: {problem}" for problem in error.problems)) from None


async def _serve(service: Loaded[Any], source: Loaded[FeedSpecs] | None, *, with_parent: bool) -> None:
    """Start, say so, and serve until the service is over or somebody ends it.

    Raises:
        SltError: The service could not start, or broke.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        line = await service.hooks.slt_start_service(source=source.hooks if source is not None else None)
        click.echo(line)
        sys.stdout.flush()
        waits = {asyncio.create_task(service.hooks.slt_wait_service()), asyncio.create_task(ended.wait())}
        if with_parent:
            waits.add(asyncio.create_task(_parent_gone()))
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            task.result()
    except OSError as error:
        raise SltError(f"service `{service.name}`: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await service.hooks.slt_stop_service()


async def _parent_gone() -> None:
    """Wait until the process that started this one is gone: its end of our standard input closes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(sys.stdin.fileno(), "rb"))
    while await reader.read(1024):
        pass
