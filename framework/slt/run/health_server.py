"""Health over HTTP: ``/healthz`` (is the process alive), ``/readyz`` (does it take entries), ``/metrics``.

On an address of this machine everything is open to whoever is on it; only requests that name this machine are
answered, so that a web page elsewhere cannot ask through somebody's browser. On any other address ``/metrics`` and the
details need the token, as ``Authorization: Bearer TOKEN``; without it the two probes answer one word, which is all that
a platform's health check needs.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
from typing import TYPE_CHECKING, Any

from slt.errors import ConfigError
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from slt.config import HealthConfig

__all__ = ["HealthServer", "check_health_config", "is_loopback"]

_SHUTDOWN_SECONDS = 0.5
_AGAIN_SECONDS = 5.0
_ALIVE = ("running", "starting")
_log = get_logger("lifecycle")


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_health_config(config: HealthConfig) -> None:
    """Refuse to listen to the world without a token.

    Raises:
        ConfigError: The address is not this machine's own, and there is no token in the environment.
    """
    if config.port and not is_loopback(config.host) and not os.environ.get(config.token_env, "").strip():
        raise ConfigError(
            f"health.host: `{config.host}` can be reached from other machines, which needs a token; set the "
            f'environment variable `{config.token_env}`, or use "127.0.0.1", or port 0 for no server'
        )


class HealthServer:
    """The HTTP server of a run.

    Args:
        config: Where to listen.
        snapshot: Gives the run's vitals, as JSON types.

    Attributes:
        port: The port it listens on; 0 while it does not.
    """

    def __init__(self, config: HealthConfig, snapshot: Callable[[], dict[str, Any]]) -> None:
        self.port = 0
        self._config = config
        self._snapshot = snapshot
        self._token = os.environ.get(config.token_env, "").strip()
        self._is_local = is_loopback(config.host)
        self._runner: web.AppRunner | None = None
        self._is_over = False
        self._has_complained = False

    def show(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Take the vitals from somewhere else from now on."""
        self._snapshot = snapshot

    async def run(self) -> None:
        """Listen, as soon as the port is free: the instance that had it before may take a while to end."""
        while self._config.port and not self._is_over:
            await self.start()
            if self.port:
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def start(self) -> None:
        """Listen; where the port is taken, or the address is not there, say so once and let the run go on."""
        if not self._config.port:
            return
        from aiohttp import web  # noqa: PLC0415 - a command that serves nothing need not load it

        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._config.host, self._config.port).start()
        except OSError as error:
            await self._close()
            self._complain(error.strerror or type(error).__name__)
            return
        if self._is_over:
            await runner.cleanup()
            return
        self.port = int(runner.addresses[0][1])
        _log.info("health served", host=self._config.host, port=self.port)

    async def stop(self) -> None:
        """Stop listening, for good; twice is no error."""
        self._is_over = True
        await self._close()

    async def _close(self) -> None:
        runner, self._runner, self.port = self._runner, None, 0
        if runner is not None:
            await runner.cleanup()

    def _complain(self, reason: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            _log.warning(
                "health is not served; choose another health.port, or 0 for none",
                host=self._config.host,
                port=self._config.port,
                cause=reason,
                again_seconds=_AGAIN_SECONDS,
            )

    async def _healthz(self, request: web.Request) -> web.Response:
        snapshot = self._snapshot()
        is_alive = snapshot["state"] in _ALIVE and not snapshot["late_loops"]
        return self._probe(request, "alive" if is_alive else "stuck", snapshot, is_well=is_alive)

    async def _readyz(self, request: web.Request) -> web.Response:
        snapshot = self._snapshot()
        is_ready = snapshot["state"] == "running" and not snapshot["waits"] and snapshot["status"] != "red"
        return self._probe(request, "ready" if is_ready else "not ready", snapshot, is_well=is_ready)

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web  # noqa: PLC0415 - loaded already, as this is being answered

        from slt.run.metrics import CONTENT_TYPE, render_metrics  # noqa: PLC0415 - only for whoever scrapes

        if not self._may_see(request):
            return web.Response(status=401, text="unauthorized\n", headers={"WWW-Authenticate": "Bearer"})
        return web.Response(body=render_metrics(self._snapshot()), headers={"Content-Type": CONTENT_TYPE})

    def _probe(self, request: web.Request, word: str, snapshot: dict[str, Any], *, is_well: bool) -> web.Response:
        from aiohttp import web  # noqa: PLC0415 - as above

        status = 200 if is_well else 503
        if not self._may_see(request):
            return web.Response(status=status, text=f"{word}\n")
        shown = {
            key: snapshot[key] for key in ("run", "mode", "state", "score", "status", "waits", "late_loops", "parts")
        }
        return web.json_response({"answer": word, **shown}, status=status)

    def _may_see(self, request: web.Request) -> bool:
        if self._is_local:
            return is_loopback(request.url.host or "")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        return bool(self._token) and hmac.compare_digest(given, self._token.encode())
