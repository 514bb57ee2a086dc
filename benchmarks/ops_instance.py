"""One process of ``slt run``: started, asked how it is, killed or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time

import aiohttp
from ops_servers import free_port

__all__ = ["Instance"]

_ASK_S, _STOP_S = 0.05, 40.0


class Instance:
    """A process.

    Attributes:
        began: When it was started, of `time.monotonic`.
        standing: Set once it says that it waits as a standby.
        begun: Set once it has the run's folder and goes on.
        begun_at: When that was, of `time.monotonic`.
        said: Its last lines.
        let_go: When it had let go of everything, of `time.monotonic`.
    """

    def __init__(self, spawn, log):
        self._spawn, self._log = spawn, log
        self._port = free_port()
        self.began = self.begun_at = self.let_go = 0.0
        self.standing, self.begun, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.said = []

    async def start(self):
        self.began = time.monotonic()
        self.process = await self._spawn({"SLT_HEALTH__PORT": str(self._port)})
        self._reading = asyncio.create_task(self._read())

    @property
    def is_alive(self):
        return self.process.returncode is None

    async def _read(self):
        with self._log.open("ab") as log:
            while line := await self.process.stderr.readline():
                log.write(line)
                self.said = [*self.said[-100:], line.decode(errors="replace").rstrip()]
                if re.search(rb'"run (started|resumed)"', line):
                    self.begun_at = time.monotonic()
                    self.begun.set()
                if b"waits as a standby" in line:
                    self.standing.set()
                if b'"stopped in ' in line:
                    self.let_go = time.monotonic()
        self.let_go = self.let_go or time.monotonic()
        await self.process.wait()
        self.ended.set()

    async def health(self, http):
        """What it answers to ``/readyz``; None where it does not, or is still starting."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with http.get(
                f"http://127.0.0.1:{self._port}/readyz", timeout=aiohttp.ClientTimeout(total=2)
            ) as answer:
                found = await answer.json()
                return found if found["state"] != "starting" else None
        return None

    async def until(self, http, is_so):
        """Wait until its health is so; returns False where the process ends first."""
        while self.is_alive:
            health = await self.health(http) if self.begun.is_set() else None
            if health is not None and is_so(health):
                return True
            await asyncio.sleep(_ASK_S)
        return False

    async def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.ended.wait()

    async def stop(self):
        """Stop it as an operator does; returns its exit code, None where it did not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.ended.wait(), _STOP_S)
        except TimeoutError:
            await self.kill()
            return None
        return self.process.returncode

    def told(self):
        """What it said last to its user."""
        return next((line for line in reversed(self.said) if line.startswith("slt:")), "")[:300]
