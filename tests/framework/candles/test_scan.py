from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slt.candles import Candles, Problems, Source, Wanted, check_files, expand_sources, read_candles, scan_files
from slt.errors import DataError

START = 1_704_067_200_000
MINUTE = 60_000
GOOD = f"{START},10.0,12.0,9.0,11.0,5.0"


def problems_of(path):
    problems = Problems()
    scan_files([Source(path, is_named=True)], Wanted(), problems)
    return [line.replace(str(path), path.name) for line in problems.lines]


def row(minute, opened=10.0, high=12.0, low=9.0, close=11.0, volume=5.0):
    return f"{START + int(minute * MINUTE)},{opened},{high},{low},{close},{volume}"


def same(left, right):
    np.testing.assert_array_equal(left.open_time, right.open_time)
    np.testing.assert_array_equal(left.values, right.values)


@pytest.mark.parametrize("unit", [1, 1_000])
@pytest.mark.parametrize("has_header", [True, False])
def test_reader_archive_zip_gives_the_candles(maker, header, unit, has_header):
    lines = ([header] if has_header else []) + maker.lines(50, unit=unit)
    same(read_candles(maker.zip("BTCUSDT-1m-2024-01.zip", lines)), maker.candles(50))


def test_reader_csv_with_crlf_bom_and_other_columns_gives_the_candles(maker):
    lines = ["\ufeffextra,OPEN_TIME, open,high,low,close,volume,taker_buy_base_asset_volume"]
    for line in maker.lines(10):
        cells = line.split(",")
        lines.append(",".join(["x", *cells[:6], cells[9]]))
    path = maker.folder / "BTCUSDT-1m.csv"
    path.write_bytes("\r\n".join(lines).encode())
    same(read_candles(path), maker.candles(10))


def test_reader_csv_of_six_columns_leaves_takers_unknown(maker):
    path = maker.text("BTCUSDT-1m.csv", [",".join(line.split(",")[:6]) for line in maker.lines(10)])
    same(read_candles(path), maker.candles(10, taker=False))


def test_reader_parquet_survives_the_way_back(maker):
    same(read_candles(maker.parquet("BTCUSDT-1m.parquet", maker.candles(100))), maker.candles(100))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_reader_parquet_with_timestamps_and_float32_gives_the_candles(maker, unit):
    candles = maker.candles(5)
    table = {"open_time": pa.array(candles.open_time).cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp(unit, "UTC"))}
    names = ("open", "high", "low", "close", "volume")
    table |= {n: pa.array(candles.values[i].astype(np.float32)) for i, n in enumerate(names)}
    pq.write_table(pa.table(table), maker.folder / "BTCUSDT-1m.parquet")
    read = read_candles(maker.folder / "BTCUSDT-1m.parquet")
    np.testing.assert_array_equal(read.open_time, candles.open_time)
    np.testing.assert_array_equal(read.values[:5], candles.values[:5].astype(np.float32).astype(np.float64))
    assert np.isnan(read.values[5]).all()


