from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from slt.errors import SltError
from slt.report import render_html, write_report


class TestWriteReport:
    def test_write_report_new_folder_gives_the_whole_page(self, data, tmp_path):
        path = write_report(tmp_path / "reports" / "demo.html", data)
        assert path == tmp_path / "reports" / "demo.html"
        assert path.read_bytes() == render_html(data).encode()
        assert [p.name for p in path.parent.iterdir()] == ["demo.html"]

    def test_write_report_again_replaces_with_equal_bytes(self, data, tmp_path):
        path = tmp_path / "demo.html"
        path.write_text("old")
        first = write_report(str(path), data).read_bytes()
        assert write_report(path, data).read_bytes() == first

    def test_write_report_relative_path_gives_an_absolute_one(self, empty_data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert write_report("demo.html", empty_data) == tmp_path / "demo.html"

    def test_write_report_disk_full_keeps_the_old_file_and_says_what_to_do(self, empty_data, tmp_path, monkeypatch):
        path = tmp_path / "demo.html"
        path.write_text("old")

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("slt.report.writer.os.fsync", full)
        with pytest.raises(SltError) as caught:
            write_report(path, empty_data)
        assert str(caught.value) == (
            f"cannot write the report `{path}`: No space left on device; the run's results are kept in the storage: "
            f"free some space in `{tmp_path}` or choose another place, then run `slt report demo-2`"
        )
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["demo.html"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
    def test_write_report_real_full_device_is_one_clear_line(self, empty_data, tmp_path):
        (tmp_path / ".demo.html.part").symlink_to("/dev/full")
        with pytest.raises(SltError, match="No space left on device"):
            write_report(tmp_path / "demo.html", empty_data)
        assert list(tmp_path.iterdir()) == []

    def test_write_report_folder_in_the_way_leaves_nothing_behind(self, empty_data, tmp_path):
        (tmp_path / "demo.html").mkdir()
        with pytest.raises(SltError, match=r"cannot write the report `.*demo\.html`.*choose a place"):
            write_report(tmp_path / "demo.html", empty_data)
        assert [p.name for p in tmp_path.iterdir()] == ["demo.html"]

    def test_write_report_file_where_a_folder_should_be_is_one_clear_line(self, empty_data, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SltError, match=r"cannot write the report .*run `slt report demo-2`"):
            write_report(tmp_path / "file" / "demo.html", empty_data)
