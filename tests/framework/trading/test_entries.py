from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from slt.config import RiskConfig
from slt.events import BarsClosed, Store, SubmitOrder
from slt.types import Decision, ModelVersion, OrderIntent, OrderRole, OrderType, Size, Skip

LONG = (0, 0, 1, 98.0, 103.0)


def outcome(bench):
    return [(d.symbol, d.outcome) for d in bench.decisions()]


def test_entry_intent_is_stored_before_the_order_is_submitted(bench):
    desk = bench()
    commands = desk.close(desk.block(proposals=[LONG]))
    submit = next(i for i, c in enumerate(commands) if isinstance(c, SubmitOrder))
    order = commands[submit].order
    stored = [c.record for c in commands[:submit] if isinstance(c, Store)]
    assert [r.status for r in stored if isinstance(r, OrderIntent) and r.id == order.client_id] == ["intended"]
    assert (order.type, order.role, order.side, order.reduce_only) == (OrderType.MARKET, OrderRole.ENTRY, 1, False)
    assert order.quantity == 10.0
    assert order.leverage == 1
    (decision,) = [r for r in stored if isinstance(r, Decision)]
    assert decision.outcome == "entered"
    assert decision.id == order.position_id


def test_client_ids_fit_the_exchange(bench):
    desk = bench()
    desk.enter()
    ids = [c.order.client_id for c in desk.commands if isinstance(c, SubmitOrder)]
    assert len(set(ids)) == len(ids) == 3
    assert all(len(i) <= 36 for i in ids)


def test_sample_holds_the_oriented_features_byte_for_byte(bench):
    desk = bench()
    desk.close(desk.block(proposals=[(0, 0, -1, 102.0, 97.0)]))
    (sample,) = desk.samples()
    assert sample.features == np.array([-0.25], dtype="<f4").tobytes()
    assert (sample.source, sample.barrier, sample.traded_r) == ("trade", "", None)


def test_stop_nearer_than_the_floor_is_moved_out(bench):
    desk = bench(risk=RiskConfig(min_stop_fraction=0.02, max_cost_share=1.0))
    desk.close(desk.block(proposals=[(0, 0, 1, 99.5, 103.0)]))
    assert desk.decisions()[0].numbers["stop_fraction"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("proposal", "fault"),
    [
        ((0, 0, 1, 101.0, 103.0), "a stop of 101.0 on the winning side of 100.0"),
        ((0, 0, 1, 98.0, 99.0), "a target of 99.0 on the losing side of 100.0"),
        ((0, 0, 1, float("nan"), 103.0), "prices that are not finite and positive"),
    ],
)
def test_malformed_proposal_halts_entries_and_names_the_strategy(bench, proposal, fault):
    desk = bench()
    desk.close(desk.block(proposals=[proposal]))
    (text,) = desk.engine.faults
    assert text.startswith("strategy `test` proposed " + fault)
    desk.close(desk.block(proposals=[(0, 1, 1, 98.0, 103.0)], start=1_700_006_460_000))
    assert outcome(desk) == [("BBBUSDT", "halted")]


def test_gate_stale_refuses_a_late_bar(bench):
    desk = bench()
    block = desk.block(proposals=[LONG])
    desk.give(BarsClosed(int(block.bars.close_time[0]) + 60_000, block, 0))
    assert outcome(desk) == [("AAAUSDT", "stale")]


def test_gate_warm_refuses_features_that_are_not_ready(bench):
    desk = bench()
    desk.close(desk.block(proposals=[LONG], ready=False))
    assert outcome(desk) == [("AAAUSDT", "warm")]


def test_gate_opposed_refuses_both_sides_of_one_symbol(bench):
    desk = bench(strategies=("one", "two"))
    short = (0, 0, -1, 102.0, 97.0, 0.8, 1)
    desk.close(desk.block(proposals=[(*LONG, 0.8, 0), short]))
    assert outcome(desk) == [("AAAUSDT", "opposed"), ("AAAUSDT", "opposed")]


def test_gate_position_allows_one_position_a_symbol(bench):
    desk = bench()
    desk.enter()
    desk.close(desk.block(proposals=[LONG], start=1_700_006_700_000))
    assert outcome(desk)[-1] == ("AAAUSDT", "position")


def test_gate_position_refuses_the_lower_ranked_of_two_strategies(bench):
    desk = bench(strategies=("one", "two"))
    desk.close(desk.block(proposals=[(*LONG, 0.8, 0), (0, 0, 1, 98.0, 106.0, 0.8, 1)]))
    assert [(d.strategy, d.outcome) for d in desk.decisions()] == [("two", "entered"), ("one", "position")]


