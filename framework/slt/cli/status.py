"""``slt status``: how a paper or live run stands, while it goes on and after it has stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from slt.cli.config import config_option
from slt.config import nearest
from slt.errors import SltError
from slt.loader import build_plugins, read_whole_config
from slt.report.standing import ModelInForce, Standing, read_standing
from slt.report.status import StatusView, render_status, status_lines
from slt.run.starting import starting_file
from slt.storage.reader import Reader, make_reader
from slt.types import Trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from slt.config import Settings

__all__ = ["status"]

_REFRESH_SECONDS = 2.0
_OPEN_SECONDS = 30.0
_READ_SECONDS = 5.0
_SILENT_SECONDS = 30.0
_WORD_SECONDS = 15.0
"""Age up to which a run is believed that nothing has been written since; it renews its word every five seconds."""
_RUNS_SHOWN = 10


@click.command()
@click.argument("run_id", metavar="RUN", required=False)
@click.option("--once", is_flag=True, help="Print it once; in a pipe it always is.")
@config_option
def status(run_id: str | None, config_path: Path, *, once: bool) -> None:
    """Show how RUN (default: the newest) stands: score, positions, trades, today's PnL, models, what waits.

    On a terminal the picture is drawn anew every two seconds until Ctrl-C.
    """
    settings = read_whole_config(config_path)
    source = _Source(settings, run_id, _command(config_path))
    source.find()
    is_terminal = sys.stdout.isatty()
    is_live = is_terminal and not once
    try:
        asyncio.run(_show(source, settings, is_live=is_live, is_terminal=is_terminal))
    except KeyboardInterrupt:
        if not is_live:
            raise


async def _show(source: _Source, settings: Settings, *, is_live: bool, is_terminal: bool) -> None:
    async with _asker(settings) as asker:
        view = await _look(source, asker)
        if not is_terminal:
            for line in status_lines(view):
                click.echo(line)
            return
        from rich.console import Console  # noqa: PLC0415 - rich is imported only when something is drawn
        from rich.live import Live  # noqa: PLC0415 - as above

        if not is_live:
            Console().print(render_status(view))
            return
        stopping = _interrupted()
        console = Console()
        picture = render_status(view, height=console.height)
        with Live(picture, console=console, auto_refresh=False, screen=True) as live:
            while not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _REFRESH_SECONDS)
                    continue
                view = await _look(source, asker)
                live.update(render_status(view, height=console.height), refresh=True)


def _interrupted() -> asyncio.Event:
    """Set by Ctrl-C: unlike an exception, which may strike anywhere, it is seen between two pictures."""
    stopping = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # where loops know no signals, Ctrl-C is an exception after all
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    return stopping


@frozen
class _Source:
    """Where a run's own word is.

    Attributes:
        settings: The configuration.
        run_id: The run; None = the newest, or one that is starting.
        command: What resumes the run.
    """

    settings: Settings
    run_id: str | None
    command: str

    def find(self) -> tuple[dict[str, Any], str]:
        """The run's vitals, and what has become of its process.

        Raises:
            SltError: There is no such run.
        """
        begun = _starting(self.settings) if self.run_id is None else None
        if begun is None:
            vitals = _read(_find(self.settings, self.run_id))
            return vitals, _liveness(vitals, self.command)
        word = f"process {begun['pid']} is starting: {'; '.join(begun['waits'].values())}"
        if "instance" not in begun["waits"]:
            return begun, word
        try:
            vitals = _read(_find(self.settings, None))
        except SltError:
            return begun, word
        return vitals, f"{_liveness(vitals, self.command)}; {word}"


@frozen
class _Asker:
    """Asks the storage; where it cannot be asked, says why."""

    reader: Reader | None
    trouble: str = ""

    async def standing(self, vitals: dict[str, Any], event_time: int) -> tuple[Standing | None, str]:
        """Figures out of the storage and where they come from; None where it has none."""
        if self.reader is None:
            return None, self.trouble
        run_id = str(vitals["run"])
        if vitals["state"] == "running" and _age_seconds(vitals) < _WORD_SECONDS:
            self.reader.follow(run_id, vitals.get("writes") or {})
        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = await read_standing(self.reader, run_id, event_time)
        except (SltError, OSError, TimeoutError) as error:
            return None, f"the storage does not answer ({type(error).__name__})"
        return (found, "out of the storage") if found.last_trades or found.models else (None, "")


@asynccontextmanager
async def _asker(settings: Settings) -> AsyncIterator[_Asker]:
    """Open storage and cache, as far as they are there."""
    plugins = build_plugins(settings)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                stack.push_async_callback(plugins.storage.hooks.slt_close_storage)
                await plugins.storage.hooks.slt_open_storage()
                if plugins.cache is not None:
                    await plugins.cache.hooks.slt_open_cache()
        except (SltError, OSError, TimeoutError) as error:
            yield _Asker(None, f"the storage cannot be opened ({' '.join(str(error).split()) or type(error).__name__})")
            return
        reader = make_reader(settings, plugins, is_writer=False)
        stack.push_async_callback(reader.close)
        yield _Asker(reader)


async def _look(where: _Source, asker: _Asker) -> StatusView:
    vitals, liveness = await asyncio.to_thread(where.find)
    own = _standing_of(vitals)
    found, source = await asker.standing(vitals, vitals["event_time"] or own.time)
    if found is None:
        source = f"the run's own, written {_moment(vitals)} UTC" + (f"; {source}" if source else "")
    return StatusView(vitals, found or own, liveness, source)


def _starting(settings: Settings) -> dict[str, Any] | None:
    """The word of a run that is starting just now; None = none is."""
    try:
        begun = _read(starting_file(Path(settings.run.folder), settings.run.name))
        is_there = _age_seconds(begun) <= _SILENT_SECONDS and _is_there(int(begun["pid"]))
    except (SltError, ValueError, TypeError):
        return None
    return begun if is_there else None


def _find(settings: Settings, run_id: str | None) -> Path:
    """The health file of a run, or of the newest that has one.

    Raises:
        SltError: There is none.
    """
    root, name = Path(settings.run.folder), settings.run.name
    found = {path.parent.name: path for path in root.glob("*/health.json")}
    if run_id is not None:
        if run_id in found:
            return found[run_id]
        if (root / run_id).is_dir():
            raise SltError(f"run `{run_id}` keeps no health: it is a back-test, see `slt report {run_id}`")
        ids = sorted(found)
        raise SltError(
            f"no run `{run_id}` in `{root}`{nearest(run_id, ids)} (runs: {', '.join(ids[-_RUNS_SHOWN:]) or 'none'})"
        )
    own = [i for i in found if re.fullmatch(rf"{re.escape(name)}-\d{{3,}}", i)]
    if not own:
        raise SltError(
            f"no paper or live run of `{name}` in `{root}`; `slt run` begins one, `slt report` shows back-tests"
        )
    return found[max(own, key=lambda i: int(i.rpartition("-")[2]))]


def _read(file: Path) -> dict[str, Any]:
    """The health file's content.

    Raises:
        SltError: It cannot be read, or another version wrote it.
    """
    try:
        vitals = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SltError(f"`{file}` cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SltError(f"`{file}` is damaged; a run that goes on writes it anew within seconds") from error
    if not isinstance(vitals, dict) or not vitals.keys() >= _NEEDED:
        raise SltError(f"`{file}` was written by another version of slt; look again when the run has been started anew")
    return vitals


_NEEDED = {
    "run", "mode", "state", "pid", "written", "score", "status", "parts", "waits", "event_time", "equity", "open_risk",
    "positions", "standing", "channels",
}  # fmt: skip


def _standing_of(vitals: dict[str, Any]) -> Standing:
    """The run's own figures; those that another version wrote otherwise count as none."""
    values = dict(vitals["standing"])
    try:
        trades = tuple(
            Trade(**{**trade, "partial_exits": tuple(trade["partial_exits"])}) for trade in values["last_trades"]
        )
        models = tuple(ModelInForce(**model) for model in values["models"])
        return Standing(**{**values, "last_trades": trades, "models": models})
    except (TypeError, KeyError):
        return Standing(vitals["event_time"] or 0)


