"""The feature set `ict`: twelve causal ICT / Smart Money features of 5m, 15m and 1h candles in one numba kernel."""

from __future__ import annotations
