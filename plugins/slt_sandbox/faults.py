"""What goes wrong, where: k-lines, market connections, requests, answers and user events."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from attrs import evolve

from slt_sandbox.broadcast import Push
from slt_sandbox.fault_answers import LOST, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from slt_sandbox.fault_answers import Refusal
    from slt_sandbox.fault_rules import FaultRule, Schedule
    from slt_sandbox.tape import Candle

__all__ = ["Faults"]

_HUGE = 4 << 20
_IN_DOUBT = {"http_408", "http_500", "http_502", "http_503_unknown", "error_1006", "error_1007"}
"""Half of these strike after the exchange has carried the request out."""
_AT_OPEN = ("kline_missing", "symbol_silent")
_AT_CLOSE = (
    "kline_late",
    "kline_duplicate",
    "kline_reordered",
    "kline_restated",
    "kline_never_closed",
    "malformed_json",
    "huge_frame",
)
_REORDERED_MS = 45_000
"""How late a closing update is to come after two of the next bar's."""


class Faults:
    """Everything that can go wrong between the exchange and its clients.

    It is what the player, the market connections and the request handlers each ask before they go on.

    Args:
        schedule: The rules.
        clock: Market time, ms UTC.
        note: Told of each strike: name, symbol, and more of it.
        wall: The clients' time, ms UTC, by which bans are told; None = `clock`.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Callable[[], int],
        note: Callable[[str, str, str], None],
        wall: Callable[[], int] | None = None,
    ) -> None:
        self.schedule = schedule
        self._clock = clock
        self._note = note
        self._wall = wall or clock
        self._silent: dict[tuple[str, int], int] = {}
        self._skipped: dict[tuple[str, int, int], int] = {}
        self._bars: dict[tuple[str, int], int] = {}
        self._refusing: dict[str, float] = {}
        self._doubtful: dict[int, str] = {}
        self._user_silent_until = 0.0

    # -- k-lines ---------------------------------------------------------------------------------------------------

    def kline(self, symbol: str, candle: Candle, *, is_closed: bool, time: int) -> list[Push] | None:
        """See `slt_sandbox.broadcast.KlineFaults.kline`."""
        if not self.schedule.has("kline") and not self._silent and not self._skipped:
            return None
        length = candle.close_time - candle.open_time
        is_first = self._bars.get((symbol, length)) != candle.open_time
        self._bars[symbol, length] = candle.open_time
        names = _AT_CLOSE if is_closed else _AT_OPEN if is_first else ()
        pushes = [Push(candle, is_closed, spared=self._deaf(symbol, length, candle.open_time, time))]
        for client in self._clients() if names else ():
            for rule in self.schedule.strikes("kline", time, symbol=symbol, client=client, names=names):
                self._note(rule.name, symbol, f"bar {candle.close_time}")
                pushes = self._aim(rule, symbol, candle, pushes, time)
        return [push for push in pushes if 0 not in push.spared]

    def _clients(self) -> list[int]:
        """Whom rules may single out: 0 for those about everybody, and each client that a rule names."""
        return sorted({rule.client for rule in self.schedule.rules("kline")})

    def _deaf(self, symbol: str, length: int, opened: int, time: int) -> frozenset[int]:
        """Clients that are told nothing of a bar; 0 = nobody is."""
        silent = {client for (name, client), until in self._silent.items() if name == symbol and until > time}
        skipped = {c for (name, size, c), bar in self._skipped.items() if (name, size, bar) == (symbol, length, opened)}
        return frozenset(silent | skipped)

    def _aim(self, rule: FaultRule, symbol: str, candle: Candle, pushes: list[Push], time: int) -> list[Push]:
        """The pushes that a fault makes of those there were: for everybody, or for the one client it is about."""
        if rule.name == "symbol_silent":
            self._silent[symbol, rule.client] = time + int(rule.wait * 1_000)
        elif rule.name == "kline_missing":
            self._skipped[symbol, candle.close_time - candle.open_time, rule.client] = candle.open_time
        if not rule.client:
            return _spoil(rule, candle, pushes)
        others = [evolve(push, spared=push.spared | {rule.client}) for push in pushes if push.client != rule.client]
        its = [evolve(push, client=rule.client) for push in pushes if push.client in {0, rule.client}]
        return [*others, *_spoil(rule, candle, its)]

    # -- market connections ----------------------------------------------------------------------------------------

    def line_delay(self, client: int) -> float:
        """See `slt_sandbox.hub.LineFaults.line_delay`."""
        if not self.schedule.has("line"):
            return 0.0
        waits = 0.0
        for rule in self.schedule.strikes("line", self._clock(), client=client, names=("slow_network", "burst")):
            self._note(rule.name, "", f"client {client}")
            waits += rule.wait
        return waits

    def line_end(self, client: int) -> str:
        """See `slt_sandbox.hub.LineFaults.line_end`."""
        if not self.schedule.has("line"):
            return ""
        names = ("close_1006", "close_1011", "close_1008", "cut_24h", "half_open", "unrouted")
        rules = self.schedule.strikes("line", self._clock(), client=client, names=names)
        return rules[0].name if rules else ""

    # -- requests and answers --------------------------------------------------------------------------------------

    async def before_rest(self, request: web.Request, method: str, path: str) -> web.StreamResponse | None:
        """See `slt_sandbox.fault_points.FaultPoints.before_rest`."""
        given = await _parameters(request) if self.schedule.has("request") else {}
        return _to_rest(request, await self.before_frame(id(request), method, path, given))

    async def after_rest(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """See `slt_sandbox.fault_points.FaultPoints.after_rest`."""
        given = await _parameters(request) if self.schedule.has("answer") else {}
        refusal = await self.after_frame(id(request), request.method, request.path, given)
        return _to_rest(request, refusal) or response

    async def before_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """See `slt_sandbox.fault_points.FaultPoints.before_frame`."""
        loop = asyncio.get_running_loop()
        for name, until in list(self._refusing.items()):
            if loop.time() < until:
                return refuse(name, until - loop.time(), self._wall())
            del self._refusing[name]
        symbol = given.get("symbol", "")
        for rule in self.schedule.request_strikes("request", self._clock(), method, path, symbol):
            if rule.name == "error_1008" and (method == "DELETE" or _reduces_risk(given)):
                continue
            self._note(rule.name, symbol, f"{method} {path}")
            if rule.name in _IN_DOUBT and self.schedule.draw():
                self._doubtful[token] = rule.name
            elif rule.name == "request_late":
                await asyncio.sleep(rule.wait)
            else:
                return self._refuse(rule)
        return None

    def _refuse(self, rule: FaultRule) -> Refusal:
        if rule.name == "request_lost":
            return LOST
        if rule.name in {"http_429", "http_418"}:
            self._refusing[rule.name] = asyncio.get_running_loop().time() + rule.wait
        return refuse(rule.name, rule.wait, self._wall())

    async def after_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """See `slt_sandbox.fault_points.FaultPoints.after_frame`."""
        name = self._doubtful.pop(token, None)
        if name is not None:
            return refuse(name, 0.0, self._wall())
        symbol = given.get("symbol", "")
        for rule in self.schedule.request_strikes("answer", self._clock(), method, path, symbol):
            self._note(rule.name, symbol, f"{method} {path}")
            if rule.name == "answer_lost":
                return LOST
            await asyncio.sleep(rule.wait)
        return None

    # -- user events -----------------------------------------------------------------------------------------------

    async def order_user_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `slt_sandbox.fault_points.FaultPoints.order_user_events`."""
        now = asyncio.get_running_loop().time()
        if now < self._user_silent_until:
            return []
        if not self.schedule.has("user"):
            return events
        for rule in self._user_rules(events):
            self._note(rule.name, "", ",".join(str(event.get("e")) for event in events))
            if rule.name == "ack_before_fill":
                await asyncio.sleep(rule.wait)
            elif rule.name == "user_silent":
                self._user_silent_until = now + rule.wait
                return []
            elif rule.name == "user_duplicate":
                events = [*events, *events]
            else:
                events = sorted(events, key=lambda event: event.get("e") == "ALGO_UPDATE")
        return events

    def _user_rules(self, events: list[dict[str, Any]]) -> list[FaultRule]:
        """The rules that strike; those about fills and triggers wait for events that hold one."""
        words = {str(event.get("e")) for event in events}
        names = ["user_duplicate", "user_silent"]
        if "ORDER_TRADE_UPDATE" in words:
            names.append("ack_before_fill")
        if {"ALGO_UPDATE", "ORDER_TRADE_UPDATE"} <= words:
            names.append("algo_after_fill")
        return self.schedule.strikes("user", self._clock(), names=tuple(names))


