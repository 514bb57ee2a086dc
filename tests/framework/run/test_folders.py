"""Folders of runs: numbers, resuming, locks; and snapshots that are whole or refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import pytest

from slt.errors import ConfigError, SltError, StoppedError
from slt.run.folders import check_root, open_folder
from slt.run.snapshots import load_snapshot, save_snapshot

ONE, OTHER = "[risk]\nmax_positions = 1\n[run]\nseed = 1\n", "[risk]\nmax_positions = 2\n[run]\nseed = 3\n"


@pytest.fixture
def open_run(tmp_path):
    """Open the folder of a run named `t`; those not released are released at the end."""
    opened = []

    def open_run(identity=ONE, *, stored=(), is_fresh=False, has_begun=True):
        folder = open_folder(tmp_path, "t", f"# shown\n{identity}", identity, stored, is_fresh=is_fresh)
        if has_begun:
            folder.snapshot.touch()
        opened.append(folder)
        return folder

    yield open_run
    for folder in opened:
        folder.release()


def test_open_folder_first_run_has_number_one_and_keeps_its_config(open_run):
    folder = open_run()
    assert (folder.run_id, folder.is_resumed) == ("t-001", False)
    assert (folder.path / "config.toml").read_text() == f"# shown\n{ONE}"
    assert json.loads((folder.path / "state.json").read_text()) == {"status": "running", "identity": ONE}


def test_open_folder_unfinished_run_of_the_same_identity_goes_on(open_run):
    open_run().release()
    folder = open_run()
    assert (folder.run_id, folder.is_resumed) == ("t-001", True)


@pytest.mark.parametrize("is_fresh", [False, True])
@pytest.mark.parametrize("identity", [ONE, OTHER])
def test_open_folder_run_that_never_began_gives_its_number_back(open_run, identity, is_fresh):
    open_run(has_begun=False).release()
    folder = open_run(identity, is_fresh=is_fresh)
    assert (folder.run_id, folder.is_resumed) == ("t-001", False)
    assert json.loads((folder.path / "state.json").read_text())["identity"] == identity


def test_open_folder_finished_run_is_followed_by_the_next_number(open_run):
    folder = open_run()
    folder.finish()
    folder.release()
    assert not folder.snapshot.exists()
    assert open_run().run_id == "t-002"


def test_open_folder_fresh_leaves_the_unfinished_run_alone(open_run):
    first = open_run()
    first.release()
    assert open_run(is_fresh=True).run_id == "t-002"
    assert first.snapshot.exists()


def test_open_folder_other_identity_is_a_new_run(open_run):
    open_run().release()
    folder = open_run(OTHER)
    assert (folder.run_id, folder.is_resumed) == ("t-002", False)


@pytest.mark.parametrize("stored", [["t-007", "t-012", "u-099", "t-x"], ["t-012"]])
def test_open_folder_takes_no_number_that_the_storage_knows(open_run, stored):
    assert open_run(stored=stored).run_id == "t-013"


def test_open_folder_beyond_a_thousand_runs_goes_on_counting(open_run, tmp_path):
    (tmp_path / "t-999").mkdir()
    assert open_run().run_id == "t-1000"
    (tmp_path / "t-1000" / "state.json").write_text("{}")
    assert open_run().run_id == "t-1001"


@pytest.mark.parametrize("name", ["t-01", "t-abc", "t-001-old", "tt-005", "t-004.txt"])
def test_open_folder_other_folders_do_not_count(open_run, tmp_path, name):
    (tmp_path / name).mkdir()
    assert open_run().run_id == "t-001"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": 5}'])
def test_open_folder_unreadable_state_is_no_run_to_resume(open_run, text, caplog):
    folder = open_run()
    folder.release()
    (folder.path / "state.json").write_text(text)
    assert open_run().run_id == "t-002"
    told = [record for record in caplog.records if "left as it is, and a new one begins" in record.getMessage()]
    assert len(told) == (not text.endswith("5}"))


def test_open_folder_of_a_run_under_way_is_refused_unless_it_is_to_be_another(open_run):
    open_run()
    with pytest.raises(ConfigError) as caught:
        open_run()
    assert str(caught.value) == (
        "run `t-001` of this configuration is under way in another process; wait for its end, or begin another with "
        "--fresh"
    )
    assert open_run(OTHER).run_id == "t-002"
    assert open_run(is_fresh=True).run_id == "t-003"


def test_open_folder_lock_ends_with_the_process_that_had_it(open_run, tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from slt.run.folders import open_folder\n"
        f"f = open_folder(Path({str(tmp_path)!r}), 't', '', {ONE!r}, (), is_fresh=False); f.snapshot.touch()\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert open_run().is_resumed


def test_check_root_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        check_root(tmp_path / "file" / "runs")
    assert str(caught.value) == (
        f"run.folder: `{tmp_path}/file/runs` cannot be written: Not a directory; choose another folder, free space or "
        "change its permissions"
    )


def test_check_root_leaves_nothing_behind(tmp_path):
    check_root(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_check_root_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        check_root(tmp_path)


def test_snapshot_read_back_is_what_was_saved(tmp_path):
    path = tmp_path / "snapshot.bin"
    assert load_snapshot(path) is None
    save_snapshot(path, {"a": [1, 2.5, "x"]})
    save_snapshot(path, {"a": [3]})
    assert load_snapshot(path) == {"a": [3]}
    assert [p.name for p in tmp_path.iterdir()] == ["snapshot.bin"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:20] + b"x" + b[21:], lambda b: b + b"x"]
)
def test_snapshot_damaged_is_refused_with_what_to_do(tmp_path, damage):
    path = tmp_path / "snapshot.bin"
    save_snapshot(path, {"a": list(range(100))})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SltError) as caught:
        load_snapshot(path)
    assert str(caught.value) == f"snapshot `{path}` is damaged; begin a new run with --fresh"


class Vanishing:
    """A class that the version which reads no longer has."""


def test_snapshot_of_another_version_is_refused_with_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "snapshot.bin"
    monkeypatch.setitem(sys.modules, "slt_gone", type(sys)("slt_gone"))
    monkeypatch.setattr(Vanishing, "__module__", "slt_gone")
    sys.modules["slt_gone"].Vanishing = Vanishing
    save_snapshot(path, {"a": Vanishing()})
    monkeypatch.delitem(sys.modules, "slt_gone")
    with pytest.raises(SltError) as caught:
        load_snapshot(path)
    assert str(caught.value) == (
        f"snapshot `{path}` was made by another version of slt or of a plugin (ModuleNotFoundError: No module named "
        "'slt_gone'); begin a new run with --fresh, or resume it with that version"
    )


def test_snapshot_that_cannot_be_pickled_names_the_cause(tmp_path):
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        save_snapshot(tmp_path / "snapshot.bin", {"a": lambda: None})
    assert list(tmp_path.iterdir()) == []


def test_run_with_the_snapshot_of_another_version_is_refused_with_what_to_do(runner):
    settings = runner.settings(run={"block_bars": 60})
    with pytest.raises(StoppedError):
        runner.run(settings, stop_after=3)
    path = runner.assembly.folder.snapshot
    state = load_snapshot(path)
    save_snapshot(path, {key: state[key] for key in state.keys() - {"engine"}})
    with pytest.raises(SltError) as caught:
        runner.run(settings)
    assert str(caught.value) == (
        "the snapshot of run t-001 does not fit this version of slt or of a plugin (KeyError: 'engine'); begin a new "
        "run with --fresh, or resume it with the version that made it"
    )
    assert runner.run(settings, is_fresh=True).summary.run_id == "t-002"
