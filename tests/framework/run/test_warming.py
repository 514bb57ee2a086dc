"""Warm start: which bars of the past the dense part is given, and in which blocks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from slt.config import RunConfig
from slt.errors import StorageError
from slt.run.warming import bars_to_store, unseen, warm_up
from slt.types import Bars, BarState, MarketInfo

MINUTE, DAY = 60_000, 86_400_000
START = 1_704_067_200_000
SYMBOLS = ("AAAUSDT", "BBBUSDT")


def bars_of(first, rows, *, absent=(), empty=()):
    """Bars of both symbols; `absent` and `empty` are (row, column)."""
    times = first + MINUTE * np.arange(1, rows + 1, dtype=np.int64)
    bars = Bars.absent(SYMBOLS, MINUTE, times)
    bars.state[:] = int(BarState.TRADED)
    for name in ("open", "high", "low", "close"):
        getattr(bars, name)[:] = 100.0 + np.arange(rows)[:, None]
    bars.volume[:] = 1.0
    bars.taker_buy_volume[:, 0] = 0.5
    for row, column in (*absent, *empty):
        bars.state[row, column] = int(BarState.ABSENT)
        for name in ("open", "high", "low", "close", "volume", "taker_buy_volume"):
            getattr(bars, name)[row, column] = np.nan
    for row, column in empty:
        bars.state[row, column], bars.volume[row, column] = int(BarState.EMPTY), 0.0
    return bars


class Storage:
    """Answers as the bar store does."""

    def __init__(self, bars=None, is_away=False):
        self.records = list(bars_to_store(bars)) if bars is not None else []
        self.is_away = is_away
        self.asked = []

    async def slt_read_records(self, query):
        self.asked.append(query.symbol)
        if self.is_away:
            raise StorageError("away")
        return [r for r in self.records if r.symbol == query.symbol and query.since <= r.close_time < query.until]


class Dense:
    def __init__(self):
        self.symbols, self.blocks, self.faults = SYMBOLS, [], []

    def compute(self, bars):
        self.blocks.append(bars)


async def warmed(storage, since, until, warm_data="", *, is_resumed=False):
    assembly = SimpleNamespace(
        folder=SimpleNamespace(is_resumed=is_resumed),
        market=MarketInfo(SYMBOLS, MINUTE, until, None, "test"),
        storage=storage,
        settings=SimpleNamespace(run=RunConfig(warm_data=warm_data)),
    )
    session = SimpleNamespace(dense=Dense())
    last = await warm_up(assembly, session, since, until)
    return max(last.values(), default=since), session.dense.blocks


async def test_stored_bars_come_back_as_they_went(tmp_path):
    stored = bars_of(START, 3 * 1440, absent=[(5, 0), (2000, 1)], empty=[(7, 0)])
    last, blocks = await warmed(Storage(stored), START, START + 3 * DAY)
    assert last == START + 3 * DAY
    found = Bars.concatenate(blocks)
    assert len(found) == len(stored)
    for name in ("state", "open", "high", "low", "close", "volume", "taker_buy_volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(stored, name), err_msg=name)


async def test_span_is_what_is_asked_for_and_begins_where_something_is_known():
    stored = bars_of(START, 100)
    last, blocks = await warmed(Storage(stored), START + 10 * MINUTE, START + 50 * MINUTE)
    assert int(blocks[0].close_time[0]) == START + 11 * MINUTE
    assert last == int(blocks[-1].close_time[-1]) == START + 50 * MINUTE
    last, blocks = await warmed(Storage(stored), START - 5 * DAY, START + DAY)
    assert [len(block) for block in blocks] == [100]
    assert last == START + 100 * MINUTE


async def test_nothing_known_leaves_the_start_cold():
    assert await warmed(Storage(), START, START + DAY) == (START, [])


async def test_storage_that_is_away_leaves_the_start_cold():
    assert await warmed(Storage(is_away=True), START, START + DAY) == (START, [])


async def test_candle_files_come_first_and_the_store_fills_what_they_lack(tmp_path):
    lines = [
        f"{START + n * MINUTE},1,1,1,1,2,{START + n * MINUTE + MINUTE - 1},2,3,1,1,0" for n in range(60) if n != 30
    ]
    (tmp_path / "AAAUSDT-1m.csv").write_text("\n".join(lines) + "\n")
    last, blocks = await warmed(Storage(bars_of(START, 120)), START, START + DAY, str(tmp_path))
    found = Bars.concatenate(blocks)
    assert last == START + 120 * MINUTE
    assert found.close[29, 0] == 1.0
    assert found.close[30, 0] == 130.0, "from the store"
    assert found.close[29, 1] == 129.0
    assert (found.state == int(BarState.TRADED)).all()


async def test_store_is_asked_only_for_what_the_files_lack(tmp_path):
    lines = [f"{START + n * MINUTE},1,1,1,1,2" for n in range(60)]
    (tmp_path / "AAAUSDT-1m.csv").write_text("\n".join(lines) + "\n")
    storage = Storage(bars_of(START, 60))
    await warmed(storage, START, START + 60 * MINUTE, str(tmp_path))
    assert storage.asked == ["BBBUSDT"]


@pytest.mark.parametrize(
    ("is_resumed", "since", "found"), [(True, START, 0), (False, START, 60), (True, START - 1, 60)]
)
async def test_restart_within_a_day_reads_no_files_of_days_that_are_over(tmp_path, is_resumed, since, found):
    lines = [f"{START + n * MINUTE},1,1,1,1,2" for n in range(60)]
    (tmp_path / "AAAUSDT-1m.csv").write_text("\n".join(lines) + "\n")
    _, blocks = await warmed(Storage(), since, START + DAY - 1, str(tmp_path), is_resumed=is_resumed)
    assert sum(len(bars) for bars in blocks) == found


@pytest.mark.parametrize("rows", [1, 7])
def test_wave_is_stored_without_what_is_absent(rows):
    records = list(bars_to_store(bars_of(START, rows, absent=[(0, 1)])))
    assert len(records) == 2 * rows - 1
    assert records[0].id == f"AAAUSDT-{MINUTE}-{START + MINUTE}"
    assert records[0].taker_buy_volume == 0.5
    assert all(r.taker_buy_volume is None for r in records if r.symbol == "BBBUSDT")


async def test_warm_up_tells_the_last_bar_of_each_symbol():
    stored = bars_of(START, 10, absent=[(8, 1), (9, 1)])
    session = SimpleNamespace(dense=Dense())
    assembly = SimpleNamespace(
        folder=SimpleNamespace(is_resumed=False),
        market=MarketInfo(SYMBOLS, MINUTE, START + 10 * MINUTE, None, "test"),
        storage=Storage(stored),
        settings=SimpleNamespace(run=RunConfig(warm_data="")),
    )
    last = await warm_up(assembly, session, START, START + 10 * MINUTE)
    assert last == {"AAAUSDT": START + 10 * MINUTE, "BBBUSDT": START + 8 * MINUTE}


def test_unseen_leaves_out_what_the_warm_start_gave_and_keeps_what_came_late():
    last = {"AAAUSDT": START + 10 * MINUTE, "BBBUSDT": START + 8 * MINUTE}
    wave = bars_of(START + 7 * MINUTE, 4, absent=[(1, 0)])  # minutes 8 to 11
    left = unseen(wave, last)
    assert left.close_time.tolist() == [START + minute * MINUTE for minute in (9, 10, 11)]
    traded = left.state == int(BarState.TRADED)
    assert traded.tolist() == [[False, True], [False, True], [True, True]]
    np.testing.assert_array_equal(left.close[traded], wave.close[1:][traded])
    assert np.isnan(left.close[~traded]).all()


def test_unseen_keeps_the_own_minute_of_a_wave_of_which_only_a_late_bar_is_left():
    last = {"AAAUSDT": START + 10 * MINUTE, "BBBUSDT": START + 8 * MINUTE}
    left = unseen(bars_of(START + 8 * MINUTE, 2, absent=[(1, 1)]), last)  # minutes 9 and 10
    assert left.close_time.tolist() == [START + 9 * MINUTE, START + 10 * MINUTE]
    assert (left.state == int(BarState.TRADED)).tolist() == [[False, True], [False, False]]


def test_unseen_of_a_wave_that_is_all_known_is_empty_and_of_a_later_one_the_same():
    last = {"AAAUSDT": START + 10 * MINUTE, "BBBUSDT": START + 10 * MINUTE}
    assert len(unseen(bars_of(START + 9 * MINUTE, 1), last)) == 0
    later = bars_of(START + 10 * MINUTE, 1)
    assert unseen(later, last) is later
    assert unseen(later, {}) is later
