"""From a live feed's frames to bars: connections, queues, liveness, waves, recordings."""

from __future__ import annotations

from slt.feed.recorder import Recorder, Recording, make_recorder, open_recording
from slt.feed.replay import FrameReader, read_waves, reader_of
from slt.feed.status import ConnectionStatus, FeedStatus
from slt.feed.waves import COUNTERS, Waves

__all__ = [
    "COUNTERS",
    "ConnectionStatus",
    "FeedStatus",
    "FrameReader",
    "Recorder",
    "Recording",
    "Waves",
    "make_recorder",
    "open_recording",
    "read_waves",
    "reader_of",
]
