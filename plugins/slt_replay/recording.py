"""The feed `recording`: the candles of a recorded live run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen
from attrs.validators import min_len

from slt import hookimpl
from slt.candles import block_times, interval_name, utc_text
from slt.errors import DataError
from slt.feed import open_recording, read_waves, reader_of
from slt.rules import generic_rules
from slt.types import Bars, BarState, MarketInfo, Wave

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RecordingFeed", "RecordingFeedConfig"]


@frozen(kw_only=True)
class RecordingFeedConfig:
    """Options of `RecordingFeed`.

    Attributes:
        folder: Folder of one recording, as `feed.record` made it, or one of its files.
    """

    folder: str = field(default="recordings", validator=min_len(1))


class RecordingFeed:
    """Replays the frames that a live feed recorded: bar for bar what the run had, late bars put in their place.

    The recording names the feed that made it; that plugin reads the frames, and the bars come out byte for byte as they
    did live. A bar that came after a later one of its symbol, or was restated after it had gone out, is as the run had
    it. The end of a recording that a crash has torn is left out.

    Args:
        config: The options.
    """

    config_class = RecordingFeedConfig

    def __init__(self, config: RecordingFeedConfig) -> None:
        self.config = config
        self._bars: Bars | None = None
        self._about = ""

    @hookimpl
    def slt_describe_market(self) -> MarketInfo:
        """Read the whole recording; see `slt.hookspecs.FeedSpecs.slt_describe_market`."""
        bars = self._read()
        interval = bars.interval_ms
        start, end = int(bars.close_time[0]) - interval, int(bars.close_time[-1])
        return MarketInfo(
            symbols=bars.symbols,
            interval_ms=interval,
            start=start,
            end=end,
            description=f"{self._about}, {interval_name(interval)}, {utc_text(start)} to {utc_text(end)} UTC",
            rules={symbol: generic_rules(symbol, _first_price(bars, i)) for i, symbol in enumerate(bars.symbols)},
            total_bars=len(bars),
        )

    @hookimpl
    def slt_read_bars(self, start: int, rows: int) -> Iterator[Bars]:
        """Yield the recorded bars; see `slt.hookspecs.FeedSpecs.slt_read_bars`."""
        bars = self._read()
        first, last = int(bars.close_time[0]), int(bars.close_time[-1])
        for times in block_times(first, last, start, rows, bars.interval_ms):
            place = (int(times[0]) - first) // bars.interval_ms
            yield bars.rows(place, place + len(times))

    def _read(self) -> Bars:
        if self._bars is None:
            recording = open_recording(Path(self.config.folder))
            feed = str(recording.about.get("feed"))
            waves = [item for item in read_waves(recording, reader_of(feed)) if isinstance(item, Wave)]
            self._about = f"recorded frames of the feed {feed}"
            self._bars = _in_place(waves, self.config.folder)
        return self._bars


def _first_price(bars: Bars, column: int) -> float | None:
    traded = bars.open[bars.state[:, column] == BarState.TRADED, column]
    return float(traded[0]) if len(traded) else None


def _in_place(waves: list[Wave], folder: str) -> Bars:
    """All bars of the waves, each in the row of its own minute."""
    symbols = waves[-1].bars.symbols if waves else ()  # those that joined are the last
    parts = [wave.bars.spread(symbols) for wave in waves]
    known = [part.close_time[(part.state != BarState.ABSENT).any(axis=1)] for part in parts]
    times = np.concatenate(known) if known else np.zeros(0, dtype=np.int64)
    if not len(times):
        raise DataError(f"feeds.recording.folder: {folder} holds no closed bar; record for longer")
    interval = parts[0].interval_ms
    grid = np.arange(times.min(), times.max() + interval, interval, dtype=np.int64)
    whole = Bars.absent(parts[0].symbols, interval, grid)
    for part in parts:
        for row, time in enumerate(part.close_time):
            here = part.state[row] != BarState.ABSENT
            place = (int(time) - int(grid[0])) // interval
            if here.any():
                for name in ("open", "high", "low", "close", "volume", "taker_buy_volume", "state"):
                    getattr(whole, name)[place, here] = getattr(part, name)[row, here]
    return whole
