"""What a paper or live run knows about itself: the checks behind its score, and all of it as one plain record.

A driver tells what it has beyond a recording: `Vitals.feed` and `Vitals.link` by assignment, and with `wait` and
`arrived` what keeps the run from trading just now (features that warm up, books that do not agree).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from slt.errors import SltError
from slt.lifecycle import Health, Loops
from slt.report.standing import Standing, read_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt.feed.status import ConnectionStatus, FeedStatus
    from slt.notify import ChannelStatus, Outbox
    from slt.run.assembly import Assembly
    from slt.run.player import Progress
    from slt.trading.portfolio import Holding
    from slt.types import BrokerLink

__all__ = ["Vitals", "resident_mib"]

_BAR_PATIENCE_S = 180.0
_FRAME_PATIENCE_S = 60.0
_MANY_RECORDS = 10_000
_MANY_NOTICES = 20
_CLOCK_OFF_MS = 1000.0
_SECONDS_FROM_MS = 10_000.0
_DAY_MS = 86_400_000
_READ_SECONDS = 2.0
_WRITER_SECONDS = 120.0
_OUTBOX_SECONDS = 400.0


class Vitals:
    """Looks after a run's health; everything here reads what is known already, but for `refresh`.

    Args:
        assembly: The run's parts.
        outbox: Where notices go; None where none are sent.

    Attributes:
        health: The parts of the score; further ones may be registered.
        loops: The supervised loops; further ones may be declared.
        standing: Figures of the day, as last read.
        progress: How far the run is; None before the first bar.
        waits: What keeps the run from taking entries, by source.
        sources: Who else may halt entries, and why now: an empty text = it does not.
        feed: Status of a live feed; None for a recording.
        link: The broker's event stream, as last told; None for a simulated broker.
        clock_offset_ms: The exchange's clock less ours; None = not known.
    """

    def __init__(self, assembly: Assembly, outbox: Outbox | None) -> None:
        self.health = Health()
        self.loops = Loops()
        self.standing = Standing(assembly.market.start)
        self.progress: Progress | None = None
        self.waits: dict[str, str] = {}
        self.sources: Mapping[str, Callable[[], str]] = {}
        self.feed: Callable[[], FeedStatus] | None = None
        self.link: BrokerLink | None = None
        self.clock_offset_ms: Callable[[], float | None] | None = None
        self._assembly = assembly
        self._outbox = outbox
        self._lag = 0.0
        self._fed = time.monotonic()
        self._read_error = ""
        # By channel: what it had taken, and how many tries had failed, when it was first seen to have taken as much.
        self._deliveries: dict[str, tuple[int, int]] = {}
        self._register()

    def fed(self, progress: Progress) -> None:
        """A bar has been played."""
        self.progress = progress
        self._fed = time.monotonic()

    def lagged(self, seconds: float) -> None:
        """How late the event loop has been lately."""
        self._lag = max(seconds, 0.0)

    def wait(self, source: str, reason: str) -> None:
        """The run takes no entries because of this."""
        self.waits[source] = reason

    def arrived(self, source: str) -> None:
        """What was waited for is there."""
        self.waits.pop(source, None)

    async def refresh(self) -> None:
        """Read the figures of the day anew; where the storage does not answer, the last ones stay."""
        reader = self._assembly.reader
        if reader is None:
            return
        try:
            async with asyncio.timeout(_READ_SECONDS):
                self.standing = await read_standing(reader, self._assembly.folder.run_id, self.event_time)
        except (SltError, OSError, TimeoutError) as error:
            self._read_error = type(error).__name__
        else:
            self._read_error = ""

    @property
    def event_time(self) -> int:
        """Time of the last bar, ms UTC, or of the run's start."""
        return self.progress.time if self.progress is not None else self._assembly.market.start

    def halts(self) -> dict[str, str]:
        """Why the run takes no entries now, by source; empty = it does."""
        told = {source: reason_of() for source, reason_of in self.sources.items()}
        found = {**self._assembly.engine.halts, **{s: r for s, r in told.items() if r}, **self.waits}
        if warming := self._assembly.dense.warmth.reason:
            found["features"] = warming
        faults = [*self._assembly.dense.faults, *self._assembly.engine.faults]
        return found | ({"plugin": faults[0]} if faults else {})

    def snapshot(self, state: str) -> dict[str, Any]:
        """Everything, as JSON types.

        Args:
            state: ``running``, ``stopped``, ``finished`` or ``failed``.
        """
        report, assembly, progress = self.health.report(), self._assembly, self.progress
        portfolio, writer = assembly.engine.portfolio, assembly.writer
        return {
            "run": assembly.folder.run_id,
            "mode": assembly.settings.run.mode,
            "state": state,
            "pid": os.getpid(),
            "score": round(report.score, 1),
            "status": report.status,
            "parts": [{"name": p.name, "score": round(p.score, 1), "detail": p.detail} for p in report.parts],
            "waits": self.halts(),
            "features": {
                "ready": self._assembly.dense.warmth.count,
                "symbols": self._assembly.dense.warmth.symbols,
                "waiting": self._assembly.dense.warmth.waiting(),
            },
            "event_time": progress.time if progress else None,
            "trades": progress.trades if progress else None,
            "open_positions": progress.open_positions if progress else None,
            "equity": progress.equity if progress else None,
            "margin_in_use": portfolio.margin_in_use,
            "open_risk": self._open_risk(),
            "positions": [_position(holding) for holding in portfolio.holdings.values()],
            "standing": _finite(attrs.asdict(self.standing)),
            "lag_seconds": round(self._lag, 4),
            "late_loops": [attrs.asdict(loop) for loop in self.loops.late()],
            "memory_mib": round(resident_mib(), 1),
            "writer": {
                "pending": writer.pending,
                "written": writer.written,
                "failures": writer.failures,
                "journal_failures": writer.journal_failures,
                "failures_in_a_row": writer.failures_in_a_row,
            },
            "writes": assembly.reader.marks(assembly.folder.run_id) if assembly.reader is not None else {},
            "cache": attrs.asdict(assembly.reader.cache.status()) if assembly.reader is not None else None,
            "channels": [attrs.asdict(c) for c in self._outbox.status()] if self._outbox is not None else [],
            "feed": attrs.asdict(self.feed()) if self.feed is not None else None,
        }

    def _register(self) -> None:
        health, writer = self.health, self._assembly.writer
        health.register_group("feed", self._feeds, is_critical=True)
        health.register("loop", self._loop)
        health.register("loops", self._late, is_critical=True)
        health.register("database", self._database, is_critical=True)
        health.register("queue", self._queue)
        health.register("features", self._assembly.dense.warmth.health)
        health.register("cache", self._cache)
        health.register("broker", self._broker, is_critical=True)
        health.register("model", self._model)
        health.register("memory", self._memory)
        health.register("risk", self._risk, is_critical=True)
        health.register("outbox", self._notices)
        health.register("plugins", self._plugins, is_critical=True)
        self.loops.watch(
            "writer",
            deadline_seconds=_WRITER_SECONDS,
            progress=lambda: (writer.pending, writer.written, writer.failures, writer.journal_failures),
            is_idle=lambda: writer.pending == 0,
        )
        if (outbox := self._outbox) is not None:
            self.loops.watch(
                "outbox",
                deadline_seconds=_OUTBOX_SECONDS,
                progress=outbox.status,
                is_idle=lambda: not any(c.waiting for c in outbox.status()),
            )

    def _feeds(self) -> dict[str, tuple[float, str]]:
        if self.feed is not None:
            return {one.name: _connection(one) for one in self.feed().connections}
        age = time.monotonic() - self._fed
        speed = self._assembly.settings.run.speed
        distance = self._assembly.market.interval_ms / 1000 / speed if speed > 0 else 0.0
        return {"recording": (_share(distance + _BAR_PATIENCE_S, age), f"last bar {age:.0f} s ago")}

    def _loop(self) -> tuple[float, str]:
        return 100.0 / (1.0 + self._lag), f"late by at most {self._lag:.3f} s in the last minute"

    def _late(self) -> tuple[float, str]:
        late = self.loops.late()
        if not late:
            return 100.0, "every loop comes round"
        words = (f"{one.name} has been silent for {one.silent_seconds:.0f} s" for one in late)
        return 40.0, "; ".join(words)

    def _database(self) -> tuple[float, str]:
        writer = self._assembly.writer
        if writer.failures_in_a_row:
            return 60.0, f"away, {writer.pending} records wait: {writer.last_error}"
        if self._read_error:
            return 70.0, f"does not answer questions: {self._read_error}"
        return 100.0, "takes what is written"

    def _queue(self) -> tuple[float, str]:
        records = self._assembly.writer.pending
        text, score = f"{records} records wait", _share(_MANY_RECORDS, records)
        if self.feed is not None:
            frames, slots = sum(self.feed().queued), self._assembly.settings.feed.queue_slots
            text += f", {frames} of {slots} frames"
            score = min(score, _share(slots / 2, frames))
        return score, text

    def _cache(self) -> tuple[float, str]:
        if self._assembly.reader is None:
            return 100.0, "none"
        status = self._assembly.reader.cache.status()
        if status.is_paused:
            return 70.0, f"left alone after failures ({status.last_error}); the storage answers instead"
        return 100.0, f"answers {status.hit_rate * 100:.0f} % of {status.requests} questions"

    def _broker(self) -> tuple[float, str]:
        if self.link is not None and not self.link.is_up:
            return 40.0, f"event stream down: {self.link.reason}"
        offset = self.clock_offset_ms() if self.clock_offset_ms is not None else None
        if offset is None:
            return 100.0, "simulated" if self.link is None else "event stream up"
        return _share(_CLOCK_OFF_MS, abs(offset)), f"clocks apart by {_apart(offset)}"

    def _model(self) -> tuple[float, str]:
        if self._assembly.plugins.model is None:
            return 100.0, "none chosen: rules decide"
        worst, words = 100.0, []
        for plugin in self._assembly.plugins.strategies:
            version = self._assembly.engine.champion(plugin.name)[0]
            fitted = [m.fitted_time for m in self.standing.models if (m.strategy, m.version) == (plugin.name, version)]
            age = (self.event_time - fitted[0]) / _DAY_MS if fitted else 0.0
            worst = min(worst, _share(self._assembly.settings.health.model_days, age))
            words.append(f"{plugin.name} v{version}, {age:.1f} days old" if version else f"{plugin.name} UNTRAINED")
        return worst, "; ".join(words)

    def _memory(self) -> tuple[float, str]:
        used, limit = resident_mib(), self._assembly.settings.health.memory_mb
        return _share(limit, used), f"{used:.0f} MiB resident"

    def _risk(self) -> tuple[float, str]:
        bare = [
            symbol
            for symbol, holding in self._assembly.engine.portfolio.holdings.items()
            if not holding.position.stop_resting and not holding.position.closing
        ]
        if bare:
            return 30.0, f"no stop rests on the exchange for {', '.join(bare)}"
        risk, limits = self._open_risk(), self._assembly.settings.risk
        allowed = limits.max_positions * limits.max_loss_at_stop
        return _share(1.5 * allowed, risk), f"{risk * 100:.2f} % of the equity is lost at the stops"

    def _open_risk(self) -> float:
        """Loss of equity, as a fraction, where every open position goes to its stop from the last price."""
        portfolio = self._assembly.engine.portfolio
        lost = sum(_loss_at_stop(holding) for holding in portfolio.holdings.values())
        return lost / portfolio.equity if portfolio.equity > 0 else 1.0

    def _notices(self) -> tuple[float, str]:
        channels = self._outbox.status() if self._outbox is not None else ()
        waiting = sum(channel.waiting for channel in channels)
        off = [channel.name for channel in channels if channel.off is not None]
        failing = [channel.name for channel in channels if self._is_failing(channel)]
        if off:
            return 50.0, f"switched off: {', '.join(off)}; {waiting} notices wait"
        if failing:
            return 70.0, f"the last try failed: {', '.join(failing)}; {waiting} notices wait"
        return (100.0 if waiting <= _MANY_NOTICES else 70.0), f"{waiting} notices wait"

    def _is_failing(self, channel: ChannelStatus) -> bool:
        """Whether notices wait for a channel that has taken none since a try failed, as far as looks at it tell."""
        delivered, failed = self._deliveries.get(channel.name, (0, 0))
        if channel.delivered != delivered:
            self._deliveries[channel.name] = (channel.delivered, channel.failed)
            return False
        return channel.waiting > 0 and channel.failed > failed

    def _plugins(self) -> tuple[float, str]:
        faults = [*self._assembly.dense.faults, *self._assembly.engine.faults]
        return (30.0, f"entries halted: {faults[0]}") if faults else (100.0, "no plugin has failed")


