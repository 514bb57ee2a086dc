"""The candles of one symbol out of any number of files, in time order, a bounded number at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field, frozen

from slt.candles._frames import CANDLES, Frame, to_ms
from slt.candles.problems import BadFileError, Problems
from slt.candles.sources import open_frames
from slt.candles.times import utc_text
from slt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from slt.candles.scan import CandleFile, Wanted

__all__ = ["VALUE_NAMES", "Candles", "Panels", "check_overlaps", "merge_files"]

VALUE_NAMES = ("open", "high", "low", "close", "volume", "taker_buy_volume")
"""The rows of `Candles.values`."""

_SCAN_WINDOW = 262_144


@frozen(eq=False)
class Candles:
    """Consecutive bars of one symbol; a gap is a jump in the times.

    Attributes:
        open_time: int64 ``[n]``, ms UTC, strictly rising.
        values: float64 ``[6, n]``: the rows are `VALUE_NAMES`; taker_buy_volume is NaN where the source does not tell.
    """

    open_time: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.open_time)

    def part(self, rows: slice) -> Candles:
        """The chosen rows, as a view on the same memory."""
        return Candles(self.open_time[rows], self.values[:, rows])


@define
class Panels:
    """Shared readers of files that hold several symbols, so that such a file is decoded once for all of them.

    Rows of symbols that nobody has asked for yet wait in memory: a panel sorted by time costs little, one sorted by
    symbol is held as a whole. Import large panels first (`slt.candles.import_files`).

    Attributes:
        symbols: Symbols that will be read; others are dropped.
        wanted: The span that will be read.
    """

    symbols: frozenset[str]
    wanted: Wanted
    _frames: dict[Path, Iterator[Frame]] = field(factory=dict)
    _waiting: dict[tuple[Path, str], deque[Candles]] = field(factory=dict)

    def chunks(self, file: CandleFile) -> Iterator[Candles]:
        """The symbol's rows of one panel, in file order, those outside the span left out."""
        frames = self._frames.setdefault(file.path, open_frames(file.path, CANDLES, _SCAN_WINDOW, self.wanted.start))
        waiting = self._waiting.setdefault((file.path, file.symbol), deque())
        last = None
        while last is None or last < file.last:
            while not waiting:
                frame = next(frames, None)
                if frame is None:
                    return
                self._take(file.path, frame)
            chunk = waiting.popleft()
            last = int(chunk.open_time[-1])
            yield chunk

    def _take(self, path: Path, frame: Frame) -> None:
        if frame.symbol_codes is None:
            raise BadFileError("changed while it was being read")
        time = to_ms(frame.time)
        order = np.argsort(frame.symbol_codes, kind="stable")
        codes, starts = np.unique(frame.symbol_codes[order], return_index=True)
        for code, rows in zip(codes, np.split(order, starts[1:]), strict=True):
            symbol = frame.symbols[code]
            if symbol in self.symbols:
                candles = Candles(time[rows], frame.values[:, rows])
                candles = candles.part(self.wanted.inside(candles.open_time))
                if len(candles):
                    self._waiting.setdefault((path, symbol), deque()).append(candles)


def merge_files(files: Sequence[CandleFile], wanted: Wanted, panels: Panels, window: int) -> Iterator[Candles]:
    """The candles of one symbol in time order; a bar that several files hold comes once.

    Args:
        files: All files of the symbol, checked by `slt.candles.scan_files` and `check_overlaps`.
        wanted: The span; only its times count here.
        panels: Shared readers for the files that are panels.
        window: Most rows to hold of each file that is no panel.

    Raises:
        DataError: A file changed since it was scanned, cannot be read any more, or disagrees with another.
    """
    problems = Problems()
    for group in _overlapping([f for f in files if wanted.start is None or f.last >= wanted.start]):
        chunks = [_chunks(file, wanted, panels, window) for file in group]
        if len(group) == 1:
            yield from chunks[0]
            continue
        for candles in _merge(group, chunks, lambda line, _: problems.add(line)):
            problems.raise_if_any()
            yield candles


def check_overlaps(files: Iterable[CandleFile], wanted: Wanted, problems: Problems) -> None:
    """Read those files of one symbol whose spans overlap, and note where they disagree.

    Bars must agree bit for bit. A file that does not tell taker_buy_volume does not disagree with one that does.

    Args:
        files: Files of any symbols, as `slt.candles.scan_files` gave them.
        wanted: The span they were scanned for.
        problems: Takes the first disagreement of each two files, and the number of others.
    """
    by_symbol: dict[str, list[CandleFile]] = {}
    for file in files:
        by_symbol.setdefault(file.symbol, []).append(file)
    groups = [group for of_symbol in by_symbol.values() for group in _overlapping(of_symbol) if len(group) > 1]
    panels = Panels(frozenset(group[0].symbol for group in groups), wanted)
    for group in groups:
        found = _Disagreements()
        chunks = [_chunks(file, wanted, panels, _SCAN_WINDOW) for file in group]
        deque(_merge(group, chunks, found.add), maxlen=0)
        found.report(problems)


