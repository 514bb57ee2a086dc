"""One live instance per account: the lock, the wait for it as a standby, and the word when it is lost.

Platforms overlap instances: the new one starts while the old one still trades. The storage keeps a lock that one of
them can hold. The newcomer does everything but trade until the lock falls free. A holder that cannot reach the storage
any more may have lost the lock without knowing, so it enters nothing until it has made sure.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING

from slt.errors import SltError
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.lifecycle import LoopMark, Loops
    from slt.storage.link import StorageLink

__all__ = ["InstanceLock", "lock_name"]

_LATE_SECONDS = 400.0
"""More than opening a storage may take, the recovery of a server among it, and the answer to a question."""

_log = get_logger("lifecycle")


def lock_name(broker: str, account: str) -> str:
    """The lock of an account.

    Args:
        broker: Config name of the broker.
        account: What tells the account from every other of that broker, e.g. its API key; only its hash is used.
    """
    return f"{broker}:{hashlib.sha256(account.encode()).hexdigest()[:32]}"


class InstanceLock:
    """A named lock of the storage. Use: ``await acquire()``, then `run` as a task of the driver's group, `release`.

    Args:
        storage: The storage, whose plugin has the hooks of named locks.
        name: See `lock_name`.
        on_change: Called in the loop whenever `reason` changes; None = nobody.
        ask_seconds: Wait between two tries to take the lock.
        sleep: How to wait.

    Attributes:
        reason: Why there may be no entries, one line; empty = the lock is held.
        lost: Set while the lock is lost after having been held; clear again once it is back.
        taken: Set once another instance holds a lock that this one held, or goes on without: this one should end.
        is_away: Whether the storage did not answer the last question.
    """

    def __init__(
        self,
        storage: StorageLink,
        name: str,
        *,
        on_change: Callable[[str], None] | None = None,
        ask_seconds: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.reason = "the lock of this account has not been asked for yet"
        self.lost = asyncio.Event()
        self.taken = asyncio.Event()
        self.is_away = False
        self._storage = storage
        self._name = name
        self._on_change = on_change
        self._ask_seconds = ask_seconds
        self._sleep = sleep
        self._has_held = False
        self._mark: LoopMark | None = None

    @property
    def is_held(self) -> bool:
        """Whether this instance holds the lock, as far as is known now."""
        return not self.reason

    def supervise(self, loops: Loops) -> None:
        """Declare the loop of questions: late once one of them has no answer for longer than any should take."""
        self._mark = loops.declare("lock", interval_seconds=self._ask_seconds, deadline_seconds=_LATE_SECONDS)
        self._mark.rest()

    async def acquire(self) -> None:
        """Wait until this instance holds the lock, as a standby meanwhile. Says once why it waits."""
        while not await self.confirm():
            await self._sleep(self._ask_seconds)

    async def confirm(self) -> bool:
        """Take the lock, or make sure that it is still held, by a question to the storage; never raises."""
        if self._mark is not None:
            self._mark.beat()
        try:
            is_held = await self._storage.slt_hold_lock(name=self._name)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the run goes on, without entries
            # Of a foreign error only the type: its text may quote a connection string.
            cause = str(error) if isinstance(error, SltError) else type(error).__name__
            self.is_away = True
            self._set(f"the storage, which keeps the lock of this account, is away: {cause}")
            return False
        self.is_away = False
        if is_held:
            self._set("")
        else:
            if self._has_held:
                self.taken.set()
            self._set("another instance trades this account; this one waits as a standby")
        return is_held

    def go_on_without(self) -> None:
        """Manage what is open without the lock, because nobody can be asked for it; entries wait until it is held."""
        _log.warning("positions are managed without the lock of this account", cause=self.reason, safety=True)
        self._has_held = True

    async def run(self) -> None:
        """Notice the loss of the lock, and take it again when it is free; for ever, until cancelled."""
        while True:
            if self.is_held:
                if self._mark is not None:
                    self._mark.rest()  # for as long as the lock is held
                with contextlib.suppress(Exception):  # as good as lost
                    await self._storage.slt_watch_lock(name=self._name)
                self._set("the lock of this account is lost: the connection to the storage has ended")
            if not await self.confirm():
                await self._sleep(self._ask_seconds)

    async def release(self) -> None:
        """Give the lock up, so that a standby takes over at once."""
        self.reason = "the lock of this account has been given up"
        await self._storage.slt_release_lock(name=self._name)

    def _set(self, reason: str) -> None:
        was_held = self.is_held
        is_news = reason.partition(":")[0] != self.reason.partition(":")[0]
        self.reason = reason
        if not reason:
            self._has_held = True
            self.lost.clear()
        elif was_held:
            self.lost.set()
        if is_news:
            if reason:
                _log.warning("no entries without the lock of this account", cause=reason, safety=True)
            else:
                _log.info("the lock of this account is held")
            if self._on_change is not None:
                self._on_change(reason)
