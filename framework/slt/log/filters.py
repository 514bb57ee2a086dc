"""What keeps a log readable and safe: repetition counted, secrets replaced. Pure: time and environment come in."""

from __future__ import annotations

import json
import logging
import math
import re
from contextlib import suppress
from enum import Enum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from attrs import define

from slt.log.loggers import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SECRET_NAMES", "RepeatAggregator", "SecretFilter"]

SECRET_NAMES = (
    "BINANCE_API_KEY",
    "BINANCE_API_SECRET",
    "DATABASE_URL",
    "REDIS_URL",
    "DISCORD_WEBHOOK_URL",
    "TELEGRAM_TOKEN",
    "TELEGRAM_CHAT_ID",
)
"""Environment variables whose values never reach a log."""

_SHORTEST_SECRET = 4
_SECRET_OPTION = re.compile("pass|pwd|secret|token|key|auth|sig", re.IGNORECASE)


class SecretFilter:
    """Replaces the values of secret environment variables by ``[NAME]`` wherever they appear.

    A value is replaced as it is, percent-encoded and decoded, and as Python and JSON write it; of a URL also its
    password alone and what its query calls a password, token or key, of a web address the last part of its path. What
    is below 4 characters is left alone: replacing it would mangle the text, not hide it.

    Args:
        environment: Variables and their values, ``os.environ`` as a rule.
        names: Which of them are secret.
    """

    def __init__(self, environment: Mapping[str, str], names: Iterable[str] = SECRET_NAMES) -> None:
        found = {form: f"[{name}]" for name in names for form in _forms(environment.get(name, "").strip())}
        self._replacements = sorted(found.items(), key=lambda pair: -len(pair[0]))

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for value, name in self._replacements:
            text = text.replace(value, name)
        return text

    def clean(self, value: Any) -> Any:
        """`value` as JSON types without secrets; what JSON does not know becomes its `repr`, NaN and infinity None."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.clean(item) for item in value]
        plain = _plain(value)
        return self.text(plain) if isinstance(plain, str) else plain


def _plain(value: Any) -> str | float | bool | None:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return repr(value)


@define
class _Repeat:
    shown_at: float
    last: dict[str, Any]
    count: int = 0


class RepeatAggregator:
    """Shows a warning or an error in full when it first comes, then counts it and tells the count once a window.

    Two lines are the same when category, level and event are (or what the caller gives in its place). Lines below
    warning, critical ones and lines with ``safety`` are always shown. A window that nothing follows is told by the next
    line of any kind, or by `flush`.

    Args:
        window_seconds: Distance between two tellings; 0 shows everything.
        limit: Different lines remembered; beyond it the oldest are forgotten, after their count was told.
    """

    def __init__(self, window_seconds: float, limit: int = 1000) -> None:
        self._window = window_seconds
        self._limit = limit
        self._repeats: dict[tuple[str, str, str], _Repeat] = {}

    def admit(self, line: dict[str, Any], now: float, *, phrase: str | None = None) -> list[dict[str, Any]]:
        """Take a line and give the lines to show, in order.

        Args:
            line: With ``category``, ``level`` and ``event``.
            now: Seconds of any clock that never goes back.
            phrase: What makes two lines the same instead of ``event``: a message before its arguments went in.
        """
        shown = self.due(now)
        is_counted = logging.WARNING <= LEVELS.get(line["level"], 0) < logging.CRITICAL and not line.get("safety")
        if self._window <= 0 or not is_counted:
            return [*shown, line]
        key = (line["category"], line["level"], phrase or line["event"])
        repeat = self._repeats.get(key)
        if repeat is not None:
            repeat.count += 1
            repeat.last = line
            return shown
        while len(self._repeats) >= self._limit:
            shown += self._tell(self._repeats.pop(next(iter(self._repeats))))
        self._repeats[key] = _Repeat(now, line)
        return [*shown, line]

    def flush(self) -> list[dict[str, Any]]:
        """Tell what has been counted so far and forget everything; for the end of the run."""
        shown = [told for repeat in self._repeats.values() for told in self._tell(repeat)]
        self._repeats.clear()
        return shown

    def due(self, now: float) -> list[dict[str, Any]]:
        """Tell the counts whose window is over."""
        shown: list[dict[str, Any]] = []
        while self._repeats:
            key = next(iter(self._repeats))
            repeat = self._repeats[key]
            if now - repeat.shown_at < self._window:
                break
            del self._repeats[key]
            if repeat.count:
                shown += self._tell(repeat)
                self._repeats[key] = _Repeat(now, repeat.last)
        return shown

    @staticmethod
    def _tell(repeat: _Repeat) -> list[dict[str, Any]]:
        if not repeat.count:
            return []
        return [{**{k: v for k, v in repeat.last.items() if k != "exception"}, "repeated": repeat.count}]


def _forms(secret: str) -> set[str]:
    parts = {secret, *(_parts_of_url(secret) if "://" in secret else ())}
    plain = {form for part in parts for form in (part, quote(part, safe=""), unquote(part))}
    forms = plain | {form for text in plain for form in (repr(text)[1:-1], json.dumps(text)[1:-1])}
    return {form for form in forms if len(form) >= _SHORTEST_SECRET}


def _parts_of_url(address: str) -> set[str]:
    """What is secret in an address on its own."""
    parts: set[str] = set()
    with suppress(ValueError):
        url = urlsplit(address)
        parts |= {value for name, value in parse_qsl(url.query) if _SECRET_OPTION.search(name)}
        parts.add(url.password or "")
        if url.scheme.startswith("http"):
            parts.add(url.path.rstrip("/").rpartition("/")[2])
    return parts
