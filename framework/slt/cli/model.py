"""``slt model``: every fitted version, promoted or refused, and why; promotion and rollback by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from slt.cli.config import config_option
from slt.cli.groups import Group
from slt.cli.stored import Stored, with_storage
from slt.cli.tables import print_entries
from slt.errors import SltError
from slt.loader import build_plugins, read_whole_config
from slt.storage.contract import Query
from slt.trading.registry import pile_of, promote_by_hand, roll_back
from slt.types import ModelVersion, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.hookspecs import ModelSpecs

__all__ = ["model"]

_NEXT = 'it takes effect when the next run starts, with `learning.start_model = "latest"`'
_strategy_option = click.option("--strategy", help="The strategy; default: the only one.")
_run_option = click.option("--run", "run_id", help="The run; default: the newest.")


@click.group(cls=Group)
def model() -> None:
    """List fitted models; show, promote, roll back or export one."""


@model.command("list")
@_run_option
@config_option
def list_models(run_id: str | None, config_path: Path) -> None:
    """List the fitted versions of a run, oldest first."""
    shelf = with_storage(config_path, lambda stored: _read(stored, run_id))
    if not shelf.models:
        click.echo(f"run {shelf.run.id}: nothing has been fitted; rules decide (UNTRAINED)")
        return
    rows: list[list[object]] = [
        [m.strategy, m.version, _time(m.fitted_time), m.samples, _state(m), m.verdict] for m in shelf.models
    ]
    heads = ["strategy", "version", "fitted (UTC)", "samples", "gate", "verdict"]
    words = ["{}", "v{}", "fitted {}", "{} samples", "{}", "{}"]
    print_entries(heads, rows, words=words, title=f"models of run {shelf.run.id}, oldest first")


@model.command("show")
@click.argument("version", type=int)
@_strategy_option
@_run_option
@config_option
def show_model(version: int, strategy: str | None, run_id: str | None, config_path: Path) -> None:
    """Show one version with everything the gate looked at, as JSON."""
    shown = with_storage(config_path, lambda stored: _read(stored, run_id)).one(version, strategy)
    click.echo(f"{shown.strategy} v{shown.version}, fitted {_time(shown.fitted_time)} UTC on {shown.samples} samples")
    click.echo(f"in force from {_time(shown.effective_time)} UTC" if shown.promoted else "never in force")
    click.echo(f"{shown.verdict}\nschema {shown.schema_hash}, artefact {len(shown.artefact)} bytes")
    click.echo(json.dumps(shown.metrics, indent=2, sort_keys=True))


@model.command("promote", short_help="Put a version in force by hand.")
@click.argument("version", type=int)
@_strategy_option
@_run_option
@config_option
def promote_model(version: int, strategy: str | None, run_id: str | None, config_path: Path) -> None:
    """Put a version in force by hand, whatever the gate said; runs that are under way are left alone."""
    hooks = _model_plugin(config_path)

    async def work(stored: Stored) -> ModelVersion:
        shelf = await _read(stored, run_id)
        chosen = shelf.one(version, strategy)
        _check_artefact(chosen, hooks)
        newest = stored.run(None)
        row = promote_by_hand(chosen, newest.id, await _all_of(stored, chosen))
        await stored.write(row)
        return row

    row = with_storage(config_path, work)
    click.echo(f"{row.strategy} v{row.version} of run {row.run_id} is promoted; {_NEXT}")


@model.command("rollback", short_help="Take the version in force out of force.")
@_strategy_option
@_run_option
@config_option
def roll_back_model(strategy: str | None, run_id: str | None, config_path: Path) -> None:
    """Take the version in force out of force; the one before it follows, or UNTRAINED."""

    async def work(stored: Stored) -> tuple[ModelVersion, ModelVersion | None]:
        shelf = await _read(stored, run_id)
        rows = await _all_of(stored, shelf.newest(strategy))
        pile = pile_of(rows)
        if not pile:
            raise SltError(f"run {shelf.run.id}: no model is in force (UNTRAINED); there is nothing to roll back")
        await stored.write(roll_back(pile[0]))
        rest = pile_of([roll_back(m) if m.id == pile[0].id else m for m in rows])
        return pile[0], rest[0] if rest else None

    gone, follows = with_storage(config_path, work)
    after = f"v{follows.version} of run {follows.run_id}" if follows is not None else "UNTRAINED"
    click.echo(f"{gone.strategy} v{gone.version} of run {gone.run_id} is rolled back, {after} follows; {_NEXT}")


@model.command("export", short_help="Write a version's artefact to a file.")
@click.argument("version", type=int)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@_strategy_option
@_run_option
@config_option
def export_model(version: int, path: Path, strategy: str | None, run_id: str | None, config_path: Path) -> None:
    """Write a version's artefact to PATH, and what is known of it to PATH.json; existing files are kept."""
    chosen = with_storage(config_path, lambda stored: _read(stored, run_id)).one(version, strategy)
    if not chosen.artefact:
        raise SltError(f"{chosen.strategy} v{chosen.version} has no artefact: {chosen.verdict}")
    told = {
        name: getattr(chosen, name)
        for name in ("id", "strategy", "version", "schema_hash", "fitted_time", "samples", "promoted", "verdict")
    }
    beside = path.with_name(f"{path.name}.json")
    try:
        with path.open("xb") as file:
            file.write(chosen.artefact)
        with beside.open("x", encoding="utf-8") as text:
            text.write(json.dumps({**told, "metrics": chosen.metrics}, indent=2, sort_keys=True))
    except FileExistsError as error:
        raise SltError(f"{error.filename} exists; choose another name or remove it") from error
    except OSError as error:
        raise SltError(f"{error.filename or path} cannot be written: {error.strerror}") from error
    click.echo(f"{path}: {len(chosen.artefact)} bytes; {beside} tells what it is")


