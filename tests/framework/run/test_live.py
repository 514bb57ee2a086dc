"""The live driver in this process: pace, gaps, stops, notices over restarts, health, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from attrs import evolve

from slt.config import read_config
from slt.errors import StoppedError, StorageError
from slt.events import Tick
from slt.run import execution, player, supervision
from slt.run.execution import Observer, execute
from slt.storage.writer import Writer
from slt.testing.notifiers import Answer, ChannelServer
from slt.trading.engine import Engine
from slt.types import Bars, Run, Trade
from slt_memory.storage import MemoryStorage
from slt_replay.paper import PaperBroker
from slt_synthetic.feed import SyntheticFeed

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[run]
name = "t"
mode = "paper"
folder = "{folder}/runs"
{run}
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
{plugins}
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 1
{more}
"""
NOTIFIER = """
[notices]
rate_limit_seconds = 0.02
retry_seconds = 0.01
in_backtest = ["open", "close", "daily", "alert"]
[notifiers.discord]
webhook_env = "TEST_HOOK"
"""
TAKEN, BUSY = Answer(204), Answer(429, {"retry_after": 0.05}, {"Retry-After": "0.05"})


def write_config(folder: Path, *, run: str = "", plugins: str = "", more: str = ""):
    path = folder / "config.toml"
    path.write_text(CONFIG.format(folder=folder, run=run, plugins=plugins, more=more))
    return read_config(path, {})


