"""Signals compete: proposals of one bar, best first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from slt.types import Proposal

__all__ = ["Candidate", "opposed_symbols", "rank", "score"]


@define(eq=False)
class Candidate:
    """A proposal on its way through the gates.

    Attributes:
        proposal: What the strategy proposed, stop already at the floor or beyond.
        row: Row of the block.
        column: Column of the symbol.
        view: Index of the strategy's view in the block.
        p_win: The model's probability; None while UNTRAINED.
        model_version: Version asked; 0 = UNTRAINED.
        is_ready: The features are warm.
        numbers: What the gates looked at, for the ledger.
    """

    proposal: Proposal
    row: int
    column: int
    view: int
    p_win: float | None
    model_version: int
    is_ready: bool
    numbers: dict[str, float]


def score(proposal: Proposal, p_win: float | None) -> float:
    """0.4 · confidence + 0.4 · p_win (confidence while UNTRAINED) + 0.2 · min(reward:risk / 3, 1), in [0, 1].

    An unknown confidence counts as 0.
    """
    confidence = 0.0 if math.isnan(proposal.confidence) else proposal.confidence
    win = confidence if p_win is None else p_win
    return 0.4 * confidence + 0.4 * win + 0.2 * min(proposal.reward_to_risk / 3, 1.0)


def opposed_symbols(candidates: list[Candidate]) -> set[str]:
    """Symbols on which two strategies of one bar propose opposite sides; all of their proposals cancel."""
    longs = {c.proposal.symbol for c in candidates if c.proposal.side > 0}
    shorts = {c.proposal.symbol for c in candidates if c.proposal.side < 0}
    return longs & shorts


def rank(candidates: list[Candidate]) -> list[Candidate]:
    """Best score first; ties by symbol, then by the order of the strategies in the config."""
    for candidate in candidates:
        candidate.numbers["score"] = score(candidate.proposal, candidate.p_win)
    return sorted(candidates, key=lambda c: (-c.numbers["score"], c.proposal.symbol, c.view))
