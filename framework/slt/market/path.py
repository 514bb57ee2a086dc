"""The order in which a bar's four prices are taken to have traded."""

from __future__ import annotations

__all__ = ["bar_path"]


def bar_path(
    open: float,  # noqa: A002 - the candle's own word
    high: float,
    low: float,
    close: float,
    side: int,
    path: str,
) -> tuple[float, float, float, float]:
    """Order the four prices of a bar.

    Args:
        open: First price of the bar.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        side: Side of the position: +1 long, -1 short, 0 none. Only ``"adverse"`` looks at it.
        path: ``"adverse"``: the extreme against the side comes first (the low for a long, the high for a short; without
            a side as ``"ohlc"``), so that where a bar touches both stop and target the stop counts. ``"ohlc"``: the
            extreme nearer to the open first; of two equally near ones the one against the bar's direction, the low of a
            flat bar.

    Returns:
        Open, first extreme, second extreme, close.

    Raises:
        ValueError: `path` is another word.
    """
    if path == "adverse" and side:
        low_first = side > 0
    elif path in {"adverse", "ohlc"}:
        to_high, to_low = high - open, open - low
        low_first = to_low < to_high or (to_low == to_high and close >= open)
    else:
        raise ValueError(f"path: found `{path}`, allowed are `adverse` and `ohlc`")
    return (open, low, high, close) if low_first else (open, high, low, close)
