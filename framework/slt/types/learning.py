"""What goes into a fit of a model and what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FitReport", "FitRequest", "SampleSet"]


@frozen(eq=False)
class SampleSet:
    """Resolved samples as arrays, oldest decision first.

    Attributes:
        names: Columns of the vector; length f.
        x: float32 ``[n, f]``, oriented features exactly as seen at the decision; NaN = missing.
        won: bool ``[n]``: the net outcome under the configured label is above 0.
        outcome_r: float64 ``[n]``, that net outcome in R.
        time: int64 ``[n]``, decision time, ms UTC, rising.
        resolved_time: int64 ``[n]``, when the outcome was known, ms UTC, after `time`.
        p_champion: float64 ``[n]``, what the champion in force says of each sample; NaN while UNTRAINED.
        is_shadow: bool ``[n]``: a refused proposal followed on candles, not a trade.
    """

    names: tuple[str, ...]
    x: NDArray[np.float32]
    won: NDArray[np.bool_]
    outcome_r: NDArray[np.float64]
    time: NDArray[np.int64]
    resolved_time: NDArray[np.int64]
    p_champion: NDArray[np.float64]
    is_shadow: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> SampleSet:
        """The chosen rows, by index, mask or slice."""
        return SampleSet(
            names=self.names,
            x=self.x[rows],
            won=self.won[rows],
            outcome_r=self.outcome_r[rows],
            time=self.time[rows],
            resolved_time=self.resolved_time[rows],
            p_champion=self.p_champion[rows],
            is_shadow=self.is_shadow[rows],
        )


@frozen(eq=False)
class FitRequest:
    """One fit to carry out in a child process.

    Attributes:
        id: Id the resulting `ModelVersion` will carry.
        strategy: Config name of the strategy.
        version: The challenger's version.
        schema_hash: Schema of the samples.
        triggered_time: Event time, ms UTC; every sample was resolved at or before it.
        effective_time: Event time the verdict takes effect, ms UTC.
        samples: The samples.
        seed: Seed of everything random in the fit.
        champion: Artefact of the champion in force; empty while UNTRAINED.
        champion_version: Its version; 0 while UNTRAINED.
    """

    id: str
    strategy: str
    version: int
    schema_hash: str
    triggered_time: int
    effective_time: int
    samples: SampleSet
    seed: int
    champion: bytes = b""
    champion_version: int = 0


@frozen(eq=False)
class FitReport:
    """The result of a `FitRequest`.

    Attributes:
        request_id: The request's id.
        promoted: Whether the challenger passed the gate.
        verdict: One line: why.
        metrics: JSON types only; see `ModelVersion.metrics`.
        artefact: The challenger; empty when there was none.
        is_failed: The fit itself failed (killed, out of memory or time, a broken plugin), so a person should know.
    """

    request_id: str
    promoted: bool
    verdict: str
    metrics: dict[str, Any] = field(factory=dict)
    artefact: bytes = b""
    is_failed: bool = False
