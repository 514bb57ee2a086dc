"""Whole runs on candles written by hand: the real session, player, engine, paper broker and exits, without files.

After every price and every bar the books of engine and broker are compared.
"""

from __future__ import annotations

import asyncio
import pickle
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from attrs import evolve

from slt.config import LearningConfig, RiskConfig
from slt.events import Block, View
from slt.report import CandleRecorder
from slt.run.player import Player
from slt.run.session import Session
from slt.trading.core import EngineSetup
from slt.trading.engine import Engine
from slt.types import (
    Bars,
    Column,
    FeatureBlock,
    LeverageBracket,
    MarketInfo,
    OpenPosition,
    OrderIntent,
    OrderRole,
    Parity,
    Side,
    StrategyBlock,
    SymbolRules,
)
from slt_exits.conviction_drop import ConvictionDrop, ConvictionDropConfig
from slt_exits.deep_loss import DeepLoss, DeepLossConfig
from slt_exits.invalidation import Invalidation, InvalidationConfig
from slt_exits.partial_profit import PartialProfit, PartialProfitConfig
from slt_exits.time_stop import TimeStop, TimeStopConfig
from slt_exits.total_loss import TotalLoss, TotalLossConfig
from slt_exits.trailing_profit import TrailingProfit, TrailingProfitConfig
from slt_replay.paper import PaperBroker, PaperBrokerConfig
from slt_sizers.fixed_risk import FixedRisk, FixedRiskConfig

MINUTE = 60_000
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SYMBOL = "AAAUSDT"
ABSENT, TRADED, EMPTY = 0, 1, 2
USUAL = {"confidence": 0.8, "rebound": 0.5, "continuation": 0.8}

EXITS = {
    "total_loss": TotalLoss(TotalLossConfig()),
    "time_stop": TimeStop(TimeStopConfig()),
    "partial_profit": PartialProfit(PartialProfitConfig()),
    "trailing_profit": TrailingProfit(TrailingProfitConfig()),
    "conviction_drop": ConvictionDrop(ConvictionDropConfig()),
    "deep_loss": DeepLoss(DeepLossConfig()),
    "invalidation": Invalidation(InvalidationConfig()),
}


def rules_of(symbol, **changes):
    rules = SymbolRules(
        symbol=symbol,
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
        brackets=(LeverageBracket(0.0, 1e12, 50, 0.005, 0.0),),
    )
    return evolve(rules, **changes)


def bars_of(candles, *, start=START, interval=MINUTE):
    """Bars out of ``{symbol: [(open, high, low, close) | None | "empty", ...]}``; None = missing."""
    symbols, rows = tuple(candles), max(len(c) for c in candles.values())
    times = start + interval * np.arange(1, rows + 1, dtype=np.int64)
    bars = Bars.absent(symbols, interval, times)
    for column, symbol in enumerate(symbols):
        for row, candle in enumerate(candles[symbol]):
            if candle is None:
                continue
            bars.state[row, column] = EMPTY if candle == "empty" else TRADED
            bars.volume[row, column] = 0.0 if candle == "empty" else 1.0
            if candle != "empty":
                for name, price in zip(("open", "high", "low", "close"), candle, strict=True):
                    getattr(bars, name)[row, column] = price
    return bars


class Opinion:
    """Stands in for features, strategy and model: says what it was told to say, as a real dense part would.

    Args:
        proposals: ``{(row, symbol): (side, stop, target)}``, rows counted from `START`.
        views: ``{name: {symbol: value or one value a row}}`` of confidence, rebound, continuation, for both sides.
        trends: ``{symbol: one value a row}`` of the 15m trend.
        p_win: Probability of either side; None = UNTRAINED.
    """

    def __init__(self, proposals, views=None, trends=None, p_win=None):
        self.proposals, self.views, self.trends, self.p_win = proposals, views or {}, trends or {}, p_win
        self.faults, self.version, self.swaps = [], 0 if p_win is None else 1, []

    def compute(self, bars):
        shape = bars.state.shape
        first = int(bars.close_time[0] - START) // bars.interval_ms - 1
        signals = StrategyBlock.quiet(shape, ("because",))
        trend = np.full((*shape, 1), np.nan)
        for column, symbol in enumerate(bars.symbols):
            for row in range(shape[0]):
                trend[row, column, 0] = _at(self.trends.get(symbol, 1.0), first + row)
                for view, usual in USUAL.items():
                    value = _at(self.views.get(view, {}).get(symbol, usual), first + row)
                    getattr(signals, f"{view}_long")[row, column] = value
                    getattr(signals, f"{view}_short")[row, column] = value
                found = self.proposals.get((first + row, symbol))
                if found:
                    signals.side[row, column], signals.stop[row, column], signals.target[row, column] = found
                    signals.reason[row, column] = 0
        known = bars.state == TRADED
        features = FeatureBlock(
            columns=(Column("edge", Parity.ODD),),
            context_names=("trend_15m",),
            values=np.full((*shape, 1), 0.25, dtype=np.float32),
            context=trend,
            fresh=known & (bars.close_time % (5 * MINUTE) == 0)[:, None],
            ready=known,
        )
        return self.predict(Block(bars, features, (View("test", signals),)), 0)

    def predict(self, block, row):
        if self.p_win is None and not self.version:
            return block
        p = np.full(block.bars.state.shape, self.p_win or 0.5, dtype=np.float32)
        views = [evolve(v, p_long=p, p_short=p, model_version=self.version) for v in block.views]
        return evolve(block, views=tuple(views))

    def load_model(self, artefact):
        return artefact

    def use_model(self, strategy, version, artefact):
        self.version = version
        self.swaps.append((strategy, version, artefact))


