"""The engine against a second, slow and simple back-tester, trade by trade, on random candles.

`Oracle` is written from the rules alone: a decision at a close is filled at the next open; within a bar the price goes
straight from point to point; a level fills where it is met, or at the open where the bar gaps past it; percentages are
shares of the distance from entry to stop. It knows no orders and no events.
"""

from __future__ import annotations

import math
import random
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "run"))

from hand_made import EXITS, MINUTE, START, Opinion, Run

from slt.config import RiskConfig
from slt.types import Sample
from slt_exits.time_stop import TimeStop, TimeStopConfig
from slt_sizers.fixed_risk import FixedRisk, FixedRiskConfig

FEE, SLIP, RISK = 0.0005, 0.0003, 0.001
LIFE_MINUTES, COOLDOWN_MINUTES, FLOOR = 30, 15, 0.003


def on_tick(price, side):
    """Stop and target lie on whole cents, up for a long, down for a short."""
    cents = price * 100
    near = round(cents)
    if abs(cents - near) < 1e-6:
        return near / 100
    return (math.ceil(cents) if side > 0 else math.floor(cents)) / 100


def on_step(quantity):
    return math.floor(quantity * 1000 + 1e-6) / 1000


class Lot:
    """One position of the oracle."""

    def __init__(self, side, opened, quantity, stop, target, time):
        self.side, self.time, self.initial, self.open = side, time, quantity, quantity
        self.entry = opened * (1 + side * SLIP)
        floor = self.entry * (1 - side * FLOOR)
        self.stop = on_tick(min(stop, floor) if side > 0 else max(stop, floor), side)
        self.target = on_tick(target, side)
        self.unit = abs(self.entry - self.stop)
        self.fees = FEE * quantity * self.entry
        self.gross = self.peak = 0.0
        self.armed = self.halved = False
        self.parts = []

    def net(self, price):
        paid = self.fees / self.initial
        return (self.side * (price - self.entry) - paid - price * (FEE + SLIP)) / self.unit

    def price_at_net(self, gain):
        paid = self.fees / self.initial
        return (gain * self.unit + paid + self.side * self.entry) / (self.side - FEE - SLIP)

    def trail(self):
        return self.price_at_net(self.peak - max(self.peak / 4, 0.05))

    def sell(self, quantity, price):
        filled = price * (1 - self.side * SLIP)
        self.gross += self.side * (filled - self.entry) * quantity
        self.fees += FEE * quantity * filled
        self.open -= quantity

    def beyond(self, price, level):
        """Whether `price` is at the level or farther on the losing side."""
        return self.side * (price - level) <= 0


