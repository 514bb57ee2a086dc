"""The simulated market: the `replay` feed of recorded candles and the `paper` broker."""

from __future__ import annotations
