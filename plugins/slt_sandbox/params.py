"""The parameters of a request, read with the exchange's own complaints."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from slt_sandbox.errors import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Params"]

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_MAX_DIGITS = 30


class Params:
    """Names and values as sent; empty values count as not sent.

    Args:
        values: As decoded from the query and the form body.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: _text(value) for name, value in values.items()}

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it must be there (-1102)."""
        value = self._values.get(name) or default
        if value is None:
            raise refusal(-1102, name=name)
        return value

    def choice(self, name: str, allowed: tuple[str, ...], code: int, default: str | None = None) -> str:
        """One of some words; any other is refused with `code`."""
        value = self.text(name, default)
        if value not in allowed:
            raise refusal(code, name=name)
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value written as `true` or `false`, in either case."""
        value = self.text(name, "true" if default else "false").lower()
        if value not in {"true", "false"}:
            raise refusal(-1130, name=name)
        return value == "true"

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        value = self.text(name, None if default is None else str(default))
        try:
            return int(value)
        except ValueError:
            raise refusal(-1100, name=name) from None

    def decimal(self, name: str) -> Decimal:
        """A finite decimal number that must be there."""
        value = self.text(name)
        try:
            found = Decimal(value)
        except InvalidOperation:
            raise refusal(-1100, name=name) from None
        if not found.is_finite() or len(value) > _MAX_DIGITS:
            raise refusal(-1130, name=name)
        return found

    def client_id(self, name: str) -> str:
        """A client id; empty where none is sent; -4015 for one that is not allowed."""
        value = self._values.get(name, "")
        if value and not _CLIENT_ID.fullmatch(value):
            raise refusal(-4015)
        return value

    def rows(self, name: str) -> list[Any]:
        """A list in JSON."""
        try:
            found = json.loads(self.text(name))
        except ValueError:
            raise refusal(-1130, name=name) from None
        if not isinstance(found, list):
            raise refusal(-1130, name=name)
        return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