class Oracle:
    """Plays the candles; `trades` are (symbol, side, entry time, exit time, exit, parts, quantity, net)."""

    def __init__(self, candles, proposals, path):
        self.candles, self.proposals, self.path = candles, proposals, path
        self.wallet, self.lots, self.waiting, self.last = 10_000.0, {}, {}, {}
        self.free_from, self.trades = {}, []

    def play(self):
        rows = len(next(iter(self.candles.values())))
        for row in range(rows):
            for place in range(4):
                for symbol, candles in self.candles.items():
                    if candles[row] is not None:
                        self.point(symbol, candles[row], row, place)
            for symbol, candles in self.candles.items():
                if candles[row] is None:
                    self.waiting.pop(symbol, None)
                else:
                    self.last[symbol] = candles[row][3]
            self.decide(row)
        for symbol in list(self.lots):
            self.leave(symbol, self.last[symbol], START + rows * MINUTE, "end_of_data")
        return self.trades

    def point(self, symbol, candle, row, place):
        entering = symbol in self.waiting and place == 0
        if entering:
            side, stop, target, quantity = self.waiting.pop(symbol)
            self.lots[symbol] = Lot(side, candle[0], quantity, stop, target, START + row * MINUTE)
        lot = self.lots.get(symbol)
        if lot is None:
            return
        time = START + row * MINUTE + (0, 20_000, 40_000, MINUTE - 1)[place]
        way = self.way(candle, lot.side)
        if entering:
            if lot.side * (way[0] - lot.target) >= 0:
                self.leave(symbol, way[0], time, "target")
        elif place == 0:
            self.jump(symbol, lot, way[0], time)
        else:
            self.walk(symbol, lot, way[place - 1], way[place], time)
        if symbol in self.lots:
            lot.peak = max(lot.peak, lot.net(way[place]))
            lot.armed = lot.armed or lot.net(way[place]) > 0.2

    def way(self, candle, side):
        opened, high, low, close = candle
        if self.path == "adverse":
            low_first = side > 0
        else:
            up, down = high - opened, opened - low
            low_first = down < up or (down == up and close >= opened)
        return (opened, low, high, close) if low_first else (opened, high, low, close)

    def jump(self, symbol, lot, price, time):
        """The price is suddenly at the open of a bar."""
        if lot.beyond(price, lot.stop):
            return self.leave(symbol, price, time, "stop")
        if time - lot.time >= LIFE_MINUTES * MINUTE:
            return self.leave(symbol, price, time, "time_stop")
        if not lot.halved and lot.net(price) >= 0.6:
            lot.peak = max(lot.peak, lot.net(price))
            self.halve(lot, price)
        if lot.armed and lot.beyond(price, lot.trail()):
            return self.leave(symbol, price, time, "trailing_profit")
        if lot.beyond(price, lot.entry - lot.side * lot.unit / 2):
            return self.leave(symbol, price, time, "deep_loss")
        if lot.side * (price - lot.target) >= 0:
            return self.leave(symbol, price, time, "target")
        return None

    def walk(self, symbol, lot, start, end, time):
        """The price goes straight from one point of the bar to the next."""
        if lot.side * (end - start) > 0:
            self.rise(symbol, lot, end, time)
        else:
            self.fall(symbol, lot, end, time)

    def rise(self, symbol, lot, end, time):
        half = lot.price_at_net(0.6)
        reached = lot.side * (end - half) >= 0 and lot.side * (lot.target - half) >= 0
        if not lot.halved and reached:
            lot.peak = max(lot.peak, lot.net(half))
            self.halve(lot, half)
        if lot.side * (end - lot.target) >= 0:
            self.leave(symbol, lot.target, time, "target")

    def fall(self, symbol, lot, end, time):
        levels = [(lot.stop, "stop"), (lot.entry - lot.side * lot.unit / 2, "deep_loss")]
        if lot.armed:
            levels.append((lot.trail(), "trailing_profit"))
        level, name = max(levels, key=lambda found: lot.side * found[0])
        if lot.beyond(end, level):
            self.leave(symbol, level, time, name)

    def halve(self, lot, price):
        lot.halved = True
        part = on_step(lot.open / 2)
        if part > 0:
            lot.sell(part, price)
            lot.parts.append("partial_profit")

    def leave(self, symbol, price, time, name):
        lot = self.lots.pop(symbol)
        lot.sell(lot.open, price)
        net = lot.gross - lot.fees
        self.wallet += net
        if net <= 0:
            self.free_from[symbol] = time + COOLDOWN_MINUTES * MINUTE
        self.trades.append((symbol, lot.side, lot.time, time, name, tuple(lot.parts), lot.initial, net))

    def equity(self):
        parts = (lot.gross - lot.fees for lot in self.lots.values())
        unrealised = (lot.side * (self.last[s] - lot.entry) * lot.open for s, lot in self.lots.items())
        return self.wallet + sum(parts) + sum(unrealised)

    def decide(self, row):
        time, equity = START + (row + 1) * MINUTE, self.equity()
        for symbol, candles in self.candles.items():
            found = self.proposals.get((row, symbol))
            if found is None or candles[row] is None or symbol in self.lots or time < self.free_from.get(symbol, 0):
                continue
            side, stop, target = found
            price = candles[row][3]
            floor = price * (1 - side * FLOOR)
            stop = min(stop, floor) if side > 0 else max(stop, floor)
            share = abs(price - stop) / price + 2 * (FEE + SLIP)
            quantity = on_step(equity * RISK / share / price)
            self.waiting[symbol] = (side, stop, target, quantity)


def market(seed, rows, volatility, gaps):
    """Two random walks on whole cents with jumps between bars, missing spans, and proposals on bars that exist."""
    rng = random.Random(seed)
    candles, proposals = {}, {}
    for symbol in ("AAAUSDT", "BBBUSDT"):
        price, made = 100.0, []
        while len(made) < rows:
            if rng.random() < gaps:
                made += [None] * rng.randint(1, 40)
                price *= math.exp(rng.gauss(0, 4 * volatility))
                continue
            jump = rng.gauss(0, 4 * volatility) if rng.random() < 0.3 else 0.0
            ticks = [price * math.exp(jump)]
            for _ in range(4):
                ticks.append(ticks[-1] * math.exp(rng.gauss(0, volatility)))
            ticks = [round(t, 2) for t in ticks]
            price = ticks[-1]
            if rng.random() < 0.25:
                side = rng.choice((1, -1))
                risk, reward = rng.uniform(0.002, 0.02), rng.uniform(0.004, 0.04)
                proposals[len(made), symbol] = (side, price * (1 - side * risk), price * (1 + side * reward))
            made.append((ticks[0], max(ticks), min(ticks), price))
        candles[symbol] = made[:rows]
    proposals = {place: p for place, p in proposals.items() if place[0] < rows}
    return candles, proposals


