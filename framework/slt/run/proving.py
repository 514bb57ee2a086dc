"""Proof that a session's decisions follow from its events: its log is played again, and the commands compared."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import frozen

from slt.config import read_config
from slt.errors import SltError
from slt.loader import build_plugins
from slt.run.assembly import engine_setup
from slt.run.dense import Dense
from slt.run.playback import Playback
from slt.run.session_log import load_part, parts_of, read_entries
from slt.trading.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slt.config import Settings
    from slt.loader import Plugins
    from slt.run.playback import Difference

__all__ = ["Proof", "find_session", "prove_session"]


@frozen
class Proof:
    """What came of playing a session again.

    Attributes:
        run_id: The run.
        parts: Parts of the log played.
        events: Events that entered the engine.
        commands: Commands that they gave.
        part: Number of the part with the first difference; 0 = there is none.
        difference: The first difference; None = every command is byte for byte the same.
    """

    run_id: str
    parts: int
    events: int
    commands: int
    part: int = 0
    difference: Difference | None = None


def find_session(path: Path) -> Path:
    """The folder of a run, given itself, its session folder, or anything in it.

    Raises:
        SltError: There is no session log there.
    """
    for folder in (path, *path.parents):
        if (folder / "session").is_dir() and (folder / "config.toml").is_file():
            return folder
    raise SltError(
        f"`{path}` is no session: give the folder of a run on a live feed, such as runs/run-001, which holds a folder "
        "`session`"
    )


def prove_session(path: Path, on_part: Callable[[int, int], None] = lambda _done, _all: None) -> Proof:
    """Play a session again in a fresh engine, features recomputed from the logged bars.

    Args:
        path: See `find_session`.
        on_part: Told of parts done and parts in all.

    Raises:
        SltError: There is no session, or its log is damaged.
    """
    folder = find_session(path)
    settings = read_config(folder / "config.toml", {})
    plugins = build_plugins(settings)
    return asyncio.run(_prove(folder, settings, plugins, on_part))


async def _prove(folder: Path, settings: Settings, plugins: Plugins, on_part: Callable[[int, int], None]) -> Proof:
    log = folder / "session"
    numbers = parts_of(log)
    parts = events = commands = 0
    playback: Playback | None = None
    for done, number in enumerate(numbers, start=1):
        # A part that a crash left without its snapshot goes on where the part before it ended.
        playback = _begin_part(folder.name, log, number, settings, plugins) or playback
        if playback is None:
            continue
        before = playback.events, playback.commands
        await playback.play(read_entries(log, number))
        parts, events, commands = (
            parts + 1,
            events + playback.events - before[0],
            commands + playback.commands - before[1],
        )
        if playback.difference is not None:
            return Proof(folder.name, parts, events, commands, number, playback.difference)
        on_part(done, len(numbers))
    if not parts:
        raise SltError(f"the session log in `{log}` has no snapshot to begin with; it may be of a run that never began")
    return Proof(folder.name, parts, events, commands)


def _begin_part(run_id: str, log: Path, number: int, settings: Settings, plugins: Plugins) -> Playback | None:
    """A fresh engine with the snapshot of a part; None where a crash left it without one."""
    state = load_part(log, number)
    if state is None:
        return None
    market = state["market"]
    dense = Dense(plugins, market.symbols, market.interval_ms)
    dense.start()
    dense.restore(state["dense"])
    engine = Engine(engine_setup(settings, plugins, market, state["rules"], dense, run_id))
    engine.restore(state["engine"])
    for plugin in plugins.strategies:
        dense.use_model(plugin.name, *engine.champion(plugin.name))
    return Playback(engine, dense)
