"""``slt config``: is a configuration right, and what does it come to."""

from __future__ import annotations

from pathlib import Path

import click

from slt.cli.groups import Group
from slt.loader import build_plugins, read_whole_config

__all__ = ["config", "config_option"]

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    help="The configuration file.",
)


@click.group(cls=Group)
def config() -> None:
    """Check a configuration; show it with every option."""


@config.command("check", short_help="Check a configuration, options of plugins included.")
@config_option
def check_config(config_path: Path) -> None:
    """Check a configuration, plugins' options included, without running anything."""
    from slt.run.modes import check_mode  # noqa: PLC0415 # pulls in the engine

    settings = read_whole_config(config_path)
    check_mode(settings, build_plugins(settings), is_starting=False)
    click.echo(f"{config_path}: fine; {len(settings.chosen())} plugins chosen")


@config.command("show", short_help="Print every option with its value.")
@config_option
def show_config(config_path: Path) -> None:
    """Print the effective configuration: every option with its value and meaning."""
    from slt.run.assembly import effective_config  # noqa: PLC0415 # pulls in the engine

    settings = read_whole_config(config_path)
    click.echo(effective_config(settings, build_plugins(settings), comments=True))
