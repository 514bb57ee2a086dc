"""The REST client: signing, the exchange's clock, budgets, and what to do about every kind of failure.

Addresses and parameters of signed requests carry a signature, and aiohttp's errors carry the address: none of its
errors leaves this module, not even as the context of another.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from attrs import frozen
from yarl import URL

from slt_binance.budgets import Budgets
from slt_binance.endpoints import Endpoint, Endpoints, Security
from slt_binance.faults import Action, ExchangeError, Verdict, ban_time, judge
from slt_binance.signing import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slt_binance.signing import Signer

__all__ = ["Client", "Credentials", "server_name"]

_FORM = "application/x-www-form-urlencoded"
_TRIES = 5
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_CLOCK_SAMPLES = 3
_CLOCK_AGE_MS = 30 * 60_000
_MINUTE_MS = 60_000
_BAN_PAUSE_MS = 120_000
_LONG_WAIT_MS = 10_000
_LONGEST_BAN_MS = 3 * 24 * 3_600_000
_TOO_MANY_ORDERS = -1015
_CONNECTIONS = 32
"""Requests side by side: entry, stop and target of ten positions in one wave. Further ones wait for the next free."""
_LONGEST_BODY = 64 * 2**20
_log = logging.getLogger(__name__)


@frozen
class Credentials:
    """What signs requests.

    Attributes:
        key: The API key.
        signer: Signs with the secret that belongs to it.
    """

    key: str
    signer: Signer

    def __repr__(self) -> str:
        return "Credentials()"


@frozen
class _Answer:
    status: int
    headers: dict[str, str]
    text: str


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Client:
    """Calls the exchange.

    Reads, and writes that end in the same state however often they arrive, are repeated with jittered backoff. Orders
    are sent once: they are repeated only where the exchange certainly did not carry them out.

    Args:
        base_url: ``https://host``, without a path.
        credentials: Key and signer; None can only make public calls.
        recv_window_ms: How late a signed request may arrive.
        timeout_seconds: For one exchange of request and answer.
        longest_pause_seconds: A call that would have to wait longer for budget or ban fails at once.
        firewall_pause_seconds: How long nothing is sent after a 403, which does not say how long it lasts.
        monotonic_ms: A clock that never jumps, in milliseconds from anywhere.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None,
        *,
        recv_window_ms: int = 5_000,
        timeout_seconds: float = 10.0,
        longest_pause_seconds: float = 15.0,
        firewall_pause_seconds: float = 15.0,
        monotonic_ms: Callable[[], int] = _monotonic_ms,
    ) -> None:
        self.budgets = Budgets()
        self.recv_window_ms = recv_window_ms
        self._base = base_url.rstrip("/")
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._longest_pause_ms = int(longest_pause_seconds * 1000)
        self._firewall_pause_ms = int(firewall_pause_seconds * 1000)
        self._monotonic_ms = monotonic_ms
        self._offset: int | None = None
        self._synced_at = 0
        self._syncing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._jitter = random.Random()  # noqa: S311 # spreads retries, guards no secret

    def __repr__(self) -> str:
        return f"Client({server_name(self._base)})"

    @property
    def server(self) -> str:
        """Host and port, for messages."""
        return server_name(self._base)

    @property
    def now(self) -> int:
        """The exchange's time, ms UTC, as measured last; the machine's own clock before the first measurement."""
        if self._offset is None:
            return time.time_ns() // 1_000_000
        return self._monotonic_ms() + self._offset

    def saw_time(self, time_ms: int) -> None:
        """The exchange dated something: its clock is at least there."""
        if self._offset is not None:
            self._offset = max(self._offset, time_ms - self._monotonic_ms())

    @contextmanager
    def waiting_up_to(self, seconds: float) -> Iterator[None]:
        """Let calls inside wait so long for budget or ban, where that is longer than usual.

        Args:
            seconds: Longest wait of one call.
        """
        usual = self._longest_pause_ms
        self._longest_pause_ms = max(usual, int(seconds * 1000))
        try:
            yield
        finally:
            self._longest_pause_ms = usual

    def sibling(self, base_url: str) -> Client:
        """A client of another host with the same key and clock; it never waits, and its pauses are its own."""
        made = Client(
            base_url,
            self._credentials,
            recv_window_ms=self.recv_window_ms,
            timeout_seconds=self._timeout.total or 0.0,
            longest_pause_seconds=0.0,
            firewall_pause_seconds=self._firewall_pause_ms / 1000,
            monotonic_ms=self._monotonic_ms,
        )
        made._offset, made._synced_at = self._offset, self._synced_at  # of the same class
        return made

    async def close(self) -> None:
        """Close the connections; closing twice is no error."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def sync_clock(self) -> int:
        """Measure the exchange's clock; later calls carry its time, whatever the machine's clock does.

        Returns:
            By how much the machine's clock is ahead of the exchange's, ms, give or take half the network's delay.

        Raises:
            ExchangeError: The exchange does not answer.
        """
        best: tuple[int, int] | None = None
        for _ in range(_CLOCK_SAMPLES):
            before = self._monotonic_ms()
            answer = await self.call(Endpoints.TIME)
            after = self._monotonic_ms()
            sample = (after - before, int(answer["serverTime"]) - (before + after) // 2)
            best = sample if best is None else min(best, sample)
        if best is not None:
            before = self.now
            self._offset, self._synced_at = best[1], self._monotonic_ms()
            self.budgets.move_clock(self.now - before)
        return time.time_ns() // 1_000_000 - self.now

    async def call(
        self, endpoint: Endpoint, /, *, weight: int | None = None, is_urgent: bool = False, **parameters: Any
    ) -> Any:
        """Make a call and give the JSON of its answer.

        Args:
            endpoint: What to call.
            weight: Weight where the parameters make it another than the endpoint's.
            is_urgent: It shrinks risk, or finds out what became of an order: it may use what is kept in reserve.
            parameters: Parameters by name; those that are None are left out. In the order given.

        Returns:
            Decoded JSON; ``{}`` where the exchange said that what was asked for is so already.

        Raises:
            ExchangeError: Anything else, with what to do about it.
        """
        given = {name: _text(value) for name, value in parameters.items() if value is not None}
        cost = endpoint.weight if weight is None else weight
        is_resynced, attempt = False, 1
        while True:
            await self._wait_for_budget(cost, endpoint.orders, is_urgent=is_urgent)
            answer, verdict = await self._exchange(endpoint, given, cost)
            if verdict is None or verdict.action is Action.OK:
                return answer
            if verdict.action is Action.RESYNC and endpoint.security is Security.SIGNED and not is_resynced:
                is_resynced = True
                await self._resync()
                continue
            if verdict.action not in {Action.RETRY, Action.WAIT} or attempt == _TRIES:
                raise ExchangeError(verdict)
            if verdict.action is Action.RETRY:
                await asyncio.sleep(self._backoff(attempt))
            attempt += 1

    async def _wait_for_budget(self, weight: int, orders: int, *, is_urgent: bool) -> None:
        is_said = False
        while wait := self.budgets.wait_ms(self.now, weight, orders, is_urgent=is_urgent):
            is_blocked = self.budgets.blocked_until > self.now
            what = "the exchange asked to pause" if is_blocked else "the budget is used up"
            if wait > self._longest_pause_ms:
                raise ExchangeError(
                    Verdict(Action.WAIT, 0, f"nothing was sent to {self.server}: {what}, {wait / 1000:.0f} s remain")
                )
            if wait > _LONG_WAIT_MS and not is_said:
                is_said = True
                _log.warning("waiting %.0f s before %s may be asked again: %s", wait / 1000, self.server, what)
            # In steps: what the exchange dates meanwhile may show that its clock is further than thought.
            await asyncio.sleep(min(1.0, wait / 1000))

    async def _exchange(self, endpoint: Endpoint, given: dict[str, str], weight: int) -> tuple[Any, Verdict | None]:
        """One request and its answer: the JSON, or what went wrong."""
        if endpoint.security is Security.SIGNED and self._is_clock_old:
            await self._resync()
        self.budgets.sent(weight, endpoint.orders)
        headers: dict[str, str] = {}
        try:
            answer = await self._send(endpoint, given)
            headers = answer.headers
        except ExchangeError as error:
            return {}, error.verdict
        finally:
            self.budgets.answered(self.now, weight, endpoint.orders, headers)
        return self._read(endpoint, answer)

    async def _send(self, endpoint: Endpoint, given: dict[str, str]) -> _Answer:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=True)
        headers, payload = self._prepare(endpoint, given)
        is_form = endpoint.method in {"POST", "PUT"}
        address = self._base + endpoint.path + ("" if is_form or not payload else f"?{payload}")
        if is_form:
            headers["Content-Type"] = _FORM
        try:
            async with self._session.request(
                endpoint.method,
                URL(address, encoded=True),
                data=payload if is_form else None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                body = await _read_body(response.content)
                found = {name.lower(): value for name, value in response.headers.items()}
                return _Answer(response.status, found, body.decode("utf-8", "replace"))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            verdict = _of_failure(error, self.server, is_safe=endpoint.is_safe)
        raise ExchangeError(verdict)

    def _prepare(self, endpoint: Endpoint, given: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """Headers and encoded parameters, the signature included."""
        if endpoint.security is Security.NONE:
            return {}, encode(given)
        if self._credentials is None:
            raise ExchangeError(Verdict(Action.FATAL, 0, "this call needs an API key, and none was given"))
        headers = {"X-MBX-APIKEY": self._credentials.key}
        if endpoint.security is Security.KEY:
            return headers, encode(given)
        stamped = {**given, "recvWindow": str(self.recv_window_ms), "timestamp": str(self.now)}
        payload = encode(stamped)
        return headers, f"{payload}&{encode({'signature': self._credentials.signer.sign(payload)})}"

    def _read(self, endpoint: Endpoint, answer: _Answer) -> tuple[Any, Verdict | None]:
        data = _decoded(answer.text)
        code, text = _complaint(data)
        if answer.status == 200 and data is not None and code >= 0:
            return data, None
        if answer.status == 200 and data is None:
            action = Action.RETRY if endpoint.is_safe else Action.UNKNOWN
            text = f"{self.server} answered 200 without JSON; is a proxy in the way, or the address not the exchange's?"
            return {}, Verdict(action, 0, text)
        verdict = judge(answer.status, code, text or answer.text, is_safe=endpoint.is_safe)
        if verdict.action is Action.WAIT:
            self._pause(answer, verdict, text)
        return {}, verdict

    def _pause(self, answer: _Answer, verdict: Verdict, text: str) -> None:
        """Take in how long the exchange wants to be left alone: its header's seconds need no clock, its text does."""
        asked = answer.headers.get("retry-after", "")
        pause = int(float(asked) * 1000) if asked.replace(".", "", 1).isdigit() else None
        if verdict.code == _TOO_MANY_ORDERS:
            self.budgets.block_orders(self.now, pause)
            return
        until = ban_time(text)
        if pause is not None:
            until = self.now + pause
        elif until is None:
            usual = {418: _BAN_PAUSE_MS, 403: self._firewall_pause_ms}
            until = self.now + usual.get(answer.status, _MINUTE_MS - self.now % _MINUTE_MS)
        until = min(until, self.now + _LONGEST_BAN_MS)
        self.budgets.block(until)
        _log.warning("%s asked to pause for %.0f s: %s", self.server, (until - self.now) / 1000, verdict.reason)

    async def _resync(self) -> None:
        seen = self._synced_at
        async with self._syncing:
            # Whoever waited here finds that the one before has measured already.
            if self._offset is None or self._synced_at == seen:
                await self.sync_clock()

    @property
    def _is_clock_old(self) -> bool:
        return self._offset is None or self._monotonic_ms() - self._synced_at > _CLOCK_AGE_MS

    def _backoff(self, attempt: int) -> float:
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempt - 1))
        return longest * self._jitter.uniform(0.5, 1.0)


