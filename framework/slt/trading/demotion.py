"""Demotion: a model that decays in use loses its place before it loses much money.

What a model says of a proposal is written down at the decision; when the barrier of that proposal is known, trade or
shadow, the two are put on the model's record. The record is judged once an hour of event time, by two bounds:

* *Decay*: over its last decisions the model's log-loss is worse than that of the base rate it was fitted at, by a
  one-sided block bootstrap test (trades open at the same time share the market's fate).
* *Feature drift*: what it is asked about now is not what it was fitted on, by the population stability index.

The base rate of the fit is the rival because it is what could have been said without a model at that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field, frozen

from slt.trading.scoring import block_length, improvement_p_value, log_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from slt.config import LearningConfig
    from slt.types import SampleSet

__all__ = ["Decay", "DriftReference", "Outcome", "Record", "judge_record", "make_record", "stability_index"]

_BINS = 10
_LEAST_SHARE = 0.005
_DRAWS = 1_000
_CHECK_EVERY = 10
_PROVEN_NATS = float(np.log(20.0))
"""Gain in log-loss that makes the model 20 times as likely as the base rate to have seen what happened."""


@frozen(eq=False)
class DriftReference:
    """What the features looked like at the fit.

    Attributes:
        edges: Per column the inner edges of at most ten bins of equal count, rising.
        shares: Per column the share of the samples in each bin, unknown (NaN) last.
        weights: float64 ``[f]``, weight of each column, summing to 1: the model's importance of it.
    """

    edges: tuple[NDArray[np.float32], ...]
    shares: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64]


@frozen
class Outcome:
    """One decision of the model and what became of it.

    Attributes:
        time: Of the decision, ms UTC.
        resolved_time: When its barrier was known, ms UTC.
        p: What the model said.
        won: What happened.
        features: The oriented float32 vector, little-endian bytes.
    """

    time: int
    resolved_time: int
    p: float
    won: bool
    features: bytes


@define(eq=False)
class Record:
    """What a model has shown in use.

    Attributes:
        version: The model.
        base_rate: Share of wins in the samples of its fit: the rival.
        reference: The features of those samples.
        recent: Its last decisions with a known outcome, in the order in which these became known.
        unjudged: Number of them added since the record was judged.
        earlier: Of those that have left `recent`, the sum of base rate's minus model's log-loss, nats.
    """

    version: int
    base_rate: float
    reference: DriftReference
    recent: list[Outcome] = field(factory=list)
    unjudged: int = 0
    earlier: float = 0.0

    def add(self, outcome: Outcome, window: int) -> None:
        """Put a decision on the record, which holds the last `window`."""
        self.recent.append(outcome)
        self.unjudged += 1
        while len(self.recent) > window:
            self.earlier -= float(_excess([self.recent.pop(0)], self.base_rate)[0])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs to begin a new record of the same model, as JSON types."""
        reference = self.reference
        return {
            "base_rate": self.base_rate,
            "edges": [column.tolist() for column in reference.edges],
            "shares": [column.tolist() for column in reference.shares],
            "weights": reference.weights.tolist(),
        }

    @classmethod
    def from_json(cls, version: int, data: Mapping[str, Any]) -> Record:
        """An empty record from what `to_json` gave."""
        reference = DriftReference(
            edges=tuple(np.asarray(column, np.float32) for column in data["edges"]),
            shares=tuple(np.asarray(column, np.float64) for column in data["shares"]),
            weights=np.asarray(data["weights"], np.float64),
        )
        return cls(version, float(data["base_rate"]), reference)

    def clear(self) -> None:
        """Begin anew, for a model that returns after it had been replaced."""
        self.recent.clear()
        self.unjudged = 0


@frozen
class Decay:
    """Why a model is demoted.

    Attributes:
        reason: One line for people.
        since: Decision time from which on the model was worse, ms UTC.
        was_good: Whether its record had proved it better than the base rate before, 20 to 1: then the market has
            changed, and models and samples from before are of another market. Otherwise the promotion was a mistake.
        numbers: What was measured.
    """

    reason: str
    since: int
    was_good: bool
    numbers: dict[str, float]


def make_record(version: int, samples: SampleSet, importance: Mapping[str, float]) -> Record:
    """The empty record of a model that is about to be used.

    Args:
        version: The model.
        samples: What it was fitted on, and what it was scored on.
        importance: Share of the gain per column; where it is empty or 0 throughout all columns count alike.
    """
    weights = np.array([max(0.0, importance.get(name, 0.0)) for name in samples.names])
    if not weights.sum() > 0.0:
        weights = np.ones(len(samples.names))
    edges = tuple(_edges(column) for column in samples.x.T)
    reference = DriftReference(
        edges=edges,
        shares=tuple(_shares(column, inner) for column, inner in zip(samples.x.T, edges, strict=True)),
        weights=weights / weights.sum(),
    )
    return Record(version, (int(samples.won.sum()) + 0.5) / (len(samples) + 1.0), reference)


