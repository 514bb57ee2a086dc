"""What sees, from outside, a moment at which ``slt`` is to be killed: its files, its database, the exchange."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import time

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_EVENT = struct.Struct("iIII")
_CHUNK = 65_536
_PROBE_S, _STALL_S = 0.25, 0.5


class FolderWatch:
    """Counts what happens to the files of a folder, as the kernel tells it (inotify).

    Args:
        folder: The folder; it must be there.
        is_written: Count writes into files, else files that come.
    """

    def __init__(self, folder, *, is_written=True):
        self.count = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _IN_MODIFY if is_written else _IN_MOVED_TO | _IN_CREATE
        if self._file < 0 or self._libc.inotify_add_watch(self._file, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def _read(self):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._file, _CHUNK)
            at = 0
            while at < len(data):
                _, _, _, length = _EVENT.unpack_from(data, at)
                self.count += 1
                at += _EVENT.size + length
        self._news.set()

    async def reach(self, count):
        """Wait until so many have been counted."""
        while self.count < count:
            self._news.clear()
            await self._news.wait()

    def close(self):
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)


class HostWatch:
    """Notes when the machine itself stood still: a page took long to reach the disk, or this process to get its turn.

    Attributes:
        stalls: Spans of `time.monotonic`, seconds.
    """

    def __init__(self, folder):
        self.stalls = []
        self._file = folder / "probe"

    async def run(self):
        """Probe until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_PROBE_S)
            await asyncio.to_thread(self._touch_disk)
            ended = time.monotonic()
            if ended - began > _PROBE_S + _STALL_S:
                self.stalls.append((began, ended))

    def _touch_disk(self):
        with self._file.open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())


class DatabaseWire:
    """A TCP port before the database's Unix socket, which counts the messages that change something."""

    def __init__(self, socket_path):
        self.count = 0
        self.port = 0
        self._path = socket_path
        self._news = asyncio.Event()
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def reach(self, count):
        """Wait until so many writes have gone by."""
        while self.count < count:
            self._news.clear()
            await self._news.wait()

    async def close(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            up, out = await asyncio.open_unix_connection(self._path)
            await asyncio.gather(self._pump(reader, out, is_counted=True), self._pump(up, writer, is_counted=False))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pump(self, reader, writer, *, is_counted):
        try:
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
                # 'B' binds a prepared statement: every write of the run is one, and so are its few questions.
                if is_counted and (b"INSERT" in data or b"COPY" in data or data[:1] == b"B"):
                    self.count += 1
                    self._news.set()
        finally:
            writer.close()
