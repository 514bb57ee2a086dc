"""Listen keys: the names under which user streams are opened."""

from __future__ import annotations

import hashlib

from slt_sandbox.errors import refusal

__all__ = ["ListenKeys"]


class ListenKeys:
    """The listen keys in force, at most one an account.

    Args:
        life_ms: Life of a key since it was last kept alive.
    """

    def __init__(self, life_ms: int) -> None:
        self._life_ms = life_ms
        self._made = 0
        self._keys: dict[str, str] = {}
        self._expiries: dict[str, int] = {}

    def start(self, account: str, now: int) -> str:
        """Give the account's key, made anew where there is none in force, and lengthen its life."""
        key = next((key for key, owner in self._keys.items() if owner == account), None)
        if key is None or self._expiries[key] <= now:
            self._made += 1
            key = hashlib.sha256(f"{account}/{self._made}".encode()).hexdigest()
            self._keys[key] = account
        self._expiries[key] = now + self._life_ms
        return key

    def keep(self, account: str, now: int) -> str:
        """Lengthen the life of the account's key.

        Raises:
            ApiError: -1125 where there is none in force.
        """
        for key, owner in self._keys.items():
            if owner == account and self._expiries[key] > now:
                self._expiries[key] = now + self._life_ms
                return key
        raise refusal(-1125)

    def close(self, account: str) -> str | None:
        """Close the account's key; gives the key, None where there was none."""
        key = next((key for key, owner in self._keys.items() if owner == account), None)
        if key is not None:
            self._drop(key)
        return key

    def account_of(self, key: str, now: int) -> str | None:
        """The account that a key in force belongs to; None for any other text."""
        return self._keys.get(key) if self._expiries.get(key, 0) > now else None

    def expire(self, now: int) -> list[tuple[str, str]]:
        """Drop the keys whose life has ended; gives key and account of each."""
        ended = [key for key, expiry in self._expiries.items() if expiry <= now]
        return [(key, self._drop(key)) for key in ended]

    def next_expiry(self) -> int | None:
        """When the first key ends, ms UTC; None without keys."""
        return min(self._expiries.values(), default=None)

    def _drop(self, key: str) -> str:
        del self._expiries[key]
        return self._keys.pop(key)
