"""Markets for the tests of `ict`: generated ones of every awkward kind, and real candles where they are at hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from slt.types import Bars, BarState
from slt_ict.features import IctFeatures, IctFeaturesConfig

START = 1_746_316_800_000  # 2025-05-04 00:00 UTC
SHARED = Path(__file__).parents[4] / "shared" / "data"


def random_walk(seed, rows, symbols=1, interval_ms=300_000, *, tick=2.0**-10, offset=0, volatility=8e-4):
    """A market without any edge: independent returns, prices on a dyadic tick so that differences are exact."""
    rng = np.random.default_rng(seed)
    shape = (rows, symbols)
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, shape), axis=0))
    open_ = np.vstack([np.full((1, symbols), 100.0), close[:-1]]) * np.exp(rng.normal(0, volatility / 20, shape))
    spread = np.abs(rng.normal(0, volatility / 2, (2, *shape)))
    close, open_ = _on_tick(close, tick), _on_tick(open_, tick)
    high = np.maximum(_on_tick(np.maximum(open_, close) * (1 + spread[0]), tick), np.maximum(open_, close))
    low = np.minimum(_on_tick(np.minimum(open_, close) * (1 - spread[1]), tick), np.minimum(open_, close))
    volume = np.exp(rng.normal(3, 1, shape))
    taker = volume * rng.uniform(0.2, 0.8, shape)
    times = START + offset + (np.arange(rows, dtype=np.int64) + 1) * interval_ms
    names = tuple(f"S{i:03d}USDT" for i in range(symbols))
    state = np.full(shape, BarState.TRADED, dtype=np.uint8)
    return Bars(names, interval_ms, times, open_, high, low, close, volume, taker, state)


def _on_tick(price, tick):
    return np.round(price / tick) * tick


def damaged(bars, seed, *, absent=0.0, empty=0.0, no_taker=0.0, no_volume=0.0, dojis=0.0):
    """The same market with bars absent, empty, without taker volume, without volume, or without range."""
    rng = np.random.default_rng(seed)
    out = Bars.concatenate([bars])
    shape = out.state.shape
    flat = rng.random(shape) < dojis
    for name in ("open", "high", "low"):
        getattr(out, name)[flat] = out.close[flat]
    out.taker_buy_volume[rng.random(shape) < no_taker] = np.nan
    nothing = rng.random(shape) < no_volume
    out.volume[nothing] = 0.0
    out.taker_buy_volume[nothing & ~np.isnan(out.taker_buy_volume)] = 0.0
    draw = rng.random(shape)
    blank(out, draw < empty, BarState.EMPTY)
    blank(out, (draw >= empty) & (draw < empty + absent), BarState.ABSENT)
    return out


def blank(bars, where, state):
    """Turn the chosen bars of a block into EMPTY or ABSENT ones, in place."""
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume"):
        getattr(bars, name)[where] = np.nan
    if state == BarState.EMPTY:
        bars.volume[where] = 0.0
        bars.taker_buy_volume[where] = 0.0
    bars.state[where] = state


def replaced(bars, **fields):
    """The same block with some arrays exchanged."""
    names = ("open", "high", "low", "close", "volume", "taker_buy_volume", "state", "close_time")
    return Bars(bars.symbols, bars.interval_ms, **{n: fields.get(n, getattr(bars, n)) for n in names})


def real(name, rows, interval_ms=60_000, skip=0):
    """The first rows of a file of real candles as one symbol; skips the test where the file is not there."""
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no real candles: {path} is not there")
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(path).iloc[skip : skip + rows]
    fields = {
        f: frame[f].to_numpy(np.float64).reshape(-1, 1).copy() for f in ("open", "high", "low", "close", "volume")
    }
    taker = np.full((len(frame), 1), np.nan)
    if "taker_buy_volume" in frame:
        taker = frame["taker_buy_volume"].to_numpy(np.float64).reshape(-1, 1).copy()
    times = frame["open_time"].to_numpy(np.int64) + interval_ms
    state = np.full((len(frame), 1), BarState.TRADED, dtype=np.uint8)
    symbol = name.split("-", maxsplit=1)[0]
    return Bars((symbol,), interval_ms, times, taker_buy_volume=taker, state=state, **fields)


def started(bars, **options):
    """The plugin, ready for blocks like this one."""
    features = IctFeatures(IctFeaturesConfig(**options))
    features.slt_start_features(bars.symbols, bars.interval_ms)
    return features


def run(bars, cuts=(), **options):
    """Features of a block, fed in pieces cut at the given rows."""
    from slt.types import FeatureBlock

    features = started(bars, **options)
    edges = [0, *sorted(cuts), len(bars)]
    blocks = [features.slt_update_features(bars.rows(a, b)) for a, b in itertools.pairwise(edges)]
    return FeatureBlock(
        columns=blocks[0].columns,
        context_names=blocks[0].context_names,
        values=np.concatenate([b.values for b in blocks]),
        context=np.concatenate([b.context for b in blocks]),
        fresh=np.concatenate([b.fresh for b in blocks]),
        ready=np.concatenate([b.ready for b in blocks]),
    )


def assert_same(a, b):
    """Two feature blocks agree bit for bit (all NaN count as one)."""
    for name in ("values", "context", "fresh", "ready"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_array_equal(x, y, err_msg=name)
