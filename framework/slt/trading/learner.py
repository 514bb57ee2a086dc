"""Learner control: which samples there are, when to fit, which version trades, and until when.

A fit itself runs in a child process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import define, evolve, field, frozen

from slt.trading.demotion import Outcome, Record, judge_record, make_record
from slt.trading.samples import SampleStore
from slt.types import MINUTE_MS, FitReport, FitRequest, ModelVersion, Sample, SampleSet, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.config import LearningConfig
    from slt.trading.demotion import Decay

__all__ = ["Champion", "Demotion", "Learner"]

_CANDLE_MS = 5 * MINUTE_MS
_DAY_MS = 86_400_000
_MOST_FORMER = 5


@define(eq=False)
class Champion:
    """The model in force of one strategy.

    Attributes:
        version: 0 = UNTRAINED.
        artefact: The model as saved by its plugin; empty while UNTRAINED.
        record: What it has shown in use; None while UNTRAINED.
        stored: Its row in the storage; None while UNTRAINED.
    """

    version: int = 0
    artefact: bytes = b""
    record: Record | None = None
    stored: ModelVersion | None = None


@frozen(eq=False)
class Demotion:
    """A model has lost its place.

    Attributes:
        strategy: Config name.
        version: What was in force.
        successor: What is in force now: the model before it, or UNTRAINED.
        stored: The demoted version's row, its verdict and metrics saying so.
        reason: One line for people.
    """

    strategy: str
    version: int
    successor: Champion
    stored: ModelVersion
    reason: str


@define(eq=False)
class _StrategyState:
    """What the learner remembers of one strategy; plain data for the snapshot."""

    resolved: SampleStore
    shadows: SampleStore
    champion: Champion = field(factory=Champion)
    former: list[Champion] = field(factory=list)
    since: int = 0
    fits: int = 0
    trades_since_fit: int = 0
    shadows_since_fit: int = 0
    last_trade_time: int | None = None
    pending: FitRequest | None = None
    open: dict[str, Sample] = field(factory=dict)

    def keep(self, sample: Sample) -> None:
        """Keep a resolved sample for the fits to come."""
        (self.resolved if sample.source == "trade" else self.shadows).add(sample)


class Learner:
    """Counts closed trades, keeps samples, and asks for fits.

    A fit is due after every `fit_every_trades` closed trades, or when nothing has closed for `shadow_fit_after_days`
    and `shadow_fit_count` shadows have been resolved since the last one. One fit at a time per strategy; what
    becomes due while one runs is asked for when it has taken effect.

    Args:
        config: When and on what.
        run_id: The run.
        strategies: Config names, each with a model of its own.
        names: Columns of the vector.
        schema_hash: Identity of the vector.
        seed: The run's seed; a fit's seed is derived from it and the version.
        is_locked: Whether fits are switched off (`DISABLE_MODEL_TRAINING`, or no model plugin chosen).
    """

    def __init__(
        self,
        config: LearningConfig,
        run_id: str,
        strategies: tuple[str, ...],
        names: tuple[str, ...],
        schema_hash: str,
        *,
        seed: int,
        is_locked: bool,
    ) -> None:
        self.config = config
        self.run_id = run_id
        self.names = names
        self.schema_hash = schema_hash
        self.seed = seed
        self.is_locked = is_locked
        width, limit = len(names), config.max_samples
        self.states = {s: _StrategyState(SampleStore(width, limit), SampleStore(width, limit)) for s in strategies}
        self.started: int | None = None

    def champion(self, strategy: str) -> Champion:
        """The model in force."""
        return self.states[strategy].champion

    def pending(self) -> list[FitRequest]:
        """Fits asked for whose result has not taken effect; after a resume they are carried out again."""
        return [state.pending for state in self.states.values() if state.pending is not None]

    def open_sample(self, sample: Sample) -> None:
        """Remember a sample whose trade or barrier is still open."""
        self.states[sample.strategy].open[sample.id] = sample

    def drop_sample(self, strategy: str, sample_id: str) -> None:
        """Forget the sample of an entry that was never filled."""
        self.states[strategy].open.pop(sample_id, None)

    def note_barrier(self, resolved: Sample) -> Sample | None:
        """Take a resolved barrier; returns the sample with everything known of it, or None for one that was dropped."""
        state = self.states[resolved.strategy]
        known = state.open.get(resolved.id)
        if known is None:
            return None
        sample = evolve(resolved, traded_r=known.traded_r)
        self._settle(state, sample)
        if sample.source == "shadow":
            state.shadows_since_fit += 1
        return sample

    def note_trade(self, trade: Trade) -> Sample | None:
        """Take a closed trade; returns its sample with the traded outcome."""
        state = self.states[trade.strategy]
        state.trades_since_fit += 1
        state.last_trade_time = trade.exit_time
        known = state.open.get(trade.id)
        if known is None:
            return None
        sample = evolve(known, traded_r=trade.r_multiple)
        self._settle(state, sample)
        return sample

    def due_fits(self, time: int) -> list[FitRequest]:
        """The fits that are due at `time`, each now pending."""
        if self.started is None:
            self.started = time
        if self.is_locked:
            return []
        requests = []
        for strategy, state in self.states.items():
            if state.pending is None and self._is_due(state, time):
                state.pending = self._request(strategy, state, time)
                requests.append(state.pending)
        return requests

    def take_report(self, request: FitRequest, report: FitReport) -> ModelVersion:
        """Let a fit's result take effect: the champion changes if the challenger was promoted.

        A challenger that beat a champion which has been demoted since is refused: it was fitted on the same past.
        """
        state = self.states[request.strategy]
        state.pending = None
        promoted, verdict = report.promoted, report.verdict
        if promoted and request.champion_version != state.champion.version:
            promoted, verdict = False, f"refused: v{request.champion_version} was demoted while this was fitted"
        stored = ModelVersion(
            id=request.id,
            run_id=self.run_id,
            strategy=request.strategy,
            version=request.version,
            schema_hash=self.schema_hash,
            fitted_time=request.triggered_time,
            effective_time=request.effective_time,
            samples=len(request.samples),
            promoted=promoted,
            verdict=verdict,
            metrics=report.metrics,
            artefact=report.artefact,
        )
        if promoted:
            record = make_record(request.version, request.samples, report.metrics.get("importance", {}))
            stored = evolve(stored, metrics={**stored.metrics, "in_use": record.to_json()})
            if state.champion.version:
                state.former = [*state.former, state.champion][-_MOST_FORMER:]
            state.champion = Champion(request.version, report.artefact, record, stored)
        return stored

    def adopt(self, version: ModelVersion) -> None:
        """Begin with a model of an earlier run; the fits of this run go on counting from its version."""
        state, use = self.states[version.strategy], version.metrics.get("in_use")
        record = None if use is None else Record.from_json(version.version, use)
        state.champion = Champion(version.version, version.artefact, record, version)
        state.fits = version.version

    def adopt_samples(self, samples: Iterable[Sample]) -> int:
        """Begin with resolved samples of earlier runs, oldest first; returns how many were taken.

        They train and score as this run's own do, but do not count towards its next fit, and what another run's model
        said of them is forgotten: versions are numbered anew in each run.

        Raises:
            ValueError: One has another schema, or is not resolved.
        """
        taken = 0
        for sample in samples:
            if sample.schema_hash != self.schema_hash or sample.resolved_time is None:
                raise ValueError(f"sample {sample.id} is of another schema, or not resolved")
            self.states[sample.strategy].keep(evolve(sample, model_version=0, p_win=None))
            taken += 1
        return taken

    def due_demotions(self, time: int) -> list[Demotion]:
        """The models that have decayed in use, each already out of its place; to be asked once an hour of event time.

        Where a model had been good before it decayed the market has changed: UNTRAINED takes over, and samples from
        before are not fitted on any more. Where it never was good its promotion was a mistake: its predecessor returns.
        """
        demotions = []
        for strategy, state in self.states.items():
            record = state.champion.record
            decay = None if record is None else judge_record(record, self.config, self.seed)
            if decay is not None:
                demotions.append(self._demote(strategy, state, decay, time))
        return demotions

    def _demote(self, strategy: str, state: _StrategyState, decay: Decay, time: int) -> Demotion:
        demoted = state.champion
        assert demoted.stored is not None  # noqa: S101 # whoever has a record has a row
        if decay.was_good:
            state.former.clear()
            state.since = decay.since
        state.champion = state.former.pop() if state.former else Champion()
        if state.champion.record is not None:
            state.champion.record.clear()
        successor = f"v{state.champion.version}" if state.champion.version else "UNTRAINED"
        numbers = {"time": time, "to_version": state.champion.version, "reason": decay.reason, **decay.numbers}
        stored = evolve(
            demoted.stored,
            verdict=f"{demoted.stored.verdict}; demoted to {successor}: {decay.reason}",
            metrics={**demoted.stored.metrics, "demotion": numbers},
        )
        return Demotion(strategy, demoted.version, state.champion, stored, f"{successor} decides now: {decay.reason}")

    def _settle(self, state: _StrategyState, sample: Sample) -> None:
        """Move a sample to the resolved ones once its barrier and, for a trade, its close are known."""
        is_trade = sample.source == "trade"
        if sample.resolved_time is None or (is_trade and sample.traded_r is None):
            state.open[sample.id] = sample
            return
        state.open.pop(sample.id, None)
        self._judge_later(state.champion, sample)
        state.keep(sample)

    def _judge_later(self, champion: Champion, sample: Sample) -> None:
        """Put a decision of the model in force on its record."""
        if champion.record is None or sample.model_version != champion.version or sample.p_win is None:
            return
        assert sample.resolved_time is not None  # noqa: S101 # only resolved samples are settled
        won = self._outcome(sample) > 0
        outcome = Outcome(sample.time, sample.resolved_time, sample.p_win, won, sample.features)
        champion.record.add(outcome, self.config.demotion_window)

    def _is_due(self, state: _StrategyState, time: int) -> bool:
        if state.trades_since_fit >= self.config.fit_every_trades:
            return True
        days = self.config.shadow_fit_after_days
        quiet_since = state.last_trade_time if state.last_trade_time is not None else self.started
        is_quiet = days > 0 and quiet_since is not None and time - quiet_since >= days * _DAY_MS
        return is_quiet and state.shadows_since_fit >= self.config.shadow_fit_count

    def _request(self, strategy: str, state: _StrategyState, time: int) -> FitRequest:
        state.fits += 1
        state.trades_since_fit = 0
        state.shadows_since_fit = 0
        delay = self.config.effect_delay_minutes * MINUTE_MS
        version = state.fits
        return FitRequest(
            id=f"{self.run_id}-{strategy}-v{version}",
            strategy=strategy,
            version=version,
            schema_hash=self.schema_hash,
            triggered_time=time,
            effective_time=-(-(time + delay) // _CANDLE_MS) * _CANDLE_MS,
            samples=self._samples(state, time),
            seed=self.seed + 1_000_003 * version,
            champion=state.champion.artefact,
            champion_version=state.champion.version,
        )

    def _samples(self, state: _StrategyState, time: int) -> SampleSet:
        """Trades and shadows resolved by now; the gate scores on both and says which of them train."""
        (trade_ids, trades), (shadow_ids, shadows) = (
            kept.select(state.since, time) for kept in (state.resolved, state.shadows)
        )
        rows = np.concatenate([trades, shadows])
        order = np.lexsort((np.array([*trade_ids, *shadow_ids], dtype=np.str_), rows["time"]))
        rows = rows[order]
        outcomes = rows["barrier_r"]
        if self.config.label == "trade":
            outcomes = np.where(np.isnan(rows["traded_r"]), outcomes, rows["traded_r"])
        return SampleSet(
            names=self.names,
            x=rows["x"].astype(np.float32),
            won=outcomes > 0,
            outcome_r=outcomes.astype(np.float64),
            time=rows["time"].astype(np.int64),
            resolved_time=rows["resolved_time"].astype(np.int64),
            p_champion=np.where(rows["model_version"] == state.champion.version, rows["p_win"], np.nan),
            is_shadow=order >= len(trades),
        )

    def _outcome(self, sample: Sample) -> float:
        value = sample.barrier_r
        if self.config.label == "trade" and sample.traded_r is not None:
            value = sample.traded_r
        assert value is not None  # noqa: S101 # `_settle` keeps only resolved samples
        return value
