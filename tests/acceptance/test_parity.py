"""The same market through a back-test, a paper run and a live run against the local exchange: the same trades."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from slt.types import Decision, OrderIntent, Trade

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from parity_causes import Account, compare, explain

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
UNPROTECTED = "left by unprotected at 98.5 instead of target at 101, 0 ms later:"
MINUTE = 60_000
T0 = 1_704_067_200_000


@pytest.mark.skipif(os.name == "nt", reason="the embedded server is POSIX")
@pytest.mark.timeout(900)  # about a minute of two idle cores
def test_backtest_paper_and_live_give_the_same_trades_and_latency_explains_every_other():
    command = [sys.executable, str(BENCHMARKS / "parity.py"), "--bars", "30", "--latency"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=880)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"back-test (\d+), in a paper run (\d+), live (\d+)", done.stdout)
    assert len(set(counts.groups())) == 1
    assert int(counts[1]) >= 4
    told = re.findall(r"with latency: .* differing (\d+), without a known cause (\d+)", done.stdout)
    assert len(told) == 2
    assert all(int(differing) >= 1 and unknown == "0" for differing, unknown in told)
    lines = re.findall(r"decided \d+: (.+)", done.stdout)
    assert len(lines) == int(told[0][0])
    assert any(re.search(r"\d+ ms", line) for line in lines)


# -- causes ------------------------------------------------------------------------------------------------------------


def trade(**changes):
    made = Trade(
        id="p1",
        run_id="r",
        symbol="AAAUSDT",
        side=1,
        strategy="coin",
        reason="coin",
        entry_time=T0,
        exit_time=T0 + 5 * MINUTE,
        entry_price=100.0,
        exit_price=101.0,
        quantity=2.0,
        leverage=5,
        initial_stop=99.0,
        target=101.0,
        gross_pnl=0.0,
        fees=0.0,
        funding=0.0,
        slippage=0.0,
        net_pnl=0.0,
        r_multiple=0.0,
        exit="target",
        partial_exits=(),
        confidence=0.5,
        p_win=None,
        model_version=0,
        won=True,
    )
    made = evolve(made, **changes)
    if "fees" not in changes:
        made = evolve(made, fees=0.0005 * made.quantity * (made.entry_price + made.exit_price))
    gross = made.side * made.quantity * (made.exit_price - made.entry_price)
    return evolve(made, gross_pnl=gross, net_pnl=changes.get("net_pnl", gross - made.fees - made.funding))


def intent(role, time):
    return OrderIntent(
        id=f"{role}-{time}",
        run_id="r",
        position_id="p1",
        symbol="AAAUSDT",
        side=1,
        type="MARKET",
        role=role,
        quantity=2.0,
        price=None,
        stop_price=None,
        reduce_only=role != "entry",
        time=time,
        reason="",
        status="filled",
    )


def decision(outcome="entered", equity=10_000.0):
    return Decision(
        id="d",
        run_id="r",
        time=T0,
        symbol="AAAUSDT",
        strategy="coin",
        side=1,
        reason="coin",
        outcome=outcome,
        detail="one per symbol",
        confidence=0.5,
        p_win=None,
        model_version=0,
        numbers={"equity": equity},
    )


def account(*, exit_ordered=None, outcome="entered", equity=10_000.0, is_empty=False, **changes):
    intents = [intent("entry", T0), *([intent("exit", exit_ordered)] if exit_ordered else [])]
    trades = [] if is_empty else [trade(**changes)]
    return Account(trades, intents, [decision(outcome, equity)])


def told(offline, live):
    found = explain(offline, live)
    assert set(found) <= {("AAAUSDT", T0)}
    return [cause.text for causes in found.values() for cause in causes]


def test_compare_of_the_same_trades_finds_nothing():
    assert compare(account(), account()) == []
    assert explain(account(), account()) == {}


def test_compare_tells_a_price_and_a_trade_that_is_missing():
    assert compare(account(), account(entry_price=100.5))[0].startswith(
        f"AAAUSDT decided {T0}: entry_price 100.0 / 100.5, "
    )
    assert compare(account(), account(is_empty=True)) == [f"AAAUSDT decided {T0}: only before"]


@pytest.mark.parametrize(
    ("live", "texts"),
    [
        ({"entry_time": T0 + 900}, ["entry 900 ms later, at the same price 100"]),
        (
            {"entry_time": T0 + 900, "entry_price": 100.5},
            ["a delay of 900 ms moved the entry from 100 to 100.5"],
        ),
        (
            {"initial_stop": 98.0, "exit": "stop", "exit_price": 98.0},
            ["left by stop at 98 instead of target at 101, 0 ms later: stop 99 became 98"],
        ),
        (
            {"entry_time": T0 + 9, "exit": "unprotected", "exit_price": 98.5},
            [
                "entry 9 ms later, at the same price 100",
                f"{UNPROTECTED} the target was met 299991 ms after the entry, before it rested",
            ],
        ),
        (
            {"entry_time": T0 + 6 * MINUTE, "exit_time": T0 + 9 * MINUTE, "exit": "time_stop", "exit_price": 100.0},
            [
                "entry 360000 ms later, at the same price 100",
                "left by time_stop at 100 instead of target at 101, 240000 ms later: entered after that",
            ],
        ),
        (
            {"quantity": 2.1, "equity": 10_500.0},
            ["size 2 became 2.1: the equity was 10500.0000 instead of 10000.0000"],
        ),
    ],
)
def test_explain_names_the_cause_with_its_figures(live, texts):
    assert told(account(), account(**live)) == texts


def test_explain_tells_when_a_close_at_market_was_ordered():
    offline = account(exit="time_stop", exit_price=100.2, exit_ordered=T0 + 5 * MINUTE)
    live = account(
        exit="time_stop", exit_price=100.1, exit_time=T0 + 5 * MINUTE + 700, exit_ordered=T0 + 5 * MINUTE + 300
    )
    assert told(offline, live) == ["time_stop ordered 300 ms later and filled 700 ms later: 100.2 became 100.1"]


def test_explain_takes_the_cause_of_an_absent_trade_from_the_decision_of_the_other_side():
    refused = account(is_empty=True, outcome="position")
    assert told(account(), refused) == ["only without latency; the other side refused: position (one per symbol)"]
    assert told(refused, account()) == ["only with latency; the other side refused: position (one per symbol)"]
    assert told(account(), account(is_empty=True)) == ["only without latency; not closed by the end"]


@pytest.mark.parametrize(
    "live",
    [
        {"entry_time": T0 - 5},
        {"quantity": 2.1},
        {"exit": "time_stop"},
        {"side": -1},
        {"fees": 9.0},
        {"net_pnl": 55.0},
    ],
)
def test_explain_leaves_unknown_what_the_records_do_not_bear_out(live):
    found = explain(account(), account(**live))
    assert any(cause.is_unknown for causes in found.values() for cause in causes)


def test_explain_without_a_decision_on_the_other_side_is_unknown():
    nothing = Account([], [], [])
    (causes,) = explain(account(), nothing).values()
    assert causes[0].is_unknown
