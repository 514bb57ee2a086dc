"""A small exchange-shaped HTTP server on 127.0.0.1 that answers what a test scripts, byte for byte."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from attrs import define, field, frozen

from slt_binance.client import Client, Credentials
from slt_binance.signing import HmacSigner

sys.path.insert(0, str(Path(__file__).parent))

KEY, SECRET = "key-of-the-test-account", "secret-of-the-test-account"


@frozen
class Seen:
    method: str
    path: str
    parameters: dict[str, str]
    raw: str
    headers: dict[str, str]


@define
class Server:
    """Answers from a script per (method, path); what is not scripted gets the default, or 404."""

    url: str = ""
    seen: list[Seen] = field(factory=list)
    script: dict[tuple[str, str], deque[Any]] = field(factory=lambda: defaultdict(deque))
    defaults: dict[tuple[str, str], Any] = field(factory=dict)
    skew_ms: int = 0

    def say(self, method: str, path: str, *answers: Any) -> None:
        self.script[method, path].extend(answers)

    def calls(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = request.rel_url.raw_query_string + (await request.text())
        parameters = dict(parse_qsl(raw, keep_blank_values=True))
        self.seen.append(Seen(request.method, request.path, parameters, raw, dict(request.headers)))
        queue = self.script[request.method, request.path]
        answer = queue.popleft() if queue else self.defaults.get((request.method, request.path))
        if callable(answer):
            answer = answer(parameters)
        if request.path == "/fapi/v1/time" and answer is None:
            answer = {"serverTime": time.time_ns() // 1_000_000 + self.skew_ms}
        return await self._respond(request, answer)

    async def _respond(self, request: web.Request, answer: Any) -> web.StreamResponse:
        if answer == "reset":
            request.transport.abort()
            return web.Response()
        if answer == "silent":
            await asyncio.sleep(30)
        if answer is None:
            return web.json_response({"code": -1, "msg": f"not scripted: {request.path}"}, status=404)
        if isinstance(answer, tuple):
            status, body, *rest = answer
            headers = rest[0] if rest else {}
            if isinstance(body, str):
                return web.Response(status=status, text=body, headers=headers)
            return web.json_response(body, status=status, headers=headers)
        return web.json_response(answer)


@pytest.fixture
async def server():
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    found.url = f"http://127.0.0.1:{port}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def make_client(server):
    made = []

    def make(**options: Any) -> Client:
        url = options.pop("url", server.url)
        credentials = options.pop("credentials", Credentials(KEY, HmacSigner(SECRET)))
        client = Client(url, credentials, **{"timeout_seconds": 2.0, **options})
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(make_client):
    return make_client()
