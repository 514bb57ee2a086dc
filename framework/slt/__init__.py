"""SelfLearningTrader: a small kernel that moves market data, decisions and orders, and plugins for every opinion.

Plugin authors write ``from slt import hookimpl`` and stand on the public modules `slt.types`, `slt.errors`,
`slt.hookspecs`, `slt.rules`, `slt.market`, `slt.storage.contract` and `slt.testing`.
"""

from __future__ import annotations

from slt._markers import hookimpl

__all__ = ["hookimpl"]
