"""Reading the exchange's account: at the start, after each reconnect, when the engine asks, and every few minutes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from slt.errors import SltError
from slt.events import AccountRead
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.hookspecs import BrokerSpecs
    from slt.run.clock import ExchangeClock
    from slt.run.lanes import Lanes

__all__ = ["AccountReader"]

_TIMEOUT_S = 20.0
_IDLE_S = 20.0
_SETTLE_S = 0.25
"""Wait before a question: what the event stream is just telling should be in the books before the account is."""
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_log = get_logger("execution")


class AccountReader:
    """Reads the account and hands it to the engine.

    Args:
        broker: Hooks of a live broker.
        lanes: Orders under way, which are waited for first.
        clock: The exchange's time.
        deliver: Takes the account as an event.
        every_seconds: Longest time between two readings.

    Attributes:
        reason: Why the account is being read, or cannot be; empty = it is not.
    """

    def __init__(
        self,
        broker: BrokerSpecs,
        lanes: Lanes,
        clock: ExchangeClock,
        deliver: Callable[[AccountRead], Awaitable[None]],
        every_seconds: float,
    ) -> None:
        self.reason = ""
        self._broker = broker
        self._lanes = lanes
        self._clock = clock
        self._deliver = deliver
        self._every_seconds = every_seconds
        self._asked = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Have the account read soon."""
        self.reason = reason
        self._asked.set()

    async def run(self) -> None:
        """Read whenever asked, and when the time is over; until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._every_seconds):
                    await self._asked.wait()
            except TimeoutError:
                self.reason = "the time for it has come"
            await asyncio.sleep(_SETTLE_S)
            await self._lanes.idle(_IDLE_S)
            self._asked.clear()
            await self._read()

    async def _read(self) -> None:
        wait = _FIRST_WAIT_S
        while True:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    account = await self._broker.slt_read_account()
                break
            except (SltError, TimeoutError, OSError) as error:
                _log.warning("the account cannot be read, asking again", cause=type(error).__name__)
                self.reason = f"the account cannot be read: {type(error).__name__}"
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
        self.reason = ""
        self._clock.note(account.time)
        await self._deliver(AccountRead(self._clock.now(), account))
