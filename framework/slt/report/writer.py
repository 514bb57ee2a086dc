"""Writing a report so that the old one stays until the new one is whole."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from slt.errors import SltError
from slt.report.page import render_html

if TYPE_CHECKING:
    from slt.report.data import ReportData

__all__ = ["write_report"]


def write_report(path: Path | str, data: ReportData) -> Path:
    """Write the report as one self-contained HTML file; equal data give equal bytes.

    The file appears at once or not at all: it is written beside its place, flushed to disk and renamed over it.

    Args:
        path: Where to; missing folders are made, a file already there is replaced.
        data: What to show.

    Returns:
        The absolute path.

    Raises:
        SltError: The file cannot be written: disk full, no permission, a folder in the way. What was there before
            stays, and nothing else is left behind.
    """
    target = Path(path).absolute()
    content = render_html(data).encode()
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(part, content)
        part.replace(target)
    except OSError as e:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise SltError(_explain(e, target, data.run.id)) from e
    return target


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _explain(error: OSError, target: Path, run_id: str) -> str:
    cause = error.strerror or type(error).__name__
    advice = "choose a place that can be written"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        advice = f"free some space in `{target.parent}` or choose another place"
    return (
        f"cannot write the report `{target}`: {cause}; the run's results are kept in the storage: {advice}, "
        f"then run `slt report {run_id}`"
    )