def _command(config_path: Path) -> str:
    """What resumes the run of a configuration."""
    default = next(option.default for option in status.params if option.name == "config_path")
    return "`slt run`" if config_path == default else f"`slt run --config {shlex.quote(str(config_path))}`"


def _liveness(vitals: dict[str, Any], command: str) -> str:
    """What has become of the process."""
    age = _age_seconds(vitals)
    when = _moment(vitals)
    if vitals["state"] != "running":
        ending = f"; {command} resumes it" if vitals["state"] == "stopped" else ""
        return f"{vitals['state']} at {when} UTC{ending}"
    if age <= _SILENT_SECONDS:
        return f"running (process {vitals['pid']})"
    fate = "is gone" if not _is_there(int(vitals["pid"])) else "gives no sign of life"
    return f"process {vitals['pid']} {fate} since {when} UTC; {command} resumes the run"


def _moment(vitals: dict[str, Any]) -> str:
    """When the file was written."""
    return datetime.fromisoformat(vitals["written"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _age_seconds(vitals: dict[str, Any]) -> float:
    """How far the file's time is from now; one in the future was written before the clock was set back."""
    return abs(time.time() - datetime.fromisoformat(vitals["written"]).timestamp())


def _is_there(pid: int) -> bool:
    """Whether a process of this number exists on this machine; where that cannot be asked harmlessly, yes."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
