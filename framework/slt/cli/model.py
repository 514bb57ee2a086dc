"""``slt model``: every fitted version, promoted or refused, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from slt.cli.config import config_option
from slt.cli.groups import Group
from slt.cli.stored import Stored, with_storage
from slt.cli.tables import print_table
from slt.errors import SltError
from slt.types import ModelVersion

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["model"]


@click.group(cls=Group)
def model() -> None:
    """List fitted models; show one with its verdict."""


@model.command("list")
@click.option("--run", "run_id", help="The run; default: the newest.")
@config_option
def list_models(run_id: str | None, config_path: Path) -> None:
    """List the fitted versions of a run, oldest first."""
    found_run, models = with_storage(config_path, lambda stored: _read(stored, run_id))
    if not models:
        click.echo(f"run {found_run}: nothing has been fitted; rules decide (UNTRAINED)")
        return
    rows: list[list[object]] = [
        [m.strategy, m.version, _time(m.fitted_time), m.samples, "promoted" if m.promoted else "refused", m.verdict]
        for m in models
    ]
    heads = ["strategy", "version", "fitted (UTC)", "samples", "gate", "verdict"]
    print_table(heads, rows, title=f"models of run {found_run}")


@model.command("show")
@click.argument("version", type=int)
@click.option("--strategy", help="The strategy; default: the only one.")
@click.option("--run", "run_id", help="The run; default: the newest.")
@config_option
def show_model(version: int, strategy: str | None, run_id: str | None, config_path: Path) -> None:
    """Show one version with everything the gate looked at, as JSON."""
    found_run, models = with_storage(config_path, lambda stored: _read(stored, run_id))
    found = [m for m in models if m.version == version and strategy in {None, m.strategy}]
    if not found:
        known = ", ".join(f"{m.strategy} v{m.version}" for m in models) or "none"
        raise SltError(f"run {found_run} has no model version {version} (stored: {known})")
    if len(found) > 1:
        raise SltError(f"version {version} exists for {', '.join(m.strategy for m in found)}; choose with --strategy")
    shown = found[0]
    click.echo(f"{shown.strategy} v{shown.version}, fitted {_time(shown.fitted_time)} UTC on {shown.samples} samples")
    click.echo(f"in force from {_time(shown.effective_time)} UTC" if shown.promoted else "never in force")
    click.echo(f"{shown.verdict}\nschema {shown.schema_hash}, artefact {len(shown.artefact)} bytes")
    click.echo(json.dumps(shown.metrics, indent=2, sort_keys=True))


async def _read(stored: Stored, run_id: str | None) -> tuple[str, list[ModelVersion]]:
    run = stored.run(run_id)
    return run.id, await stored.records(ModelVersion, run)


def _time(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