def test_gate_daily_loss_refuses_until_the_next_day(bench, look):
    desk = bench(risk=RiskConfig(max_daily_loss=0.001, cooldown_minutes=0))
    stop, _ = desk.enter()
    desk.fill(stop, 97.0)
    desk.close(desk.block(proposals=[LONG], start=look.start + 10 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "daily_loss")
    desk.close(desk.block(proposals=[LONG], start=look.start + 86_400_000))
    assert outcome(desk)[-1] == ("AAAUSDT", "entered")


def test_gate_cooldown_leaves_a_loser_alone_for_its_minutes(bench, look):
    desk = bench()
    stop, _ = desk.enter()
    desk.fill(stop, 97.0, time=look.start + 5 * look.minute)
    desk.close(desk.block(proposals=[LONG], start=look.start + 18 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "cooldown")
    desk.close(desk.block(proposals=[LONG], start=look.start + 19 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "entered")


def test_gate_cooldown_does_not_follow_a_win(bench, look):
    desk = bench()
    _, target = desk.enter()
    desk.fill(target, 103.0, time=look.start + 5 * look.minute)
    desk.close(desk.block(proposals=[LONG], start=look.start + 6 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "entered")


@pytest.mark.parametrize(("stop", "expected"), [(99.45, "cost"), (99.43, "entered")])
def test_gate_cost_refuses_when_a_round_trip_costs_more_than_a_quarter_of_the_risk(bench, stop, expected):
    desk = bench()  # 2 · (0.05 % + 0.02 %) = 0.14 %, so the stop must be 0.56 % away
    desk.close(desk.block(proposals=[(0, 0, 1, stop, 103.0)]))
    assert outcome(desk) == [("AAAUSDT", expected)]


def test_gate_slots_takes_the_best_and_shadows_the_rest(bench):
    desk = bench(risk=RiskConfig(max_positions=1))
    desk.close(desk.block(proposals=[LONG, (0, 1, 1, 98.0, 106.0)]))
    assert outcome(desk) == [("BBBUSDT", "entered"), ("AAAUSDT", "slots")]


def test_gate_sizer_says_why_it_skips(bench):
    desk = bench(sizer=lambda **_: Skip("no edge", {"edge": -0.1}))
    desk = bench(sizer=lambda *_: Skip("no edge", {"edge": -0.1}))
    desk.close(desk.block(proposals=[LONG]))
    (decision,) = desk.decisions()
    assert (decision.outcome, decision.detail, decision.numbers["edge"]) == ("sizer", "tenth: no edge", -0.1)


def test_sizer_that_raises_halts_entries_and_is_named(bench):
    def broken(*_):
        raise ZeroDivisionError("oops")

    desk = bench(sizer=broken)
    desk.close(desk.block(proposals=[LONG]))
    assert outcome(desk) == [("AAAUSDT", "halted")]
    assert desk.engine.faults == ["sizer `tenth` raised ZeroDivisionError: oops"]


def test_gate_margin_refuses_beyond_the_margin_of_the_account(bench):
    desk = bench(risk=RiskConfig(max_margin_in_use=0.05, max_margin_per_position=0.05))
    desk.close(desk.block(proposals=[LONG, (0, 1, 1, 98.0, 103.0)]))
    assert outcome(desk) == [("AAAUSDT", "entered"), ("BBBUSDT", "margin")]


@pytest.mark.parametrize(("share", "result"), [(0.988, "entered"), (0.992, "margin")])
def test_gate_margin_leaves_a_hundredth_for_a_price_that_moves(bench, share, result):
    """At 1x, with a fee of 0.05 %, 98.96 % of the account is the most."""
    size = Size(1e6, 10_000.0 * share)
    risk = RiskConfig(max_margin_per_position=1.0, max_margin_in_use=1.0, max_loss_at_stop=1.0, max_cost_share=1.0)
    desk = bench(sizer=lambda *_: size, risk=risk)
    desk.close(desk.block(proposals=[LONG]))
    assert outcome(desk) == [("AAAUSDT", result)]


def test_loss_at_the_stop_caps_the_size_costs_included(bench):
    desk = bench(sizer=lambda *_: Size(1e6, 5_000.0), risk=RiskConfig(max_margin_per_position=0.5))
    (order,) = [c.order for c in desk.close(desk.block(proposals=[LONG])) if isinstance(c, SubmitOrder)]
    assert order.quantity * 100 * (0.02 + 0.0014) == pytest.approx(100.0, rel=1e-4)


def test_gate_rules_names_the_filter(bench, look):
    rules = {s: look.rules(s, min_notional=look.rules(s).min_notional * 1000) for s in bench.symbols}
    desk = bench(rules=rules)
    desk.close(desk.block(proposals=[LONG]))
    (decision,) = desk.decisions()
    assert decision.outcome == "rules"
    assert "MIN_NOTIONAL" in decision.detail


def test_symbol_without_rules_is_never_traded(bench, look):
    desk = bench(rules={"BBBUSDT": look.rules("BBBUSDT")})
    assert look.orders(desk.close(desk.block(proposals=[LONG]))) == []


def test_rejected_entry_frees_slot_margin_and_sample(bench, look):
    desk = bench(risk=RiskConfig(max_positions=1))
    (entry,) = look.orders(desk.close(desk.block(proposals=[LONG])))
    assert desk.portfolio.margin_in_use == pytest.approx(1000.0)
    desk.reject(entry)
    assert desk.portfolio.margin_in_use == 0
    desk.close(desk.block(proposals=[LONG], start=look.start + 5 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "entered")


def test_model_probability_reaches_ranking_sizer_and_ledger(bench):
    seen = []

    def sizer(proposal, confidence, p_win, account):
        seen.append((confidence, p_win))
        return Size(500.0, 500.0)

    desk = bench(sizer=sizer)
    desk.close(desk.block(proposals=[LONG], p_win=0.6, version=3))
    assert seen == [(pytest.approx(0.8), pytest.approx(0.6))]
    (decision,) = desk.decisions()
    assert (decision.p_win, decision.model_version) == (pytest.approx(0.6), 3)


def test_unknown_probability_counts_as_untrained(bench):
    desk = bench()
    desk.close(desk.block(proposals=[LONG], p_win=float("nan"), version=3))
    assert desk.decisions()[0].p_win is None


def test_rules_of_a_block_are_not_changed_by_deciding(bench):
    desk = bench()
    block = desk.block(proposals=[LONG])
    before = evolve(block.views[0].signals, side=block.views[0].signals.side.copy())
    desk.close(block)
    assert (before.side == block.views[0].signals.side).all()


def test_shadows_follow_what_the_account_kept_out_and_nothing_else(bench, look):
    desk = bench(risk=RiskConfig(max_daily_loss=0.001))
    stop, _ = desk.enter()
    desk.fill(stop, 97.0)
    before = len(desk.engine._core.barriers)
    desk.close(desk.block(proposals=[LONG], start=look.start + 10 * look.minute))
    assert outcome(desk)[-1] == ("AAAUSDT", "daily_loss")
    assert len(desk.engine._core.barriers) == before + 1
    desk.close(desk.block(proposals=[(0, 1, 1, 98.0, 103.0)], start=look.start + 11 * look.minute, ready=False))
    assert outcome(desk)[-1] == ("BBBUSDT", "warm")
    assert len(desk.engine._core.barriers) == before + 1


def test_account_that_lost_everything_enters_nothing_more(bench, look):
    desk = bench()
    desk.close(desk.block(start=look.start - look.minute))
    desk.portfolio.wallet = 0.0
    desk.close(desk.block(proposals=[LONG], start=look.start + 86_400_000))
    assert outcome(desk)[-1] == ("AAAUSDT", "daily_loss")


CURVE = [{"predicted": 0.4, "observed": 0.35, "count": 40}, {"predicted": 0.6, "observed": 0.62, "count": 40}]


@pytest.mark.parametrize(("confidence", "sized_on"), [(0.0, 0.6), (0.5, 0.6), (0.9, 0.49868)])
def test_size_follows_the_lower_bound_of_p_win_where_asked(bench, confidence, sized_on):
    asked = []

    def sizer(proposal, confidence, p_win, account):
        asked.append(p_win)
        return Size(notional=1_000.0, margin=1_000.0 / account.leverage)

    desk = bench(risk=RiskConfig(p_win_confidence=confidence), sizer=sizer)
    champion = ModelVersion(
        "m", "r", "test", 3, "s", 0, 0, 80, promoted=True, verdict="", metrics={"calibration": CURVE}
    )
    desk.engine.adopt(champion)
    desk.close(desk.block(proposals=[LONG], p_win=0.6, version=3))
    assert asked == [pytest.approx(sized_on, abs=1e-4)]
    (decision,) = desk.decisions()
    assert decision.p_win == pytest.approx(0.6)
    assert ("p_win_lower" in decision.numbers) == (confidence > 0)


def test_lower_bound_without_out_of_sample_predictions_is_zero(bench):
    asked = []
    sizer = lambda proposal, confidence, p_win, account: asked.append(p_win) or Skip("no")  # noqa: E731
    desk = bench(risk=RiskConfig(p_win_confidence=0.9), sizer=sizer)
    desk.close(desk.block(proposals=[LONG], p_win=0.6, version=3))
    assert asked == [0.0]
