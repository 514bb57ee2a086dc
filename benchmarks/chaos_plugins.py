"""A feature set and a strategy that trade often and for no reason: what the chaos, soak and parity runs trade with.

`install` makes a distribution of this file in a folder, so that ``slt`` finds both by name like any other plugin.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import gc
import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
from attrs import field, frozen
from attrs.validators import and_, ge, gt, le

from slt import hookimpl
from slt.authoring import BarStrategy, Signal
from slt.types import FeatureBlock

_ENTRY_POINTS = """
[slt.features]
steady = slt_chaos:Steady
[slt.strategies]
coin = slt_chaos:Coin
"""
_ABSENT = 0
_HOUR_MS = 3_600_000
_LAG_S = 0.05


@frozen(kw_only=True)
class SteadyConfig:
    """Options of `Steady`.

    Attributes:
        bars: Bars in a row without a hole after which a symbol is ready.
        census_file: Where the event loop's tasks and the heap are written down once an hour; empty = nowhere.
        census_types: Also count the objects by type, which stops the run for a moment.
        progress_file: Where the time of the last bar seen is written down; empty = nowhere.
        lag_file: Where it is written down, 20 times a second, how late the event loop comes round, s; empty = nowhere.
    """

    bars: int = field(default=3, validator=ge(1))
    census_file: str = ""
    census_types: bool = False
    progress_file: str = ""
    lag_file: str = ""


class Steady:
    """No column at all: a symbol is ready once its last few bars follow each other without a hole.

    It lives inside the run, and so it can count what nobody sees from outside: the tasks of the event loop.
    """

    config_class = SteadyConfig

    def __init__(self, config):
        self.config = config
        self._last = np.zeros(0, np.int64)
        self._whole = np.zeros(0, np.int64)
        self._interval = 0
        self._feeling = None

    @hookimpl
    def slt_describe_features(self):
        return (), (), self.config.bars, f"steady-{self.config.bars}"

    @hookimpl
    def slt_start_features(self, symbols, interval_ms):
        self._last = np.zeros(len(symbols), np.int64)
        self._whole = np.zeros(len(symbols), np.int64)
        self._interval = interval_ms

    @hookimpl
    def slt_update_features(self, bars):
        shape = bars.state.shape
        if self.config.census_file and int(bars.close_time[-1]) % _HOUR_MS == 0:
            self._count(int(bars.close_time[-1]))
        if self.config.lag_file and self._feeling is None:
            self._feeling = asyncio.get_running_loop().create_task(self._feel_lag())
        if self.config.progress_file:
            Path(self.config.progress_file).write_text(str(int(bars.close_time[-1])))
        ready = np.zeros(shape, np.bool_)
        for row in range(shape[0]):
            here = bars.state[row] != _ABSENT
            follows = bars.close_time[row] - self._last == self._interval
            self._whole = np.where(here, np.where(follows, self._whole + 1, 1), self._whole)
            self._last = np.where(here, bars.close_time[row], self._last)
            ready[row] = here & (self._whole >= self.config.bars)
        return FeatureBlock(
            columns=(),
            context_names=(),
            values=np.full((*shape, 0), np.nan, np.float32),
            context=np.full((*shape, 0), np.nan),
            fresh=bars.state == 1,
            ready=ready,
        )

    async def _feel_lag(self):
        loop = asyncio.get_running_loop()
        with Path(self.config.lag_file).open("a", buffering=1) as file:  # noqa: ASYNC230 # opened once
            while True:
                began = loop.time()
                await asyncio.sleep(_LAG_S)
                file.write(f"{loop.time() - began - _LAG_S:.5f}\n")

    def _count(self, time):
        try:
            tasks = sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks())
        except RuntimeError:
            return  # a thread computes: no loop to count in
        found = {"time": time, "tasks": tasks, "blocks": sys.getallocatedblocks(), **_heap()}
        if self.config.census_types:
            gc.collect()
            types = collections.Counter(type(one).__qualname__ for one in gc.get_objects())
            found["types"] = dict(types.most_common(60))
        with Path(self.config.census_file).open("a") as file:
            file.write(json.dumps(found) + "\n")

    @hookimpl
    def slt_snapshot_features(self):
        return {"last": self._last.copy(), "whole": self._whole.copy()}

    @hookimpl
    def slt_restore_features(self, state):
        self._last, self._whole = state["last"].copy(), state["whole"].copy()


class _Mallinfo2(ctypes.Structure):
    """What glibc tells of its heap, bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def _heap():
    """MiB of the C heap: got from the system, in use, and mapped for large blocks; nothing where there is no glibc."""
    try:
        call = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return {}
    call.restype = _Mallinfo2
    info = call()
    return {"heap": info.arena / 2**20, "used": info.uordblks / 2**20, "mapped": info.hblkhd / 2**20}


@frozen(kw_only=True)
class CoinConfig:
    """Options of `Coin`.

    Attributes:
        chance: Share of bars with a proposal.
        stop_fraction: Distance to the stop.
        target_fraction: Distance to the target.
        seed: Another number gives other proposals.
    """

    chance: float = field(default=0.3, validator=and_(gt(0.0), le(1.0)))
    stop_fraction: float = field(default=0.006, validator=gt(0.0))
    target_fraction: float = field(default=0.006, validator=gt(0.0))
    seed: int = field(default=1, validator=ge(0))


class Coin(BarStrategy):
    """Tosses a coin for each bar and trades what comes up: the same bar always gives the same proposal."""

    config_class = CoinConfig

    def on_bar(self, symbol, bar, features):
        del features
        config = self.config
        drawn = zlib.crc32(f"{config.seed} {symbol} {bar.time}".encode())
        if (drawn >> 1) % 10_000 >= config.chance * 10_000:
            return None
        side = 1 if drawn & 1 else -1
        return Signal(
            side=side,
            stop=bar.close * (1 - side * config.stop_fraction),
            target=bar.close * (1 + side * config.target_fraction),
            reason="coin",
            confidence=0.5 + drawn % 400 / 1_000,
        )


def install(folder: Path) -> Path:
    """Make a distribution with both plugins in a folder that is to be on PYTHONPATH."""
    info = folder / "slt_chaos-0.1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slt-chaos\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    shutil.copyfile(__file__, folder / "slt_chaos.py")
    return folder
