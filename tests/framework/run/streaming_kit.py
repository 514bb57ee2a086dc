"""Whole runs on the in-process live market: the real drivers, assembly, storage and journal around it."""

from __future__ import annotations

import contextlib
import pickle
from typing import TYPE_CHECKING

from attrs import evolve
from live_market import Exchange, Stream

from slt.config import read_config
from slt.errors import StoppedError
from slt.loader import build_plugins
from slt.run import execution, streaming
from slt.run.execution import Observer, execute
from slt.run.live_session import LiveSession
from slt.types import Trade

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[run]
name = "t"
mode = "{mode}"
confirm_live = true
allow_uncertified = true
warm_days = {warm_days}
one_instance = false
folder = "{folder}/runs"
{run}
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit"]
{plugins}
[feeds.synthetic]
symbols = ["SYNAUSDT", "SYNBUSDT", "SYNCUSDT"]
days = 1
[brokers.paper]
path = "ohlc"
slippage_fraction = 0.0
level_fills = false
{more}
"""


class Life:
    """One life of a run on the live market, or on a recording of it.

    Attributes:
        assembly: The run's parts.
        driver: The driver of a live feed.
        progress: As told, a list.
        error: What ended it.
    """

    def __init__(self):
        self.assembly = self.driver = self.error = None
        self.progress = []
        self._noted = {}

    @property
    def engine(self):
        return self.assembly.engine

    @property
    def trades(self):
        """Closed trades of the run, in all its lives."""
        found = {}
        if self._closed.exists():
            with self._closed.open("rb") as file:
                while file.peek(1):
                    trade = pickle.load(file)
                    found[trade.id] = trade
        return list((found | self._noted).values())

    def note(self, record):
        """Write a closed trade down, beside the run's own files, so that it is copied and restored with them."""
        if isinstance(record, Trade):
            self._noted[record.id] = record
            with contextlib.suppress(OSError), self._closed.open("ab") as file:
                pickle.dump(record, file)

    @property
    def _closed(self) -> Path:
        return self.assembly.folder.path / "closed.pickle"

    @property
    def session_folder(self) -> Path:
        return self.assembly.folder.path / "session"


def settings_of(folder, mode="live", run="", plugins="", more="", warm_days=0):
    path = folder / "config.toml"
    path.write_text(CONFIG.format(folder=folder, mode=mode, run=run, plugins=plugins, more=more, warm_days=warm_days))
    return read_config(path, {})


async def recording(settings):
    """Market, bars and rules of the synthetic feed, as live counterparts are made of."""
    plugins = build_plugins(settings)
    market = plugins.feed.hooks.slt_describe_market()
    rules = dict(await plugins.broker.hooks.slt_open_broker(market=market, wallet=10_000.0))
    bars = list(plugins.feed.hooks.slt_read_bars(start=market.start, rows=240))
    return market, bars, rules


async def live(monkeypatch, settings, stream, exchange=None, *, market, stop_when=None, is_fresh=False, storage=None):
    """Run until the stream is done, or `stop_when(life)` says so.

    Args:
        monkeypatch: Puts the feed and the broker in the plugins' places.
        settings: The configuration.
        stream: The feed.
        exchange: The broker; None = the paper broker.
        market: What the feed tells.
        stop_when: See above.
        is_fresh: As `execute`.
        storage: What an earlier life has stored in; None = an empty one.
    """
    life = Life()
    plugins = build_plugins(settings)
    feed = stream.as_feed(evolve(market, end=None, funding={}), plugins.feed)
    broker = plugins.broker if exchange is None else exchange.as_broker(plugins.broker)
    made = evolve(plugins, feed=feed, broker=broker, storage=storage or plugins.storage)
    init = streaming._Driver.__init__

    note = LiveSession.note

    def spy(self, *args):
        init(self, *args)
        life.driver = stream.driver = self

    def noted(self, record):
        note(self, record)
        life.note(record)

    def stopping():
        return stream.is_done if stop_when is None else stop_when(life)

    with monkeypatch.context() as patched:
        patched.setattr(execution, "build_plugins", lambda _: made)
        patched.setattr(streaming, "_make_pipeline", lambda _: stream)
        patched.setattr(streaming._Driver, "__init__", spy)
        patched.setattr(LiveSession, "note", noted)
        observer = Observer(lambda a: setattr(life, "assembly", a), life.progress.append, stopping)
        try:
            await execute(settings, observer, is_fresh=is_fresh)
        except StoppedError as error:
            life.error = error
    return life


async def recorded(settings):
    """Run the recording to its end; returns its trades."""
    found = []
    note = execution.summarise

    def spy(run, trades, *args, **more):
        found.extend(trades)
        return note(run, trades, *args, **more)

    execution.summarise = spy
    try:
        await execute(settings, Observer(lambda _: None, lambda _: None, lambda: False))
    finally:
        execution.summarise = note
    return found


def facts(trades):
    """What must be the same of trades, whichever way they were made."""
    return [
        (t.symbol, t.side, t.entry_time, t.exit_time, t.entry_price, t.exit_price, t.quantity, t.exit, t.partial_exits)
        for t in trades
    ]


__all__ = ["Exchange", "Life", "Stream", "facts", "live", "recorded", "recording", "settings_of"]
