from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.lifecycle import CrashGuard

NOW = 1_746_057_600_000


@pytest.fixture
def guard(tmp_path):
    return CrashGuard(tmp_path / "state" / "starts.json")


def crash(guard, times, *, apart_ms=1000, now=NOW):
    """Start and crash again and again; gives the delay that each start was told."""
    delays = []
    for _ in range(times):
        guard.record_start(now)
        delays.append(guard.delay_seconds(now))
        now += apart_ms + int(delays[-1] * 1000)
    return delays


def test_crash_guard_three_starts_in_five_minutes_are_free(guard):
    assert crash(guard, 3) == [0.0, 0.0, 0.0]


def test_crash_guard_delay_grows_to_the_longest(guard):
    assert crash(guard, 12) == [0.0, 0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0, 60.0]


def test_crash_guard_clean_stop_begins_anew(guard):
    crash(guard, 6)
    guard.mark_clean()
    assert crash(guard, 3, now=NOW + 60_000) == [0.0, 0.0, 0.0]


def test_crash_guard_rare_crashes_are_never_delayed(guard):
    assert crash(guard, 20, apart_ms=101_000) == [0.0] * 20


def test_crash_guard_quiet_time_begins_anew(guard):
    crash(guard, 8)
    assert crash(guard, 2, now=NOW + 3_600_000) == [0.0, 0.0]


def test_crash_guard_window_edge_is_outside(guard):
    for start in (0, 1, 2):
        guard.record_start(NOW + start)
    guard.record_start(NOW + 300_000)
    assert guard.delay_seconds(NOW + 300_000) == 0.0
    guard.record_start(NOW + 300_000)
    assert guard.delay_seconds(NOW + 300_000) == 5.0


def test_crash_guard_clock_set_back_forgets_the_future(guard):
    crash(guard, 8)
    assert crash(guard, 3, now=NOW - 86_400_000) == [0.0, 0.0, 0.0]


def test_crash_guard_remembers_over_processes(tmp_path):
    path = tmp_path / "starts.json"
    for n in range(4):
        CrashGuard(path).record_start(NOW + n)
    assert CrashGuard(path).delay_seconds(NOW + 4) == 5.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"starts": 3, "level": 1}',
        b'{"starts": ["a"], "level": 1}',
        b'{"starts": []}',
        b'{"starts": [true], "level": 1}',
        b'{"starts": [1], "level": null}',
        b"[" * 100_000,
    ],
)
def test_crash_guard_corrupt_file_counts_as_empty_and_heals(tmp_path, caplog, content):
    path = tmp_path / "starts.json"
    path.write_bytes(content)
    guard = CrashGuard(path)
    guard.record_start(NOW)
    assert guard.delay_seconds(NOW) == 0.0
    assert "counts as empty" in caplog.text
    assert json.loads(path.read_bytes()) == {"starts": [NOW], "level": 0}


@given(st.binary(max_size=60))
def test_crash_guard_no_file_content_raises(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("guard") / "starts.json"
    path.write_bytes(content)
    guard = CrashGuard(path)
    assert 0.0 <= guard.delay_seconds(NOW) <= 60.0
    guard.record_start(NOW)


def test_crash_guard_file_that_cannot_be_written_does_not_keep_from_starting(tmp_path, caplog):
    (tmp_path / "blocked").write_text("a file, not a folder")
    guard = CrashGuard(tmp_path / "blocked" / "starts.json")
    guard.record_start(NOW)
    assert guard.delay_seconds(NOW) == 0.0
    assert "cannot be written" in caplog.text


def test_crash_guard_failed_write_keeps_the_old_file_and_leaves_no_other(guard, tmp_path, monkeypatch, caplog):
    guard.record_start(NOW)
    before = (tmp_path / "state" / "starts.json").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    guard.record_start(NOW + 1)
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["starts.json"]
    assert (tmp_path / "state" / "starts.json").read_bytes() == before
    assert "No space left on device" in caplog.text
