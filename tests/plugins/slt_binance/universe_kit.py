"""Whole runs in this process on the real feed and broker, against the local exchange, bar by bar."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "slt_sandbox"))

from arena import KEY, SECRET, START, GivenFeed, arena

from slt.config import read_config
from slt.errors import StoppedError
from slt.run import streaming
from slt.run.execution import Observer, execute

A, B, C = "BTCUSDT", "ETHUSDT", "SOLUSDT"

CONFIG = """
[run]
name = "u"
mode = "{mode}"
confirm_live = true
allow_uncertified = true
one_instance = false
folder = "{folder}/runs"
warm_days = 1
[plugins]
feed = "binance"
broker = "{broker}"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss"]
[strategies.ema_cross]
fast_bars = 3
slow_bars = 8
atr_bars = 5
[feed]
clock = "events"
review_minutes = {review}
{feed}
[feeds.binance]
rest_url = "{url}"
stream_url = "{stream}"
{feeds}
[risk]
stop_ack_seconds = 3600
[health]
port = 0
[brokers.{broker}]
{brokers}
"""


class Trial:
    """One life of a run, while it goes on.

    Attributes:
        box: The local exchange.
        assembly: The run's parts.
        driver: The driver of the live feed.
        task: The run.
    """

    def __init__(self, box):
        self.box = box
        self.assembly = self.driver = self.task = None
        self.rows, self.is_stopping = 0, False

    @property
    def engine(self):
        return self.assembly.engine

    @property
    def status(self):
        return self.driver._source.status()

    @property
    def folder(self):
        return self.assembly.folder.path

    async def until(self, condition, seconds=60.0):
        async with asyncio.timeout(seconds):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)

    async def step(self, bars=1, until=None):
        """Let the market go on, a bar at a time, each computed before the next; ends early where `until` is met."""
        for _ in range(bars):
            if until is not None and until():
                return
            await self._step_one()
        if until is not None:
            assert until(), "it never came to it"

    async def _step_one(self):
        """One bar; a second one where the first, heard in part after a connection was made, waits for its deadline."""
        rows = self.rows
        for _ in range(6):
            self.box.player.step()
            try:
                await self.until(lambda: self.rows > rows, 10.0)
            except TimeoutError:
                continue
            return
        raise TimeoutError("no wave came")

    async def stop(self):
        self.is_stopping = True
        while not self.task.done():
            self.box.player.step()
            await asyncio.wait({self.task}, timeout=0.2)
        try:
            self.task.result()
        except StoppedError as error:
            return error


def settings_of(folder, box, *, broker="paper", feeds="", feed="", review=0.01):
    url = f'rest_url = "{box.url}"\nstream_url = "{box.url.replace("http", "ws")}"' if broker == "binance" else ""
    path = folder / "config.toml"
    path.write_text(
        CONFIG.format(
            mode="live" if broker == "binance" else "paper",
            folder=folder,
            broker=broker,
            review=review,
            feed=feed,
            url=box.url,
            stream=box.url.replace("http", "ws"),
            feeds=feeds,
            brokers=url,
        )
    )
    return read_config(path, {})


def market_of(minutes=3_000, **more):
    return GivenFeed(symbols=(A, B, C), minutes=minutes, **more)


@asynccontextmanager
async def trial(monkeypatch, box, settings):
    """A run that has begun."""
    made = Trial(box)
    init = streaming._Driver.__init__

    def spy(self, *args):
        init(self, *args)
        made.driver = self

    def progressed(progress):
        made.rows = progress.rows

    with monkeypatch.context() as patched:
        patched.setattr(streaming._Driver, "__init__", spy)
        patched.setenv("BINANCE_API_KEY", KEY)
        patched.setenv("BINANCE_API_SECRET", SECRET)
        observer = Observer(lambda a: setattr(made, "assembly", a), progressed, lambda: made.is_stopping)
        made.task = asyncio.create_task(execute(settings, observer))
        try:
            await made.until(lambda: made.driver is not None and made.status.connections and made.status.is_up)
            yield made
        finally:
            if not made.task.done():
                made.task.cancel()
            await asyncio.gather(made.task, return_exceptions=True)


__all__ = ["START", "A", "B", "C", "Trial", "arena", "market_of", "settings_of", "trial"]
