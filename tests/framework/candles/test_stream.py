from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slt.candles import (
    Candles,
    Problems,
    Wanted,
    block_times,
    check_files,
    check_overlaps,
    cut_blocks,
    expand_sources,
    read_blocks,
    scan_files,
)
from slt.errors import DataError
from slt.types import Bars, BarState

START = 1_704_067_200_000
MINUTE = 60_000
FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


def scanned(*paths, wanted=None):
    problems = Problems()
    files = scan_files(expand_sources(map(str, paths), problems), wanted or Wanted(), problems)
    problems.raise_if_any()
    return files


def blocks(files, symbols, *, wanted=None, start=0, rows=60):
    return list(read_blocks(files, symbols, wanted or Wanted(), start, rows))


def assert_holds(bars, symbol, candles):
    """The column of `symbol` holds exactly these candles and nothing else."""
    place = bars.symbols.index(symbol)
    traded = bars.state[:, place] == BarState.TRADED
    np.testing.assert_array_equal(bars.close_time[traded] - bars.interval_ms, candles.open_time)
    for name, values in zip(FIELDS, candles.values, strict=True):
        np.testing.assert_array_equal(getattr(bars, name)[traded, place], values)
        assert np.isnan(getattr(bars, name)[~traded, place]).all()


def test_blocks_of_two_symbols_with_gaps_stand_on_one_grid(maker):
    one, other = maker.candles([*range(10), *range(40, 100)], seed=1), maker.candles([*range(5, 80)], seed=2)
    paths = maker.parquet("AAAUSDT-1m.parquet", one), maker.parquet("BBBUSDT-1m.parquet", other)
    bars = Bars.concatenate(blocks(scanned(*paths), ("BBBUSDT", "AAAUSDT")))
    np.testing.assert_array_equal(bars.close_time, START + MINUTE * np.arange(1, 101))
    assert_holds(bars, "AAAUSDT", one)
    assert_holds(bars, "BBBUSDT", other)


def test_blocks_end_at_multiples_of_their_length(maker):
    files = scanned(maker.parquet("AAAUSDT-1m.parquet", maker.candles(range(7, 150))))
    found = blocks(files, ("AAAUSDT",))
    assert [len(block) for block in found] == [53, 60, 30]
    assert [int(block.close_time[-1]) % (60 * MINUTE) for block in found[:-1]] == [0, 0]


