"""The command line."""

from __future__ import annotations

from slt.cli.root import main

__all__ = ["main"]
