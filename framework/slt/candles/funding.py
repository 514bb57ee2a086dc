"""Funding settlements out of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slt.candles._frames import FUNDING, Frame, unit_of
from slt.candles.problems import BadFileError, FileProblems, Problems
from slt.candles.sources import Source, check_digest, name_parts, open_frames, open_layout
from slt.candles.times import utc_text
from slt.types import FundingRates

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from slt.candles.scan import Wanted

__all__ = ["read_funding"]

_WINDOW = 262_144


def read_funding(sources: Iterable[Source], wanted: Wanted, problems: Problems) -> dict[str, FundingRates]:
    """Settlements by symbol, sorted, each once.

    Times are kept as the exchange gives them, some of them milliseconds past the hour. Columns: ``funding_time`` (or
    ``calc_time``) and ``funding_rate`` (or ``last_funding_rate``), and ``symbol`` unless the file's name tells it.

    Args:
        sources: Parquet, CSV and zip files.
        wanted: Symbols and span; settlements outside ``[start, end]`` are left out. The interval does not matter.
        problems: Takes everything that is wrong, each line naming file, row and time.
    """
    parts: dict[str, list[tuple[Path, NDArray[np.int64], NDArray[np.float64]]]] = {}
    for source in sources:
        try:
            for symbol, (time, rate) in _read_file(source.path, wanted, problems).items():
                parts.setdefault(symbol, []).append((source.path, time, rate))
        except BadFileError as error:
            problems.add(f"{source.path}: {error}")
    return {symbol: _joined(symbol, of_symbol, wanted, problems) for symbol, of_symbol in parts.items()}


def _read_file(
    path: Path, wanted: Wanted, problems: Problems
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    symbol = name_parts(path)[0]
    is_panel = open_layout(path, FUNDING).has_symbol
    if not is_panel and not symbol:
        raise BadFileError("has no `symbol` column, and its name does not open with a symbol such as `BTCUSDT-funding`")
    if not is_panel and wanted.symbols and symbol not in wanted.symbols:
        return {}
    check_digest(path)
    found = FileProblems(path, "row" if path.suffix.lower() == ".parquet" else "line")
    frames = list(open_frames(path, FUNDING, _WINDOW))
    if not frames:
        raise BadFileError("holds no funding rates")
    time = np.concatenate([_to_ms(frame, found) for frame in frames])
    rate = np.concatenate([frame.values[0] for frame in frames])
    names = np.concatenate([_names(frame, symbol) for frame in frames])
    first_row = frames[0].first_row

    def where(i: int) -> str:
        return f"{found.row_word} {first_row + i} ({utc_text(int(time[i]))})"

    bad = np.flatnonzero(~(np.abs(rate) < 1))
    found.add_rows("the rate is no fraction", bad, where, lambda i: f"funding_rate {rate[i]} is no fraction below 1")
    chosen = [str(s) for s in np.unique(names) if not wanted.symbols or s in wanted.symbols]
    rows = {s: np.flatnonzero(names == s) for s in chosen}
    for of_symbol in rows.values():
        late = of_symbol[1:][np.diff(time[of_symbol]) <= 0]
        found.add_rows("a settlement is not later", late, where, lambda _: "is not later than the settlement before it")
    found.report(problems)
    return {s: (time[r], rate[r]) for s, r in rows.items()}


def _names(frame: Frame, symbol: str) -> NDArray[np.str_]:
    if frame.symbol_codes is None:
        return np.full(len(frame), symbol)
    return np.array(frame.symbols)[frame.symbol_codes]


def _to_ms(frame: Frame, found: FileProblems) -> NDArray[np.int64]:
    units = unit_of(frame.time)
    wrong = np.flatnonzero((units != units[0]) | (units == 0))
    if len(wrong):
        place = int(wrong[0])
        row = f"{found.row_word} {frame.first_row + place}"
        raise BadFileError(f"{row}: time `{frame.time[place]}` is not in the unit of the rows before it, ms or µs")
    return frame.time // int(units[0])


def _joined(
    symbol: str,
    parts: list[tuple[Path, NDArray[np.int64], NDArray[np.float64]]],
    wanted: Wanted,
    problems: Problems,
) -> FundingRates:
    time = np.concatenate([t for _, t, _ in parts])
    rate = np.concatenate([r for _, _, r in parts])
    place = np.repeat(np.arange(len(parts)), [len(t) for _, t, _ in parts])
    order = np.argsort(time, kind="stable")
    time, rate, place = time[order], rate[order], place[order]
    same = time[1:] == time[:-1]
    for i in np.flatnonzero(same & (rate[1:] != rate[:-1]))[:1]:
        one, other = parts[place[i]][0], parts[place[i + 1]][0]
        problems.add(
            f"`{one}` and `{other}` disagree on the funding of {symbol} at {utc_text(int(time[i]))}: "
            f"{rate[i]} against {rate[i + 1]}; keep the right one of the two files"
        )
    keep = np.concatenate((np.ones(min(len(time), 1), dtype=np.bool_), ~same))
    keep &= (time >= (wanted.start or 0)) & (time <= (wanted.end if wanted.end is not None else np.iinfo(np.int64).max))
    return FundingRates(time=time[keep], rate=rate[keep])
