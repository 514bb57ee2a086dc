"""``slt train``: models from a recorded history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import evolve

from slt.cli.config import config_option
from slt.cli.run import carry_out, show_outcome
from slt.errors import ConfigError
from slt.loader import read_whole_config

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["train"]


@click.command()
@config_option
@click.option("--fresh", is_flag=True, help="Start anew even where an unfinished run could be resumed.")
def train(config_path: Path, *, fresh: bool) -> None:
    """Fit models on a recorded history, as a run over it would have, and keep every version.

    The history is replayed as a back-test, whatever mode the configuration names: its trades and shadows are the
    samples, the fits come at the same points, and each is judged on later trades by the same gate. Nothing is sent by
    notifiers. Runs of the same name with `learning.start_model = "latest"`, on data that begins later, begin with what
    is in force at the end.
    """
    settings = read_whole_config(config_path)
    problems = []
    if settings.plugins.model is None:
        problems.append("plugins.model: no model plugin is chosen, so nothing can be trained; name one")
    if settings.locks.disable_model_training:
        problems.append("locks.disable_model_training: fits are switched off; switch them on to train")
    if problems:
        raise ConfigError(*problems)
    run = evolve(settings.run, mode="backtest", speed=0.0)
    plugins = evolve(settings.plugins, notifiers=())
    options = {place: table for place, table in settings.options.items() if place[0] != "notifiers"}
    show_outcome(carry_out(evolve(settings, run=run, plugins=plugins, options=options), fresh=fresh))
