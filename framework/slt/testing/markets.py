"""Seeded markets, features, positions and accounts for tests: of the kits, of slt and of third parties.

Nothing here is a market model: prices are random walks without any edge. The same arguments give the same arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import evolve

from slt.types import (
    Account,
    Bars,
    BarState,
    Column,
    FeatureBlock,
    Outlook,
    Position,
    PricePoint,
    Proposal,
)

__all__ = [
    "START",
    "blank_features",
    "make_account",
    "make_outlook",
    "make_point",
    "make_position",
    "make_proposal",
    "mirror_position",
    "pick_symbols",
    "random_features",
    "random_walk",
    "with_state",
]

START = 1_704_067_200_000
"""2024-01-01 00:00 UTC in ms: a boundary of every timeframe."""


def random_walk(
    rows: int,
    symbols: int = 3,
    *,
    seed: int = 0,
    interval_ms: int = 60_000,
    start: int = START,
    volatility: float = 0.0006,
    gaps: int = 0,
    gap_rows: int = 10,
    empties: float = 0.0,
    taker: bool = True,
) -> Bars:
    """Bars of independent geometric random walks: opens equal the close before, wicks and volumes are random.

    Args:
        rows: Number of bars.
        symbols: Number of symbols; they are called ``AAAUSDT``, ``BBBUSDT``, …
        seed: Of everything random.
        interval_ms: Length of a bar.
        start: Open time of the first bar, ms UTC.
        volatility: Standard deviation of the logarithm of a bar's close over its open.
        gaps: Number of stretches of absent bars per symbol.
        gap_rows: Longest such stretch; each is 1 to this many bars long.
        empties: Share of bars that are proven to have had no trade.
        taker: Whether the taker volume is known.
    """
    rng = np.random.default_rng(seed)
    shape = (rows, symbols)
    steps = rng.normal(0.0, volatility, shape)
    close = 100.0 * np.exp(np.cumsum(steps, axis=0)) * 2.0 ** np.arange(symbols)
    open_ = close * np.exp(-steps)
    wicks = np.abs(rng.normal(0.0, volatility / 2, (2, *shape)))
    volume = rng.lognormal(3.0, 0.7, shape)
    share = rng.beta(4.0, 4.0, shape)
    bars = Bars(
        symbols=tuple(f"{chr(ord('A') + i) * 3}USDT" for i in range(symbols)),
        interval_ms=interval_ms,
        close_time=start + interval_ms * np.arange(1, rows + 1, dtype=np.int64),
        open=open_,
        high=np.maximum(open_, close) * (1.0 + wicks[0]),
        low=np.minimum(open_, close) * (1.0 - wicks[1]),
        close=close,
        volume=volume,
        taker_buy_volume=volume * share if taker else np.full(shape, np.nan),
        state=np.full(shape, BarState.TRADED, dtype=np.uint8),
    )
    state = bars.state.copy()
    state[rng.random(shape) < empties] = BarState.EMPTY
    for symbol in range(symbols):
        for first in rng.integers(0, rows, gaps):
            state[first : first + rng.integers(1, gap_rows + 1), symbol] = BarState.ABSENT
    return with_state(bars, state)


def with_state(bars: Bars, state: np.ndarray[Any, np.dtype[np.uint8]]) -> Bars:
    """The same bars with other states, and the prices and volumes that go with them."""
    fields: dict[str, Any] = {}
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume"):
        known = state == BarState.TRADED
        fill = np.where((state == BarState.EMPTY) & name.endswith("volume"), 0.0, np.nan)
        fields[name] = np.where(known, getattr(bars, name), fill)
    return evolve(bars, state=state.astype(np.uint8), **fields)


def blank_features(bars: Bars) -> FeatureBlock:
    """A block without any column: every row fresh and ready, for strategies that read no features."""
    shape = bars.state.shape
    return FeatureBlock(
        columns=(),
        context_names=(),
        values=np.empty((*shape, 0), dtype=np.float32),
        context=np.empty((*shape, 0)),
        fresh=np.ones(shape, dtype=np.bool_),
        ready=np.ones(shape, dtype=np.bool_),
    )


def random_features(
    bars: Bars,
    columns: tuple[str, ...],
    context: tuple[str, ...] = (),
    *,
    seed: int = 0,
    every: int = 5,
    warmup: int = 50,
    unknown: float = 0.0,
) -> FeatureBlock:
    """Random columns in [-1, 1] that change at every `every`-th row, hold in between, and are NaN before `warmup` rows.

    Args:
        bars: The bars they stand beside.
        columns: Names of the model's columns.
        context: Names of the context columns, drawn in the same way; replace what must be a price.
        seed: Of everything random.
        every: Rows from one fresh row to the next.
        warmup: Rows that are neither ready nor known.
        unknown: Share of values that are NaN.
    """
    rng = np.random.default_rng(seed)
    rows, symbols = bars.state.shape
    width = len(columns) + len(context)
    drawn = rng.uniform(-1.0, 1.0, (rows // every + 1, symbols, width))
    drawn[rng.random(drawn.shape) < unknown] = np.nan
    numbers = np.arange(1, rows + 1)
    held = drawn[numbers // every]
    held[: min(warmup, rows)] = np.nan
    is_fresh = (numbers % every == 0)[:, np.newaxis] & (bars.state != BarState.ABSENT)
    is_ready = np.broadcast_to((numbers > warmup)[:, np.newaxis], (rows, symbols))
    return FeatureBlock(
        columns=tuple(Column(name) for name in columns),
        context_names=context,
        values=np.ascontiguousarray(held[:, :, : len(columns)], dtype=np.float32),
        context=np.ascontiguousarray(held[:, :, len(columns) :]),
        fresh=is_fresh,
        ready=is_ready.copy(),
    )


def pick_symbols(block: FeatureBlock, indices: list[int]) -> FeatureBlock:
    """The features of the chosen symbols, in the order given, copied; the partner of `slt.types.Bars.columns`."""
    names = ("values", "context", "fresh", "ready")
    arrays = {name: np.ascontiguousarray(getattr(block, name)[:, indices]) for name in names}
    return FeatureBlock(columns=block.columns, context_names=block.context_names, **arrays)


def make_position(side: int = 1, *, entry: float = 100.0, risk: float = 1.0, **changes: Any) -> Position:
    """An open position with its stop resting 1 R away and its target at 1.5 R, without costs unless given.

    Args:
        side: +1 long, -1 short.
        entry: Entry price.
        risk: Distance to the stop: 1 R.
        changes: Any other field of `slt.types.Position`.
    """
    fields: dict[str, Any] = {
        "id": "run-1",
        "symbol": "AAAUSDT",
        "strategy": "test",
        "entry_time": START,
        "quantity": 2.0,
        "initial_quantity": 2.0,
        "initial_stop": entry - side * risk,
        "stop": entry - side * risk,
        "target": entry + 1.5 * side * risk,
        "leverage": 5,
        "cost_rate": 0.0,
        "stop_resting": True,
    }
    return Position(side=side, entry_price=entry, **{**fields, **changes})


def mirror_position(position: Position) -> Position:
    """The same position on the other side, prices mirrored at the entry; exact only where costs are 0."""
    twice = 2.0 * position.entry_price
    return evolve(
        position,
        side=-position.side,
        initial_stop=twice - position.initial_stop,
        stop=twice - position.stop,
        target=twice - position.target,
        marks=set(position.marks),
        exits_done=set(position.exits_done),
    )


def make_point(price: float, *, minutes: float = 1.0, is_gap: bool = False) -> PricePoint:
    """A price of ``AAAUSDT`` so many minutes after `START`, the entry time of `make_position`."""
    return PricePoint(START + round(minutes * 60_000), "AAAUSDT", price, is_gap)


def make_outlook(confidence: float = 0.6, rebound: float = 0.5, continuation: float = 0.5, **changes: Any) -> Outlook:
    """An outlook with every trend in favour, unchanged for 5 minutes and without a model, unless given otherwise."""
    fields: dict[str, Any] = {
        "time": START,
        "p_win": None,
        "trends": {"1h": 1.0, "15m": 1.0, "5m": 1.0},
        "confidence_before": confidence,
        "p_win_before": None,
    }
    return Outlook(confidence=confidence, rebound=rebound, continuation=continuation, **{**fields, **changes})


def make_account(equity: float = 10_000.0, **changes: Any) -> Account:
    """An account with nothing open, 10x allowed and a round trip of 0.14 %, unless given otherwise."""
    fields: dict[str, Any] = {
        "available": equity,
        "margin_in_use": 0.0,
        "leverage": 10,
        "cost_rate": 0.0014,
        "max_loss_at_stop": 0.01,
        "win_rate": 0.5,
    }
    return Account(equity=equity, **{**fields, **changes})


def make_proposal(
    side: int = 1, *, price: float = 100.0, risk: float = 1.0, reward: float = 1.5, confidence: float = 0.7
) -> Proposal:
    """An entry of ``AAAUSDT`` at `START`, its stop `risk` and its target `reward` away from the price."""
    return Proposal(
        time=START,
        symbol="AAAUSDT",
        side=side,
        strategy="test",
        price=price,
        stop=price - side * risk,
        target=price + side * reward,
        reason="test",
        confidence=confidence,
    )