def test_reader_panel_gives_each_symbol_its_rows(maker):
    one, other = maker.candles(20, seed=1), maker.candles(15, seed=2)
    lines = ["symbol,open_time,open,high,low,close,volume"]
    for symbol, candles in (("BBBUSDT", other), ("AAAUSDT", one)):
        for time, column in zip(candles.open_time, candles.values.T.tolist(), strict=True):
            lines.append(",".join([symbol, str(time), *map(repr, column[:5])]))
    path = maker.text("panel.csv", [lines[0], *sorted(lines[1:], key=lambda line: line.split(",")[1])])
    same(read_candles(path, "AAAUSDT"), Candles(one.open_time, np.vstack([one.values[:5], np.full((1, 20), np.nan)])))
    files, problems = check_files([str(path)])
    assert not problems
    assert {(f.symbol, f.rows, f.interval_ms) for f in files} == {("AAAUSDT", 20, MINUTE), ("BBBUSDT", 15, MINUTE)}
    with pytest.raises(DataError, match="asked for its only symbol, found"):
        read_candles(path)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([row(0), row(1, low=-1.0)], "line 2 (2024-01-01 00:01): low -1.0 is not above 0"),
        ([row(0, opened="nan")], "line 1 (2024-01-01 00:00): open nan is not a finite number"),
        ([row(0, close="")], "line 1 (2024-01-01 00:00): close nan is not a finite number"),
        ([row(0, high="inf")], "line 1 (2024-01-01 00:00): high inf is not a finite number"),
        ([row(0, high=8.0)], "line 1 (2024-01-01 00:00): high 8.0 is below low 9.0"),
        ([row(0, close=13.0)], "line 1 (2024-01-01 00:00): open 10.0 or close 13.0 lies outside low 9.0 and high 12.0"),
        ([row(0, volume=-2.0)], "line 1 (2024-01-01 00:00): volume -2.0 is not a number of at least 0"),
        ([row(0), row(0)], "line 2 (2024-01-01 00:00): the same bar twice"),
        (
            [row(0), row(2), row(1), row(3)],
            "line 3 (2024-01-01 00:01): unsorted: the row before it opens at 2024-01-01 00:02",
        ),
        ([row(0), row(1), row(2.5), row(4)], "line 3 (2024-01-01 00:02:30): off the 1m grid"),
        (
            ["open_time,open,high,low,close,volume", row(0, low=-1.0)],
            "line 2 (2024-01-01 00:00): low -1.0 is not above 0",
        ),
    ],
)
def test_check_one_bad_row_is_named_with_line_and_time(maker, lines, expected):
    assert problems_of(maker.text("BTCUSDT-1m.csv", lines)) == [f"BTCUSDT-1m.csv: {expected}"]


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("BTCUSDT-1m.csv", [], "is empty"),
        ("BTCUSDT-1m.csv", ["open_time,open,high,low,close,volume"], "holds no candles"),
        (
            "BTCUSDT-1m.csv",
            ["time,open,high,low,close,volume", "1,2,3,4,5,6"],
            (
                "has the columns time, open, high, low, close, volume; candles need open_time, open, high, low, close, "
                "volume; missing: open_time"
            ),
        ),
        ("BTCUSDT-1m.csv", ["1,2,3"], "has no header and 3 columns; candles without a header have 6 or 12"),
        (
            "BTCUSDT-1m.csv",
            ["open_time,open,open,high,low,close,volume", "1,2,3,4,5,6,7"],
            "has two columns for open: open_time, open, open, high, low, close, volume",
        ),
        ("BTCUSDT-1m.csv", [GOOD, row(1, close="abc")], "line 2: column `close` holds `abc`, expected a number"),
        (
            "BTCUSDT-1m.csv",
            [GOOD, "2024-01-01,1,1,1,1,1"],
            "line 2: column `open_time` holds `2024-01-01`, expected an integer: ms or µs since 1970 UTC",
        ),
        ("BTCUSDT-1m.csv", [GOOD, "1,2"], "line 2: 2 cells, expected 6"),
        (
            "BTCUSDT-1m.csv",
            [GOOD, f"{(START + MINUTE) * 1_000},10,12,9,11,5"],
            (
                f"line 2: time `{(START + MINUTE) * 1_000}` is in µs, the rows before it are in ms; "
                "one file needs one unit"
            ),
        ),
        (
            "BTCUSDT-1m.csv",
            [f"{START // 1_000},10,12,9,11,5"],
            f"line 1: time `{START // 1_000}` is neither ms nor µs since 1970 UTC",
        ),
        ("btc.csv", [GOOD], "has no `symbol` column, and its name does not open with a symbol such as `BTCUSDT-1m`"),
        (
            "panel.csv",
            ["symbol,open_time,open,high,low,close,volume", f"btc,{GOOD}"],
            "line 2: symbol `btc` is not capital letters and digits",
        ),
        ("BTCUSDT-1m.csv", [row(5 * i) for i in range(12)], "its bars are 5m apart, 1m were expected"),
        ("BTCUSDT-5m.csv", [row(i) for i in range(12)], "its bars are 1m apart, 5m were expected"),
        ("BTCUSDT-1m.txt", [GOOD], "is not a .csv, .parquet, .zip file"),
    ],
)
def test_check_unusable_text_file_says_why(maker, name, lines, expected):
    path = maker.text(name, lines) if lines else maker.folder / name
    if not lines:
        path.touch()
    assert problems_of(path) == [f"{name}: {expected}"]


