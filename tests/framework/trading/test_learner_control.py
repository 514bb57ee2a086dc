from __future__ import annotations

import numpy as np
import pytest

from slt.config import LearningConfig, RiskConfig
from slt.events import ModelReady, UseModel
from slt.trading.samples import SampleStore
from slt.types import FitReport, ModelVersion, Sample, Skip


def close_one(desk, look, minute, *, win):
    """Enter and leave one trade around `minute`; returns the commands of its last fill."""
    start = look.start + minute * look.minute
    block = desk.block(proposals=[(0, 0, 1, 98.0, 103.0)], start=start, fresh=False)
    (entry,) = look.orders(desk.close(block))
    stop, target = look.orders(desk.fill(entry, 100.0, time=start + 2 * look.minute))
    order, price = (target, 103.0) if win else (stop, 98.0)
    return desk.fill(order, price, time=start + 150_000)


def bars_through(desk, look, minute, rows=240):
    """Quiet bars, so that barriers resolve by time."""
    desk.close(desk.block(rows, start=look.start + minute * look.minute, fresh=False), row=rows - 1)


@pytest.fixture
def desk(bench):
    return bench(learning=LearningConfig(fit_every_trades=3, horizon_minutes=30), risk=RiskConfig(cooldown_minutes=0))


def test_fit_is_asked_for_after_every_so_many_trades(desk, look):
    asked = [len(look.fits(close_one(desk, look, 10 * i, win=True))) for i in range(7)]
    assert asked == [0, 0, 1, 0, 0, 0, 0]  # the second is due, but the first has not taken effect


def test_fit_takes_effect_at_the_first_5m_close_five_minutes_later(desk, look):
    for i in range(2):
        close_one(desk, look, 10 * i, win=True)
    (request,) = look.fits(close_one(desk, look, 20, win=True))
    assert request.triggered_time == look.start + 22.5 * look.minute
    assert request.effective_time == look.start + 30 * look.minute
    assert (request.id, request.version, request.champion_version) == ("t-001-test-v1", 1, 0)


def test_samples_whose_barrier_is_open_are_left_out_of_the_fit(desk, look):
    close_one(desk, look, 0, win=True)
    bars_through(desk, look, 5, rows=60)
    close_one(desk, look, 70, win=False)
    (request,) = look.fits(close_one(desk, look, 80, win=True))
    assert len(request.samples) == 1
    assert request.samples.x.tobytes() == np.array([[0.25]], dtype=np.float32).tobytes()
    assert not request.samples.won[
        0
    ]  # flat bars: the barrier ends by time and costs make it a loss, though the trade won


def test_label_trade_uses_the_outcome_as_traded(bench, look):
    desk = bench(
        learning=LearningConfig(fit_every_trades=3, horizon_minutes=30, label="trade"),
        risk=RiskConfig(cooldown_minutes=0),
    )
    close_one(desk, look, 0, win=True)
    bars_through(desk, look, 5, rows=60)
    close_one(desk, look, 70, win=False)
    (request,) = look.fits(close_one(desk, look, 80, win=True))
    assert request.samples.won.tolist() == [True]
    assert request.samples.outcome_r[0] == pytest.approx(1.5)


def test_promoted_challenger_is_used_and_stored_with_its_verdict(desk, look):
    for i in range(2):
        close_one(desk, look, 10 * i, win=True)
    (request,) = look.fits(close_one(desk, look, 20, win=True))
    report = FitReport(request.id, promoted=True, verdict="promoted: better", metrics={"a": 1}, artefact=b"model")
    commands = desk.give(ModelReady(request.effective_time, request, report))
    (used,) = [c for c in commands if isinstance(c, UseModel)]
    assert (used.time, used.strategy, used.version, used.artefact) == (request.effective_time, "test", 1, b"model")
    (stored,) = [r for r in look.records(commands) if isinstance(r, ModelVersion)]
    assert (stored.promoted, stored.verdict, stored.artefact, stored.version) == (True, "promoted: better", b"model", 1)
    assert desk.engine.champion("test") == (1, b"model")


