"""The main promises of a back-test: same input, same trades, however it is cut, skipped or interrupted."""

from __future__ import annotations

import pytest

from slt.errors import StoppedError


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The uninterrupted run that all others must equal: it trades, fits, and promotes."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("bench_runner", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runner = module.Runner(tmp_path_factory.mktemp("reference"))
    return runner.run(runner.settings()).summary


def test_reference_run_trades_and_fits(reference):
    assert reference.trades >= 50
    assert len(reference.models) >= 2
    assert reference.is_synthetic


def test_skipping_idle_minutes_changes_nothing(reference, runner):
    assert runner.run(runner.settings(), skip=False).summary.trade_hash == reference.trade_hash


@pytest.mark.parametrize("rows", [60, 997, 5000])
def test_length_of_a_block_changes_nothing(reference, runner, rows):
    outcome = runner.run(runner.settings(run={"block_bars": rows}))
    assert outcome.summary.trade_hash == reference.trade_hash
    assert outcome.summary.models == reference.models


def test_paper_mode_bar_by_bar_gives_the_same_trades(reference, runner):
    outcome = runner.run(runner.settings(run={"mode": "paper"}))
    assert outcome.summary.trade_hash == reference.trade_hash


@pytest.mark.parametrize("block", [1, 2])
def test_stopped_run_is_resumed_and_ends_the_same(reference, runner, block):
    settings = runner.settings()
    with pytest.raises(StoppedError, match="the same command resumes it"):
        runner.run(settings, stop_after=block)
    outcome = runner.run(settings)
    assert runner.assembly.folder.is_resumed
    assert outcome.summary.trade_hash == reference.trade_hash
    assert outcome.summary.models == reference.models
    assert outcome.summary.decisions == reference.decisions


def test_paper_run_stopped_in_the_middle_of_a_day_ends_the_same(reference, runner):
    settings = runner.settings(run={"mode": "paper"})
    with pytest.raises(StoppedError):
        runner.run(settings, stop_after=3210)
    assert runner.run(settings).summary.trade_hash == reference.trade_hash


def test_finished_run_is_not_resumed(runner):
    settings = runner.settings(days=2)
    assert runner.run(settings).summary.run_id == "t-001"
    assert runner.run(settings).summary.run_id == "t-002"


def test_fresh_starts_a_new_run_beside_the_unfinished_one(runner):
    settings = runner.settings(days=3)
    with pytest.raises(StoppedError):
        runner.run(settings, stop_after=1)
    assert runner.run(settings, is_fresh=True).summary.run_id == "t-002"


def test_another_configuration_does_not_resume_the_unfinished_run(runner):
    with pytest.raises(StoppedError):
        runner.run(runner.settings(days=3), stop_after=1)
    outcome = runner.run(runner.settings(days=3, risk={"max_positions": 2}))
    assert outcome.summary.run_id == "t-002"


def test_books_close_and_the_report_is_one_file(runner):
    outcome = runner.run(runner.settings(days=4))
    assert outcome.problems == ()
    portfolio = runner.assembly.engine.portfolio
    assert portfolio.equity == pytest.approx(10_000 + outcome.summary.net_pnl, abs=1e-6)
    book = runner.assembly.plugins.broker.hooks.slt_snapshot_broker()
    assert book["wallet"] == pytest.approx(portfolio.wallet, abs=1e-6)
    html = outcome.report.read_text(encoding="utf-8")
    assert html.count("<html") == 1
    assert "synthetic" in html.lower()


def test_samples_are_stored_as_they_were_seen(runner):
    import asyncio

    from slt.storage.contract import Query
    from slt.types import Sample, Trade

    runner.run(runner.settings(days=4))
    hooks = runner.assembly.plugins.storage.hooks
    asyncio.run(hooks.slt_open_storage())
    samples = {s.id: s for s in asyncio.run(hooks.slt_read_records(query=Query(Sample)))}
    trades = asyncio.run(hooks.slt_read_records(query=Query(Trade)))
    assert trades
    for trade in trades:
        sample = samples[trade.id]
        assert len(sample.features) == 4 * 12
        assert sample.traded_r == pytest.approx(trade.r_multiple)
