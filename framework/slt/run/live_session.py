"""A session on a live feed: every event is logged before it is handled, and nobody waits for an exchange's answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from slt.events import BarsClosed, CancelOrder, ReadAccount, SubmitOrder
from slt.log import get_logger
from slt.run.session import Session
from slt.run.session_log import EntryKind
from slt.run.transcript import write_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.events import Block, Command, Event, QueryOrder
    from slt.run.dense_part import DensePart
    from slt.run.lanes import Lanes
    from slt.run.session_log import SessionLog
    from slt.types import Bars, FitReport, FitRequest, PricePoint, Record

__all__ = ["LiveSession"]

_CANDLE_MS = 300_000
_DISK_S = 2.0
_log = get_logger("execution")


class LiveSession(Session):
    """The same session as any run's, with the two ends that a live feed and a live broker need.

    `open_live` gives it what the driver has made; until then it is a `Session`.

    Attributes:
        watched: Symbols with a position or an entry, as last told to the feed.
    """

    watched: frozenset[str] = frozenset()
    _log: SessionLog | None = None
    _lanes: Lanes | None = None
    _on_read: Callable[[str], None] | None = None
    _unwritten: list[Command] | None = None

    def open_live(
        self, log: SessionLog, *, lanes: Lanes | None = None, on_read: Callable[[str], None] | None = None
    ) -> None:
        """Take what a live driver has.

        Args:
            log: Where events are logged.
            lanes: Carry out orders; None: the broker is a simulated one and answers at once.
            on_read: Told when the account is to be read, and why.
        """
        self._log, self._lanes, self._on_read = log, lanes, on_read

    @property
    def holds(self) -> frozenset[str]:
        """Symbols with a position or an entry under way."""
        portfolio = self.engine.portfolio
        return frozenset(portfolio.holdings) | frozenset(portfolio.entries)

    def note(self, record: Record) -> None:
        """Count decisions; trades and the rest are read from the storage, so that a run of months stays small."""
        self.results.count(record)

    def compute(self, bars: Bars) -> Block:
        """The dense part of a wave; the wave is logged first."""
        self._write(EntryKind.WAVE, bars)
        return super().compute(bars)

    def begin_anew(self, part: DensePart, past: tuple[Bars, ...]) -> None:
        """Let a part of the dense part give its symbols' columns from the next wave on, which is logged.

        Args:
            part: From `slt.run.dense.Dense.make_part`.
            past: The blocks that it was fed with: a replay feeds them again.
        """
        self._write(EntryKind.PART, (part.symbols, past))
        self.dense.put_in(part)

    def decide(self, event: Event) -> list[Command]:
        """What the engine says to an event, which is logged before; bars are with their wave already."""
        if isinstance(event, BarsClosed):
            self._write(EntryKind.CLOSED, (event.time, event.row))
        else:
            self._write(EntryKind.EVENT, event)
        return super().decide(event)

    def advance_price(self, point: PricePoint) -> list[Any]:
        """Move a simulated broker's price, logged so that a restart moves it likewise."""
        self._write(EntryKind.ADVANCE, point)
        return super().advance_price(point)

    async def settle_price(self, point: PricePoint) -> None:
        """Let a simulated broker fill at the last price of a symbol that will have no other."""
        if self._lanes is None:
            await self.move_price(point)

    def is_fit_due(self, request: FitRequest, task: asyncio.Task[FitReport], time: int) -> bool:
        """Whether a fit's result takes effect now: at the first close of a candle that finds it ready."""
        return task.done() and time % _CANDLE_MS == 0 and super().is_fit_due(request, task, time)

    async def make_durable(self, position: int) -> None:
        """Wait until records and events are on the disk, but not for long: positions must stay managed.

        With lanes each order waits by itself.
        """
        if self._lanes is not None:
            return
        try:
            async with asyncio.timeout(_DISK_S):
                await self.reach_disk(position)
        except TimeoutError:
            _log.error("a simulated order goes out before its intent is on the disk", safety=True)

    async def reach_disk(self, position: int) -> None:
        """Wait until the records put down up to `position`, and every event so far, are on the disk."""
        if self._log is not None:
            await self._log.durable(self._log.position)
        await super().make_durable(position)

    async def _carry_out(self, commands: list[Command]) -> list[Event]:
        self._unwritten = commands
        return await super()._carry_out(commands)

    def write_out(self) -> None:
        """Log the commands of the last event. They are put into words only now: their orders were more urgent."""
        commands, self._unwritten = self._unwritten, None
        if self._log is not None and commands:
            self._log.write(EntryKind.COMMANDS, write_commands(commands))

    def _write(self, kind: EntryKind, content: Any) -> None:
        self.write_out()
        if self._log is not None:
            self._log.write(kind, content)

    async def _ask_broker(
        self, command: SubmitOrder | CancelOrder | QueryOrder | ReadAccount, position: int
    ) -> Iterable[Any]:
        if self._lanes is None:
            return await super()._ask_broker(command, position)
        if not isinstance(command, ReadAccount):
            self._lanes.send(command, position)
        elif self._on_read is not None:
            self._on_read(command.reason)
        return ()
