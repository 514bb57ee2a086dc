"""A local exchange that speaks Binance's USDⓈ-M futures protocol, with faults on demand."""

from __future__ import annotations
