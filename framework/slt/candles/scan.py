"""One pass over candle files: what they hold, and everything that is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field, frozen

from slt.candles._frames import CANDLES, FUNDING, Frame, unit_of
from slt.candles._rows import check_order, check_values
from slt.candles.problems import BadFileError, FileProblems, Problems
from slt.candles.sources import Source, check_digest, name_parts, open_frames, open_layout
from slt.candles.times import interval_name, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CandleFile", "Wanted", "scan_files"]

_WINDOW = 262_144
_ENOUGH_STEPS = 10
_SYMBOL = re.compile(r"[A-Z0-9]+")


@frozen
class CandleFile:
    """The candles of one symbol in one file, inside the span asked for.

    Attributes:
        path: The file.
        symbol: Exchange name.
        interval_ms: Length of a bar; 0 where a single row does not tell.
        rows: Number of bars.
        first: Open time of the first, ms UTC.
        last: Open time of the last, ms UTC.
        first_price: Open of the first, quote currency.
        has_taker_volume: Whether any bar tells its taker_buy_volume.
        is_panel: Whether the file holds several symbols, told by a column.
        fingerprint: Size in bytes and time of change in ns when it was scanned.
    """

    path: Path
    symbol: str
    interval_ms: int
    rows: int
    first: int
    last: int
    first_price: float
    has_taker_volume: bool
    is_panel: bool
    fingerprint: tuple[int, int]


@frozen
class Wanted:
    """What part of the files is asked for.

    Attributes:
        symbols: Exchange names; empty = all.
        interval_ms: Interval; 0 = whatever the files hold.
        start: Bars that open before it are left out, ms UTC; None = no limit.
        end: Bars that open at or after it are left out, ms UTC; None = no limit.
    """

    symbols: frozenset[str] = frozenset()
    interval_ms: int = 0
    start: int | None = None
    end: int | None = None

    def inside(self, time: NDArray[np.int64]) -> slice:
        """The part of rising open times that lies in the span."""
        low = 0 if self.start is None else int(np.searchsorted(time, self.start))
        high = len(time) if self.end is None else int(np.searchsorted(time, self.end))
        return slice(low, high)


def scan_files(sources: Iterable[Source], wanted: Wanted, problems: Problems) -> list[CandleFile]:
    """Read every row of every file once and check it; whole files are checked, also outside the span.

    A file found through a glob or folder is left alone if its name tells another interval than the one asked for, or if
    it holds funding rates; any file is, if its name tells a symbol that is not asked for.

    Args:
        sources: The files.
        wanted: The part asked for.
        problems: Takes everything that is wrong, each line naming file, row and time.

    Returns:
        One entry for each file and symbol with a bar in the span, in the order of the files.
    """
    found: list[CandleFile] = []
    for source in sources:
        try:
            found += _scan_file(source, wanted, problems)
        except BadFileError as error:
            problems.add(f"{source.path}: {error}")
    return found


def _scan_file(source: Source, wanted: Wanted, problems: Problems) -> list[CandleFile]:
    path = source.path
    symbol, interval_ms = name_parts(path)
    if wanted.interval_ms and interval_ms not in (0, wanted.interval_ms):
        if not source.is_named:
            return []
        raise BadFileError(
            f"holds {interval_name(interval_ms)} bars by its name, {interval_name(wanted.interval_ms)} were asked for"
        )
    if not source.is_named and _holds_funding(path):
        return []
    is_panel = open_layout(path, CANDLES).has_symbol
    if not is_panel and not symbol:
        raise BadFileError("has no `symbol` column, and its name does not open with a symbol such as `BTCUSDT-1m`")
    if not is_panel and wanted.symbols and symbol not in wanted.symbols:
        return []
    check_digest(path)
    status = path.stat()
    scan = _Scan(path, wanted, "" if is_panel else symbol, interval_ms or wanted.interval_ms)
    try:
        for frame in open_frames(path, CANDLES, _WINDOW):
            scan.take(frame)
    finally:
        scan.found.report(problems)
    if scan.rows == 0:
        raise BadFileError("holds no candles")
    return scan.files((status.st_size, status.st_mtime_ns))


def _holds_funding(path: Path) -> bool:
    try:
        open_layout(path, FUNDING)
    except BadFileError:
        return False
    return True


@define
class _Tally:
    before: int | None = None
    rows: int = 0
    first: int = 0
    last: int = 0
    first_price: float = 0.0
    has_taker_volume: bool = False

    def add(self, time: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if len(time):
            if not self.rows:
                self.first, self.first_price = int(time[0]), float(values[0, 0])
            self.last = int(time[-1])
            self.rows += len(time)
            self.has_taker_volume = self.has_taker_volume or bool(np.isfinite(values[5]).any())


@define
class _Scan:
    """The pass over one file; `symbol` is empty for a panel, `interval_ms` 0 until it is known."""

    path: Path
    wanted: Wanted
    symbol: str
    interval_ms: int
    unit: int = 0
    rows: int = 0
    is_settled: bool = False
    tallies: dict[str, _Tally] = field(factory=dict)
    found: FileProblems = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.found = FileProblems(self.path, "row" if self.path.suffix.lower() == ".parquet" else "line")

    def take(self, frame: Frame) -> None:
        self.rows += len(frame)
        parts = list(self._split(frame))
        time = self._to_ms(frame)
        if not self.is_settled:
            self._settle_interval(time, parts)
        for symbol, rows in parts:
            self._take_symbol(symbol, frame.first_row + rows, time[rows], frame.values[:, rows])

    def _split(self, frame: Frame) -> Iterator[tuple[str, NDArray[np.intp]]]:
        if frame.symbol_codes is None:
            yield self.symbol, np.arange(len(frame))
            return
        order = np.argsort(frame.symbol_codes, kind="stable")
        codes, starts = np.unique(frame.symbol_codes[order], return_index=True)
        for code, rows in zip(codes, np.split(order, starts[1:]), strict=True):
            symbol = frame.symbols[code]
            if _SYMBOL.fullmatch(symbol) is None:
                row = frame.first_row + int(rows[0])
                raise BadFileError(f"{self.found.row_word} {row}: symbol `{symbol}` is not capital letters and digits")
            if not self.wanted.symbols or symbol in self.wanted.symbols:
                yield symbol, rows

    def _to_ms(self, frame: Frame) -> NDArray[np.int64]:
        units = unit_of(frame.time)
        self.unit = self.unit or int(units[0])
        wrong = np.flatnonzero((units != self.unit) | (units == 0))
        if len(wrong):
            place = int(wrong[0])
            row = f"{self.found.row_word} {frame.first_row + place}: time `{frame.time[place]}`"
            if units[place] == 0:
                raise BadFileError(f"{row} is neither ms nor µs since 1970 UTC")
            before, after = ("ms", "µs") if self.unit == 1 else ("µs", "ms")
            raise BadFileError(f"{row} is in {after}, the rows before it are in {before}; one file needs one unit")
        if self.unit == 1:
            return frame.time
        self.found.add_rows(
            "the time is no whole millisecond",
            np.flatnonzero(frame.time % 1_000 != 0),
            lambda i: f"{self.found.row_word} {frame.first_row + i}",
            lambda i: f"time `{frame.time[i]}` is no whole millisecond",
        )
        return frame.time // 1_000

    def _settle_interval(self, time: NDArray[np.int64], parts: list[tuple[str, NDArray[np.intp]]]) -> None:
        steps = np.concatenate([np.diff(time[rows]) for _, rows in parts] or [np.zeros(0, dtype=np.int64)])
        steps = steps[steps > 0]
        if len(steps) == 0:
            return
        lengths, counts = np.unique(steps, return_counts=True)
        usual = int(lengths[np.argmax(counts)])
        self.is_settled = True
        if not self.interval_ms:
            self.interval_ms = usual
        apart = usual if self.interval_ms % usual == 0 else int(np.gcd.reduce(lengths))
        if apart != self.interval_ms and len(steps) >= _ENOUGH_STEPS:
            expected = interval_name(self.interval_ms)
            raise BadFileError(f"its bars are {interval_name(apart)} apart, {expected} were expected")

    def _take_symbol(
        self, symbol: str, rows: NDArray[np.intp], time: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        where = self._where(symbol, rows, time)
        tally = self.tallies.setdefault(symbol, _Tally())
        check_order(time, tally.before, self.interval_ms, self.found, where)
        check_values(values, self.found, where)
        tally.before = int(time[-1])
        span = self.wanted.inside(time)
        tally.add(time[span], values[:, span])

    def _where(self, symbol: str, rows: NDArray[np.intp], time: NDArray[np.int64]) -> Callable[[int], str]:
        shown = "" if symbol == self.symbol else f"{symbol} "
        return lambda i: f"{self.found.row_word} {rows[i]} ({shown}{utc_text(int(time[i]))})"

    def files(self, fingerprint: tuple[int, int]) -> list[CandleFile]:
        return [
            CandleFile(
                path=self.path,
                symbol=symbol,
                interval_ms=self.interval_ms,
                rows=tally.rows,
                first=tally.first,
                last=tally.last,
                first_price=tally.first_price,
                has_taker_volume=tally.has_taker_volume,
                is_panel=not self.symbol,
                fingerprint=fingerprint,
            )
            for symbol, tally in self.tallies.items()
            if tally.rows
        ]