def test_check_microseconds_between_milliseconds_are_named(maker):
    path = maker.text("BTCUSDT-1m.csv", [f"{START * 1_000 + 1},10,12,9,11,5"])
    found = f"BTCUSDT-1m.csv: line 1: time `{START * 1_000 + 1}` is no whole millisecond"
    assert problems_of(path) == [found]


def test_check_takers_above_volume_are_named(maker, header):
    cells = maker.lines(1)[0].split(",")
    path = maker.text("BTCUSDT-1m.csv", [header, ",".join([*cells[:5], "5.0", *cells[6:9], "6.0", *cells[10:]])])
    expected = "BTCUSDT-1m.csv: line 2 (2024-01-01 00:00): taker_buy_volume 6.0 is negative or above volume 5.0"
    assert problems_of(path) == [expected]


def test_check_order_is_kept_over_the_frames_of_a_file(maker, monkeypatch):
    monkeypatch.setattr("slt.candles.scan._WINDOW", 8)
    path = maker.parquet("BTCUSDT-1m.parquet", maker.candles([*range(8), 7, *range(8, 20)]))
    assert problems_of(path) == ["BTCUSDT-1m.parquet: row 9 (2024-01-01 00:07): the same bar twice"]


def test_check_many_bad_rows_give_three_examples_and_a_count(maker):
    path = maker.text("BTCUSDT-1m.csv", [row(i, high=8.0) for i in range(12)])
    assert problems_of(path) == [
        *(f"BTCUSDT-1m.csv: line {i + 1} (2024-01-01 00:0{i}): high 8.0 is below low 9.0" for i in range(3)),
        "BTCUSDT-1m.csv: 9 more lines where high is below low",
    ]


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"PAR1 nothing", "BTCUSDT-1m.parquet", "cannot be read as Parquet: "),
        (b"", "BTCUSDT-1m.parquet", "cannot be read as Parquet: "),
        (b"PK nothing", "BTCUSDT-1m.zip", "cannot be read: File is not a zip file"),
        (b"\xff\xfe\x00", "BTCUSDT-1m.csv", "is not a text file in UTF-8"),
    ],
)
def test_check_damaged_file_is_named(maker, content, name, expected):
    path = maker.folder / name
    path.write_bytes(content)
    (line,) = problems_of(path)
    assert line.startswith(f"{name}: {expected}")


def test_check_parquet_damaged_in_the_middle_is_named(maker):
    path = maker.parquet("BTCUSDT-1m.parquet", maker.candles(5_000))
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    path.write_bytes(content)
    (line,) = problems_of(path)
    assert line.startswith("BTCUSDT-1m.parquet: cannot be read as Parquet: ")


def test_check_zip_damaged_in_the_middle_is_named(maker, header):
    path = maker.zip("BTCUSDT-1m.zip", [header, *maker.lines(5_000)], checksum=None)
    content = bytearray(path.read_bytes())
    content[2_000:3_000] = bytes(1_000)
    path.write_bytes(content)
    (line,) = problems_of(path)
    assert line.startswith("BTCUSDT-1m.zip: ")


def test_check_parquet_with_text_prices_is_named(maker):
    table = pa.table({"open_time": [START], **{n: ["1.0"] for n in ("open", "high", "low", "close", "volume")}})
    pq.write_table(table, maker.folder / "BTCUSDT-1m.parquet")
    expected = ["BTCUSDT-1m.parquet: column `open` is string, expected a number"]
    assert problems_of(maker.folder / "BTCUSDT-1m.parquet") == expected


