"""The kit of feeds must catch a feed that breaks a card: one fault each, and the cards that see it."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from slt import hookimpl
from slt.candles import cut_blocks
from slt.testing import FeedConformance
from slt.types import Bars, BarState, FundingRates, MarketInfo

START = 1_704_067_200_000
MINUTE = 60_000
ROWS = 300


@attrs.frozen(kw_only=True)
class SoundFeedConfig:
    """Options of `SoundFeed`.

    Attributes:
        seed: Another number, other prices.
    """

    seed: int = 1


def made_bars(seed=1):
    times = START + MINUTE * np.arange(1, ROWS + 1)
    bars = Bars.absent(("AAA", "BBB"), MINUTE, times)
    draws = 1 + np.random.default_rng(seed).random((4, ROWS, 2))
    traded = np.ones((ROWS, 2), dtype=bool)
    traded[50:60, 0] = traded[:20, 1] = False
    bars.open[traded], bars.close[traded] = draws[0][traded], draws[1][traded]
    bars.high[traded] = np.maximum(draws[0], draws[1])[traded] + 0.1
    bars.low[traded] = np.minimum(draws[0], draws[1])[traded] - 0.1
    bars.volume[traded], bars.taker_buy_volume[traded] = draws[2][traded], draws[2][traded] * 0.5
    bars.state[traded] = BarState.TRADED
    bars.state[55, 0], bars.volume[55, 0] = BarState.EMPTY, 0.0
    return bars


class SoundFeed:
    """A small market in memory that keeps the contract."""

    config_class = SoundFeedConfig
    first_block = 0

    def __init__(self, config):
        self.config = config

    @hookimpl
    def slt_describe_market(self):
        return self.change_market(
            MarketInfo(("AAA", "BBB"), MINUTE, START, START + ROWS * MINUTE, "a market in memory", total_bars=ROWS)
        )

    @hookimpl
    def slt_read_bars(self, start, rows):
        for number, block in enumerate(cut_blocks([self.change_bars(made_bars(self.config.seed))], start, rows)):
            yield self.change_block(block, number)

    def change_market(self, market):
        return market

    def change_bars(self, bars):
        return bars

    def change_block(self, block, number):
        return block


class TestSound(FeedConformance):
    """The feed that the faults are made from passes."""

    rows = 64

    def make_feed(self):
        return SoundFeed(SoundFeedConfig())


def market_fault(**changes):
    class Faulty(SoundFeed):
        """A fault."""

        def change_market(self, market):
            return attrs.evolve(market, **changes)

    return Faulty


def bars_fault(change):
    class Faulty(SoundFeed):
        """A fault."""

        def change_bars(self, bars):
            return change(bars)

    return Faulty


def set_cell(name, row, value):
    def change(bars):
        getattr(bars, name)[row, 0] = value
        return bars

    return bars_fault(change)


def without_row(bars):
    return Bars.concatenate([bars.rows(0, 30), bars.rows(31, ROWS)])


def fortran(bars):
    return attrs.evolve(bars, close=np.asfortranarray(bars.close))


class OddLength(SoundFeed):
    """A fault."""

    @hookimpl
    def slt_read_bars(self, start, rows):
        bars = made_bars()
        first = int(np.searchsorted(bars.close_time, start, side="right"))
        for at in range(first, ROWS, rows):
            yield bars.rows(at, min(at + rows, ROWS))


class IgnoresStart(SoundFeed):
    """A fault."""

    @hookimpl
    def slt_read_bars(self, rows):
        yield from cut_blocks([made_bars()], 0, rows)


class StartsAtStart(SoundFeed):
    """A fault."""

    @hookimpl
    def slt_read_bars(self, start, rows):
        yield from cut_blocks([made_bars()], start - 1, rows)


class OneReadingOnly(SoundFeed):
    """A fault."""

    readings = 0

    @hookimpl
    def slt_read_bars(self, start, rows):
        OneReadingOnly.readings += 1
        yield from cut_blocks([made_bars(OneReadingOnly.readings)], start, rows)


class BlocksMatter(SoundFeed):
    """A fault."""

    def change_block(self, block, number):
        block.volume[0] += 1
        return block


class ReusedBuffer(SoundFeed):
    """A fault."""

    @hookimpl
    def slt_read_bars(self, start, rows):
        buffer = None
        for block in cut_blocks([made_bars()], start, rows):
            if buffer is None or len(buffer) != len(block.close):
                buffer = block.close.copy()
            buffer[:] = block.close
            yield attrs.evolve(block, close=buffer)


class Undescribed(SoundFeed):
    config_class = SoundFeedConfig


@pytest.mark.parametrize(
    ("faulty", "card"),
    [
        (Undescribed, "d01"),
        (market_fault(symbols=("AAA", "AAA")), "d02"),
        (market_fault(end=None), "d02"),
        (market_fault(start=START + 1), "d02"),
        (market_fault(is_synthetic=True), "d02"),
        (market_fault(total_bars=1), "d02"),
        (market_fault(description=""), "d02"),
        (market_fault(funding={"AAA": FundingRates(np.array([2, 1]), np.zeros(2))}), "d02"),
        (market_fault(funding={"XXX": FundingRates(np.array([1, 2]), np.zeros(2))}), "d02"),
        (market_fault(start=START - MINUTE, total_bars=None), "d03"),
        (market_fault(end=START + (ROWS + 1) * MINUTE, total_bars=None), "d03"),
        (market_fault(symbols=("BBB", "AAA")), "d04"),
        (bars_fault(fortran), "d04"),
        (bars_fault(lambda bars: attrs.evolve(bars, close=bars.close.astype(np.float32))), "d04"),
        (set_cell("close", 52, 1.5), "d05"),
        (set_cell("close", 10, np.nan), "d05"),
        (set_cell("volume", 55, 1.0), "d05"),
        (set_cell("taker_buy_volume", 52, 1.0), "d05"),
        (set_cell("state", 10, 7), "d05"),
        (set_cell("low", 10, 9.0), "d06"),
        (set_cell("high", 10, 0.5), "d06"),
        (set_cell("low", 10, -1.0), "d06"),
        (set_cell("taker_buy_volume", 10, 50.0), "d06"),
        (bars_fault(without_row), "d07"),
        (OddLength, "d07"),
        (OneReadingOnly, "d08"),
        (BlocksMatter, "d09"),
        (IgnoresStart, "d10"),
        (StartsAtStart, "d10"),
        (ReusedBuffer, "d11"),
        (bars_fault(lambda bars: _silence(bars, 1)), "d12"),
    ],
)
def test_kit_fault_is_caught_by_its_card(faulty, card):
    if faulty is Undescribed:
        faulty.__doc__ = None

    class Kit(FeedConformance):
        rows = 64

        def make_feed(self):
            return faulty(SoundFeedConfig())

    (name,) = (name for name in dir(Kit) if name.startswith(f"test_{card}_"))
    with pytest.raises(AssertionError):
        getattr(Kit(), name)()


def _silence(bars, place):
    for name in ("open", "high", "low", "close", "volume", "taker_buy_volume"):
        getattr(bars, name)[:, place] = np.nan
    bars.state[:, place] = BarState.ABSENT
    return bars