@define
class _Disagreements:
    first: str = ""
    count: int = 0

    def add(self, line: str, count: int) -> None:
        self.first = self.first or line
        self.count += count

    def report(self, problems: Problems) -> None:
        if self.count == 1:
            problems.add(self.first)
        elif self.count:
            problems.add(f"{self.first}; they disagree on {self.count} bars in all")


def _overlapping(files: Sequence[CandleFile]) -> list[list[CandleFile]]:
    """Files in time order, those whose spans touch the same bars together."""
    groups: list[list[CandleFile]] = []
    last = None
    for file in sorted(files, key=lambda f: (f.first, f.last, str(f.path))):
        if last is not None and file.first <= last:
            groups[-1].append(file)
            last = max(last, file.last)
        else:
            groups.append([file])
            last = file.last
    return groups


def _chunks(file: CandleFile, wanted: Wanted, panels: Panels, window: int) -> Iterator[Candles]:
    try:
        _check_unchanged(file)
        if file.is_panel:
            yield from panels.chunks(file)
            return
        for frame in open_frames(file.path, CANDLES, window, wanted.start):
            candles = Candles(to_ms(frame.time), frame.values)
            part = candles.part(wanted.inside(candles.open_time))
            if len(part):
                yield part
            elif wanted.end is not None and len(candles) and candles.open_time[0] >= wanted.end:
                return
    except (BadFileError, OSError) as error:
        raise DataError(f"{file.path}: {error}") from error


def _check_unchanged(file: CandleFile) -> None:
    status = file.path.stat()
    if (status.st_size, status.st_mtime_ns) != file.fingerprint:
        raise BadFileError("changed since it was checked; start again")


@define
class _Head:
    """What was read of one of several overlapping files and not given out yet."""

    place: int
    chunks: Iterator[Candles]
    held: Candles

    def split(self, frontier: int) -> Candles:
        count = int(np.searchsorted(self.held.open_time, frontier, side="right"))
        head, self.held = self.held.part(slice(count)), self.held.part(slice(count, None))
        return head

    def refill(self) -> bool:
        while not len(self.held):
            chunk = next(self.chunks, None)
            if chunk is None:
                return False
            self.held = chunk
        return True


def _merge(
    files: Sequence[CandleFile], chunks: Sequence[Iterator[Candles]], disagree: Callable[[str, int], None]
) -> Iterator[Candles]:
    nothing = Candles(np.zeros(0, dtype=np.int64), np.zeros((len(VALUE_NAMES), 0)))
    heads = [_Head(place, chunk, nothing) for place, chunk in enumerate(chunks)]
    while heads := [head for head in heads if head.refill()]:
        frontier = min(int(head.held.open_time[-1]) for head in heads)
        parts = [head.split(frontier) for head in heads]
        places = np.repeat([head.place for head in heads], [len(part) for part in parts])
        time = np.concatenate([part.open_time for part in parts])
        values = np.concatenate([part.values for part in parts], axis=1)
        order = np.lexsort((places, np.isnan(values[5]), time))
        time, values, places = time[order], values[:, order], places[order]
        differing = np.flatnonzero(_differ(time, values))
        if len(differing):
            i = int(differing[0])
            line = _disagreement(files[places[i]], files[places[i + 1]], int(time[i]), values[:, i : i + 2])
            disagree(line, len(differing))
        keep = np.flatnonzero(np.diff(time, prepend=time[0] - 1) > 0)
        yield Candles(time[keep], values[:, keep])


def _differ(time: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    left, right = values[:, :-1], values[:, 1:]
    other_taker = (left[5] != right[5]) & ~np.isnan(right[5])
    differ: NDArray[np.bool_] = (time[1:] == time[:-1]) & ((left[:5] != right[:5]).any(axis=0) | other_taker)
    return differ


def _disagreement(one: CandleFile, other: CandleFile, time: int, values: NDArray[np.float64]) -> str:
    rows = [" ".join(f"{n} {v}" for n, v in zip(VALUE_NAMES, column, strict=True)) for column in values.T]
    return (
        f"`{one.path}` and `{other.path}` disagree on {one.symbol} at {utc_text(time)}: "
        f"{rows[0]} against {rows[1]}; keep the right one of the two files"
    )
