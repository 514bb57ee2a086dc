"""Plays a part of the week: exchange, services, and the lives of the run, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time

import aiohttp
from attrs import define, field
from chaos_site import Life, Play, Site
from ops_config import run_text, sandbox_text
from ops_instance import Instance

_READY_S, _RECOVER_S, _REST_S, _TAKEN_S, _ASK_S, _LOOK_S = 90.0, 60.0, 40.0, 20.0, 0.05, 0.1
_NEED_A_MARKET = {"feed", "features"}
"""What a run may still wait for when it is ready: bars, which do not come while the market waits."""


_BEGUN = "restart, once the process has begun"


@define
class OpsPlay(Play):
    """What was seen of a part, beyond what `chaos_site.Play` has.

    Attributes:
        codes: Exit codes of clean stops; None = it did not stop in time.
        killed: When each life was killed or stopped, of `time.monotonic`.
        pairs: Times that two instances were started at once.
        waited: Times that exactly one of them waited as a standby.
        took: Wall seconds to recover, by part.
        outages: Outages by service and way.
        downs: Spans of `time.monotonic` in which a service was down, by service.
        lags: How late the loop came round, s.
        kill_count: Lives that ended by SIGKILL.
    """

    codes: list = field(factory=list)
    killed: list = field(factory=list)
    pairs: int = 0
    waited: int = 0
    took: dict = field(factory=dict)
    outages: dict = field(factory=dict)
    downs: dict = field(factory=dict)
    lags: list = field(factory=list)
    kill_count: int = 0


class OpsSite(Site):
    """Plays one part; the services are its own.

    Args:
        part: The part.
        folder: A folder of its own.
        plugins: Folder with the distribution of `chaos_plugins`.
        servers: The services, up.
        storage: Reads the database.
    """

    def __init__(self, part, folder, plugins, servers, storage):
        super().__init__(part, folder, plugins, folder, "", storage)
        self.play = OpsPlay()
        self._servers = servers
        self._instances = []
        self._main = None

    async def run(self):
        try:
            return await super().run()
        finally:
            for one in self._instances:
                if one.is_alive:
                    await one.kill()
            self.play.downs = {name: one.downs for name, one in self._servers.all.items()}
            with contextlib.suppress(OSError):
                self.play.lags = [float(line) for line in (self.folder / "lag.txt").read_text().split()]

    def _variables(self):
        return self._servers.variables()

    def _sandbox_text(self, part):
        return sandbox_text(part)

    def _run_text(self, part, stream):
        return run_text(part, self.folder, self._url, stream, self._servers.telegram.url)

    # -- the course of things --------------------------------------------------------------------------------------

    async def _live(self):
        part = self.scenario
        async with aiohttp.ClientSession() as self._http:
            self._begun = None
            standby = await self._begin(is_pair=False, is_paused=False)
            self._begun = self._market = await self._desk.now()
            watching = asyncio.create_task(self._watch_market())
            suffering = {asyncio.create_task(self._suffer(name)) for name in self._servers.all}
            try:
                await self._play(part, standby)
                _, late = await asyncio.wait(suffering, timeout=_RECOVER_S)
                self.play.problems += ["a service did not come back in time"] * bool(late)
                await self._finish()
            finally:
                for task in (watching, *suffering):
                    task.cancel()
                found = await asyncio.gather(watching, *suffering, return_exceptions=True)
                self.play.problems += [f"harness: {type(e).__name__}: {e}" for e in found if isinstance(e, Exception)]

    async def _play(self, part, standby):
        """The lives of the run, up to the end of the part."""
        lives = len(part.ends) + 1
        for number, end in enumerate(part.ends):
            if not await self._until_market((number + end.share) / lives):
                return
            is_pair = number + 1 < len(part.ends) and part.ends[number + 1].is_pair
            standby = await self._change(end, standby, is_pair=is_pair)
        await self._until_market(1.0)

    async def _until_market(self, share):
        """Wait until so much of the part has been played; returns False where the run ends first."""
        end = self._begun + share * self.scenario.minutes * 60_000
        while self._market < end:
            if not self._main.is_alive:
                code = self._main.process.returncode
                self.play.problems.append(f"the run ended by itself with exit code {code}: {self._main.told()}")
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _watch_market(self):
        """Keep the market's time, until cancelled."""
        while True:
            self._market = await self._desk.now()
            await asyncio.sleep(_LOOK_S)

    async def _begin(self, *, is_pair, is_paused):
        """Start one instance, or two at once; returns the standby where there is one."""
        for file in (self.folder / "runs").glob("*.starts.json"):
            # Kills in a row would have the crash guard wait; an operator who knows why removes its file just so.
            file.unlink()
        started = [Instance(self._spawn_run, self.folder / "run.log") for _ in range(2 if is_pair else 1)]
        self._instances += started
        if is_paused:
            await self._desk.pause(True)
        await asyncio.gather(*(one.start() for one in started))
        self.play.pairs += is_pair
        begun = [asyncio.create_task(one.begun.wait()) for one in started]
        await asyncio.wait(begun, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        for task in begun:
            task.cancel()
        self._main = next((one for one in started if one.begun.is_set()), started[0])
        standby = next((one for one in started if one is not self._main), None)
        await self._ready("restart" if self._begun else "first start", self._main.began)
        if is_paused:
            await self._desk.pause(False)
        if standby is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(standby.standing.wait(), _TAKEN_S)
            is_one = standby.standing.is_set() and standby.is_alive and not standby.begun.is_set()
            self.play.waited += is_one
            if not is_one:
                self.play.problems.append(f"of two instances none waited as a standby: {standby.told()}")
        return standby

    async def _spawn_run(self, variables):
        return await self._spawn("run", "--config", self._config, error=asyncio.subprocess.PIPE, variables=variables)

    async def _ready(self, what, since):
        """Wait until books agree and entries may come; note how long it took, from when the database was there."""
        async with asyncio.timeout(_READY_S):
            is_well = await self._main.until(self._http, lambda h: set(h["waits"]) <= _NEED_A_MARKET)
        if not is_well:
            code = self._main.process.returncode
            self.play.problems.append(f"a start ended with exit code {code}: {self._main.told()}")
            raise AssertionError("no instance began")
        since = max(since, self._servers.postgres.since)
        self.play.took.setdefault(what, []).append(time.monotonic() - since)
        if what == "restart" and self._main.begun_at > since:
            self.play.took.setdefault(_BEGUN, []).append(time.monotonic() - self._main.begun_at)
        self.play.lives.append(Life(await self._desk.now()))

    async def _change(self, end, standby, *, is_pair):
        """End the life of the run, and begin the next: the standby's, or that of one or two new processes."""
        ended = time.monotonic()
        if end.is_paused:
            await self._desk.pause(True)
        if end.is_killed:
            await self._main.kill()
            self.play.kill_count += 1
        else:
            self.play.codes.append(await self._main.stop())
        self.play.killed.append((ended, time.monotonic()))
        self._end_life(await self._desk.now(), "killed" if end.is_killed else "stopped")
        if standby is None or not standby.is_alive:
            if standby is not None:
                self.play.problems.append(f"a standby ended by itself: {standby.told()}")
            return await self._begin(is_pair=is_pair, is_paused=end.is_paused)
        let_go, self._main = self._main.let_go, standby
        await self._ready("takeover", let_go)
        if end.is_paused:
            await self._desk.pause(False)
        return None

    # -- what the services suffer ----------------------------------------------------------------------------------

    async def _suffer(self, name):
        part, server = self.scenario, self._servers.all[name]
        for outage in [one for one in part.outages if one.service == name]:
            end = self._begun + outage.share * part.minutes * 60_000
            while self._market < end:  # noqa: ASYNC110 # another process
                await asyncio.sleep(_LOOK_S)
            await server.suffer(outage.how, outage.seconds)
            key = f"{name} {outage.how}"
            self.play.outages[key] = self.play.outages.get(key, 0) + 1
            await self._recover(name, server)

    async def _recover(self, name, server):
        """Note how long after a service is back the run makes use of it.

        It is no measure where the life of the run ends meanwhile, or where nobody has anything to tell to a channel.
        """
        main, deadline = self._main, time.monotonic() + _RECOVER_S
        while main.is_alive and main is self._main:
            health = await main.health(self._http)
            if health is not None and _makes_use(name, server, health):
                self.play.took.setdefault(name, []).append(time.monotonic() - server.since)
                return
            if health is not None and name in self._servers.channels and self._waiting(health) == 0:
                return
            if time.monotonic() > deadline:
                self.play.problems.append(f"{name} was back, and not made use of for {_RECOVER_S:g} s")
                return
            await asyncio.sleep(_ASK_S)

    @staticmethod
    def _waiting(health):
        found = re.search(r"(\d+) notices wait", _part(health, "outbox") if health is not None else "")
        return int(found[1]) if found is not None else 0

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _finish(self):
        """Let the market wait, everything that waits come to rest, and end the run as an operator does."""
        await self._desk.pause(True)
        if not self._main.is_alive:
            return
        settled = time.monotonic() + _REST_S
        while time.monotonic() < settled:
            health = await self._main.health(self._http)
            is_told = health is not None and self._waiting(health) == 0 and _makes_use("PostgreSQL", None, health)
            if is_told and await self._stored() == await self._held() and await self._is_quiet():
                break
            await asyncio.sleep(0.2)
        self.play.codes.append(await self._main.stop())
        self._end_life(await self._desk.now(), "stopped")
        self.play.positions = await self._held()


def _part(health, name):
    return next((part["detail"] for part in health["parts"] if part["name"] == name), "")


def _makes_use(name, server, health):
    """Whether the run makes use of a service since it is back: a channel knows, of the others the run tells."""
    if name in {"telegram", "discord"}:
        return _has_taken(server)
    if name == "PostgreSQL":
        return _part(health, "database") == "takes what is written" and "instance" not in health["waits"]
    return not _part(health, "cache").startswith("left alone")


def _has_taken(server):
    """Whether a channel has taken something since it came up."""
    for line in reversed(server.file.read_text().splitlines()):
        entry = json.loads(line)
        if entry["time"] < server.since:
            return False
        if entry["event"] == "taken":
            return True
    return False
