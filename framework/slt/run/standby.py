"""Whether a run needs the lock of its account, and the wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import attrs

from slt.errors import ConfigError, StoppedError
from slt.log import get_logger
from slt.run.folders import held
from slt.run.instance_lock import InstanceLock, lock_name
from slt.run.supervision import register_stop

_ASK_SECONDS = 1.0
_AWAY_SECONDS = 30.0
_LOOK_SECONDS = 0.25
_ANOTHER = "another instance has this run under way; this one waits as a standby"
_log = get_logger("lifecycle")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from slt.config import Settings
    from slt.lifecycle import LifecycleManager
    from slt.run.assembly import Assembly
    from slt.run.session import Session
    from slt.run.starting import Starting

__all__ = [
    "instance_lock",
    "stop_when_taken",
    "trading_alone",
    "wait_as_standby",
    "wait_for_folder",
    "wants_lock",
]


@contextlib.asynccontextmanager
async def trading_alone(assembly: Assembly, session: Session, lifecycle: LifecycleManager) -> AsyncIterator[None]:
    """Wait for the account's lock where the run wants one, and keep it meanwhile; without it entries halt.

    Raises:
        ConfigError: A lock is wanted, and the storage keeps none.
        StoppedError: The run was stopped while it waited.
    """
    lock = instance_lock(assembly)
    if lock is None:
        yield
        return
    register_stop(lifecycle, "lock", lock.release)
    session.halts["instance"] = lambda: lock.reason
    if session.vitals is not None:
        lock.supervise(session.vitals.loops)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        async def stand_by() -> None:
            await wait_as_standby(lock, lifecycle)
            tasks.extend(group.create_task(work) for work in (lock.run(), stop_when_taken(lock, lifecycle)))

        if assembly.plugins.feed.implements("slt_plan_connections"):
            session.stand_by = stand_by  # the driver warms up first
        else:
            await stand_by()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def instance_lock(assembly: Assembly) -> InstanceLock | None:
    """The lock that a run trades under; None where ``run.one_instance`` wants none.

    The account is what the broker's options ending in ``_env`` name in the environment, its keys that is; a broker
    without secrets has one account for each name of a run.

    Raises:
        ConfigError: One is wanted, and the storage keeps none.
    """
    settings, storage, broker = assembly.settings, assembly.plugins.storage, assembly.plugins.broker
    if not wants_lock(settings):
        return None
    if not storage.implements("slt_hold_lock"):
        raise ConfigError(
            f"run.one_instance: the storage `{storage.name}` keeps no locks, so two instances might trade "
            "one account; choose postgres, or set run.one_instance = false and see to it yourself"
        )
    options = attrs.asdict(broker.config, recurse=False)
    secrets = [os.environ.get(str(name), "") for key, name in sorted(options.items()) if key.endswith("_env")]
    return InstanceLock(assembly.storage, lock_name(broker.name, "\n".join(filter(None, secrets)) or settings.run.name))


def wants_lock(settings: Settings) -> bool:
    """Whether a run trades only while no other instance does."""
    wanted = settings.run.one_instance
    if wanted is None:
        wanted = settings.run.mode == "live"
    return wanted and settings.run.mode != "backtest"


async def wait_for_folder(path: Path, lifecycle: LifecycleManager, starting: Starting) -> None:
    """Wait as a standby until no other process has the run's folder: it goes on with the books that are in it.

    Args:
        path: The folder.
        lifecycle: May end the wait.
        starting: Is told what is waited for.

    Raises:
        StoppedError: The run was stopped first.
    """
    _log.info(_ANOTHER, run=path.name)
    with starting.waiting("instance", f"{path.name}: {_ANOTHER}"):
        while True:
            with held(path) as is_held:
                if is_held:
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await lifecycle.stopping.wait()
            if lifecycle.stop_requested:
                raise StoppedError("stopped while it waited as a standby; the same command waits again")


async def wait_as_standby(lock: InstanceLock, lifecycle: LifecycleManager) -> None:
    """Wait until the lock is held; not for long where the storage that keeps it is away.

    Then nobody can say whether another instance is there, and what is open must not be left alone: the run goes on
    without entries. Closing orders only reduce, so two that do so cannot harm.

    Raises:
        StoppedError: The run was stopped first.
    """
    stopping = asyncio.ensure_future(lifecycle.stopping.wait())
    away_since = None
    try:
        while not await lock.confirm():
            now = asyncio.get_running_loop().time()
            away_since = (away_since or now) if lock.is_away else None
            if away_since is not None and now - away_since >= _AWAY_SECONDS:
                lock.go_on_without()
                return
            await asyncio.wait({stopping}, timeout=_ASK_SECONDS)
            if lifecycle.stop_requested:
                raise StoppedError("stopped while it waited as a standby; the same command waits again")
    finally:
        stopping.cancel()


async def stop_when_taken(lock: InstanceLock, lifecycle: LifecycleManager) -> None:
    """End the run in good order once another instance has taken the account over."""
    await lock.taken.wait()
    lifecycle.request_stop("another instance has taken the account over")