def server_name(address: str) -> str:
    """Host and port of an address: what may be shown of it."""
    try:
        url = URL(address)
        return f"{url.host}:{url.port}" if url.port and not url.is_default_port() else str(url.host)
    except ValueError:
        return "an address that cannot be read"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _complaint(data: Any) -> tuple[int, str]:
    """Code and words of a refusal; a code of 0 or above is none."""
    if not isinstance(data, dict):
        return 0, ""
    try:
        return int(data.get("code", 0)), str(data.get("msg", ""))
    except (TypeError, ValueError):
        return 0, str(data.get("msg", ""))


async def _read_body(content: aiohttp.StreamReader) -> bytes:
    """All of a body, up to the longest that may be: `StreamReader.read` gives only what has come so far."""
    body = bytearray()
    while len(body) < _LONGEST_BODY and (chunk := await content.readany()):
        body += chunk
    return bytes(body)


def _of_failure(error: Exception, server: str, *, is_safe: bool) -> Verdict:
    """What a request without an answer means: only one that never found a connection was certainly not sent."""
    cause = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        advice = "check the network, the address in rest_url, and any proxy"
        return Verdict(Action.RETRY, 0, f"no connection to {server} ({cause}); {advice}")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Verdict(Action.FATAL, 0, f"rest_url: `{server}` is no address; give https://host")
    action = Action.RETRY if is_safe else Action.UNKNOWN
    what = "did not answer in time" if isinstance(error, TimeoutError) else f"broke the connection ({cause})"
    return Verdict(action, 0, f"{server} {what}")