@frozen
class _Shelf:
    """The versions of one run."""

    run: Run
    models: list[ModelVersion]

    def one(self, version: int, strategy: str | None) -> ModelVersion:
        return self._only([m for m in self.models if m.version == version], strategy, f"version {version}")

    def newest(self, strategy: str | None) -> ModelVersion:
        last = {m.strategy: m for m in self.models}
        return self._only(list(last.values()), strategy, "a model")

    def _only(self, found: list[ModelVersion], strategy: str | None, what: str) -> ModelVersion:
        found = [m for m in found if strategy in {None, m.strategy}]
        if not found:
            known = ", ".join(f"{m.strategy} v{m.version}" for m in self.models) or "none"
            wanted = what.replace("version", "model version").replace("a model", "model")
            raise SltError(f"run {self.run.id} has no {wanted} (stored: {known})")
        if len(found) > 1:
            raise SltError(f"{what} exists for {', '.join(m.strategy for m in found)}; choose with --strategy")
        return found[0]


async def _read(stored: Stored, run_id: str | None) -> _Shelf:
    run = stored.run(run_id)
    return _Shelf(run, await stored.records(ModelVersion, run))


async def _all_of(stored: Stored, like: ModelVersion) -> list[ModelVersion]:
    """Every row of a strategy and schema, of all runs of one name."""
    found = await stored.storage.slt_read_records(query=Query(ModelVersion))
    name = like.run_id.rpartition("-")[0]
    rows = [m for m in found if isinstance(m, ModelVersion) and m.run_id.rpartition("-")[0] == name]
    return [m for m in rows if (m.strategy, m.schema_hash) == (like.strategy, like.schema_hash)]


def _model_plugin(config_path: Path) -> ModelSpecs:
    plugin = build_plugins(read_whole_config(config_path)).model
    if plugin is None:
        raise SltError("plugins.model: no model plugin is chosen, so nothing could use the version")
    return plugin.hooks


def _check_artefact(version: ModelVersion, hooks: ModelSpecs) -> None:
    name = f"{version.strategy} v{version.version}"
    if not version.artefact:
        raise SltError(f"{name} has no artefact: {version.verdict}")
    load: Callable[..., object] = hooks.slt_load_model
    try:
        load(artefact=version.artefact)
    except Exception as error:
        raise SltError(f"{name} cannot be used: {' '.join(str(error).split())}") from error


def _state(version: ModelVersion) -> str:
    if "demotion" in version.metrics:
        return "demoted"
    if version.metrics.get("rolled_back"):
        return "rolled back"
    if version.metrics.get("by_hand"):
        return "promoted by hand"
    return "promoted" if version.promoted else "refused"


def _time(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
