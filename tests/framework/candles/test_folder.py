from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from slt.candles import Candles, import_files, interval_name, list_folder, read_candles
from slt.errors import DataError

START = 1_704_067_200_000
MINUTE = 60_000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "candles"


def test_import_brings_any_format_into_one_sorted_file(maker, header, folder):
    paths = [
        maker.zip("BTCUSDT-1m-2024-02.zip", [header, *maker.lines(range(60, 100), unit=1_000)]),
        maker.text("BTCUSDT-1m-2024-01.csv", maker.lines(range(70))),
        maker.parquet("BTCUSDT-1m-more.parquet", maker.candles(range(120, 130))),
        maker.parquet("ETHUSDT-5m.parquet", maker.candles(30, interval=5 * MINUTE)),
    ]
    imported = import_files([str(p) for p in paths], folder)
    assert [(i.listed.symbol, interval_name(i.listed.interval_ms), i.added) for i in imported] == [
        ("BTCUSDT", "1m", 110),
        ("ETHUSDT", "5m", 30),
    ]
    assert imported[0].listed.missing_share == pytest.approx(20 / 130)
    assert sorted(p.name for p in folder.iterdir()) == ["BTCUSDT-1m.parquet", "ETHUSDT-5m.parquet"]
    read = read_candles(folder / "BTCUSDT-1m.parquet")
    expected = maker.candles([*range(100), *range(120, 130)])
    np.testing.assert_array_equal(read.open_time, expected.open_time)
    np.testing.assert_array_equal(read.values, expected.values)


def test_import_again_changes_not_a_byte(maker, folder):
    path = maker.parquet("BTCUSDT-1m-x.parquet", maker.candles(20_000 // 4))
    import_files([str(path)], folder)
    target = folder / "BTCUSDT-1m.parquet"
    before = target.read_bytes(), target.stat().st_mtime_ns, target.stat().st_ino
    (again,) = import_files([str(path)], folder)
    assert again.added == 0
    assert (target.read_bytes(), target.stat().st_mtime_ns, target.stat().st_ino) == before


def test_import_merges_with_what_is_there(maker, folder):
    import_files([str(maker.parquet("BTCUSDT-1m-a.parquet", maker.candles(50, taker=False), taker=False))], folder)
    assert not list_folder(folder)[0][0].has_taker_volume
    (more,) = import_files([str(maker.parquet("BTCUSDT-1m-b.parquet", maker.candles(range(40, 90))))], folder)
    assert (more.added, more.listed.bars, more.listed.has_taker_volume) == (40, 90, True)
    expected = maker.candles(90).values.copy()
    expected[5, :40] = np.nan
    np.testing.assert_array_equal(read_candles(folder / "BTCUSDT-1m.parquet").values, expected)


def test_import_that_disagrees_writes_nothing(maker, folder):
    import_files([str(maker.parquet("BTCUSDT-1m-a.parquet", maker.candles(50)))], folder)
    before = (folder / "BTCUSDT-1m.parquet").read_bytes()
    other = maker.parquet("BTCUSDT-1m-b.parquet", maker.candles(60, seed=8))
    fine = maker.parquet("AAAUSDT-1m-b.parquet", maker.candles(60))
    with pytest.raises(DataError, match=r"disagree on BTCUSDT at 2024-01-01 00:00: .* they disagree on 50 bars in all"):
        import_files([str(fine), str(other)], folder)
    assert [p.name for p in folder.iterdir()] == ["BTCUSDT-1m.parquet"]
    assert (folder / "BTCUSDT-1m.parquet").read_bytes() == before


def test_import_names_every_problem_and_writes_nothing(maker, folder):
    bad = maker.text("BTCUSDT-1m.csv", [f"{START},10,8,9,11,5"])
    alone = maker.text("ETHUSDT.csv", [f"{START},10,12,9,11,5"])
    with pytest.raises(DataError) as caught:
        import_files([str(bad), str(alone), "gone.csv"], folder)
    assert caught.value.problems == (
        "gone.csv: no such file",
        f"{bad}: line 1 (2024-01-01 00:00): high 8.0 is below low 9.0",
        f"{alone}: one bar alone does not tell its interval; name the file `ETHUSDT-1m.csv`",
    )
    assert not folder.exists()


def test_import_would_replace_a_panel_refuses(maker, folder):
    folder.mkdir(parents=True)
    lines = ["symbol,open_time,open,high,low,close,volume"]
    lines += [f"{s},{START + i * MINUTE},10,12,9,11,5" for i in range(3) for s in ("AAAUSDT", "BBBUSDT")]
    panel = maker.text("panel.csv", lines)
    import_files([str(panel)], folder)
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(panel), folder / "AAAUSDT-1m.parquet")
    with pytest.raises(DataError, match=r"AAAUSDT-1m\.parquet: holds several symbols and would be replaced by AAAUSDT"):
        import_files([str(panel)], folder)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_import_into_a_place_that_is_no_folder_is_refused(maker, tmp_path):
    (tmp_path / "file").write_text("x")
    path = maker.parquet("BTCUSDT-1m.parquet", maker.candles(5))
    with pytest.raises(DataError, match=r"file/data: cannot be written: Not a directory"):
        import_files([str(path)], tmp_path / "file" / "data")


def test_import_on_a_full_disk_leaves_the_old_file(maker, folder, monkeypatch):
    import_files([str(maker.parquet("BTCUSDT-1m-a.parquet", maker.candles(50)))], folder)
    before = (folder / "BTCUSDT-1m.parquet").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slt.candles.folder.os.fsync", full)
    more = maker.folder / "more"
    more.mkdir()
    monkeypatch.setattr(maker, "folder", more)
    with monkeypatch.context() as patch:
        patch.setattr("slt.candles.folder.os.fsync", lambda _: None)
        path = maker.parquet("BTCUSDT-1m-b.parquet", maker.candles(80))
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        import_files([str(path)], folder)
    assert [p.name for p in folder.iterdir()] == ["BTCUSDT-1m.parquet"]
    assert (folder / "BTCUSDT-1m.parquet").read_bytes() == before


def test_list_names_series_and_broken_files(maker, folder):
    candles = maker.candles([0, 1, 2, 3, 8, 9])
    import_files([str(maker.parquet("BTCUSDT-1m-a.parquet", candles))], folder)
    (folder / "ETHUSDT-1m.parquet").write_bytes(b"nothing")
    (row,), (problem,) = list_folder(folder)
    assert (row.symbol, row.interval_ms, row.bars, row.first, row.last) == (
        "BTCUSDT",
        MINUTE,
        6,
        START,
        START + 9 * MINUTE,
    )
    assert row.missing_share == pytest.approx(0.4)
    assert row.has_taker_volume
    assert problem.startswith(f"{folder / 'ETHUSDT-1m.parquet'}: cannot be read as Parquet")
    with pytest.raises(DataError, match="gone: no such folder"):
        list_folder(folder / "gone")


def test_write_keeps_row_groups_small_and_rows_whole(maker):
    import pyarrow.parquet as pq

    rows = 20_000
    values = np.ones((6, rows))
    candles = Candles(START + MINUTE * np.arange(rows), values)
    path = maker.parquet("BTCUSDT-1m.parquet", candles)
    meta = pq.read_metadata(path)
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [8_192, 8_192, 3_616]
    np.testing.assert_array_equal(read_candles(path).open_time, candles.open_time)


def test_importing_the_package_loads_no_arrow():
    code = "import sys, slt.candles; sys.exit(any(name.split('.')[0] == 'pyarrow' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
