"""The REST face of the exchange: HTTP in, the exchange's answer out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from slt_sandbox import rest_account, rest_market, rest_orders
from slt_sandbox.endpoint import Call, Endpoint
from slt_sandbox.errors import ApiError, refusal
from slt_sandbox.fault_points import FaultPoints, NoFaults
from slt_sandbox.params import Params
from slt_sandbox.signing import DEFAULT_RECV_WINDOW_MS, check_time, is_signed_by, signed_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt_sandbox.account import Account
    from slt_sandbox.exchange import Exchange

__all__ = ["ENDPOINTS", "routes"]

ENDPOINTS: tuple[Endpoint, ...] = (*rest_market.ENDPOINTS, *rest_orders.ENDPOINTS, *rest_account.ENDPOINTS)
"""Every REST endpoint that is served."""

_API_KEY_LENGTHS = range(1, 129)


def routes(exchange: Exchange, faults: FaultPoints | None = None) -> list[web.RouteDef]:
    """The REST routes.

    Args:
        exchange: The exchange behind them.
        faults: What may go wrong; None = nothing.
    """
    server = _RestServer(exchange, faults or NoFaults())
    listed = [web.route(one.method, one.path, server.handler(one)) for one in ENDPOINTS]
    return [
        *listed,
        web.route("*", "/fapi/{path:.*}", server.unknown),
        web.route("*", "/sapi/{path:.*}", server.unknown),
    ]


class _RestServer:
    def __init__(self, exchange: Exchange, faults: FaultPoints) -> None:
        self._exchange = exchange
        self._faults = faults

    def handler(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            early = await self._faults.before_rest(request, request.method, request.path)
            if early is not None:
                return early
            body = await request.text()
            response = self._respond(endpoint, request, body)
            return await self._faults.after_rest(request, response)

        return handle

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        early = await self._faults.before_rest(request, request.method, request.path)
        if early is not None:
            return early
        return web.Response(
            status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html"
        )

    def _respond(self, endpoint: Endpoint, request: web.Request, body: str) -> web.Response:
        """Answer a request; synchronous, so that nothing happens between its parts."""
        exchange = self._exchange
        exchange.expire()
        headers: dict[str, str] = {}
        try:
            answer, status = self._answer(endpoint, request, body, headers), 200
        except ApiError as error:
            answer, status = error.body, error.status
            if error.retry_after:
                headers["Retry-After"] = str(error.retry_after)
            self._note(error)
        exchange.flush()
        return web.json_response(answer, status=status, headers=headers, dumps=_dump)

    def _answer(self, endpoint: Endpoint, request: web.Request, body: str, headers: dict[str, str]) -> Any:
        exchange, address = self._exchange, request.remote or "127.0.0.1"
        query = request.raw_path.partition("?")[2]
        params = Params(dict(parse_qsl(body)) | dict(parse_qsl(query)))
        now = exchange.wall()
        try:
            used = exchange.limits.use_weight(address, endpoint.cost(params), now)
            if endpoint.is_funding:
                exchange.limits.use_funding(address, now)
        finally:
            headers["X-MBX-USED-WEIGHT-1M"] = str(exchange.limits.used_weight(address, now))
        headers["X-MBX-USED-WEIGHT-1M"] = str(used)
        account = self._authenticate(endpoint, request, query, body, params)
        if account is not None and endpoint.orders_10s:
            counts = exchange.limits.use_orders(account.api_key, now, endpoint.orders_10s, endpoint.orders_1m)
            headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"] = map(str, counts)
        return endpoint.answer(Call(exchange, params, account))

    def _authenticate(
        self, endpoint: Endpoint, request: web.Request, query: str, body: str, params: Params
    ) -> Account | None:
        if endpoint.security == "none":
            return None
        api_key = request.headers.get("X-MBX-APIKEY", "")
        if len(api_key) not in _API_KEY_LENGTHS:
            raise refusal(-2014)
        account = self._exchange.account(api_key)
        if account is None or "futures" not in account.permissions:
            raise refusal(-2015)
        if account.addresses and request.remote not in account.addresses:
            raise refusal(-2015)
        if endpoint.security == "signed":
            text, signature = signed_text(query, body)
            self._check_signature(account, text, signature, params)
        return account

    def _check_signature(self, account: Account, text: str, signature: str, params: Params) -> None:
        if not signature:
            raise refusal(-1102, name="signature")
        timestamp = params.whole("timestamp")
        if self._exchange.settings.check_timestamp:
            check_time(self._exchange.clock(), timestamp, params.whole("recvWindow", DEFAULT_RECV_WINDOW_MS))
        if not is_signed_by(account.secret, text, signature):
            raise refusal(-1022)

    def _note(self, error: ApiError) -> None:
        kind = {429: "limited", 418: "banned"}.get(error.status)
        if kind:
            self._exchange.ledger.record(self._exchange.clock(), kind, code=error.code, msg=error.text)


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
