"""Chaos in its small form, and the judge: what it calls wrong, it finds; a clean play it lets pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slt.types import OpenPosition, OrderIntent, StoredBar, Trade
from slt_memory.storage import MemoryStorage, MemoryStorageConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chaos_judge import INVARIANTS, Judge, true_bars
from chaos_scenarios import MOMENTS, Scenario, draw
from chaos_site import Life, Play

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the embedded server, inotify and SIGKILL are POSIX")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BEGIN = 1_704_067_200_000
MINUTE = 60_000
SCENARIO = Scenario(1, "faults", 7, (), (), is_paused=False, slices=1)
SYMBOL = SCENARIO.symbols[0]
ENTRY, STOP, CLOSE = "c1-001-000001", "c1-001-000003", "c1-001-000004"
POSITION = "c1-001-000002"


def intent(client_id, role, time=BEGIN + 3 * MINUTE):
    side = 1 if role == "entry" else -1
    return OrderIntent(
        client_id,
        "c1-001",
        POSITION,
        SYMBOL,
        side,
        "MARKET",
        role,
        2.0,
        None,
        None,
        role != "entry",
        time,
        "",
        "filled",
    )


class Told:
    """A ledger as it is after one position was opened, protected and closed, and the rows that belong to it."""

    def __init__(self):
        self.ledger = []
        self.trade = Trade(
            id=POSITION, run_id="c1-001", symbol=SYMBOL, side=1, strategy="coin", reason="coin", entry_time=BEGIN,
            exit_time=BEGIN, entry_price=100.0, exit_price=101.0, quantity=2.0, leverage=1, initial_stop=99.0,
            target=102.0, gross_pnl=2.0, fees=0.0, funding=0.0, slippage=0.0, net_pnl=2.0, r_multiple=1.0,
            exit="time_stop", partial_exits=(), confidence=0.5, p_win=None, model_version=0, won=True,
        )  # fmt: skip
        self.rows = [intent(ENTRY, "entry"), intent(STOP, "stop"), intent(CLOSE, "exit"), self.trade]
        self.play = Play(ledger=self.ledger, lives=[Life(BEGIN, BEGIN + 7 * MINUTE, "stopped")])
        at = 3 * MINUTE + 100
        self.tell(at, "order", client_id=ENTRY, algo_id=0)
        self.tell(at, "fill", client_id=ENTRY, side=1, quantity=2.0, price=100.0)
        self.tell(at, "opened", client_id=ENTRY)
        self.tell(at, "naked", quantity=2.0)
        self.tell(at + 500, "algo", client_id=STOP)
        self.tell(at + 500, "covered", naked_ms=500)
        self.tell(5 * MINUTE, "order", client_id=CLOSE, algo_id=0)
        self.tell(5 * MINUTE, "fill", client_id=CLOSE, side=-1, quantity=2.0, price=101.0)
        self.tell(5 * MINUTE, "closed", client_id=CLOSE)

    def tell(self, after, kind, symbol=SYMBOL, **detail):
        entry = {"sequence": 0, "time": BEGIN + after, "kind": kind, "account": "k", "symbol": symbol, "detail": detail}
        self.ledger.append(entry)

    def move(self, kind, after):
        next(entry for entry in self.ledger if entry["kind"] == kind)["time"] = BEGIN + after

    async def wrong(self, stalls=()):
        storage = MemoryStorage(MemoryStorageConfig())
        await storage.slt_open_storage()
        await storage.slt_write_records(self.rows)
        verdict = await Judge(SCENARIO, self.play, storage, stalls).judge()
        return {name for name, _ in verdict.wrong}


def bar(close_time, **changes):
    values = dict(zip(("open", "high", "low", "close", "volume"), true_bars(SCENARIO)[SYMBOL][close_time], strict=True))
    return StoredBar(
        f"{SYMBOL}-{close_time}", SYMBOL, MINUTE, close_time, **{**values, **changes}, taker_buy_volume=None
    )


def wrong_bar(told):
    told.rows.append(bar(BEGIN + MINUTE, close=1.0))


def entry_on_gap(told):
    told.tell(2 * MINUTE, "fault", name="kline_missing", detail=f"bar {BEGIN + 3 * MINUTE}")


def placed_twice(told):
    told.tell(4 * MINUTE, "order", client_id=ENTRY, algo_id=0)


def entered_twice(told):
    told.rows.append(intent("c1-001-000009", "entry"))
    told.tell(4 * MINUTE, "order", client_id="c1-001-000009", algo_id=0)


def without_intent(told):
    del told.rows[1]


def lost_fill(told):
    told.tell(6 * MINUTE, "fill", client_id=CLOSE, side=-1, quantity=1.0, price=101.0)


def other_price(told):
    told.ledger[1]["detail"]["price"] = 100.5


def naked(told):
    told.move("covered", 6 * MINUTE)


def naked_to_the_end(told):
    told.ledger[:] = [entry for entry in told.ledger if entry["kind"] != "covered"]


def too_old(told):
    told.play.lives[0].until = BEGIN + 20 * MINUTE
    told.move("closed", 12 * MINUTE)


def books_differ(told):
    told.play.positions = {SYMBOL: 1.0}


def position_forgotten(told):
    state = {"initial_quantity": 0.0, "entry_price": 1.0}
    told.rows.append(OpenPosition("p", "c1-001", SYMBOL, 1, BEGIN, 0.0, is_open=True, state=state))
    told.play.positions = {SCENARIO.symbols[1]: 0.5}


def asked_for_klines(told):
    told.tell(0, "kline_request", path="/fapi/v1/klines")


def banned(told):
    told.tell(0, "banned", until=1)


def ended_early(told):
    told.play.problems.append("the run ended by itself with exit code 1")


async def test_judge_lets_a_clean_play_pass():
    told = Told()
    told.rows += [bar(BEGIN + MINUTE), bar(BEGIN + 2 * MINUTE)]
    assert await told.wrong() == set()


@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (wrong_bar, "wrong bars taken for good"),
        (entry_on_gap, "entries on a gap"),
        (placed_twice, "duplicate orders of an intent"),
        (entered_twice, "duplicate orders of an intent"),
        (without_intent, "orders without a stored intent"),
        (lost_fill, "lost or invented fills"),
        (other_price, "lost or invented fills"),
        (naked, "positions without a stop too long"),
        (naked_to_the_end, "positions without a stop too long"),
        (too_old, "positions too old"),
        (books_differ, "database and exchange differ"),
        (position_forgotten, "database and exchange differ"),
        (asked_for_klines, "REST k-line calls"),
        (banned, "bans and refused budgets"),
        (ended_early, "run or harness broke"),
    ],
)
async def test_judge_finds_what_is_wrong(break_it, invariant):
    assert invariant in INVARIANTS
    told = Told()
    break_it(told)
    assert await told.wrong() == {invariant}


async def test_judge_excuses_what_happened_while_the_run_was_down():
    told = Told()
    naked(told)
    second = Life(BEGIN + 5 * MINUTE, BEGIN + 7 * MINUTE, "stopped")
    told.play.lives = [Life(BEGIN, BEGIN + 3 * MINUTE, "killed"), second]
    assert await told.wrong() == set()


async def test_judge_excuses_only_the_time_in_which_the_machine_stood_still():
    told = Told()
    naked(told)
    told.play.clock = [(1_000.0, BEGIN), (1_014.0, BEGIN + 7 * MINUTE)]
    assert await told.wrong([(1_006.0, 1_012.0)]) == set()
    assert await told.wrong([(900.0, 990.0), (1_013.0, 1_014.0)]) == {"positions without a stop too long"}


def test_scenarios_are_the_same_for_the_same_seed_and_meet_every_moment():
    drawn = [draw(seed) for seed in range(1, 501)]
    assert drawn == [draw(seed) for seed in range(1, 501)]
    assert {scenario.kills[0].name for scenario in drawn if scenario.kills} == set(MOMENTS)


@pytest.mark.timeout(300)  # about 25 s of two idle cores
def test_chaos_in_its_small_form_finds_nothing_wrong():
    command = [sys.executable, str(BENCHMARKS / "chaos.py"), "--first", "34", "--scenarios", "3", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scenarios with a violation: 0" in done.stdout
    fills = re.search(r"fills (\d+), positions (\d+), trades stored (\d+), bars compared (\d+)", done.stdout)
    assert all(int(number) > 0 for number in fills.groups())
