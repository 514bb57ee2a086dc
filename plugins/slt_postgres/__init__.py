"""PostgreSQL as the one source of truth: a private server beside the run by default, or any server by URL."""

from __future__ import annotations
