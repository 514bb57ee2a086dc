"""Minute wave to orders: from the last bar of a minute to the last of the orders that it leads to, fsync included.

    python benchmarks/wave.py                  # 200 symbols, 1,000 waves of 10 orders
    python benchmarks/wave.py --waves 100      # a smoke test

The whole live path runs: session log, features `ict`, strategy, engine, journal, lanes. The clock starts when the wave
is handed to the driver and stops when the broker's submit hook is called for the last of the orders; every intent and
every event is on the disk (fsynced) before its order goes out. The broker refuses each entry after that, so that the
next wave can enter again. Waves are apart, as minutes are: the next one comes when storage and disk are done.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from attrs import evolve, frozen

from slt.config import read_config
from slt.errors import SltError, StoppedError
from slt.hookspecs import BrokerSpecs, FeedSpecs, StrategySpecs
from slt.loader import Loaded, build_plugins
from slt.rules import generic_rules
from slt.run import execution, streaming
from slt.run.execution import Observer, execute
from slt.types import (
    AccountState,
    Bars,
    BarState,
    BrokerLink,
    MarketInfo,
    OrderStatus,
    OrderUpdate,
    StrategyBlock,
    Wave,
)

MINUTE = 60_000
START = 1_704_067_200_000
WARM_CANDLES = 24
_LONGEST_S = 30.0
CONFIG = """
[run]
name = "wave"
mode = "live"
confirm_live = true
allow_uncertified = true
one_instance = false
warm_days = 0
folder = "{folder}"
[plugins]
feed = "synthetic"
storage = "memory"
features = ["ict"]
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[features.ict]
warmup_candles = {warm}
[risk]
max_positions = {orders}
max_cost_share = 1.0
max_loss_at_stop = 0.0005
[health]
port = 0
"""


def hooks_of(spec, **given):
    """Hooks as the loader binds them: every name of the specification, None where it is left out."""
    return SimpleNamespace(**({name: None for name in vars(spec) if name.startswith("slt_")} | given))


def random_bars(symbols, rows, seed=7):
    """A random walk of every symbol, every bar traded."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(symbols))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0005, shape), axis=0))
    opened = np.vstack([np.full((1, shape[1]), 100.0), close[:-1]])
    spread = np.abs(rng.normal(0.0, 0.0003, shape)) * close
    volume = rng.lognormal(3.0, 1.0, shape)
    return Bars(
        symbols=symbols,
        interval_ms=MINUTE,
        close_time=START + MINUTE * np.arange(1, rows + 1, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) + spread,
        low=np.minimum(opened, close) - spread,
        close=close,
        volume=volume,
        taker_buy_volume=volume * rng.uniform(0.3, 0.7, shape),
        state=np.full(shape, int(BarState.TRADED), dtype=np.uint8),
    )


@frozen(eq=False)
class Proposer:
    """Proposes entries on the first symbols of every row."""

    orders: int

    def propose(self, bars, features):  # noqa: ARG002 # the hook's arguments
        signals = StrategyBlock.quiet((len(bars), len(bars.symbols)), ("measured",))
        signals.side[:, : self.orders] = 1
        signals.reason[:, : self.orders] = 0
        signals.stop[:] = bars.close * 0.98
        signals.target[:] = bars.close * 1.03
        signals.confidence_long[:] = signals.confidence_short[:] = 0.8
        return signals


class Desk:
    """The broker: notes when orders come, and refuses them a moment later."""

    def __init__(self, rules, wallet, orders):
        self.rules, self.wallet = rules, wallet
        self.times, self.updates, self.clock = [], asyncio.Queue(), START
        self.orders, self.enough = orders, asyncio.Event()

    async def submit(self, order):
        self.times.append(time.perf_counter())
        if len(self.times) == self.orders:
            self.enough.set()
        self.updates.put_nowait(
            OrderUpdate(order.time, order.client_id, order.symbol, OrderStatus.REJECTED, "measured, not traded")
        )
        return []

    async def read_updates(self):
        yield BrokerLink(self.clock, is_up=True, reason="")
        while True:
            yield await self.updates.get()

    async def read_account(self):
        return AccountState(self.clock, self.wallet, self.wallet, (), ())