class Watcher:
    """Observes a run and stops it after some bars."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.bars = 0
        self.assembly = None

    def observer(self) -> Observer:
        return Observer(started=self.started, progressed=self.progressed, stopping=self.is_stopping)

    def started(self, assembly) -> None:
        self.assembly = assembly

    def progressed(self, _progress) -> None:
        self.bars += 1

    def is_stopping(self) -> bool:
        return self.stop_after is not None and self.bars >= self.stop_after


async def play(settings, stop_after: int | None = None, **options):
    watcher = Watcher(stop_after)
    outcome = await execute(settings, watcher.observer(), **options)
    assert outcome.problems == ()
    return outcome.summary, watcher


@pytest.fixture
async def gap(tmp_path, monkeypatch):
    """The synthetic market without the three hours after its first position opened; gives the missing close times."""
    opened = []

    def progressed(progress) -> None:
        if progress.open_positions:
            opened.append(progress.time)

    await execute(write_config(tmp_path), Observer(lambda _: None, progressed, lambda: False))
    first = opened[0]
    last = first + 3 * 3_600_000
    whole = SyntheticFeed.slt_read_bars

    def read(self, start, rows):
        for bars in whole(self, start, rows):
            kept = np.flatnonzero((bars.close_time <= first) | (bars.close_time > last))
            if len(kept):
                yield Bars.concatenate([bars.rows(i, i + 1) for i in kept])

    read.slt_impl = whole.slt_impl
    monkeypatch.setattr(SyntheticFeed, "slt_read_bars", read)
    return range(first + 60_000, last + 1, 60_000)


@pytest.fixture
def ticks(monkeypatch):
    """Times of the ticks that engines are given, in order."""
    times = []
    handle = Engine.handle

    def spy(self, event):
        if isinstance(event, Tick):
            times.append(event.time)
        return handle(self, event)

    monkeypatch.setattr(Engine, "handle", spy)
    return times


async def test_gap_in_the_recording_ticks_once_a_missing_bar_and_equally_in_every_mode(tmp_path, gap, ticks):
    found = []
    for number, (run, skip) in enumerate(
        [
            ("", True),
            ('mode = "backtest"', True),
            ('mode = "backtest"', False),
            ('mode = "backtest"\nblock_bars = 77', True),
            ("speed = 600000.0", True),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = run if "mode" in run else f'mode = "paper"\n{run}'
        path = folder / "config.toml"
        path.write_text(
            CONFIG.replace('mode = "paper"\n', "").format(folder=folder, run=text, plugins="", more="")
            + "[exits.time_stop]\nmax_hours = 1.0\n"
        )
        ticks.clear()
        summary, _ = await play(read_config(path, {}), skip=skip)
        found.append((summary.trade_hash, tuple(ticks)))
    assert len(set(found)) == 1
    trade_hash, times = found[0]
    assert trade_hash
    assert times == tuple(gap), "one tick a missing bar, while a position is open"


async def test_paced_run_waits_for_its_bars_and_decides_the_same(tmp_path):
    at_once, _ = await play(write_config(tmp_path))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    paced, _ = await play(write_config(tmp_path, run="speed = 28800.0"))
    assert paced.trade_hash == at_once.trade_hash
    assert loop.time() - begun >= 86_340 / 28_800, "a day but for its first bar, at that speed"


async def test_paced_run_is_stopped_while_it_waits(tmp_path):
    settings = write_config(tmp_path, run="speed = 1.0")
    with pytest.raises(StoppedError, match="the same command resumes it"):
        async with asyncio.timeout(20):
            await play(settings, stop_after=1)
    resumed = evolve(settings, run=evolve(settings.run, speed=0.0))
    watcher = Watcher(stop_after=10)
    with pytest.raises(StoppedError):
        await execute(resumed, watcher.observer())
    assert watcher.bars == 10


@pytest.mark.parametrize("mode", ["paper", "backtest"])
async def test_notices_over_stops_reach_the_channel_once_each(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(execution, "_STOP_DRAIN_S", 0.3)
    async with ChannelServer(TAKEN) as server:
        monkeypatch.setenv("TEST_HOOK", f"{server.url}/api/webhooks/1/abc")
        options = {"plugins": 'notifiers = ["discord"]', "more": NOTIFIER}
        run = f'mode = "{mode}"\nblock_bars = 1\nsnapshot_seconds = 3600.0'
        config = CONFIG.replace('mode = "paper"\n', "")
        monkeypatch.setitem(globals(), "CONFIG", config)
        folders = [tmp_path / "whole", tmp_path / "stopped"]
        for folder in folders:
            folder.mkdir()
        await play(write_config(folders[0], run=run, **options))
        expected = [body for _, _, body in server.requests]
        server.requests.clear()
        settings = write_config(folders[1], run=run, **options)
        refused, delivered = 0, []
        for stop_after in (200, 300, 400):
            server.default = BUSY
            with pytest.raises(StoppedError):
                await play(settings, stop_after=stop_after)
            refused += len(server.requests)
            server.requests.clear()
            server.default = TAKEN
            with pytest.raises(StoppedError):
                await play(settings, stop_after=1)
            delivered += server.requests
            server.requests.clear()
        await play(settings)
        delivered += server.requests
    assert len(expected) >= 15
    assert refused > 0
    assert sorted(body for _, _, body in delivered) == sorted(expected)


async def test_order_is_sent_only_after_its_intent_is_on_the_disk(tmp_path, monkeypatch):
    missing, sent = [], []
    submit = PaperBroker.slt_submit_order

    async def spy(self, order):
        journals = (tmp_path / "runs" / "t-001" / "journal").glob("*.journal")
        words = b"".join(path.read_bytes() for path in journals)
        sent.append(order.client_id)
        if f'["OrderIntent","{order.client_id}"'.encode() not in words:
            missing.append(order.client_id)
        return await submit(self, order)

    async def no_acknowledgement(self, last):
        """Keep every segment, so that the journal can be read back here."""

    spy.slt_impl = submit.slt_impl
    monkeypatch.setattr(PaperBroker, "slt_submit_order", spy)
    monkeypatch.setattr(Writer, "_acknowledge", no_acknowledgement)
    await play(write_config(tmp_path))
    assert len(sent) > 20
    assert missing == []


async def test_snapshot_is_taken_only_when_the_storage_has_what_it_holds(tmp_path, monkeypatch):
    stored, missing, counts = set(), [], []
    write, save = MemoryStorage.slt_write_records, player.save_snapshot

    async def slow(self, records):
        await asyncio.sleep(0.05)
        await write(self, records)
        stored.update(record.id for record in records)

    def spy(path, state):
        found = [record.id for record in (*state["results"].trades, *state["results"].equity)]
        missing.extend(set(found) - stored)
        counts.append(len(found))
        save(path, state)

    slow.slt_impl = write.slt_impl
    monkeypatch.setattr(MemoryStorage, "slt_write_records", slow)
    monkeypatch.setattr(player, "save_snapshot", spy)
    settings = write_config(tmp_path, run="block_bars = 60\nsnapshot_seconds = 0.0")
    await play(evolve(settings, run=evolve(settings.run, mode="backtest")))
    assert counts[0] == 0
    assert counts[-1] > 20
    assert missing == []


async def test_records_of_a_life_without_database_reach_it_first_in_the_next(tmp_path, monkeypatch):
    async def away(self, records):
        raise StorageError("the database is away")

    settings = write_config(tmp_path)
    write = MemoryStorage.slt_write_records
    away.slt_impl = write.slt_impl
    monkeypatch.setattr(MemoryStorage, "slt_write_records", away)
    with pytest.raises(StoppedError, match="is stopped and saved"):
        await play(settings, stop_after=900)
    order = []

    async def spy(self, records):
        order.extend(records)
        await write(self, records)

    spy.slt_impl = write.slt_impl
    monkeypatch.setattr(MemoryStorage, "slt_write_records", spy)
    summary, watcher = await play(settings)
    runs = [number for number, record in enumerate(order) if isinstance(record, Run)]
    assert [status for status, _ in groupby(order[number].status for number in runs)] == [
        "stopped",
        "running",
        "finished",
    ]
    start = watcher.assembly.market.start
    assert all(_time_of(record) <= start + 900 * 60_000 for record in order[: runs[1]])
    assert len({record.id for record in order if isinstance(record, Trade)}) == summary.trades
    assert any(isinstance(record, Trade) for record in order[: runs[1]])


def _time_of(record) -> int:
    names = ("exit_time", "entry_time", "started", "time")
    return next(getattr(record, name) for name in names if hasattr(record, name))


async def test_health_file_tells_how_the_run_is_and_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "_HEALTH_SECONDS", 0.05)
    seen = []
    watcher = Watcher()

    def progressed(_progress) -> None:
        path = watcher.assembly.folder.path / "health.json"
        if path.exists():
            seen.append(json.loads(path.read_text(encoding="utf-8")))

    settings = write_config(tmp_path, run="speed = 86400.0")
    await execute(settings, Observer(watcher.started, progressed, lambda: False))
    names = [part["name"] for part in seen[-1]["parts"]]
    expected = "feed recording, loop, loops, database, queue, features, cache, broker, model, memory, risk, outbox"
    assert ", ".join(names) == f"{expected}, plugins"
    assert {one["state"] for one in seen} == {"running"}
    # How well depends on what else the machine does; `test_vitals` has the scores.
    assert seen[-1]["status"] in {"green", "yellow", "red"}
    assert seen[-1]["event_time"] > next(one["event_time"] for one in seen if one["event_time"])
    final = json.loads((watcher.assembly.folder.path / "health.json").read_text(encoding="utf-8"))
    assert final["state"] == "finished"
    with pytest.raises(StoppedError):
        await play(settings, stop_after=5)
    stopped = json.loads((tmp_path / "runs" / "t-002" / "health.json").read_text(encoding="utf-8"))
    assert stopped["state"] == "stopped"


LEARNING = """
[features.ict]
warmup_candles = 24
[learning]
fit_every_trades = 4
[gate]
min_samples = 20
"""
MODEL = """
model = "xgboost"
features = ["ict"]
notifiers = ["discord"]
"""


@pytest.mark.parametrize("mode", ["paper", "backtest"])
async def test_run_leaves_no_task_thread_process_or_descriptor_behind(tmp_path, monkeypatch, mode):
    async with ChannelServer(TAKEN) as server:
        monkeypatch.setenv("TEST_HOOK", f"{server.url}/api/webhooks/1/abc")
        settings = write_config(tmp_path, plugins=MODEL, more=NOTIFIER + LEARNING)
        settings = evolve(settings, run=evolve(settings.run, mode=mode))
        await play(settings)  # what is loaded once and stays
        before = await _held()
        summary, watcher = await play(settings)
        assert summary.models, "a child process has fitted"
        engine = weakref.ref(watcher.assembly.engine)
        del watcher
        gc.collect()
        assert engine() is None, "something keeps the finished run in memory"
        with pytest.raises(StoppedError):
            await play(settings, stop_after=1)
        after = await _held()
    assert after == before


async def _held():
    """What this process holds: tasks, threads but for the loop's own, child processes, descriptors."""
    await asyncio.sleep(0.1)
    process = psutil.Process()
    threads = sorted(t.name for t in threading.enumerate() if not t.name.startswith("asyncio_"))
    return len(asyncio.all_tasks()), threads, len(process.children(recursive=True)), process.num_fds()
