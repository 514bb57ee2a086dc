"""The conformance kit of feeds: subclass `FeedConformance`, give it the feed in one method, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pluggy

from slt._markers import PROJECT_NAME
from slt.hookspecs import FeedSpecs
from slt.testing.laws import assert_described, copy_bars
from slt.types import Bars, BarState, MarketInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FeedConformance"]

_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("volume", "taker_buy_volume")


class FeedConformance:
    """What every feed of recorded or made candles must do, as numbered cards D01 to D12.

    Override `make_feed`. The feed should hold at least 50 bars; a market with missing bars tests more.

    Attributes:
        rows: Length of the blocks asked for, in bars.
        max_bars: Bars at the beginning of the market, and before its end, that the cards look at.
    """

    rows = 1_440
    max_bars = 6_000

    def make_feed(self) -> object:
        """A new feed, each time over the same market."""
        raise NotImplementedError("give the feed: `def make_feed(self): return MyFeed(MyFeedConfig())`")

    def test_d01_class_is_described(self) -> None:
        """Docstring, config class and every option are there for people to read."""
        assert_described(self.make_feed())

    def test_d02_market_is_complete(self) -> None:
        """Symbols, interval, span, rules, funding and description can be used as they are."""
        market = self._market()
        assert market.symbols, "a market needs at least one symbol"
        assert len(set(market.symbols)) == len(market.symbols), f"a symbol comes twice: {market.symbols}"
        assert all(s == s.upper() and s.strip() for s in market.symbols), f"upper case names only: {market.symbols}"
        assert market.interval_ms > 0, "the interval must be above 0"
        assert market.start % market.interval_ms == 0, "the first bar must open on the grid of the interval"
        assert market.end is not None, "a feed of recorded candles knows its end"
        assert market.end > market.start, "the market must end after it starts"
        assert market.end % market.interval_ms == 0, "the last bar must close on the grid of the interval"
        assert market.description.strip(), "people want to know where the candles come from"
        assert not market.is_synthetic or "synthetic" in market.description, "a synthetic market must say that it is"
        assert set(market.rules) | set(market.funding) <= set(market.symbols), "rules or funding of unknown symbols"
        assert all(rules.symbol == symbol for symbol, rules in market.rules.items()), "rules under a wrong name"
        for symbol, funding in market.funding.items():
            assert funding.time.dtype == np.int64, f"funding times of {symbol} must be int64"
            assert funding.rate.dtype == np.float64, f"funding rates of {symbol} must be float64"
            assert (np.diff(funding.time) > 0).all(), f"funding times of {symbol} must rise"
            assert np.isfinite(funding.rate).all(), f"funding rates of {symbol} must be numbers"
        if market.total_bars is not None:
            assert market.total_bars == (market.end - market.start) // market.interval_ms, "total_bars counts grid rows"

    def test_d03_bars_reach_from_start_to_end(self) -> None:
        """The first bar opens at the market's start, the last closes at its end; both hold at least one symbol."""
        market = self._market()
        first, last = self._head(self.rows)[0], self._tail()[-1]
        assert int(first.close_time[0]) == market.start + market.interval_ms
        assert int(last.close_time[-1]) == market.end
        assert (first.state[0] != BarState.ABSENT).any(), "the first row of the market holds no bar"
        assert (last.state[-1] != BarState.ABSENT).any(), "the last row of the market holds no bar"

    def test_d04_blocks_have_the_right_form(self) -> None:
        """Symbols, interval, shapes, dtypes and memory layout of each block."""
        market = self._market()
        for block in self._head(self.rows):
            assert block.symbols == market.symbols, "columns must stand in the order of the market"
            assert block.interval_ms == market.interval_ms
            assert 0 < len(block) <= self.rows, f"a block of {len(block)} rows, {self.rows} were asked for"
            assert block.close_time.dtype == np.int64
            assert block.state.dtype == np.uint8
            for name in (*_PRICES, *_VOLUMES, "state"):
                array = getattr(block, name)
                assert array.shape == (len(block), len(market.symbols)), f"{name} has the shape {array.shape}"
                assert array.flags.c_contiguous, f"{name} must be C-contiguous"
                assert name == "state" or array.dtype == np.float64, f"{name} must be float64"

    def test_d05_states_agree_with_numbers(self) -> None:
        """Prices are there exactly where a bar was traded; nothing is made up for the others."""
        bars = Bars.concatenate(self._head(self.rows))
        traded, empty = bars.state == BarState.TRADED, bars.state == BarState.EMPTY
        assert np.isin(bars.state, [int(state) for state in BarState]).all(), "unknown state"
        for name in _PRICES:
            np.testing.assert_array_equal(np.isfinite(getattr(bars, name)), traded, f"{name} against the state")
            np.testing.assert_array_equal(np.isnan(getattr(bars, name)), ~traded, f"{name} against the state")
        np.testing.assert_array_equal(np.isfinite(bars.volume), traded | empty, "volume against the state")
        assert (bars.volume[empty] == 0).all(), "an empty bar has volume 0"
        assert np.isnan(bars.taker_buy_volume[bars.state == BarState.ABSENT]).all(), "an absent bar knows no takers"

    def test_d06_prices_and_volumes_can_be_true(self) -> None:
        """0 < low <= open, close <= high; 0 <= taker_buy_volume <= volume."""
        bars = Bars.concatenate(self._head(self.rows))
        traded = bars.state == BarState.TRADED
        opened, high, low, close = (getattr(bars, name)[traded] for name in _PRICES)
        assert (low > 0).all(), "prices must be above 0"
        assert (low <= np.minimum(opened, close)).all(), "low lies above open or close"
        assert (high >= np.maximum(opened, close)).all(), "high lies below open or close"
        assert (bars.volume[traded] >= 0).all(), "negative volume"
        known = np.isfinite(bars.taker_buy_volume)
        assert (bars.taker_buy_volume[known] >= 0).all(), "negative taker_buy_volume"
        assert (bars.taker_buy_volume[known] <= bars.volume[known]).all(), "taker_buy_volume above volume"

    def test_d07_grid_is_whole(self) -> None:
        """No row of the time grid is missing, and blocks end where they should."""
        market = self._market()
        for rows in (self.rows, 7):
            blocks = self._head(rows)
            times = np.concatenate([block.close_time for block in blocks])
            assert (np.diff(times) == market.interval_ms).all(), "the time grid must have every row"
            ends = [int(block.close_time[-1]) for block in blocks[:-1]]
            wrong = [end for end in ends if end % (rows * market.interval_ms)]
            assert not wrong, f"blocks of {rows} must end at multiples of {rows} bars, not at {wrong[:3]}"
            inner = [len(block) for block in blocks[1:-1]]
            assert set(inner) <= {rows}, f"blocks between the first and the last have {rows} rows, not {inner[:5]}"

    def test_d08_two_readings_are_equal(self) -> None:
        """The same feed read twice, and another one like it, give equal bytes; the market is the same too."""
        feed = self.make_feed()
        first = self._head(self.rows, feed)
        self._assert_equal(first, self._head(self.rows, feed), "the second reading")
        self._assert_equal(first, self._head(self.rows), "a new feed")
        one, other = self._market(feed), self._market()
        for name in (a.name for a in attrs.fields(MarketInfo) if a.name != "funding"):
            assert getattr(one, name) == getattr(other, name), f"the market's {name} differs"

    def test_d09_block_length_changes_nothing(self) -> None:
        """Blocks of other lengths hold the same bars."""
        whole = self._head(self.rows)
        for rows in (1, 7, 1_000):
            self._assert_equal(whole, self._head(rows), f"blocks of {rows}")

    def test_d10_start_in_the_middle_gives_the_tail(self) -> None:
        """A reading that starts later gives the bars that close after the start, unchanged."""
        market = self._market()
        whole = Bars.concatenate(self._head(self.rows))
        middle = int(whole.close_time[len(whole) // 2])
        for start in (0, market.start, middle, middle + 1, middle - 1, int(whole.close_time[-2])):
            skipped = int(np.searchsorted(whole.close_time, start, side="right"))
            tail = Bars.concatenate(self._head(self.rows, start=start))
            common = min(len(tail), len(whole) - skipped)
            expected = whole.rows(skipped, skipped + common)
            self._assert_equal([expected], [tail.rows(0, common)], f"the reading from {start}")
            assert common == len(whole) - skipped, f"the reading from {start} ends too early"
        assert market.end is not None
        nothing = list(self._read(self.make_feed(), market.end, self.rows))
        assert not nothing, "nothing comes after the last bar"

    def test_d11_blocks_stay_as_given(self) -> None:
        """A block that was given out is not changed when the next ones are made."""
        kept: list[Bars] = []
        copies: list[Bars] = []
        for block in self._limited(self._read(self.make_feed(), 0, 60)):
            kept.append(block)
            copies.append(copy_bars(block))
        self._assert_equal(copies, kept, "a block given out earlier")

    def test_d12_every_symbol_has_bars(self) -> None:
        """A symbol without a single traded bar does not belong into the market."""
        market = self._market()
        seen = np.zeros(len(market.symbols), dtype=np.bool_)
        for block in self._read(self.make_feed(), 0, self.rows):
            seen |= (block.state == BarState.TRADED).any(axis=0)
            if seen.all():
                break
        silent = [symbol for symbol, was_seen in zip(market.symbols, seen, strict=True) if not was_seen]
        assert not silent, f"no bar of {', '.join(silent)}"

    def _market(self, feed: object | None = None) -> MarketInfo:
        answers = _relay(self.make_feed() if feed is None else feed).slt_describe_market()
        assert len(answers) == 1, "slt_describe_market must give a market"
        market = answers[0]
        assert isinstance(market, MarketInfo), f"slt_describe_market gave {type(market).__name__}, not MarketInfo"
        return market

    def _read(self, feed: object, start: int, rows: int) -> Iterator[Bars]:
        answers = _relay(feed).slt_read_bars(start=start, rows=rows)
        assert len(answers) == 1, "slt_read_bars must give an iterator"
        return iter(answers[0])

    def _head(self, rows: int, feed: object | None = None, start: int = 0) -> list[Bars]:
        return list(self._limited(self._read(self.make_feed() if feed is None else feed, start, rows)))

    def _tail(self) -> list[Bars]:
        market = self._market()
        assert market.end is not None
        start = max(market.end - self.max_bars * market.interval_ms, 0)
        return list(self._read(self.make_feed(), start, self.rows))

    def _limited(self, blocks: Iterable[Bars]) -> Iterator[Bars]:
        left = self.max_bars
        for block in blocks:
            yield block if len(block) <= left else block.rows(0, left)
            left -= len(block)
            if left <= 0:
                return

    def _assert_equal(self, expected: list[Bars], found: list[Bars], what: str) -> None:
        one, other = Bars.concatenate(expected), Bars.concatenate(found)
        assert one.symbols == other.symbols, f"{what} has other symbols"
        for name in ("close_time", *_PRICES, *_VOLUMES, "state"):
            left, right = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(left, right, f"{what} differs in {name}")
            assert left.tobytes() == right.tobytes(), f"{what} differs in the bytes of {name}"


def _relay(feed: object) -> pluggy.HookRelay:
    """The feed's hooks as the kernel calls them: an implementation may take any subset of the arguments."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(FeedSpecs)
    manager.register(feed)
    manager.check_pending()
    return manager.hook