def resident_mib() -> float:
    """Memory of this process that is in use now, MiB; where the system does not tell, the most there ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except (OSError, ValueError, IndexError, AttributeError):
        return _peak_mib()


def _peak_mib() -> float:
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _share(allowed: float, found: float) -> float:
    """100 up to what is allowed, then falling: half of it at twice as much."""
    return 100.0 * min(1.0, allowed / max(found, 1e-9))


def _connection(one: ConnectionStatus) -> tuple[float, str]:
    if one.age_seconds is None:
        return (100.0, "connected, no message yet") if one.is_up else (40.0, "connecting")
    score = _share(_FRAME_PATIENCE_S, one.age_seconds)
    text = f"last message {one.age_seconds:.0f} s ago"
    if not one.is_up:
        return min(score, 70.0), f"down, {text}"
    if one.silent_symbols:
        return min(score, 80.0), f"{text}, {len(one.silent_symbols)} symbols silent"
    return score, text


def _apart(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if abs(milliseconds) < _SECONDS_FROM_MS else f"{milliseconds / 1000:.0f} s"


def _loss_at_stop(holding: Holding) -> float:
    position = holding.position
    move = position.side * (holding.price - position.stop)
    return max(move + holding.price * position.cost_rate, 0.0) * position.quantity


def _position(holding: Holding) -> dict[str, Any]:
    position, price = holding.position, holding.price
    return {
        "id": position.id,
        "symbol": position.symbol,
        "side": position.side,
        "strategy": position.strategy,
        "entry_time": position.entry_time,
        "entry_price": position.entry_price,
        "quantity": position.quantity,
        "leverage": position.leverage,
        "price": price,
        "stop": position.stop,
        "target": position.target,
        "gain_r": position.gain(price),
        "net_gain_r": position.net_gain(price),
        "unrealised": holding.unrealised,
        "stop_resting": position.stop_resting,
        "closing": position.closing,
    }


def _finite(value: Any) -> Any:
    """Without NaN and infinities, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -1e308 < value < 1e308 else value
