"""What the market streams say: one function an event, each giving JSON text as the exchange prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from decimal import Decimal

    from slt.types import SymbolRules
    from slt_sandbox.tape import Candle, Tape

__all__ = [
    "Grid",
    "agg_trade_text",
    "book_ticker_text",
    "depth_text",
    "dump",
    "grid_of",
    "kline_text",
    "mark_price",
    "mini_ticker",
    "number_text",
    "ticker",
]

_UM = 1
"""Value of ``st``: a USDⓈ-M symbol."""
_DEPTH = 5


@frozen
class Grid:
    """How many decimals a symbol's numbers are printed with.

    Attributes:
        price: Decimals of prices.
        quantity: Decimals of quantities.
        tick: Distance of two prices.
        step: Distance of two quantities.
    """

    price: int
    quantity: int
    tick: float
    step: float


def grid_of(rules: SymbolRules) -> Grid:
    """The decimals that a symbol's rules imply; 8 where they imply none."""
    return Grid(
        _decimals(rules.tick_size),
        _decimals(rules.step_size),
        float(rules.tick_size) or 1e-8,
        float(rules.step_size) or 1e-8,
    )


def number_text(value: float, decimals: int) -> str:
    """A number with so many decimals, or with as many as it takes to read the same number back."""
    text = f"{value:.{decimals}f}"
    return text if float(text) == value else np.format_float_positional(value, trim="-")


def kline_text(
    symbol: str,
    interval: str,
    candle: Candle,
    grid: Grid,
    event_time: int,
    *,
    is_closed: bool,
    is_continuous: bool = False,
) -> str:
    """A ``kline`` event, or the ``continuous_kline`` event of the perpetual, which names a pair and no symbol."""
    price, quantity = grid.price, grid.quantity
    volume = number_text(candle.volume, quantity) if is_closed else f"{candle.volume:.{quantity}f}"
    taker = number_text(candle.taker, quantity) if is_closed else f"{candle.taker:.{quantity}f}"
    head = f'"e":"kline","E":{event_time},"s":"{symbol}"'
    if is_continuous:
        head = f'"e":"continuous_kline","E":{event_time},"ps":"{symbol}","ct":"PERPETUAL"'
    name = "" if is_continuous else f'"s":"{symbol}",'
    return (
        f'{{{head},"k":{{"t":{candle.open_time},"T":{candle.close_time - 1},{name}"i":"{interval}",'
        f'"f":{candle.first_id},"L":{candle.last_id},'
        f'"o":"{number_text(candle.open, price)}","c":"{number_text(candle.close, price)}",'
        f'"h":"{number_text(candle.high, price)}","l":"{number_text(candle.low, price)}",'
        f'"v":"{volume}","n":{candle.trades},"x":{"true" if is_closed else "false"},"q":"{candle.quote:.5f}",'
        f'"V":"{taker}","Q":"{candle.taker_quote:.5f}","B":"0"}}}}'
    )


def mark_price(
    symbol: str, price: float, grid: Grid, event_time: int, rate: float, next_funding: int
) -> dict[str, Any]:
    """A ``markPriceUpdate`` event; the last price stands in for mark, average and index."""
    text = number_text(price, max(grid.price, 8))
    return {
        "e": "markPriceUpdate",
        "E": event_time,
        "s": symbol,
        "p": text,
        "ap": text,
        "P": text,
        "i": text,
        "r": f"{rate:.8f}",
        "T": next_funding,
        "st": _UM,
    }


def mini_ticker(tape: Tape, grid: Grid, event_time: int) -> dict[str, Any]:
    """A ``24hrMiniTicker`` event of a symbol that has traded."""
    first, high, low = _day(tape)
    return {
        "e": "24hrMiniTicker",
        "E": event_time,
        "s": tape.symbol,
        "c": number_text(tape.last_price, grid.price),
        "o": number_text(first.open, grid.price),
        "h": number_text(high, grid.price),
        "l": number_text(low, grid.price),
        "v": f"{max(tape.rolling.volume, 0.0):.{grid.quantity}f}",
        "q": f"{max(tape.rolling.quote, 0.0):.2f}",
        "ps": tape.symbol,
        "st": _UM,
    }


