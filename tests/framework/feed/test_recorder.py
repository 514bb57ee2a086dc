"""Recordings: what goes in comes out, in files that rotate, up to wherever a crash has torn them."""

from __future__ import annotations

import asyncio
import errno

import pytest

from slt.config import FeedConfig
from slt.errors import DataError
from slt.feed import FrameReader, Recorder, make_recorder, open_recording, read_waves

HOUR = 3_600_000


async def record(folder, frames, rotate=1 << 20, about=None):
    recorder = Recorder(folder, "words", rotate)
    recorder.begin(about or {"symbols": ["A"]})
    task = asyncio.create_task(recorder.run())
    for connection, time, frame in frames:
        recorder.add(recorder.connection(connection), time, frame)
        if rotate < 1 << 20:
            recorder._is_asked.set()
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return recorder


async def test_recording_gives_back_every_frame_in_order(tmp_path):
    frames = [(f"c{i % 3}", 1_000 + i, bytes([i % 256]) * (i * 7 % 400)) for i in range(2_000)]
    await record(tmp_path / "r", frames)
    recording = open_recording(tmp_path / "r")
    assert [(c, t, f) for t, c, f in recording.frames()] == frames
    assert recording.about == {"format": 1, "feed": "words", "symbols": ["A"]}
    assert recording.problems == []
    assert list(recording.frames()) == list(recording.frames()), "it can be read again"


async def test_recording_goes_on_in_a_new_file_by_size_and_by_hour(tmp_path):
    import random

    frames = [("c", i, random.Random(i).randbytes(600)) for i in range(1, 9)]
    frames += [("c", HOUR + 5, b"next hour"), ("d", HOUR + 6, b"same hour")]
    await record(tmp_path / "r", frames, rotate=1_000)
    recording = open_recording(tmp_path / "r")
    assert len(recording.files) >= 4
    assert [(c, t, f) for t, c, f in recording.frames()] == frames
    alone = open_recording(recording.files[-1])
    assert [f for _, _, f in alone.frames()] == [b"next hour", b"same hour"]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.77, 0.99])
async def test_torn_recording_is_read_to_the_last_whole_frame(tmp_path, share):
    import random

    dice = random.Random(3)
    frames = [("c", 1_000 + i, dice.randbytes(300)) for i in range(3_000)]
    await record(tmp_path / "r", frames)
    (path,) = open_recording(tmp_path / "r").files
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    recording = open_recording(tmp_path / "r")
    found = [(c, t, f) for t, c, f in recording.frames()]
    assert found == frames[: len(found)]
    assert len(found) >= 3_000 * share - 1_400, "blocks of zstandard hold 128 KiB"
    assert len(recording.problems) == 1
    assert "torn at its end" in recording.problems[0]


async def test_damaged_recording_is_read_up_to_the_damage(tmp_path):
    await record(tmp_path / "r", [("c", i, b"%d" % i * 40) for i in range(1, 200)])
    (path,) = open_recording(tmp_path / "r").files
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)
    recording = open_recording(tmp_path / "r")
    list(recording.frames())
    assert "damaged" in recording.problems[0]


async def test_recorder_disk_full_ends_the_recording_and_nothing_else(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    recorder = Recorder(tmp_path / "r", "words", 1 << 20)
    monkeypatch.setattr(recorder, "_write", full)
    recorder.begin({})
    task = asyncio.create_task(recorder.run())
    recorder.add(recorder.connection("c"), 1, b"x")
    await asyncio.sleep(1.2)
    assert task.done()
    assert task.exception() is None
    assert recorder.is_broken
    assert "recording ended" in caplog.text
    recorder.add(0, 2, b"y")
    assert recorder._parts == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "holds no recording"), (b"", "no file of it holds a whole record"), (b"rubbish", "no file of it holds")],
)
def test_open_recording_without_one_says_so(tmp_path, content, words):
    if content is not None:
        (tmp_path / "frames-000001.zst").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_recording(tmp_path)


async def test_open_recording_of_another_format_says_so(tmp_path):
    recorder = Recorder(tmp_path / "r", "words", 1 << 20)
    recorder.begin({"format": 99})
    task = asyncio.create_task(recorder.run())
    recorder.add(recorder.connection("c"), 1, b"x")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(DataError, match="recorded in format 99, this version reads 1"):
        open_recording(tmp_path / "r")


async def test_read_waves_recording_that_does_not_tell_its_market_says_so(tmp_path):
    await record(tmp_path / "r", [("c", 1, b"x")])
    with pytest.raises(DataError, match="does not tell its interval_ms, streams, deadline_ms, clock"):
        list(read_waves(open_recording(tmp_path / "r"), FrameReader(None, None)))


def test_make_recorder_only_where_it_is_wanted(tmp_path):
    assert make_recorder(FeedConfig(), "binance", 0) is None
    recorder = make_recorder(FeedConfig(record=True, record_folder=str(tmp_path)), "binance", 1_700_000_000_123)
    assert recorder.folder == tmp_path / "binance-20231114T221320-123"
    assert not recorder.folder.exists()