@pytest.mark.parametrize("kind", ["parquet", "csv", "panel"])
@pytest.mark.parametrize(
    "start", [0, START, START + 1, START + 70 * MINUTE, START + 199 * MINUTE, START + 200 * MINUTE]
)
def test_blocks_from_a_start_are_the_tail(maker, monkeypatch, kind, start):
    monkeypatch.setattr("slt.candles.blocks.HELD_ROWS", 1)
    monkeypatch.setattr("slt.candles.blocks._LEAST_WINDOW", 16)
    monkeypatch.setattr("slt.candles.folder._GROUP_ROWS", 64)
    one, other = maker.candles(200, seed=1), maker.candles(50, seed=2)
    if kind == "parquet":
        paths = [maker.parquet("AAAUSDT-1m.parquet", one), maker.parquet("BBBUSDT-1m.parquet", other)]
    elif kind == "csv":
        paths = [maker.text("AAAUSDT-1m.csv", maker.lines(200, seed=1))]
        paths += [maker.text("BBBUSDT-1m.csv", maker.lines(50, seed=2))]
    else:
        lines = [f"AAAUSDT,{line}" for line in maker.lines(200, seed=1)]
        lines += [f"BBBUSDT,{line}" for line in maker.lines(50, seed=2)]
        names = "open_time,open,high,low,close,volume,x,y,z,taker_buy_volume,v,w"
        paths = [maker.text("panel.csv", [f"symbol,{names}", *lines])]
    files = scanned(*paths)
    found = blocks(files, ("AAAUSDT", "BBBUSDT"), start=start)
    skipped = max((start - START) // MINUTE, 0)
    if skipped == 200:
        assert found == []
        return
    bars = Bars.concatenate(found)
    assert int(bars.close_time[0]) == START + (skipped + 1) * MINUTE
    assert_holds(bars, "AAAUSDT", one.part(slice(skipped, None)))
    assert_holds(bars, "BBBUSDT", other.part(slice(skipped, None)))


def test_blocks_of_a_span_hold_only_the_span(maker):
    wanted = Wanted(start=START + 10 * MINUTE, end=START + 30 * MINUTE)
    files = scanned(maker.parquet("AAAUSDT-1m.parquet", maker.candles(100)), wanted=wanted)
    bars = Bars.concatenate(blocks(files, ("AAAUSDT",), wanted=wanted))
    assert_holds(bars, "AAAUSDT", maker.candles(100).part(slice(10, 30)))
    assert len(bars) == 20


SPANS = st.lists(st.tuples(st.integers(0, 150), st.integers(1, 60)), min_size=1, max_size=4)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(spans=SPANS, takers=st.lists(st.booleans(), min_size=4, max_size=4), window=st.sampled_from([1, 5, 64, 1_000]))
def test_overlapping_files_that_agree_are_one_symbol(maker, spans, takers, window):
    whole = maker.candles(300)
    for path in maker.folder.glob("*.parquet"):
        path.unlink()
    for number, (first, length) in enumerate(spans):
        part = whole.part(slice(first, first + length))
        maker.parquet(f"AAAUSDT-1m-{number}.parquet", part, taker=takers[number])
    paths = sorted(maker.folder.glob("*.parquet"))
    files = scanned(*paths)
    problems = Problems()
    check_overlaps(files, Wanted(), problems)
    assert not problems.lines
    bars = Bars.concatenate(list(_read_with_window(files, window)))
    at = sorted({m for first, length in spans for m in range(first, first + length)})
    known = {m for (f, n), taker in zip(spans, takers, strict=False) if taker for m in range(f, f + n)}
    expected = whole.values[:, at].copy()
    expected[5, [m not in known for m in at]] = np.nan
    traded = bars.state[:, 0] == BarState.TRADED
    np.testing.assert_array_equal((bars.close_time[traded] - START) // MINUTE - 1, at)
    for name, values in zip(FIELDS, expected, strict=True):
        np.testing.assert_array_equal(getattr(bars, name)[traded, 0], values)


def _read_with_window(files, window):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slt.candles.blocks.HELD_ROWS", 1)
        patch.setattr("slt.candles.blocks._LEAST_WINDOW", window)
        yield from read_blocks(files, ("AAAUSDT",), Wanted(), 0, 60)


def test_overlap_that_disagrees_names_both_files_time_and_rows(maker):
    candles = maker.candles(50)
    changed = Candles(candles.open_time[20:40], candles.values[:, 20:40].copy())
    changed.values[3, 5] = np.nextafter(changed.values[3, 5], 0)
    one, other = maker.parquet("AAAUSDT-1m-1.parquet", candles), maker.parquet("AAAUSDT-1m-2.parquet", changed)
    _, (line,) = check_files([str(one), str(other)])
    left, right = candles.values[:, 25].tolist(), changed.values[:, 5].tolist()
    rows = [" ".join(f"{n} {v!r}" for n, v in zip(FIELDS, values, strict=True)) for values in (left, right)]
    assert line == (
        f"`{one}` and `{other}` disagree on AAAUSDT at 2024-01-01 00:25: {rows[0]} against {rows[1]}; "
        "keep the right one of the two files"
    )
    with pytest.raises(DataError, match="disagree on AAAUSDT at 2024-01-01 00:25"):
        blocks(scanned(one, other), ("AAAUSDT",))
    changed.values[4, 7] += 1
    maker.parquet("AAAUSDT-1m-2.parquet", changed)
    _, (line,) = check_files([str(one), str(other)])
    assert line.endswith("; they disagree on 2 bars in all")


def test_overlap_takers_that_disagree_are_found_over_a_file_without_them(maker):
    candles = maker.candles(10)
    changed = Candles(candles.open_time, candles.values.copy())
    changed.values[5, 3] *= 0.5
    maker.parquet("AAAUSDT-1m-1.parquet", candles)
    maker.parquet("AAAUSDT-1m-2.parquet", candles, taker=False)
    maker.parquet("AAAUSDT-1m-3.parquet", changed)
    _, (line,) = check_files([str(maker.folder)])
    assert "AAAUSDT-1m-1.parquet` and" in line
    assert "AAAUSDT-1m-3.parquet` disagree on AAAUSDT at 2024-01-01 00:03" in line


def test_blocks_refuse_a_file_that_changed_after_the_scan(maker):
    path = maker.parquet("AAAUSDT-1m.parquet", maker.candles(50))
    files = scanned(path)
    maker.parquet("AAAUSDT-1m.parquet", maker.candles(60))
    with pytest.raises(DataError, match=r"AAAUSDT-1m\.parquet: changed since it was checked; start again"):
        blocks(files, ("AAAUSDT",))
    path.unlink()
    with pytest.raises(DataError, match=r"AAAUSDT-1m\.parquet"):
        blocks(files, ("AAAUSDT",))


@given(st.integers(1, 50), st.integers(0, 100), st.integers(-5, 120), st.integers(1, 40))
def test_block_times_cover_the_grid_once(first, length, start, rows):
    last = first + length
    parts = list(block_times(first * MINUTE, last * MINUTE, start * MINUTE, rows, MINUTE))
    times = [int(t) // MINUTE for part in parts for t in part]
    assert times == list(range(max(first, start + 1), last + 1))
    assert all(int(part[-1]) % (rows * MINUTE) == 0 for part in parts[:-1])
    assert all(len(part) == rows for part in parts[1:-1])


@given(
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    offset=st.integers(0, 20),
    start=st.integers(-3, 150),
    rows=st.integers(1, 25),
)
def test_cut_blocks_gives_the_same_rows_in_the_right_lengths(cuts, offset, start, rows):
    edges = np.cumsum([offset, *cuts])
    given_blocks = [Bars.absent(("A",), MINUTE, MINUTE * np.arange(a + 1, b + 1)) for a, b in itertools.pairwise(edges)]
    found = list(cut_blocks(given_blocks, start * MINUTE, rows))
    times = [int(t) // MINUTE for block in found for t in block.close_time]
    assert times == list(range(max(offset, start) + 1, int(edges[-1]) + 1))
    assert all(int(block.close_time[-1]) % (rows * MINUTE) == 0 for block in found[:-1])
    assert all(len(block) == rows for block in found[1:-1])


def test_memory_of_a_suspended_reader_is_its_window(maker):
    """A reader between two blocks keeps its window, not the decoded row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from slt.candles._frames import CANDLES
    from slt.candles._parquet import parquet_frames

    rows = 200_000
    table = {"open_time": START + MINUTE * np.arange(rows)}
    table |= {name: np.random.default_rng(1).random(rows) + 1 for name in FIELDS[:5]}
    path = maker.folder / "AAAUSDT-1m.parquet"
    pq.write_table(pa.table(table), path, row_group_size=rows)
    frames = parquet_frames(path, CANDLES, 1_000, None)
    first = next(frames)
    held = pa.total_allocated_bytes()
    assert len(first) == 1_000
    assert first.values.base is None
    assert held < rows * 8
    frames.close()
