"""Archive files: they hold what the streams said, exist only once their day is over, and check out."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slt.candles import Problems, Wanted, expand_sources, scan_files
from slt_sandbox.streams import SocketSettings

sys.path.insert(0, str(Path(__file__).parent))

from arena import DAY, MINUTE, START, SYMBOLS, GivenFeed, arena, client, get, klines, until_over

A = SYMBOLS[0]
ROOT = "/data/futures/um"
FIRST = f"{ROOT}/daily/klines/{A}/1m/{A}-1m-2024-01-01.zip"
COLUMNS = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def rows_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        (name,) = file.namelist()
        return name, list(csv.reader(io.TextIOWrapper(file.open(name), "utf-8")))


def three_days(**options):
    return arena(GivenFeed(minutes=3 * 1_440), sandbox={"history_days": 2}, **options)


async def test_daily_file_holds_the_day_as_the_source_has_it():
    feed = GivenFeed(minutes=3 * 1_440, empty=[(7, 0), (8, 0)])
    async with arena(feed, sandbox={"history_days": 2}) as box:
        status, content, headers = await get(box, FIRST)
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    name, (head, *rows) = rows_of(content)
    assert name == f"{A}-1m-2024-01-01.csv"
    assert ",".join(head) == COLUMNS
    assert len(rows) == 1_440 - 2
    opened = [int(row[0]) for row in rows]
    assert opened == [START + m * MINUTE for m in range(1_440) if m not in {7, 8}]
    for row, minute in ((rows[0], 0), (rows[-1], 1_439)):
        bars = feed.bars
        expected = [float(getattr(bars, n)[minute, 0]) for n in ("open", "high", "low", "close", "volume")]
        assert [float(text) for text in row[1:6]] == expected
        assert int(row[6]) == START + (minute + 1) * MINUTE - 1
        assert float(row[9]) == bars.taker_buy_volume[minute, 0]


async def test_checksum_names_the_file_and_matches_it_every_time():
    async with three_days() as box:
        contents = [(await get(box, FIRST))[1] for _ in range(2)]
        _, text, _ = await get(box, FIRST + ".CHECKSUM")
    assert contents[0] == contents[1]
    assert text.decode() == f"{hashlib.sha256(contents[0]).hexdigest()}  {A}-1m-2024-01-01.zip"


async def test_file_says_what_the_stream_said():
    feed = GivenFeed(minutes=1_440 + 30)
    running = arena(feed, sandbox={"sockets": SocketSettings(life_hours=100.0)})
    async with running as box, client(box, streams=klines([A])) as socket:
        payloads = [p["k"] for p in await until_over(box, socket) if p["k"]["x"]]
        _, content, _ = await get(box, FIRST)
    rows = rows_of(content)[1][1:]
    told = [
        [str(k["t"]), k["o"], k["h"], k["l"], k["c"], k["v"], str(k["T"]), k["q"], str(k["n"]), k["V"], k["Q"], k["B"]]
        for k in payloads[:1_440]
    ]
    assert rows == told


@pytest.mark.parametrize(
    "path",
    [
        f"daily/klines/{A}/1m/{A}-1m-2024-01-03.zip",  # not over yet
        f"daily/klines/{A}/1m/{A}-1m-2023-12-31.zip",  # before the source
        f"daily/klines/{A}/7m/{A}-7m-2024-01-01.zip",
        f"daily/klines/{A}/1m/{A}-1m-2024-13-01.zip",
        f"daily/klines/{A}/1m/{SYMBOLS[1]}-1m-2024-01-01.zip",
        "daily/klines/NONEUSDT/1m/NONEUSDT-1m-2024-01-01.zip",
        f"monthly/klines/{A}/1m/{A}-1m-2024-01.zip",
        f"monthly/fundingRate/{A}/{A}-fundingRate-2024-01.zip",
        "daily/trades/x.zip",
    ],
)
async def test_file_that_does_not_exist_is_not_found(path):
    async with three_days() as box:
        for ending in ("", ".CHECKSUM"):
            assert (await get(box, f"{ROOT}/{path}{ending}"))[0] == 404


async def test_longer_intervals_are_put_together():
    feed = GivenFeed(minutes=3 * 1_440)
    async with arena(feed, sandbox={"history_days": 2}) as box:
        _, content, _ = await get(box, f"{ROOT}/daily/klines/{A}/1h/{A}-1h-2024-01-02.zip")
    rows = rows_of(content)[1][1:]
    assert len(rows) == 24
    part = slice(1_440 + 60, 1_440 + 120)
    bars = feed.bars
    expected = [bars.open[part, 0][0], bars.high[part, 0].max(), bars.low[part, 0].min(), bars.close[part, 0][-1]]
    assert [float(text) for text in rows[1][1:5]] == expected
    assert float(rows[1][5]) == pytest.approx(bars.volume[part, 0].sum())


async def test_monthly_files_of_candles_and_funding():
    feed = GivenFeed(minutes=35 * 1_440, symbols=("AAAUSDT",))
    async with arena(feed, sandbox={"history_days": 33}) as box:
        _, candles, _ = await get(box, f"{ROOT}/monthly/klines/{A}/1h/{A}-1h-2024-01.zip")
        _, funding, _ = await get(box, f"{ROOT}/monthly/fundingRate/{A}/{A}-fundingRate-2024-01.zip")
        assert (await get(box, f"{ROOT}/monthly/klines/{A}/1h/{A}-1h-2024-02.zip"))[0] == 404
    assert len(rows_of(candles)[1]) == 1 + 31 * 24
    name, (head, *rows) = rows_of(funding)
    assert name == f"{A}-fundingRate-2024-01.csv"
    assert head == ["calc_time", "funding_interval_hours", "last_funding_rate"]
    assert rows[0] == [str(START + 8 * 3_600_000), "8", "0.00010000"]
    assert len(rows) == len(feed.funding[A].time)


async def test_download_can_go_on_where_it_broke_off():
    async with three_days() as box:
        _, whole, _ = await get(box, FIRST)
        status, rest, headers = await get(box, FIRST, headers={"Range": "bytes=1000-"})
        assert (status, rest) == (206, whole[1_000:])
        assert headers["Content-Range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
        assert (await get(box, FIRST, headers={"Range": f"bytes={len(whole)}-"}))[0] == 416


async def test_market_moved_in_time_has_its_files_under_the_moved_days():
    feed = GivenFeed(minutes=4 * 1_440)
    async with arena(feed, speed=1.0, sandbox={"history_days": 2, "is_now": True}) as box:
        now = box.exchange.clock()
        for days_ago in (1, 2):
            day = _day(now - days_ago * DAY)
            status, content, _ = await get(box, f"{ROOT}/daily/klines/{A}/1m/{A}-1m-{day}.zip")
            assert status == 200
            rows = rows_of(content)[1][1:]
            assert int(rows[0][0]) == now - now % DAY - days_ago * DAY
            assert float(rows[0][1]) == feed.bars.open[(2 - days_ago) * 1_440, 0]
        assert (await get(box, f"{ROOT}/daily/klines/{A}/1m/{A}-1m-{_day(now)}.zip"))[0] == 404


async def test_files_can_be_imported(tmp_path):
    feed = GivenFeed(minutes=3 * 1_440)
    async with arena(feed, sandbox={"history_days": 2}) as box:
        for day in ("01", "02"):
            name = f"{A}-1m-2024-01-{day}.zip"
            _, content, _ = await get(box, f"{ROOT}/daily/klines/{A}/1m/{name}")
            (tmp_path / name).write_bytes(content)
    problems = Problems()
    files = scan_files(expand_sources((str(tmp_path),), problems), Wanted(), problems)
    assert problems.lines == []
    assert {(f.symbol, f.interval_ms) for f in files} == {(A, MINUTE)}
    assert min(f.first for f in files) == START


def _day(time):
    return datetime.fromtimestamp(time / 1_000, UTC).strftime("%Y-%m-%d")
