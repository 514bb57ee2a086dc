from __future__ import annotations

from attrs import evolve

from slt.report.standing import make_standing
from slt.testing.storage import make_record
from slt.types import ModelVersion, Trade


def trade(number, net_pnl, r):
    return evolve(make_record(Trade, number), net_pnl=net_pnl, r_multiple=r, won=net_pnl > 0)


def model(version, strategy="ict_smc", *, promoted=True, **metrics):
    changes = {"version": version, "strategy": strategy, "promoted": promoted, "metrics": metrics}
    return evolve(make_record(ModelVersion, version), id=f"t-001-{strategy}-v{version}", run_id="t-001", **changes)


def test_standing_of_nothing_is_zero():
    one = make_standing(1000, [], [], [])
    assert (one.time, one.day_trades, one.day_pnl, one.recent_trades, one.recent_expectancy_r) == (
        1000,
        0,
        0.0,
        0,
        None,
    )
    assert (one.last_trades, one.models, one.recent_win_rate_low) == ((), (), 0.0)


def test_standing_adds_up_day_and_recent_trades_and_shows_the_newest_ten():
    newest = [
        trade(number, 10.0 if number % 3 == 0 else -4.0, 1.0 if number % 3 == 0 else -0.5) for number in range(30)
    ]
    one = make_standing(1000, newest[:4], newest, [])
    assert (one.day_trades, one.day_wins, one.day_pnl) == (4, 2, 12.0)
    assert (one.recent_trades, one.recent_wins) == (30, 10)
    assert 0.0 < one.recent_win_rate_low < 1 / 3
    assert one.recent_expectancy_r == 0.0
    assert one.last_trades == tuple(newest[:10])


def test_standing_names_the_model_in_force_of_each_strategy():
    models = [model(1), model(2), model(3, promoted=False), model(1, "ema_cross", promoted=False)]
    assert [(m.strategy, m.version) for m in make_standing(0, [], [], models).models] == [("ict_smc", 2)]
    rolled_back = [model(1), model(2, rolled_back=True)]
    assert [m.version for m in make_standing(0, [], [], rolled_back).models] == [1]
    demoted = [model(1), model(2, demotion={"to_version": 0})]
    assert make_standing(0, [], [], demoted).models == ()
