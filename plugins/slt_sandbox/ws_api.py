"""The WebSocket API: the same requests as over REST, one JSON frame each, and the same faults."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
from attrs import define, frozen

from slt_sandbox import rest_account, rest_market, rest_orders
from slt_sandbox.endpoint import Call
from slt_sandbox.errors import ApiError, refusal
from slt_sandbox.fault_points import FaultPoints, NoFaults
from slt_sandbox.limits import rate_limits
from slt_sandbox.params import Params
from slt_sandbox.signing import DEFAULT_RECV_WINDOW_MS, check_time, is_signed_by, sorted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt_sandbox.account import Account
    from slt_sandbox.exchange import Exchange

__all__ = ["routes"]

_PING_SECONDS = 180.0


@frozen
class _Method:
    """What a method does, and the REST request that it stands for: rules of faults name those."""

    answer: Callable[[Call], Any]
    rest: str
    weight: int
    security: str = "signed"
    orders: int = 0


_METHODS: dict[str, _Method] = {
    "order.place": _Method(rest_orders.place_order, "POST /fapi/v1/order", 0, orders=1),
    "order.modify": _Method(rest_orders.amend_order, "PUT /fapi/v1/order", 0, orders=1),
    "order.cancel": _Method(rest_orders.cancel_order, "DELETE /fapi/v1/order", 1),
    "order.status": _Method(rest_orders.query_order, "GET /fapi/v1/order", 1),
    "algoOrder.place": _Method(rest_orders.place_algo, "POST /fapi/v1/algoOrder", 0, orders=1),
    "algoOrder.cancel": _Method(rest_orders.cancel_algo, "DELETE /fapi/v1/algoOrder", 1),
    "account.position": _Method(rest_account.position_risk, "GET /fapi/v3/positionRisk", 5),
    "v2/account.position": _Method(rest_account.position_risk, "GET /fapi/v3/positionRisk", 5),
    "account.balance": _Method(rest_account.balance, "GET /fapi/v3/balance", 5),
    "v2/account.balance": _Method(rest_account.balance, "GET /fapi/v3/balance", 5),
    "account.status": _Method(rest_account.account_information, "GET /fapi/v3/account", 5),
    "v2/account.status": _Method(rest_account.account_information, "GET /fapi/v3/account", 5),
    "userDataStream.start": _Method(rest_account.start_listen_key, "POST /fapi/v1/listenKey", 1, "key"),
    "userDataStream.ping": _Method(rest_account.keep_listen_key, "PUT /fapi/v1/listenKey", 1, "key"),
    "userDataStream.stop": _Method(rest_account.close_listen_key, "DELETE /fapi/v1/listenKey", 1, "key"),
    "ticker.price": _Method(rest_market.last_prices, "GET /fapi/v1/ticker/price", 1, "none"),
    "ticker.book": _Method(rest_market.best_prices, "GET /fapi/v1/ticker/bookTicker", 2, "none"),
    "depth": _Method(rest_market.levels, "GET /fapi/v1/depth", 10, "none"),
    "time": _Method(rest_market.server_time, "GET /fapi/v1/time", 1, "none"),
}


@define
class _Session:
    """One connection: who has logged on, and what each answer tells of limits."""

    address: str
    shows_limits: bool
    api_key: str = ""
    since: int = 0


def routes(exchange: Exchange, faults: FaultPoints | None = None) -> list[web.RouteDef]:
    """The WebSocket API's route.

    Args:
        exchange: The exchange behind it.
        faults: What may go wrong; None = nothing.
    """
    server = _WsApi(exchange, faults or NoFaults())
    return [web.get("/ws-fapi/v1", server.handle)]


class _WsApi:
    def __init__(self, exchange: Exchange, faults: FaultPoints) -> None:
        self._exchange = exchange
        self._faults = faults
        self._tokens = itertools.count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one connection's frames, one after the other."""
        socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False)
        await socket.prepare(request)
        shows = request.query.get("returnRateLimits", "true") != "false"
        session = _Session(request.remote or "127.0.0.1", shows)
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            answer = await self._respond(session, message.data)
            if answer is not None:
                await socket.send_str(json.dumps(answer, separators=(",", ":"), ensure_ascii=False))
            elif request.transport is not None:
                request.transport.abort()
        return socket

    async def _respond(self, session: _Session, text: str) -> dict[str, Any] | None:
        """The answer to a frame; None = it is lost, and the connection with it."""
        self._exchange.expire()
        request: dict[str, Any] = {}
        try:
            request = _parse(text)
        except ApiError as error:
            return self._word(session, request, {"status": error.status, "error": error.body})
        method = _METHODS.get(str(request.get("method", "")))
        if method is None:
            return self._word(session, request, self._carry_out(session, request))
        # A negative number is nobody's `id(request)`: REST requests are told apart by these.
        token, (verb, _, path) = -next(self._tokens), method.rest.partition(" ")
        given = {name: str(value) for name, value in _parameters(request).items()}
        refusal = await self._faults.before_frame(token, verb, path, given)
        body: dict[str, Any] = {}
        if refusal is None:
            body = self._carry_out(session, request)
            refusal = await self._faults.after_frame(token, verb, path, given)
        if refusal is not None:
            if refusal.is_lost:
                return None
            body = refusal.as_frame()
        return self._word(session, request, body)

    def _carry_out(self, session: _Session, request: dict[str, Any]) -> dict[str, Any]:
        """Let the exchange do what is asked; synchronous, so that nothing happens between its parts."""
        try:
            body: dict[str, Any] = {"status": 200, "result": _answer(self._exchange, session, request)}
        except ApiError as error:
            body = {"status": error.status, "error": error.body}
        self._exchange.flush()
        return body

    def _word(self, session: _Session, request: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        answer = {"id": request.get("id")} | body
        if session.shows_limits and _parameters(request).get("returnRateLimits") is not False:
            answer["rateLimits"] = _counts(self._exchange, session)
        return answer


def _parse(text: str) -> dict[str, Any]:
    try:
        # Numbers keep the form in which they were sent, which is the form that was signed.
        request = json.loads(text, parse_float=str)
    except ValueError:
        raise refusal(-1100, name="request") from None
    if not isinstance(request, dict):
        raise refusal(-1100, name="request")
    return request


def _parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    found = request.get("params", {})
    return found if isinstance(found, dict) else {}


def _answer(exchange: Exchange, session: _Session, request: dict[str, Any]) -> Any:
    name, values = str(request.get("method", "")), _parameters(request)
    now = exchange.wall()
    if name.startswith("session."):
        exchange.limits.use_weight(session.address, 2, now)
        return _session(exchange, session, name, values)
    method = _METHODS.get(name)
    if method is None:
        raise refusal(-1130, name="method")
    exchange.limits.use_weight(session.address, method.weight, now)
    account = None if method.security == "none" else _authenticate(exchange, session, values, method.security)
    if account is not None and method.orders:
        exchange.limits.use_orders(account.api_key, now)
    return method.answer(Call(exchange, Params(values), account))


def _session(exchange: Exchange, session: _Session, name: str, values: dict[str, Any]) -> dict[str, Any]:
    if name == "session.logon":
        account = _authenticate(exchange, session, values, "signed")
        if not account.secret.startswith("-----BEGIN"):
            raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
        session.api_key, session.since = account.api_key, exchange.clock()
    elif name == "session.logout":
        session.api_key, session.since = "", 0
    elif name != "session.status":
        raise refusal(-1130, name="method")
    return {
        "apiKey": session.api_key or None,
        "authorizedSince": session.since or None,
        "connectedSince": exchange.clock(),
        "returnRateLimits": session.shows_limits,
        "serverTime": exchange.clock(),
    }


def _authenticate(exchange: Exchange, session: _Session, values: dict[str, Any], security: str) -> Account:
    account = exchange.account(str(values.get("apiKey") or session.api_key))
    if account is None or "futures" not in account.permissions:
        raise refusal(-2015)
    if security != "signed":
        return account
    params = Params(values)
    if exchange.settings.check_timestamp:
        check_time(exchange.clock(), params.whole("timestamp"), params.whole("recvWindow", DEFAULT_RECV_WINDOW_MS))
    if "signature" not in params and session.api_key:
        return account
    if not is_signed_by(account.secret, sorted_text(values), params.text("signature")):
        raise refusal(-1022)
    return account


def _counts(exchange: Exchange, session: _Session) -> list[dict[str, object]]:
    now = exchange.wall()
    rows = rate_limits(exchange.settings)
    return [rows[0] | {"count": exchange.limits.used_weight(session.address, now)}]
