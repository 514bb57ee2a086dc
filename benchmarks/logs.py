"""What a person sees of a noisy day: lines shown against lines produced, and whether every safety line was among them.

A real paper run over a synthetic day, with storage, notifier, feed and an exit that fail by the clock of the candles:
the storage is away for two hours out of six, the notifier refuses every third hour, three connections flap six times a
minute in one hour of four (and candles of a quarter of the symbols are missing), and in the evening an exit breaks.
Everything is written to the log's file; the screen is what slt shows off a terminal, with the default options. The
clock of the log is that of the candles, so that "once a minute" is a minute of that day.

python benchmarks/logs.py [--symbols 40] [--seconds 90]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from attrs import evolve, frozen

from slt import hookimpl
from slt.cli.progress import _LineView
from slt.config import read_config
from slt.errors import PluginError, StorageError
from slt.log import LogConfig, configure_logging
from slt.run.execution import Observer, execute
from slt.types import BarState
from slt_exits.time_stop import TimeStop
from slt_memory.storage import MemoryStorage
from slt_synthetic.feed import SyntheticFeed

MINUTE, HOUR = 60_000, 3_600_000
FLAPS_A_MINUTE = 6
LEAST_REDUCTION = 0.95
ENTRY_POINTS = """
[slt.feeds]
noisy = logs:NoisyFeed
[slt.storages]
noisy = logs:NoisyStorage
[slt.notifiers]
noisy = logs:NoisyNotifier
[slt.exits]
noisy = logs:NoisyExit
"""
CONFIG = """
[run]
name = "noisy"
mode = "paper"
folder = "{folder}/runs"
speed = {speed}
halt_entries_without_storage = true
[plugins]
feed = "noisy"
storage = "noisy"
features = ["ict"]
strategies = ["ict_smc", "ema_cross"]
sizer = "fixed_risk"
exits = ["noisy", "time_stop"]
notifiers = ["noisy"]
[feeds.noisy]
days = 1
symbols = [{symbols}]
[features.ict]
warmup_candles = 24
[notices]
rate_limit_seconds = 0.0
retry_seconds = 0.05
retry_max_seconds = 0.2
[health]
port = 0
"""


class Day:
    """The clock of the candles."""

    now = 0

    @classmethod
    def hour(cls):
        return cls.now // HOUR % 24


feed_log = logging.getLogger("noisy.feed")


class NoisyFeed(SyntheticFeed):
    """The synthetic market behind a connection that flaps in one hour of four."""

    @hookimpl
    def slt_read_bars(self, start, rows):
        for bars in super().slt_read_bars(start, rows):
            state = bars.state.copy()
            for row, time in enumerate(bars.close_time):
                if int(time) // HOUR % 4 == 3 and int(time) // MINUTE % 5 < 2:
                    state[row, ::4] = BarState.ABSENT
            yield evolve(bars, state=state)


class NoisyStorage(MemoryStorage):
    """Away for two hours out of six."""

    @hookimpl
    async def slt_write_records(self, records):
        if Day.hour() % 6 in {2, 3}:
            raise StorageError("the database refused the connection; start it or correct its address")
        await super().slt_write_records(records)


@frozen
class NoisyNotifierConfig:
    """No options."""


class NoisyNotifier:
    """Refuses every third hour."""

    config_class = NoisyNotifierConfig

    def __init__(self, config):
        self.config = config

    @hookimpl
    async def slt_send_notice(self, notice):
        logging.getLogger("noisy.http").debug("POST /channel: %s", notice.id)
        if Day.hour() % 3 == 1:
            raise ConnectionResetError(f"channel reset while {notice.id} was on its way")


class NoisyExit(TimeStop):
    """Breaks at 20:00."""

    @hookimpl
    def slt_check_exit(self, position, point, outlook):
        if point.time // HOUR % 24 >= 20:
            raise PluginError("the exit divided by zero")
        return super().slt_check_exit(position, point, outlook)


class Producer:
    """Says what a connection says, minute by minute of the day."""

    def __init__(self, symbols):
        self.symbols = symbols

    def say(self, time):
        for symbol in range(self.symbols):
            feed_log.debug("frame %d bytes of SYN%dUSDT", 380 + symbol, symbol + 1)
        if time // HOUR % 4 == 3:
            for flap in range(FLAPS_A_MINUTE):
                for name in ("market-1", "market-2", "market-3"):
                    feed_log.warning("connection %s lost: %s", name, ("1006", "1011", "silent")[flap % 3])
                    feed_log.error("subscription of %s refused, attempt %d", name, flap)
                    feed_log.info("%s connected", name)


def write_config(folder, symbols, seconds):
    info = folder / "site" / "noisy-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.insert(0, str(folder / "site"))
    sys.path.insert(0, str(Path(__file__).parent))
    names = ", ".join(f'"SYN{i}USDT"' for i in range(1, symbols + 1))
    path = folder / "config.toml"
    path.write_text(CONFIG.format(folder=folder, symbols=names, speed=86_400 / seconds))
    return path


def play(folder, symbols, seconds):
    """Run the day; what the screen showed, what the file took, and how many lines were produced."""
    import logs  # the module under the name by which the loader finds its plugins

    settings = read_config(write_config(folder, symbols, seconds), {})
    screen, file = io.StringIO(), folder / "slt.log"
    view, producer = _LineView(lambda: logs.Day.now / 1000), Producer(symbols)
    options = evolve(LogConfig(), file_mb=1000)
    log = configure_logging(
        options, terminal=False, file=file, stream=screen, environment={}, clock=lambda: logs.Day.now / 1000
    )

    def progressed(progress):
        logs.Day.now = progress.time
        producer.say(progress.time)
        log.tell_repeats()
        view.progressed(progress)

    def started(assembly):
        logs.Day.now = assembly.market.start
        view.started(assembly)

    with log:
        outcome = asyncio.run(execute(settings, Observer(started, progressed, lambda: False)))
    taken = [json.loads(line) for line in file.read_text().splitlines()]
    shown = [json.loads(line) for line in screen.getvalue().splitlines()]
    return outcome, taken, shown, log.produced


def identity(line):
    return json.dumps({k: v for k, v in line.items() if k != "repeated"}, sort_keys=True)


def is_safety(line):
    return bool(line.get("safety")) or line["level"] == "critical"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=90.0, help="wall time of the day")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome, taken, shown, produced = play(Path(folder), args.symbols, args.seconds)
    made, seen = Counter(line["category"] for line in taken), Counter(line["category"] for line in shown)
    print(f"{'category':<12}{'produced':>10}{'shown':>8}")
    for category in sorted(made):
        print(f"{category:<12}{made[category]:>10,}{seen[category]:>8,}")
    reduction = 1 - len(shown) / produced
    print(f"{'all':<12}{produced:>10,}{len(shown):>8,}   {reduction:.1%} less (at least {LEAST_REDUCTION:.0%})")
    counted = sum(line.get("repeated", 0) for line in shown)
    print(f"told as counts: {counted:,} repetitions in {sum('repeated' in line for line in shown):,} lines")
    safety = Counter(identity(line) for line in taken if is_safety(line))
    missing = safety - Counter(identity(line) for line in shown if is_safety(line))
    print(f"safety lines: {safety.total()} produced, {missing.total()} missing on the screen")
    events = Counter(line["event"] for line in taken if is_safety(line))
    for event, count in events.most_common():
        print(f"  {count:>4}  {event}")
    shown_most = Counter(f"{line['level']} {line['event']}" for line in shown).most_common(8)
    print("shown most: " + "; ".join(f"{count} × {event}" for event, count in shown_most))
    print(f"trades: {outcome.summary.trades}; entries were halted by: {', '.join(outcome.faults) or 'nothing broken'}")
    return 0 if reduction >= LEAST_REDUCTION and safety and not missing and produced == len(taken) else 1


if __name__ == "__main__":
    sys.exit(main())
