"""``slt db``: the storage's schema and size."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.groups import Group
from slt.cli.tables import print_table
from slt.errors import ConfigError
from slt.loader import build_plugins, read_whole_config

if TYPE_CHECKING:
    from pathlib import Path

    from slt.hookspecs import StorageSpecs
    from slt.loader import Loaded

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """Bring the storage's schema up to date; show where it is and what it holds."""


@db.command(short_help="Bring the storage's schema up to date.")
@config_option
@click.option("--dry-run", is_flag=True, help="Try it and take it back: show what would be done, change nothing.")
def migrate(config_path: Path, *, dry_run: bool) -> None:
    """Bring the storage's schema up to date: forward only, under a lock, all of it or nothing.

    A run does the same by itself at its start.
    """
    storage = _storage(config_path, "slt_migrate_storage")
    steps = asyncio.run(storage.hooks.slt_migrate_storage(is_dry_run=dry_run))
    if not steps:
        click.echo("nothing to do: the schema is up to date")
    for step in steps:
        click.echo(f"{'would be applied' if dry_run else 'applied'}: {step}")


@db.command(short_help="Show what the storage holds.")
@config_option
def status(config_path: Path) -> None:
    """Show where the storage is, the version of its schema, and what it holds."""
    storage = _storage(config_path, "slt_describe_storage")
    print_table(("what", "found"), asyncio.run(storage.hooks.slt_describe_storage()))


def _storage(config_path: Path, hook: str) -> Loaded[StorageSpecs]:
    storage = build_plugins(read_whole_config(config_path)).storage
    if not storage.implements(hook):
        raise ConfigError(f"plugins.storage: `{storage.name}` keeps no database; choose another, e.g. postgres")
    return storage
