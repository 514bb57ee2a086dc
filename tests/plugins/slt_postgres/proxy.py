"""A TCP proxy on 127.0.0.1 that can cut, stall, delay, refuse and redirect what goes through it."""

from __future__ import annotations

import asyncio
import contextlib


class Proxy:
    """Stands between a client and a server that listens on a Unix socket.

    Attributes:
        target: Path of the socket that new connections lead to; changing it is a fail-over.
        delay_seconds: Added to every piece of data on its way back.
        is_refusing: Whether new connections are closed at once.
        accepted: Connections taken so far.
    """

    def __init__(self, target):
        self.target = str(target)
        self.delay_seconds = 0.0
        self.is_refusing = False
        self.accepted = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers = set()
        self._server = None
        self.port = 0

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        """Take no more connections and cut those there are: the port refuses, as where no server runs."""
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self):
        """Break every connection now."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    def stall(self):
        """Let nothing through in either direction, new connections included; nobody is told."""
        self._flowing.clear()

    def flow(self):
        self._flowing.set()

    def url(self, database="postgres", user="postgres"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    async def _serve(self, reader, writer):
        self.accepted += 1
        if self.is_refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        there = None
        try:
            await self._flowing.wait()
            there_reader, there = await asyncio.open_unix_connection(self.target)
            self._writers.add(there)
            forth = asyncio.ensure_future(self._pump(reader, there, is_back=False))
            back = asyncio.ensure_future(self._pump(there_reader, writer, is_back=True))
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
            for one in (forth, back):
                one.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in filter(None, (writer, there)):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader, writer, *, is_back):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if is_back and self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
