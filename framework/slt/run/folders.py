"""The folder of a run: its number, its files, and whether an unfinished run can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import tomllib
from typing import IO, TYPE_CHECKING, Any

from attrs import field, frozen

from slt.errors import ConfigError
from slt.log import get_logger

try:
    import fcntl
except ImportError:  # Windows: two processes are then not kept apart
    fcntl = None  # type: ignore[assignment] # tested before use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["RunFolder", "UnderWayError", "check_root", "held", "open_folder", "remember_symbols", "symbols_before"]

_CHANGES_SHOWN = 4
_SYMBOLS = "symbols.json"
_log = get_logger("lifecycle")


class UnderWayError(ConfigError):
    """The run is under way in another process.

    Attributes:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"run `{path.name}` of this configuration is under way in another process; wait for its end, or begin "
            "another with --fresh"
        )
        self.path = path


@frozen
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        run_id: ``<name>-<number>``.
        path: The folder.
        is_resumed: An unfinished run of the same configuration was found and goes on.
    """

    run_id: str
    path: Path
    is_resumed: bool
    _lock: IO[str] = field(repr=False, eq=False, alias="lock")

    @property
    def snapshot(self) -> Path:
        """The latest snapshot."""
        return self.path / "snapshot.bin"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def finish(self) -> None:
        """Mark the run as finished: it will not be resumed, and its snapshot is no longer needed."""
        _write_state(self.path, "finished", _read_state(self.path).get("identity", ""))
        self.snapshot.unlink(missing_ok=True)

    def release(self) -> None:
        """Let other processes have the folder; the end of this process does the same."""
        self._lock.close()


def check_root(root: Path) -> None:
    """Make the folder of all runs, and make sure that it can be written.

    Raises:
        ConfigError: It cannot.
    """
    with _explained(root):
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)


def symbols_before(root: Path, name: str, identity: str) -> tuple[str, ...]:
    """The symbols of the run on a live feed that would go on; empty where there is none.

    What an exchange lists changes; a run keeps the symbols that it began with, positions among them.

    Args:
        root: The folder of all runs.
        name: Name of the run.
        identity: As for `open_folder`.
    """
    numbers = sorted(_numbers(name, (p.name for p in root.glob(f"{name}-*") if p.is_dir())))
    path = root / f"{name}-{numbers[-1]:03d}" if numbers else root
    state = _read_state(path)
    if state.get("status") != "running" or state.get("identity") != identity:
        return ()
    try:
        found = json.loads((path / _SYMBOLS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(str(symbol) for symbol in found) if isinstance(found, list) else ()


def remember_symbols(path: Path, symbols: tuple[str, ...]) -> None:
    """Keep the symbols of a run on a live feed in its folder, for `symbols_before`."""
    temporary = path / f"{_SYMBOLS}.tmp"
    temporary.write_text(json.dumps(symbols), encoding="utf-8")
    temporary.replace(path / _SYMBOLS)


def open_folder(
    root: Path, name: str, config: str, identity: str, stored: Iterable[str] | None, *, is_fresh: bool
) -> RunFolder:
    """Find the unfinished run of this configuration, or make the folder of a new one; keep other processes out of it.

    A folder whose run never came to its first snapshot is used again, so that failed starts take no numbers.

    Args:
        root: The folder of all runs.
        name: Name of the run.
        config: The effective configuration, kept in the folder.
        identity: What of it decides the results; an unfinished run goes on only where this is the same.
        stored: Ids of the runs that the storage knows; a new run takes none of them, so that no two runs' records mix.
            None = unknown, the storage is away: then the number comes from the clock, as no run's does otherwise.
        is_fresh: Start a new run even where one could be resumed.

    Raises:
        ConfigError: The folder cannot be written.
        UnderWayError: The run is under way in another process.
    """
    with _explained(root):
        root.mkdir(parents=True, exist_ok=True)
        numbers = sorted(_numbers(name, (p.name for p in root.glob(f"{name}-*") if p.is_dir())))
        if numbers:
            found = _unfinished(root / f"{name}-{numbers[-1]:03d}", identity, is_fresh=is_fresh)
            if found is not None:
                return found if found.is_resumed else _begun(found, config, identity)
        number = (
            max([*numbers, *(_numbers(name, stored) if stored is not None else (int(time.time()),))], default=0) + 1
        )
        while True:
            path = root / f"{name}-{number:03d}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                lock = _lock(path)
                if lock is not None:
                    return _begun(RunFolder(path.name, path, is_resumed=False, lock=lock), config, identity)
            number += 1


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Keep other processes out of a run's folder meanwhile; gives False where one of them has it."""
    lock = _lock(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.close()


def _numbers(name: str, ids: Iterable[str]) -> Iterator[int]:
    return (int(i[len(name) + 1 :]) for i in ids if re.fullmatch(rf"{re.escape(name)}-\d{{3,}}", i))


def _unfinished(path: Path, identity: str, *, is_fresh: bool) -> RunFolder | None:
    """The folder as that of a run to go on with or, where nothing has happened in it, to begin; None = neither."""
    state = _read_state(path)
    if not state and (path / "snapshot.bin").exists():
        detail = f"`{path / 'state.json'}` cannot be read, so it is not known whether this run may go on"
        _log.error("an unfinished run is left as it is, and a new one begins", run=path.name, cause=detail, safety=True)
    if state.get("status") != "running":
        return None
    is_same, has_begun = state.get("identity") == identity, (path / "snapshot.bin").exists()
    if has_begun and is_fresh:
        return None
    lock = _lock(path)
    if has_begun and not is_same:
        if lock is not None:
            lock.close()
            changes = _changes(state.get("identity", ""), identity)
            _log.warning("an unfinished run is left as it is: it had other options", run=path.name, changed=changes)
        return None
    if lock is not None:
        return RunFolder(path.name, path, is_resumed=has_begun, lock=lock)
    if is_same and not is_fresh:
        raise UnderWayError(path)
    return None


def _begun(folder: RunFolder, config: str, identity: str) -> RunFolder:
    (folder.path / "config.toml").write_text(config, encoding="utf-8")
    _write_state(folder.path, "running", identity)
    return folder


def _lock(path: Path) -> IO[str] | None:
    """A hold on the folder that ends with the process; None = another process has it."""
    file = (path / "lock").open("a", encoding="utf-8")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:  # a file system that knows no locks
        _log.warning("the run's folder cannot be locked; do not start the same run twice", cause=error.strerror)
    return file


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"run.folder: `{root}` cannot be written: {error.strerror}; choose another folder, free space or change "
            "its permissions"
        ) from error


def _changes(before: str, after: str) -> str:
    """The options that differ between two configurations, a few of them by name."""
    one, other = _flat(before), _flat(after)
    changed = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    more = len(changed) - _CHANGES_SHOWN
    return ", ".join(changed[:_CHANGES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _flat(text: str) -> dict[str, Any]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    flat: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = list(tables.items())
    for path, value in waiting:
        if isinstance(value, dict):
            waiting.extend((f"{path}.{key}", inner) for key, inner in value.items())
        else:
            flat[path] = value
    return flat


def _read_state(path: Path) -> dict[str, str]:
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(path: Path, status: str, identity: str) -> None:
    temporary = path / "state.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump({"status": status, "identity": identity}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / "state.json")