def engine_trades(candles, proposals, path, **options):
    exits = [("time_stop", TimeStop(TimeStopConfig(max_hours=LIFE_MINUTES / 60)).slt_check_exit)]
    exits += [(name, EXITS[name].slt_check_exit) for name in ("partial_profit", "trailing_profit", "deep_loss")]
    run = Run(
        candles,
        Opinion(proposals),
        exits=exits,
        path=path,
        broker={"taker_fee_fraction": FEE, "slippage_fraction": SLIP},
        risk=RiskConfig(max_cost_share=1.0, max_margin_per_position=0.5, max_daily_loss=1.0),
        sizer=FixedRisk(FixedRiskConfig(risk_fraction=RISK)).slt_size_position,
        **options,
    ).go()
    return [
        (t.symbol, t.side, t.entry_time, t.exit_time, t.exit, t.partial_exits, t.quantity, t.net_pnl)
        for t in run.trades
    ]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), volatility=st.sampled_from([0.001, 0.002, 0.004]))
def test_label_of_a_sample_is_what_its_trade_made_where_only_stop_and_target_close(seed, volatility):
    candles, proposals = market(seed, 150, volatility, 0.01)
    risk = RiskConfig(max_cost_share=1.0, max_margin_per_position=0.5, max_daily_loss=1.0)
    fine = {"tick_size": Decimal("0.00000001")}
    sizer = FixedRisk(FixedRiskConfig(risk_fraction=RISK)).slt_size_position
    run = Run(candles, Opinion(proposals), exits=(), risk=risk, rules=fine, sizer=sizer).go()
    trades = {t.id: t for t in run.trades if t.exit != "end_of_data"}
    samples = [s for s in run.records.of(Sample) if s.id in trades and s.barrier in {"stop", "target"}]
    assert all(trades[s.id].exit == s.barrier for s in samples)
    assert [s.barrier_r for s in samples] == pytest.approx([trades[s.id].r_multiple for s in samples], abs=1e-5)
    assert all(s.traded_r == trades[s.id].r_multiple for s in samples)


def in_order(trades, end):
    """By exit; at the end of the data the clock and the end are the same way out."""
    named = [(*t[:4], "end" if t[3] == end and t[4] in {"time_stop", "end_of_data"} else t[4], *t[5:]) for t in trades]
    return sorted(named, key=lambda t: (t[3], t[0]))


def assert_same(ours, theirs, end):
    ours, theirs = in_order(ours, end), in_order(theirs, end)
    for one, other in zip(ours, theirs, strict=False):
        assert one[:6] == other[:6]
        assert one[6:] == pytest.approx(other[6:], rel=1e-9, abs=1e-9)
    assert len(ours) == len(theirs)


SEEDS = st.integers(0, 2**32)
VOLATILITY = st.sampled_from([0.0004, 0.001, 0.002, 0.004])
GAPS = st.sampled_from([0.0, 0.01, 0.05])
PATHS = st.sampled_from(["adverse", "ohlc"])


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 200), volatility=VOLATILITY, gaps=GAPS, path=PATHS)
@example(seed=1, rows=400, volatility=0.001, gaps=0.01, path="adverse")
@example(seed=2, rows=400, volatility=0.002, gaps=0.01, path="ohlc")
def test_engine_trades_as_the_oracle_does(seed, rows, volatility, gaps, path):
    candles, proposals = market(seed, rows, volatility, gaps)
    oracle = Oracle(candles, proposals, path).play()
    assert_same(engine_trades(candles, proposals, path), oracle, START + rows * MINUTE)


def test_markets_of_the_oracle_hold_every_way_out():
    seen, halves, openings = set(), 0, set()
    for seed in range(30):
        candles, proposals = market(seed, 200, (0.001, 0.004)[seed % 2], 0.01)
        for trade in Oracle(candles, proposals, "adverse").play():
            seen.add(trade[4])
            halves += bool(trade[5])
            openings.add(trade[3] == trade[2])
    assert seen == {"stop", "target", "time_stop", "trailing_profit", "deep_loss", "end_of_data"}
    assert halves > 10
    assert openings == {True, False}


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, blocks=st.integers(1, 50), gaps=GAPS)
def test_blocks_and_skipping_change_no_trade(seed, blocks, gaps):
    candles, proposals = market(seed, 120, 0.002, gaps)
    whole = engine_trades(candles, proposals, "adverse")
    assert engine_trades(candles, proposals, "adverse", blocks=blocks, skip=True) == whole


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, blocks=st.integers(1, 50), gaps=GAPS)
def test_restarts_from_snapshots_change_no_trade(seed, blocks, gaps):
    candles, proposals = market(seed, 120, 0.002, gaps)
    whole = engine_trades(candles, proposals, "ohlc")
    assert engine_trades(candles, proposals, "ohlc", blocks=blocks, restarts=True) == whole
