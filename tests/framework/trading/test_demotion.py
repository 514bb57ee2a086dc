from __future__ import annotations

import pickle

import numpy as np
import pytest
from attrs import evolve

from slt.config import LearningConfig
from slt.events import ModelReady, Notify, UseModel
from slt.trading.demotion import Outcome, judge_record, make_record, stability_index
from slt.trading.learner import Learner
from slt.types import MINUTE_MS, FitReport, ModelVersion, Sample, SampleSet

CONFIG = LearningConfig(demotion_window=100, demotion_min_decisions=50)
NAMES = ("a", "b")
STEP = 10 * MINUTE_MS


def samples(rows=300, *, seed=1, wins=0.4):
    rng = np.random.default_rng(seed)
    time = np.arange(rows, dtype=np.int64) * STEP
    won = rng.random(rows) < wins
    return SampleSet(
        names=NAMES,
        x=rng.standard_normal((rows, 2)).astype(np.float32),
        won=won,
        outcome_r=np.where(won, 1.3, -1.1),
        time=time,
        resolved_time=time + 60 * MINUTE_MS,
        p_champion=np.full(rows, np.nan),
        is_shadow=np.zeros(rows, np.bool_),
    )


def outcomes(rows, *, skill, seed=2, start=0, shift=0.0):
    """Decisions at 40 % ± 25 points; with skill +1 they mean what they say, with -1 the opposite, with 0 nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(rows):
        lift = 0.25 * float(rng.choice((-1.0, 1.0)))
        x = (rng.standard_normal(2) + shift).astype("<f4")
        time = (start + i) * STEP
        won = bool(rng.random() < 0.4 + skill * lift)
        found.append(Outcome(time, time + 60 * MINUTE_MS, 0.4 + lift, won, x.tobytes()))
    return found


def record_of(*parts, config=CONFIG, importance=None):
    record = make_record(3, samples(), importance or {})
    for part in parts:
        for outcome in part:
            record.add(outcome, config.demotion_window)
    return record


def test_record_takes_the_base_rate_of_the_fit_as_rival():
    fitted = samples()
    assert make_record(1, fitted, {}).base_rate == (int(fitted.won.sum()) + 0.5) / (len(fitted) + 1.0)


def test_judge_record_model_that_keeps_its_word_stays():
    for seed in range(40):
        assert judge_record(record_of(outcomes(100, skill=1.0, seed=seed)), CONFIG, 1) is None


def test_judge_record_model_that_says_the_opposite_decays():
    decay = judge_record(record_of(outcomes(100, skill=-1.0)), CONFIG, 1)
    assert decay is not None
    assert decay.numbers["log_loss"] > decay.numbers["base_rate_log_loss"]
    assert decay.numbers["p_value"] <= CONFIG.demotion_level
    assert "on its last 100 decisions" in decay.reason


def test_judge_record_model_that_was_good_tells_since_when_it_is_not():
    good, bad = outcomes(150, skill=1.0), outcomes(70, skill=-1.0, start=150, seed=3)
    decay = judge_record(record_of(good, bad), CONFIG, 1)
    assert decay is not None
    assert decay.was_good
    assert abs(decay.since - bad[0].time) <= 15 * STEP


def test_judge_record_model_that_never_was_good_is_a_mistaken_promotion():
    decay = judge_record(record_of(outcomes(100, skill=-1.0)), CONFIG, 1)
    assert decay is not None
    assert not decay.was_good


def test_judge_record_says_nothing_before_enough_decisions():
    assert judge_record(record_of(outcomes(CONFIG.demotion_min_decisions - 1, skill=-1.0)), CONFIG, 1) is None


def test_judge_record_waits_for_ten_new_decisions_between_two_judgements():
    config = evolve(CONFIG, demotion_level=1e-9)
    record = record_of(outcomes(60, skill=1.0))
    assert judge_record(record, config, 1) is None
    assert record.unjudged == 0
    for outcome in outcomes(9, skill=-1.0, start=60):
        record.add(outcome, 100)
    assert judge_record(record, CONFIG, 1) is None
    assert record.unjudged == 9


def test_judge_record_window_zero_never_demotes():
    config = evolve(CONFIG, demotion_window=0)
    assert judge_record(record_of(outcomes(200, skill=-1.0), config=config), config, 1) is None


def test_judge_record_same_record_gives_the_same_answer_after_a_round_trip():
    record = record_of(outcomes(100, skill=-1.0))
    twin = pickle.loads(pickle.dumps(record))
    first, second = judge_record(record, CONFIG, 7), judge_record(twin, CONFIG, 7)
    assert first is not None
    assert first == second


def test_judge_record_order_in_which_outcomes_became_known_does_not_matter():
    known = outcomes(100, skill=-1.0)
    assert judge_record(record_of(known), CONFIG, 1) == judge_record(record_of(known[::-1]), CONFIG, 1)


def test_judge_record_shifted_features_drift():
    decay = judge_record(record_of(outcomes(100, skill=1.0, shift=2.0)), CONFIG, 1)
    assert decay is not None
    assert "features have drifted" in decay.reason
    assert decay.numbers["stability_index"] > CONFIG.max_feature_drift
    assert (
        judge_record(record_of(outcomes(100, skill=1.0, shift=2.0)), evolve(CONFIG, max_feature_drift=0.0), 1) is None
    )


def test_judge_record_features_that_are_unknown_now_drift():
    gone = [evolve(o, features=np.full(2, np.nan, "<f4").tobytes()) for o in outcomes(100, skill=1.0)]
    decay = judge_record(record_of(gone), CONFIG, 1)
    assert decay is not None
    assert "features have drifted" in decay.reason


def test_stability_index_is_zero_for_the_same_and_grows_with_the_shift():
    fitted = samples(1000)
    reference = make_record(1, fitted, {}).reference
    assert stability_index(reference, fitted.x) == pytest.approx(0.0, abs=1e-12)
    values = [stability_index(reference, fitted.x + np.float32(shift)) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


def test_stability_index_ignores_a_column_that_the_model_does_not_use():
    fitted = samples(1000)
    reference = make_record(1, fitted, {"a": 1.0, "b": 0.0}).reference
    moved = fitted.x.copy()
    moved[:, 1] += 5.0
    assert stability_index(reference, moved) == pytest.approx(0.0, abs=1e-12)


# -- the learner ---------------------------------------------------------------------------------------------------


class Desk:
    """A learner with one strategy whose model says what the test wants."""

    def __init__(self):
        self.learner = Learner(CONFIG, "r", ("s",), NAMES, "h", seed=1, is_locked=False)
        self.clock = 0
        self.count = 0

    def promote(self, version):
        state = self.learner.states["s"]
        state.fits = version - 1
        request = self.learner._request("s", state, self.clock)
        request = evolve(request, samples=samples())
        report = FitReport(request.id, promoted=True, verdict="promoted: good", artefact=b"m%d" % version)
        return self.learner.take_report(request, report)

    def live(self, rows, *, skill):
        """Decisions of the model in force, with their outcomes."""
        for outcome in outcomes(rows, skill=skill, seed=self.count, start=self.clock // STEP):
            self.count += 1
            self.clock = outcome.time + STEP
            sample = Sample(
                id=f"r-{self.count}",
                run_id="r",
                strategy="s",
                schema_hash="h",
                source="shadow",
                time=outcome.time,
                symbol="AAAUSDT",
                side=1,
                features=outcome.features,
                entry_price=1.0,
                stop=0.9,
                target=1.1,
                cost_rate=0.0,
                model_version=self.learner.champion("s").version,
                confidence=0.5,
                p_win=outcome.p,
            )
            self.learner.open_sample(sample)
            done = evolve(sample, barrier="stop", barrier_r=1.0 if outcome.won else -1.0)
            self.learner.note_barrier(evolve(done, resolved_time=outcome.resolved_time))


def test_due_demotions_first_model_that_decays_leaves_untrained():
    desk = Desk()
    desk.promote(1)
    desk.live(100, skill=-1.0)
    (demotion,) = desk.learner.due_demotions(desk.clock)
    assert (demotion.strategy, demotion.version, demotion.successor.version) == ("s", 1, 0)
    assert demotion.stored.id == "r-s-v1"
    assert demotion.stored.promoted
    assert "; demoted to UNTRAINED: log-loss" in demotion.stored.verdict
    assert demotion.stored.metrics["demotion"]["time"] == desk.clock
    assert desk.learner.champion("s").version == 0
    assert desk.learner.due_demotions(desk.clock) == []


def test_due_demotions_mistaken_promotion_brings_the_predecessor_back():
    desk = Desk()
    desk.promote(1)
    desk.live(100, skill=1.0)
    desk.promote(2)
    desk.live(100, skill=-1.0)
    (demotion,) = desk.learner.due_demotions(desk.clock)
    assert (demotion.version, demotion.successor.version, demotion.successor.artefact) == (2, 1, b"m1")
    assert desk.learner.states["s"].since == 0


def test_due_demotions_changed_market_leaves_untrained_and_forgets_what_was_before():
    desk = Desk()
    desk.promote(1)
    desk.live(60, skill=1.0)
    desk.promote(2)
    desk.live(150, skill=1.0)
    turned = desk.clock
    desk.live(80, skill=-1.0)
    (demotion,) = desk.learner.due_demotions(desk.clock)
    assert demotion.successor.version == 0
    state = desk.learner.states["s"]
    assert abs(state.since - turned) <= 15 * STEP
    assert desk.learner._request("s", state, desk.clock + 10 * STEP).samples.time.min() >= state.since


def test_due_demotions_decisions_of_another_version_do_not_count():
    desk = Desk()
    desk.promote(1)
    desk.live(80, skill=-1.0)
    desk.promote(2)
    assert desk.learner.due_demotions(desk.clock) == []


def test_take_report_challenger_fitted_before_a_demotion_is_refused():
    desk = Desk()
    desk.promote(1)
    state = desk.learner.states["s"]
    request = evolve(desk.learner._request("s", state, desk.clock), samples=samples())
    desk.live(100, skill=-1.0)
    desk.learner.due_demotions(desk.clock)
    report = FitReport(request.id, promoted=True, verdict="promoted: good", artefact=b"m2")
    stored = desk.learner.take_report(request, report)
    assert not stored.promoted
    assert stored.verdict == "refused: v1 was demoted while this was fitted"
    assert desk.learner.champion("s").version == 0


def test_due_demotions_locked_training_still_demotes():
    desk = Desk()
    desk.promote(1)
    desk.learner.is_locked = True
    desk.live(100, skill=-1.0)
    assert len(desk.learner.due_demotions(desk.clock)) == 1


# -- the engine ----------------------------------------------------------------------------------------------------


def promoted_desk(bench, look):
    """An engine whose model v1 has just come into force and is about to be wrong all the time."""
    desk = bench(learning=evolve(CONFIG, fit_every_trades=1, horizon_minutes=30), sizer=None)
    learner = desk.engine._core.learner
    request = learner._request("test", learner.states["test"], look.start)
    x = np.full((300, 1), 0.25, np.float32)
    request = evolve(request, samples=evolve(samples(), names=("edge",), x=x))
    desk.give(ModelReady(look.start, request, FitReport(request.id, True, "promoted: good", {}, b"m1")))
    desk.close(desk.block(start=look.start, fresh=False))
    for outcome in outcomes(100, skill=-1.0):
        learner.champion("test").record.add(evolve(outcome, features=x[0].tobytes()), 100)
    return desk


def test_engine_demotes_on_the_hour_with_command_record_and_alert(bench, look):
    desk = promoted_desk(bench, look)
    block = desk.block(57, start=look.start + look.minute, fresh=False)
    assert not [c for c in desk.close(block, row=56) if isinstance(c, UseModel)]
    restored = bench(learning=evolve(CONFIG, fit_every_trades=1, horizon_minutes=30))
    restored.engine.restore(pickle.loads(pickle.dumps(desk.engine.snapshot())))
    answers = []
    for each in (desk, restored):
        commands = each.close(each.block(2, start=look.start + 58 * look.minute, fresh=False), row=1)
        (used,) = [c for c in commands if isinstance(c, UseModel)]
        assert (used.strategy, used.version, used.artefact) == ("test", 0, b"")
        (stored,) = [r for r in look.records(commands) if isinstance(r, ModelVersion)]
        assert "demoted to UNTRAINED" in stored.verdict
        (alert,) = [c.notice for c in commands if isinstance(c, Notify) and c.notice.kind == "alert"]
        assert alert.title == "test: model v1 has decayed and is demoted"
        assert each.engine.champion("test") == (0, b"")
        answers.append((used.time, stored, alert))
    assert answers[0] == answers[1]