class Stream:
    """The feed: one wave at a time, the next when nothing is left to do."""

    def __init__(self, bars, desk, warm_rows, orders):
        self.bars, self.desk, self.warm_rows, self.orders = bars, desk, warm_rows, orders
        self.driver, self.items, self.is_done, self.found = None, asyncio.Queue(), False, []

    def watch(self, symbols):
        """Prices are not part of it."""

    async def read(self):
        while True:
            yield await self.items.get()

    async def run(self):
        for row in range(len(self.bars)):
            await self.rest()
            closed = int(self.bars.close_time[row])
            self.desk.clock = closed
            self.desk.times.clear()
            self.desk.enough.clear()
            begun = time.perf_counter()
            self.items.put_nowait(Wave(closed, self.bars.rows(row, row + 1)))
            if row < self.warm_rows:
                continue
            async with asyncio.timeout(_LONGEST_S):
                await self.desk.enough.wait()
            self.found.append(self.desk.times[-1] - begun)
        self.is_done = True
        await asyncio.Event().wait()

    async def rest(self):
        driver = self.driver
        while (  # noqa: ASYNC110 # the parts of a driver have no one event for it
            not self.items.empty()
            or driver._queue._unfinished_tasks
            or driver._lanes is None
            or driver._lanes.busy
            or driver._reader.reason
            or driver._unstored
            or driver._assembly.writer.pending
            or not self.desk.updates.empty()
        ):
            await asyncio.sleep(0.001)


async def measure(folder, symbols, waves, orders):
    config = folder / "config.toml"
    config.write_text(CONFIG.format(folder=folder / "runs", orders=orders, warm=WARM_CANDLES))
    settings = read_config(config, {})
    plugins = build_plugins(settings)
    warm_rows = 10 * WARM_CANDLES
    bars = random_bars(symbols, warm_rows + waves)
    rules = {symbol: generic_rules(symbol) for symbol in symbols}
    desk = Desk(rules, 1_000_000.0, orders)
    stream = Stream(bars, desk, warm_rows, orders)

    async def opened(market, wallet):
        return rules

    async def nothing(**_):
        return []

    async def closed():
        return None

    market = MarketInfo(symbols, MINUTE, START, None, "a random walk", is_synthetic=True)
    feed = hooks_of(
        FeedSpecs,
        slt_describe_market=lambda **_: market,
        slt_read_bars=lambda **_: iter(()),
        slt_plan_connections=lambda **_: (),
    )
    broker = hooks_of(
        BrokerSpecs,
        slt_open_broker=opened,
        slt_submit_order=desk.submit,
        slt_cancel_order=nothing,
        slt_query_order=nothing,
        slt_read_updates=desk.read_updates,
        slt_read_account=desk.read_account,
        slt_snapshot_broker=dict,
        slt_restore_broker=lambda **_: None,
        slt_close_broker=closed,
    )
    strategy = hooks_of(
        StrategySpecs,
        slt_propose_trades=Proposer(orders).propose,
        slt_snapshot_strategy=dict,
        slt_restore_strategy=lambda **_: None,
    )
    made = evolve(
        plugins,
        feed=Loaded(plugins.feed.installed, feed, plugins.feed.config),
        broker=Loaded(plugins.broker.installed, broker, plugins.broker.config),
        strategies=(Loaded(plugins.strategies[0].installed, strategy, plugins.strategies[0].config),),
    )
    init = streaming._Driver.__init__

    def spy(self, *args):
        init(self, *args)
        stream.driver = self

    execution.build_plugins = lambda _: made
    streaming._make_pipeline = lambda _: stream
    streaming._BEAT_S = 0.02  # the bars of a wave are stored at the next beat, which no minute has to wait for here
    streaming._Driver.__init__ = spy
    with contextlib.suppress(StoppedError):
        await execute(settings, Observer(lambda _: None, lambda _: None, lambda: stream.is_done))
    return stream.found


def fsync_ms(folder, times=200):
    """What one small append with fsync costs on this disk: median and 99th percentile, ms."""
    found = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            found.append(1000 * (time.perf_counter() - begun))
    return np.percentile(found, 50), np.percentile(found, 99)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--waves", type=int, default=1000)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    parser.add_argument("--limit", type=float, default=0.0, help="fail where the 99th percentile is above this, ms")
    args = parser.parse_args()
    symbols = tuple(f"S{n:03d}USDT" for n in range(args.symbols))
    with tempfile.TemporaryDirectory(dir=args.folder) as text:
        folder = Path(text)
        half, slow = fsync_ms(folder)
        load = os.getloadavg()[0]
        try:
            with asyncio.Runner(loop_factory=_loop()) as runner:
                found = runner.run(measure(folder, symbols, args.waves, args.orders))
        except SltError as error:
            sys.exit(f"wave.py: {error}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}")
    print(f"fsync of 4 KiB on this disk: median {half:.2f} ms, p99 {slow:.2f} ms")
    print(f"{len(found)} waves of {args.symbols} symbols, {args.orders} orders each")
    times = 1000 * np.array(found)
    words = [f"{name} {np.percentile(times, share):.1f}" for name, share in (("median", 50), ("p90", 90), ("p99", 99))]
    p99 = np.percentile(times, 99)
    print(f"last bar in to last order out, ms: {', '.join(words)}, greatest {times.max():.1f}")
    if args.limit and p99 > args.limit:
        sys.exit(1)


def _loop():
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