def _spoil(rule: FaultRule, candle: Candle, pushes: list[Push]) -> list[Push]:
    """The pushes that a fault makes of those there were."""
    delay = _REORDERED_MS if rule.name == "kline_reordered" else int(rule.wait * 1_000)
    if rule.name in {"kline_late", "kline_reordered"}:
        return [evolve(push, delay_ms=push.delay_ms + delay) for push in pushes]
    if rule.name == "kline_duplicate":
        return [*pushes, *pushes]
    if rule.name == "kline_restated":
        return [*pushes, *(evolve(push, candle=_restated(candle), delay_ms=delay) for push in pushes[:1])]
    if rule.name in _MANGLES:
        return [evolve(push, mangle=_MANGLES[rule.name]) for push in pushes]
    return []


def _restated(candle: Candle) -> Candle:
    """The candle with a later opinion of its close and volume."""
    close = (candle.close + candle.open) / 2 if candle.close != candle.open else candle.close * 1.001
    return evolve(candle, close=close, high=max(candle.high, close), volume=candle.volume * 1.01)


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def _blow_up(text: str) -> str:
    """The same JSON, preceded by so many blanks that no reader expects it."""
    return " " * _HUGE + text


_MANGLES = {"malformed_json": _cut, "huge_frame": _blow_up}


async def _parameters(request: web.Request) -> dict[str, str]:
    """Parameters of a request's query and body; the query wins."""
    return dict(parse_qsl(await request.text())) | dict(request.query)


def _reduces_risk(given: dict[str, str]) -> bool:
    if "batchOrders" in given:
        return all(str(one.get("reduceOnly", "")).lower() == "true" for one in json.loads(given["batchOrders"]))
    return "true" in {given.get("reduceOnly", "").lower(), given.get("closePosition", "").lower()}


def _to_rest(request: web.Request, refusal: Refusal | None) -> web.StreamResponse | None:
    """The answer to a request; where it is to be lost, its connection is dropped without a word."""
    if refusal is None:
        return None
    if refusal.is_lost and request.transport is not None:
        request.transport.abort()
    return refusal.as_response()
