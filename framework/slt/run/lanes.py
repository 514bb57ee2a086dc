"""Lanes: how orders reach a live broker, side by side, each symbol's own in order.

The engine does not wait for an exchange's answers; they come back as events. A lane carries the orders of one symbol
and one role, one after the other: what is said of an order (sent, cancelled, asked for) stays in order, while a stop
waits for no entry's answer and a close for no stop's.

An answer that does not come leaves the outcome unknown: then the order is asked for until the broker says what became
of it, and is never sent again blindly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.errors import SltError
from slt.events import CancelOrder, QueryOrder, SubmitOrder
from slt.log import get_logger
from slt.types import OrderRole, OrderStatus, OrderUpdate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.hookspecs import BrokerSpecs
    from slt.types import Order

__all__ = ["Lanes"]

_CALL_TIMEOUT_S = 15.0
_DURABLE_TIMEOUT_S = 2.0
"""How long an order waits for its intent to be on the disk; then an entry is given up, and others go out all the same:
a disk that refuses must leave no position unprotected."""
_KNOWN_TIMEOUT_S = 0.1
"""The same while it is known that nothing reaches the disk."""
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0
_NEVER_SEEN = 3
"""Answers in a row that the broker knows nothing of an order, before that is believed: it may still be on its way."""
_PATIENCE = 8
"""Tries to cancel or to ask, when nothing depends on it: the next comparison of books and account sees the rest."""
_REMEMBERED = 4096
_log = get_logger("execution")


@frozen(eq=False)
class _Job:
    command: SubmitOrder | CancelOrder | QueryOrder
    position: int
    is_restored: bool = False


class Lanes:
    """Carries out orders in tasks of their own.

    Args:
        broker: Hooks of a live broker.
        tasks: Owner of the lanes' tasks.
        deliver: Takes what the broker says.
        durable: Waits until what was put down up to a position would survive a crash.
        now: The exchange's time, ms UTC.
        sleep: How to wait between two questions.

    Attributes:
        unanswered: Orders whose answer did not come.
        problem: Why orders are not safe before they are sent, one line; empty = they are. Entries are to be halted.
    """

    def __init__(
        self,
        broker: BrokerSpecs,
        tasks: asyncio.TaskGroup,
        *,
        deliver: Callable[[Any], Awaitable[None]],
        durable: Callable[[int], Awaitable[None]],
        now: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._broker = broker
        self._tasks = tasks
        self._deliver = deliver
        self._durable = durable
        self._now = now
        self._sleep = sleep
        self._lanes: dict[tuple[str, str], deque[_Job]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._watching: set[asyncio.Task[None]] = set()
        self._roles: dict[str, str] = {}
        self.unanswered = 0
        self.problem = ""

    @property
    def busy(self) -> int:
        """Lanes with something under way."""
        return len(self._lanes)

    def send(self, command: SubmitOrder | CancelOrder | QueryOrder, position: int) -> None:
        """Put a command on its lane; it goes out at once where the lane is free.

        Args:
            command: What to do.
            position: What must be durable before a `SubmitOrder` goes out.
        """
        if isinstance(command, SubmitOrder):
            self._remember(command.order)
        self._add(_Job(command, position))

    def restore(self, order: Order) -> None:
        """Take up an order that an earlier life of the run has decided, sent or not.

        The broker is asked for it. One that it never saw was not sent: protection and closes are sent now, an entry
        is too old and counts as rejected.
        """
        self._remember(order)
        self._add(_Job(SubmitOrder(order), 0, is_restored=True))

    async def idle(self, timeout_seconds: float) -> bool:
        """Wait until no lane has anything under way; False where some still has after that time."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while self._running:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await asyncio.wait(set(self._running), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return True

    def stop(self) -> None:
        """Give up what is under way; a restart takes it up again."""
        for task in (*self._running, *self._watching):
            task.cancel()

    def _remember(self, order: Order) -> None:
        self._roles[order.client_id] = str(order.role)
        if len(self._roles) > _REMEMBERED:
            del self._roles[next(iter(self._roles))]

    def _add(self, job: _Job) -> None:
        command = job.command
        order = command.order if isinstance(command, SubmitOrder) else command
        key = (order.symbol, self._roles.get(order.client_id, ""))
        lane = self._lanes.get(key)
        if lane is not None:
            if not (isinstance(command, QueryOrder) and _is_asked(lane, command.client_id)):
                lane.append(job)
            return
        self._lanes[key] = deque([job])
        task = self._tasks.create_task(self._run(key))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, key: tuple[str, str]) -> None:
        lane = self._lanes[key]
        try:
            while lane:
                job = lane.popleft()
                for event in await self._carry_out(job):
                    await self._deliver(event)
        finally:
            del self._lanes[key]

    async def _carry_out(self, job: _Job) -> list[Any]:
        command = job.command
        if isinstance(command, SubmitOrder):
            return await (
                self._restore(command.order) if job.is_restored else self._submit(command.order, job.position)
            )
        if isinstance(command, CancelOrder):
            return await self._cancel(command)
        return await self._query(command)

    async def _submit(self, order: Order, position: int) -> list[Any]:
        try:
            async with asyncio.timeout(_KNOWN_TIMEOUT_S if self.problem else _DURABLE_TIMEOUT_S):
                await self._durable(position)
        except TimeoutError:
            self._note_disk(position)
            if order.role is OrderRole.ENTRY:
                return [self._rejected(order, "its intent could not be written to the disk in time")]
            _log.error("an order goes out before its intent is on the disk", client_id=order.client_id, safety=True)
        return await self._send(order)

    def _note_disk(self, position: int) -> None:
        """Remember that orders cannot be written down, until they can."""
        if self.problem:
            return
        self.problem = "what an order is for can be written neither to the journal nor to the database"

        async def wait() -> None:
            await self._durable(position)
            self.problem = ""
            _log.info("orders are written down again before they are sent")

        task = self._tasks.create_task(wait())
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _send(self, order: Order) -> list[Any]:
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                return await self._broker.slt_submit_order(order=order)
        except (SltError, TimeoutError, OSError) as error:
            self.unanswered += 1
            _log.warning("order outcome unknown, asking", client_id=order.client_id, cause=type(error).__name__)
        return await self._ask(order.symbol, order.client_id) or [self._rejected(order, "it never arrived")]

    async def _restore(self, order: Order) -> list[Any]:
        known = await self._ask(order.symbol, order.client_id, empties=1)
        if known:
            return known
        if order.role is OrderRole.ENTRY:
            return [self._rejected(order, "it was not sent before the restart, and is too old now")]
        return await self._send(order)

    async def _cancel(self, command: CancelOrder) -> list[Any]:
        wait = _FIRST_WAIT_S
        for _ in range(_PATIENCE):
            try:
                async with asyncio.timeout(_CALL_TIMEOUT_S):
                    return await self._broker.slt_cancel_order(
                        symbol=command.symbol, client_id=command.client_id, time=command.time
                    )
            except (SltError, TimeoutError, OSError) as error:
                _log.warning("cancel not confirmed", client_id=command.client_id, cause=type(error).__name__)
            await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
        return []

    async def _query(self, command: QueryOrder) -> list[Any]:
        known = await self._ask(command.symbol, command.client_id, patience=_PATIENCE)
        if known is None:
            return []
        reason = "the exchange does not know it"
        return known or [OrderUpdate(self._now(), command.client_id, command.symbol, OrderStatus.REJECTED, reason)]

    async def _ask(
        self, symbol: str, client_id: str, *, empties: int = _NEVER_SEEN, patience: int | None = None
    ) -> list[Any] | None:
        """Everything the broker knows of an order; empty: it never saw it; None: it does not answer.

        Args:
            symbol: The order's.
            client_id: The order's.
            empties: Answers in a row that it knows nothing, before that is believed.
            patience: Tries without any answer before giving up; None = as long as it takes.
        """
        wait, failures, unknown = _FIRST_WAIT_S, 0, 0
        while True:
            try:
                async with asyncio.timeout(_CALL_TIMEOUT_S):
                    known = await self._broker.slt_query_order(symbol=symbol, client_id=client_id)
                unknown, failures = unknown + 1, 0
                if known or unknown >= empties:
                    return known
            except (SltError, TimeoutError, OSError) as error:
                failures += 1
                _log.warning("broker does not answer", client_id=client_id, cause=type(error).__name__)
                if patience is not None and failures >= patience:
                    return None
            await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _rejected(self, order: Order, reason: str) -> OrderUpdate:
        return OrderUpdate(self._now(), order.client_id, order.symbol, OrderStatus.REJECTED, reason)


def _is_asked(lane: deque[_Job], client_id: str) -> bool:
    """Whether the same question waits already, with nothing behind it that could change the answer.

    While an exchange answers slowly the engine asks again and again.
    """
    for job in reversed(lane):
        if not isinstance(job.command, QueryOrder):
            return False
        if job.command.client_id == client_id:
            return True
    return False
