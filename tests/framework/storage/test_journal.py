"""The journal under use, crashes, damage and a refusing disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slt.errors import ConfigError
from slt.storage.journal import Journal
from slt.testing.storage import RECORD_KINDS, canonical, make_record, records
from slt.types import Trade


def trades(*numbers):
    return [make_record(Trade, number) for number in numbers]


_OPENED = []


@pytest.fixture(autouse=True)
def _close_journals():
    yield
    while _OPENED:
        _OPENED.pop().close()


def opened(folder, **options):
    journal = Journal(folder, **options)
    journal.open()
    _OPENED.append(journal)
    return journal


def segments(folder):
    return sorted(folder.glob("*.journal"))


@settings(deadline=None, max_examples=30)
@given(batches=st.lists(st.lists(st.one_of(*(records(kind) for kind in RECORD_KINDS)), max_size=3), max_size=5))
def test_replay_after_reopen_gives_every_record_exactly_in_order(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("journal")
    journal = opened(folder, segment_bytes=500)
    for batch in batches:
        journal.append(batch)
    journal.close()

    found = list(opened(folder).replay())

    assert [canonical(one) for one in found] == [canonical(one) for batch in batches for one in batch]


def test_append_returns_rising_positions_that_go_on_after_reopen(tmp_path):
    journal = opened(tmp_path)
    assert journal.append(trades(1, 2)) == 2
    assert journal.append(trades(3)) == 3
    journal.close()

    again = opened(tmp_path)

    assert again.position == 3
    assert again.append(trades(4)) == 4
    assert list(again.replay()) == trades(1, 2, 3, 4)


def test_acknowledge_leaves_only_what_follows_and_survives_reopen(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2, 3))
    journal.acknowledge(2)

    assert list(journal.replay()) == trades(3)
    journal.close()
    assert list(opened(tmp_path).replay()) == trades(3)


def test_acknowledge_all_then_reopen_deletes_segments_and_keeps_counting(tmp_path):
    journal = opened(tmp_path)
    journal.acknowledge(journal.append(trades(1, 2, 3)))
    journal.close()

    again = opened(tmp_path)

    assert segments(tmp_path) == []
    assert again.append(trades(4)) == 4
    assert list(again.replay()) == trades(4)


def test_acknowledge_older_position_changes_nothing(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2, 3))
    journal.acknowledge(2)
    journal.acknowledge(1)

    assert journal.acknowledged == 2


def test_segments_rotate_at_their_size_and_go_when_acknowledged(tmp_path):
    journal = opened(tmp_path, segment_bytes=1)
    for number in range(1, 6):
        journal.append(trades(number))
    assert len(segments(tmp_path)) == 5

    journal.acknowledge(3)

    assert len(segments(tmp_path)) == 2
    assert list(journal.replay()) == trades(4, 5)


def test_read_in_pieces_goes_over_segments_and_sees_later_appends(tmp_path):
    journal = opened(tmp_path, segment_bytes=900)
    journal.append(trades(*range(10)))
    for number in range(10, 20):
        journal.append(trades(number))

    found, after = [], 0
    while rows := journal.read(after, 3):
        found += [record for _, record in rows]
        after = rows[-1][0]

    assert found == trades(*range(20))
    journal.append(trades(20))
    assert journal.read(after, 3) == [(21, trades(20)[0])]


@pytest.mark.parametrize("cut", [1, 5, 40, 120])
def test_open_torn_last_line_is_dropped_and_reported(tmp_path, cut):
    journal = opened(tmp_path)
    journal.append(trades(1, 2, 3))
    journal.close()
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-cut])

    again = opened(tmp_path)

    assert list(again.replay()) == trades(1, 2)
    assert again.append(trades(4)) == 3
    assert len(again.problems) == 1
    assert "torn by a crash" in again.problems[0]


def test_open_tail_of_zeros_after_power_cut_is_dropped(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2))
    journal.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))

    again = opened(tmp_path)

    assert list(again.replay()) == trades(1, 2)
    assert "4096 bytes dropped" in again.problems[0]


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_open_any_flipped_byte_loses_at_most_its_line_and_invents_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    journal = opened(folder)
    journal.append(trades(1, 2, 3, 4))
    journal.close()
    path = segments(folder)[0]
    content = bytearray(path.read_bytes())
    header = content.index(b"\n") + 1
    index = data.draw(st.integers(header, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    found = list(opened(folder).replay())

    assert all(record in trades(1, 2, 3, 4) for record in found)
    # A damaged line end joins two lines, so up to two records can go.
    assert len(found) >= 2


def test_open_damage_in_the_middle_keeps_the_rest_and_the_file_aside(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2, 3))
    journal.close()
    path = segments(tmp_path)[0]
    content = path.read_bytes()
    second = content.index(b"\n2 ") + 30
    path.write_bytes(content[:second] + b"#" + content[second + 1 :])

    again = opened(tmp_path)

    assert list(again.replay()) == trades(1, 3)
    assert "a damaged line" in again.problems[0]
    again.acknowledge(3)
    assert [path.name for path in tmp_path.glob("*.damaged")] == [f"{1:020d}.damaged"]


def test_open_damaged_acknowledgement_replays_everything(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2))
    journal.acknowledge(1)
    journal.close()
    (tmp_path / "acknowledged").write_bytes(b"garbage")

    again = opened(tmp_path)

    assert list(again.replay()) == trades(1, 2)
    assert "`acknowledged` is damaged" in again.problems[0]


def test_open_record_of_unreadable_version_is_left_out_and_set_aside(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1, 2))
    journal.close()
    path = segments(tmp_path)[0]
    text = path.read_bytes()
    header, rest = text.split(b"\n", 1)
    from slt.storage._frames import make_frame

    path.write_bytes(header + b"\n" + rest + make_frame(3, '["Trade","too few"]') + make_frame(4, "[]"))

    again = opened(tmp_path)

    assert list(again.replay()) == trades(1, 2)
    assert "record 3 left out" in again.problems[0]
    again.acknowledge(4)
    assert len(list(tmp_path.glob("*.damaged"))) == 1


@pytest.mark.parametrize(("policy", "count"), [("always", 3), ("interval", 1), ("never", 0)])
def test_append_syncs_as_the_policy_says(tmp_path, monkeypatch, policy, count):
    now = [0.0]
    journal = opened(tmp_path, sync=policy, sync_seconds=10.0, clock=lambda: now[0])
    journal.append(trades(0))
    journal.sync()
    calls = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), fsync(handle)))

    for number, time in enumerate((1.0, 5.0, 10.0)):
        now[0] = time
        journal.append(trades(number))

    assert len(calls) == count
    assert journal.synced == (4 if count else 1)


def test_sync_makes_everything_appended_safe_once(tmp_path, monkeypatch):
    journal = opened(tmp_path, sync="never")
    journal.append(trades(1, 2))
    assert journal.synced == 0
    assert journal.sync() == 2
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)

    assert journal.sync() == 2
    assert calls == []


def test_append_on_full_disk_raises_and_leaves_no_half_record(tmp_path, monkeypatch):
    journal = opened(tmp_path, sync="never")
    journal.append(trades(1))
    write = Journal._write

    def half(self, data):
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "_write", half)
    with pytest.raises(OSError, match="No space left"):
        journal.append(trades(2, 3))
    monkeypatch.setattr(Journal, "_write", write)

    assert journal.position == 1
    assert journal.append(trades(2, 3)) == 3
    assert journal.sync() == 3
    journal.close()
    again = opened(tmp_path)
    assert list(again.replay()) == trades(1, 2, 3)
    assert again.problems == []


def test_append_failing_fsync_takes_the_batch_back(tmp_path, monkeypatch):
    journal = opened(tmp_path, sync="always")
    journal.append(trades(1))

    def refuse(_handle):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            journal.append(trades(2))

    assert journal.append(trades(3)) == 2
    assert list(journal.replay()) == trades(1, 3)


def test_open_unknown_policy_raises_config_error(tmp_path):
    with pytest.raises(ConfigError, match="sync is `sometimes`; allowed are always, interval, never"):
        Journal(tmp_path, sync="sometimes").open()


def test_open_folder_that_cannot_be_made_raises_config_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError, match="cannot be used"):
        Journal(tmp_path / "file" / "journal").open()


def test_skip_leaves_a_hole_that_reading_passes_over(tmp_path):
    journal = opened(tmp_path)
    journal.append(trades(1))
    journal.skip(2)
    assert journal.append(trades(4)) == 4
    journal.close()

    again = opened(tmp_path)

    assert [position for position, _ in again.read(0, 10)] == [1, 4]


def test_append_and_read_from_several_threads_lose_nothing(tmp_path):
    journal = opened(tmp_path, sync="never", segment_bytes=5000)
    seen = []

    def write():
        for number in range(200):
            journal.append(trades(number))

    def read():
        after = 0
        while len(seen) < 400:
            for position, record in journal.read(after, 7):
                after = position
                seen.append(record)

    threads = [threading.Thread(target=work) for work in (write, write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(seen) == 400
    assert sorted(record.id for record in seen) == sorted(record.id for record in trades(*range(200)) * 2)


def test_killed_process_leaves_every_appended_record(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from slt.storage.journal import Journal
from slt.testing.storage import make_record
from slt.types import Trade
journal = Journal(Path(sys.argv[1]), sync="never")
journal.open()
for number in range(100):
    journal.append([make_record(Trade, number)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)

    assert done.returncode == -9
    assert list(opened(tmp_path).replay()) == trades(*range(100))
