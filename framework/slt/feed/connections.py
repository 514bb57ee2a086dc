"""One owner for each planned connection: opens it, keeps it subscribed, and has a new one up before it closes the old.

It goes on for as long as the run does: with backoff and jitter under a ceiling, reset once a connection has lasted.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from attrs import evolve
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from slt.feed.liveness import Liveness
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slt.config import FeedConfig
    from slt.types import ConnectionPlan

__all__ = ["Connection", "Subscriber", "Take"]

Take = Callable[[bytes], Awaitable[None] | None]
"""Takes a frame; an answer that is not None is awaited before the next is read."""

_CHECK_S = 1.0
_LASTED_S = 60.0
_FIRST_WAIT_S = 0.5
_TURN = 256
_BUFFERED_FRAMES = 64
_LONG_CHUNK = 32_768
_HURRIED_CHUNKS = 100
_log = get_logger("lifecycle")


class Subscriber(Protocol):
    """The feed's ``slt_subscribe_streams``."""

    def __call__(self, streams: tuple[str, ...], is_wanted: bool, first_id: int) -> tuple[str, ...]:
        """Word the control frames."""
        ...


class _GatheringConnection(ClientConnection):
    """A client that lets the kernel collect what comes for a moment, because a wake-up costs more than a frame.

    After a long chunk nothing is collected for a while: there is more than enough.
    """

    gather: Callable[[], float] = float
    _hurry = 0

    def data_received(self, data: bytes) -> None:
        """Take a chunk; see `asyncio.Protocol`."""
        super().data_received(data)
        if len(data) >= _LONG_CHUNK:
            self._hurry = _HURRIED_CHUNKS
        elif self._hurry:
            self._hurry -= 1
        elif (wait := self.gather()) > 0.0:
            self.transport.pause_reading()
            self.loop.call_later(wait, self._go_on)

    def _go_on(self) -> None:
        if not self.recv_messages.paused and not self.transport.is_closing():
            self.transport.resume_reading()


class _Socket:
    """One socket of a connection, read by a task of its own from the moment it is open."""

    def __init__(self, owner: Connection, socket: ClientConnection) -> None:
        self.owner = owner
        self.socket = socket
        self.opened = owner.seconds()
        self.life = owner.config.reconnect_hours * 3600 * owner.dice.uniform(0.95, 1.0)
        self.cause = ""
        self.free_at = 0.0

    async def read(self) -> None:
        """Hand on every frame until the socket ends, and say why it did in `cause`."""
        take, receive, place = self.owner.take, self.socket.recv, 0
        try:
            while True:
                waiting = take(await receive(decode=False))
                place += 1
                if waiting is not None:
                    await waiting
                elif place >= _TURN:
                    place = 0
                    await asyncio.sleep(0)
        except ConnectionClosed as closed:
            self.cause = _cause(closed)
        finally:
            await self.socket.close()

    async def send(self, streams: tuple[str, ...], *, is_wanted: bool) -> None:
        """Subscribe or unsubscribe at the configured pace."""
        owner, clock = self.owner, asyncio.get_running_loop().time
        for text in owner.subscribe(streams, is_wanted, owner.next_id):
            owner.next_id += 1
            await asyncio.sleep(max(0.0, self.free_at - clock()))
            self.free_at = clock() + 1 / owner.config.control_frames_per_second
            await self.socket.send(text)


