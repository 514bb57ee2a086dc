"""Plays a market of samples through the real learner, gate, model and sizer, as the engine would drive them.

Left out of the engine are its exits (a trade ends at its barrier) and equity that grows: every size is that of an
account of `EQUITY`. Slots, one position a symbol, the cooldown after a loss, margin and risk caps, shadows, the fits,
the delay of their effect and demotions are there.
"""

from __future__ import annotations

import numpy as np
from attrs import define, evolve, field
from sample_markets import COST_RATE, NAMES, REWARD_TO_RISK, SYMBOLS

from slt.config import GateConfig, LearningConfig, RiskConfig
from slt.statistics import wilson_interval
from slt.trading.gate import evaluate
from slt.trading.learner import Learner
from slt.trading.sizing import allowed_leverage, cap_size
from slt.types import MINUTE_MS, Account, LeverageBracket, Proposal, Sample, Size, Trade
from slt_sizers.kelly import Kelly, KellyConfig
from slt_xgboost.model import XgboostModel, XgboostModelConfig

EQUITY = 10_000.0
PRICE = 100.0
STRATEGY = "simulated"
BRACKET = LeverageBracket(floor=0.0, cap=1e9, max_leverage=50, maintenance_rate=0.01, cum=0.0)
UNASKED, TRADED, SHADOWED = 0, 1, 2
_HOUR = 60 * MINUTE_MS


@define(eq=False)
class Play:
    """What happened in one market.

    Attributes:
        p: What the model in force said of each proposal; NaN while UNTRAINED.
        version: The version in force at each proposal.
        fate: `UNASKED` (a gate before the model refused), `TRADED` or `SHADOWED`.
        pnl: USDT of each trade, 0 elsewhere.
        notional: USDT of each trade.
        closed: Trades closed before each proposal.
        fits: One dict a gate decision.
        changes: One dict a change of the model in force.
        p_before: What the model in force before the flipped batch says of each proposal; NaN while UNTRAINED.
    """

    p: np.ndarray
    version: np.ndarray
    fate: np.ndarray
    pnl: np.ndarray
    notional: np.ndarray
    closed: np.ndarray
    fits: list = field(factory=list)
    changes: list = field(factory=list)
    p_before: np.ndarray | None = None


def play(market, *, seed, learns=True, flip_batch=None, until_trades=None):
    """Play a market to its end.

    Args:
        market: The market.
        seed: Of the fits.
        learns: Whether there are fits; without them UNTRAINED trades to the end.
        flip_batch: First and last (exclusive) closed trade, by number, whose labels are told the wrong way round.
        until_trades: End after so many closed trades; None = at the market's end.
    """
    player = _Player(market, seed, learns, flip_batch)
    for i in range(len(market.time)):
        player.move_to(int(market.time[i]))
        if until_trades is not None and player.closed >= until_trades:
            break
        player.decide(i)
    player.move_to(int(market.resolved_time.max()) + _HOUR)
    return player.play


