"""What breaks, and what the run makes of it: plugins, models, orders whose fate is unknown, fits and their timing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hand_made import LONG, MINUTE, START, SYMBOL, Opinion, Run, bars_of, flat, only

from slt.config import LearningConfig
from slt.errors import BrokerError, ModelError
from slt.events import EntriesHalted
from slt.run import session as session_module
from slt.run.dense import Dense
from slt.types import Decision, ExitOrder, FitReport, ModelVersion, OrderIntent, OrderRole, Size, StrategyBlock
from slt_replay.paper import PaperBroker

OTHER = "BBBUSDT"


def outcomes(run):
    return [(d.symbol, d.outcome) for d in sorted(run.records.of(Decision), key=lambda d: d.id)]


# -- plugins that break ------------------------------------------------------------------------------------------------


class Failing(Opinion):
    """Reports a fault with the block that begins at a given row."""

    def __init__(self, *args, row, **more):
        super().__init__(*args, **more)
        self.row = row

    def compute(self, bars):
        block = super().compute(bars)
        if bars.close_time[0] == START + (self.row + 1) * MINUTE:
            self.faults += ["strategies:one raised in slt_propose_trades: KeyError: 'x'", "features:two raised"]
        return block


def test_broken_strategy_fails_the_run_halts_entries_and_leaves_positions_managed():
    opinion = Failing({(0, SYMBOL): (LONG, 98.0, 103.0), (3, OTHER): (LONG, 98.0, 103.0)}, row=2)
    candles = {SYMBOL: [*flat(4), (100, 103, 100, 103), *flat(2)], OTHER: flat(7)}
    run = Run(candles, opinion, exits=(), blocks=1).go()
    assert run.engine.faults == ["strategies:one raised in slt_propose_trades: KeyError: 'x'", "features:two raised"]
    assert outcomes(run) == [(SYMBOL, "entered"), (OTHER, "halted")]
    assert only(run).exit == "target"


def test_entries_do_not_resume_after_a_plugin_failed():
    class Resuming(Failing):
        def compute(self, bars):
            if bars.close_time[0] == START + 4 * MINUTE:
                run.engine.handle(EntriesHalted(START + 3 * MINUTE, "connection lost"))
                run.engine.handle(EntriesHalted(START + 3 * MINUTE, ""))
            return super().compute(bars)

    run = Run({SYMBOL: flat(6)}, Resuming({(4, SYMBOL): (LONG, 98.0, 103.0)}, row=2), exits=(), blocks=1)
    run.go()
    assert outcomes(run) == [(SYMBOL, "halted")]


def test_sizer_that_breaks_on_the_best_is_not_asked_about_the_rest():
    asked = []

    def sizer(proposal, confidence, p_win, account):
        asked.append(proposal.symbol)
        return Size(float("nan"), 100.0)

    proposals = {(0, s): (LONG, 98.0, 103.0) for s in (SYMBOL, OTHER)}
    run = Run({SYMBOL: flat(3), OTHER: flat(3)}, Opinion(proposals), exits=(), sizer=sizer).go()
    assert asked == [SYMBOL]
    assert outcomes(run) == [(SYMBOL, "halted"), (OTHER, "halted")]
    assert run.engine.faults[0].startswith("sizer `sizer` answered Size(notional=nan")


def test_exit_that_answers_nonsense_is_named_and_left_out_also_after_a_restart():
    asked = []

    def nonsense(position, point, outlook):
        asked.append(point.time)
        return True

    def clock(position, point, outlook):
        return ExitOrder() if point.time >= START + 4 * MINUTE else None

    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0)})
    exits = [("bad", nonsense), ("good", clock)]
    run = Run({SYMBOL: flat(8)}, opinion, exits=exits, blocks=1, restarts=True).go()
    assert asked == [START + MINUTE]
    assert run.engine.faults == ["exit `bad` answered True; allowed are ExitOrder, ExitMark and None"]
    assert (only(run).exit, run.when(only(run))[1]) == ("good", 4.0)


# -- models ------------------------------------------------------------------------------------------------------------


class EdgeFeatures:
    """One column: the row's number."""

    def slt_describe_features(self):
        from slt.types import Column

        return (Column("edge"),), (), 0, "1"

    def slt_update_features(self, bars):
        from slt.types import FeatureBlock

        shape = bars.state.shape
        return FeatureBlock(
            columns=self.slt_describe_features()[0],
            context_names=(),
            values=np.arange(shape[0], dtype=np.float32)[:, None, None] * np.ones((*shape, 1), np.float32),
            context=np.empty((*shape, 0)),
            fresh=np.ones(shape, np.bool_),
            ready=np.ones(shape, np.bool_),
        )


