"""The decision ledger: what became of every proposal, with the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slt.types import Decision

if TYPE_CHECKING:
    from slt.trading.core import Core
    from slt.trading.selector import Candidate

__all__ = ["ENTERED", "write_decision"]

ENTERED = "entered"


def write_decision(core: Core, candidate: Candidate, outcome: str, detail: str) -> str:
    """Store what became of a proposal.

    Args:
        core: The engine's memory.
        candidate: The proposal and the figures its gates looked at.
        outcome: `ENTERED`, or the name of the gate that refused.
        detail: One line for a person.

    Returns:
        The decision's id, which is also the id of the position or shadow that follows from it.
    """
    proposal = candidate.proposal
    decision = Decision(
        id=core.next_id(),
        run_id=core.setup.run_id,
        time=proposal.time,
        symbol=proposal.symbol,
        strategy=proposal.strategy,
        side=proposal.side,
        reason=proposal.reason,
        outcome=outcome,
        detail=detail,
        confidence=proposal.confidence,
        p_win=candidate.p_win,
        model_version=candidate.model_version,
        numbers={name: value for name, value in candidate.numbers.items() if not math.isnan(value)},
    )
    core.store(decision)
    return decision.id