def _at(value, row):
    return value[row] if isinstance(value, list | tuple) else value


class Records:
    """Takes records as the writer does; keeps them all and the last of each id."""

    def __init__(self):
        self.all, self.last = [], {}

    def put(self, records):
        for record in records:
            self.all.append(record)
            self.last[type(record), record.id] = record
        return len(self.all)

    async def durable(self, position=None):
        pass

    def of(self, kind):
        return [r for (k, _), r in self.last.items() if k is kind]


class Audited(Session):
    """A session that compares the books of engine and broker after every price and every bar."""

    async def move_price(self, point):
        await super().move_price(point)
        self.compare()

    async def close_bar(self, block, row, time):
        block = await super().close_bar(block, row, time)
        self.compare()
        return block

    def compare(self):
        book, portfolio = self._broker.book, self.engine.portfolio
        assert book.wallet == pytest.approx(portfolio.wallet, abs=1e-9)
        held = {p.symbol: p for p in book.positions()}
        assert set(held) == set(portfolio.holdings)
        for symbol, position in held.items():
            holding = portfolio.holdings[symbol]
            assert position.side * position.quantity == pytest.approx(
                holding.position.side * holding.position.quantity, abs=1e-9
            )
            assert position.entry_price == pytest.approx(holding.position.entry_price, rel=1e-12)
            assert position.margin + holding.funding == pytest.approx(holding.margin, rel=1e-9)
        working = {o.client_id for s in portfolio.symbols for o in book.open_orders(s)}
        assert working == set(portfolio.orders)
        for symbol, holding in portfolio.holdings.items():
            resting = [o for o in book.open_orders(symbol) if o.role is OrderRole.STOP]
            assert len(resting) == 1
            assert resting[0].quantity == pytest.approx(holding.position.quantity, abs=1e-9)


