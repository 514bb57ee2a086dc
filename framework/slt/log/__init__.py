"""Structured logs: lines for people on a terminal, JSON lines for the cloud, a rotating file of everything.

Kernel modules write ``log = get_logger("execution")`` and ``log.info("order accepted", symbol="BTCUSDT")``: a constant
phrase, and the changing parts as fields. Plugins use the standard library's `logging` as they know it; their lines come
out the same way. structlog is imported when `configure_logging` first needs it, so that holding a logger costs nothing.

What a person sees is filtered three times: by the level of the line's category; by repetition (a warning or an error
is shown in full once, then counted and told once a minute); and by the secrets of the environment, which are replaced
by the name of their variable. A line with ``safety=True``, or of level critical, passes the first two, whatever they
say. The file takes every line. A screen that nobody reads (Ctrl-S, a pipe whose reader hangs) holds nothing up: lines
wait, the oldest are left out and counted where there are too many, safety lines last.

Lines carry the wall-clock time of their writing as ``timestamp``, read here: nothing is decided by it. Event time,
where it matters, is a field of the line (``time``, ms UTC).
"""

from __future__ import annotations

from slt.log.filters import SECRET_NAMES, RepeatAggregator, SecretFilter
from slt.log.loggers import CATEGORIES, LogConfig, Logger, get_logger
from slt.log.sinks import LogSession, configure_logging

__all__ = [
    "CATEGORIES",
    "SECRET_NAMES",
    "LogConfig",
    "LogSession",
    "Logger",
    "RepeatAggregator",
    "SecretFilter",
    "configure_logging",
    "get_logger",
]
