"""The second tier of the cache: Redis or Valkey."""

from __future__ import annotations
