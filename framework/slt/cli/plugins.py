"""``slt plugins``: what is installed, and what one plugin can be told."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import click

from slt.cli.groups import Group
from slt.cli.tables import print_table
from slt.config.reading import chosen_plugins, read_tables
from slt.config.rendering import options_of
from slt.config.structuring import nearest
from slt.errors import ConfigError
from slt.hookspecs import KINDS
from slt.loader import find_plugins, import_plugin

__all__ = ["plugins"]


@click.group(cls=Group)
def plugins() -> None:
    """List installed plugins; show one's options."""


@plugins.command("list")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only this kind.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Mark what this config chooses.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(kind: str | None, config_path: Path | None, *, as_json: bool) -> None:
    """List installed plugins without importing any of them."""
    chosen = _chosen(config_path)
    rows = [
        {
            "kind": p.kind,
            "name": p.name,
            "version": p.version,
            "distribution": p.distribution,
            "chosen": (p.kind, p.name) in chosen,
        }
        for p in find_plugins(kind)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [[r["kind"], r["name"], r["version"], r["distribution"], "yes" if r["chosen"] else ""] for r in rows]
    print_table(["kind", "name", "version", "distribution", "chosen"], cells)


@plugins.command("show")
@click.argument("plugin", metavar="KIND:NAME")
def show_plugin(plugin: str) -> None:
    """Show one plugin's description and options."""
    kind, _, name = plugin.partition(":")
    if kind not in KINDS or not name:
        kinds = ", ".join(KINDS)
        raise click.UsageError(f"found `{plugin}`, allowed is KIND:NAME{nearest(kind, KINDS)} (kinds: {kinds})")
    installed, cls = import_plugin(kind, name)
    click.echo(f"{kind}:{name}, from {installed.distribution} {installed.version} ({installed.target})\n")
    click.echo((inspect.getdoc(cls) or "no description").strip() + "\n")
    options = options_of(cls.config_class)  # type: ignore[attr-defined] # `import_plugin` has checked it
    if not options:
        click.echo("It has no options.")
        return
    click.echo(f"Options of [{kind}.{name}]:\n")
    cells = [[o.name, o.type, o.default if o.default is not None else "required", o.text] for o in options]
    print_table(["option", "type", "default", "meaning"], cells)


def _chosen(config_path: Path | None) -> set[tuple[str, str]]:
    """What a config chooses; without one being named, what config.toml does if there is a usable one here."""
    path = config_path or Path("config.toml")
    try:
        return set(chosen_plugins(read_tables(path)))
    except ConfigError as error:
        if config_path is not None:
            raise
        if path.exists():
            click.echo(f"slt: what is chosen is not known: {error}", err=True)
        return set()
