"""Reading the exchange's account: when asked, when the time has come, and again until it answers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from slt.errors import BrokerError
from slt.run.books import AccountReader
from slt.run.clock import ExchangeClock
from slt.types import AccountState


class Bench:
    """A reader with a broker that answers as it is told."""

    def __init__(self, every_seconds):
        self.answers, self.read, self.idle_asked = [], 0, 0
        self.told = asyncio.Queue()
        hooks = SimpleNamespace(slt_read_account=self.read_account)
        lanes = SimpleNamespace(idle=self.idle)
        self.clock = ExchangeClock()
        self.reader = AccountReader(hooks, lanes, self.clock, self.told.put, every_seconds)

    async def read_account(self):
        self.read += 1
        answer = self.answers.pop(0) if self.answers else AccountState(1_000_000, 1.0, 1.0, (), ())
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def idle(self, seconds):
        self.idle_asked += 1
        return True

    async def next(self):
        async with asyncio.timeout(30):
            return await self.told.get()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("slt.run.books._SETTLE_S", 0.0)
    monkeypatch.setattr("slt.run.books._FIRST_WAIT_S", 0.001)


@pytest.fixture
async def bench():
    tasks = []

    def make(every_seconds):
        made = Bench(every_seconds)
        tasks.append(asyncio.create_task(made.reader.run()))
        return made

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_account_is_read_when_the_time_has_come_again_and_again(bench):
    made = bench(0.01)
    for _ in range(3):
        assert (await made.next()).account.wallet == 1.0
    assert made.idle_asked >= 3, "orders under way are waited for first"


async def test_account_is_read_when_asked_and_not_before(bench):
    made = bench(3600.0)
    await asyncio.sleep(0.02)
    assert made.read == 0
    made.reader.ask("the run begins")
    assert made.reader.reason == "the run begins"
    event = await made.next()
    assert event.time >= 1_000_000
    assert made.clock.is_set
    assert made.reader.reason == ""


@pytest.mark.parametrize("failure", [BrokerError("503"), TimeoutError(), ConnectionResetError()])
async def test_account_that_cannot_be_read_is_asked_for_until_it_can(bench, failure):
    made = bench(3600.0)
    made.answers = [failure] * 5
    made.reader.ask("events flow again")
    await made.next()
    assert made.read == 6
