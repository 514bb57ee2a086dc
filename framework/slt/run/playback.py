"""Playing a session log: the entries of a part, given to engine and dense part as they once came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.errors import SltError
from slt.events import BarsClosed, CancelOrder, SubmitOrder, UseModel
from slt.run.session_log import EntryKind
from slt.run.transcript import write_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.events import Block, Command, Event
    from slt.hookspecs import BrokerSpecs
    from slt.run.dense import Dense
    from slt.run.session_log import Entry
    from slt.trading.engine import Engine
    from slt.types import Bars

__all__ = ["Difference", "Playback"]


@frozen
class Difference:
    """Where the commands of a replay are not those of the log.

    Attributes:
        entry: Number of the event's entry in its part.
        event: The event in one line.
        recorded: The first command that differs as it was logged; empty = there was none.
        replayed: The same as it came out now.
    """

    entry: int
    event: str
    recorded: str
    replayed: str


class Playback:
    """Gives the entries of a log to an engine and a dense part that have taken the snapshot before them back.

    Args:
        engine: The engine.
        dense: Features, strategies, predictions.
        broker: Hooks of a simulated broker that is to keep in step; None where the broker is an exchange or not needed.
        on_bars: Told of every wave.
        on_commands: Told of the commands of every event.

    Attributes:
        events: Events played.
        commands: Commands that they gave.
        time: Time of the last event, ms UTC.
        rows: Rows of bars played.
        bars_until: Close time of the last of them, ms UTC; 0 = none.
        difference: The first difference; None = none so far.
    """

    def __init__(
        self,
        engine: Engine,
        dense: Dense,
        *,
        broker: BrokerSpecs | None = None,
        on_bars: Callable[[Bars], None] = lambda _: None,
        on_commands: Callable[[list[Command]], None] = lambda _: None,
    ) -> None:
        self.events = 0
        self.commands = 0
        self.time = 0
        self.rows = 0
        self.bars_until = 0
        self.difference: Difference | None = None
        self._engine = engine
        self._dense = dense
        self._broker = broker
        self._on_bars = on_bars
        self._on_commands = on_commands
        self._block: Block | None = None
        self._is_swapped = False
        self._last: tuple[int, Any, list[Command]] | None = None

    async def play(self, entries: Iterable[Entry]) -> None:
        """Play a part to its end; the commands of its last event may be missing, where a crash came between."""
        self._last = None
        for entry in entries:
            await self._play(entry)

    async def _play(self, entry: Entry) -> None:
        content = entry.content
        if entry.kind is EntryKind.COMMANDS:
            self._compare(content)
            return
        if entry.kind is EntryKind.ADVANCE:
            if self._broker is not None:
                self._broker.slt_advance_price(point=content)
            return
        if entry.kind is EntryKind.WAVE:
            self._on_bars(content)
            self.rows, self.bars_until = self.rows + len(content), int(content.close_time[-1])
            self._block, self._is_swapped = self._dense.compute(content), False
            self._dense.faults.clear()  # they are in the log as events
            return
        if entry.kind is EntryKind.PART:
            symbols, past = content
            self._dense.put_in(self._dense.make_part(symbols, past))
            self._dense.faults.clear()  # as above
            return
        self._compare("")
        event = self._bars_closed(*content) if entry.kind is EntryKind.CLOSED else content
        await self._handle(entry.number, event)

    def _bars_closed(self, time: int, row: int) -> BarsClosed:
        if self._block is None:
            raise SltError("the session log closes a bar before any has come; restore the file from a copy")
        if self._is_swapped:
            self._block, self._is_swapped = self._dense.predict(self._block, row), False
            self._dense.faults.clear()
        return BarsClosed(time, self._block, row)

    async def _handle(self, number: int, event: Event) -> None:
        commands = self._engine.handle(event)
        self.events, self.time = self.events + 1, max(self.time, event.time)
        self.commands += len(commands)
        self._last = (number, event, commands) if commands else None
        self._on_commands(commands)
        for command in commands:
            if isinstance(command, UseModel):
                self._dense.use_model(command.strategy, command.version, command.artefact)
                self._is_swapped = True
            elif self._broker is not None and isinstance(command, SubmitOrder):
                await self._broker.slt_submit_order(order=command.order)
            elif self._broker is not None and isinstance(command, CancelOrder):
                await self._broker.slt_cancel_order(
                    symbol=command.symbol, client_id=command.client_id, time=command.time
                )

    def _compare(self, recorded: str) -> None:
        """Compare what the last event gave with what the log says."""
        number, event, commands = self._last or (0, None, [])
        self._last = None
        if self.difference is not None or (not commands and not recorded):
            return
        replayed = write_commands(commands)
        if replayed == recorded:
            return
        theirs, ours = recorded.split("\n"), replayed.split("\n")
        at = next((i for i, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(theirs), len(ours)) if at is None else at
        self.difference = Difference(
            number,
            _in_a_line(event),
            theirs[at] if at < len(theirs) else "",
            ours[at] if at < len(ours) else "",
        )


def _in_a_line(event: Any) -> str:
    if event is None:
        return "an event that gives no command now"
    return f"BarsClosed(time={event.time}, row={event.row})" if isinstance(event, BarsClosed) else repr(event)[:300]
