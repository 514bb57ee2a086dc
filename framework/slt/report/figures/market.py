"""Trades on candles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.report.figures.canvas import axis, canvas, compact, time_axis
from slt.report.text import duration, escape, price, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slt.report.candles import Candles
    from slt.report.figures.canvas import Figure
    from slt.types import Trade

__all__ = ["draw_candles"]


def draw_candles(symbol: str, candles: Candles, trades: Sequence[Trade], currency: str) -> Figure:
    """One symbol's candles with every entry, exit, initial stop and target.

    Args:
        symbol: Exchange name.
        candles: Its candles, at least one.
        trades: Its trades.
        currency: Quote currency.
    """
    longs, shorts = [t for t in trades if t.side > 0], [t for t in trades if t.side < 0]
    won, lost = [t for t in trades if t.won], [t for t in trades if not t.won]
    traces = [
        _candlestick(candles),
        _levels("initial stop", "$loss", trades, lambda t: t.initial_stop),
        _levels("target", "$profit", trades, lambda t: t.target),
        _paths("$profit", won),
        _paths("$loss", lost),
        _entries("long entry", "triangle-up", "$long", longs, currency),
        _entries("short entry", "triangle-down", "$short", shorts, currency),
        _exits("exit in profit", "circle", "$profit", won, currency),
        _exits("exit at a loss", "x", "$loss", lost, currency),
    ]
    return canvas(
        [t for t in traces if t["x"]],
        520,
        hovermode="closest",
        xaxis=time_axis(rangeslider={"visible": False}, range=_reach(candles, trades)),
        yaxis=axis(f"{escape(symbol)} price ({escape(currency)})", tickformat=",.7~g", zeroline=False),
    )


def _reach(candles: Candles, trades: Sequence[Trade]) -> list[int]:
    times = [*(t.entry_time for t in trades), *(t.exit_time for t in trades)]
    first, last = int(candles.open_time[0]), int(candles.open_time[-1]) + candles.interval_ms
    return [min([first, *times]), max([last, *times])]


def _candlestick(candles: Candles) -> dict[str, Any]:
    line = {"color": "$candle", "width": 1}
    return {
        "type": "candlestick",
        "name": f"{candles.interval_ms // 60_000} min candles",
        "x": candles.open_time.tolist(),
        "open": compact(candles.open, 7),
        "high": compact(candles.high, 7),
        "low": compact(candles.low, 7),
        "close": compact(candles.close, 7),
        "increasing": {"line": line, "fillcolor": "$surface"},
        "decreasing": {"line": line, "fillcolor": "$candle"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _levels(name: str, colour: str, trades: Sequence[Trade], level: Callable[[Trade], float]) -> dict[str, Any]:
    """Horizontal pieces from entry to exit; None lifts the pen between two trades."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for t in trades for x in (t.entry_time, t.exit_time, None)],
        "y": [y for t in trades for y in (level(t), level(t), None)],
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _paths(colour: str, trades: Sequence[Trade]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for t in trades for x in (t.entry_time, t.exit_time, None)],
        "y": [y for t in trades for y in (t.entry_price, t.exit_price, None)],
        "line": {"color": colour, "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _entries(name: str, marker: str, colour: str, trades: Sequence[Trade], currency: str) -> dict[str, Any]:
    texts = [
        f"{'long' if t.side > 0 else 'short'} {price(t.quantity)} at {price(t.entry_price)}, {t.leverage}x<br>"
        f"{escape(t.strategy)}: {escape(t.reason)}<br>stop {price(t.initial_stop)}, target {price(t.target)}<br>"
        f"result {signed(t.net_pnl)} {escape(currency)}"
        for t in trades
    ]
    return _markers(name, marker, colour, [(t.entry_time, t.entry_price) for t in trades], texts)


def _exits(name: str, marker: str, colour: str, trades: Sequence[Trade], currency: str) -> dict[str, Any]:
    texts = [
        f"exit by {escape(t.exit)} at {price(t.exit_price)} after {duration(t.exit_time - t.entry_time)}<br>"
        f"net {signed(t.net_pnl)} {escape(currency)} ({t.r_multiple:+.2f} R)"
        for t in trades
    ]
    return _markers(name, marker, colour, [(t.exit_time, t.exit_price) for t in trades], texts)


def _markers(
    name: str, marker: str, colour: str, places: Sequence[tuple[int, float]], texts: Sequence[str]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [time for time, _ in places],
        "y": [level for _, level in places],
        "marker": {"symbol": marker, "color": colour, "size": 10, "line": {"color": "$surface", "width": 1}},
        "text": texts,
        "hovertemplate": "%{x|%Y-%m-%d %H:%M} UTC<br>%{text}<extra></extra>",
    }
