"""From a record of the standard library to a line of text."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slt.log.loggers import CATEGORIES, FIELDS, ROOT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["category_of", "console_renderer", "json_renderer", "line_of"]

_FOR_MACHINES = ("notice", "safety")
_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160)), " ")
"""What moves a terminal's cursor or colours its text: a line of a stranger's words stays one line, and plain."""
_RESERVED = frozenset({"event", "level", "category", "timestamp", "exception", "repeated"})


def category_of(record: logging.LogRecord) -> str:
    """The category of a line: the logger's, or ``other`` for plugins and libraries."""
    parent, _, name = record.name.partition(".")
    return name if parent == ROOT and name in CATEGORIES else "other"


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record as a flat mapping; a field named like one of the line's own parts gets a trailing underscore."""
    category = category_of(record)
    line = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": record.levelname.lower(),
        "category": category,
        "event": record.getMessage(),
    }
    if category == "other":
        line["logger"] = record.name
    for key, value in getattr(record, FIELDS, {}).items():
        line[f"{key}_" if key in _RESERVED else key] = value
    if record.exc_info and record.exc_info[0] is not None:
        line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return line


def json_renderer() -> Callable[[dict[str, Any]], str]:
    """Lines as JSON, by orjson where it is installed."""
    try:
        import orjson  # noqa: PLC0415 - optional, and only where JSON is written
    except ImportError:
        return lambda line: json.dumps(line, ensure_ascii=False, separators=(",", ":"))

    def render(line: dict[str, Any]) -> str:
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # an integer beyond 64 bits, a lone surrogate
            return json.dumps(line)

    return render


def console_renderer(*, colors: bool) -> Callable[[dict[str, Any]], str]:
    """Lines for people, by structlog; a ``time`` in ms UTC is written out."""
    from structlog import dev  # noqa: PLC0415 - 0.1 s that a command without logs need not spend

    # The plain formatter: the richer ones print local variables, and those may hold a secret.
    renderer = dev.ConsoleRenderer(
        colors=colors, exception_formatter=dev.plain_traceback, pad_event_to=0, pad_level=False, sort_keys=False
    )

    def render(line: dict[str, Any]) -> str:
        shown = {key: _plain(key, value) for key, value in line.items() if key not in _FOR_MACHINES}
        shown["logger"] = line.get("logger", line["category"])
        shown["timestamp"] = line["timestamp"][:-5] + "Z"  # whole seconds; the file has the rest
        del shown["category"]
        when = shown.get("time")
        if isinstance(when, int) and not isinstance(when, bool):
            shown["time"] = _written_out(when)
        return str(renderer(None, "", shown))

    return render


def _plain(key: str, value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    if key == "exception":
        return "\n".join(part.translate(_CONTROLS) for part in value.split("\n"))
    return value.translate(_CONTROLS)


def _written_out(time: int) -> str:
    try:
        return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(time)