def judge_record(record: Record, config: LearningConfig, seed: int) -> Decay | None:
    """Look at a model's record; None while it may stay, and while there is too little new to say.

    Args:
        record: The record; `Record.unjudged` starts anew when it is judged.
        config: `demotion_window`, `demotion_min_decisions`, `demotion_level` and `max_feature_drift`.
        seed: Of the bootstrap; the same record, config and seed give the same answer.
    """
    least = min(config.demotion_min_decisions, config.demotion_window)
    if not least or record.unjudged < _CHECK_EVERY or len(record.recent) < least:
        return None
    record.unjudged = 0
    decisions = sorted(record.recent, key=lambda o: (o.time, o.resolved_time, o.features))
    return _judge_loss(record, decisions, config, seed) or _judge_drift(record, decisions, config)


def stability_index(reference: DriftReference, x: NDArray[np.float32]) -> float:
    """Population stability index of the columns, weighted by importance: 0 = alike; 0.25 is called a shift by custom.

    Per column ``sum((a - b) * ln(a / b))`` over at most ten bins of equal count at the fit and one for unknown values,
    a and b the shares now and then, none counted below 0.5 %. Few and slowly moving samples alone give a value well
    above 0: a bound has to leave room for that. Source: N. Siddiqi, "Credit Risk Scorecards", 2006.

    Args:
        reference: The fit's features.
        x: float32 ``[n, f]``, the features now, at least one row.
    """
    index = np.zeros(len(reference.weights))
    for j, (edges, then) in enumerate(zip(reference.edges, reference.shares, strict=True)):
        now = np.maximum(_shares(x[:, j], edges), _LEAST_SHARE)
        before = np.maximum(then, _LEAST_SHARE)
        index[j] = float(((now - before) * np.log(now / before)).sum())
    return float(reference.weights @ index)


def _judge_loss(record: Record, decisions: list[Outcome], config: LearningConfig, seed: int) -> Decay | None:
    excess = _excess(decisions, record.base_rate)
    mean = float(excess.mean())
    if mean <= 0.0:
        return None
    time = np.array([o.time for o in decisions], np.int64)
    block = block_length(time, np.array([o.resolved_time for o in decisions], np.int64))
    p_value = improvement_p_value(excess, block, _DRAWS, (seed, record.version, int(time[-1] % 2**31)))
    if p_value > config.demotion_level:
        return None
    # The record was best where the running sum of the excess is lowest: from there on it went down.
    running = np.concatenate([[0.0], np.cumsum(excess)])
    turn = int(running[:-1].argmin())
    loss, base = _losses(decisions, record.base_rate)
    return Decay(
        reason=f"log-loss {loss:.3f} in use against base rate {base:.3f} on its last {len(decisions)} decisions "
        f"(p = {p_value:.3f})",
        since=int(time[turn]),
        was_good=record.earlier - float(running[turn]) > _PROVEN_NATS,
        numbers={"log_loss": loss, "base_rate_log_loss": base, "p_value": p_value, "decisions": len(decisions)},
    )


def _judge_drift(record: Record, decisions: list[Outcome], config: LearningConfig) -> Decay | None:
    if not config.max_feature_drift:
        return None
    x = np.frombuffer(b"".join(o.features for o in decisions), "<f4").reshape(len(decisions), -1)
    index = stability_index(record.reference, x)
    if index <= config.max_feature_drift:
        return None
    return Decay(
        reason=f"the features have drifted: stability index {index:.2f} of its last {len(decisions)} decisions against "
        f"those it was fitted on, above {config.max_feature_drift:g}",
        since=decisions[0].time,
        was_good=True,
        numbers={"stability_index": index, "decisions": len(decisions)},
    )


def _excess(outcomes: list[Outcome], base_rate: float) -> NDArray[np.float64]:
    """The model's log-loss minus the base rate's, per decision."""
    p, won = np.array([o.p for o in outcomes]), np.array([o.won for o in outcomes], np.bool_)
    return log_loss(p, won) - log_loss(np.full(len(won), base_rate), won)


def _losses(outcomes: list[Outcome], base_rate: float) -> tuple[float, float]:
    p, won = np.array([o.p for o in outcomes]), np.array([o.won for o in outcomes], np.bool_)
    return float(log_loss(p, won).mean()), float(log_loss(np.full(len(won), base_rate), won).mean())


def _edges(column: NDArray[np.float32]) -> NDArray[np.float32]:
    known = column[~np.isnan(column)]
    if not len(known):
        return np.empty(0, np.float32)
    return np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS, method="lower")).astype(np.float32)


def _shares(column: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return np.append(counts, len(column) - len(known)) / max(1, len(column))
