"""From a recording to the waves that were cut when it was made: the same sorting, decoding and cutting as live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from slt._binding import bind_hooks
from slt._markers import PROJECT_NAME
from slt.errors import DataError
from slt.feed.intake import Intake
from slt.feed.waves import Waves
from slt.hookspecs import FeedSpecs
from slt.loader import import_plugin
from slt.types import Kline, SymbolChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from slt.feed.recorder import Recording
    from slt.types import Wave

__all__ = ["FrameReader", "read_waves", "reader_of"]

_NEEDED = ("symbols", "interval_ms", "streams", "deadline_ms", "clock", "feed")


class FrameReader:
    """How a feed reads frames.

    Args:
        route: Its ``slt_route_frame``.
        decode: Its ``slt_decode_frame``.
    """

    def __init__(
        self,
        route: Callable[[bytes], tuple[str, bytes, bool]],
        decode: Callable[[bytes], list[Kline | SymbolChange]],
    ) -> None:
        self.route = route
        self.decode = decode


def reader_of(feed: str) -> FrameReader:
    """How an installed feed reads frames, by its name in config.toml; its options play no part in that.

    Raises:
        PluginError: No such feed is installed, or it cannot be made.
        DataError: It is not a live feed.
    """
    installed, cls = import_plugin("feeds", feed)
    instance = cls(cls.config_class())  # type: ignore[attr-defined] # checked by import_plugin
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(FeedSpecs)
    manager.register(instance)
    hooks = bind_hooks(manager, "feeds", instance)
    route, decode = hooks["slt_route_frame"], hooks["slt_decode_frame"]
    if route is None or decode is None:
        raise DataError(f"{installed} reads no frames, so it cannot have made a recording")
    return FrameReader(route, decode)


def read_waves(
    recording: Recording, reader: FrameReader, counters: dict[str, int] | None = None
) -> Iterator[Wave | SymbolChange]:
    """The waves and symbol changes of a recording, as they were in the run that made it.

    Where symbols joined the run, the waves from there on are the wider.

    After the last frame, the waves of all closed bars that are left are cut.

    Args:
        recording: What to read.
        reader: The feed's way to read frames.
        counters: Counts go here, under `slt.feed.waves.COUNTERS` and ``decode_errors``.

    Raises:
        DataError: The recording does not say what it holds.
    """
    about = _checked(recording)
    counts = {} if counters is None else counters
    counts.setdefault("decode_errors", 0)
    waves = Waves(tuple(about["symbols"]), about["interval_ms"], about["deadline_ms"], counts)
    intake = Intake(reader.route, [(name, symbol) for name, symbol in about["streams"]])
    is_received = about["clock"] == "receive"
    time = event_time = 0
    for time, _, entry in recording.entries():
        if isinstance(entry, dict):
            if "joined" in entry:
                waves.join(entry["joined"])
                intake.add(entry["streams"])
                continue
            updates: Iterable[Kline | SymbolChange] = (SymbolChange(**entry["change"]),)
        else:
            updates = _updates(intake, reader, entry, counts)
        for update in updates:
            if isinstance(update, Kline):
                event_time = max(event_time, update.event_time)
                waves.take(time if is_received else event_time, update)
                yield from waves.drain()
            else:
                waves.change(time if is_received else event_time, update)
                yield from waves.drain()
                yield update
    waves.flush(time if is_received else event_time)
    yield from waves.drain()


def _checked(recording: Recording) -> dict[str, Any]:
    about = recording.about
    missing = [name for name in _NEEDED if name not in about]
    if missing:
        raise DataError(f"{recording.files[0]}: the recording does not tell its {', '.join(missing)}; record again")
    return about


def _updates(
    intake: Intake, reader: FrameReader, frame: bytes, counters: dict[str, int]
) -> Iterator[Kline | SymbolChange]:
    try:
        counted = intake.sort(frame)
    except Exception:  # noqa: BLE001 # as in the pipeline: counted, dropped
        counters["decode_errors"] += 1
        return
    for one in counted:
        try:
            updates = reader.decode(one)
        except Exception:  # noqa: BLE001 # as in the pipeline: counted, dropped
            counters["decode_errors"] += 1
            continue
        yield from updates
