"""The session log on the disk: parts, torn ends, damage, a disk that refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from slt.errors import SltError
from slt.events import Tick
from slt.run import session_log
from slt.run.session_log import EntryKind, SessionLog, load_part, parts_of, read_entries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def log(tmp_path):
    made = SessionLog(tmp_path / "session", keep_seconds=3600.0)
    yield made
    made.close()


def folder_of(tmp_path) -> Path:
    return tmp_path / "session"


def contents(folder, number=1):
    return [(entry.kind, entry.content) for entry in read_entries(folder, number)]


async def test_entries_come_back_in_order_and_a_part_begins_with_its_snapshot(tmp_path, log):
    await log.begin_part({"a": 1})
    log.write(EntryKind.EVENT, Tick(5))
    log.write(EntryKind.COMMANDS, "one\ntwo")
    log.write(EntryKind.CLOSED, (7, 0))
    await log.durable(log.position)
    folder = folder_of(tmp_path)
    assert load_part(folder, 1) == {"a": 1}
    assert contents(folder) == [
        (EntryKind.EVENT, Tick(5)),
        (EntryKind.COMMANDS, "one\ntwo"),
        (EntryKind.CLOSED, (7, 0)),
    ]


async def test_finished_parts_are_compressed_read_alike_and_old_ones_deleted(tmp_path, log):
    folder = folder_of(tmp_path)
    for number in range(4):
        await log.begin_part({"number": number})
        log.write(EntryKind.EVENT, Tick(number))
    assert {path.suffix for path in folder.glob("000001.*")} == {".zst"}
    assert [load_part(folder, n)["number"] for n in parts_of(folder)] == [0, 1, 2, 3]
    assert contents(folder, 2) == [(EntryKind.EVENT, Tick(1))]
    for path in folder.iterdir():
        os.utime(path, (1.0, 1.0))
    await log.begin_part({"number": 4})
    assert parts_of(folder) == [4, 5], "the part before the current one stays"


@pytest.mark.parametrize("cut", [1, 8, 9, 20])
async def test_torn_end_is_left_out(tmp_path, log, cut):
    await log.begin_part({})
    log.write(EntryKind.EVENT, Tick(1))
    log.write(EntryKind.EVENT, Tick(2))
    log.close()
    path = folder_of(tmp_path) / "000001.log"
    path.write_bytes(path.read_bytes()[:-cut])
    assert contents(folder_of(tmp_path)) == [(EntryKind.EVENT, Tick(1))]


async def test_last_entry_of_rubbish_is_a_torn_end_too(tmp_path, log):
    await log.begin_part({})
    log.write(EntryKind.EVENT, Tick(1))
    log.write(EntryKind.EVENT, Tick(2))
    log.close()
    path = folder_of(tmp_path) / "000001.log"
    path.write_bytes(path.read_bytes()[:-3] + b"\0\0\0")
    assert contents(folder_of(tmp_path)) == [(EntryKind.EVENT, Tick(1))]


async def test_damage_in_the_middle_is_an_error_that_names_the_file(tmp_path, log):
    await log.begin_part({})
    for number in range(3):
        log.write(EntryKind.EVENT, Tick(number))
    log.close()
    path = folder_of(tmp_path) / "000001.log"
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 0xFF
    path.write_bytes(found)
    with pytest.raises(SltError, match=r"000001\.log` is damaged at byte"):
        contents(folder_of(tmp_path))


async def test_part_whose_snapshot_a_crash_prevented_has_none(tmp_path, log):
    await log.begin_part({})
    (folder_of(tmp_path) / "000001.snapshot").unlink()
    assert load_part(folder_of(tmp_path), 1) is None


def refuse(*_):
    raise OSError(28, "No space left on device")


async def test_disk_that_refuses_ends_the_log_and_not_the_run(tmp_path, log, monkeypatch):
    await log.begin_part({})
    monkeypatch.setattr(session_log, "_sync_all", refuse)
    log.write(EntryKind.EVENT, Tick(1))
    await log.durable(log.position)
    assert "No space left on device" in log.problem
    log.write(EntryKind.EVENT, Tick(2))
    await log.durable(log.position)
    assert contents(folder_of(tmp_path)) == [(EntryKind.EVENT, Tick(1))]


async def test_disk_that_is_well_again_takes_a_new_part_and_nothing_in_between(tmp_path, log, monkeypatch):
    await log.begin_part({"part": 1})
    with monkeypatch.context() as patched:
        patched.setattr(session_log, "_append", refuse)
        log.write(EntryKind.EVENT, Tick(1))
        assert "No space left on device" in log.problem
        await log.begin_part({"part": 2})
        assert "No space left on device" in log.problem
    log.write(EntryKind.EVENT, Tick(2))
    await log.begin_part({"part": 3})
    assert log.problem == ""
    log.write(EntryKind.EVENT, Tick(3))
    await log.durable(log.position)
    log.close()
    last = parts_of(folder_of(tmp_path))[-1]
    assert load_part(folder_of(tmp_path), last) == {"part": 3}
    assert [entry.content for entry in read_entries(folder_of(tmp_path), last)] == [Tick(3)]


async def test_new_life_begins_a_new_part_behind_those_found(tmp_path, log):
    await log.begin_part({})
    log.close()
    again = SessionLog(folder_of(tmp_path), keep_seconds=3600.0)
    await again.begin_part({"life": 2})
    again.close()
    assert parts_of(folder_of(tmp_path)) == [1, 2]
    assert load_part(folder_of(tmp_path), 2) == {"life": 2}
