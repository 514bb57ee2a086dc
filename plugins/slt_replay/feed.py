"""The feed `replay`: recorded candles out of Parquet, CSV and archive zip files."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from slt import hookimpl
from slt.candles import (
    Problems,
    Wanted,
    check_overlaps,
    expand_sources,
    interval_name,
    parse_interval,
    parse_utc,
    read_blocks,
    read_funding,
    scan_files,
    utc_text,
)
from slt.rules import generic_rules
from slt.types import MarketInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attrs import Attribute

    from slt.candles import CandleFile, Source
    from slt.types import Bars, SymbolRules

__all__ = ["ReplayFeed", "ReplayFeedConfig"]

_KEY = "feeds.replay"
_SYMBOL = re.compile(r"[A-Z0-9]+")
_SHOWN = 8


def _check_symbols(_: ReplayFeedConfig, __: Attribute[tuple[str, ...]], symbols: tuple[str, ...]) -> None:
    wrong = [s for s in symbols if _SYMBOL.fullmatch(s) is None]
    if wrong:
        raise ValueError(f"`{wrong[0]}` is not a symbol; write capital letters and digits, such as `BTCUSDT`")
    doubled = sorted({s for s in symbols if symbols.count(s) > 1})
    if doubled:
        raise ValueError(f"`{doubled[0]}` stands there more than once")


def _check_interval(_: ReplayFeedConfig, __: Attribute[str], interval: str) -> None:
    if interval:
        parse_interval(interval)


def _check_time(_: ReplayFeedConfig, __: Attribute[str], text: str) -> None:
    if text:
        parse_utc(text)


@frozen(kw_only=True)
class ReplayFeedConfig:
    """Options of `ReplayFeed`.

    Attributes:
        files: Candle files (.parquet, .csv, .zip), folders or globs, relative to the working directory.
        symbols: Symbols to trade, in this order; empty = all that the files hold, sorted.
        interval: Length of the bars, such as "1m" or "5m"; empty = as found in the files.
        start: First day or moment, ISO, UTC; empty = from the first bar.
        end: Day or moment to stop before, ISO, UTC; empty = up to the last bar.
        funding_files: Files of funding rates, paths, folders or globs; empty = no funding is paid.
    """

    files: tuple[str, ...] = ("data/*.parquet",)
    symbols: tuple[str, ...] = field(default=(), validator=_check_symbols)
    interval: str = field(default="", validator=_check_interval)
    start: str = field(default="", validator=_check_time)
    end: str = field(default="", validator=_check_time)
    funding_files: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.start and self.end and parse_utc(self.start) >= parse_utc(self.end):
            raise ValueError(f"start `{self.start}` must come before end `{self.end}`")


class ReplayFeed:
    """Replays recorded candles from Parquet, CSV or the exchange's archive zips; gaps stay gaps.

    Parquet and CSV need the columns open_time, open, high, low, close and volume; taker_buy_volume is used where it is
    there. A CSV without a header has the 12 columns of the exchange's archives, or the first 6 of them. Times are ms or
    µs UTC. The symbol is told by a column `symbol`, or by the file's name: ``BTCUSDT-1m-2024-01.zip``. Several files of
    one symbol are put together; where they overlap they must agree. Every row is checked before the run begins, and
    files are read again piece by piece while it goes on, so that the history is never held as a whole.

    Args:
        config: The options.
    """

    config_class = ReplayFeedConfig

    def __init__(self, config: ReplayFeedConfig) -> None:
        self.config = config
        self._scanned: tuple[MarketInfo, list[CandleFile]] | None = None

    @hookimpl
    def slt_describe_market(self) -> MarketInfo:
        """Check every file and say what they hold; see `slt.hookspecs.FeedSpecs.slt_describe_market`."""
        return self._scan()[0]

    @hookimpl
    def slt_read_bars(self, start: int, rows: int) -> Iterator[Bars]:
        """Yield blocks of the recorded bars; see `slt.hookspecs.FeedSpecs.slt_read_bars`."""
        market, files = self._scan()
        return read_blocks(files, market.symbols, self._wanted(), start, rows)

    def _wanted(self) -> Wanted:
        config = self.config
        return Wanted(
            symbols=frozenset(config.symbols),
            interval_ms=parse_interval(config.interval) if config.interval else 0,
            start=parse_utc(config.start) if config.start else None,
            end=parse_utc(config.end) if config.end else None,
        )

    def _scan(self) -> tuple[MarketInfo, list[CandleFile]]:
        if self._scanned is None:
            self._scanned = self._read_market()
        return self._scanned

    def _read_market(self) -> tuple[MarketInfo, list[CandleFile]]:
        problems, wanted = Problems(), self._wanted()
        if not self.config.files:
            problems.add(f"{_KEY}.files: names no file; write paths, folders or globs of candle files")
        sources = expand_sources(self.config.files, problems)
        funding_sources = expand_sources(self.config.funding_files, problems)
        files = scan_files(sources, wanted, problems)
        if not problems.lines:
            self._check_symbols_found(files, sources, problems)
        files = _with_one_interval(files, problems)
        if not problems.lines:
            check_overlaps(files, wanted, problems)
        symbols = self.config.symbols or tuple(sorted({file.symbol for file in files}))
        span = _span(files)
        funding_wanted = Wanted(symbols=frozenset(symbols), start=span[0], end=span[1])
        funding = read_funding(funding_sources, funding_wanted, problems)
        problems.raise_if_any()
        market = MarketInfo(
            symbols=symbols,
            interval_ms=files[0].interval_ms,
            start=span[0],
            end=span[1],
            description=_describe(files, symbols),
            rules=_generic_rules(files),
            funding=funding,
            total_bars=(span[1] - span[0]) // files[0].interval_ms,
        )
        return market, files

    def _check_symbols_found(self, files: list[CandleFile], sources: list[Source], problems: Problems) -> None:
        found = sorted({file.symbol for file in files})
        if not found:
            problems.add(self._nothing_found(sources))
            return
        for symbol in self.config.symbols:
            if symbol not in found:
                near = difflib.get_close_matches(symbol, found, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"the files hold {_some(found)}"
                problems.add(f"{_KEY}.symbols: no candles of `{symbol}`{self._span_text()}; {hint}")

    def _nothing_found(self, sources: list[Source]) -> str:
        held = scan_files(sources, Wanted(), Problems())
        if not held:
            return f"{_KEY}.files: no candles in {len(sources)} files"
        what = _some(sorted({f"{file.symbol} {interval_name(file.interval_ms)}" for file in held}))
        span = f"from {utc_text(min(f.first for f in held))} to {utc_text(max(f.last for f in held))}"
        asked = " ".join(filter(None, (_some(list(self.config.symbols)), self.config.interval)))
        return f"{_KEY}: no candles of {asked or 'any symbol'}{self._span_text()}; the files hold {what}, {span}"

    def _span_text(self) -> str:
        start, end = self.config.start, self.config.end
        return (f" from {start}" if start else "") + (f" before {end}" if end else "")


def _with_one_interval(files: list[CandleFile], problems: Problems) -> list[CandleFile]:
    """The files, those with a single bar given the interval of the others; notes when there are several intervals."""
    by_interval: dict[int, set[str]] = {}
    for file in files:
        by_interval.setdefault(file.interval_ms, set()).add(file.symbol)
    known = sorted(interval for interval in by_interval if interval)
    if len(known) == 1:
        for file in files:
            if file.first % known[0]:
                problems.add(f"{file.path}: {utc_text(file.first)} is off the {interval_name(known[0])} grid")
        return [evolve(file, interval_ms=known[0]) for file in files]
    if known:
        held = "; ".join(f"{interval_name(i)}: {_some(sorted(by_interval[i]))}" for i in known)
        problems.add(f"{_KEY}.interval: all symbols must share one interval; the files hold {held}; choose one")
    elif files:
        problems.add(f"{_KEY}.interval: a single bar does not tell its length; set it, such as `1m`")
    return files


def _span(files: list[CandleFile]) -> tuple[int, int]:
    """Open time of the first bar and close time of the last; zeros without files."""
    return min((f.first for f in files), default=0), max((f.last + f.interval_ms for f in files), default=0)


def _generic_rules(files: list[CandleFile]) -> dict[str, SymbolRules]:
    """Plausible rules by each symbol's first price; a broker that knows the exchange's own does not need them."""
    first = {f.symbol: f for f in sorted(files, key=lambda f: -f.first)}
    return {symbol: generic_rules(symbol, file.first_price) for symbol, file in first.items()}


def _describe(files: list[CandleFile], symbols: tuple[str, ...]) -> str:
    first, end = _span(files)
    return (
        f"recorded candles of {_some(list(symbols))}, {interval_name(files[0].interval_ms)}, "
        f"{utc_text(first)} to {utc_text(end)} UTC, {len({f.path for f in files})} files"
    )


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
