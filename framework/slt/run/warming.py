"""Warm start: the dense part is fed with the bars of the past before the first live one.

Bars come from candle files (``slt data import``) and from the own bar store, which every run on a live feed fills. The
engine sees none of them: what was proposed in the past is past. What is missing stays missing, and the features' own
rules say when they are warm.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from slt.candles import Problems, Wanted, expand_sources, read_blocks, scan_files
from slt.errors import StorageError
from slt.log import get_logger
from slt.storage.contract import Query
from slt.types import Bars, BarState, StoredBar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from slt.run.assembly import Assembly
    from slt.run.live_session import LiveSession
    from slt.types import Kline

__all__ = ["bars_to_store", "past_bars", "restated_to_store", "unseen", "warm_up"]

_DAY_MS = 86_400_000
_TRADED, _EMPTY, _ABSENT = int(BarState.TRADED), int(BarState.EMPTY), int(BarState.ABSENT)
_log = get_logger("lifecycle")


async def warm_up(assembly: Assembly, session: LiveSession, since: int, until: int) -> dict[str, int]:
    """Feed the dense part with what is known of a span.

    Args:
        assembly: The run's parts.
        session: Whose dense part it is.
        since: Bars that close at or before it are left out, ms UTC.
        until: Bars that close after it are left out, ms UTC.

    Returns:
        Close time of the last bar that each symbol was fed with; one without any is left out.
    """
    last: dict[str, int] = {}
    fed = 0
    async for bars in past_bars(assembly, session.dense.symbols, since, until):
        await asyncio.to_thread(session.dense.compute, bars)
        session.dense.faults.clear()
        known = bars.state != _ABSENT
        fed += int(known.sum())
        for column in np.flatnonzero(known.any(axis=0)):
            last[bars.symbols[column]] = int(bars.close_time[known[:, column]][-1])
    _log.info("features warmed up", bars=fed, until=max(last.values(), default=since))
    return last


def unseen(bars: Bars, last: dict[str, int]) -> Bars:
    """The bars of a wave without those that a warm start has given already: a minute may close while it reads.

    Args:
        bars: The wave's.
        last: As `warm_up` returns it.

    Returns:
        The same, or with what is known taken as absent. Earlier rows in which nothing else is left are gone; all of
        them where nothing is left at all, else the wave's own minute stays the last row.
    """
    if not last or bars.close_time[0] > max(last.values()):
        return bars
    known = bars.close_time[:, None] <= np.array([last.get(symbol, 0) for symbol in bars.symbols])
    left = Bars.absent(bars.symbols, bars.interval_ms, bars.close_time)
    for name in _COLUMNS:
        getattr(left, name)[~known] = getattr(bars, name)[~known]
    kept = np.flatnonzero(~known.any(axis=1) | (left.state != _ABSENT).any(axis=1))
    return left.rows(int(kept[0]), len(left)) if len(kept) else left.rows(0, 0)


async def past_bars(
    assembly: Assembly, symbols: tuple[str, ...], since: int, until: int, *, is_strict: bool = False
) -> AsyncGenerator[Bars]:
    """What candle files and the bar store know of a span, a day at a time; days without a bar are left out.

    Args:
        assembly: The run's parts.
        symbols: Columns of the blocks.
        since: Bars that close at or before it are left out, ms UTC.
        until: Bars that close after it are left out, ms UTC.
        is_strict: Let an error of the storage end it; else what it holds is taken as absent.

    Raises:
        StorageError: The storage is away, and `is_strict`.
    """
    step, is_begun = assembly.market.interval_ms, False
    files = await asyncio.to_thread(_file_blocks, assembly, symbols, since, until)
    first = since // _DAY_MS * _DAY_MS
    for day in range(first, until + 1, _DAY_MS):
        times = np.arange(max(day, since) // step * step + step, min(day + _DAY_MS, until) + 1, step, dtype=np.int64)
        if not len(times):
            continue
        bars = files.get(day)
        bars = Bars.absent(symbols, step, times) if bars is None else _fitted(bars, times)
        try:
            await _add_stored(assembly, bars)
        except StorageError as error:
            if is_strict:
                raise
            _log.warning("bars cannot be read from the storage; the features warm up live", cause=str(error))
        known = np.flatnonzero((bars.state != _ABSENT).any(axis=1))
        if len(known):
            begin = 0 if is_begun else int(known[0])
            is_begun = True
            yield bars.rows(begin, int(known[-1]) + 1)


def restated_to_store(kline: Kline) -> StoredBar:
    """A bar that was stated anew after it had gone out, as a storage keeps it: in the place of what went out."""
    return StoredBar(
        id=f"{kline.symbol}-{kline.interval_ms}-{kline.close_time}",
        symbol=kline.symbol,
        interval_ms=kline.interval_ms,
        close_time=kline.close_time,
        open=kline.open,
        high=kline.high,
        low=kline.low,
        close=kline.close,
        volume=kline.volume,
        taker_buy_volume=kline.taker_buy_volume,
    )


def bars_to_store(bars: Bars) -> Iterator[StoredBar]:
    """The bars of a wave as a storage keeps them; a minute without a trade has NaN prices and no volume."""
    for row, column in zip(*np.nonzero(bars.state != _ABSENT), strict=True):
        symbol, time = bars.symbols[column], int(bars.close_time[row])
        taker = float(bars.taker_buy_volume[row, column])
        yield StoredBar(
            id=f"{symbol}-{bars.interval_ms}-{time}",
            symbol=symbol,
            interval_ms=bars.interval_ms,
            close_time=time,
            open=float(bars.open[row, column]),
            high=float(bars.high[row, column]),
            low=float(bars.low[row, column]),
            close=float(bars.close[row, column]),
            volume=float(bars.volume[row, column]),
            taker_buy_volume=None if taker != taker else taker,  # noqa: PLR0124 # NaN
        )


def _file_blocks(assembly: Assembly, symbols: tuple[str, ...], since: int, until: int) -> dict[int, Bars]:
    """The bars of the candle files by UTC day; empty where none are configured.

    Files are of days that are over: a restart that missed some bars of the day under way does not look into them.
    """
    pattern, step = assembly.settings.run.warm_data, assembly.market.interval_ms
    if not pattern or (assembly.folder.is_resumed and since // _DAY_MS == until // _DAY_MS):
        return {}
    problems = Problems()
    wanted = Wanted(frozenset(symbols), step, since - step + 1, until - step + 1)
    files = scan_files(expand_sources([pattern], problems), wanted, problems)
    problems.raise_if_any()
    if not files:
        return {}
    blocks = read_blocks(files, symbols, wanted, since, _DAY_MS // step)
    return {(int(bars.close_time[0]) - 1) // _DAY_MS * _DAY_MS: bars for bars in blocks}


def _fitted(bars: Bars, times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Bars:
    """The bars on these times; those of other times are left out."""
    found = Bars.absent(bars.symbols, bars.interval_ms, times)
    _, ours, theirs = np.intersect1d(times, bars.close_time, return_indices=True)
    for name in _COLUMNS:
        getattr(found, name)[ours] = getattr(bars, name)[theirs]
    return found


async def _add_stored(assembly: Assembly, bars: Bars) -> None:
    """Fill what is absent from the bar store."""
    first, last = int(bars.close_time[0]), int(bars.close_time[-1])
    for column, symbol in enumerate(bars.symbols):
        if (bars.state[:, column] != _ABSENT).all():
            continue
        query = Query(StoredBar, symbol=symbol, since=first, until=last + 1)
        for record in await assembly.storage.slt_read_records(query=query):
            if isinstance(record, StoredBar) and record.interval_ms == bars.interval_ms:
                _add(bars, (record.close_time - first) // bars.interval_ms, column, record)


def _add(bars: Bars, row: int, column: int, record: StoredBar) -> None:
    if bars.state[row, column] != _ABSENT:
        return
    bars.state[row, column] = _EMPTY if np.isnan(record.close) else _TRADED
    for name in ("open", "high", "low", "close", "volume"):
        getattr(bars, name)[row, column] = getattr(record, name)
    if record.taker_buy_volume is not None:
        bars.taker_buy_volume[row, column] = record.taker_buy_volume


_COLUMNS = ("open", "high", "low", "close", "volume", "taker_buy_volume", "state")
