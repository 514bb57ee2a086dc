"""Which stored model a new run may begin with: pure rules over the rows of `ModelVersion`.

The rows of a strategy and schema are read like a diary, run after run. A promotion puts a version on top of a pile; a
demotion or a rollback takes it off; a demotion to UNTRAINED because the market has changed clears the pile. A promotion
by hand counts as the last word of the run that was the newest at that time. What lies on top is in force, and below
it lies what a damaged artefact makes way for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.types import ModelVersion

__all__ = ["adopt", "pile_of", "promote_by_hand", "roll_back", "run_number"]

_BY_HAND = "by_hand"
_ROLLED_BACK = "rolled_back"


def run_number(run_id: str) -> int:
    """The number in ``<name>-<number>``; 0 where there is none."""
    number = run_id.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def pile_of(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """What may be in force, best first; empty = UNTRAINED.

    Args:
        versions: Rows of one strategy and one schema, from runs of one name, in any order.
    """
    pile: list[ModelVersion] = []
    for version in sorted(versions, key=_place):
        demotion = version.metrics.get("demotion")
        if version.metrics.get(_BY_HAND):
            pile.append(version)
        elif demotion is not None and not demotion["to_version"]:
            pile.clear()
        elif version.promoted and demotion is None and not version.metrics.get(_ROLLED_BACK):
            pile.append(version)
    return pile[::-1]


def promote_by_hand(version: ModelVersion, newest_run: str, others: Iterable[ModelVersion]) -> ModelVersion:
    """The row of a version that a person wants in force.

    Args:
        version: The version.
        newest_run: Id of the newest run: later runs' own promotions outrank this one.
        others: Every row of its strategy.
    """
    order = 1 + max((_hand(v).get("order", 0) for v in others), default=0)
    metrics = {k: v for k, v in version.metrics.items() if k != _ROLLED_BACK}
    metrics[_BY_HAND] = {"after_run": newest_run, "order": order}
    return evolve(version, promoted=True, verdict=f"{version.verdict}; promoted by hand", metrics=metrics)


def roll_back(version: ModelVersion) -> ModelVersion:
    """The row of a version that a person wants out of force."""
    metrics = {k: v for k, v in version.metrics.items() if k != _BY_HAND}
    metrics[_ROLLED_BACK] = True
    return evolve(version, verdict=f"{version.verdict}; rolled back by hand", metrics=metrics)


def adopt(version: ModelVersion, run_id: str, start: int) -> ModelVersion:
    """The row under which a new run begins with a version of an earlier run.

    Args:
        version: The earlier run's row.
        run_id: The new run.
        start: Its start, ms UTC.
    """
    metrics = {k: v for k, v in version.metrics.items() if k not in {_BY_HAND, _ROLLED_BACK, "demotion"}}
    return evolve(
        version,
        id=f"{run_id}-{version.strategy}-v{version.version}",
        run_id=run_id,
        effective_time=start,
        promoted=True,
        verdict=f"taken over from run {version.run_id}: {version.verdict}",
        metrics=metrics,
    )


def _hand(version: ModelVersion) -> dict[str, Any]:
    return version.metrics.get(_BY_HAND) or {}


def _place(version: ModelVersion) -> tuple[int, int, int]:
    hand = _hand(version)
    return run_number(hand.get("after_run", version.run_id)), hand.get("order", 0), version.version
