"""The conformance kit of sizers: subclass `SizerConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from attrs import evolve, frozen

from slt.hookspecs import SizerSpecs
from slt.testing.laws import assert_described
from slt.testing.markets import make_account, make_proposal
from slt.types import Account, Proposal, Size, Skip

__all__ = ["SizerCase", "SizerConformance", "sizer_cases"]

MakeSizer = Callable[[], SizerSpecs]

_NAN = float("nan")


@frozen
class SizerCase:
    """One question that a sizer is asked.

    Attributes:
        proposal: The entry.
        confidence: The rules' confidence, [0, 1] or NaN.
        p_win: The model's probability, or None while UNTRAINED.
        account: The account.
    """

    proposal: Proposal
    confidence: float
    p_win: float | None
    account: Account


def sizer_cases() -> Iterator[SizerCase]:
    """Entries near and far from stop and target, from hopeless to certain, on small, large and empty accounts."""
    shapes = product((1, -1), (0.35, 1.0, 4.0), (0.05, 1.0, 6.0))
    convictions = product((0.0, 0.5, 0.55, 0.75, 1.0, _NAN), (None, 0.0, 0.31, 0.5, 0.74, 1.0, _NAN))
    accounts = (make_account(), make_account(37.0, leverage=1), make_account(2e6, leverage=20), make_account(0.0))
    for (side, risk, reward), (confidence, p_win), account in product(shapes, convictions, accounts):
        proposal = make_proposal(side, risk=risk, reward=reward, confidence=confidence)
        yield SizerCase(proposal, confidence, p_win, account)


class SizerConformance:
    """What every sizer must do. A subclass gives the fixture `make_sizer`; nothing else is needed.

    ``make_sizer()`` makes a plugin instance. It is asked in some thousand situations (`sizer_cases`).
    """

    @pytest.fixture
    def make_sizer(self) -> MakeSizer:
        """How to make a sizer; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_sizer`: a function that makes a sizer")

    def test_z01_describes_itself(self, make_sizer: MakeSizer) -> None:
        """Z01: documented class and options."""
        assert_described(make_sizer())

    def test_z02_size_is_positive_and_affordable(self, make_sizer: MakeSizer) -> None:
        """Z02: notional and margin are finite and above 0, the margin carries the notional and is not above equity."""
        sizes = 0
        for case, answer in _asked(make_sizer()):
            if not isinstance(answer, Size):
                continue
            sizes += 1
            for name in ("notional", "margin"):
                value = getattr(answer, name)
                assert math.isfinite(value), f"{name} is {value}: {case}"
                assert value > 0.0, f"{name} is {value}: {case}"
            carried = answer.margin * case.account.leverage * (1.0 + 1e-9)
            assert answer.notional <= carried, f"notional {answer.notional} exceeds margin times leverage: {case}"
            assert answer.margin <= case.account.equity * (1.0 + 1e-9), f"margin {answer.margin} above equity: {case}"
        assert sizes, "it skips in all of the situations: nothing was tested"

    def test_z03_skip_says_why(self, make_sizer: MakeSizer) -> None:
        """Z03: a refusal carries a reason; the numbers of either answer are finite, for the ledger."""
        for case, answer in _asked(make_sizer()):
            assert isinstance(answer, Size | Skip), f"{answer!r} is no answer of a sizer: {case}"
            assert not isinstance(answer, Skip) or answer.reason.strip(), f"a skip without a reason: {case}"
            bad = {name: value for name, value in answer.numbers.items() if not math.isfinite(value)}
            assert not bad, f"numbers that are not finite: {bad}: {case}"

    def test_z04_no_equity_is_no_size(self, make_sizer: MakeSizer) -> None:
        """Z04: an account without equity gets nothing."""
        for case, answer in _asked(make_sizer()):
            assert case.account.equity > 0.0 or isinstance(answer, Skip), f"sized {answer} without equity: {case}"

    def test_z05_is_pure(self, make_sizer: MakeSizer) -> None:
        """Z05: the same question gets the same answer, from another instance too."""
        plugin, other = make_sizer(), make_sizer()
        for case, answer in _asked(plugin):
            again = _ask(plugin, case)
            assert again == answer == _ask(other, case), f"asked twice, it answers {answer} and {again}: {case}"

    def test_z06_more_equity_is_no_less(self, make_sizer: MakeSizer) -> None:
        """Z06: with twice the equity, a size does not shrink or vanish."""
        plugin = make_sizer()
        for case, answer in _asked(plugin):
            if isinstance(answer, Size):
                account = case.account
                richer = evolve(account, equity=2 * account.equity, available=2 * account.available)
                larger = _ask(plugin, evolve(case, account=richer))
                assert isinstance(larger, Size), f"with twice the equity it skips: {larger}: {case}"
                assert larger.notional >= answer.notional, f"twice the equity shrinks the notional: {case}"

    def test_z07_short_is_sized_like_long(self, make_sizer: MakeSizer) -> None:
        """Z07: the mirrored proposal gets the same size."""
        plugin = make_sizer()
        for case, answer in _asked(plugin):
            twice = 2.0 * case.proposal.price
            mirrored = evolve(
                case.proposal,
                side=-case.proposal.side,
                stop=twice - case.proposal.stop,
                target=twice - case.proposal.target,
            )
            other = _ask(plugin, evolve(case, proposal=mirrored))
            assert type(other) is type(answer), f"{answer} for one side, {other} for the other: {case}"
            if isinstance(answer, Size) and isinstance(other, Size):
                assert other.notional == pytest.approx(answer.notional, rel=1e-9), f"{case}"
                assert other.margin == pytest.approx(answer.margin, rel=1e-9), f"{case}"


def _ask(plugin: SizerSpecs, case: SizerCase) -> Size | Skip:
    return plugin.slt_size_position(
        proposal=case.proposal, confidence=case.confidence, p_win=case.p_win, account=case.account
    )


def _asked(plugin: SizerSpecs) -> Iterator[tuple[SizerCase, Size | Skip]]:
    return ((case, _ask(plugin, case)) for case in sizer_cases())
