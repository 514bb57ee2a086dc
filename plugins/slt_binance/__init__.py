"""Binance USDⓈ-M futures: candles over WebSocket, orders, account."""

from __future__ import annotations
