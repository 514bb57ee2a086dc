from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slt.candles import Problems, Source, Wanted, read_funding

START = 1_704_067_200_000
EIGHT_HOURS = 28_800_000


def read(*paths, wanted=None):
    problems = Problems()
    rates = read_funding([Source(p, is_named=True) for p in paths], wanted or Wanted(), problems)
    return rates, problems.lines


def test_funding_archive_and_parquet_are_put_together(maker):
    lines = ["calc_time,funding_interval_hours,last_funding_rate"]
    lines += [f"{START + i * EIGHT_HOURS + 3},8,0.000{i}" for i in range(1, 4)]
    archive = maker.zip("BTCUSDT-fundingRate-2024-01.zip", lines)
    parquet = maker.folder / "BTCUSDT-funding-futures.parquet"
    times = [START + i * EIGHT_HOURS + 3 for i in range(3, 6)]
    pq.write_table(pa.table({"funding_time": times, "funding_rate": [0.0003, -0.001, 0.0]}), parquet)
    rates, problems = read(archive, parquet)
    assert not problems
    np.testing.assert_array_equal(rates["BTCUSDT"].time, [START + i * EIGHT_HOURS + 3 for i in range(1, 6)])
    np.testing.assert_array_equal(rates["BTCUSDT"].rate, [0.0001, 0.0002, 0.0003, -0.001, 0.0])


def test_funding_of_a_panel_and_a_span(maker):
    lines = ["symbol,funding_time,funding_rate"]
    lines += [f"{s},{(START + i * EIGHT_HOURS) * 1_000},0.000{i}" for s in ("AAAUSDT", "BBBUSDT") for i in range(5)]
    path = maker.text("funding.csv", lines)
    wanted = Wanted(symbols=frozenset(("BBBUSDT",)), start=START + EIGHT_HOURS, end=START + 3 * EIGHT_HOURS)
    rates, problems = read(path, wanted=wanted)
    assert not problems
    assert list(rates) == ["BBBUSDT"]
    np.testing.assert_array_equal(rates["BBBUSDT"].rate, [0.0001, 0.0002, 0.0003])


def test_funding_of_other_symbols_is_not_opened(maker):
    path = maker.text("ETHUSDT-funding.csv", ["funding_time,funding_rate", f"{START},nonsense"])
    assert read(path, wanted=Wanted(symbols=frozenset(("BTCUSDT",)))) == ({}, [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"{START},0.1", f"{START},0.1"], "line 3 (2024-01-01 00:00): is not later than the settlement before it"),
        ([f"{START},7"], "line 2 (2024-01-01 00:00): funding_rate 7.0 is no fraction below 1"),
        ([f"{START},"], "line 2 (2024-01-01 00:00): funding_rate nan is no fraction below 1"),
        (
            [f"{START},0.1", f"{START}000,0.1"],
            f"line 3: time `{START}000` is not in the unit of the rows before it, ms or µs",
        ),
        ([], "holds no funding rates"),
    ],
)
def test_funding_that_cannot_be_true_is_named(maker, lines, expected):
    path = maker.text("BTCUSDT-funding.csv", ["funding_time,funding_rate", *lines])
    assert read(path)[1] == [f"{path}: {expected}"]


def test_funding_candles_in_its_place_are_named(maker, header):
    path = maker.text("BTCUSDT-1m.csv", [header, *maker.lines(1)])
    assert read(path)[1][0].endswith(
        "funding rates need funding_time, funding_rate; missing: funding_time, funding_rate"
    )


def test_funding_files_that_disagree_are_named(maker):
    one = maker.text("BTCUSDT-funding-1.csv", [f"{START},0.1"])
    other = maker.text("BTCUSDT-funding-2.csv", [f"{START},0.2"])
    assert read(one, other)[1] == [
        (
            f"`{one}` and `{other}` disagree on the funding of BTCUSDT at 2024-01-01 00:00: 0.1 against 0.2; "
            "keep the right one of the two files"
        )
    ]
