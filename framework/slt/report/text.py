"""Numbers, times and names as people read them."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta

__all__ = [
    "bare_verdict",
    "duration",
    "escape",
    "integer",
    "money",
    "multiple",
    "percent",
    "price",
    "share",
    "signed",
    "tone",
    "utc",
]

_MINUS = "\N{MINUS SIGN}"
_UNKNOWN = "n/a"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def escape(text: object) -> str:
    """Text for HTML, in elements and in quoted attributes alike; also for the labels of charts."""
    return html.escape(str(text), quote=True)


def money(value: float | None, currency: str = "") -> str:
    """Two decimals, thousands separated: ``1,234.50 USDT``; None is ``n/a``."""
    return _number(value, ",.2f") + (f" {currency}" if currency and value is not None else "")


def signed(value: float | None, currency: str = "") -> str:
    """As `money`, with a plus sign where it is above 0."""
    return ("+" if value is not None and round(value, 2) > 0 else "") + money(value, currency)


def percent(value: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage: ``12.5 %``; None is ``n/a``."""
    return _UNKNOWN if value is None else _number(value * 100, f",.{decimals}f") + " %"


def multiple(value: float | None) -> str:
    """A ratio or an R multiple, two decimals; None is ``n/a``."""
    return _number(value, ",.2f")


def integer(value: float) -> str:
    """A count, thousands separated."""
    return _number(value, ",.0f")


def bare_verdict(verdict: str) -> str:
    """The gate's reason without the word that stands beside it anyway."""
    return verdict.removeprefix("promoted: ").removeprefix("refused: ")


def price(value: float) -> str:
    """A price or quantity with up to eight significant digits, never with an exponent."""
    text = f"{value:,.8g}"
    if "e" in text:
        text = f"{value:,.12f}".rstrip("0").rstrip(".")
    return text.replace("-", _MINUS)


def share(count: int, total: int) -> str:
    """``12 of 40 (30.0 %)``."""
    return f"{integer(count)} of {integer(total)}" + (f" ({percent(count / total)})" if total else "")


def duration(milliseconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min`` or ``2 d 04 h``; None is ``n/a``."""
    if milliseconds is None:
        return _UNKNOWN
    seconds = round(milliseconds / 1000)
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(hours + minutes / 60), 24)
    return f"{days} d {hours:02d} h"


def utc(time: int | None) -> str:
    """``2025-05-04 15:33`` in UTC; None is ``n/a``."""
    return _UNKNOWN if time is None else _moment(time).strftime("%Y-%m-%d %H:%M")


def tone(value: float | None) -> str:
    """``profit`` above 0, ``loss`` below, else nothing: the name of a style and of a colour."""
    if not value:
        return ""
    return "profit" if value > 0 else "loss"


def _moment(time: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time)


def _number(value: float | None, form: str) -> str:
    if value is None:
        return _UNKNOWN
    text = format(value, form)
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", _MINUS)