class Connection:
    """Owns one planned connection.

    Args:
        plan: What to connect and subscribe.
        config: Limits, paces and waits.
        subscribe: The feed's ``slt_subscribe_streams``.
        make_take: Gives what takes each frame, and notes in the `Liveness` whose it was; an answer that is not None is
            awaited before the next frame is read.
        seconds: A steady clock.
        gather: How long, in seconds, what comes may collect before it is read.
        dice: Draws the jitter.
    """

    def __init__(
        self,
        plan: ConnectionPlan,
        config: FeedConfig,
        subscribe: Subscriber,
        make_take: Callable[[Liveness], Take],
        seconds: Callable[[], float],
        gather: Callable[[], float] = float,
        dice: random.Random | None = None,
    ) -> None:
        self.plan = plan
        self.config = config
        self.subscribe = subscribe
        self.seconds = seconds
        self.gather = gather
        self.dice = dice or random.Random()  # noqa: S311 # jitter
        self.liveness = Liveness(config)
        self.take = make_take(self.liveness)
        self.causes: Counter[str] = Counter()
        self.next_id = 1
        self._attempt = 0
        self._untraded: set[str] = set()
        self._changes: deque[tuple[tuple[str, ...], bool]] = deque()
        self._readers: list[asyncio.Task[None]] = []

    @property
    def is_up(self) -> bool:
        """Whether a socket is open and subscribed."""
        return any(not reading.done() for reading in self._readers)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        async with asyncio.TaskGroup() as group:
            socket, reading = await self._open(group)
            while True:
                cause = await self._watch(socket, reading)
                self._count(cause, socket)
                fresh, fresh_reading = await self._open(group)
                if not reading.done():
                    group.create_task(self._retire(socket, reading))
                socket, reading = fresh, fresh_reading

    def silent_symbols(self, now: float) -> tuple[str, ...]:
        """Symbols that have been silent too long."""
        symbols = dict(zip(self.plan.streams, self.plan.symbols, strict=True))
        return tuple(symbols[stream] for stream in self.liveness.silent(now))

    def expect(self, symbol: str, *, is_tradable: bool) -> None:
        """Miss a symbol when it is silent, or no longer because it is not traded."""
        (self._untraded.discard if is_tradable else self._untraded.add)(symbol)
        for stream, name in zip(self.plan.streams, self.plan.symbols, strict=True):
            if name == symbol and is_tradable:
                self.liveness.heard.setdefault(stream, self.seconds())
            elif name == symbol:
                self.liveness.heard.pop(stream, None)

    def subscribe_more(self, streams: tuple[str, ...], symbols: tuple[str, ...]) -> None:
        """Have more streams on this connection, on the open socket within a second and on every later one.

        Args:
            streams: Their names; those that it has already are passed over.
            symbols: The symbol of each.
        """
        new = [pair for pair in zip(streams, symbols, strict=True) if pair[0] not in self.plan.streams]
        if not new:
            return
        names, theirs = zip(*new, strict=True)
        plan = self.plan
        self.plan = evolve(plan, streams=(*plan.streams, *names), symbols=(*plan.symbols, *theirs))
        self.liveness.heard.update((n, self.seconds()) for n, s in new if s and s not in self._untraded)
        self._changes.append((names, True))

    def drop(self, symbol: str) -> None:
        """Have the streams of a symbol no longer; a connection that is left without any stays up for those to come."""
        pairs = list(zip(self.plan.streams, self.plan.symbols, strict=True))
        gone = tuple(stream for stream, name in pairs if name == symbol)
        if gone:
            kept = [pair for pair in pairs if pair[1] != symbol]
            streams, symbols = tuple(stream for stream, _ in kept), tuple(name for _, name in kept)
            self.plan = evolve(self.plan, streams=streams, symbols=symbols)
            for stream in gone:
                self.liveness.heard.pop(stream, None)
            self._changes.append((gone, False))

    async def _open(self, group: asyncio.TaskGroup) -> tuple[_Socket, asyncio.Task[None]]:
        """A socket that is up and subscribed, and the task that reads it; tries for as long as it takes."""
        while True:
            if self._attempt:
                await asyncio.sleep(self._wait())
            self._attempt += 1
            socket, reading = None, None
            try:
                async with asyncio.timeout(self.config.connect_seconds):
                    socket = _Socket(self, await self._connect())
                reading = group.create_task(socket.read())
                self.liveness.begin(self.seconds(), self._watched())
                self._changes.clear()
                await socket.send(self.plan.streams, is_wanted=True)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                self._refused(error)
                if reading is not None and socket is not None:
                    await self._end(socket, reading)
                continue
            self._readers = [*(r for r in self._readers if not r.done()), reading]
            _log.info("connected", connection=self.plan.name, streams=len(self.plan.streams))
            return socket, reading

    async def _connect(self) -> ClientConnection:
        socket = await connect(
            self.plan.url,
            create_connection=_GatheringConnection,
            compression=None,
            open_timeout=self.config.connect_seconds,
            ping_interval=self.config.ping_seconds,
            ping_timeout=self.config.ping_seconds,
            close_timeout=1.0,
            max_queue=_BUFFERED_FRAMES,
        )
        if isinstance(socket, _GatheringConnection):
            socket.gather = self.gather
        return socket

    def _watched(self) -> tuple[str, ...]:
        pairs = zip(self.plan.streams, self.plan.symbols, strict=True)
        return tuple(stream for stream, symbol in pairs if symbol and symbol not in self._untraded)

    async def _watch(self, socket: _Socket, reading: asyncio.Task[None]) -> str:
        """Wait until the socket has to be replaced or has ended; says why."""
        while True:
            await asyncio.wait((reading,), timeout=_CHECK_S)
            if reading.done():
                reading.result()
                return socket.cause
            now = self.seconds()
            if now - socket.opened > _LASTED_S:
                self._attempt = 0
            if now - socket.opened > socket.life:
                return "planned"
            verdict = self.liveness.judge(now)
            if verdict.cause:
                return verdict.cause
            if verdict.resubscribe:
                await self._resubscribe(socket, verdict.resubscribe)
            await self._change_streams(socket)

    async def _resubscribe(self, socket: _Socket, streams: tuple[str, ...]) -> None:
        self.causes["resubscribed"] += len(streams)
        _log.warning("symbols silent, subscribing again", connection=self.plan.name, streams=_some(streams))
        try:
            await socket.send(streams, is_wanted=False)
            await socket.send(streams, is_wanted=True)
        except ConnectionClosed:
            return

    async def _change_streams(self, socket: _Socket) -> None:
        while self._changes:
            streams, is_wanted = self._changes.popleft()
            try:
                await socket.send(streams, is_wanted=is_wanted)
            except ConnectionClosed:
                return
            word = "subscribed" if is_wanted else "unsubscribed"
            _log.info(word, connection=self.plan.name, streams=_some(streams))

    async def _retire(self, socket: _Socket, reading: asyncio.Task[None]) -> None:
        """Let the old socket go on beside its replacement for a while, then close it."""
        await asyncio.wait((reading,), timeout=self.config.overlap_seconds)
        await self._end(socket, reading)

    async def _end(self, socket: _Socket, reading: asyncio.Task[None]) -> None:
        await socket.socket.close()
        await reading

    def _wait(self) -> float:
        """Full jitter under a doubling ceiling."""
        ceiling = min(_FIRST_WAIT_S * 2.0 ** min(self._attempt - 1, 16), self.config.backoff_ceiling_seconds)
        return ceiling * self.dice.uniform(0.5, 1.0)

    def _refused(self, error: Exception) -> None:
        cause = f"http_{error.response.status_code}" if isinstance(error, InvalidStatus) else _cause(error)
        self.causes[cause] += 1
        _log.warning(
            "cannot connect",
            connection=self.plan.name,
            url=self.plan.url,
            cause=cause,
            next_wait_s=round(self._wait(), 1),
        )

    def _count(self, cause: str, socket: _Socket) -> None:
        self.causes[cause] += 1
        if cause == "planned":
            _log.info("replacing the connection before the exchange cuts it", connection=self.plan.name)
            return
        lasted = round(self.seconds() - socket.opened, 1)
        _log.warning("connection lost", connection=self.plan.name, cause=cause, lasted_s=lasted)
        if cause == "silent" and self.liveness.last == self.liveness.begun:
            _log.warning("subscribed, and not one message came: check the path of the address", url=self.plan.url)


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        return str(close.code) if close is not None else "1006"
    return "handshake" if isinstance(error, InvalidHandshake) else "refused"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
