"""The control desk, for this machine alone: faults given by hand, the ledger, the state, and the market's pace."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

import attrs
from aiohttp import web

from slt_sandbox.fault_rules import CATALOGUE, FaultRule, parse_rule

if TYPE_CHECKING:
    from slt_sandbox.server import Sandbox

__all__ = ["desk_routes"]

_NOW = {"close_1006", "close_1011", "close_1008", "cut_24h", "half_open", "unrouted"}
"""Faults of a connection that strike at once when they are given by hand, traffic or not."""

_HELP = """\
A local exchange, for this machine alone.

REST                {url}/fapi/v1 ... v3
market streams      {stream}/market, {stream}/public
user stream         {stream}/private
WebSocket API       {stream}/ws-fapi/v1
archive files       {url}/data/futures/um

GET    {url}/sandbox/state     the market, the clients, the account
GET    {url}/sandbox/ledger    what happened: ?kinds=order,fill,fault&since=17
GET    {url}/sandbox/faults    every fault by name, rules in force, what struck
POST   {url}/sandbox/faults    a rule: curl -d 'http_429 seconds=5' {url}/sandbox/faults
DELETE {url}/sandbox/faults    take rules out of force: ?name=http_429, or all
POST   {url}/sandbox/market    {{"paused": true}}, {{"paused": false}}, {{"step": 1}}
"""


def desk_routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """Addresses under ``/sandbox``.

    ``POST /sandbox/faults`` takes rules as `parse_rule` reads them, one a line, or as JSON: such a text, an object of
    `FaultRule`'s fields, or a list of these; ``GET`` tells the rules in force and what struck, ``DELETE`` takes them
    all out of force (``?name=http_429``: those of one fault); ``GET /sandbox/ledger`` lists what happened
    (``?kinds=order,fill&since=17``); ``GET /sandbox/state`` says how the market and the clients are;
    ``POST /sandbox/market`` with ``{"paused": true}`` or ``{"step": 1}`` moves the market; ``GET /sandbox`` lists
    these.
    """
    desk = _Desk(sandbox)
    return [
        web.get("/sandbox", _local(desk.tell_addresses)),
        web.delete("/sandbox/faults", _local(desk.clear_faults)),
        web.post("/sandbox/faults", _local(desk.add_faults)),
        web.get("/sandbox/faults", _local(desk.list_faults)),
        web.get("/sandbox/ledger", _local(desk.read_ledger)),
        web.get("/sandbox/state", _local(desk.read_state)),
        web.post("/sandbox/market", _local(desk.move_market)),
    ]


class _Desk:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def tell_addresses(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text=_HELP.format(url=self._sandbox.url, stream=self._sandbox.url.replace("http", "ws", 1)))

    async def clear_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"removed": self._sandbox.faults.schedule.clear(request.query.get("name", ""))})

    async def add_faults(self, request: web.Request) -> web.Response:
        try:
            rules = [_rule(one) for one in _rules_in(await request.text())]
        except (ValueError, TypeError) as error:
            return _refuse(str(error.args[0]))
        struck = 0
        for rule in rules:
            struck += await self._sandbox.add_fault(rule, is_now=rule.name in _NOW and _is_plain(rule))
        return web.json_response({"added": len(rules), "struck": struck})

    async def list_faults(self, request: web.Request) -> web.Response:
        del request
        schedule = self._sandbox.faults.schedule
        return web.json_response(
            {
                "rules": [attrs.asdict(rule) for rule in schedule.rules()],
                "struck": [{"time": t, "name": name, "symbol": symbol} for t, name, symbol in schedule.struck],
                "catalogue": {name: fault.text for name, fault in CATALOGUE.items()},
            }
        )

    async def read_ledger(self, request: web.Request) -> web.Response:
        kinds = [kind for kind in request.query.get("kinds", "").split(",") if kind]
        since = request.query.get("since", "0")
        if not since.isdigit():
            return _refuse(
                f"since: found `{since}`, allowed is a whole number, the sequence of the last entry you have"
            )
        entries = self._sandbox.exchange.ledger
        found = [e for e in entries[int(since) :] if not kinds or e.kind in kinds]
        return web.json_response([attrs.asdict(entry) for entry in found])

    async def read_state(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._sandbox.state())

    async def move_market(self, request: web.Request) -> web.Response:
        try:
            given = json.loads(await request.text())
            step = int(given.get("step", 0))
        except (ValueError, TypeError, AttributeError):
            return _refuse('found no such thing; write {"paused": true}, {"paused": false} or {"step": 1}')
        player = self._sandbox.player
        if "paused" in given:
            (player.pause if given["paused"] else player.resume)()
        if step > 0:
            player.step(step)
        return web.json_response(self._sandbox.state())


def _refuse(text: str) -> web.Response:
    return web.json_response({"error": text}, status=400)


def _rules_in(text: str) -> list[Any]:
    """The rules of a request: JSON, or plain lines."""
    try:
        given = json.loads(text)
    except ValueError:
        return [line for line in text.splitlines() if line.strip()] or [""]
    return given if isinstance(given, list) else [given]


def _rule(given: Any) -> FaultRule:
    if isinstance(given, str):
        return parse_rule(given)
    if not isinstance(given, dict) or given.get("name") not in CATALOGUE:
        return parse_rule(str(given.get("name", "")) if isinstance(given, dict) else str(given))
    return FaultRule(**given)


def _is_plain(rule: FaultRule) -> bool:
    """Whether nothing in a rule says to wait."""
    return rule.nth == 1 and not rule.after_seconds and rule.probability >= 1.0


def _local(handler: Any) -> Any:
    """A handler that answers this machine alone."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            is_local = ipaddress.ip_address(request.remote or "").is_loopback
        except ValueError:
            is_local = False
        if not is_local:
            return web.json_response({"error": "the desk answers this machine alone"}, status=403)
        response: web.StreamResponse = await handler(request)
        return response

    return guarded
