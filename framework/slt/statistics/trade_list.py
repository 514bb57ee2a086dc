"""A list of closed trades: its order, its fingerprint, its groups."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from slt.statistics.records import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slt.types import Trade

__all__ = ["calculate_trade_hash", "group_trades", "order_trades", "total_trades"]


def order_trades(trades: Iterable[Trade]) -> list[Trade]:
    """Trades in exit order: by exit time, symbol, entry time, then canonical text; the id decides between equals."""
    return sorted(trades, key=lambda t: (t.exit_time, t.symbol, t.entry_time, _canonical_line(t), t.id))


def calculate_trade_hash(trades: Iterable[Trade]) -> str:
    r"""Fingerprint of a trade list: equal for equal input and seed, whatever the run is called.

    SHA-256, in hexadecimal, of UTF-8 text with one line a trade in the order of `order_trades`. A line holds ten values
    separated by one tab (U+0009) and ends with one line feed (U+000A): symbol; side (``1`` or ``-1``); entry time; exit
    time (ms UTC, decimal); entry price; exit price; quantity; net PnL (each the shortest text that reads back as the
    same float64, as Python's ``repr``); exit; model version (``0`` = UNTRAINED). Ids, run and strategy are not in it.
    No trades: the hash of nothing.
    """
    return hashlib.sha256("".join(_canonical_line(t) for t in order_trades(trades)).encode()).hexdigest()


def group_trades(trades: Iterable[Trade], key: Callable[[Trade], str]) -> tuple[Group, ...]:
    """Trades by what `key` says of each, alphabetical."""
    members: dict[str, list[Trade]] = {}
    for trade in trades:
        members.setdefault(key(trade), []).append(trade)
    return tuple(total_trades(members[name], name) for name in sorted(members))


def total_trades(trades: Sequence[Trade], key: str = "") -> Group:
    """All of the trades as one group, which may be empty (its holding time is then 0)."""
    multiples = [t.r_multiple for t in trades if math.isfinite(t.r_multiple)]
    holding = sum(t.exit_time - t.entry_time for t in trades)
    return Group(
        key=key,
        trades=len(trades),
        wins=sum(1 for t in trades if t.won),
        gross_pnl=math.fsum(t.gross_pnl for t in trades),
        fees=math.fsum(t.fees for t in trades),
        funding=math.fsum(t.funding for t in trades),
        slippage=math.fsum(t.slippage for t in trades),
        net_pnl=math.fsum(t.net_pnl for t in trades),
        expectancy_r=math.fsum(multiples) / len(multiples) if multiples else None,
        average_holding_ms=holding / len(trades) if trades else 0.0,
    )


def _canonical_line(trade: Trade) -> str:
    floats = (trade.entry_price, trade.exit_price, trade.quantity, trade.net_pnl)
    values = (
        trade.symbol,
        str(int(trade.side)),
        str(int(trade.entry_time)),
        str(int(trade.exit_time)),
        *(repr(float(x)) for x in floats),
        trade.exit,
        str(int(trade.model_version)),
    )
    return "\t".join(values) + "\n"
