"""The control desk, for this machine alone: faults given by hand, the ledger, the state, and the market's pace."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import attrs
from aiohttp import web

from slt_sandbox.fault_rules import CATALOGUE, FaultRule, parse_rule

if TYPE_CHECKING:
    from slt_sandbox.server import Sandbox

__all__ = ["desk_routes"]

_NOW = {"close_1006", "close_1011", "close_1008", "cut_24h", "half_open", "unrouted"}
"""Faults of a connection that strike at once when they are given by hand, traffic or not."""


def desk_routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """Addresses under ``/sandbox``.

    ``POST /sandbox/faults`` takes a rule, or a list of rules, each as an object of `FaultRule`'s fields or as the text
    that `parse_rule` reads; ``GET`` tells the rules in force and what struck; ``GET /sandbox/ledger`` lists what
    happened (``?kinds=order,fill&since=17``); ``GET /sandbox/state`` says how the market and the clients are;
    ``POST /sandbox/market`` with ``{"paused": true}`` or ``{"step": 1}`` moves the market.
    """
    desk = _Desk(sandbox)
    return [
        web.post("/sandbox/faults", _local(desk.add_faults)),
        web.get("/sandbox/faults", _local(desk.list_faults)),
        web.get("/sandbox/ledger", _local(desk.read_ledger)),
        web.get("/sandbox/state", _local(desk.read_state)),
        web.post("/sandbox/market", _local(desk.move_market)),
    ]


class _Desk:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def add_faults(self, request: web.Request) -> web.Response:
        given = await request.json()
        try:
            rules = [_rule(one) for one in (given if isinstance(given, list) else [given])]
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error.args[0])}, status=400)
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
        since = int(request.query.get("since", "0"))
        entries = self._sandbox.exchange.ledger
        found = [e for e in entries[since:] if not kinds or e.kind in kinds]
        return web.json_response([attrs.asdict(entry) for entry in found])

    async def read_state(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._sandbox.state())

    async def move_market(self, request: web.Request) -> web.Response:
        given = await request.json()
        player = self._sandbox.player
        if "paused" in given:
            (player.pause if given["paused"] else player.resume)()
        if "step" in given:
            player.step(int(given["step"]))
        return web.json_response(self._sandbox.state())


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
