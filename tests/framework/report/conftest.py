from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from slt.report import CandleRecorder, ReportData, choose_interval
from slt.statistics import summarise
from slt.types import Bars, BarState, EquityPoint, ModelVersion, Run, Trade

START = 1_746_316_800_000  # 2025-05-04 00:00 UTC
MINUTE = 60_000
DAY = 86_400_000
FEATURES = (
    "market_structure",
    "order_blocks_count",
    "institutional_candle",
    "liquidity_grab",
    "order_flow",
    "fvg_count",
    "trend_alignment_enhanced",
    "swing_high_distance",
    "structure_integrity",
    "institutional_participation",
    "timeframe_convergence",
    "liquidity_context",
)
EXITS = ("stop", "target", "time_stop", "trailing_profit", "conviction_drop", "deep_loss", "invalidation")
PRICES = {
    "BTCUSDT": 96_000.0,
    "ETHUSDT": 1_840.0,
    "SOLUSDT": 147.0,
    "XRPUSDT": 2.2,
    "BNBUSDT": 600.0,
    "LTCUSDT": 88.0,
    "SUIUSDT": 3.4,
    "1000PEPEUSDT": 0.0083,
}
INITIAL = 10_000.0


def make_bars(rng, symbols, days, interval):
    rows = days * DAY // interval
    shape = (rows, len(symbols))
    base = np.array([PRICES[s] for s in symbols])
    sigma = 0.0006 * math.sqrt(interval / MINUTE)
    close = base * np.exp(np.cumsum(rng.normal(0, sigma, shape), axis=0))
    opens = np.vstack([base, close[:-1]])
    wick = np.abs(rng.normal(0, sigma / 2, (2, *shape)))
    return Bars(
        symbols=symbols,
        interval_ms=interval,
        close_time=START + interval * np.arange(1, rows + 1, dtype=np.int64),
        open=opens,
        high=np.maximum(opens, close) * (1 + wick[0]),
        low=np.minimum(opens, close) * (1 - wick[1]),
        close=close,
        volume=rng.exponential(10, shape),
        taker_buy_volume=np.full(shape, np.nan),
        state=np.full(shape, BarState.TRADED, dtype=np.uint8),
    )