class Run:
    """One run.

    Args:
        candles: See `bars_of`.
        opinion: See `Opinion`.
        exits: Names of the exits, in order; or pairs of name and check.
        path: As the broker's option.
        blocks: Rows per block.
        skip: As in the replay.
        broker: Options of the paper broker.
        risk: Limits.
        rules: Changes of the symbols' rules.
        funding: Rates per symbol.
        sizer: A sizer; by default a risk of 1 % of equity.
        fit: Carries out a fit.
        wins_before: Winning trades that the account remembers.
        restarts: Start anew from a snapshot after every block.
        is_audited: Compare the books after every price.
        finish: Close what is open at the end.
        broker_class: Another broker than the paper broker.
    """

    def __init__(self, candles, opinion, *, exits=tuple(EXITS), path="adverse", blocks=10_000, skip=False, **options):
        self.bars = bars_of(candles, interval=options.get("interval", MINUTE))
        self.blocks, self.skip, self.opinion = blocks, skip, opinion
        symbols = self.bars.symbols
        funding = options.get("funding", {})
        self.market = MarketInfo(
            symbols=symbols,
            interval_ms=self.bars.interval_ms,
            start=START,
            end=int(self.bars.close_time[-1]),
            description="by hand",
            rules={s: rules_of(s, **options.get("rules", {})) for s in symbols},
            funding=funding,
            total_bars=len(self.bars),
        )
        costs = {"slippage_fraction": 0.0, "taker_fee_fraction": 0.0, **options.get("broker", {})}
        self.broker = options.get("broker_class", PaperBroker)(PaperBrokerConfig(path=path, **costs))
        self.exits = [(e, EXITS[e].slt_check_exit) if isinstance(e, str) else e for e in exits]
        self.options, self.path = options, path
        self.records = Records()
        self.events = []

    async def _go(self):
        options = self.options
        rules = await self.broker.slt_open_broker(market=self.market, wallet=10_000.0)
        self.engine = self._make_engine(rules)
        self.engine.portfolio.results.extend([True] * options.get("wins_before", 0))
        async with asyncio.TaskGroup() as tasks:
            self.session = self._make_session(tasks)
            player = self._make_player()
            for first in range(0, len(self.bars), self.blocks):
                await player.play(self.bars.rows(first, min(first + self.blocks, len(self.bars))))
                if options.get("restarts"):
                    player = await self._restart(rules, tasks, player)
            if options.get("finish", True):
                await player.finish()
        return self

    async def _restart(self, rules, tasks, player):
        """Everything anew, from what a snapshot holds, through pickle."""
        state = {
            "engine": self.engine.snapshot(),
            "broker": self.broker.slt_snapshot_broker(),
            "results": self.session.results,
            "player": (player.time, player._told, player._last_prices),
        }
        state = pickle.loads(pickle.dumps(state))
        self.broker = type(self.broker)(self.broker.config)
        await self.broker.slt_open_broker(market=self.market, wallet=1.0)
        self.broker.slt_restore_broker(state["broker"])
        self.engine = self._make_engine(rules)
        self.engine.restore(state["engine"])
        self.session.cancel_fits()
        self.session = self._make_session(tasks)
        self.session.results = state["results"]
        self.session.start_pending_fits()
        player = self._make_player()
        player.time, player._told, player._last_prices = state["player"]
        return player

    def _make_engine(self, rules):
        options = self.options
        sizer = options.get("sizer") or FixedRisk(FixedRiskConfig(risk_fraction=0.01)).slt_size_position
        engine = Engine(
            EngineSetup(
                run_id="h-001",
                symbols=self.market.symbols,
                interval_ms=self.market.interval_ms,
                strategies=("test",),
                names=("edge",),
                schema_hash="hash",
                rules=dict(rules),
                sizer=sizer,
                sizer_name="sizer",
                exits=self.exits,
                funding=self.market.funding,
                risk=options.get("risk") or RiskConfig(max_cost_share=1.0, max_margin_per_position=0.5),
                learning=options.get("learning") or LearningConfig(),
                is_training_locked=options.get("fit") is None,
            )
        )
        engine.portfolio.symbols = self.market.symbols
        return engine

    def _make_session(self, tasks):
        session_class = Audited if self.options.get("is_audited", True) else Session
        return session_class(
            self.engine,
            self.opinion,
            self.broker,
            self.records,
            outbox=None,
            fit=self.options.get("fit"),
            tasks=tasks,
            candles=CandleRecorder(self.market.symbols, MINUTE),
            path=self.path,
            is_durable=False,
        )

    def _make_player(self):
        settings = SimpleNamespace(run=SimpleNamespace(equity_every_minutes=60))
        return Player(SimpleNamespace(market=self.market, settings=settings), self.session, skip=self.skip)

    def go(self):
        """Play it all; returns the run itself."""
        asyncio.run(self._go())
        self._check_end()
        return self

    def _check_end(self):
        """Nothing is left over, and the money adds up."""
        portfolio = self.engine.portfolio
        if self.options.get("finish", True):
            assert not portfolio.holdings
            assert not portfolio.entries
            assert not portfolio.orders
            assert all(not self.broker.book.open_orders(s) for s in self.market.symbols)
            assert all(not p.is_open for p in self.records.of(OpenPosition))
            assert {i.status for i in self.records.of(OrderIntent)} <= {"filled", "cancelled", "rejected", "expired"}
            net = sum(t.gross_pnl - t.fees - t.funding for t in self.trades)
            assert portfolio.wallet == pytest.approx(10_000 + net, abs=1e-9)

    @property
    def trades(self):
        return self.session.results.trades

    def when(self, trade):
        """Minutes since `START` of entry and exit; the last moment of a bar counts as its end."""
        return tuple((t - START + 1) // 1000 / 60 for t in (trade.entry_time, trade.exit_time))


def flat(rows, price=100.0):
    """Candles that do not move."""
    return [(price, price, price, price)] * rows


def mirrored(candles, around=100.0):
    """The same candles upside down."""
    return [c and (2 * around - c[0], 2 * around - c[2], 2 * around - c[1], 2 * around - c[3]) for c in candles]


def only(run):
    """The run's one trade."""
    (trade,) = run.trades
    return trade


LONG, SHORT = int(Side.LONG), int(Side.SHORT)
