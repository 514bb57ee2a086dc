from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.markets import make_account, make_proposal
from slt.types import Size, Skip
from slt_sizers.kelly import Kelly, KellyConfig

NAN = float("nan")
CONFIDENCES = st.floats(0, 1)


def ask(confidence=0.75, p_win=None, account=None, proposal=None, **options):
    return Kelly(KellyConfig(**options)).slt_size_position(
        proposal=proposal or make_proposal(),
        confidence=confidence,
        p_win=p_win,
        account=account or make_account(),
    )


def margin_of(answer):
    return answer.margin if isinstance(answer, Size) else 0.0


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.5])
def test_kelly_confidence_of_at_most_50_percent_is_skipped_with_its_numbers(confidence):
    answer = ask(confidence)
    assert answer == Skip("no edge: conviction at or below 50 %", {"conviction": confidence})


@pytest.mark.parametrize(
    ("confidence", "multiplier"), [(0.5000001, 4e-7), (0.625, 0.5), (0.75, 1.0), (0.875, 1.5), (1.0, 2.0)]
)
def test_kelly_untrained_margin_is_5_percent_times_the_multiplier(confidence, multiplier):
    answer = ask(confidence)
    assert answer.numbers["multiplier"] == pytest.approx(multiplier)
    assert answer.margin == pytest.approx(10_000 * 0.05 * multiplier)
    assert answer.notional == pytest.approx(answer.margin * 10)


def test_kelly_margin_is_at_most_10_percent_and_the_multiplier_at_most_2():
    assert ask(1.0, base_margin_fraction=0.08).margin == pytest.approx(1_000)
    assert ask(1.0, max_multiplier=1.2).margin == pytest.approx(600)
    assert ask(1.0, max_margin_fraction=0.03).margin == pytest.approx(300)


def test_kelly_unknown_confidence_without_a_model_is_skipped():
    assert ask(NAN) == Skip("the rules' confidence is unknown")
    assert ask(0.9, NAN) == Skip("the model's probability is unknown")


def test_kelly_trained_reads_the_model_and_not_the_rules():
    assert ask(NAN, 0.7) == ask(1.0, 0.7) == ask(0.1, 0.7)
    assert isinstance(ask(0.7, 0.7), Size)


@given(p=st.floats(0, 1))
def test_kelly_at_even_payoff_is_the_formula_on_p_itself(p):
    even = make_proposal(risk=1.0, reward=1.0)
    free = make_account(cost_rate=0.0)
    assert margin_of(ask(p_win=p, proposal=even, account=free)) == pytest.approx(margin_of(ask(p, account=free)))


def test_kelly_at_three_to_two_a_calibrated_45_percent_is_a_trade():
    answer = ask(p_win=0.45, account=make_account(cost_rate=0.0))
    # f = 0.45 - 0.55 / 1.5 = 1/12, c = 13/24, multiplier 1/6
    assert answer.numbers["payoff"] == pytest.approx(1.5)
    assert answer.numbers["kelly_fraction"] == pytest.approx(1 / 12)
    assert answer.numbers["multiplier"] == pytest.approx(1 / 6)
    assert isinstance(ask(p_win=0.39, account=make_account(cost_rate=0.0)), Skip)


def test_kelly_payoff_is_net_of_costs():
    answer = ask(p_win=0.7, account=make_account(cost_rate=0.002))
    assert answer.numbers["payoff"] == pytest.approx((0.015 - 0.002) / (0.01 + 0.002))


def test_kelly_costs_above_the_reward_are_skipped():
    answer = ask(p_win=0.99, account=make_account(cost_rate=0.02))
    assert isinstance(answer, Skip)
    assert answer.reason == "no reward left after costs"
    assert answer.numbers == {"net_reward": pytest.approx(-0.005), "net_loss": pytest.approx(0.03)}


def test_kelly_without_equity_is_skipped():
    assert ask(1.0, account=make_account(-5.0)) == Skip("no equity", {"equity": -5.0})


@given(a=CONFIDENCES, b=CONFIDENCES)
def test_kelly_rises_with_confidence(a, b):
    low, high = sorted((a, b))
    assert margin_of(ask(low)) <= margin_of(ask(high))


@given(a=CONFIDENCES, b=CONFIDENCES, reward=st.floats(0.3, 5), cost=st.floats(0, 0.002))
def test_kelly_rises_with_p_win(a, b, reward, cost):
    low, high = sorted((a, b))
    account, proposal = make_account(cost_rate=cost), make_proposal(reward=reward)
    smaller, larger = (margin_of(ask(p_win=p, account=account, proposal=proposal)) for p in (low, high))
    assert smaller <= larger * (1 + 1e-9)


@given(p=CONFIDENCES, a=st.floats(0.3, 5), b=st.floats(0.3, 5))
def test_kelly_rises_with_the_reward_and_falls_with_costs(p, a, b):
    low, high = sorted((a, b))
    small, large = (margin_of(ask(p_win=p, proposal=make_proposal(reward=r))) for r in (low, high))
    assert small <= large * (1 + 1e-9)
    free, dear = (margin_of(ask(p_win=p, account=make_account(cost_rate=c))) for c in (0.0, 0.001))
    assert dear <= free


@given(confidence=CONFIDENCES, equity=st.floats(1, 1e7))
def test_kelly_scales_with_equity_and_never_exceeds_a_tenth_of_it(confidence, equity):
    margin = margin_of(ask(confidence, account=make_account(equity)))
    assert margin == pytest.approx(margin_of(ask(confidence)) * equity / 10_000)
    assert margin <= 0.1 * equity * (1 + 1e-12)


@pytest.mark.parametrize(
    "options",
    [{"base_margin_fraction": 0}, {"base_margin_fraction": 1.5}, {"max_margin_fraction": 0}, {"max_multiplier": 0}],
)
def test_kelly_config_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        KellyConfig(**options)
