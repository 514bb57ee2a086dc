"""A storage that lives and dies with the process, for tests and quick looks."""

from __future__ import annotations
