"""Snapshots of a run: one file, written whole or not at all, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from typing import TYPE_CHECKING, Any

from slt._binding import in_one_line
from slt.errors import SltError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_snapshot", "save_snapshot", "write_snapshot"]

_MAGIC = b"slt-snapshot-1\n"


def save_snapshot(path: Path, state: dict[str, Any]) -> None:
    """Write a snapshot atomically: a crash at any moment leaves the old one or the new one.

    Raises:
        SltError: The folder cannot be written (disk full, permissions).
    """
    write_snapshot(path, pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL))


def write_snapshot(path: Path, body: bytes) -> None:
    """Write a state that is pickled already; otherwise as `save_snapshot`."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SltError(
            f"snapshot `{path}` cannot be written: {error.strerror}; free space and resume the run"
        ) from error


def load_snapshot(path: Path, *, content: bytes | None = None) -> dict[str, Any] | None:
    """Read a snapshot back; None where there is none.

    Snapshots are written by slt itself into the run's folder; do not load one from a stranger, as they are pickles.

    Args:
        path: The file.
        content: What it holds, where that is known already.

    Raises:
        SltError: The file is not a whole snapshot, or one of a version whose classes this one does not have.
    """
    if content is None:
        if not path.exists():
            return None
        content = path.read_bytes()
    head, body = len(_MAGIC), content[len(_MAGIC) + 32 :]
    if content[:head] != _MAGIC or content[head : head + 32] != hashlib.sha256(body).digest():
        raise SltError(f"snapshot `{path}` is damaged; begin a new run with --fresh")
    try:
        state: dict[str, Any] = pickle.loads(body)  # noqa: S301 # our own file, checked by its hash
    except Exception as error:
        raise SltError(
            f"snapshot `{path}` was made by another version of slt or of a plugin ({in_one_line(error)}); begin a new "
            "run with --fresh, or resume it with that version"
        ) from error
    return state
