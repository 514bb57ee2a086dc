"""A run on a live feed, brought back: the last whole snapshot, and the events of the log behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from slt._binding import in_one_line
from slt.errors import SltError
from slt.events import Notify, Store
from slt.log import get_logger
from slt.run.playback import Playback
from slt.run.session_log import load_part, parts_of, read_entries
from slt.run.warming import bars_to_store

if TYPE_CHECKING:
    from pathlib import Path

    from slt.events import Command
    from slt.run.assembly import Assembly
    from slt.run.live_session import LiveSession
    from slt.types import Bars

__all__ = ["restore", "take_state"]

_log = get_logger("lifecycle")


def take_state(assembly: Assembly, session: LiveSession, progress: dict[str, Any]) -> dict[str, Any]:
    """Everything that a part of the session log begins with.

    Args:
        assembly: The run's parts.
        session: Engine, dense part, results.
        progress: What the driver itself remembers.
    """
    return {
        "progress": progress,
        "market": evolve(assembly.market, symbols=session.dense.symbols),
        "rules": assembly.rules,
        "engine": session.engine.snapshot(),
        "dense": session.dense.snapshot(),
        "broker": assembly.plugins.broker.hooks.slt_snapshot_broker(),
        "results": session.results,
        "notices": session.waiting_notices(),
    }


async def restore(assembly: Assembly, session: LiveSession, folder: Path, *, is_simulated: bool) -> dict[str, Any]:
    """Take the last whole snapshot back and play the events behind it; nothing is sent, records are put down again.

    Args:
        assembly: The run's parts.
        session: Engine and dense part, fresh.
        folder: Of the session log.
        is_simulated: The broker is a simulated one: it is brought to the same event.

    Returns:
        What the driver remembered, brought up to the last event.

    Raises:
        SltError: The log is damaged, or of another version of slt or of a plugin.
    """
    numbers = parts_of(folder)
    first = next((number for number in reversed(numbers) if _has_snapshot(folder, number)), None)
    if first is None:
        raise SltError(f"the session log in `{folder}` has no snapshot; begin a new run with --fresh")
    state = load_part(folder, first)
    assert state is not None  # noqa: S101 # it exists
    try:
        _take_back(assembly, session, state)
        played = await _play(assembly, session, folder, [n for n in numbers if n >= first], is_simulated=is_simulated)
    except SltError:
        raise
    except Exception as error:
        raise SltError(
            f"the session log of run {assembly.folder.run_id} does not fit this version of slt or of a plugin "
            f"({in_one_line(error)}); begin a new run with --fresh, or resume it with the version that made it"
        ) from error
    if played.difference is not None:
        _log.error("the session log gave other commands than before", cause=played.difference.event, safety=True)
    session.start_pending_fits()
    progress: dict[str, Any] = state["progress"]
    progress["time"] = max(progress["time"], played.time)
    progress["rows"] += played.rows
    progress["bars_until"] = max(progress["bars_until"], played.bars_until)
    _log.info("session restored", part=first, events=played.events)
    return progress


def _has_snapshot(folder: Path, number: int) -> bool:
    return any((folder / f"{number:06d}.snapshot{suffix}").exists() for suffix in ("", ".zst"))


def _take_back(assembly: Assembly, session: LiveSession, state: dict[str, Any]) -> None:
    session.engine.restore(state["engine"])
    session.dense.restore(state["dense"])
    assembly.plugins.broker.hooks.slt_restore_broker(state=state["broker"])
    session.results = state["results"]
    for plugin in assembly.plugins.strategies:
        session.dense.use_model(plugin.name, *session.engine.champion(plugin.name))
    session.tell(state["notices"])


async def _play(
    assembly: Assembly, session: LiveSession, folder: Path, numbers: list[int], *, is_simulated: bool
) -> Playback:
    def carry_out(commands: list[Command]) -> None:
        records = [command.record for command in commands if isinstance(command, Store)]
        for record in records:
            session.note(record)
        assembly.writer.put(records)
        session.tell(command.notice for command in commands if isinstance(command, Notify))

    def take_bars(bars: Bars) -> None:
        if assembly.settings.run.store_bars:
            assembly.writer.put(bars_to_store(bars))

    playback = Playback(
        session.engine,
        session.dense,
        broker=assembly.plugins.broker.hooks if is_simulated else None,
        on_bars=take_bars,
        on_commands=carry_out,
    )
    for number in numbers:
        await playback.play(read_entries(folder, number))
    return playback
