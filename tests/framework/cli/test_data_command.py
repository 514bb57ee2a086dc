"""``slt data``: candle files brought in, listed and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

START, MINUTE_MS = 1_704_067_200_000, 60_000


@pytest.fixture
def csv(slt):
    """A CSV file of 30 good candles in the empty folder of the test."""
    del slt  # it has changed the working directory
    rows = [f"{START + i * MINUTE_MS},100,101,99,100.5,10" for i in range(30)]
    path = Path("BTCUSDT-1m.csv")
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *rows, ""]))
    return path


def test_data_import_twice_changes_nothing_the_second_time(slt, csv):
    target = Path("data") / "BTCUSDT-1m.parquet"
    assert slt("data", "import", str(csv)) == (0, f"{target}: BTCUSDT 1m, 30 bars, 30 new\n", "")
    before = target.read_bytes()
    assert slt("data", "import", str(csv)) == (0, f"{target}: BTCUSDT 1m, 30 bars, 0 new\n", "")
    assert target.read_bytes() == before


def test_data_list_shows_what_the_folder_holds(slt, csv):
    slt("data", "import", str(csv), "--folder", "my")
    code, out, err = slt("data", "list", "--folder", "my")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "symbol\tinterval\tbars\tfirst (UTC)\tlast (UTC)\tmissing\ttaker volume",
        "BTCUSDT\t1m\t30\t2024-01-01 00:00\t2024-01-01 00:29\t0.00%\tno",
    ]


def test_data_list_shows_the_good_files_and_tells_the_bad_ones(slt, csv):
    slt("data", "import", str(csv))
    Path("data/ETHUSDT-1m.parquet").write_bytes(b"no parquet")
    code, out, err = slt("data", "list")
    assert code == 2
    assert "BTCUSDT\t1m\t30" in out
    assert err.startswith("slt: data/ETHUSDT-1m.parquet: ")


def test_data_check_good_file_is_counted(slt, csv):
    assert slt("data", "check", str(csv)) == (0, "1 file, 30 bars: fine\n", "")


def test_data_import_of_bad_candles_writes_nothing(slt, csv):
    csv.write_text(csv.read_text().replace(",101,", ",98,"))
    code, out, err = slt("data", "import", str(csv))
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "slt: BTCUSDT-1m.csv: line 2 (2024-01-01 00:00): high 98.0 is below low 99.0"
    assert not list(Path("data").glob("*.parquet"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["list"], "data: no such folder"),
        (["check", "gone.csv"], "gone.csv: no such file"),
        (["import", "gone.csv"], "gone.csv: no such file"),
        (["check"], "Missing argument 'SOURCES...'; see `slt data check --help`"),
    ],
)
def test_data_command_without_data_says_what_is_missing(slt, arguments, line):
    assert slt("data", *arguments) == (2, "", f"slt: {line}\n")
