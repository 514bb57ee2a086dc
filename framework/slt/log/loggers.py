"""Loggers by category, and the options of the log. Needs nothing beyond the standard library and attrs."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, ge, in_, le

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CATEGORIES", "FIELDS", "LEVELS", "ROOT", "LogConfig", "Logger", "get_logger"]

CATEGORIES = ("learning", "profit", "execution", "lifecycle", "error")
"""What lines are about: the model, the money, orders and positions, starting and stopping, and what went wrong."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""Level names, as the standard library numbers them."""

_level = in_(tuple(LEVELS))
ROOT = "slt"
"""Parent of every category's standard logger: ``slt.<category>``."""

FIELDS = "slt_fields"
"""Attribute of a log record that carries the line's fields."""


@frozen(kw_only=True)
class LogConfig:
    """What the log shows; the file takes more than the screen.

    Attributes:
        learning: Least level shown of the model's fits, verdicts and swaps.
        profit: Least level shown of trades, PnL and equity.
        execution: Least level shown of orders, fills and exits.
        lifecycle: Least level shown of starting, stopping, connections and health.
        error: Least level shown of what went wrong elsewhere.
        other: Least level shown of plugins and libraries.
        file_level: Least level written to the file.
        file_mb: Size at which the file is rotated, MiB.
        file_count: Rotated files kept beside the current one.
        repeat_seconds: A warning or error that repeats is shown once, then counted at this distance; 0: always shown.
        format: auto (lines for people on a terminal, JSON elsewhere), console or json.
    """

    learning: str = field(default="info", validator=_level)
    profit: str = field(default="info", validator=_level)
    execution: str = field(default="info", validator=_level)
    lifecycle: str = field(default="info", validator=_level)
    error: str = field(default="warning", validator=_level)
    other: str = field(default="warning", validator=_level)
    file_level: str = field(default="debug", validator=_level)
    file_mb: int = field(default=10, validator=and_(ge(1), le(10_000)))
    file_count: int = field(default=5, validator=and_(ge(1), le(1000)))
    repeat_seconds: float = field(default=60.0, validator=and_(ge(0.0), le(86_400.0)))
    format: str = field(default="auto", validator=in_(("auto", "console", "json")))


class Logger:
    """Writes lines of one category. Cheap to make and to hold at module level.

    Args:
        category: One of `CATEGORIES`.
        bound: Fields that every line carries.
    """

    __slots__ = ("_bound", "_logger", "category")

    def __init__(self, category: str, bound: Mapping[str, Any] | None = None) -> None:
        self.category = category
        self._bound = dict(bound or {})
        self._logger = logging.getLogger(f"{ROOT}.{category}")

    def bind(self, /, **fields: Any) -> Logger:
        """A logger that adds `fields` to every line."""
        return Logger(self.category, {**self._bound, **fields})

    def debug(self, event: str, /, **fields: Any) -> None:
        """Write a line for whoever looks for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Write a line that a person may want to see."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write a line that a person should see; slt goes on as before."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write a line about something that did not work. ``exc_info=True`` or an exception adds the traceback."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """`error` with the traceback of the exception being handled."""
        self._write(logging.ERROR, event, {"exc_info": True, **fields})

    def critical(self, event: str, /, **fields: Any) -> None:
        """Write a line about something that ends the run or endangers money."""
        self._write(logging.CRITICAL, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        merged = {**self._bound, **fields}
        if not merged.get("safety") and not self._logger.isEnabledFor(level):
            return
        exc_info = _exc_info(merged.pop("exc_info", None))
        record = self._logger.makeRecord(self._logger.name, level, "", 0, event, (), exc_info, extra={FIELDS: merged})
        self._logger.handle(record)


def get_logger(category: str) -> Logger:
    """A logger for lines about `category`.

    Raises:
        ValueError: `category` is none of `CATEGORIES`.
    """
    if category not in CATEGORIES:
        raise ValueError(f"log category `{category}` is unknown; allowed: {', '.join(CATEGORIES)}")
    return Logger(category)


def _exc_info(value: object) -> Any:
    if isinstance(value, BaseException):
        return (type(value), value, value.__traceback__)
    if isinstance(value, tuple):
        return value
    return sys.exc_info() if value else None
