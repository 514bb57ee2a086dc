"""``slt replay``: the same events give the same commands."""

from __future__ import annotations

from pathlib import Path

import click

from slt.errors import SltError

__all__ = ["replay"]


@click.command()
@click.argument("session", type=click.Path(path_type=Path))
def replay(session: Path) -> None:
    """Play SESSION, the folder of a run on a live feed, again, and tell whether its commands come out byte-equal.

    Every event that entered the engine is given to a fresh one, features recomputed from the logged bars. Exit code 0:
    every command is the same; 1: the first difference is printed, or the log is damaged.
    """
    from slt.run.proving import prove_session  # noqa: PLC0415 # the engine, only for this command

    proof = prove_session(session)
    what = f"session {proof.run_id}: {proof.events} events in {proof.parts} parts, {proof.commands} commands"
    if proof.difference is None:
        click.echo(f"{what}: byte-equal")
        return
    found = proof.difference
    click.echo(f"{what} up to the first difference, in part {proof.part} at entry {found.entry}:")
    click.echo(f"  event:    {found.event}")
    click.echo(f"  recorded: {found.recorded or '(no command)'}")
    click.echo(f"  replayed: {found.replayed or '(no command)'}")
    raise SltError(
        f"session {proof.run_id} does not repeat: another version of slt or of a plugin than recorded it, or a plugin "
        "that decides by something else than its events"
    )