def ticker(tape: Tape, grid: Grid, event_time: int) -> dict[str, Any]:
    """A ``24hrTicker`` event of a symbol that has traded."""
    first, high, low = _day(tape)
    current, rolling = tape.candle, tape.rolling
    last = tape.last_price
    mean = rolling.quote / rolling.volume if rolling.volume > 0 else last
    last_id = current.last_id if current is not None else first.last_id
    return {
        "e": "24hrTicker",
        "E": event_time,
        "s": tape.symbol,
        "p": f"{last - first.open:.{grid.price}f}",
        "P": f"{(last / first.open - 1.0) * 100.0:.3f}",
        "w": f"{mean:.{grid.price}f}",
        "c": number_text(last, grid.price),
        "Q": f"{grid.step:.{grid.quantity}f}",
        "o": number_text(first.open, grid.price),
        "h": number_text(high, grid.price),
        "l": number_text(low, grid.price),
        "v": f"{max(rolling.volume, 0.0):.{grid.quantity}f}",
        "q": f"{max(rolling.quote, 0.0):.2f}",
        "O": first.open_time,
        "C": event_time,
        "F": first.first_id,
        "L": last_id,
        "n": last_id - first.first_id + 1,
        "ps": tape.symbol,
        "st": _UM,
    }


def book_ticker_text(symbol: str, price: float, grid: Grid, event_time: int, update_id: int) -> str:
    """A ``bookTicker`` event: a book of one tick around the last price."""
    quantity = f"{100 * grid.step:.{grid.quantity}f}"
    return dump(
        {
            "e": "bookTicker",
            "u": update_id,
            "E": event_time,
            "T": event_time,
            "s": symbol,
            "ps": symbol,
            "b": f"{max(price - grid.tick, grid.tick):.{grid.price}f}",
            "B": quantity,
            "a": f"{price + grid.tick:.{grid.price}f}",
            "A": quantity,
            "st": _UM,
        }
    )


def depth_text(symbol: str, price: float, grid: Grid, event_time: int, update_id: int) -> str:
    """A ``depthUpdate`` event: five levels a side, a tick apart."""
    quantity = f"{100 * grid.step:.{grid.quantity}f}"
    sides = {
        word: [
            [f"{max(price + sign * n * grid.tick, grid.tick):.{grid.price}f}", quantity] for n in range(1, _DEPTH + 1)
        ]
        for word, sign in (("b", -1), ("a", 1))
    }
    return dump(
        {
            "e": "depthUpdate",
            "E": event_time,
            "T": event_time,
            "s": symbol,
            "ps": symbol,
            "U": update_id,
            "u": update_id,
            "pu": update_id - 1,
            **sides,
            "st": _UM,
        }
    )


def agg_trade_text(candle: Candle, symbol: str, grid: Grid, event_time: int, quantity: float) -> str:
    """An ``aggTrade`` event: everything that traded since the price before, at the new one."""
    text = f"{max(quantity, grid.step):.{grid.quantity}f}"
    return dump(
        {
            "e": "aggTrade",
            "E": event_time,
            "s": symbol,
            "a": candle.last_id,
            "p": number_text(candle.close, grid.price),
            "q": text,
            "nq": text,
            "f": candle.last_id,
            "l": candle.last_id,
            "T": event_time,
            "m": candle.close < candle.open,
            "st": _UM,
        }
    )


def dump(value: Any) -> str:
    """JSON as the exchange prints it, without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _day(tape: Tape) -> tuple[Candle, float, float]:
    """The first candle of the last 24 hours, and the extremes of them all, the one under way included."""
    rolling, current = tape.rolling, tape.candle
    if current is None:
        raise ValueError(f"{tape.symbol} has not traded yet")
    first = rolling.candles[0] if rolling.candles else current
    highs, lows = [rolling.high, current.high], [rolling.low, current.low]
    return first, float(np.nanmax(highs)), float(np.nanmin(lows))


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    if not step or not isinstance(exponent, int):
        return 8
    return max(0, -exponent)