def test_refused_challenger_leaves_the_champion_and_frees_the_next_fit(desk, look):
    for i in range(2):
        close_one(desk, look, 10 * i, win=True)
    (request,) = look.fits(close_one(desk, look, 20, win=True))
    for i in range(3, 6):
        close_one(desk, look, 10 * i, win=True)
    refusal = FitReport(request.id, promoted=False, verdict="refused: no better")
    desk.give(ModelReady(request.effective_time, request, refusal))
    assert desk.engine.champion("test") == (0, b"")
    close_one(desk, look, 60, win=True)
    (second,) = [r for r in look.fits(desk.commands) if r.id != request.id]
    assert second.version == 2


def test_lock_disable_model_training_asks_for_no_fit(bench, look):
    desk = bench(
        learning=LearningConfig(fit_every_trades=1), risk=RiskConfig(cooldown_minutes=0), is_training_locked=True
    )
    assert [look.fits(close_one(desk, look, 10 * i, win=True)) for i in range(3)] == [[], [], []]


def test_quiet_days_let_resolved_shadows_trigger_a_fit(bench, look):
    learning = LearningConfig(shadow_fit_after_days=1, shadow_fit_count=4, horizon_minutes=30)
    desk = bench(sizer=lambda *_: Skip("never"), learning=learning)
    requests = []
    for hour in range(30):
        block = desk.block(
            60, proposals=[(0, 0, 1, 98.0, 103.0)], start=look.start + hour * 60 * look.minute, fresh=False
        )
        requests += look.fits(desk.close(block, row=0))
        requests += look.fits(desk.close(block, row=59))
    (request,) = requests
    assert request.triggered_time == look.start + 25 * 60 * look.minute
    assert request.samples.is_shadow.all()
    assert len(request.samples) == 25


def test_pending_fit_survives_a_snapshot(desk, bench, look):
    import pickle

    for i in range(2):
        close_one(desk, look, 10 * i, win=True)
    (request,) = look.fits(close_one(desk, look, 20, win=True))
    fresh = bench(learning=LearningConfig(fit_every_trades=3, horizon_minutes=30))
    fresh.engine.restore(pickle.loads(pickle.dumps(desk.engine.snapshot())))
    (again,) = fresh.engine.pending_fits()
    assert again.request.id == request.id
    assert again.request.samples.x.tobytes() == request.samples.x.tobytes()


def test_champion_predictions_are_given_only_for_its_own_decisions(desk, look):
    learner = desk.engine._core.learner
    bars_through(desk, look, 0, rows=1)
    close_one(desk, look, 10, win=True)
    bars_through(desk, look, 20, rows=60)
    state = learner.states["test"]
    ((_,), (row,)) = state.resolved.select(0, look.start + 10**9)
    state.resolved = SampleStore(len(row["x"]), 10)
    for version in (0, 1, 2):
        known = {"time": int(row["time"]), "resolved_time": int(row["resolved_time"]), "barrier_r": -1.0}
        sample = Sample(
            id=str(version),
            run_id="r",
            strategy="test",
            schema_hash="h",
            source="trade",
            symbol="AAAUSDT",
            side=1,
            features=row["x"].tobytes(),
            entry_price=1.0,
            stop=0.9,
            target=1.1,
            cost_rate=0.0,
            model_version=version,
            confidence=0.5,
            p_win=0.7,
            **known,
        )
        state.keep(sample)
    state.champion.version = 2
    samples = learner._samples(state, look.start + 10**9)
    assert np.isnan(samples.p_champion[:2]).all()
    assert samples.p_champion[2] == pytest.approx(0.7)


def test_fit_that_failed_is_told_once_and_the_next_is_unharmed(desk, look):
    for i in range(2):
        close_one(desk, look, 10 * i, win=True)
    (request,) = look.fits(close_one(desk, look, 20, win=True))
    failure = FitReport(request.id, promoted=False, verdict="refused: out of memory", is_failed=True)
    commands = desk.give(ModelReady(request.effective_time, request, failure))
    (notice,) = look.notices(commands)
    assert (notice.kind, notice.fields[0]) == ("alert", ("Detail", "refused: out of memory"))
    assert "fitting model v1 failed" in notice.title
    assert desk.engine.champion("test") == (0, b"")
    for i in range(3, 5):
        close_one(desk, look, 10 * i, win=True)
    (second,) = look.fits(close_one(desk, look, 50, win=True))
    assert second.version == 2