def test_check_zip_must_hold_one_csv(maker):
    path = maker.zip("BTCUSDT-1m.zip", [GOOD], checksum=None)
    path.write_bytes(maker.zip("ETHUSDT-1m.zip", [GOOD], checksum=None).read_bytes())
    assert problems_of(path) == []
    import zipfile

    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.csv", GOOD)
    assert problems_of(path) == ["BTCUSDT-1m.zip: must hold exactly one CSV file, holds 2"]


def test_checksum_that_fits_is_accepted_and_another_refused(maker, header):
    lines = [header, *maker.lines(5)]
    assert problems_of(maker.zip("BTCUSDT-1m-2024-01.zip", lines)) == []
    (line,) = problems_of(maker.zip("BTCUSDT-1m-2024-02.zip", lines, checksum="a" * 64))
    assert line.startswith("BTCUSDT-1m-2024-02.zip: has the sha256 ")
    assert line.endswith(f"`BTCUSDT-1m-2024-02.zip.CHECKSUM` says {'a' * 64}; download it again")
    (line,) = problems_of(maker.zip("BTCUSDT-1m-2024-03.zip", lines, checksum="nonsense"))
    assert line.endswith("`BTCUSDT-1m-2024-03.zip.CHECKSUM` holds no sha256; download both again")


def test_scan_zero_volume_bar_of_an_archive_stays_a_bar(maker):
    files, problems = check_files([str(maker.text("BTCUSDT-1m.csv", [row(0), row(1, 9.0, 9.0, 9.0, 9.0, 0.0)]))])
    assert not problems
    assert files[0].rows == 2


def test_scan_span_counts_only_what_is_inside_but_checks_everything(maker):
    path = maker.parquet("BTCUSDT-1m.parquet", maker.candles(100))
    wanted = Wanted(start=START + 10 * MINUTE, end=START + 20 * MINUTE)
    (file,), problems = check_files([str(path)], wanted)
    assert (file.rows, file.first, file.last) == (10, START + 10 * MINUTE, START + 19 * MINUTE)
    assert not problems
    bad = maker.text("ETHUSDT-1m.csv", [row(0, high=1.0), row(15)])
    assert len(check_files([str(bad)], wanted)[1]) == 1


def test_scan_panel_keeps_only_wanted_symbols(maker):
    lines = ["symbol,open_time,open,high,low,close,volume", f"AAAUSDT,{GOOD}", f"BBBUSDT,{row(0, high=1.0)}"]
    files, problems = check_files([str(maker.text("panel.csv", lines))], Wanted(symbols=frozenset(("AAAUSDT",))))
    assert [f.symbol for f in files] == ["AAAUSDT"]
    assert not problems


def test_scan_funding_beside_candles_is_left_alone_unless_named(maker):
    maker.text("BTCUSDT-1m.csv", [GOOD])
    path = maker.text("BTCUSDT-funding.csv", ["funding_time,funding_rate", f"{START},0.1"])
    files, problems = check_files([str(maker.folder)])
    assert [f.path.name for f in files] == ["BTCUSDT-1m.csv"]
    assert not problems
    assert "candles need open_time" in problems_of(path)[0]


def test_problems_above_twenty_are_counted():
    problems = Problems()
    for number in range(25):
        problems.add(f"problem {number}")
    problems.add("problem 3")
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    assert caught.value.problems == (*(f"problem {n}" for n in range(20)), "... and 5 more problems")


def test_sources_are_expanded_once_and_empty_patterns_named(maker, monkeypatch):
    monkeypatch.chdir(maker.folder)
    for name in ("BTCUSDT-1m.csv", "ETHUSDT-1m.csv", "notes.txt"):
        maker.text(name, [GOOD])
    (maker.folder / "empty").mkdir()
    problems = Problems()
    sources = expand_sources(["ETHUSDT-1m.csv", "*.csv", ".", "gone.csv", "no*.parquet", "empty"], problems)
    assert [(s.path.name, s.is_named) for s in sources] == [("ETHUSDT-1m.csv", True), ("BTCUSDT-1m.csv", False)]
    assert problems.lines == [
        "gone.csv: no such file",
        f"no*.parquet: matches no .csv, .parquet, .zip file in {maker.folder}",
        "empty: the folder holds no .csv, .parquet, .zip file",
    ]
