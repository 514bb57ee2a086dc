"""Notifiers that come with slt, one a module: ``console``, ``discord`` and ``telegram``."""

from __future__ import annotations

__all__: list[str] = []
