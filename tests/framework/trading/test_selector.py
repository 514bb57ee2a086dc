from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.trading.selector import Candidate, opposed_symbols, rank, score
from slt.types import Proposal


def candidate(symbol, side=1, confidence=0.6, reward=3.0, p_win=None, view=0):
    proposal = Proposal(0, symbol, side, "s", 100.0, 100.0 - 2 * side, 100.0 + side * 2 * reward, "why", confidence)
    return Candidate(proposal, 0, 0, view, p_win, 0, True, {})


def test_score_weighs_confidence_probability_and_reward_to_risk():
    assert score(candidate("A", confidence=0.5, reward=1.5, p_win=0.7).proposal, 0.7) == pytest.approx(
        0.4 * 0.5 + 0.4 * 0.7 + 0.2 * 0.5
    )


def test_score_takes_confidence_for_the_probability_while_untrained():
    assert score(candidate("A", confidence=0.5).proposal, None) == pytest.approx(0.4 * 0.5 + 0.4 * 0.5 + 0.2)


def test_score_counts_an_unknown_confidence_as_nothing():
    assert score(candidate("A", confidence=math.nan).proposal, 0.5) == pytest.approx(0.4 * 0.5 + 0.2)


def test_reward_to_risk_counts_up_to_three():
    assert score(candidate("A", reward=9.0).proposal, None) == score(candidate("A", reward=3.0).proposal, None)


def test_ties_go_by_symbol_then_by_strategy():
    ranked = rank([candidate("B"), candidate("A", view=1), candidate("A", view=0)])
    assert [(c.proposal.symbol, c.view) for c in ranked] == [("A", 0), ("A", 1), ("B", 0)]


@given(st.permutations(range(6)))
def test_ranking_does_not_depend_on_the_order_of_arrival(order):
    pool = [candidate(s, confidence=c) for s, c in zip("ABCDEF", (0.5, 0.9, 0.5, 0.7, 0.9, 0.1), strict=True)]
    assert [c.proposal.symbol for c in rank([pool[i] for i in order])] == ["B", "E", "D", "A", "C", "F"]


def test_opposed_symbols_are_those_with_both_sides():
    found = opposed_symbols([candidate("A", 1), candidate("A", -1), candidate("B", 1), candidate("C", -1)])
    assert found == {"A"}