def make_trade(rng, number, bars, row, column, version):
    side = int(rng.choice([1, -1]))
    held = int(rng.integers(1, max(2, 110 * MINUTE // bars.interval_ms)))
    entry, leave = float(bars.close[row, column]), float(bars.close[row + held, column])
    distance = entry * float(rng.uniform(0.004, 0.012))
    stop, target = entry - side * distance, entry + 1.6 * side * distance
    quantity = 100 / distance
    move = side * (leave - entry)
    gross = quantity * max(-distance, min(1.6 * distance, move))
    leave = entry + side * gross / quantity
    fees, slippage = 0.0005 * quantity * (entry + leave), 0.0002 * quantity * entry
    funding = float(rng.normal(0, 0.2))
    net = gross - fees - funding
    if gross <= -100 + 1e-9:
        name = "stop"
    elif gross >= 160 - 1e-9:
        name = "target"
    else:
        name = str(rng.choice(EXITS[2:]))
    p_win = float(np.clip(rng.normal(0.42 + 0.1 * (net > 0), 0.12), 0.02, 0.98)) if version else None
    return Trade(
        id=f"demo-1-p{number}",
        run_id="demo-1",
        symbol=bars.symbols[column],
        side=side,
        strategy="ict_smc",
        reason=str(rng.choice(["trend continuation", "sweep reversal", "relaxed tier 2"])),
        entry_time=int(bars.close_time[row]),
        exit_time=int(bars.close_time[row + held]),
        entry_price=entry,
        exit_price=leave,
        quantity=quantity,
        leverage=int(rng.integers(2, 20)),
        initial_stop=stop,
        target=target,
        gross_pnl=gross,
        fees=fees,
        funding=funding,
        slippage=slippage,
        net_pnl=net,
        r_multiple=net / 100,
        exit=name,
        partial_exits=("partial_profit",) if gross > 60 and rng.random() < 0.5 else (),
        confidence=float(rng.uniform(0.5, 0.95)),
        p_win=p_win,
        model_version=version,
        won=net > 0,
    )


def make_model(rng, version, fitted, samples):
    promoted = version in {2, 4}
    predicted = np.linspace(0.2, 0.75, 8)
    observed = np.clip(predicted + rng.normal(0, 0.06, 8), 0, 1)
    shares = rng.dirichlet(np.full(len(FEATURES), 1.2))
    metrics = {
        "log_loss": 0.68,
        "artefact_sha256": "0123456789abcdef" * 4,
        "folds": [{"train": 20, "test": 5}],
        "brier": 0.24,
        "base_rate": 0.46,
        "champion": {"log_loss": 0.69, "brier": 0.245},
        "calibration": [
            {"predicted": float(p), "observed": float(o), "count": 25} for p, o in zip(predicted, observed, strict=True)
        ],
        "importance": dict(zip(FEATURES, map(float, shares), strict=True)),
    }
    verdict = (
        "promoted: log-loss 0.6712 against 0.6903 of the champion and 0.6899 of the base rate, on 4 of 4 folds"
        if promoted
        else "refused: log-loss 0.6951 does not beat the base rate's 0.6899 (lower bound of the gain -0.0132)"
    )
    return ModelVersion(
        id=f"demo-1-ict_smc-v{version}",
        run_id="demo-1",
        strategy="ict_smc",
        version=version,
        schema_hash="abc",
        fitted_time=fitted,
        effective_time=fitted + 5 * MINUTE,
        samples=samples,
        promoted=promoted,
        verdict=verdict,
        metrics=metrics,
        artefact=b"model",
    )


def make_data(seed=7, days=12, count=60, interval=5 * MINUTE, symbols=("BTCUSDT", "ETHUSDT", "1000PEPEUSDT")):
    rng = np.random.default_rng(seed)
    bars = make_bars(rng, tuple(symbols), days, interval)
    margin = 130 * MINUTE // interval
    rows = np.sort(rng.choice(np.arange(len(bars) // 5, len(bars) - margin), count, replace=False))
    fits = [int(bars.close_time[rows[count * k // 5]]) for k in range(1, 5)]
    models = [make_model(rng, k + 1, time, count * (k + 1) // 5) for k, time in enumerate(fits)]
    trades = []
    for number, row in enumerate(rows):
        time = int(bars.close_time[row])
        version = max((m.version for m in models if m.promoted and m.effective_time <= time), default=0)
        trades.append(make_trade(rng, number, bars, int(row), int(rng.integers(len(symbols))), version))
    run = Run(id="demo-1", mode="backtest", started=START, config='[run]\nname = "demo"\nseed = 7\n', status="finished")
    equity = make_equity(rng, bars, trades)
    decisions = {"entered": count, "cost": 8 * count, "warm": 3 * count, "slots": count // 2, "cooldown": count // 3}
    summary = summarise(
        run,
        trades,
        models,
        equity,
        initial_equity=INITIAL,
        final_equity=INITIAL + math.fsum(t.net_pnl for t in trades),
        market="synthetic market, seed 7: eight correlated perpetuals, 1m candles",
        is_synthetic=True,
        decisions=decisions,
    )
    recorder = CandleRecorder(bars.symbols, choose_interval(days * DAY, interval))
    recorder.add(bars)
    return ReportData(run=run, summary=summary, trades=trades, equity=equity, models=models, candles=recorder.candles())


def make_equity(rng, bars, trades):
    step = max(1, 15 * MINUTE // bars.interval_ms)
    done = sorted(trades, key=lambda t: t.exit_time)
    points, wallet, i = [], INITIAL, 0
    for time in bars.close_time[::step].tolist():
        while i < len(done) and done[i].exit_time <= time:
            wallet += done[i].net_pnl
            i += 1
        still_open = sum(t.entry_time <= time < t.exit_time for t in trades)
        equity = wallet + float(rng.normal(0, 20)) * still_open
        points.append(EquityPoint(f"demo-1-{time}", "demo-1", time, equity, wallet, 500.0 * still_open, still_open))
    return points


@pytest.fixture(scope="session")
def data():
    return make_data()


@pytest.fixture(scope="session")
def empty_data():
    run = Run(id="demo-2", mode="paper", started=START, config="", status="finished")
    return ReportData(run=run, summary=summarise(run, [], [], [], initial_equity=INITIAL), trades=[], equity=[])


@pytest.fixture(scope="session")
def rename():
    """Gives data in which every name that comes from outside is the given text."""

    def change(data, text):
        trades = [
            attrs.evolve(t, symbol=text, strategy=text, reason=text, exit=text, partial_exits=(text,))
            for t in data.trades
        ]
        models = [
            attrs.evolve(m, strategy=text, verdict=text, metrics={"importance": {text: 1.0}}) for m in data.models
        ]
        run = attrs.evolve(data.run, id=text, mode=text, config=text)
        summary = summarise(
            run, trades, models, data.equity, initial_equity=INITIAL, market=text, currency=text, decisions={text: 3}
        )
        candles = {text: next(iter(data.candles.values()))}
        return ReportData(run, summary, trades, data.equity, models, candles)

    return change