class Quiet:
    def slt_propose_trades(self, bars, features):
        return StrategyBlock.quiet(bars.state.shape)


class Models:
    """A model is the byte it answers with, in hundredths."""

    def slt_load_model(self, artefact):
        if artefact == b"damaged":
            raise KeyError("tree")
        if artefact == b"nan":
            return SimpleNamespace(predict=lambda x: np.full(len(x), np.nan, np.float32))
        return SimpleNamespace(predict=lambda x: np.full(len(x), artefact[0] / 100, np.float32))


def plugin(kind, name, hooks):
    return SimpleNamespace(name=name, hooks=hooks, installed=SimpleNamespace(kind=kind))


@pytest.fixture
def dense():
    plugins = SimpleNamespace(
        features=(plugin("features", "edge", EdgeFeatures()),),
        strategies=(plugin("strategies", "one", Quiet()), plugin("strategies", "two", Quiet())),
        model=plugin("models", "bytes", Models()),
    )
    return Dense(plugins, (SYMBOL,), MINUTE)


def test_dense_predicts_with_the_new_model_from_the_given_row_and_for_its_strategy_alone(dense):
    dense.use_model("one", 1, bytes([40]))
    block = dense.compute(bars_of({SYMBOL: flat(6)}))
    assert block.views[1].p_long is None
    dense.use_model("one", 2, bytes([60]))
    swapped = dense.predict(block, 4)
    assert (block.views[0].p_long == np.float32(0.4)).all()
    assert np.isnan(swapped.views[0].p_long[:4]).all()
    assert (swapped.views[0].p_long[4:] == np.float32(0.6)).all()
    assert (swapped.views[0].model_version, swapped.views[1].model_version) == (2, 0)


def test_dense_keeps_the_model_before_where_the_new_one_cannot_be_loaded(dense):
    dense.use_model("one", 1, bytes([40]))
    with pytest.raises(ModelError, match="KeyError"):
        dense.use_model("one", 2, b"damaged")
    assert dense.compute(bars_of({SYMBOL: flat(2)})).views[0].model_version == 1


def test_dense_names_a_model_that_answers_no_probability_and_predicts_no_more(dense):
    dense.use_model("one", 3, b"nan")
    view = dense.compute(bars_of({SYMBOL: flat(2)})).views[0]
    assert (view.p_long, view.model_version) == (None, 0)
    (fault,) = dense.faults
    assert fault.startswith("model version 3 of `one` failed: ModelError: model: predicted nan")
    dense.compute(bars_of({SYMBOL: flat(2)}, start=START + 2 * MINUTE))
    assert len(dense.faults) == 1


def test_dense_refuses_a_view_of_the_wrong_shape(dense):
    from attrs import evolve

    def wrong(bars, features):
        return evolve(StrategyBlock.quiet(bars.state.shape), rebound_long=np.zeros(1, np.float32))

    dense._plugins.strategies[0].hooks.slt_propose_trades = wrong
    dense.compute(bars_of({SYMBOL: flat(2)}))
    assert "found an array `rebound_long` of shape (1,)" in dense.faults[0]


class Choosy(Opinion):
    """Notes the version that each bar was decided with; a damaged model does not load."""

    def load_model(self, artefact):
        if artefact == b"damaged":
            raise ModelError("the model cannot be loaded: KeyError: 'tree'")
        return artefact


def learner_run(artefact, **options):
    """Two quick winners (rows 0 and 5), then a proposal at every close; a fit after two trades, promoted."""

    async def fit(request):
        return FitReport(request.id, promoted=True, verdict="promoted: by hand", artefact=artefact)

    win = [(100, 103, 100, 103), (100, 100, 100, 100)]
    candles = [*flat(2), *win, *flat(3), *win, *flat(30)]
    proposals = {(r, SYMBOL): (LONG, 98.0, 103.0) for r in (0, 5)}
    proposals |= {(r, OTHER): (LONG, 98.0, 103.0) for r in range(10, 30)}
    opinion = Choosy(proposals, p_win=None)
    learning = LearningConfig(fit_every_trades=2, horizon_minutes=1)
    return Run({SYMBOL: candles, OTHER: flat(39)}, opinion, exits=(), fit=fit, learning=learning, **options)


