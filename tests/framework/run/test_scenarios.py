"""Each way out of a position, end to end, with time, price and money worked out by hand.

Unless a test says otherwise: equity 10,000, risk 1 %, no fees, no slippage. A long is proposed at the close of row 0
(price 100, stop 98, target 103), so 1 R = 2.00 and the size is 100 / 0.02 / 100 = 50 units; it is entered at the open
of row 1, one minute after the start. Row r spans the minutes r to r + 1: its first extreme is 20 s in, its second 40 s.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hand_made import EXITS, LONG, MINUTE, SHORT, START, SYMBOL, Opinion, Run, flat, mirrored, only

from slt.config import RiskConfig
from slt.types import Decision, FundingRates, OrderIntent, OrderRole
from slt_replay.paper import PaperBroker

FIRST, SECOND = 20 / 60, 40 / 60
SIDES = pytest.mark.parametrize("side", [LONG, SHORT])
PATHS = pytest.mark.parametrize("path", ["adverse", "ohlc"])


def play(candles, *, side=LONG, stop=98.0, target=103.0, row=0, views=None, trends=None, p_win=None, **options):
    """Run candles that are written for a long; a short gets them, stop and target upside down around 100."""
    if side == SHORT:
        candles, stop, target = mirrored(candles), 200 - stop, 200 - target
    opinion = Opinion(
        {(row, SYMBOL): (side, stop, target)},
        {name: {SYMBOL: value} for name, value in (views or {}).items()},
        {SYMBOL: [side * t for t in trends] if trends else side * 1.0},
        p_win,
    )
    return Run({SYMBOL: candles}, opinion, **options).go()


def facts(run, side=LONG):
    """Exit, entry minute, exit minute, exit price as for a long, net PnL."""
    trade = only(run)
    price = trade.exit_price if side == LONG else 200 - trade.exit_price
    return (
        trade.exit,
        *(pytest.approx(t) for t in run.when(trade)),
        pytest.approx(price),
        pytest.approx(trade.net_pnl, abs=1e-8),
    )


# -- levels that rest on the exchange ----------------------------------------------------------------------------------


@SIDES
def test_stop_fills_at_its_level_within_the_bar(side):
    # 100 → 97.5 passes 98 in the first third of row 2: 50 · −2 = −100.
    run = play([*flat(2), (100, 100.5, 97.5, 99), *flat(2)], side=side, exits=())
    assert facts(run, side) == ("stop", 1.0, 2 + FIRST, 98.0, -100.0)


@SIDES
def test_target_fills_at_its_level_within_the_bar(side):
    run = play([*flat(2), (100, 103.5, 99.9, 103), *flat(2)], side=side, exits=())
    assert facts(run, side) == ("target", 1.0, 2 + SECOND, 103.0, 150.0)


@SIDES
@pytest.mark.parametrize(
    ("path", "expected"), [("adverse", ("stop", 98.0, -100.0)), ("ohlc", ("target", 103.0, 150.0))]
)
def test_bar_that_touches_both_is_decided_by_the_path(side, path, expected):
    # The far extreme lies against the position: `ohlc` goes to the nearer one (the target) first, `adverse` never does.
    run = play([*flat(2), (100, 103.5, 96, 100), *flat(2)], side=side, exits=(), path=path)
    exit_name, price, net = expected
    assert facts(run, side) == (exit_name, 1.0, 2 + FIRST, price, net)


@SIDES
@PATHS
@pytest.mark.parametrize(("opened", "name", "net"), [(97.0, "stop", -150.0), (104.0, "target", 200.0)])
def test_bar_that_opens_past_a_level_fills_at_its_open(side, path, opened, name, net):
    run = play([*flat(2), (opened, opened, opened, opened), *flat(2)], side=side, path=path)
    assert facts(run, side) == (name, 1.0, 2.0, opened, net)


@SIDES
def test_position_opened_and_stopped_in_one_bar(side):
    run = play([*flat(1), (100, 100, 97, 99), *flat(2)], side=side, exits=())
    assert facts(run, side) == ("stop", 1.0, 1 + FIRST, 98.0, -100.0)


def test_entry_fills_at_the_next_open_and_nowhere_else():
    run = play([(99, 100, 99, 100), (100.5, 101, 100.4, 101), *flat(2)], exits=())
    assert only(run).entry_price == 100.5
    assert run.when(only(run))[0] == 1.0


@SIDES
def test_entry_that_gaps_past_its_target_is_left_at_once(side):
    # 104 is beyond the target: nothing is left to win. Entered and left at the open of row 1.
    run = play([*flat(1), (104, 105, 100, 104), *flat(2)], side=side)
    assert facts(run, side) == ("target", 1.0, 1.0, 104.0, 0.0)


def test_entry_that_gaps_towards_its_stop_keeps_the_floor():
    # Entered at 97, below the proposed stop: the stop goes to 97 · 0.997 = 96.709, on the tick grid 96.71.
    run = play([*flat(1), (97, 97, 96.5, 97), *flat(2)], exits=())
    assert facts(run) == ("stop", 1.0, 1 + FIRST, 96.71, pytest.approx(50 * -0.29))


@SIDES
def test_liquidation_comes_before_the_stop_where_the_bar_gaps_past_it(side):
    # With a proven win rate leverage is 20: margin 250. A long is liquidated at (250 − 5000)/(50 · (0.005 − 1)) =
    # 95.477 and bankrupt at 95 (a short at 104.48 and 105). The open at 95.20 loses 240; the liquidation fee of 1.5 %
    # takes the 10 that are left of the margin, and never more.
    run = play([*flat(2), (95.2, 95.3, 95.1, 95.2), *flat(2)], side=side, wins_before=100)
    trade = only(run)
    assert trade.leverage == 20
    assert (trade.gross_pnl, trade.fees) == (pytest.approx(-240.0), pytest.approx(10.0))
    assert facts(run, side) == ("liquidation", 1.0, 2.0, 95.2, -250.0)


def test_stop_comes_before_the_liquidation_where_the_price_trades_through_both():
    run = play([*flat(2), (100, 100, 90, 91), *flat(2)], exits=(), wins_before=100)
    assert facts(run) == ("stop", 1.0, 2 + FIRST, 98.0, -100.0)


def test_end_of_data_closes_at_the_last_price():
    run = play([*flat(3), (100, 100.5, 100, 100.4)], exits=())
    assert facts(run) == ("end_of_data", 1.0, 4.0, 100.4, 20.0)


# -- the seven exits ---------------------------------------------------------------------------------------------------


class DeafBroker(PaperBroker):
    """Takes a stop and never says a word of it: it does not rest."""

    async def slt_submit_order(self, order):
        return [] if order.role is OrderRole.STOP else await super().slt_submit_order(order)


@SIDES
def test_total_loss_closes_at_1_r_where_the_stop_does_not_rest(side):
    # deep_loss is left out, so that nothing else closes on the way to 98 = −1 R.
    run = play(
        [*flat(2), (100, 100, 97, 97), *flat(2)],
        side=side,
        exits=("total_loss",),
        risk=RiskConfig(max_cost_share=1.0, max_margin_per_position=0.5, stop_ack_seconds=3600.0),
        broker_class=DeafBroker,
        is_audited=False,
    )
    assert facts(run, side) == ("total_loss", 1.0, 2 + FIRST, 98.0, -100.0)


@SIDES
def test_time_stop_closes_two_hours_after_the_first_fill_at_the_open(side):
    # Entered at minute 1; at minute 121 row 120 closes at 100 and row 121 opens at 100.50, where the close is filled.
    run = play([*flat(121), (100.5, 100.6, 100.5, 100.6), *flat(2)], side=side)
    assert facts(run, side) == ("time_stop", 1.0, 121.0, 100.5, 25.0)


@SIDES
def test_time_stop_runs_through_a_gap_and_fills_when_prices_return(side):
    # Minutes 100 to 130 are missing; the clock goes off inside, and the first price after the gap is 100.20.
    run = play([*flat(100), *[None] * 30, (100.2, 100.2, 100.1, 100.1), *flat(2)], side=side)
    assert facts(run, side) == ("time_stop", 1.0, 130.0, 100.2, 10.0)


def test_time_stop_in_a_gap_is_decided_by_the_minute_although_another_symbol_trades():
    gap = [*flat(100), *[None] * 30, *flat(4)]
    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0), (119, "BBBUSDT"): (LONG, 98.0, 103.0)})
    run = Run({SYMBOL: gap, "BBBUSDT": flat(134)}, opinion).go()
    closing = [i for i in run.records.all if isinstance(i, OrderIntent) and i.reason == "time_stop"]
    assert closing[0].time == START + 121 * MINUTE


@SIDES
def test_partial_profit_takes_half_then_the_target_takes_the_rest_in_one_bar(side):
    # 60 % of 2.00 is 1.20: 25 units at 101.20 win 30; the other 25 at 103 win 75. Both on the way to 104.
    run = play([*flat(2), (100, 104, 99.9, 103.5), *flat(2)], side=side)
    trade = only(run)
    assert trade.partial_exits == ("partial_profit",)
    assert trade.gross_pnl == pytest.approx(105.0)
    assert facts(run, side) == ("target", 1.0, 2 + SECOND, 102.1, 105.0)
    stops = [i for i in run.records.of(OrderIntent) if i.role == "stop"]
    assert [(i.quantity, i.status) for i in stops] == [(50.0, "cancelled"), (25.0, "cancelled")]


@SIDES
def test_partial_profit_happens_once(side):
    # After the half at 101.20 the price sees it twice more; the rest ends at the last price, 101.50: 30 + 25 · 1.50.
    views = {"continuation": 0.0}
    tide = [(101, 101.5, 101, 101.5), (101.5, 101.5, 101, 101), (101, 101.5, 101, 101.5)]
    run = play([*flat(2), *tide], side=side, views=views)
    assert only(run).partial_exits == ("partial_profit",)
    assert facts(run, side) == ("end_of_data", 1.0, 5.0, pytest.approx((101.2 + 101.5) / 2), 30 + 37.5)


def test_partial_profit_counts_costs_paid_and_the_cost_of_closing():
    # Fees of 0.1 %: size 100 / (0.02 + 0.002) / 100 = 45.454 (on the step); entry fee 0.1 a unit. Net gain of 0.6 R at
    # p: (p − 100) − 0.1 − 0.001 p = 1.2, so p = 101.3 / 0.999.
    run = play([*flat(2), (100, 102, 100, 102)], exits=("partial_profit",), broker={"taker_fee_fraction": 0.001})
    trade = only(run)
    level, half = 101.3 / 0.999, 22.727
    assert trade.exit_price == pytest.approx((level * half + 102 * (45.454 - half)) / 45.454, rel=1e-12)
    fees = 0.001 * (45.454 * 100 + half * level + (45.454 - half) * 102)
    assert trade.fees == pytest.approx(fees, abs=1e-9)
    assert trade.net_pnl == pytest.approx(half * (level - 100) + (45.454 - half) * 2 - fees, abs=1e-9)


@SIDES
def test_trailing_profit_closes_at_three_quarters_of_the_peak(side):
    # Peak 101 = 50 %, armed above 20 % with continuation 0.8; the trail lies at 37.5 % = 100.75: 50 · 0.75.
    rise, fall = (100, 101, 100, 101), (101, 101, 100.4, 100.5)
    run = play([*flat(2), rise, fall, *flat(1)], side=side, target=110.0)
    assert facts(run, side) == ("trailing_profit", 1.0, 3 + FIRST, 100.75, 37.5)


@SIDES
def test_trailing_profit_needs_continuation(side):
    rise, fall = (100, 101, 100, 101), (101, 101, 100.4, 100.5)
    run = play([*flat(2), rise, fall], side=side, target=110.0, views={"continuation": 0.7})
    assert facts(run, side) == ("end_of_data", 1.0, 4.0, 100.5, 25.0)


@SIDES
def test_conviction_drop_in_profit_closes_at_the_open_after_the_candle(side):
    # Decided at minute 5 with 0.8; at minute 10 the confidence is 0.6, a fall of a quarter. The open then is 100.15.
    confidence = [0.8] * 9 + [0.6] * 4
    candles = [*flat(6), *flat(4, 100.1), (100.15, 100.2, 100.1, 100.2), *flat(2)]
    run = play(candles, side=side, row=4, views={"confidence": confidence})
    assert facts(run, side) == ("conviction_drop", 5.0, 10.0, 100.15, 7.5)


@SIDES
def test_conviction_drop_waits_for_profit_and_leaves_where_it_begins(side):
    # At the fall the price is 99.90; it comes back through 100 on the way to 100.60 in row 11, and leaves at 100.
    confidence = [0.8] * 9 + [0.6] * 4
    candles = [*flat(6), *flat(5, 99.9), (99.9, 100.6, 99.9, 100.5), (100.5, 100.5, 100.5, 100.5)]
    run = play(candles, side=side, row=4, views={"confidence": confidence})
    assert facts(run, side) == ("conviction_drop", 5.0, 11 + SECOND, 100.0, 0.0)


def test_conviction_drop_leaves_before_the_partial_profit_that_lies_farther_on_the_way():
    confidence = [0.8] * 9 + [0.6] * 4
    candles = [*flat(6), *flat(5, 99.9), (99.9, 102, 99.9, 102), (102, 102, 102, 102)]
    run = play(candles, row=4, views={"confidence": confidence})
    assert facts(run) == ("conviction_drop", 5.0, 11 + SECOND, 100.0, 0.0)


@SIDES
def test_deep_loss_closes_half_way_to_the_stop(side):
    run = play([*flat(2), (100, 100.2, 97, 99), *flat(2)], side=side)
    assert facts(run, side) == ("deep_loss", 1.0, 2 + FIRST, 99.0, -50.0)


@SIDES
def test_deep_loss_waits_for_a_likely_rebound_but_the_stop_does_not(side):
    views = {"rebound": 0.9, "confidence": 0.8}
    run = play([*flat(2), (100, 100.2, 97, 99), *flat(2)], side=side, views=views)
    assert facts(run, side) == ("stop", 1.0, 2 + FIRST, 98.0, -100.0)


@SIDES
def test_invalidation_closes_2_percent_against_the_entry(side):
    # Stop 6 % away: 16.666 units. At 98 the position is 2 % down with confidence 0.6; deep_loss is at 97, farther on.
    run = play([*flat(2), (100, 100, 96.5, 97), *flat(2)], side=side, stop=94.0, views={"confidence": 0.6})
    assert facts(run, side) == ("invalidation", 1.0, 2 + FIRST, 98.0, -33.332)


@SIDES
def test_invalidation_closes_on_a_flipped_trend_at_the_open_after_the_candle(side):
    trends = [1.0] * 9 + [-1.0] * 4
    candles = [*flat(6), *flat(4, 99.8), (99.7, 99.7, 99.7, 99.7), *flat(2)]
    run = play(candles, side=side, row=4, views={"confidence": 0.75}, trends=trends)
    assert facts(run, side) == ("invalidation", 5.0, 10.0, 99.7, -15.0)


@pytest.mark.parametrize("name", EXITS)
def test_every_exit_is_the_real_one(name):
    assert EXITS[name].__module__ == f"slt_exits.{name}"


# -- several things on one way -----------------------------------------------------------------------------------------


def test_loss_of_margin_far_away_does_not_hide_the_deep_loss_on_the_way():
    # At leverage 20 the loss of 99 % of the margin lies at 95.05. Both fire at 94; the price met 99 first.
    run = play([*flat(2), (100, 100, 94, 94), *flat(2)], wins_before=100)
    assert facts(run) == ("deep_loss", 1.0, 2 + FIRST, 99.0, -50.0)


def test_stop_and_exit_at_one_gap_price_are_called_the_stop():
    run = play([*flat(2), (97.5, 97.5, 97.5, 97.5), *flat(2)])
    assert facts(run) == ("stop", 1.0, 2.0, 97.5, -125.0)


def test_closed_symbol_enters_again_at_the_next_open():
    # The target is hit in row 2 while a new proposal comes at its close: no loss, no cooldown, entered at minute 3.
    opinion = Opinion({(0, SYMBOL): (LONG, 98.0, 103.0), (2, SYMBOL): (LONG, 101.0, 106.0)})
    candles = [*flat(2), (100, 103.5, 99.9, 103), (103, 103, 103, 103)]
    run = Run({SYMBOL: candles}, opinion, exits=()).go()
    assert [(t.exit, run.when(t)) for t in run.trades] == [
        ("target", (1.0, pytest.approx(2 + SECOND))),
        ("end_of_data", (3.0, 4.0)),
    ]


def test_entry_decided_before_a_gap_is_withdrawn():
    run = play([*flat(1), None, *flat(3)], exits=())
    assert run.trades == []
    (entry,) = run.records.of(OrderIntent)
    assert (entry.role, entry.status) == ("entry", "cancelled")


def test_entry_waits_for_the_next_trade_through_an_empty_minute():
    run = play([*flat(1), "empty", (100.1, 100.1, 100.1, 100.1), *flat(1)], exits=())
    assert (only(run).entry_price, run.when(only(run))[0]) == (100.1, 2.0)


# -- money -------------------------------------------------------------------------------------------------------------


@SIDES
def test_costs_of_a_round_trip(side):
    # Taker 0.05 %, slippage 0.1 %. Cost rate 2 · 0.15 % = 0.3 %, so the size is 100 / (0.02 + 0.003) / 100 = 43.478.
    # Long: in at 100.10, target 103 out at 103 · 0.999 = 102.897. Short: in at 99.90, out at 97 · 1.001 = 97.097.
    costs = {"taker_fee_fraction": 0.0005, "slippage_fraction": 0.001}
    run = play([*flat(2), (100, 103.5, 99.9, 103), *flat(2)], side=side, exits=(), broker=costs)
    trade = only(run)
    entry, out, level = (100.1, 102.897, 103.0) if side == LONG else (99.9, 97.097, 97.0)
    fees = 43.478 * 0.0005 * (entry + out)
    assert trade.quantity == 43.478
    assert (trade.entry_price, trade.exit_price) == (pytest.approx(entry), pytest.approx(out))
    assert trade.gross_pnl == pytest.approx(43.478 * abs(out - entry), abs=1e-9)
    assert trade.fees == pytest.approx(fees, abs=1e-9)
    assert trade.slippage == pytest.approx(43.478 * 0.001 * (100 + level), abs=1e-9)
    assert trade.net_pnl == pytest.approx(trade.gross_pnl - fees, abs=1e-9)
    assert trade.r_multiple == pytest.approx(trade.net_pnl / (43.478 * abs(entry - (98 if side == LONG else 102))))


def funding(*minutes, rate=0.001):
    times = np.array([START + m * MINUTE for m in minutes], dtype=np.int64)
    return {SYMBOL: FundingRates(times, np.full(len(minutes), rate))}


@SIDES
@pytest.mark.parametrize(("minute", "paid"), [(1, 0.0), (2, 5.0), (3, 5.0), (4, 0.0)])
def test_funding_falls_on_positions_held_into_its_time(side, minute, paid):
    # Held from the open of row 1 (minute 1) to the gap at minute 3: not what is due as it opens, but what is due as it
    # closes at the open. 50 · 100 · 0.1 % = 5; longs pay, shorts receive.
    candles = [*flat(3), (103.5, 103.5, 103.5, 103.5), *flat(2)]
    run = play(candles, side=side, exits=(), funding=funding(minute))
    assert only(run).funding == pytest.approx(side * paid)


def test_funding_at_the_close_of_a_bar_spares_what_was_closed_within_it():
    # The trail at 100.75 is crossed between the high of row 3 and its close; funding at minute 4 comes after.
    rise, fall = (100, 101, 100, 101), (101, 101.02, 100.8, 100.5)
    run = play([*flat(2), rise, fall, *flat(1)], target=110.0, funding=funding(4), path="ohlc")
    assert only(run).exit == "trailing_profit"
    assert only(run).funding == 0.0


def test_margin_is_updated_after_each_entry_of_a_wave():
    # Each wants 5,000 of margin at leverage 1, and 5,000 is all that may be in use.
    names = ("AAAUSDT", "BBBUSDT", "CCCUSDT")
    opinion = Opinion({(0, n): (LONG, 98.0, 103.0) for n in names})
    run = Run({n: flat(3) for n in names}, opinion, exits=()).go()
    outcomes = {d.symbol: d.outcome for d in run.records.of(Decision)}
    assert outcomes == {"AAAUSDT": "entered", "BBBUSDT": "margin", "CCCUSDT": "margin"}


def test_daily_loss_counts_from_midnight():
    # −100 of 10,000 at minute 1 438 is 1 % of the first day: refused at its end, allowed from midnight on.
    decided = ((1435, SYMBOL), (1438, "BBBUSDT"), (1439, "BBBUSDT"))
    opinion = Opinion(dict.fromkeys(decided, (LONG, 98.0, 103.0)))
    candles = {SYMBOL: [*flat(1437), (100, 100, 97, 97), *flat(4, 97)], "BBBUSDT": flat(1442)}
    risk = RiskConfig(max_cost_share=1.0, max_margin_per_position=0.5, max_daily_loss=0.01)
    run = Run(candles, opinion, exits=(), risk=risk).go()
    outcomes = [(d.time, d.outcome) for d in sorted(run.records.of(Decision), key=lambda d: d.time)]
    assert outcomes == [
        (START + 1436 * MINUTE, "entered"),
        (START + 1439 * MINUTE, "daily_loss"),
        (START + 1440 * MINUTE, "entered"),
    ]
