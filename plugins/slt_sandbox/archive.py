"""The exchange's archive: candles and funding rates as zip files with checksums, made when asked for."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import zipfile
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web

from slt.candles import interval_name
from slt.types import Bars
from slt_sandbox.payloads import grid_of, number_text
from slt_sandbox.player import bar_at
from slt_sandbox.tape import Candle, Tape, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slt.hookspecs import FeedSpecs
    from slt.types import MarketInfo, SymbolRules
    from slt_sandbox.payloads import Grid

__all__ = ["Archive"]

_DAY_MS = 86_400_000
_KEPT_BYTES = 256 << 20
_KEPT_FILES = 512
_INTERVALS = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480}
_INTERVALS |= {"12h": 720, "1d": 1_440}
_KLINES = re.compile(
    r"(?P<period>daily|monthly)/klines/(?P<symbol>[^/]+)/(?P<interval>[^/]+)/(?P=symbol)-(?P=interval)-(?P<date>[\d-]+)\.zip"
)
_FUNDING = re.compile(r"monthly/fundingRate/(?P<symbol>[^/]+)/(?P=symbol)-fundingRate-(?P<date>\d{4}-\d\d)\.zip")
_HEAD = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
_FUNDING_HEAD = "calc_time,funding_interval_hours,last_funding_rate"
_STAMP = (2024, 1, 1, 0, 0, 0)
"""Time written into every zip, so that the same candles give the same bytes."""


class Archive:
    """Serves ``/data/futures/um/...``: the days and months that are over by the exchange's clock.

    Args:
        feed: Where the candles come from.
        market: What it told of itself.
        rules: Trading rules per symbol, for the decimals.
        clock: The exchange's time, ms UTC.
        shift_ms: Added to every time of the feed.
    """

    def __init__(
        self,
        feed: FeedSpecs,
        market: MarketInfo,
        rules: Mapping[str, SymbolRules],
        clock: Callable[[], int],
        shift_ms: int = 0,
    ) -> None:
        self._feed = feed
        self._market = market
        self._rules = rules
        self._clock = clock
        self._shift = shift_ms
        self._days: OrderedDict[int, Bars] = OrderedDict()
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._reading = asyncio.Lock()
        self.served = 0

    def routes(self) -> list[web.RouteDef]:
        """The archive's address."""
        return [web.get("/data/futures/um/{name:.+}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        wanted = name.removesuffix(".CHECKSUM")
        async with self._reading:
            content = await self._file(wanted)
        if content is None:
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        self.served += 1
        if name != wanted:
            return web.Response(text=f"{hashlib.sha256(content).hexdigest()}  {wanted.rpartition('/')[2]}")
        return _ranged(request, content)

    async def _file(self, name: str) -> bytes | None:
        """A zip file; None for one that does not exist, or not yet."""
        if name not in self._files:
            csv = await asyncio.to_thread(self._make, name)
            if csv is None:
                return None
            self._files[name] = _zipped(name.rpartition("/")[2].removesuffix(".zip") + ".csv", csv)
            while len(self._files) > _KEPT_FILES:
                self._files.popitem(last=False)
        return self._files[name]

    def _make(self, name: str) -> str | None:
        klines, funding = _KLINES.fullmatch(name), _FUNDING.fullmatch(name)
        if klines is not None:
            span = _span(klines["date"], is_month=klines["period"] == "monthly")
            return None if span is None else self._candles(klines["symbol"], klines["interval"], *span)
        if funding is not None:
            span = _span(funding["date"], is_month=True)
            return None if span is None else self._funding(funding["symbol"], *span)
        return None

    # -- candles ---------------------------------------------------------------------------------------------------

    def _candles(self, symbol: str, interval: str, start: int, end: int) -> str | None:
        length = _INTERVALS.get(interval, 0) * 60_000
        base = self._market.interval_ms
        length = base if interval == interval_name(base) else length
        if symbol not in self._market.symbols or length < base or length % base or end > self._clock():
            return None
        made = list(_joined(self._bars(symbol, start, end), length))
        if not made:
            return None
        grid = grid_of(self._rules[symbol])
        return "\n".join([_HEAD, *(_row(candle, grid) for candle in made)]) + "\n"

    def _bars(self, symbol: str, start: int, end: int) -> Iterator[Candle]:
        """A symbol's bars of whole days, as the stream closed them."""
        tape, column = Tape(symbol, self._market.interval_ms), self._market.symbols.index(symbol)
        for day in range(start, end, _DAY_MS):
            bars = self._day(day)
            for row in range(len(bars)):
                bar = bar_at(bars, row, column, self._shift)
                if bar is not None:
                    yield tape.grow(bar, 3)

    def _day(self, day: int) -> Bars:
        """All bars of a day; on the way to it the days behind it are kept too, as many as fit."""
        if day not in self._days:
            base = self._market.interval_ms
            since = day - self._shift
            for bars in self._feed.slt_read_bars(start=since, rows=_DAY_MS // base):
                for held in _by_day(bars, self._shift):
                    first = int(held.close_time[0]) + self._shift - base
                    self._keep(first - first % _DAY_MS, held)
                if self._size() >= _KEPT_BYTES or int(bars.close_time[-1]) + self._shift >= self._clock():
                    break
        if day not in self._days:
            self._days[day] = Bars.absent(self._market.symbols, self._market.interval_ms, np.empty(0, np.int64))
        self._days.move_to_end(day)
        return self._days[day]

    def _keep(self, day: int, bars: Bars) -> None:
        held = self._days.get(day)
        if held is None:
            self._days[day] = bars
        elif not len(held) or int(bars.close_time[0]) > int(held.close_time[-1]):
            self._days[day] = Bars.concatenate([held, bars]) if len(held) else bars
        while self._size() > 2 * _KEPT_BYTES and len(self._days) > 1:
            self._days.popitem(last=False)

    def _size(self) -> int:
        return sum(bars.close.nbytes for bars in self._days.values()) * 6

    # -- funding ---------------------------------------------------------------------------------------------------

    def _funding(self, symbol: str, start: int, end: int) -> str | None:
        rates = self._market.funding.get(symbol)
        if rates is None or end > self._clock():
            return None
        times = rates.time + self._shift
        rows = [_FUNDING_HEAD]
        rows.extend(
            f"{time},{_hours(times, index)},{rates.rate[index]:.8f}"
            for index, time in enumerate(times)
            if start <= time < end
        )
        return "\n".join(rows) + "\n" if len(rows) > 1 else None


def _row(c: Candle, grid: Grid) -> str:
    prices = ",".join(number_text(price, grid.price) for price in (c.open, c.high, c.low, c.close))
    volume, taker = number_text(c.volume, grid.quantity), number_text(c.taker, grid.quantity)
    return f"{c.open_time},{prices},{volume},{c.close_time - 1},{c.quote:.5f},{c.trades},{taker},{c.taker_quote:.5f},0"


def _hours(times: np.ndarray[tuple[int], np.dtype[np.int64]], index: int) -> int:
    """Distance of a settlement from its neighbour, whole hours."""
    if len(times) < 2:
        return 8
    return round(int(times[index] - times[index - 1] if index else times[1] - times[0]) / 3_600_000)


def _joined(candles: Iterator[Candle], length: int) -> Iterator[Candle]:
    """Candles of a longer interval, each from those that traded in it."""
    made: Candle | None = None
    for candle in candles:
        opened = candle.open_time - candle.open_time % length
        if made is not None and made.open_time != opened:
            yield made
            made = None
        made = merge(made, candle, opened, opened + length)
    if made is not None:
        yield made


def _by_day(bars: Bars, shift: int) -> Iterator[Bars]:
    """A block cut at midnight."""
    opened = bars.close_time + shift - bars.interval_ms
    cuts = [0, *(np.flatnonzero(np.diff(opened // _DAY_MS)) + 1).tolist(), len(bars)]
    for start, stop in pairwise(cuts):
        yield bars.rows(start, stop)


def _span(date: str, *, is_month: bool) -> tuple[int, int] | None:
    """First moment of a day or month and of the next, ms UTC; None where the text is none."""
    try:
        first = datetime.strptime(date, "%Y-%m" if is_month else "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    after = (first + timedelta(days=31)).replace(day=1) if is_month else first + timedelta(days=1)
    return int(first.timestamp()) * 1_000, int(after.timestamp()) * 1_000


def _zipped(name: str, csv: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name, _STAMP), csv, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _ranged(request: web.Request, content: bytes) -> web.Response:
    """A file, or the part of it that a download goes on with."""
    wanted = request.http_range
    start = wanted.start or 0
    if start >= len(content) > 0:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    part = content[wanted] if wanted.start is not None else content
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'}
    if wanted.start is None:
        return web.Response(body=content, content_type="application/zip", headers=headers)
    headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
    return web.Response(status=206, body=part, content_type="application/zip", headers=headers)
