from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_account, make_proposal
from slt.types import Skip
from slt_sizers.fixed_risk import FixedRisk, FixedRiskConfig


def ask(account=None, proposal=None, confidence=0.6, p_win=None, **options):
    return FixedRisk(FixedRiskConfig(**options)).slt_size_position(
        proposal=proposal or make_proposal(), confidence=confidence, p_win=p_win, account=account or make_account()
    )


@given(
    risk=st.floats(0.3, 10), cost=st.floats(0, 0.003), fraction=st.floats(0.0005, 0.02), side=st.sampled_from([1, -1])
)
def test_fixed_risk_loses_its_fraction_of_equity_at_the_stop(risk, cost, fraction, side):
    proposal, account = make_proposal(side, risk=risk), make_account(cost_rate=cost)
    answer = ask(account, proposal, risk_fraction=fraction)
    lost = answer.notional * (abs(proposal.price - proposal.stop) / proposal.price + cost)
    assert lost == pytest.approx(10_000 * fraction)
    assert answer.margin == pytest.approx(answer.notional / account.leverage)


def test_fixed_risk_default_is_half_a_percent():
    answer = ask(make_account(cost_rate=0.0))
    assert answer.notional == pytest.approx(5_000)
    assert answer.margin == pytest.approx(500)
    assert answer.numbers == {"loss_at_stop": pytest.approx(0.01)}


def test_fixed_risk_never_asks_for_more_than_the_equity_carries():
    answer = ask(make_account(100.0, leverage=1, cost_rate=0.0), make_proposal(risk=0.3))
    assert answer.notional == answer.margin == 100.0


@given(a=st.floats(0.3, 10), b=st.floats(0.3, 10))
def test_fixed_risk_falls_with_the_distance_to_the_stop(a, b):
    near, far = sorted((a, b))
    assert ask(proposal=make_proposal(risk=far)).notional <= ask(proposal=make_proposal(risk=near)).notional


@pytest.mark.parametrize("confidence", [0.0, 1.0, float("nan")])
@pytest.mark.parametrize("p_win", [None, 0.0, 1.0, float("nan")])
def test_fixed_risk_does_not_read_convictions(confidence, p_win):
    assert ask(confidence=confidence, p_win=p_win) == ask()


def test_fixed_risk_without_equity_or_distance_is_skipped():
    assert ask(make_account(0.0)) == Skip("no equity", {"equity": 0.0})
    flat = make_proposal(risk=0.0)
    assert ask(make_account(cost_rate=0.0), flat) == Skip("no distance to the stop", {"loss_at_stop": 0.0})


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_fixed_risk_config_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="risk_fraction"):
        FixedRiskConfig(risk_fraction=fraction)
