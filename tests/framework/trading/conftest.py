"""A bench for the engine: blocks made by hand, events given by hand, commands looked at."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from attrs import evolve

from slt.config import LearningConfig, RiskConfig
from slt.events import BarsClosed, Block, CancelOrder, Notify, StartFit, Store, SubmitOrder, View
from slt.trading.core import EngineSetup
from slt.trading.engine import Engine
from slt.types import (
    Bars,
    Column,
    Decision,
    FeatureBlock,
    Fill,
    LeverageBracket,
    OrderStatus,
    OrderUpdate,
    Parity,
    PricePoint,
    Sample,
    Size,
    StrategyBlock,
    SymbolRules,
    Trade,
)

MINUTE = 60_000
START = 1_700_006_400_000  # 2023-11-15 00:00 UTC, a day's and an hour's boundary


def rules_of(symbol: str, **changes: object) -> SymbolRules:
    rules = SymbolRules(
        symbol=symbol,
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
        brackets=(LeverageBracket(0.0, 1e12, 50, 0.005, 0.0),),
        slippage=0.0002,
    )
    return evolve(rules, **changes)


class Bench:
    """An engine with two symbols, one strategy, and a sizer that takes a tenth of equity as margin."""

    symbols = ("AAAUSDT", "BBBUSDT")

    def __init__(self, *, exits=(), sizer=None, risk=None, learning=None, rules=None, strategies=("test",), **setup):
        self.strategies = strategies
        self.engine = Engine(
            EngineSetup(
                run_id="t-001",
                symbols=self.symbols,
                interval_ms=MINUTE,
                strategies=strategies,
                names=("edge",),
                schema_hash="hash",
                rules=rules or {s: rules_of(s) for s in self.symbols},
                sizer=sizer
                or (lambda proposal, confidence, p_win, account: Size(0.1 * account.equity, 0.1 * account.equity)),
                sizer_name="tenth",
                exits=list(exits),
                risk=risk or RiskConfig(),
                learning=learning or LearningConfig(),
                **setup,
            )
        )
        self.commands = []
        self.trade_id = 0

    def block(self, rows=1, *, start=START, proposals=(), price=100.0, fresh=True, ready=True, p_win=None, version=0):
        """Flat bars; `proposals` are (row, column, side, stop, target[, confidence[, strategy index]])."""
        shape = (rows, len(self.symbols))
        prices = np.full(shape, float(price))
        bars = Bars(
            symbols=self.symbols,
            interval_ms=MINUTE,
            close_time=start + MINUTE * np.arange(1, rows + 1, dtype=np.int64),
            open=prices.copy(),
            high=prices + 0.05,
            low=prices - 0.05,
            close=prices.copy(),
            volume=np.ones(shape),
            taker_buy_volume=np.full(shape, 0.5),
            state=np.ones(shape, dtype=np.uint8),
        )
        features = FeatureBlock(
            columns=(Column("edge", Parity.ODD),),
            context_names=("trend_15m",),
            values=np.full((*shape, 1), 0.25, dtype=np.float32),
            context=np.ones((*shape, 1)),
            fresh=np.full(shape, fresh),
            ready=np.full(shape, ready),
        )
        signals = [StrategyBlock.quiet(shape, ("because",)) for _ in self.strategies]
        for row, column, side, stop, target, *rest in proposals:
            made = signals[rest[1] if len(rest) > 1 else 0]
            made.side[row, column], made.stop[row, column], made.target[row, column] = side, stop, target
            made.reason[row, column] = 0
        for made in signals:
            for name in ("confidence_long", "confidence_short"):
                getattr(made, name)[:] = next((p[5] for p in proposals if len(p) > 5), 0.8)
        dense = None if p_win is None else np.full(shape, p_win, dtype=np.float32)
        views = tuple(View(n, s, dense, dense, version) for n, s in zip(self.strategies, signals, strict=True))
        return Block(bars, features, views)

    def give(self, event):
        commands = self.engine.handle(event)
        self.commands += commands
        return commands

    def close(self, block, row=0, time=None):
        return self.give(BarsClosed(int(block.bars.close_time[row]) if time is None else time, block, row))

    def fill(self, order, price, *, quantity=None, time=START + 2 * MINUTE, fee=0.0, **more):
        self.trade_id += 1
        size = order.quantity if quantity is None else quantity
        fill = Fill(time, order.client_id, order.symbol, int(order.side), size, price, fee, self.trade_id, **more)
        return self.give(fill)

    def accept(self, order, time=START + 2 * MINUTE):
        return self.give(OrderUpdate(time, order.client_id, order.symbol, OrderStatus.ACCEPTED))

    def reject(self, order, time=START + 2 * MINUTE, status=OrderStatus.REJECTED):
        return self.give(OrderUpdate(time, order.client_id, order.symbol, status, "no"))

    def price(self, value, *, symbol="AAAUSDT", time=START + 3 * MINUTE):
        return self.give(PricePoint(time, symbol, value))

    def enter(self, *, column=0, side=1, stop=98.0, target=103.0, price=100.0, fee=0.0, **block):
        """Take a proposal to an open position with stop and target accepted; returns those two orders."""
        proposed = self.block(proposals=[(0, column, side, stop, target)], **block)
        (entry,) = orders(self.close(proposed))
        protective = orders(self.fill(entry, price, fee=fee))
        for order in protective:
            self.accept(order)
        return protective

    @property
    def portfolio(self):
        return self.engine.portfolio

    def decisions(self):
        return [r for r in records(self.commands) if isinstance(r, Decision)]

    def trades(self):
        return [r for r in records(self.commands) if isinstance(r, Trade)]

    def samples(self):
        return [r for r in records(self.commands) if isinstance(r, Sample)]


def orders(commands):
    return [c.order for c in commands if isinstance(c, SubmitOrder)]


def cancels(commands):
    return [c.client_id for c in commands if isinstance(c, CancelOrder)]


def records(commands):
    return [c.record for c in commands if isinstance(c, Store)]


def notices(commands):
    return [c.notice for c in commands if isinstance(c, Notify)]


def fits(commands):
    return [c.request for c in commands if isinstance(c, StartFit)]


@pytest.fixture(scope="session")
def bench():
    return Bench


@pytest.fixture(scope="session")
def look():
    """The functions that pick things out of commands, as attributes."""

    class Look:
        orders = staticmethod(orders)
        cancels = staticmethod(cancels)
        records = staticmethod(records)
        notices = staticmethod(notices)
        fits = staticmethod(fits)
        rules = staticmethod(rules_of)
        nan = math.nan
        start = START
        minute = MINUTE

    return Look
