"""Starting, stopping and staying alive: ordered stop, crash guard, watchdog and health.

Everything here takes its time from outside or from a monotonic clock given to it, knows no plugin, and writes its lines
to the standard logger ``slt.lifecycle``, which `slt.log` shows as the category ``lifecycle``.
"""

from __future__ import annotations

from slt.lifecycle.crash_guard import CrashGuard
from slt.lifecycle.health import Health, HealthPart, HealthReport
from slt.lifecycle.loops import LateLoop, LoopMark, Loops
from slt.lifecycle.manager import LifecycleManager, StopReport
from slt.lifecycle.watchdog import WATCHDOG_EXIT_CODE, Watchdog

__all__ = [
    "WATCHDOG_EXIT_CODE",
    "CrashGuard",
    "Health",
    "HealthPart",
    "HealthReport",
    "LateLoop",
    "LifecycleManager",
    "LoopMark",
    "Loops",
    "StopReport",
    "Watchdog",
]
