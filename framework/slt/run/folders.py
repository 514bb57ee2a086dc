"""The folder of a run: its number, its files, and whether an unfinished run can be resumed."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from attrs import frozen

from slt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["RunFolder", "open_folder"]


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
        _write_state(self.path, "finished", _read_state(self.path).get("config", ""))
        self.snapshot.unlink(missing_ok=True)


def open_folder(root: Path, name: str, config: str, stored: Iterable[str], *, is_fresh: bool) -> RunFolder:
    """Find the unfinished run of this configuration, or make the folder of a new one.

    Args:
        root: The folder of all runs.
        name: Name of the run.
        config: The effective configuration, which an unfinished run must have had too.
        stored: Ids of the runs that the storage knows; a new run takes none of them, so that no two runs' records mix.
        is_fresh: Start a new run even where one could be resumed.

    Raises:
        ConfigError: The folder cannot be written.
    """
    digest = hashlib.sha256(config.encode()).hexdigest()
    try:
        root.mkdir(parents=True, exist_ok=True)
        numbers = sorted(int(p.name[len(name) + 1 :]) for p in root.glob(f"{name}-[0-9][0-9][0-9]*") if p.is_dir())
        if numbers and not is_fresh:
            path = root / f"{name}-{numbers[-1]:03d}"
            state = _read_state(path)
            if state.get("status") == "running" and state.get("config") == digest and (path / "snapshot.bin").exists():
                return RunFolder(path.name, path, is_resumed=True)
        used = [*numbers, *(int(i[len(name) + 1 :]) for i in stored if re.fullmatch(rf"{re.escape(name)}-\d+", i))]
        path = root / f"{name}-{max(used, default=0) + 1:03d}"
        path.mkdir()
        (path / "config.toml").write_text(config, encoding="utf-8")
        _write_state(path, "running", digest)
    except OSError as error:
        raise ConfigError(
            f"run.folder: `{root}` cannot be written: {error.strerror}; choose another folder or change its permissions"
        ) from error
    return RunFolder(path.name, path, is_resumed=False)


def _read_state(path: Path) -> dict[str, str]:
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(path: Path, status: str, digest: str) -> None:
    temporary = path / "state.tmp"
    temporary.write_text(json.dumps({"status": status, "config": digest}), encoding="utf-8")
    temporary.replace(path / "state.json")
