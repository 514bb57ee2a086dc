"""Why a run that is under way enters nothing just now, out of its ``health.json``."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt.config import Settings

__all__ = ["newest_under_way", "waiting_lines"]

_FRESH_SECONDS = 30.0


def waiting_lines(settings: Settings, run_id: str, symbol: str) -> list[str]:
    """What holds entries up, for the whole run and for one symbol, one line each.

    Args:
        settings: The configuration.
        run_id: The run.
        symbol: Exchange name.

    Returns:
        Nothing where nothing is held up, or where the run is not under way on this machine.
    """
    vitals = _vitals(Path(settings.run.folder) / run_id / "health.json")
    waits = vitals.get("waits", {})
    lines = [f"now no entries by {source}: {reason}" for source, reason in waits.items()]
    reason = vitals.get("features", {}).get("waiting", {}).get(symbol)
    if reason is not None and "features" not in waits:
        lines.append(f"now no entries in {symbol}: {reason}")
    return lines


def newest_under_way(settings: Settings) -> str | None:
    """The newest run of this name that is under way on this machine; None where there is none."""
    folder = Path(settings.run.folder)
    found = [file.parent.name for file in folder.glob(f"{settings.run.name}-*/health.json") if _vitals(file)]
    return max(found, key=lambda run_id: (len(run_id), run_id), default=None)


def _vitals(file: Path) -> dict[str, Any]:
    """The health of a run that is under way; nothing of one that is not, or that another version wrote."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        age = time.time() - datetime.fromisoformat(found["written"]).timestamp()
        is_current = found["state"] == "running" and age <= _FRESH_SECONDS
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if is_current and isinstance(found, dict) else {}