class _Player:
    def __init__(self, market, seed, learns, flip_batch):
        n = len(market.time)
        self.market, self.flip_batch = market, flip_batch
        self.model, self.gate, self.risk = XgboostModel(XgboostModelConfig()), GateConfig(), RiskConfig()
        self.sizer = Kelly(KellyConfig())
        self.learner = Learner(LearningConfig(), "sim", (STRATEGY,), NAMES, "sim", seed=seed, is_locked=not learns)
        self.play = Play(
            p=np.full(n, np.nan),
            version=np.zeros(n, int),
            fate=np.zeros(n, int),
            pnl=np.zeros(n),
            notional=np.zeros(n),
            closed=np.zeros(n, int),
        )
        self.said = np.full(n, np.nan)
        self.in_force, self.closed, self.results = 0, 0, []
        self.open = {}
        self.cooling = {}
        self.waiting = []
        self.pending = []
        self.hour = 0

    # -- time ------------------------------------------------------------------------------------------------------

    def move_to(self, time):
        """Barriers, fits and demotions until `time`, each at its own time."""
        while True:
            moments = [self.waiting[0][0]] if self.waiting else []
            moments += [request.effective_time for request, _ in self.pending]
            moments.append((self.hour + 1) * _HOUR)
            moment = min(moments)
            if moment > time:
                return
            while self.waiting and self.waiting[0][0] <= moment:
                self.resolve(self.waiting.pop(0)[1])
            self.take_fits(moment)
            if moment == (self.hour + 1) * _HOUR:
                self.hour += 1
                self.demote(moment)
            self.start_fits(moment)

    def resolve(self, i):
        market, sample = self.market, self.open.pop(i)
        time, label = int(market.resolved_time[i]), float(market.label_r[i])
        is_trade = sample.source == "trade"
        if is_trade:
            flipped = self.flip_batch is not None and self.flip_batch[0] <= self.closed < self.flip_batch[1]
            if flipped and self.play.p_before is None:
                self.play.p_before = self.said
            label = -label if flipped else label
            self.closed += 1
            self.results = [*self.results[-99:], market.outcome_r[i] > 0]
            if market.outcome_r[i] <= 0:
                self.cooling[sample.symbol] = time + self.risk.cooldown_minutes * MINUTE_MS
        self.learner.note_barrier(evolve(sample, barrier="time", barrier_r=label, resolved_time=time))
        if is_trade:
            self.learner.note_trade(_trade(sample, time, label))

    def start_fits(self, time):
        for request in self.learner.due_fits(time):
            self.pending.append((request, evaluate(request, self.model, self.gate)))

    def take_fits(self, time):
        for request, report in [fit for fit in self.pending if fit[0].effective_time <= time]:
            self.pending.remove((request, report))
            version = self.learner.take_report(request, report)
            self.play.fits.append(
                {
                    "time": time,
                    "closed": self.closed,
                    "version": version.version,
                    "promoted": version.promoted,
                    "verdict": version.verdict,
                    "judged": "base_rate" in report.metrics,
                }
            )
            self.use(time, "promoted")

    def demote(self, time):
        for _ in self.learner.due_demotions(time):
            self.use(time, "demoted")

    def use(self, time, word):
        champion = self.learner.champion(STRATEGY)
        if champion.version == self.in_force:
            return
        self.play.changes.append(
            {"time": time, "closed": self.closed, "from": self.in_force, "to": champion.version, "word": word}
        )
        self.in_force = champion.version
        self.said = np.full(len(self.said), np.nan)
        if champion.version:
            self.said = self.model.slt_load_model(champion.artefact).predict(self.market.x).astype(float)

    # -- decisions -------------------------------------------------------------------------------------------------

    def decide(self, i):
        market, now, symbol = self.market, int(self.market.time[i]), SYMBOLS[int(self.market.symbol[i])]
        self.play.p[i], self.play.version[i], self.play.closed[i] = self.said[i], self.in_force, self.closed
        trades = [sample for sample in self.open.values() if sample.source == "trade"]
        if any(sample.symbol == symbol for sample in trades) or self.cooling.get(symbol, 0) > now:
            return
        notional = self.size(i, symbol, trades) if len(trades) < self.risk.max_positions else 0.0
        self.play.fate[i] = TRADED if notional > 0 else SHADOWED
        self.play.notional[i] = notional
        self.play.pnl[i] = notional * market.stop_fraction[i] * market.outcome_r[i]
        sample = self.sample(i, symbol, "trade" if notional > 0 else "shadow")
        self.open[i] = sample
        self.learner.open_sample(sample)
        self.waiting.append((int(market.resolved_time[i]), i))
        self.waiting.sort()

    def size(self, i, symbol, trades):
        """Notional of an entry; 0 where the sizer or the caps leave nothing."""
        market, risk, side = self.market, self.risk, int(self.market.side[i])
        fraction, confidence = float(market.stop_fraction[i]), float(market.confidence[i])
        p = None if np.isnan(self.said[i]) else float(self.said[i])
        win_rate = wilson_interval(sum(self.results), len(self.results))[0]
        leverage = allowed_leverage(risk, BRACKET, fraction, win_rate, confidence if p is None else p)
        in_use = EQUITY * risk.max_margin_per_position * len(trades)
        proposal = Proposal(
            time=int(market.time[i]),
            symbol=symbol,
            side=side,
            strategy=STRATEGY,
            price=PRICE,
            stop=PRICE * (1 - side * fraction),
            target=PRICE * (1 + side * fraction * REWARD_TO_RISK),
            reason="simulated",
            confidence=confidence,
        )
        account = Account(EQUITY, EQUITY - in_use, in_use, leverage, COST_RATE, risk.max_loss_at_stop, win_rate)
        size = self.sizer.slt_size_position(proposal, confidence, p, account)
        if not isinstance(size, Size):
            return 0.0
        return cap_size(size, risk, EQUITY, in_use, leverage, fraction + COST_RATE).notional

    def sample(self, i, symbol, source):
        market = self.market
        return Sample(
            id=f"sim-{i:06d}",
            run_id="sim",
            strategy=STRATEGY,
            schema_hash="sim",
            source=source,
            time=int(market.time[i]),
            symbol=symbol,
            side=int(market.side[i]),
            features=market.x[i].astype("<f4").tobytes(),
            entry_price=PRICE,
            stop=PRICE,
            target=PRICE,
            cost_rate=COST_RATE,
            model_version=self.in_force,
            confidence=float(market.confidence[i]),
            p_win=None if np.isnan(self.said[i]) else float(self.said[i]),
            refused_by="" if source == "trade" else "sizer",
        )


def _trade(sample, time, outcome):
    return Trade(
        id=sample.id,
        run_id="sim",
        symbol=sample.symbol,
        side=sample.side,
        strategy=STRATEGY,
        reason="simulated",
        entry_time=sample.time,
        exit_time=time,
        entry_price=PRICE,
        exit_price=PRICE,
        quantity=1.0,
        leverage=1,
        initial_stop=PRICE,
        target=PRICE,
        gross_pnl=0.0,
        fees=0.0,
        funding=0.0,
        slippage=0.0,
        net_pnl=outcome,
        r_multiple=outcome,
        exit="barrier",
        partial_exits=(),
        confidence=sample.confidence,
        p_win=sample.p_win,
        model_version=sample.model_version,
        won=outcome > 0,
    )
