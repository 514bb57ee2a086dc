"""The exchange's archive, fetched from a real local server that breaks off, refuses, lies and forgets."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from slt.candles.archive import ArchiveRequest, download_archive, plan_archive
from slt.cli.data import data
from slt.errors import DataError

ROOT = "/data/futures/um"


class Archive:
    """What the server has, by path, and how it misbehaves: a list of faults a path, one for each request."""

    def __init__(self):
        self.files, self.faults, self.asked, self.ranges = {}, {}, Counter(), []

    def add(self, path, content, *, checksum=True):
        self.files[path] = content
        if checksum:
            digest = hashlib.sha256(content).hexdigest()
            self.files[f"{path}.CHECKSUM"] = f"{digest}  {path.rpartition('/')[2]}".encode()

    def add_klines(self, symbol, *moments, interval="1m", kind="klines", content=None):
        for moment in moments:
            period = "monthly" if len(moment) == 7 else "daily"
            path = f"{ROOT}/{period}/{kind}/{symbol}/{interval}/{symbol}-{interval}-{moment}.zip"
            self.add(path, content or f"{symbol} {moment} ".encode() * 50_000)


@pytest.fixture
def archive():
    state = Archive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            state.asked[self.path] += 1
            faults = state.faults.get(self.path, [])
            fault = faults.pop(0) if faults else ""
            content = state.files.get(self.path)
            if isinstance(fault, int):
                return self.answer(fault, b"")
            if content is None:
                return self.answer(404, b"no such key")
            wanted = self.headers.get("Range")
            if not wanted or fault == "no ranges":
                return self.answer(200, content, fault)
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            state.ranges.append((self.path, first))
            if first >= len(content):
                return self.answer(416, b"")
            return self.answer(206, content[first:], fault)

        def answer(self, status, content, fault=""):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if fault == "wrong":
                content = content[:-1] + b"?"
            self.wfile.write(content[: len(content) // 2] if fault == "break" else content)
            if fault == "break":
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    state.host = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def wanted(first="2024-01-30", last="2024-03-02", symbols=("BTCUSDT",), kind="klines", interval="1m"):
    return ArchiveRequest(
        symbols=symbols, kind=kind, interval=interval, first=date.fromisoformat(first), last=date.fromisoformat(last)
    )


def fetch(archive, folder, request=None, **options):
    done = download_archive(request or wanted(), folder, host=archive.host, wait_seconds=0.01, **options)
    return {one.file.name: one.status for one in done}


def file_path(moment, symbol="BTCUSDT"):
    period = "monthly" if len(moment) == 7 else "daily"
    return f"{ROOT}/{period}/klines/{symbol}/1m/{symbol}-1m-{moment}.zip"


NAMES = [f"BTCUSDT-1m-{m}.zip" for m in ("2024-01-30", "2024-01-31", "2024-02", "2024-03-01", "2024-03-02")]


def test_plan_takes_whole_months_and_single_days():
    plan = plan_archive(wanted())
    assert [file.name for file in plan] == NAMES
    assert plan[2].path == "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip"
    assert plan[0].path == "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-30.zip"
    assert len(plan[2].days) == 29
    assert plan[0].days == ()


def test_plan_of_funding_rates_has_months_only():
    plan = plan_archive(wanted(kind="fundingRate", last="2024-02-10"))
    assert [file.path for file in plan] == [
        f"data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-{month}.zip" for month in ("01", "02")
    ]


def test_download_brings_files_and_their_checksums_and_keeps_them(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-01-30", "2024-01-31", "2024-02", "2024-03-01", "2024-03-02")
    told = []
    assert fetch(archive, tmp_path, on_progress=lambda *t: told.append(t)) == dict.fromkeys(NAMES, "new")
    for name in NAMES:
        moment = name.removeprefix("BTCUSDT-1m-").removesuffix(".zip")
        assert (tmp_path / name).read_bytes() == archive.files[file_path(moment)]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".CHECKSUM"] * 5 + [".zip"] * 5
    assert told[-1][:2] == (5, 5)
    assert told[-1][2] == sum((tmp_path / name).stat().st_size for name in NAMES)
    asked = archive.asked.total()
    assert fetch(archive, tmp_path) == dict.fromkeys(NAMES, "kept")
    assert archive.asked.total() == asked, "what is here and right is not asked for again"


def test_download_month_that_is_not_published_comes_as_days(archive, tmp_path):
    days = [f"2024-02-{day:02d}" for day in range(1, 30) if day != 7]
    archive.add_klines("BTCUSDT", *days, content=b"x")
    found = fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert found == {f"BTCUSDT-1m-{d}.zip": "new" for d in days} | {"BTCUSDT-1m-2024-02-07.zip": "absent"}
    assert list(found) == sorted(found)


@pytest.mark.parametrize("fault", ["break", "wrong", 500, 503, 429])
def test_download_goes_on_after_a_fault(archive, tmp_path, fault):
    archive.add_klines("BTCUSDT", "2024-02")
    archive.faults[file_path("2024-02")] = [fault]
    request = wanted("2024-02-01", "2024-02-29")
    assert fetch(archive, tmp_path, request) == {"BTCUSDT-1m-2024-02.zip": "new"}
    content = archive.files[file_path("2024-02")]
    assert (tmp_path / "BTCUSDT-1m-2024-02.zip").read_bytes() == content
    assert archive.ranges == ([(file_path("2024-02"), len(content) // 2)] if fault == "break" else [])


def test_download_goes_on_where_an_earlier_run_broke_off(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02")
    content = archive.files[file_path("2024-02")]
    (tmp_path / "BTCUSDT-1m-2024-02.zip.part").write_bytes(content[:1_000])
    fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert archive.ranges == [(file_path("2024-02"), 1_000)]
    assert (tmp_path / "BTCUSDT-1m-2024-02.zip").read_bytes() == content
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("rest", [b"?" * 1_000, b"?" * 10_000_000], ids=["of another file", "longer than the file"])
def test_download_rest_that_does_not_fit_is_begun_anew(archive, tmp_path, rest):
    archive.add_klines("BTCUSDT", "2024-02")
    (tmp_path / "BTCUSDT-1m-2024-02.zip.part").write_bytes(rest)
    fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert (tmp_path / "BTCUSDT-1m-2024-02.zip").read_bytes() == archive.files[file_path("2024-02")]


def test_download_server_without_ranges_sends_everything_again(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02")
    archive.faults[file_path("2024-02")] = ["no ranges"]
    content = archive.files[file_path("2024-02")]
    (tmp_path / "BTCUSDT-1m-2024-02.zip.part").write_bytes(content[:1_000])
    fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert (tmp_path / "BTCUSDT-1m-2024-02.zip").read_bytes() == content


def test_download_file_that_was_damaged_here_is_fetched_again(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02")
    request = wanted("2024-02-01", "2024-02-29")
    fetch(archive, tmp_path, request)
    (tmp_path / "BTCUSDT-1m-2024-02.zip").write_bytes(b"damaged")
    assert fetch(archive, tmp_path, request) == {"BTCUSDT-1m-2024-02.zip": "new"}
    assert (tmp_path / "BTCUSDT-1m-2024-02.zip").read_bytes() == archive.files[file_path("2024-02")]


def test_download_file_that_never_fits_its_checksum_is_a_problem_and_not_kept(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02")
    archive.faults[file_path("2024-02")] = ["wrong"] * 9
    with pytest.raises(DataError, match=r"BTCUSDT-1m-2024-02.zip: has the sha256 \w{64}, its checksum says \w{64}"):
        fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert list(tmp_path.iterdir()) == []


def test_download_file_without_checksum_is_told_as_unverified(archive, tmp_path):
    archive.add(file_path("2024-02"), b"content", checksum=False)
    found = fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))
    assert found == {"BTCUSDT-1m-2024-02.zip": "unverified"}


def test_download_checksum_that_is_none_is_a_problem(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02")
    archive.files[f"{file_path('2024-02')}.CHECKSUM"] = b"<html>moved</html>"
    with pytest.raises(DataError, match="holds no sha256 but `'<html>moved</html>'`"):
        fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29"))


def test_download_every_file_that_fails_has_its_line(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-03-01", "2024-03-02")
    for moment in ("2024-03-01", "2024-03-02"):
        archive.faults[f"{file_path(moment)}.CHECKSUM"] = [500] * 99
    with pytest.raises(DataError) as caught:
        fetch(archive, tmp_path, wanted("2024-03-01", "2024-03-02"))
    assert len(caught.value.problems) == 2
    assert "2024-03-01.zip: the server answered 500, 6 times; run the same command again" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("http://127.0.0.1:1", "6 times; run the same command again"),
        ("ftp://somewhere", "`ftp://somewhere` is no address of an archive"),
    ],
)
def test_download_wrong_host_is_said(tmp_path, host, words):
    with pytest.raises(DataError, match=words):
        download_archive(wanted("2024-03-01", "2024-03-01"), tmp_path, host=host, wait_seconds=0.001)


def test_download_refusal_is_not_tried_again(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-03-01")
    archive.faults[f"{file_path('2024-03-01')}.CHECKSUM"] = [403]
    with pytest.raises(DataError, match="the server answered 403; check the host"):
        fetch(archive, tmp_path, wanted("2024-03-01", "2024-03-01"))
    assert archive.asked.total() == 1


def test_download_other_kinds_lie_in_a_folder_of_their_own(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-02", kind="markPriceKlines")
    fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29", kind="markPriceKlines"))
    assert (tmp_path / "markPriceKlines" / "BTCUSDT-1m-2024-02.zip").is_file()


def test_download_symbol_in_another_script(archive, tmp_path):
    from urllib.parse import quote

    archive.add(quote(file_path("2024-02", "币USDT")), b"content")
    found = fetch(archive, tmp_path, wanted("2024-02-01", "2024-02-29", symbols=("币USDT",)))
    assert found == {"币USDT-1m-2024-02.zip": "new"}


def test_command_downloads_and_says_what_is_not_there(archive, tmp_path):
    archive.add_klines("BTCUSDT", "2024-03-01")
    arguments = ["BTCUSDT", "--from", "2024-03-01", "--to", "2024-03-02", "--host", archive.host]
    done = CliRunner().invoke(data, ["download", *arguments, "--folder", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert done.output == ("BTCUSDT: 1 new, 1 absent, 0.9 MiB\nnot in the archive: BTCUSDT-1m-2024-03-02.zip\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "yesterday"], "`yesterday` is not a day"),
        (["--from", "2024-03-02", "--to", "2024-03-01"], "2024-03-01 lies before 2024-03-02"),
        ([], "--from"),
        (["--from", "2024-03-01", "--kind", "trades"], "markPriceKlines"),
    ],
)
def test_command_refuses(arguments, words):
    done = CliRunner().invoke(data, ["download", "BTCUSDT", *arguments])
    assert done.exit_code == 2
    assert words in done.output
