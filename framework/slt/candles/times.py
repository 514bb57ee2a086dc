"""Words for spans and moments: ``5m`` and 300000, ``2024-01-01`` and ms UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["interval_name", "parse_interval", "parse_utc", "utc_text"]

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_INTERVAL = re.compile(r"([1-9]\d{0,4})([smhd])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_interval(text: str) -> int:
    """Length of an interval such as ``1m``, ``15m``, ``1h`` or ``1d``, in milliseconds.

    Raises:
        ValueError: The text is no number followed by s, m, h or d.
    """
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not an interval; write a number and s, m, h or d, such as `1m` or `4h`")
    return int(match[1]) * _UNITS_MS[match[2]]


def interval_name(interval_ms: int) -> str:
    """The shortest word for a length in milliseconds: 300000 is ``5m``, 3600000 is ``1h``."""
    for unit in ("d", "h", "m", "s"):
        if interval_ms % _UNITS_MS[unit] == 0:
            return f"{interval_ms // _UNITS_MS[unit]}{unit}"
    return f"{interval_ms}ms"


def parse_utc(text: str) -> int:
    """An ISO date or date-time as ms UTC; without a zone it is read as UTC.

    Raises:
        ValueError: The text is no ISO date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is not an ISO date; write `2024-01-31` or `2024-01-31T12:00`, UTC") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def utc_text(time: int) -> str:
    """A moment in ms UTC for people: ``2024-01-31 12:00``, with seconds only where there are any."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time)
    except OverflowError:
        return f"{time} ms"
    if time % 60_000 == 0:
        return moment.strftime("%Y-%m-%d %H:%M")
    return moment.isoformat(sep=" ", timespec="seconds" if time % 1_000 == 0 else "milliseconds")[:-6]