@pytest.mark.parametrize("blocks", [1, 7, 100])
def test_fit_is_triggered_by_a_closed_trade_and_decides_from_the_5m_close_after_5_minutes(blocks):
    # The second trade's target is met 40 s into row 7 (adverse: the low first): T = 7:40. T + 5 min is 12:40, so the
    # first 5m close is minute 15: bars that close before decide untrained, that one and later ones by version 1.
    run = learner_run(bytes([60]), blocks=blocks).go()
    (version,) = run.records.of(ModelVersion)
    assert version.fitted_time == START + 7 * MINUTE + 40_000
    assert version.effective_time == START + 15 * MINUTE
    decided = {d.time: d.model_version for d in run.records.of(Decision) if d.symbol == OTHER}
    assert {(t - START) // MINUTE for t, v in decided.items() if v == 0} == {11, 12, 13, 14}
    assert {(t - START) // MINUTE for t, v in decided.items() if v == 1} == set(range(15, 31))
    assert run.engine.champion("test") == (1, bytes([60]))


def test_promoted_model_that_cannot_be_loaded_changes_nothing_anywhere():
    run = learner_run(b"damaged").go()
    (version,) = run.records.of(ModelVersion)
    assert not version.promoted
    assert version.verdict == "refused: the model cannot be loaded: KeyError: 'tree'"
    assert run.engine.champion("test") == (0, b"")
    assert run.opinion.swaps == []
    assert {d.model_version for d in run.records.of(Decision)} == {0}


def test_fit_under_way_at_the_end_of_data_leaves_no_verdict():
    started = []

    async def fit(request):
        started.append(request.effective_time)
        await asyncio.Event().wait()

    candles = [*flat(2), (100, 103, 100, 103), *flat(2)]
    learning = LearningConfig(fit_every_trades=1, horizon_minutes=1)
    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0)})
    run = Run({SYMBOL: candles}, opinion, exits=(), fit=fit, learning=learning).go()
    assert started == [START + 10 * MINUTE]
    assert run.records.of(ModelVersion) == []


# -- orders whose fate is unknown --------------------------------------------------------------------------------------


class LostBroker(PaperBroker):
    """The first entry is lost on the way; a question about it is answered after two silences."""

    lost = 0
    questions = 0

    async def slt_submit_order(self, order):
        if order.role is OrderRole.ENTRY and not self.lost:
            self.lost = 1
            raise BrokerError("timeout")
        return await super().slt_submit_order(order)

    async def slt_query_order(self, symbol, client_id):
        self.questions += 1
        if self.questions < 3:
            raise BrokerError("timeout")
        return await super().slt_query_order(client_id)


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(session_module, "_QUESTION_WAITS_S", (0.0,) * 5)


def test_entry_that_never_arrived_is_asked_for_and_frees_its_slot(hurried):
    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0), (1, SYMBOL): (LONG, 98.0, 103.0)})
    run = Run({SYMBOL: flat(4)}, opinion, exits=(), broker_class=LostBroker).go()
    assert run.broker.questions == 3
    assert outcomes(run) == [(SYMBOL, "entered"), (SYMBOL, "entered")]
    entries = [i for i in run.records.of(OrderIntent) if i.role == "entry"]
    assert [(i.status, i.note) for i in entries] == [("rejected", "it never arrived"), ("filled", "")]
    assert run.when(only(run))[0] == 2.0


def test_entry_that_arrived_although_the_answer_was_lost_is_not_sent_twice(hurried):
    class Answerless(LostBroker):
        async def slt_submit_order(self, order):
            events = await PaperBroker.slt_submit_order(self, order)
            if order.role is OrderRole.ENTRY:
                raise BrokerError("timeout")
            return events

    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0)})
    run = Run({SYMBOL: flat(4)}, opinion, exits=(), broker_class=Answerless).go()
    assert (only(run).quantity, only(run).exit) == (50.0, "end_of_data")


def test_broker_that_never_answers_ends_the_run(hurried):
    class Silent(LostBroker):
        async def slt_query_order(self, symbol, client_id):
            raise BrokerError("timeout")

    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0)})
    run = Run({SYMBOL: flat(4)}, opinion, exits=(), broker_class=Silent)
    with pytest.raises(ExceptionGroup) as caught:
        run.go()
    assert caught.group_contains(BrokerError, match="does not say what became of order h-001-")
