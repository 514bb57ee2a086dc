"""Cutting text to a channel's limits. Lengths are UTF-16 code units: no channel counts more for a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fit", "length"]

_ELLIPSIS = "…"


def length(text: str) -> int:
    """Length of `text` in UTF-16 code units; characters beyond the basic plane count twice."""
    return len(text) + sum(character > "\uffff" for character in text)


def fit(text: str, limit: int, escape: Callable[[str], str] = str) -> str:
    """Escape `text` and cut it so that the result is at most `limit` long, ``…`` where something is missing.

    Args:
        text: Plain text.
        limit: UTF-16 code units allowed, at least 1.
        escape: The channel's escape; must treat each character on its own, so that no escape is cut in half.

    Returns:
        The escaped text, in parts or whole.
    """
    escaped = escape(text)
    if length(escaped) <= limit:
        return escaped
    kept: list[str] = []
    room = limit - length(_ELLIPSIS)
    for character in text:
        piece = escape(character)
        room -= length(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + _ELLIPSIS
